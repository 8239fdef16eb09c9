//! Two kernels that run natively and in the sandbox and must give the same checksum in both.
//!
//! `trace` is float work: the path tracer of `examples/render` on a small scene. `pack` is integer work: an LZ77 and
//! Huffman compressor, which also unpacks what it packed.

pub mod bits;
pub mod huffman;
pub mod pack;

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

/// Packs and unpacks `mebibytes` of generated text.
pub fn pack_text(mebibytes: u32) -> u64 {
    let text = text(mebibytes as usize * 1024 * 1024);
    let packed = pack::pack(&text);
    let unpacked = pack::unpack(&packed).expect("what was packed just now unpacks");
    assert!(unpacked == text, "packing and unpacking must give the same text");
    checksum(&packed)
}

/// Text-like bytes: words of a made-up vocabulary, the common ones short and often.
pub fn text(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    let letters = b"etaoinshrdlucmfwypvbgkqjxz";
    let vocabulary: Vec<Vec<u8>> = (0..4096_u32)
        .map(|rank| {
            let length = 2 + (32 - rank.leading_zeros()) / 2 + random() % 4;
            (0..length).map(|_| letters[(random() % 26).min(random() % 26) as usize]).collect()
        })
        .collect();
    let mut out = Vec::with_capacity(bytes + 32);
    while out.len() < bytes {
        // The product of two even numbers has roughly the long tail of real word counts.
        let rank = ((random() >> 20) * (random() >> 20)) >> 12;
        out.extend_from_slice(&vocabulary[rank as usize]);
        let end: &[u8] = match random() % 16 {
            0 => b", ",
            1 => b".\n",
            _ => b" ",
        };
        out.extend_from_slice(end);
    }
    out.truncate(bytes);
    out
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
