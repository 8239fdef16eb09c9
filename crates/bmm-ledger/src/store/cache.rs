//! What is kept in memory: the upper levels of the tries.

use crate::trie::Nibbles;
use alloy_primitives::{B256, map::HashMap};
use std::{hash::Hash, sync::Arc};

/// Deepest level of the account trie that is kept: 69,905 nodes of some 530 bytes when all are full.
const ACCOUNT_LEVELS: usize = 4;

/// Deepest level of a storage trie that is kept.
const STORAGE_LEVELS: usize = 2;

/// Records in a generation; two generations are kept, at most some 160 MB.
const GENERATION: usize = 131_072;

/// Which record of which trie: the owner is keccak(address) of a storage trie, `None` of the account trie.
pub(super) type RecordKey = (Option<B256>, Nibbles);

/// A bounded map: a full generation becomes the old one, and what of that is not asked for again goes.
pub(super) struct Generations<K, V> {
    limit: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Clone> Generations<K, V> {
    /// Makes an empty map of at most twice `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { limit, young: HashMap::default(), old: HashMap::default() }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    pub fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

/// Records of one head's tries.
pub(super) struct TrieCache {
    head: B256,
    records: Generations<RecordKey, Arc<[u8]>>,
}

impl Default for TrieCache {
    fn default() -> Self {
        Self::new(B256::ZERO)
    }
}

impl TrieCache {
    fn new(head: B256) -> Self {
        Self { head, records: Generations::new(GENERATION) }
    }

    /// Forgets everything unless it belongs to `head`.
    pub fn at(&mut self, head: B256) -> &mut Self {
        if self.head != head {
            *self = Self::new(head);
        }
        self
    }

    /// Returns a record, if it is kept.
    pub fn get(&mut self, key: &RecordKey) -> Option<Arc<[u8]>> {
        if Self::keeps(key) { self.records.get(key) } else { None }
    }

    /// Keeps a record, if it stands high enough.
    pub fn put(&mut self, key: RecordKey, record: &[u8]) {
        if Self::keeps(&key) {
            self.records.put(key, record.into());
        }
    }

    fn keeps((owner, path): &RecordKey) -> bool {
        path.len() <= if owner.is_some() { STORAGE_LEVELS } else { ACCOUNT_LEVELS }
    }

    /// Moves on to the next head: `records` are all that differ.
    pub fn advance<'a>(
        &mut self,
        from: B256,
        to: B256,
        records: impl IntoIterator<Item = (RecordKey, Option<&'a [u8]>)>,
    ) {
        if self.head != from {
            // Somebody read at another head meanwhile. What was kept is of no use; what comes next is read anew.
            *self = Self::new(to);
            return;
        }
        self.head = to;
        for (key, record) in records.into_iter().filter(|(key, _)| Self::keeps(key)) {
            self.records.remove(&key);
            if let Some(record) = record {
                self.put(key, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: u8) -> RecordKey {
        (None, Nibbles::from_nibbles([at]))
    }

    #[test]
    fn a_cache_of_another_head_is_empty() {
        let mut cache = TrieCache::default();
        cache.at(B256::ZERO).put(key(1), &[1]);
        assert!(cache.at(B256::ZERO).get(&key(1)).is_some());
        assert!(cache.at(B256::repeat_byte(1)).get(&key(1)).is_none());
    }

    #[test]
    fn advancing_replaces_what_changed_and_keeps_the_rest() {
        let (from, to) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let mut cache = TrieCache::default();
        for at in 1..4 {
            cache.at(from).put(key(at), &[at]);
        }
        cache.advance(from, to, [(key(1), Some(&[9][..])), (key(2), None)]);
        let kept = [1, 2, 3].map(|at| cache.at(to).get(&key(at)).map(|record| record[0]));
        assert_eq!(kept, [Some(9), None, Some(3)]);
    }

    #[test]
    fn advancing_from_elsewhere_forgets() {
        let mut cache = TrieCache::default();
        cache.at(B256::repeat_byte(1)).put(key(1), &[1]);
        cache.advance(B256::repeat_byte(2), B256::repeat_byte(3), []);
        assert!(cache.at(B256::repeat_byte(3)).get(&key(1)).is_none());
    }

    #[test]
    fn a_bounded_map_keeps_what_is_asked_for() {
        let mut map = Generations::new(4);
        for key in 0..100 {
            map.put(key, key);
            assert_eq!(map.get(&0), Some(0));
        }
        assert!(map.young.len() + map.old.len() <= 8);
        assert_eq!(map.get(&50), None);
    }

    #[test]
    fn deep_records_are_not_kept() {
        let mut cache = TrieCache::default();
        let deep = (None, Nibbles::from_nibbles([1, 2, 3, 4, 5]));
        cache.put(deep, &[1]);
        assert!(cache.get(&deep).is_none());
    }
}
