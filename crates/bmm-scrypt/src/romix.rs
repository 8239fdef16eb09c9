//! The mixing (ROMix of RFC 7914 with N = 1024 and r = 1), the same for all kernels.

use crate::{
    lanes::{HALF, MAX_LANES, ROW, Words},
    pbkdf2::BLOCK_LEN,
};

/// Rows of a table: N.
const ROWS: usize = 1024;
/// Words of the table of one hash.
pub const LANE_WORDS: usize = ROWS * ROW;

/// What is mixed, word after word; of each word all lanes, one beside the other.
#[repr(C, align(64))]
pub struct State([u32; ROW * MAX_LANES]);

impl Default for State {
    fn default() -> Self {
        Self([0; ROW * MAX_LANES])
    }
}

impl State {
    /// Puts a block into one of so many lanes.
    pub fn put(&mut self, lane: usize, lanes: usize, block: &[u8; BLOCK_LEN]) {
        for (bytes, words) in block.as_chunks::<4>().0.iter().zip(self.0.chunks_exact_mut(lanes)) {
            words[lane] = u32::from_le_bytes(*bytes);
        }
    }

    /// Reads a block out of one of so many lanes.
    pub fn take(&self, lane: usize, lanes: usize) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        for (bytes, words) in block.as_chunks_mut::<4>().0.iter_mut().zip(self.0.chunks_exact(lanes)) {
            *bytes = words[lane].to_le_bytes();
        }
        block
    }
}

/// Mixes all lanes. Loops here and in the kernels are plain: closures do not always become part of the function.
///
/// # Safety
/// As said of [`Words`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it must become part of the function that is compiled for the kernel's instructions"
)]
pub unsafe fn mix<W: Words>(state: &mut State, memory: &mut [u32]) {
    assert!(W::LANES <= MAX_LANES && memory.len() >= W::LANES * LANE_WORDS, "a table for each lane");
    let words = state.0.as_mut_ptr();
    let table = memory.as_mut_ptr();
    // SAFETY: the state has ROW words for each lane. Rows are written at 0 to ROWS - 1, and read there too, since the masked number is
    // below ROWS; lane after lane, each with LANE_WORDS of its own. Both begin at multiples of 64 bytes, and so does every row.
    unsafe {
        let half = |at: usize| -> [W; HALF] { std::array::from_fn(|n| W::load(words.add((at + n) * W::LANES))) };
        let (mut low, mut high) = (half(0), half(HALF));
        for row in 0..ROWS {
            W::write_rows(&low, table.add(row * ROW), LANE_WORDS);
            W::write_rows(&high, table.add(row * ROW + HALF), LANE_WORDS);
            xor(&mut low, &high);
            salsa_in_turns(&mut low, &mut high);
        }
        let mut numbers = Numbers([0; MAX_LANES]);
        for _ in 0..ROWS {
            high[0].store(numbers.0.as_mut_ptr());
            let mut rows = [table.cast_const(); MAX_LANES];
            for (lane, (row, number)) in rows.iter_mut().zip(&numbers.0).enumerate().take(W::LANES) {
                *row = row.add(lane * LANE_WORDS + *number as usize % ROWS * ROW);
            }
            // What the first half waits for is turned first: low ^ high of the row at once, and not one after the other.
            let (sums, highs) = (W::read_sums(&rows), W::read_rows::<HALF>(&rows));
            xor(&mut low, &high);
            xor(&mut low, &sums);
            xor(&mut high, &highs);
            salsa_in_turns(&mut low, &mut high);
        }
        for n in 0..HALF {
            low[n].store(words.add(n * W::LANES));
            high[n].store(words.add((HALF + n) * W::LANES));
        }
    }
}

/// The row's number that each lane goes to.
#[repr(align(64))]
struct Numbers([u32; MAX_LANES]);

/// # Safety
/// As said of [`Words`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "as `mix`")]
unsafe fn xor<W: Words>(to: &mut [W; HALF], from: &[W; HALF]) {
    for (to, from) in to.iter_mut().zip(from) {
        // SAFETY: as the caller's.
        *to = unsafe { to.xor(*from) };
    }
}

/// BlockMix with r = 1, whose first step, xoring the low half with the high one, is done.
///
/// # Safety
/// As said of [`Words`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "as `mix`")]
unsafe fn salsa_in_turns<W: Words>(low: &mut [W; HALF], high: &mut [W; HALF]) {
    // SAFETY: as the caller's.
    unsafe {
        salsa20_8(low);
        xor(high, low);
        salsa20_8(high);
    }
}

/// Four of Salsa20's steps, which do not depend on each other.
macro_rules! steps {
    ($x:ident, $bits:literal, $(($to:literal, $left:literal, $right:literal)),*) => {
        $($x[$to] = $x[$to].step::<$bits>($x[$left], $x[$right]);)*
    };
}

/// Salsa20 with 8 rounds.
///
/// # Safety
/// As said of [`Words`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "as `mix`")]
unsafe fn salsa20_8<W: Words>(x: &mut [W; HALF]) {
    let before = *x;
    // SAFETY: as the caller's.
    unsafe {
        for _ in 0..4 {
            steps!(x, 7, (4, 0, 12), (9, 5, 1), (14, 10, 6), (3, 15, 11));
            steps!(x, 9, (8, 4, 0), (13, 9, 5), (2, 14, 10), (7, 3, 15));
            steps!(x, 13, (12, 8, 4), (1, 13, 9), (6, 2, 14), (11, 7, 3));
            steps!(x, 18, (0, 12, 8), (5, 1, 13), (10, 6, 2), (15, 11, 7));
            steps!(x, 7, (1, 0, 3), (6, 5, 4), (11, 10, 9), (12, 15, 14));
            steps!(x, 9, (2, 1, 0), (7, 6, 5), (8, 11, 10), (13, 12, 15));
            steps!(x, 13, (3, 2, 1), (4, 7, 6), (9, 8, 11), (14, 13, 12));
            steps!(x, 18, (0, 3, 2), (5, 4, 7), (10, 9, 8), (15, 14, 13));
        }
        for (x, before) in x.iter_mut().zip(before) {
            *x = x.add(before);
        }
    }
}
