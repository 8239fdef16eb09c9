//! The kernel without special instructions: 4 words side by side, which compilers keep in one 128-bit register.

use crate::{
    lanes::{HALF, MAX_LANES, Words},
    romix::{self, State},
};

#[derive(Clone, Copy)]
struct Portable([u32; 4]);

/// Mixes 4 lanes.
pub fn mix(state: &mut State, memory: &mut [u32]) {
    // SAFETY: every processor can do it; the hasher's state and memory begin at multiples of 64 bytes.
    unsafe { romix::mix::<Portable>(state, memory) }
}

// SAFETY: the methods do what is said of them, with ordinary instructions.
#[expect(clippy::inline_always, reason = "as `romix::mix`")]
unsafe impl Words for Portable {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: the caller's place holds four words, aligned.
        Self(unsafe { from.cast::<[u32; 4]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u32) {
        // SAFETY: as above.
        unsafe { to.cast::<[u32; 4]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] ^ other.0[n]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n].wrapping_add(other.0[n])))
    }

    #[inline(always)]
    unsafe fn step<const BITS: i32>(self, left: Self, right: Self) -> Self {
        let bits = BITS.unsigned_abs();
        Self(std::array::from_fn(|n| self.0[n] ^ left.0[n].wrapping_add(right.0[n]).rotate_left(bits)))
    }

    #[inline(always)]
    unsafe fn read_rows<const AT: usize>(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        let mut words = [Self([0; 4]); HALF];
        for (n, word) in words.iter_mut().enumerate() {
            for (word, row) in word.0.iter_mut().zip(rows) {
                // SAFETY: each row holds twice HALF words.
                *word = unsafe { row.add(AT + n).read() };
            }
        }
        words
    }

    #[inline(always)]
    unsafe fn read_sums(rows: &[*const u32; MAX_LANES]) -> [Self; HALF] {
        // SAFETY: each row holds twice HALF words.
        let (mut words, high) = unsafe { (Self::read_rows::<0>(rows), Self::read_rows::<HALF>(rows)) };
        for (word, high) in words.iter_mut().zip(high) {
            // SAFETY: every processor can do it.
            *word = unsafe { word.xor(high) };
        }
        words
    }

    #[inline(always)]
    unsafe fn write_rows(words: &[Self; HALF], table: *mut u32, stride: usize) {
        for lane in 0..Self::LANES {
            for (n, word) in words.iter().enumerate() {
                // SAFETY: each lane's row holds HALF words.
                unsafe { table.add(lane * stride + n).write(word.0[lane]) }
            }
        }
    }
}
