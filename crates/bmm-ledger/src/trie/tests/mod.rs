//! The trie against one built anew, against another implementation, and against damage.

mod differential;
mod range;
mod walk;

use super::{
    memory::{Changes, MemoryTrie},
    *,
};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::{HashBuilder, proof::verify_proof};
use proptest::{collection, prelude::*, sample};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

fn reference_root(flat: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in flat {
        builder.add_leaf(Nibbles::unpack_array(&key.0), value);
    }
    builder.root()
}

/// Records of the trie built anew: what an updated trie must equal, record for record.
fn rebuilt(flat: &BTreeMap<B256, Vec<u8>>) -> BTreeMap<Nibbles, Node> {
    let mut fresh = MemoryTrie::default();
    fresh.apply(&flat.iter().map(|(key, value)| (*key, Some(value.clone()))).collect()).expect("a new trie is sound");
    fresh.records
}

/// Keys that share long prefixes: everything from spread keys to keys that differ in the last nibble only, so that nodes
/// shorter than 32 bytes, deep extensions and every kind of collapse occur.
pub(super) fn key() -> impl Strategy<Value = B256> {
    prop_oneof![
        any::<u8>().prop_map(|seed| keccak256([seed])),
        (0u8..3, 0usize..32, 0u8..32).prop_map(|(fill, at, byte)| {
            let mut key = B256::repeat_byte(fill * 0x11);
            key[at] = byte;
            key
        }),
        (0u8..4, 0u8..4).prop_map(|(a, b)| {
            let mut key = B256::ZERO;
            (key[30], key[31]) = (a, b * 0x0f);
            key
        }),
    ]
}

pub(super) fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![collection::vec(any::<u8>(), 1..3), collection::vec(any::<u8>(), 30..110)]
}

pub(super) fn batch() -> impl Strategy<Value = Changes> {
    collection::btree_map(key(), prop_oneof![2 => value().prop_map(Some), 1 => Just(None)], 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn updates_agree_with_a_trie_built_anew(batches in collection::vec(batch(), 1..8)) {
        let mut trie = MemoryTrie::default();
        for batch in batches {
            let root = trie.apply(&batch)?;
            prop_assert_eq!(root, reference_root(&trie.flat));
            prop_assert_eq!(&trie.records, &rebuilt(&trie.flat));
        }
    }

    #[test]
    fn the_inverse_batch_returns_root_and_records(first in batch(), second in batch()) {
        let mut trie = MemoryTrie::default();
        let root = trie.apply(&first)?;
        let records = trie.records.clone();
        let inverse: Changes = second.keys().map(|key| (*key, trie.flat.get(key).cloned())).collect();
        trie.apply(&second)?;
        prop_assert_eq!(trie.apply(&inverse)?, root);
        prop_assert_eq!(trie.records, records);
    }

    #[test]
    fn removing_everything_leaves_nothing(batch in batch()) {
        let mut trie = MemoryTrie::default();
        trie.apply(&batch)?;
        let all: Changes = trie.flat.keys().map(|key| (*key, None)).collect();
        prop_assert_eq!(trie.apply(&all)?, EMPTY_ROOT_HASH);
        prop_assert!(trie.records.is_empty());
    }

    #[test]
    fn proofs_verify(batch in batch(), others in collection::vec(key(), 5), pick: sample::Index) {
        let mut trie = MemoryTrie::default();
        let root = trie.apply(&batch)?;
        let mut keys = others;
        keys.extend((!batch.is_empty()).then(|| *pick.get(&batch.keys().collect::<Vec<_>>())));
        for key in keys {
            let proof = prove(&trie, key)?;
            prop_assert_eq!(&proof.value, &trie.flat.get(&key).cloned());
            let nodes: &[Bytes] = &proof.nodes;
            prop_assert!(verify_proof(root, Nibbles::unpack_array(&key.0), proof.value, nodes).is_ok());
        }
    }

    #[test]
    fn a_damaged_record_never_panics(
        seeds in collection::btree_set(any::<u16>(), 20..60),
        pick: sample::Index,
        at: sample::Index,
        flip in 1u8..,
        cut: bool,
    ) {
        let mut trie = MemoryTrie::default();
        let hashed = |seed: &u16| keccak256(seed.to_be_bytes());
        trie.apply(&seeds.iter().map(|seed| (hashed(seed), Some(vec![7; 40]))).collect())?;
        let path = *pick.get(&trie.records.keys().copied().collect::<Vec<_>>());
        let mut record = trie.records[&path].record().to_vec();
        let at = at.index(record.len());
        if cut { record.truncate(at) } else { record[at] ^= flip }
        trie.records.insert(path, Node::new(&record));
        // Any answer but a panic will do: a wrong root is caught where it is compared with a header.
        let _ = trie.apply(&seeds.iter().take(9).map(|seed| (hashed(seed), None)).collect());
        let _ = prove(&trie, hashed(seeds.first().expect("there are 20")));
    }
}

#[test]
fn keys_out_of_order_are_refused() {
    let mut batch = Batch::default();
    batch.set(B256::ZERO, None);
    batch.set(B256::ZERO, Some(&[1]));
    assert!(update(&MemoryTrie::default(), &batch, 1).is_err());
}

#[test]
fn only_touched_paths_are_read() {
    let mut trie = MemoryTrie::default();
    let all = (0u32..5_000).map(|seed| (keccak256(seed.to_be_bytes()), Some(vec![1; 70]))).collect();
    trie.apply(&all).expect("a new trie is sound");
    trie.reads = AtomicUsize::new(0);
    trie.apply(&Changes::from([(keccak256(0u32.to_be_bytes()), Some(vec![2; 70]))])).expect("the trie is sound");
    let reads = trie.reads.load(Ordering::Relaxed);
    assert!(reads <= 5, "{reads} reads for one key among 5,000");
}
