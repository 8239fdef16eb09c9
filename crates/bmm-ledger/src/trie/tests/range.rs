//! Ranges with proofs, honest and not.

use super::super::{memory::MemoryTrie, *};
use super::{batch, key};
use alloy_primitives::{B256, Bytes, keccak256};
use proptest::{collection, prelude::*, sample};

/// What a dishonest peer does to a range.
#[derive(Clone, Copy, Debug)]
enum Lie {
    ChangeValue(sample::Index),
    ChangeKey(sample::Index, u8),
    Drop(sample::Index),
    Add(B256),
    Swap(sample::Index),
    Repeat(sample::Index),
    DropNode(sample::Index),
    AddNode,
    RepeatNode(sample::Index),
    FlipNode(sample::Index, sample::Index, u8),
    NoProof,
}

fn lie() -> impl Strategy<Value = Lie> {
    let index = any::<sample::Index>;
    prop_oneof![
        index().prop_map(Lie::ChangeValue),
        (index(), 0u8..=255).prop_map(|(at, bit)| Lie::ChangeKey(at, bit)),
        index().prop_map(Lie::Drop),
        key().prop_map(Lie::Add),
        index().prop_map(Lie::Swap),
        index().prop_map(Lie::Repeat),
        index().prop_map(Lie::DropNode),
        Just(Lie::AddNode),
        index().prop_map(Lie::RepeatNode),
        (index(), index(), 1u8..).prop_map(|(node, at, flip)| Lie::FlipNode(node, at, flip)),
        Just(Lie::NoProof),
    ]
}

/// Tells the lie, if there is something to tell it about.
fn tell(lie: Lie, from: B256, proof: &mut RangeProof) {
    let before = proof.clone();
    let RangeProof { leaves, nodes } = proof;
    match lie {
        Lie::ChangeValue(at) if !leaves.is_empty() => leaves[at.index(before.leaves.len())].value.push(1),
        Lie::ChangeKey(at, bit) if !leaves.is_empty() => {
            leaves[at.index(before.leaves.len())].key[usize::from(bit / 8)] ^= 1 << (bit % 8);
        }
        Lie::Drop(at) if !leaves.is_empty() => drop(leaves.remove(at.index(before.leaves.len()))),
        Lie::Add(key) if key >= from && !leaves.iter().any(|leaf| leaf.key == key) => {
            leaves.push(Leaf { key, value: vec![1] });
            leaves.sort_by_key(|leaf| leaf.key);
        }
        Lie::Swap(at) if leaves.len() > 1 => leaves.swap(at.index(before.leaves.len() - 1), before.leaves.len() - 1),
        Lie::Repeat(at) if !leaves.is_empty() => {
            let at = at.index(before.leaves.len());
            leaves.insert(at, before.leaves[at].clone());
        }
        Lie::DropNode(at) if !nodes.is_empty() => drop(nodes.remove(at.index(before.nodes.len()))),
        Lie::AddNode => nodes.push(Bytes::from_static(&[0xc2, 0x20, 0x01])),
        Lie::RepeatNode(at) if !nodes.is_empty() => nodes.push(before.nodes[at.index(before.nodes.len())].clone()),
        Lie::FlipNode(node, at, flip) if !nodes.is_empty() => {
            let node = &mut nodes[node.index(before.nodes.len())];
            let mut bytes = node.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            *node = bytes.into();
        }
        Lie::NoProof => nodes.clear(),
        _ => {}
    }
}

fn holds(trie: &MemoryTrie, root: B256, from: B256, proof: &RangeProof) -> Result<bool, RangeError> {
    let more = verify_range(root, from, &proof.leaves, &proof.nodes)?;
    let end = proof.leaves.last().map(|leaf| leaf.key);
    let inside = trie.flat.range(from..).take_while(|(key, _)| end.is_none_or(|end| **key <= end));
    let inside: Vec<_> = inside.map(|(&key, value)| Leaf { key, value: value.clone() }).collect();
    assert_eq!(inside, proof.leaves, "an accepted range is the trie's");
    assert_eq!(more, end.is_some_and(|end| trie.flat.keys().any(|key| *key > end)));
    Ok(more)
}

/// Whether a proof is one that an honest peer could send: true leaves, and the nodes that it takes to show them.
fn is_proof(trie: &MemoryTrie, from: B256, told: &RangeProof) -> bool {
    let mut honest = prove_range(trie, from, told.leaves.len()).expect("the trie is sound");
    honest.nodes.sort();
    // Of a whole trie from its beginning there are two proofs: with the edges, and without.
    let whole = told.nodes.is_empty() || honest.nodes.is_empty();
    honest.leaves == told.leaves && (honest.nodes == told.nodes || whole)
}

fn spread(seeds: u16) -> MemoryTrie {
    let mut trie = MemoryTrie::default();
    let changes = (0..seeds).map(|seed| (keccak256(seed.to_be_bytes()), Some(vec![7; 1 + usize::from(seed % 60)])));
    trie.apply(&changes.collect()).expect("a new trie is sound");
    trie
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn honest_ranges_are_accepted(batch in batch(), many in 0u16..400, from in key(), limit in 1usize..40) {
        let mut trie = spread(many);
        let root = trie.apply(&batch)?;
        for from in [from, B256::ZERO] {
            let proof = prove_range(&trie, from, limit)?;
            prop_assert!(proof.leaves.len() <= limit);
            let more = holds(&trie, root, from, &proof);
            prop_assert!(more.is_ok(), "{more:?}");
            prop_assert!(more == Ok(false) || proof.leaves.len() == limit);
        }
    }

    #[test]
    fn ranges_joined_are_the_trie(batch in batch(), many in 0u16..300, limit in 1usize..60) {
        let mut trie = spread(many);
        let root = trie.apply(&batch)?;
        let (mut all, mut from) = (Vec::new(), B256::ZERO);
        loop {
            let proof = prove_range(&trie, from, limit)?;
            let more = verify_range(root, from, &proof.leaves, &proof.nodes)?;
            all.extend(proof.leaves);
            if !more {
                break;
            }
            let last: &Leaf = all.last().expect("there is more after something");
            from = super::super::range::following(&last.key).expect("there is more after it");
        }
        prop_assert_eq!(all, trie.flat.iter().map(|(&key, value)| Leaf { key, value: value.clone() }).collect::<Vec<_>>());
    }

    #[test]
    fn lies_are_refused(
        batch in batch(), many in prop_oneof![Just(0), 0u16..200], from in prop_oneof![key(), Just(B256::ZERO)], limit in 1usize..40, lies in collection::vec(lie(), 1..3),
    ) {
        let mut trie = spread(many);
        let root = trie.apply(&batch)?;
        let mut honest = prove_range(&trie, from, limit)?;
        let mut told = honest.clone();
        for lie in lies {
            tell(lie, from, &mut told);
        }
        // The order of the nodes says nothing.
        honest.nodes.sort();
        told.nodes.sort();
        if told != honest {
            // What a told range claims may be true all the same: the leaves may be those of a shorter or longer range whose
            // edges run through the same nodes, and without nodes the whole trie is claimed. `holds` weighs what is accepted.
            let verdict = holds(&trie, root, from, &told);
            prop_assert!(verdict.is_err() || is_proof(&trie, from, &told), "accepted: {told:?}");
        }
    }

    #[test]
    fn another_root_or_beginning_is_refused(many in 30u16..200, from: [u8; 32], other: [u8; 32]) {
        let trie = spread(many);
        let root = update(&trie, &Batch::default(), 1)?.root;
        let proof = prove_range(&trie, from.into(), 9)?;
        prop_assert!(verify_range(keccak256(root), from.into(), &proof.leaves, &proof.nodes).is_err());
        // From elsewhere, it is accepted only if it is a true range from there.
        let _ = holds(&trie, root, other.into(), &proof);
    }

    #[test]
    fn rubbish_never_panics(
        nodes in collection::vec(collection::vec(any::<u8>(), 0..80), 1..5),
        keys in collection::btree_set(key(), 0..5),
        from in key(),
    ) {
        let leaves: Vec<_> = keys.into_iter().map(|key| Leaf { key, value: vec![1] }).collect();
        let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
        for node in &nodes {
            let _ = verify_range(keccak256(node), from, &leaves, &nodes);
        }
    }
}

/// The subtree at 0x10 is inside of the range and worked out from what comes after 0x10; a key that begins otherwise must not
/// slip in, wherever it stands.
#[test]
fn keys_beside_a_subtree_are_refused() {
    let mut trie = MemoryTrie::default();
    let key = |begin: u8, end: u8| {
        let mut key = B256::ZERO;
        (key[0], key[31]) = (begin, end);
        key
    };
    let keys = [key(0x10, 1), key(0x10, 2), key(0x1f, 0), key(0x1f, 3)];
    let root = trie.apply(&keys.iter().map(|key| (*key, Some(vec![7; 40]))).collect()).expect("a new trie is sound");
    for (from, limit) in [(B256::ZERO, 3), (key(0, 1), 4), (key(0x10, 1), 3)] {
        let honest = prove_range(&trie, from, limit).expect("sound");
        assert!(!honest.nodes.is_empty());
        holds(&trie, root, from, &honest).expect("a true range");
        for at in 0..honest.leaves.len() {
            for begin in 0..=0xff {
                let mut told = honest.clone();
                told.leaves[at].key[0] = begin;
                if told != honest {
                    assert!(holds(&trie, root, from, &told).is_err(), "leaf {at} from {from} at {begin:#x}");
                }
            }
        }
    }
}

#[test]
fn an_empty_trie_is_shown_without_nodes() {
    let trie = MemoryTrie::default();
    for from in [B256::ZERO, B256::repeat_byte(5)] {
        let proof = prove_range(&trie, from, 10).expect("sound");
        assert_eq!(proof, RangeProof::default());
        assert_eq!(verify_range(EMPTY_ROOT_HASH, from, &[], &[]), Ok(false));
        assert!(verify_range(keccak256([1]), from, &[], &[]).is_err());
    }
}

#[test]
fn too_many_nodes_are_refused_unread() {
    let nodes = vec![Bytes::from_static(&[0x80]); MAX_RANGE_PROOF_NODES + 3];
    assert_eq!(verify_range(B256::ZERO, B256::ZERO, &[], &nodes), Err(RangeError::Surplus(3)));
}
