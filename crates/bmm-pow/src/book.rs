//! The smallest hashes of one contributor in one epoch: what a miner collects for its proof.

use crate::resource::{check_solution, estimate, solution_hash};
use alloy_primitives::{B256, U256};
use bmm_types::AuxPow;
use std::collections::BTreeMap;

/// Keeps the smallest solutions of a leaf, of which each hash counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofBook {
    leaf: B256,
    count: usize,
    kept: BTreeMap<U256, AuxPow>,
}

impl ProofBook {
    /// Begins an empty book: the `count` smallest solutions for `leaf` ([`bmm_types::system::resource_leaf`]).
    pub fn new(leaf: B256, count: usize) -> Self {
        Self { leaf, count, kept: BTreeMap::new() }
    }

    /// Begins a book with solutions that were kept elsewhere. Those that do not commit to `leaf` are left out.
    pub fn with(leaf: B256, count: usize, solutions: Vec<AuxPow>) -> Self {
        let mut book = Self::new(leaf, count);
        for aux in solutions.into_iter().filter(|aux| check_solution(aux, leaf).is_ok()) {
            book.note(solution_hash(&aux), || aux);
        }
        book
    }

    /// What the solutions commit to.
    pub const fn leaf(&self) -> B256 {
        self.leaf
    }

    /// Takes a solution if its hash is among the smallest, and returns whether it is. The caller answers for the commitment and for the hash.
    pub fn note(&mut self, hash: U256, solution: impl FnOnce() -> AuxPow) -> bool {
        let full = self.kept.len() >= self.count;
        let largest = self.kept.last_key_value().map(|(hash, _)| *hash);
        if self.count == 0 || full && largest.is_some_and(|largest| hash >= largest) || self.kept.contains_key(&hash) {
            return false;
        }
        self.kept.insert(hash, solution());
        if self.kept.len() > self.count {
            self.kept.pop_last();
        }
        true
    }

    /// Returns the solutions in the order of their hashes, as far as there are any.
    pub fn solutions(&self) -> impl ExactSizeIterator<Item = &AuxPow> {
        self.kept.values()
    }

    /// Whether the book holds as many solutions as a proof needs.
    pub fn is_full(&self) -> bool {
        self.count > 0 && self.kept.len() == self.count
    }

    /// Returns the estimate of the hashes done; `None` while the book is not full.
    pub fn hashes(&self) -> Option<U256> {
        let (largest, _) = self.kept.last_key_value().filter(|_| self.is_full())?;
        Some(estimate(self.count, *largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuxTree, SyntheticParent, resource::check_proof};
    use bmm_types::system::RESOURCE_AUX_CHAIN_ID;
    use proptest::prelude::*;

    const LEAF: B256 = B256::repeat_byte(4);

    fn solutions(leaf: B256, nonces: std::ops::Range<u32>) -> Vec<AuxPow> {
        let tree = AuxTree::new(&[(0x0BB3, B256::repeat_byte(1)), (RESOURCE_AUX_CHAIN_ID, leaf)]).expect("two chains");
        let parent = SyntheticParent::of_tree(&tree, 5, 1_900_000_000);
        nonces.map(|nonce| parent.assemble_leaf(1, nonce).expect("the second leaf")).collect()
    }

    #[test]
    fn what_a_book_holds_is_a_proof() {
        let all = solutions(LEAF, 0..40);
        let book = ProofBook::with(LEAF, 8, all.clone());
        let proof: Vec<_> = book.solutions().cloned().collect();
        let largest = check_proof(&proof, LEAF).expect("a proof");
        let mut hashes: Vec<_> = all.iter().map(solution_hash).collect();
        hashes.sort();
        assert_eq!(largest, hashes[7]);
        assert_eq!(book.hashes(), Some(estimate(8, largest)));
        assert!(book.is_full());
        assert_eq!(ProofBook::with(LEAF, 8, [all.clone(), all].concat()), book, "twice the same counts once");
    }

    #[test]
    fn foreign_solutions_are_left_out() {
        let book = ProofBook::with(LEAF, 4, solutions(B256::repeat_byte(5), 0..9));
        assert_eq!((book.solutions().len(), book.is_full(), book.hashes()), (0, false, None));
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept(hashes in proptest::collection::vec(0u64..50, 0..80), count in 0usize..9) {
            let aux = SyntheticParent::new(B256::ZERO, 0, 0).assemble(0);
            let mut book = ProofBook::new(LEAF, count);
            for hash in &hashes {
                book.note(U256::from(*hash), || aux.clone());
            }
            let mut expected: Vec<_> = hashes.into_iter().map(U256::from).collect();
            expected.sort();
            expected.dedup();
            expected.truncate(count);
            prop_assert_eq!(book.kept.into_keys().collect::<Vec<_>>(), expected);
        }
    }
}
