//! The settlement: who gets how much, and the Merkle root over the receipts.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::SolValue;
use bmm_types::Amount;

/// One acceptance: some results of one provider that were verified together, and what they are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who is paid.
    pub provider: Address,
    /// Number of the acceptance within the job.
    pub number: u64,
    /// Results accepted.
    pub tasks: u64,
    /// Fuel paid for.
    pub fuel: u64,
    /// What is paid.
    pub amount: Amount,
    /// SHA-256 over (index, fuel, output hash) of the results.
    pub results: B256,
}

impl Accepted {
    /// Returns the leaf of the settlement's Merkle tree: keccak(keccak(abi.encode(job, provider, number, tasks, fuel, amount,
    /// results))), hashed twice as OpenZeppelin's StandardMerkleTree does, so that no inner node can pass for a leaf.
    pub fn leaf(&self, job: B256) -> B256 {
        let fields = (job, self.provider, self.number, self.tasks, self.fuel, self.amount.units(), self.results);
        keccak256(keccak256(fields.abi_encode()))
    }
}

/// What one provider did and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderTotal {
    /// Who.
    pub provider: Address,
    /// Results paid for.
    pub tasks: u64,
    /// Fuel paid for.
    pub fuel: u64,
    /// What it gets for the whole job.
    pub total: Amount,
}

/// What `Jobs.settle` is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The job.
    pub job: B256,
    /// Merkle root of the acceptances; zero if there are none.
    pub root: B256,
    /// Providers that get something, addresses strictly ascending.
    pub providers: Vec<ProviderTotal>,
}

impl Settlement {
    /// Returns what all providers get together.
    pub fn total(&self) -> Amount {
        self.providers.iter().map(|provider| provider.total).sum()
    }
}

/// Hashes two nodes, the smaller first, as OpenZeppelin's MerkleProof does.
fn parent(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut pair = [0u8; 64];
    pair[..32].copy_from_slice(low.as_slice());
    pair[32..].copy_from_slice(high.as_slice());
    keccak256(pair)
}

/// Returns the next level up; an odd last node moves up unchanged.
fn level_above(level: &[B256]) -> Vec<B256> {
    level.chunks(2).map(|pair| if let [a, b] = pair { parent(*a, *b) } else { pair[0] }).collect()
}

/// Returns the root over leaves in their order; zero for none.
pub fn merkle_root(leaves: &[B256]) -> B256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level_above(&level);
    }
    level.first().copied().unwrap_or(B256::ZERO)
}

/// Returns the siblings from the leaf number `index` up to the root, or `None` past the last leaf.
pub fn merkle_proof(leaves: &[B256], index: usize) -> Option<Vec<B256>> {
    leaves.get(index)?;
    let (mut level, mut index, mut proof) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        proof.extend(level.get(index ^ 1));
        level = level_above(&level);
        index /= 2;
    }
    Some(proof)
}

/// Tells whether `proof` leads from `leaf` to `root`.
pub fn merkle_verify(proof: &[B256], root: B256, leaf: B256) -> bool {
    proof.iter().fold(leaf, |node, sibling| parent(node, *sibling)) == root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_leaf_has_a_proof_and_no_other_has(count in 1usize..70, at: usize, other: [u8; 32]) {
            let leaves: Vec<B256> = (0..count).map(|i| keccak256(i.to_le_bytes())).collect();
            let root = merkle_root(&leaves);
            let at = at % count;
            let proof = merkle_proof(&leaves, at).unwrap();
            prop_assert!(merkle_verify(&proof, root, leaves[at]));
            prop_assert!(!merkle_verify(&proof, root, B256::from(other)));
            prop_assert!(merkle_proof(&leaves, count).is_none());
        }
    }

    #[test]
    fn no_receipt_no_root() {
        assert_eq!(merkle_root(&[]), B256::ZERO);
    }
}
