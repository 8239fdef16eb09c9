//! The kernels for processors with AVX2 and AVX-512.

use crate::{
    lanes::{HALF, MAX_LANES, Words},
    romix::{self, State},
};
use core::arch::x86_64::{
    __m256i, __m512i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_load_si256, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srl_epi32, _mm256_store_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
    _mm512_add_epi32, _mm512_load_si512, _mm512_rol_epi32, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_store_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};

/// Mixes 8 lanes.
#[target_feature(enable = "avx2")]
pub fn mix_avx2(state: &mut State, memory: &mut [u32]) {
    // SAFETY: who can call this has AVX2; the hasher's state and memory begin at multiples of 64 bytes.
    unsafe { romix::mix::<Avx2>(state, memory) }
}

/// Mixes 16 lanes.
#[target_feature(enable = "avx512f")]
pub fn mix_avx512(state: &mut State, memory: &mut [u32]) {
    // SAFETY: who can call this has AVX-512; the hasher's state and memory begin at multiples of 64 bytes.
    unsafe { romix::mix::<Avx512>(state, memory) }
}

#[derive(Clone, Copy)]
struct Avx512(__m512i);

/// Choices of `_mm512_shuffle_i32x4`: quarters 0 and 2, or 1 and 3, of both registers.
const EVEN: i32 = 0b10_00_10_00;
const ODD: i32 = 0b11_01_11_01;

/// Turns 16 rows of 16 words: what was word `n` of row `m` is word `m` of row `n` then.
#[inline]
#[target_feature(enable = "avx512f")]
fn turn16(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = *rows;
    for n in (0..16).step_by(2) {
        pairs[n] = _mm512_unpacklo_epi32(rows[n], rows[n + 1]);
        pairs[n + 1] = _mm512_unpackhi_epi32(rows[n], rows[n + 1]);
    }
    // Of four rows each: words 0, 1, 2 and 3 of every quarter.
    let mut fours = pairs;
    for n in (0..16).step_by(4) {
        fours[n] = _mm512_unpacklo_epi64(pairs[n], pairs[n + 2]);
        fours[n + 1] = _mm512_unpackhi_epi64(pairs[n], pairs[n + 2]);
        fours[n + 2] = _mm512_unpacklo_epi64(pairs[n + 1], pairs[n + 3]);
        fours[n + 3] = _mm512_unpackhi_epi64(pairs[n + 1], pairs[n + 3]);
    }
    // The quarters, as a matrix of 4 by 4.
    let mut turned = fours;
    for n in 0..4 {
        let (a, b, c, d) = (fours[n], fours[n + 4], fours[n + 8], fours[n + 12]);
        let (even_ab, odd_ab) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b));
        let (even_cd, odd_cd) = (_mm512_shuffle_i32x4::<EVEN>(c, d), _mm512_shuffle_i32x4::<ODD>(c, d));
        turned[n] = _mm512_shuffle_i32x4::<EVEN>(even_ab, even_cd);
        turned[n + 4] = _mm512_shuffle_i32x4::<EVEN>(odd_ab, odd_cd);
        turned[n + 8] = _mm512_shuffle_i32x4::<ODD>(even_ab, even_cd);
        turned[n + 12] = _mm512_shuffle_i32x4::<ODD>(odd_ab, odd_cd);
    }
    turned
}

// SAFETY: the methods do what is said of them, with instructions of AVX-512F.
#[expect(clippy::inline_always, reason = "as `romix::mix`")]
unsafe impl Words for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm512_load_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: as the trait's.
        unsafe { _mm512_store_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn step<const BITS: i32>(self, left: Self, right: Self) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm512_xor_si512(self.0, _mm512_rol_epi32::<BITS>(_mm512_add_epi32(left.0, right.0))) })
    }

    #[inline(always)]
    unsafe fn read_rows<const AT: usize>(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        // SAFETY: as the trait's; a row's half is one register.
        unsafe {
            let mut words = [_mm512_setzero_si512(); HALF];
            for (word, row) in words.iter_mut().zip(rows) {
                *word = _mm512_load_si512(row.add(AT).cast());
            }
            wrap16(&turn16(&words))
        }
    }

    #[inline(always)]
    unsafe fn read_sums(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        // SAFETY: as the trait's; a row's half is one register.
        unsafe {
            let mut words = [_mm512_setzero_si512(); HALF];
            for (word, row) in words.iter_mut().zip(rows) {
                *word = _mm512_xor_si512(_mm512_load_si512(row.cast()), _mm512_load_si512(row.add(HALF).cast()));
            }
            wrap16(&turn16(&words))
        }
    }

    #[inline(always)]
    unsafe fn write_rows(words: &[Self; HALF], table: *mut u32, stride: usize) {
        // SAFETY: as the trait's; a row's half is one register.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); HALF];
            for (row, word) in rows.iter_mut().zip(words) {
                *row = word.0;
            }
            let rows = turn16(&rows);
            for (lane, row) in rows.iter().enumerate() {
                _mm512_store_si512(table.add(lane * stride).cast(), *row);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn wrap16(words: &[__m512i; HALF]) -> [Avx512; HALF] {
    let mut wrapped = [Avx512(_mm512_setzero_si512()); HALF];
    for (to, word) in wrapped.iter_mut().zip(words) {
        to.0 = *word;
    }
    wrapped
}

#[derive(Clone, Copy)]
struct Avx2(__m256i);

/// Turns 8 rows of 8 words, as [`turn16`].
#[inline]
#[target_feature(enable = "avx2")]
fn turn8(rows: [__m256i; 8]) -> [__m256i; 8] {
    let mut pairs = rows;
    for n in (0..8).step_by(2) {
        pairs[n] = _mm256_unpacklo_epi32(rows[n], rows[n + 1]);
        pairs[n + 1] = _mm256_unpackhi_epi32(rows[n], rows[n + 1]);
    }
    let mut fours = pairs;
    for n in (0..8).step_by(4) {
        fours[n] = _mm256_unpacklo_epi64(pairs[n], pairs[n + 2]);
        fours[n + 1] = _mm256_unpackhi_epi64(pairs[n], pairs[n + 2]);
        fours[n + 2] = _mm256_unpacklo_epi64(pairs[n + 1], pairs[n + 3]);
        fours[n + 3] = _mm256_unpackhi_epi64(pairs[n + 1], pairs[n + 3]);
    }
    let mut turned = fours;
    for n in 0..4 {
        turned[n] = _mm256_permute2x128_si256::<0x20>(fours[n], fours[n + 4]);
        turned[n + 4] = _mm256_permute2x128_si256::<0x31>(fours[n], fours[n + 4]);
    }
    turned
}

// SAFETY: the methods do what is said of them, with instructions of AVX2.
#[expect(clippy::inline_always, reason = "as `romix::mix`")]
unsafe impl Words for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm256_load_si256(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: as the trait's.
        unsafe { _mm256_store_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as the trait's.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn step<const BITS: i32>(self, left: Self, right: Self) -> Self {
        // SAFETY: as the trait's. AVX2 has no rotation: the two parts come one after the other.
        unsafe {
            let sum = _mm256_add_epi32(left.0, right.0);
            let high = _mm256_slli_epi32::<BITS>(sum);
            let low = _mm256_srl_epi32(sum, _mm_cvtsi32_si128(32 - BITS));
            Self(_mm256_xor_si256(self.0, _mm256_or_si256(high, low)))
        }
    }

    #[inline(always)]
    unsafe fn read_rows<const AT: usize>(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        // SAFETY: as the trait's; a row's half is two registers.
        unsafe {
            let mut words = [Self(_mm256_setzero_si256()); HALF];
            for (part, words) in words.chunks_exact_mut(8).enumerate() {
                let mut read = [_mm256_setzero_si256(); 8];
                for (word, row) in read.iter_mut().zip(rows) {
                    *word = _mm256_load_si256(row.add(AT + part * 8).cast());
                }
                for (to, word) in words.iter_mut().zip(turn8(read)) {
                    to.0 = word;
                }
            }
            words
        }
    }

    #[inline(always)]
    unsafe fn read_sums(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        // SAFETY: as the trait's. Unlike with 16 lanes, there are too few registers to turn both at once.
        unsafe {
            let (mut words, high) = (Self::read_rows::<0>(rows), Self::read_rows::<HALF>(rows));
            for (word, high) in words.iter_mut().zip(high) {
                *word = word.xor(high);
            }
            words
        }
    }

    #[inline(always)]
    unsafe fn write_rows(words: &[Self; HALF], table: *mut u32, stride: usize) {
        // SAFETY: as the trait's; a row's half is two registers.
        unsafe {
            for (part, words) in words.chunks_exact(8).enumerate() {
                let mut rows = [_mm256_setzero_si256(); 8];
                for (row, word) in rows.iter_mut().zip(words) {
                    *row = word.0;
                }
                for (lane, row) in turn8(rows).into_iter().enumerate() {
                    _mm256_store_si256(table.add(lane * stride + part * 8).cast(), row);
                }
            }
        }
    }
}
