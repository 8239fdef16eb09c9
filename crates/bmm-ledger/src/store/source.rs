//! The tries of a snapshot, as the trie room reads them.

use super::{StoreError, cache::TrieCache, snapshot::Snapshot};
use crate::trie::{Leaf, Nibbles, TrieSource};
use alloy_primitives::B256;

/// A trie of a snapshot: the account trie or, with an owner, a storage trie.
pub(super) struct SnapshotTrie<'a> {
    pub snapshot: &'a Snapshot,
    pub owner: Option<B256>,
    pub cache: Option<&'a TrieCache>,
}

impl TrieSource for SnapshotTrie<'_> {
    type Error = StoreError;

    fn record(&mut self, path: &Nibbles) -> Result<Option<Vec<u8>>, StoreError> {
        let head = self.snapshot.head_id();
        let key = (self.owner, *path);
        let cached = self.cache.and_then(|cache| cache.get(head, &key));
        if let Some(record) = cached {
            return Ok(Some(record.record().to_vec()));
        }
        let record = self.snapshot.trie_record(self.owner.as_ref(), path)?;
        if let (Some(cache), Some(record)) = (self.cache, &record) {
            cache.put(head, key, record);
        }
        Ok(record)
    }

    fn leaf(&mut self, prefix: &Nibbles) -> Result<Option<Leaf>, StoreError> {
        let mut from = B256::ZERO;
        prefix.pack_to(from.as_mut_slice());
        let mut found = None;
        if let Some(owner) = &self.owner {
            self.snapshot.slots(owner, &from, |key, value| {
                found = Some(Leaf { key, value: alloy_rlp::encode(value) });
                false
            })?;
        } else if let Some((key, record)) = self.snapshot.first_account_from(&from)? {
            found = Some(Leaf { key, value: record.leaf() });
        }
        Ok(found.filter(|leaf| Nibbles::unpack_array(&leaf.key.0).starts_with(prefix)))
    }
}
