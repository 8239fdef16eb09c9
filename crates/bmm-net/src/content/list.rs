//! The list of a content's chunks.

use super::{CHUNK_BYTES, chunk_len, chunks};
use bmm_types::ContentHash;
use sha2::{Digest, Sha256};
use std::io::Read;

/// The SHA-256 of each chunk, in order. Each is the name of an IPFS leaf (`bafkrei…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkList {
    size: u64,
    hashes: Vec<ContentHash>,
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
    /// The content has one chunk, and another name than that.
    #[error("the only chunk has another name than the whole")]
    Single,
    /// The content is larger than any may be.
    #[error("the content is too large")]
    TooLarge,
}

impl ChunkList {
    /// Takes a list from a peer: `bytes` are the hashes one after the other.
    pub fn decode(name: ContentHash, size: u64, bytes: &[u8]) -> Result<Self, ListError> {
        let wanted = usize::try_from(chunks(size).ok_or(ListError::TooLarge)?).map_err(|_| ListError::TooLarge)?;
        if bytes.len() != wanted * 32 {
            return Err(ListError::Length { found: bytes.len() / 32, size });
        }
        let hash = |bytes: &[u8]| ContentHash(alloy_primitives::B256::from_slice(bytes));
        let list = Self { size, hashes: bytes.chunks_exact(32).map(hash).collect() };
        if let [only] = list.hashes[..]
            && only != name
        {
            Err(ListError::Single)
        } else {
            Ok(list)
        }
    }

    /// Returns the hashes one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Returns the list of content of one chunk, or none, which its name tells.
    pub fn single(name: ContentHash, size: u64) -> Option<Self> {
        match chunks(size)? {
            0 => Some(Self { size, hashes: Vec::new() }),
            1 => Some(Self { size, hashes: vec![name] }),
            _ => None,
        }
    }

    /// Reads content of `size` bytes and lists its chunks.
    pub fn read(mut from: impl Read, size: u64) -> std::io::Result<Self> {
        let count = chunks(size).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::FileTooLarge))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut hashes = Vec::new();
        for index in 0..count {
            let chunk = &mut buffer[..chunk_len(size, index)];
            from.read_exact(chunk)?;
            hashes.push(ContentHash::of(chunk));
        }
        Ok(Self { size, hashes })
    }

    /// Returns the number of chunks.
    pub fn count(&self) -> u32 {
        u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)
    }

    /// Returns the content's length, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the names of the chunks.
    pub fn hashes(&self) -> &[ContentHash] {
        &self.hashes
    }

    /// Whether `bytes` are the chunk number `index`.
    pub fn is_chunk(&self, index: u32, bytes: &[u8]) -> bool {
        let hash = usize::try_from(index).ok().and_then(|index| self.hashes.get(index));
        hash.is_some_and(|hash| *hash == ContentHash::of(bytes))
    }
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
