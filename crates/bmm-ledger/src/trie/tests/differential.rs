//! Random histories against the crate `eth_trie`, on one thread and on several, and over an unwritten overlay.

use super::super::{
    memory::{Changes, MemoryTrie},
    *,
};
use super::{batch, key, reference_root, value};
use alloy_primitives::{B256, keccak256};
use eth_trie::{EthTrie, MemoryDB, Trie};
use proptest::{collection, prelude::*, sample};
use std::{collections::BTreeMap, sync::Arc};

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Apply(Changes),
    /// Takes the last so many steps back, as a reorganisation does.
    Revert(usize),
    /// Removes all keys that begin as one of those there, as the end of an account removes its slots.
    Clear(sample::Index, usize),
    /// Many spread keys at once, so that threads get work.
    Flood {
        seed: u8,
        keys: u16,
        remove_every: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let large = collection::btree_map(key(), proptest::option::weighted(0.7, value()), 60..160);
    prop_oneof![
        5 => batch().prop_map(Step::Apply),
        2 => large.prop_map(Step::Apply),
        2 => (1usize..4).prop_map(Step::Revert),
        1 => (any::<sample::Index>(), 0usize..32).prop_map(|(index, bytes)| Step::Clear(index, bytes)),
        2 => (0u8..3, 60u16..300, 2u16..9).prop_map(|(seed, keys, remove_every)| Step::Flood { seed, keys, remove_every }),
    ]
}

fn flood(seed: u8, keys: u16, remove_every: u16) -> Changes {
    (0..keys)
        .map(|index| {
            let key = keccak256([[seed, 0], index.to_be_bytes()].concat());
            (key, (index % remove_every != 0).then(|| vec![seed.wrapping_add(1); 1 + usize::from(index % 70)]))
        })
        .collect()
}

fn inverse(flat: &BTreeMap<B256, Vec<u8>>, changes: &Changes) -> Changes {
    changes.keys().map(|key| (*key, flat.get(key).cloned())).collect()
}

struct Both {
    ours: MemoryTrie,
    /// The other trie, if it follows the history; otherwise it is built anew.
    theirs: Option<EthTrie<MemoryDB>>,
}

impl Both {
    /// Applies changes everywhere and compares all that can be compared.
    fn apply(&mut self, changes: &Changes) -> Result<B256, TestCaseError> {
        let hinted = self.ours.batch(changes);
        let mut plain = Batch::default();
        for (key, value) in changes {
            plain.set(*key, value.as_deref());
        }
        let outcome = update(&self.ours, &hinted, 1)?;
        for threads in [2, 3, 16] {
            prop_assert_eq!(&update(&self.ours, &hinted, threads)?, &outcome, "{} threads", threads);
        }
        prop_assert_eq!(&update(&self.ours, &plain, 2)?, &outcome, "without hints");
        let paths: Vec<_> = outcome.nodes.iter().map(|(path, node)| (*path, node.is_some())).collect();
        prop_assert!(paths.is_sorted_by(|a, b| a.0 < b.0), "nodes out of order: {paths:?}");
        let overlay = Overlay::new(&plain, outcome.clone());
        let wanted: Vec<_> = changes.keys().map(|key| (*key, prove(&overlay.over(&self.ours), *key))).collect();
        let back = inverse(&self.ours.flat, changes);
        let before = update(&self.ours, &Batch::default(), 1)?.root;
        let mut back_batch = Batch::default();
        for (key, value) in &back {
            back_batch.set(*key, value.as_deref());
        }
        prop_assert_eq!(update(&overlay.over(&self.ours), &back_batch, 1)?.root, before);
        self.ours.take(changes, &outcome);
        for (key, proof) in wanted {
            prop_assert_eq!(proof, prove(&self.ours, key));
        }
        prop_assert_eq!(outcome.root, reference_root(&self.ours.flat), "the leaves built up anew");
        // After removals among nodes shorter than 32 bytes its roots differ from alloy-trie's, so that it is built anew there.
        let theirs = if let Some(theirs) = &mut self.theirs {
            for (key, value) in changes {
                match value {
                    Some(value) => theirs.insert(key.as_slice(), value).expect("memory"),
                    None => drop(theirs.remove(key.as_slice()).expect("memory")),
                }
            }
            theirs.root_hash().expect("memory")
        } else {
            let mut theirs = EthTrie::new(Arc::new(MemoryDB::new(false)));
            for (key, value) in &self.ours.flat {
                theirs.insert(key.as_slice(), value).expect("memory");
            }
            theirs.root_hash().expect("memory")
        };
        prop_assert_eq!(outcome.root.as_slice(), theirs.as_slice(), "the other trie");
        Ok(outcome.root)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn histories_agree_with_another_trie(steps in collection::vec(step(), 1..10)) {
        follow(steps, None)?;
    }

    #[test]
    fn histories_of_hashed_keys_agree_step_by_step(
        steps in collection::vec((0u8..3, 20u16..200, 2u16..9, 0usize..3), 1..10),
    ) {
        let steps = steps.into_iter().flat_map(|(seed, keys, remove_every, reverts)| {
            let mut changes = flood(seed, keys, remove_every);
            changes.values_mut().flatten().for_each(|value| value.resize(40, 9));
            let reverts = (reverts > 0).then_some(Step::Revert(reverts));
            [Step::Apply(changes)].into_iter().chain(reverts)
        });
        follow(steps.collect(), Some(EthTrie::new(Arc::new(MemoryDB::new(false)))))?;
    }
}

/// Follows a history, back where it goes back.
fn follow(steps: Vec<Step>, theirs: Option<EthTrie<MemoryDB>>) -> Result<(), TestCaseError> {
    let mut both = Both { ours: MemoryTrie::default(), theirs };
    let mut undo: Vec<(B256, Changes)> = Vec::new();
    let mut root = EMPTY_ROOT_HASH;
    for step in steps {
        let changes = match step {
            Step::Apply(changes) => changes,
            Step::Flood { seed, keys, remove_every } => flood(seed, keys, remove_every),
            Step::Clear(index, bytes) => {
                let keys: Vec<_> = both.ours.flat.keys().copied().collect();
                if keys.is_empty() {
                    continue;
                }
                let prefix = index.get(&keys)[..bytes].to_vec();
                keys.into_iter().filter(|key| key.starts_with(&prefix)).map(|key| (key, None)).collect()
            }
            Step::Revert(steps) => {
                for (before, changes) in undo.drain(undo.len().saturating_sub(steps)..).rev() {
                    root = both.apply(&changes)?;
                    prop_assert_eq!(root, before);
                }
                continue;
            }
        };
        undo.push((root, inverse(&both.ours.flat, &changes)));
        root = both.apply(&changes)?;
    }
    Ok(())
}
