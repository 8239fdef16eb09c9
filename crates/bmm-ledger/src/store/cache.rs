//! What is kept in memory: the upper levels of the tries.

use crate::trie::{Nibbles, Node};
use alloy_primitives::{B256, map::HashMap};
use parking_lot::Mutex;
use std::hash::Hash;

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

/// Nodes of one head's tries.
pub(super) struct TrieCache(Mutex<Kept>);

struct Kept {
    head: B256,
    nodes: Generations<RecordKey, Node>,
}

impl TrieCache {
    /// Makes an empty cache of the tries of `head`.
    pub fn new(head: B256) -> Self {
        Self(Mutex::new(Kept::new(head)))
    }

    /// Returns a node of `head`, if it is kept.
    pub fn get(&self, head: B256, key: &RecordKey) -> Option<Node> {
        let mut kept = self.0.lock();
        if kept.head == head && keeps(key) { kept.nodes.get(key) } else { None }
    }

    /// Keeps a node of `head`, if that is the cache's head and the node stands high enough.
    pub fn put(&self, head: B256, key: RecordKey, record: &[u8]) {
        let mut kept = self.0.lock();
        if kept.head == head && keeps(&key) {
            kept.nodes.put(key, Node::new(record));
        }
    }

    /// Moves on to the next head: `records` are all that differ.
    pub fn advance(&self, from: B256, to: B256, records: &[(RecordKey, Option<Node>)]) {
        let mut kept = self.0.lock();
        if kept.head != from {
            *kept = Kept::new(to);
            return;
        }
        kept.head = to;
        for (key, node) in records.iter().filter(|(key, _)| keeps(key)) {
            kept.nodes.remove(key);
            if let Some(node) = node {
                kept.nodes.put(*key, node.clone());
            }
        }
    }
}

impl Kept {
    fn new(head: B256) -> Self {
        Self { head, nodes: Generations::new(GENERATION) }
    }
}

fn keeps((owner, path): &RecordKey) -> bool {
    path.len() <= if owner.is_some() { STORAGE_LEVELS } else { ACCOUNT_LEVELS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(at: u8) -> RecordKey {
        (None, Nibbles::from_nibbles([at]))
    }

    #[test]
    fn another_head_sees_nothing_and_adds_nothing() {
        let (here, there) = (B256::ZERO, B256::repeat_byte(1));
        let cache = TrieCache::new(here);
        cache.put(here, key(1), &[1]);
        cache.put(there, key(2), &[2]);
        assert!(cache.get(here, &key(1)).is_some());
        assert!(cache.get(here, &key(2)).is_none());
        assert!(cache.get(there, &key(1)).is_none());
    }

    #[test]
    fn advancing_replaces_what_changed_and_keeps_the_rest() {
        let (from, to) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let cache = TrieCache::new(from);
        for at in 1..4 {
            cache.put(from, key(at), &[at]);
        }
        cache.advance(from, to, &[(key(1), Some(Node::new(&[9]))), (key(2), None)]);
        let kept = [1, 2, 3].map(|at| cache.get(to, &key(at)).map(|node| node.record()[0]));
        assert_eq!(kept, [Some(9), None, Some(3)]);
    }

    #[test]
    fn advancing_from_elsewhere_forgets() {
        let cache = TrieCache::new(B256::repeat_byte(1));
        cache.put(B256::repeat_byte(1), key(1), &[1]);
        cache.advance(B256::repeat_byte(2), B256::repeat_byte(3), &[]);
        assert!(cache.get(B256::repeat_byte(3), &key(1)).is_none());
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
}
