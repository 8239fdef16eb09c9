//! Two kernels that run natively and in the sandbox and must give the same checksum in both.
//!
//! `trace` is float work: the path tracer of `examples/render` on a small scene. `pack` is integer work: a block-sorting
//! compressor, which also unpacks what it packed.

pub mod bits;
pub mod huffman;
pub mod pack;
pub mod sort;

/// The names that [`run`] knows.
pub const NAMES: [&str; 2] = ["trace", "pack"];

const SCENE: &str = include_str!("scene.txt");

/// Runs kernel `name` and returns a checksum of all it computed, or nothing if there is no such kernel.
///
/// `size` is the samples per pixel for `trace` (at 384 × 216), the input in MiB for `pack`.
pub fn run(name: &str, size: u32) -> Option<u64> {
    match name {
        "trace" => Some(trace(size)),
        "pack" => Some(pack_text(size)),
        _ => None,
    }
}

/// Renders the kernel's scene with `samples` paths a pixel.
pub fn trace(samples: u32) -> u64 {
    let tile = tracer::render_rows(SCENE, 384, 216, 0..216, samples).expect("the scene is part of the program");
    checksum(&tile)
}

/// Packs and unpacks `mebibytes` of generated text, one at a time.
pub fn pack_text(mebibytes: u32) -> u64 {
    let mut generator = Text::new();
    (0..mebibytes).fold(0, |sum, _| {
        let text = generator.take(1 << 20);
        let packed = pack::pack(&text);
        let unpacked = pack::unpack(&packed).expect("what was packed just now unpacks");
        assert!(unpacked == text, "packing and unpacking must give the same text");
        checksum(&packed) ^ sum.rotate_left(1)
    })
}

/// Text-like bytes: words of a made-up vocabulary, the common ones short and often.
pub struct Text {
    state: u64,
    vocabulary: Vec<Vec<u8>>,
}

impl Text {
    /// Makes up the vocabulary, always the same.
    pub fn new() -> Self {
        let mut text = Self { state: 0x9E37_79B9_7F4A_7C15, vocabulary: Vec::new() };
        let letters = b"etaoinshrdlucmfwypvbgkqjxz";
        for rank in 0..4096_u32 {
            let length = 2 + (32 - rank.leading_zeros()) / 2 + text.random() % 4;
            let word = (0..length).map(|_| letters[(text.random() % 26).min(text.random() % 26) as usize]);
            let word = word.collect();
            text.vocabulary.push(word);
        }
        text
    }

    /// Marsaglia's xorshift64.
    fn random(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) as u32
    }

    /// The next bytes.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 32);
        while out.len() < bytes {
            // The product of two even numbers has roughly the long tail of real word counts.
            let rank = ((self.random() >> 20) * (self.random() >> 20)) >> 12;
            out.extend_from_slice(&self.vocabulary[rank as usize]);
            let end: &[u8] = match self.random() % 16 {
                0 => b", ",
                1 => b".\n",
                _ => b" ",
            };
            out.extend_from_slice(end);
        }
        out.truncate(bytes);
        out
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

/// FNV-1a over eight bytes at a time, then over the rest.
pub fn checksum(bytes: &[u8]) -> u64 {
    let step = |h: u64, w: u64| (h ^ w).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let h = words.iter().fold(0xCBF2_9CE4_8422_2325, |h, w| step(h, u64::from_le_bytes(*w)));
    rest.iter().fold(h, |h, &b| step(h, u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_tell_inputs_apart() {
        assert_eq!(run("pack", 1), run("pack", 1));
        assert_ne!(trace(1), trace(2));
        assert_eq!(run("no such kernel", 1), None);
    }
}
