//! The list of a content's chunks.

use super::{CHUNK_BYTES, chunk_len, chunks};
use bmm_types::ContentHash;
use sha2::{Digest, Sha256};
use std::io::Read;

/// The BLAKE3 of each chunk, in order. Each names a block of IPFS, too: as a CIDv1 of codec `raw` and multihash `blake3` (0x1e).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkList {
    size: u64,
    /// None for content of one chunk, which its name is enough for.
    hashes: Vec<[u8; 32]>,
}

/// Says why a list is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It has another number of chunks than the size says.
    #[error("the list has {found} chunks where {size} bytes have another number")]
    Length {
        /// Chunks in the list.
        found: usize,
        /// The content's length.
        size: u64,
    },
    /// The content is larger than any may be.
    #[error("the content is too large")]
    TooLarge,
}

impl ChunkList {
    /// Takes a list from a peer: `bytes` are the hashes one after the other.
    pub fn decode(size: u64, bytes: &[u8]) -> Result<Self, ListError> {
        let wanted = usize::try_from(listed(size).ok_or(ListError::TooLarge)?).map_err(|_| ListError::TooLarge)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() != wanted || !rest.is_empty() {
            return Err(ListError::Length { found: hashes.len(), size });
        }
        Ok(Self { size, hashes: hashes.to_vec() })
    }

    /// Returns the hashes one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.hashes.concat()
    }

    /// Returns the list of content of one chunk, or none: it is empty, as the name says all.
    pub fn single(size: u64) -> Option<Self> {
        (listed(size)? == 0).then(|| Self { size, hashes: Vec::new() })
    }

    /// Reads content of `size` bytes and lists its chunks.
    pub fn read(mut from: impl Read, size: u64) -> std::io::Result<Self> {
        let count = listed(size).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::FileTooLarge))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut hashes = Vec::new();
        for index in 0..count {
            let chunk = &mut buffer[..chunk_len(size, index)];
            from.read_exact(chunk)?;
            hashes.push(blake3::hash(chunk).into());
        }
        Ok(Self { size, hashes })
    }

    /// Returns the number of chunks that the content has.
    pub fn count(&self) -> u32 {
        chunks(self.size).unwrap_or(u32::MAX)
    }

    /// Returns the content's length, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether `bytes` can be the chunk number `index`; of content of one chunk only its name tells.
    pub fn is_chunk(&self, index: u32, bytes: &[u8]) -> bool {
        if index >= self.count() || bytes.len() != chunk_len(self.size, index) {
            return false;
        }
        let hash = usize::try_from(index).ok().and_then(|index| self.hashes.get(index));
        self.count() == 1 || hash.is_some_and(|hash| blake3::hash(bytes) == *hash)
    }
}

/// Returns the number of chunks that are listed: all, where there are several.
fn listed(size: u64) -> Option<u32> {
    chunks(size).map(|count| if count > 1 { count } else { 0 })
}

/// Hashes content as it comes, to hold the whole against its name.
#[derive(Clone, Default)]
pub(super) struct Whole(Sha256);

impl Whole {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn name(self) -> ContentHash {
        ContentHash(alloy_primitives::B256::from_slice(&self.0.finalize()))
    }
}
