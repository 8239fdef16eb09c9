//! Ethereum's secure Merkle-Patricia trie.
use alloy_trie::Nibbles;

/// What the stored trie lacks or holds wrongly, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trie node at {path:?}: {what}")]
pub struct TrieError {
    /// Path of the node.
    pub path: Nibbles,
    /// What is wrong.
    pub what: String,
}
