//! What is kept in memory of the head's state: trie nodes of all levels, and the records of accounts.

mod clock;

use super::{StoreError, snapshot::Snapshot, stage::Staged, tables::Record};
use crate::trie::{Nibbles, Node};
use alloy_primitives::{B256, map::HashMap};
use clock::Clock;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::hash::Hash;

/// Memory for trie nodes when nothing else is said, in bytes.
pub(super) const DEFAULT_NODE_BYTES: usize = 512 << 20;

/// Memory for account records, as a part of that for nodes.
const ACCOUNT_PART: usize = 8;

/// Nodes read during one update that are kept afterwards, at most.
const MAX_MISSED: usize = 1 << 16;

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
}

/// The trie nodes and accounts of one head that are kept, bounded in bytes. Those who ask about another head are told nothing.
pub(super) struct TrieCache {
    nodes: RwLock<Kept<NodeKey, Node>>,
    accounts: RwLock<Kept<B256, Option<Record>>>,
}

struct Kept<K, V> {
    head: B256,
    limit: usize,
    entries: Clock<K, V>,
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn new(head: B256, limit: usize) -> Self {
        Self { head, limit, entries: Clock::new(limit) }
    }

    /// Moves on to the next head, whose difference is to be put; forgets all if the head was another.
    fn advance(&mut self, from: B256, to: B256) {
        if self.head == from {
            self.head = to;
        } else {
            *self = Self::new(to, self.limit);
        }
    }
}

/// Owner, or zero for the account trie; path, 15 nibbles at most, and its length in the last four bits.
type NodeKey = (B256, u64);

/// Returns under what a node is kept. Nodes deeper than 15 nibbles are not: by chance there are none among less than 2^30 keys.
fn node_key((owner, path): &RecordKey) -> Option<NodeKey> {
    let len = u64::try_from(path.len()).ok().filter(|len| *len < 16)?;
    let mut bytes = [0; 8];
    path.pack_to(&mut bytes);
    Some((owner.unwrap_or_default(), u64::from_be_bytes(bytes) | len))
}

impl TrieCache {
    /// Makes an empty cache of the state after `head`, with so many bytes for trie nodes and an eighth more for accounts.
    pub fn new(head: B256, node_bytes: usize) -> Self {
        Self {
            nodes: RwLock::new(Kept::new(head, node_bytes)),
            accounts: RwLock::new(Kept::new(head, node_bytes / ACCOUNT_PART)),
        }
    }

    /// Returns what an update of the state after `head` reads nodes through. The cache stands still as long as it lives.
    pub fn nodes(&self, head: B256) -> CachedNodes<'_> {
        let kept = Some(self.nodes.read()).filter(|kept| kept.head == head);
        CachedNodes { cache: self, head, kept, missed: Mutex::default() }
    }

    /// Returns the record of an account, kept or from the snapshot.
    pub fn account(&self, snapshot: &Snapshot, owner: &B256) -> Result<Option<Record>, StoreError> {
        let head = snapshot.head_id();
        {
            let kept = self.accounts.read();
            if kept.head == head
                && let Some(record) = kept.entries.get(owner)
            {
                return Ok(record);
            }
        }
        let record = snapshot.record(owner)?;
        let mut kept = self.accounts.write();
        if kept.head == head {
            kept.entries.put(*owner, record, 0);
        }
        Ok(record)
    }

    /// Moves on to the head `to`, which comes of what was staged.
    pub fn advance(&self, staged: &Staged, to: B256) {
        let mut nodes = self.nodes.write();
        nodes.advance(staged.parent, to);
        for (key, node) in &staged.records {
            match (node_key(key), node) {
                (None, _) => {}
                (Some(key), Some(node)) => nodes.entries.put(key, node.clone(), node.record().len()),
                (Some(key), None) => nodes.entries.remove(&key),
            }
        }
        drop(nodes);
        let mut accounts = self.accounts.write();
        accounts.advance(staged.parent, to);
        for (owner, record) in &staged.accounts {
            let record = record.as_ref().map(|record| Record::from_bytes(owner.as_slice(), record)).transpose();
            match record {
                Ok(record) => accounts.entries.put(*owner, record, 0),
                Err(_) => accounts.entries.remove(owner),
            }
        }
    }
}

/// Nodes kept for one update, and those that it had to read elsewhere.
pub(super) struct CachedNodes<'a> {
    cache: &'a TrieCache,
    head: B256,
    kept: Option<RwLockReadGuard<'a, Kept<NodeKey, Node>>>,
    missed: Mutex<Vec<(NodeKey, Node)>>,
}

impl CachedNodes<'_> {
    /// Returns a node, if it is kept.
    pub fn get(&self, key: &RecordKey) -> Option<Node> {
        self.kept.as_ref()?.entries.get(&node_key(key)?)
    }

    /// Notes a node that was read elsewhere.
    pub fn missed(&self, key: &RecordKey, node: &Node) {
        let mut missed = self.missed.lock();
        if let Some(key) = node_key(key)
            && missed.len() < MAX_MISSED
        {
            missed.push((key, node.clone()));
        }
    }

    /// Ends the reading and keeps what was missed.
    pub fn finish(self) {
        let Self { cache, head, kept, missed } = self;
        drop(kept);
        let missed = missed.into_inner();
        if missed.is_empty() {
            return;
        }
        let mut kept = cache.nodes.write();
        if kept.head == head {
            for (key, node) in missed {
                let bytes = node.record().len();
                kept.entries.put(key, node, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Account, StateDiff};

    const LIMIT: usize = 1 << 20;

    fn key(at: u8) -> RecordKey {
        (None, Nibbles::from_nibbles([at]))
    }

    fn staged(parent: B256, records: Vec<(RecordKey, Option<Node>)>) -> Staged {
        let account = Account { nonce: 7, ..Account::default() };
        let record = Record { account, storage_root: B256::ZERO }.to_bytes();
        let (root, diff, slots) = (B256::ZERO, StateDiff::default(), Vec::new());
        Staged { parent, root, diff, accounts: vec![(B256::ZERO, Some(record))], slots, records }
    }

    fn keep(cache: &TrieCache, head: B256, at: u8) {
        let nodes = cache.nodes(head);
        nodes.missed(&key(at), &Node::new(&[at]));
        nodes.finish();
    }

    fn kept(cache: &TrieCache, head: B256, at: u8) -> Option<u8> {
        cache.nodes(head).get(&key(at)).map(|node| node.record()[0])
    }

    #[test]
    fn another_head_sees_nothing_and_adds_nothing() {
        let (here, there) = (B256::ZERO, B256::repeat_byte(1));
        let cache = TrieCache::new(here, LIMIT);
        keep(&cache, here, 1);
        keep(&cache, there, 2);
        assert_eq!([kept(&cache, here, 1), kept(&cache, here, 2), kept(&cache, there, 1)], [Some(1), None, None]);
    }

    #[test]
    fn advancing_replaces_what_changed_and_keeps_the_rest() {
        let (from, to) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let cache = TrieCache::new(from, LIMIT);
        (1..4).for_each(|at| keep(&cache, from, at));
        cache.advance(&staged(from, vec![(key(1), Some(Node::new(&[9]))), (key(2), None)]), to);
        assert_eq!([1, 2, 3].map(|at| kept(&cache, to, at)), [Some(9), None, Some(3)]);
        assert_eq!(kept(&cache, from, 3), None);
        let account = cache.accounts.read().entries.get(&B256::ZERO).flatten();
        assert_eq!(account.map(|record| record.account.nonce), Some(7));
    }

    #[test]
    fn advancing_from_elsewhere_forgets() {
        let [here, there, next] = [1, 2, 3].map(B256::repeat_byte);
        let cache = TrieCache::new(here, LIMIT);
        keep(&cache, here, 1);
        cache.advance(&staged(there, Vec::new()), next);
        assert_eq!(kept(&cache, next, 1), None);
    }

    #[test]
    fn nodes_of_different_places_have_different_keys() {
        let paths = [&[][..], &[0], &[0, 0], &[1], &[0, 1], &[1, 0]].map(Nibbles::from_nibbles);
        let owners = [None, Some(B256::repeat_byte(1))];
        let mut keys: Vec<_> = owners.iter().flat_map(|&owner| paths.map(|path| node_key(&(owner, path)))).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 12);
        assert_eq!(node_key(&(None, Nibbles::from_nibbles([0; 16]))), None);
        assert!(node_key(&(None, Nibbles::from_nibbles([15; 15]))).is_some());
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
