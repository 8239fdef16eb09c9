//! Ethereum's secure Merkle-Patricia trie, kept by path and updated in place.
//!
//! A trie here is two things side by side: *records* of its branches and extensions, each under the path (nibbles from the
//! root) where it stands, and the *leaves*, which are not recorded at all: a leaf is the one entry of the flat state whose key
//! begins with the leaf's path. A [`TrieSource`] answers for both. A record is overwritten where it stands, so that there is
//! nothing to collect afterwards, and a subtree is a contiguous range of keys.
//!
//! [`update`] applies a sorted batch in one descent that loads only nodes on touched paths; [`prove`] collects the nodes
//! between the root and a key; [`prove_range`] gives consecutive leaves with their proof, for [`verify_range`] elsewhere; a
//! [`Walk`] finds where a trie differs from another of which only the root is known; an [`Overlay`] is a trie after an update,
//! over the one before. None of them writes. This room knows nothing of accounts,
//! databases or blocks.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "the only sums are of path lengths, and no path is longer than 64 nibbles"
)]

mod batch;
mod groups;
#[cfg(test)]
mod memory;
mod overlay;
mod prove;
mod range;
mod record;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
mod update;
mod walk;

pub use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
pub use batch::Batch;
pub use overlay::{Overlaid, Overlay};
pub use prove::{Proof, prove};
pub use range::{
    MAX_RANGE_PROOF_NODES, RangeError, RangeProof, following, node_at, prove_range, prove_range_while, verify_range,
};
pub use record::Node;
pub use update::{TrieUpdate, update};
pub use walk::{Change, Walk, WalkError};

use alloy_primitives::B256;
use std::fmt::Display;

/// Nibbles of a hashed key; every leaf lies at this depth.
pub const KEY_NIBBLES: usize = 64;

/// What the stored trie lacks or holds wrongly, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trie node at {path:?}: {what}")]
pub struct TrieError {
    /// Path of the node.
    pub path: Nibbles,
    /// What is wrong.
    pub what: String,
}

impl TrieError {
    fn new(path: &Nibbles, what: impl Display) -> Self {
        Self { path: *path, what: what.to_string() }
    }
}

/// A leaf: the hashed key, whole, and the value as the trie holds it (RLP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The hashed key.
    pub key: B256,
    /// The encoded value.
    pub value: Vec<u8>,
}

/// Where a trie is read from: a database, or memory. Several threads read at a time.
pub trait TrieSource: Sync {
    /// How reading fails; a trie that contradicts itself is one of the ways.
    type Error: From<TrieError> + Send;

    /// Returns the branch or extension recorded at `path`, if one stands there.
    fn node(&self, path: &Nibbles) -> Result<Option<Node>, Self::Error>;

    /// Returns the first entry of the flat state at or after a hashed key.
    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, Self::Error>;
}

/// Returns the first entry of the flat state whose key begins with `path`.
fn leaf_below<S: TrieSource>(source: &S, path: &Nibbles) -> Result<Option<Leaf>, S::Error> {
    let mut from = B256::ZERO;
    path.pack_to(from.as_mut_slice());
    Ok(source.leaf(&from)?.filter(|leaf| Nibbles::unpack_array(&leaf.key.0).starts_with(path)))
}
