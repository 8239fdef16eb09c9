//! What stands before and after the mixing: PBKDF2 with HMAC-SHA-256 and one iteration, the header being password and salt (RFC 7914).
//!
//! All lengths are known, so that SHA-256's compression is called with whole blocks, padding included: through the general interface this
//! part would be an eighth of the time, and not a twentieth.

use crate::HEADER_LEN;
use sha2::block_api::compress256;

/// Bytes that are mixed.
pub const BLOCK_LEN: usize = 128;

/// State of SHA-256, and what it is at the beginning (FIPS 180-4, 5.3.3).
type State = [u32; 8];
const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// HMAC with the header as its key: the states after the inner and the outer key.
#[derive(Clone, Copy)]
pub struct Key {
    inner: State,
    outer: State,
}

/// A header made ready for mixing.
pub struct Expanded {
    pub block: [u8; BLOCK_LEN],
    pub key: Key,
}

/// Goes on with the last part of a message that is `total` bytes long; what is left of it and the padding fill `N` blocks.
fn finish<const N: usize>(mut state: State, rest: &[u8], total: usize) -> [u8; 32] {
    let mut blocks = [[0; 64]; N];
    let bytes = blocks.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    let bits = (total as u64) * 8;
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &blocks);
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

impl Key {
    fn new(header: &[u8; HEADER_LEN]) -> Self {
        // A key longer than a block of SHA-256 stands for its hash.
        let hash = finish::<2>(START, header, HEADER_LEN);
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(hash).for_each(|(byte, key)| *byte ^= key);
            let mut state = START;
            compress256(&mut state, &[block]);
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// HMAC of a message whose inner hash is `inner`.
    fn close(&self, inner: &[u8; 32]) -> [u8; 32] {
        finish::<1>(self.outer, inner, 64 + inner.len())
    }

    /// Makes the hash of what was mixed.
    pub fn finish(&self, block: &[u8; BLOCK_LEN]) -> [u8; 32] {
        let mut message = [0; BLOCK_LEN + 4];
        message[..BLOCK_LEN].copy_from_slice(block);
        message[BLOCK_LEN..].copy_from_slice(&1u32.to_be_bytes());
        self.close(&finish::<3>(self.inner, &message, 64 + message.len()))
    }
}

/// Makes the block that is mixed.
pub fn expand(header: &[u8; HEADER_LEN]) -> Expanded {
    let key = Key::new(header);
    let (first, rest) = header.split_first_chunk::<64>().expect("a header is longer");
    let mut salted = key.inner;
    compress256(&mut salted, &[*first]);
    let mut tail = [0; HEADER_LEN - 64 + 4];
    tail[..rest.len()].copy_from_slice(rest);
    let mut block = [0; BLOCK_LEN];
    for (number, part) in (1u32..).zip(block.chunks_exact_mut(32)) {
        tail[HEADER_LEN - 64..].copy_from_slice(&number.to_be_bytes());
        part.copy_from_slice(&key.close(&finish::<1>(salted, &tail, 64 + HEADER_LEN + 4)));
    }
    Expanded { block, key }
}
