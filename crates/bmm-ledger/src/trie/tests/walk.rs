//! Becoming another trie, of which only the root is known.

use super::super::{
    memory::{Changes, MemoryTrie},
    *,
};
use super::{batch, key, rebuilt, value};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::EMPTY_STRING_CODE;
use proptest::{collection, prelude::*, sample};

/// What a stranger does to the n-th node.
type Bend = (usize, sample::Index, u8);

/// Makes `ours` the other trie, asking for so many nodes at once; changes are applied after every step. Returns how many came.
fn become_other(
    ours: &mut MemoryTrie,
    other: &MemoryTrie,
    root: B256,
    limit: usize,
    bend: Option<Bend>,
) -> Result<usize, WalkError<TrieError>> {
    let mut walk = Walk::new(root);
    let mut came = 0;
    loop {
        let paths = walk.next(limit);
        if paths.is_empty() {
            return Ok(came);
        }
        let mut nodes: Vec<Bytes> = Vec::new();
        for path in &paths {
            let mut node = node_at(other, path).map_err(WalkError::Source)?.unwrap_or_default().to_vec();
            if let Some((at, byte, by)) = bend
                && at == came
                && !node.is_empty()
            {
                let byte = byte.index(node.len());
                node[byte] ^= by;
            }
            came += 1;
            nodes.push(node.into());
        }
        let changes = walk.take(&*ours, &nodes)?;
        assert!(changes.is_sorted_by_key(Change::key));
        let changes: Changes = changes
            .into_iter()
            .map(|change| match change {
                Change::Set(leaf) => (leaf.key, Some(leaf.value)),
                Change::Remove(key) => (key, None),
            })
            .collect();
        ours.apply(&changes).map_err(WalkError::Source)?;
    }
}

fn tries(many: u16, first: &Changes, second: &Changes) -> Result<(MemoryTrie, MemoryTrie, B256), TrieError> {
    let spread: Changes = (0..many).map(|seed| (keccak256(seed.to_be_bytes()), Some(vec![7; 40]))).collect();
    let (mut ours, mut other) = (MemoryTrie::default(), MemoryTrie::default());
    ours.apply(&spread)?;
    other.apply(&spread)?;
    ours.apply(first)?;
    let root = other.apply(second)?;
    Ok((ours, other, root))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_trie_becomes_any_other(
        first in batch(), second in batch(), many in prop_oneof![Just(0), 0u16..200], limit in 1usize..20,
    ) {
        let (mut ours, other, root) = tries(many, &first, &second)?;
        become_other(&mut ours, &other, root, limit, None).expect("an honest stranger");
        prop_assert_eq!(&ours.flat, &other.flat);
        prop_assert_eq!(&ours.records, &rebuilt(&other.flat));
        // Once more there is nothing to do, and no more to see than the root.
        let seen = become_other(&mut ours, &other, root, limit, None).expect("an honest stranger");
        prop_assert!(seen <= 1);
    }

    #[test]
    fn a_node_that_is_not_the_other_tries_is_refused(
        first in batch(), second in batch(), many in 0u16..60, at in 0usize..12, byte: sample::Index, by in 1u8..,
    ) {
        let (mut ours, other, root) = tries(many, &first, &second)?;
        let (mut honest, _, _) = tries(many, &first, &second)?;
        let whole = become_other(&mut honest, &other, root, 5, None).expect("an honest stranger");
        match become_other(&mut ours, &other, root, 5, Some((at, byte, by))) {
            Ok(_) => {
                // It was never asked for, or the other trie has no nodes.
                prop_assert!(at >= whole || other.flat.is_empty());
                prop_assert_eq!(&ours.flat, &other.flat);
            }
            Err(WalkError::Wrong(_)) => prop_assert!(at < whole),
            Err(WalkError::Source(error)) => prop_assert!(false, "{error}"),
        }
        // What was changed before agrees with itself.
        prop_assert_eq!(&ours.records, &rebuilt(&ours.flat));
    }

    #[test]
    fn rubbish_never_panics(
        first in batch(), nodes in collection::vec(collection::vec(any::<u8>(), 0..60), 0..4), root in key(), leaf in value(),
    ) {
        // A trie without leaves has no node that could be wrong.
        prop_assume!(root != EMPTY_ROOT_HASH && leaf != [EMPTY_STRING_CODE]);
        let (ours, ..) = tries(20, &first, &Changes::new())?;
        let nodes: Vec<Bytes> = nodes.into_iter().chain([leaf]).map(Bytes::from).collect();
        prop_assert!(Walk::new(root).take(&ours, &nodes).is_err());
        // Of the right hash, but no node.
        let only = nodes.last().expect("one at least").clone();
        prop_assert!(Walk::new(keccak256(&only)).take(&ours, &[only]).is_err());
    }
}

/// What is asked for follows what differs, not how large the tries are.
#[test]
fn few_differences_take_few_nodes() {
    let changes: Changes = (0u16..10).map(|seed| (keccak256(seed.to_be_bytes()), Some(vec![9; 40]))).collect();
    let (mut ours, other, root) = tries(20_000, &Changes::new(), &changes).expect("sound");
    let seen = become_other(&mut ours, &other, root, 512, None).expect("an honest stranger");
    assert_eq!(ours.flat, other.flat);
    // 20,000 leaves lie some 5 levels deep.
    assert!(seen <= 10 * 6, "{seen}");
}
