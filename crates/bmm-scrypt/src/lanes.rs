//! Words of several hashes side by side.

/// Words of a row's half: what Salsa20/8 works on.
pub const HALF: usize = 16;
/// Words of a row.
pub const ROW: usize = 2 * HALF;
/// Most hashes that a kernel computes at once.
pub const MAX_LANES: usize = 16;

/// One word of each of `LANES` hashes.
///
/// # Safety
/// All methods may be called only on a processor that has the instructions of the implementing type, and are inlined into a function
/// that is compiled for them. Places that are read or written are aligned to 64 bytes.
pub unsafe trait Words: Copy {
    /// Hashes side by side.
    const LANES: usize;

    /// Reads `LANES` words.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn load(from: *const u32) -> Self;
    /// Writes `LANES` words.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn store(self, to: *mut u32);
    /// # Safety
    /// As said of the trait.
    unsafe fn xor(self, other: Self) -> Self;
    /// # Safety
    /// As said of the trait.
    unsafe fn add(self, other: Self) -> Self;
    /// Salsa's step: `self ^ ((left + right) <<< BITS)`.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn step<const BITS: i32>(self, left: Self, right: Self) -> Self;
    /// Reads [`HALF`] words of each lane, lane `n` from `rows[n] + AT` on, and turns them: word after word, each of all lanes.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn read_rows<const AT: usize>(rows: &[*const u32; MAX_LANES]) -> [Self; HALF];
    /// As [`Self::read_rows`], of each row's first half xored with its second.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn read_sums(rows: &[*const u32; MAX_LANES]) -> [Self; HALF];
    /// Writes what [`Self::read_rows`] reads, turned back: lane `n` to `table + n * stride`.
    ///
    /// # Safety
    /// As said of the trait.
    unsafe fn write_rows(words: &[Self; HALF], table: *mut u32, stride: usize);
}
