//! The tables of a hasher.

use memmap2::MmapMut;

/// Large pages are of this size, in bytes: the tables of 16 hashes are one.
const LARGE_PAGE: usize = 2 << 20;

/// So many words, at the beginning of a large page. A table is read at random, so that small pages would cost a quarter of the speed.
pub struct Memory {
    map: MmapMut,
    /// First byte that is used.
    start: usize,
    words: usize,
}

impl Memory {
    /// Takes memory for so many words.
    ///
    /// # Panics
    /// When there is none, as every allocation does.
    pub fn new(words: usize) -> Self {
        let bytes = words * size_of::<u32>();
        let map = MmapMut::map_anon(bytes + LARGE_PAGE).expect("memory for the tables of Scrypt");
        #[cfg(target_os = "linux")]
        {
            // A wish: where there are no large pages it goes on, slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let start = map.as_ptr().align_offset(LARGE_PAGE);
        Self { map, start, words }
    }

    /// Returns the words, which begin at a multiple of 64 bytes.
    pub fn words(&mut self) -> &mut [u32] {
        let bytes = &mut self.map[self.start..self.start + self.words * size_of::<u32>()];
        // SAFETY: every pattern of bits is a word, and a page begins at a multiple of a word's size.
        let (before, words, after) = unsafe { bytes.align_to_mut::<u32>() };
        assert!(before.is_empty() && after.is_empty(), "pages hold whole words");
        words
    }
}
