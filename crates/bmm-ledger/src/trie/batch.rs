//! Changes to be applied together.

use super::{Nibbles, TrieError};
use alloy_primitives::B256;

/// Changes of entries, ascending by hashed key, each key once. All values lie in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    values: Vec<u8>,
}

/// A change of one entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: Nibbles,
    /// Where the value lies; of no length if the entry goes.
    start: usize,
    len: usize,
    /// Whether the trie is known to hold the key.
    pub held: bool,
}

impl Entry {
    pub fn removes(&self) -> bool {
        self.len == 0
    }
}

impl Batch {
    /// Makes an empty batch with room for `entries` changes.
    pub fn with_capacity(entries: usize) -> Self {
        Self { entries: Vec::with_capacity(entries), values: Vec::new() }
    }

    /// Adds the change of a hashed key: `write` appends the new encoded value; appending nothing removes the entry.
    ///
    /// `held` says that the trie is known to hold the key. Then a leaf met on the way needs no reading to know whose it is;
    /// saying so wrongly gives a wrong root.
    pub fn push(&mut self, key: B256, held: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.values.len();
        write(&mut self.values);
        self.entries.push(Entry { key: Nibbles::unpack_array(&key.0), start, len: self.values.len() - start, held });
    }

    /// Adds a new value, or a removal, of a key that the trie may or may not hold.
    pub fn set(&mut self, key: B256, value: Option<&[u8]>) {
        self.push(key, false, |values| values.extend_from_slice(value.unwrap_or_default()));
    }

    /// Appends another batch, whose keys come later.
    pub fn append(&mut self, later: &Self) {
        let base = self.values.len();
        self.values.extend_from_slice(&later.values);
        self.entries.extend(later.entries.iter().map(|entry| Entry { start: base + entry.start, ..entry.clone() }));
    }

    /// Returns how many changes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn value(&self, entry: &Entry) -> &[u8] {
        &self.values[entry.start..entry.start + entry.len]
    }

    /// Returns the leaves that the batch sets (`Some`) or removes (`None`).
    pub(super) fn leaves(&self) -> impl Iterator<Item = (B256, Option<Vec<u8>>)> + '_ {
        self.entries.iter().map(|entry| {
            let mut key = B256::ZERO;
            entry.key.pack_to(key.as_mut_slice());
            (key, (!entry.removes()).then(|| self.value(entry).to_vec()))
        })
    }

    /// Returns the changes, having checked their order.
    pub(super) fn ascending(&self) -> Result<&[Entry], TrieError> {
        match self.entries.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            Some(pair) => Err(TrieError::new(&pair[1].key, "updates do not ascend")),
            None => Ok(&self.entries),
        }
    }
}
