//! A trie in memory.

use super::{Leaf, Nibbles, TrieError, TrieSource, Update, update};
use alloy_primitives::B256;
use std::collections::BTreeMap;

/// Records and flat entries in maps.
#[derive(Debug, Default)]
pub(super) struct MemoryTrie {
    pub records: BTreeMap<Nibbles, Vec<u8>>,
    pub flat: BTreeMap<B256, Vec<u8>>,
    pub reads: usize,
}

impl MemoryTrie {
    /// Applies a batch and returns the new root.
    pub fn apply(&mut self, batch: &BTreeMap<B256, Option<Vec<u8>>>) -> Result<B256, TrieError> {
        let updates = batch.iter().map(|(&key, value)| Update::new(key, value.clone())).collect();
        let outcome = update(self, updates)?;
        for (path, record) in outcome.records {
            match record {
                Some(node) => self.records.insert(path, node.record().to_vec()),
                None => self.records.remove(&path),
            };
        }
        for (&key, value) in batch {
            match value {
                Some(value) => self.flat.insert(key, value.clone()),
                None => self.flat.remove(&key),
            };
        }
        Ok(outcome.root)
    }
}

impl TrieSource for MemoryTrie {
    type Error = TrieError;

    fn record(&mut self, path: &Nibbles) -> Result<Option<Vec<u8>>, TrieError> {
        self.reads += 1;
        Ok(self.records.get(path).cloned())
    }

    fn leaf(&mut self, prefix: &Nibbles) -> Result<Option<Leaf>, TrieError> {
        self.reads += 1;
        let mut from = B256::ZERO;
        prefix.pack_to(&mut from.0);
        let found = self.flat.range(from..).next().map(|(&key, value)| Leaf { key, value: value.clone() });
        Ok(found.filter(|leaf| Nibbles::unpack_array(&leaf.key.0).starts_with(prefix)))
    }
}
