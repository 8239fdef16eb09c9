//! Names of content: SHA-256, written as an IPFS CID.

use alloy_primitives::B256;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// CIDv1, codec `raw` (0x55), multihash SHA2-256 (0x12) of 32 bytes (0x20).
const CID_PREFIX: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

/// The SHA-256 of some bytes; shown as the CIDv1 (`bafkrei…`) under which IPFS knows the same block.
///
/// SHA-256 because IPFS defaults to it and the EVM checks it with a precompile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(pub B256);

impl ContentHash {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(B256::from_slice(&Sha256::digest(bytes)))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cid = [0u8; 36];
        cid[..4].copy_from_slice(&CID_PREFIX);
        cid[4..].copy_from_slice(self.0.as_slice());
        write!(f, "b{}", BASE32_NOPAD.encode(&cid).to_ascii_lowercase())
    }
}

/// Says that a text is not a content name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a content name; expected a CIDv1 of raw SHA-256 content, such as bafkrei…, 59 characters long")]
pub struct ParseContentHashError;

impl FromStr for ContentHash {
    type Err = ParseContentHashError;

    fn from_str(text: &str) -> Result<Self, ParseContentHashError> {
        let body = text.strip_prefix('b').filter(|b| b.len() == 58 && b.is_ascii()).ok_or(ParseContentHashError)?;
        let cid = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| ParseContentHashError)?;
        match cid.strip_prefix(&CID_PREFIX) {
            Some(hash) if hash.len() == 32 && body == body.to_ascii_lowercase() => Ok(Self(B256::from_slice(hash))),
            _ => Err(ParseContentHashError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_content_as_ipfs_does() {
        // `echo -n hello | ipfs add --cid-version 1 --raw-leaves -n`
        let hash = ContentHash::of(b"hello");
        assert_eq!(hash.to_string(), "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert!("bafkrei".parse::<ContentHash>().is_err());
        assert!(hash.to_string().to_uppercase().parse::<ContentHash>().is_err());
    }
}
