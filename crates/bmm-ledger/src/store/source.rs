//! The tries of a snapshot, as the trie room reads them.

use super::{StoreError, cache::CachedNodes, snapshot::Snapshot, tables::Record};
use crate::{
    diff::Account,
    trie::{Leaf, Nibbles, Node, TrieSource},
};
use alloy_primitives::{B256, U256};
use alloy_trie::TrieAccount;

/// A trie of a snapshot: the account trie or, with an owner, a storage trie.
pub(super) struct SnapshotTrie<'a> {
    pub snapshot: &'a Snapshot,
    pub owner: Option<B256>,
    pub cache: Option<&'a CachedNodes<'a>>,
    /// Whether nothing is there, so that nothing need be read.
    pub empty: bool,
}

impl<'a> SnapshotTrie<'a> {
    /// The account trie or, with an owner, a storage trie, read from the snapshot alone.
    pub fn new(snapshot: &'a Snapshot, owner: Option<B256>) -> Self {
        Self { snapshot, owner, cache: None, empty: false }
    }
}

/// Appends the value of an account's leaf.
pub(super) fn encode_account(record: &Record, out: &mut Vec<u8>) {
    let Account { nonce, balance, code_hash } = record.account;
    alloy_rlp::Encodable::encode(&TrieAccount::new(nonce, balance, record.storage_root, code_hash), out);
}

/// Appends the value of a storage slot's leaf.
pub(super) fn encode_slot(value: U256, out: &mut Vec<u8>) {
    alloy_rlp::Encodable::encode(&value, out);
}

impl TrieSource for SnapshotTrie<'_> {
    type Error = StoreError;

    fn node(&self, path: &Nibbles) -> Result<Option<Node>, StoreError> {
        if self.empty {
            return Ok(None);
        }
        let key = (self.owner, *path);
        if let Some(node) = self.cache.and_then(|cache| cache.get(&key)) {
            return Ok(Some(node));
        }
        let record = self.snapshot.trie_record(self.owner.as_ref(), path)?;
        let node = record.map(|record| Node::new(&record));
        if let (Some(cache), Some(node)) = (self.cache, &node) {
            cache.missed(&key, node);
        }
        Ok(node)
    }

    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, StoreError> {
        if self.empty {
            return Ok(None);
        }
        let Some(owner) = &self.owner else {
            let found = self.snapshot.first_account_from(from)?;
            return Ok(found.map(|(key, record)| {
                let mut leaf = Leaf { key, value: Vec::with_capacity(110) };
                encode_account(&record, &mut leaf.value);
                leaf
            }));
        };
        let mut found = None;
        self.snapshot.slots(owner, from, |key, value| {
            let mut leaf = Leaf { key, value: Vec::with_capacity(33) };
            encode_slot(value, &mut leaf.value);
            found = Some(leaf);
            false
        })?;
        Ok(found)
    }
}
