//! Content exchange: bytes by their name, verified chunk by chunk, kept on disk under a limit.
//!
//! The name of content is its SHA-256. Beside it goes a list of the BLAKE3 of each chunk of [`CHUNK_BYTES`]: the leaves into which IPFS cuts
//! a file by default, so that the same blocks can be served there under their CIDs. The list is the word of the peer that serves it: a
//! chunk that differs from it, or a whole that differs from its name, is that peer's fault. Content of one chunk needs no list.

mod fetch;
mod list;
mod serve;
mod store;

pub use fetch::{FetchError, Fetcher, Opener, fetch_from};
pub use list::{ChunkList, ListError};
pub use serve::{Source, serve};
pub use store::{ContentStore, Pin, StoreError};

use bmm_types::ContentHash;
use std::time::Duration;

/// Name of the protocol within a network.
pub const CONTENT_PROTOCOL: &str = "content/2";
/// Length of every chunk but the last, bytes: that of IPFS's leaves.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Largest content, bytes.
pub const MAX_CONTENT_BYTES: u64 = 64 << 30;

/// How long a peer may take for the next part.
const PATIENCE: Duration = Duration::from_mins(1);
/// Chunks that wait between reading, sending, hashing and writing.
const PIPELINE: usize = 8;

/// What a request is for: 1 byte, then the name (32), the length (8, little-endian) and the first chunk (4).
const REQUEST_BYTES: usize = 45;

/// Something that a peer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// The list of chunks, or (if not) the chunks.
    list: bool,
    hash: ContentHash,
    size: u64,
    /// First chunk that is wanted.
    from: u32,
}

impl Request {
    fn encode(self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0] = u8::from(self.list);
        bytes[1..33].copy_from_slice(self.hash.0.as_slice());
        bytes[33..41].copy_from_slice(&self.size.to_le_bytes());
        bytes[41..].copy_from_slice(&self.from.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let list = match bytes[0] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut size = [0; 8];
        size.copy_from_slice(&bytes[33..41]);
        let mut from = [0; 4];
        from.copy_from_slice(&bytes[41..]);
        let hash = ContentHash(alloy_primitives::B256::from_slice(&bytes[1..33]));
        Some(Self { list, hash, size: u64::from_le_bytes(size), from: u32::from_le_bytes(from) })
    }
}

/// Answer of a peer that has the content.
const HERE: u8 = 1;
/// Answer of a peer that does not have it.
const NOT_HERE: u8 = 0;

/// Returns the number of chunks of content of `size` bytes; none above [`MAX_CONTENT_BYTES`].
fn chunks(size: u64) -> Option<u32> {
    let chunk = u64::try_from(CHUNK_BYTES).ok()?;
    if size > MAX_CONTENT_BYTES { None } else { u32::try_from(size.div_ceil(chunk)).ok() }
}

/// Returns the length of the chunk number `index` of content of `size` bytes.
fn chunk_len(size: u64, index: u32) -> usize {
    let begin = u64::from(index).saturating_mul(CHUNK_BYTES.try_into().unwrap_or(u64::MAX));
    usize::try_from(size.saturating_sub(begin)).unwrap_or(usize::MAX).min(CHUNK_BYTES)
}

#[cfg(test)]
mod tests;
