//! Parts of tries: ranges with proofs, and nodes of a walk. What a stranger sends of them is believed for its hashes alone.

use crate::{choice, take};
use alloy_primitives::{B256, Bytes, keccak256};
use bmm_ledger::trie::{
    Batch, Change, EMPTY_ROOT_HASH, Leaf, MAX_RANGE_PROOF_NODES, Nibbles, Node, RangeProof, TrieError, TrieSource,
    Walk, following, prove, prove_range, update, verify_range,
};
use std::collections::BTreeMap;

/// Leaves and nodes of one input, at most.
const MOST: usize = 48;

/// Reads the bytes as what the first one says.
pub fn run(mut bytes: &[u8]) {
    match choice(&mut bytes) % 4 {
        0 => made_up_range(bytes),
        1 => changed_range(bytes),
        2 => made_up_walk(bytes),
        _ => honest_walk(bytes),
    }
}

/// A trie in memory.
#[derive(Clone, Default)]
struct Memory {
    records: BTreeMap<Nibbles, Node>,
    flat: BTreeMap<B256, Vec<u8>>,
}

impl TrieSource for Memory {
    type Error = TrieError;

    fn node(&self, path: &Nibbles) -> Result<Option<Node>, TrieError> {
        Ok(self.records.get(path).cloned())
    }

    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, TrieError> {
        Ok(self.flat.range(*from..).next().map(|(&key, value)| Leaf { key, value: value.clone() }))
    }
}

impl Memory {
    /// Applies changes and returns the new root.
    fn apply(&mut self, changes: &BTreeMap<B256, Option<Vec<u8>>>) -> B256 {
        let mut batch = Batch::with_capacity(changes.len());
        for (key, value) in changes {
            batch.set(*key, value.as_deref());
        }
        let outcome = update(self, &batch, 1).expect("a trie in memory holds together");
        for (path, node) in outcome.nodes {
            match node {
                Some(node) => drop(self.records.insert(path, node)),
                None => drop(self.records.remove(&path)),
            }
        }
        for (&key, value) in changes {
            match value {
                Some(value) => drop(self.flat.insert(key, value.clone())),
                None => drop(self.flat.remove(&key)),
            }
        }
        outcome.root
    }
}

/// Takes a key: few nibbles that count, so that keys share their beginnings.
fn key(bytes: &mut &[u8]) -> B256 {
    let [shape, one, two] = take(bytes);
    let mut key = B256::repeat_byte(if shape & 1 == 0 { 0 } else { 0xff });
    key[usize::from(shape >> 1) % 32] = one;
    key[0] ^= two & 0x31;
    key
}

/// Takes leaves: short values stand inside their parents, long ones are referred to by hash.
fn leaves(bytes: &mut &[u8]) -> BTreeMap<B256, Option<Vec<u8>>> {
    let count = usize::from(choice(bytes)) % MOST;
    let leaf = |_| {
        let key = key(bytes);
        let value = choice(bytes);
        (key, Some(vec![value | 1; usize::from(value % 40) + 1]))
    };
    (0..count).map(leaf).collect()
}

/// Takes nodes of any bytes. Where one holds 32 times the number of a later one, that one's hash is put there, so that a stranger's
/// nodes refer to each other as a trie's do.
fn nodes(bytes: &mut &[u8]) -> Vec<Bytes> {
    let count = usize::from(choice(bytes)) % 24;
    let mut nodes: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count {
        let length = usize::from(u16::from_le_bytes(take(bytes))) % 600;
        let (node, rest) = bytes.split_at(bytes.len().min(length));
        *bytes = rest;
        nodes.push(node.to_vec());
    }
    for number in (1..nodes.len()).rev() {
        let (hash, mark) = (keccak256(&nodes[number]), [u8::try_from(number).unwrap_or(u8::MAX); 32]);
        for node in &mut nodes[..number] {
            while let Some(at) = node.windows(32).position(|window| window == mark) {
                node[at..at + 32].copy_from_slice(hash.as_slice());
            }
        }
    }
    nodes.into_iter().map(Bytes::from).collect()
}

/// Nodes and leaves of no trie.
fn made_up_range(mut bytes: &[u8]) {
    let from = key(&mut bytes);
    let leaves = leaves(&mut bytes).into_iter().map(|(key, value)| Leaf { key, value: value.unwrap_or_default() });
    let leaves: Vec<Leaf> = leaves.collect();
    let nodes = nodes(&mut bytes);
    let root = nodes.first().map_or(EMPTY_ROOT_HASH, keccak256);
    if verify_range(root, from, &leaves, &nodes).is_ok() {
        assert!(nodes.len() <= MAX_RANGE_PROOF_NODES);
        assert!(leaves.first().is_none_or(|leaf| leaf.key >= from));
    }
}

/// A range of a trie is believed; a change of it is not, unless it says the same.
fn changed_range(mut bytes: &[u8]) {
    let mut trie = Memory::default();
    let root = trie.apply(&leaves(&mut bytes));
    let (from, limit) = (key(&mut bytes), usize::from(choice(&mut bytes)) % MOST + 1);
    let mut range = prove_range(&trie, from, limit).expect("a trie in memory");
    let more = verify_range(root, from, &range.leaves, &range.nodes).expect("an honest range");
    assert_truth(&trie, from, &range, more);
    let shown = prove(&trie, from).expect("a trie in memory");
    assert_eq!(shown.value.as_ref(), trie.flat.get(&from));
    while !bytes.is_empty() {
        change(&mut range, &mut bytes);
        if let Ok(more) = verify_range(root, from, &range.leaves, &range.nodes) {
            assert_truth(&trie, from, &range, more);
        }
    }
}

/// Changes one thing about a range.
fn change(range: &mut RangeProof, bytes: &mut &[u8]) {
    let [kind, at, with] = take(bytes);
    let (leaf, node) = (usize::from(at) % range.leaves.len().max(1), usize::from(at) % range.nodes.len().max(1));
    match kind % 8 {
        0 if !range.leaves.is_empty() => drop(range.leaves.remove(leaf)),
        1 if !range.leaves.is_empty() => range.leaves[leaf].value[0] ^= with,
        2 if !range.leaves.is_empty() => range.leaves[leaf].key[usize::from(with) % 32] ^= 1 << (with >> 5),
        3 => range.leaves.insert(leaf, Leaf { key: key(bytes), value: vec![with; 1 + usize::from(with) % 40] }),
        4 if !range.nodes.is_empty() => drop(range.nodes.remove(node)),
        5 if !range.nodes.is_empty() => {
            let mut changed = range.nodes[node].to_vec();
            let place = usize::from(with) % changed.len().max(1);
            if let Some(byte) = changed.get_mut(place) {
                *byte ^= kind | 1;
            }
            range.nodes[node] = changed.into();
        }
        6 if !range.nodes.is_empty() => {
            range.nodes.insert(usize::from(with) % range.nodes.len(), range.nodes[node].clone());
        }
        _ => range.nodes.reverse(),
    }
}

/// What was believed is what the trie holds.
fn assert_truth(trie: &Memory, from: B256, range: &RangeProof, more: bool) {
    let end = range.leaves.last().map(|leaf| leaf.key);
    let held = trie.flat.range(from..).take_while(|(key, _)| end.is_none_or(|end| **key <= end));
    let held: Vec<Leaf> = held.map(|(&key, value)| Leaf { key, value: value.clone() }).collect();
    assert_eq!(held, range.leaves, "leaves that the trie does not hold");
    let after = end.and_then(|end| following(&end)).is_some_and(|next| trie.flat.range(next..).next().is_some());
    assert_eq!(more, after, "more after the range, or not");
}

/// A walk along nodes of no trie, over a trie that is stored.
fn made_up_walk(mut bytes: &[u8]) {
    let mut trie = Memory::default();
    trie.apply(&leaves(&mut bytes));
    let nodes = nodes(&mut bytes);
    let Some(root) = nodes.first().map(keccak256) else { return };
    let mut walk = Walk::new(root);
    for _ in 0..MOST {
        let wanted = walk.next(MOST);
        assert!(wanted.len() <= MOST && wanted.windows(2).all(|pair| pair[0] < pair[1]), "paths do not ascend");
        let taken = nodes.iter().find_map(|node| {
            let mut next = walk.clone();
            let changes = next.take(&trie, std::slice::from_ref(node)).ok()?;
            Some((next, changes))
        });
        let Some((next, changes)) = taken.filter(|_| !wanted.is_empty()) else { return };
        assert!(changes.windows(2).all(|pair| pair[0].key() < pair[1].key()), "changes do not ascend");
        walk = next;
    }
}

/// A walk from one trie to another arrives there.
fn honest_walk(mut bytes: &[u8]) {
    let (mut ours, mut theirs) = (Memory::default(), Memory::default());
    let common = leaves(&mut bytes);
    ours.apply(&common);
    theirs.apply(&common);
    let mut changes = leaves(&mut bytes);
    for (at, key) in common.keys().enumerate() {
        if bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
            changes.entry(*key).or_insert(None);
        }
    }
    let root = theirs.apply(&changes);
    let mut walk = Walk::new(root);
    let mut found = BTreeMap::new();
    loop {
        let wanted = walk.next(5);
        if wanted.is_empty() {
            break;
        }
        let node =
            |path: &Nibbles| bmm_ledger::trie::node_at(&theirs, path).expect("a trie in memory").unwrap_or_default();
        let nodes: Vec<Bytes> = wanted.iter().map(node).collect();
        for change in walk.take(&ours, &nodes).expect("honest nodes") {
            let (key, value) = match change {
                Change::Set(leaf) => (leaf.key, Some(leaf.value)),
                Change::Remove(key) => (key, None),
            };
            assert!(found.insert(key, value).is_none(), "two changes of one leaf");
        }
    }
    let arrived = ours.apply(&found);
    assert_eq!((arrived, ours.flat), (root, theirs.flat), "the walk arrives elsewhere");
}
