//! A trie in memory.

use super::{Batch, Leaf, Nibbles, Node, TrieError, TrieSource, TrieUpdate, update};
use alloy_primitives::B256;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Changes of entries.
pub(super) type Changes = BTreeMap<B256, Option<Vec<u8>>>;

/// Records and flat entries in maps.
#[derive(Debug, Default)]
pub(super) struct MemoryTrie {
    pub records: BTreeMap<Nibbles, Node>,
    pub flat: BTreeMap<B256, Vec<u8>>,
    pub reads: AtomicUsize,
}

impl MemoryTrie {
    /// The changes as a batch that says which keys are there.
    pub fn batch(&self, changes: &Changes) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in changes {
            batch.push(*key, self.flat.contains_key(key), |out| {
                out.extend_from_slice(value.as_deref().unwrap_or_default());
            });
        }
        batch
    }

    /// Applies changes and returns the new root. Hints, or their absence, and threads must not matter.
    pub fn apply(&mut self, changes: &Changes) -> Result<B256, TrieError> {
        let outcome = update(self, &self.batch(changes), 1)?;
        self.take(changes, &outcome);
        Ok(outcome.root)
    }

    pub fn take(&mut self, changes: &Changes, outcome: &TrieUpdate) {
        for (path, node) in &outcome.nodes {
            match node {
                Some(node) => self.records.insert(*path, node.clone()),
                None => self.records.remove(path),
            };
        }
        for (&key, value) in changes {
            match value {
                Some(value) => self.flat.insert(key, value.clone()),
                None => self.flat.remove(&key),
            };
        }
    }
}

impl TrieSource for &MemoryTrie {
    type Error = TrieError;

    fn node(&self, path: &Nibbles) -> Result<Option<Node>, TrieError> {
        (**self).node(path)
    }

    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, TrieError> {
        (**self).leaf(from)
    }
}

impl TrieSource for MemoryTrie {
    type Error = TrieError;

    fn node(&self, path: &Nibbles) -> Result<Option<Node>, TrieError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.records.get(path).cloned())
    }

    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, TrieError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.flat.range(*from..).next().map(|(&key, value)| Leaf { key, value: value.clone() }))
    }
}
