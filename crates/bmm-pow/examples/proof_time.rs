//! Measures how long a chain takes to check a proof of hash work of 32 solutions, and the same with hashes one after the other.
#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use alloy_primitives::B256;
use bmm_pow::{
    AuxTree, ProofBook, SyntheticParent,
    resource::{check_proof, solution_hash},
};
use bmm_types::{AuxPow, system::RESOURCE_AUX_CHAIN_ID};
use std::time::{Duration, Instant};

const COUNT: u32 = 32;
const ROUNDS: u32 = 40;

/// A proof by hashes that nobody has computed yet, but for their order.
fn solutions(round: u64) -> (B256, Vec<AuxPow>) {
    let leaf = B256::with_last_byte(9);
    let tree = AuxTree::new(&[(0x0BB3, B256::ZERO), (RESOURCE_AUX_CHAIN_ID, leaf)]).expect("two chains");
    let parent = SyntheticParent::of_tree(&tree, round, 1);
    let solutions = (0..COUNT).map(|nonce| parent.assemble_leaf(1, nonce).expect("the second leaf")).collect();
    (leaf, solutions)
}

fn main() {
    let (mut together, mut alone) = (Duration::ZERO, Duration::ZERO);
    for round in 0..u64::from(ROUNDS) {
        let (leaf, found) = solutions(2 * round);
        let begun = Instant::now();
        // Out of order: the hashes are computed all the same.
        let refused = check_proof(&found, leaf).is_err();
        together += begun.elapsed();
        assert!(refused, "32 hashes in the order of their nonces do not ascend");
        let sorted: Vec<_> = ProofBook::with(leaf, 32, found).solutions().cloned().collect();
        assert!(check_proof(&sorted, leaf).is_ok(), "in order they are a proof");
        let (_, found) = solutions(2 * round + 1);
        let begun = Instant::now();
        let largest = found.iter().map(solution_hash).max();
        alone += begun.elapsed();
        assert!(largest.is_some(), "there are hashes");
    }
    let of_one = |sum: Duration| sum.as_secs_f64() * 1e6 / f64::from(ROUNDS * COUNT);
    println!("a solution of a proof of {COUNT}: {:.0} µs; hashed alone: {:.0} µs", of_one(together), of_one(alone));
}
