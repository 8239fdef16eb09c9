//! What a provider commits to when it signs a batch: a Merkle tree over its results, salted with its own address.
//!
//! A leaf is keccak over 69 bytes: tag 0x00, provider, task, fuel (big-endian), output hash. A node is keccak over its two
//! children, 64 bytes, the smaller first, so that a proof needs no directions; leaf and node cannot be taken for each
//! other, as their lengths differ. An odd last node moves up unchanged. The salt makes equal results of two
//! providers different commitments: whoever sees one cannot sign it as its own.

use alloy_primitives::{Address, B256, keccak256};

/// Most siblings of a proof: a batch has at most 2^16 results.
pub const MAX_PROOF: usize = 16;

/// Returns the leaf of one result; `output` is zero where there is none.
pub fn result_leaf(provider: Address, task: u64, fuel: u64, output: B256) -> B256 {
    let mut leaf = [0u8; 69];
    leaf[1..21].copy_from_slice(provider.as_slice());
    leaf[21..29].copy_from_slice(&task.to_be_bytes());
    leaf[29..37].copy_from_slice(&fuel.to_be_bytes());
    leaf[37..].copy_from_slice(output.as_slice());
    keccak256(leaf)
}

/// Hashes two nodes, the smaller first.
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
            let proof = merkle_proof(&leaves, at).expect("a leaf");
            prop_assert!(proof.len() <= MAX_PROOF);
            prop_assert!(merkle_verify(&proof, root, leaves[at]));
            prop_assert!(!merkle_verify(&proof, root, B256::from(other)));
            prop_assert!(merkle_proof(&leaves, count).is_none());
        }
    }

    #[test]
    fn no_receipt_no_root() {
        assert_eq!(merkle_root(&[]), B256::ZERO);
    }

    #[test]
    fn a_leaf_changes_with_every_field() {
        let leaf = |who: u8, task, fuel, output: u8| {
            result_leaf(Address::repeat_byte(who), task, fuel, B256::repeat_byte(output))
        };
        let one = leaf(1, 2, 3, 4);
        assert!([leaf(9, 2, 3, 4), leaf(1, 9, 3, 4), leaf(1, 2, 9, 4), leaf(1, 2, 3, 9)].iter().all(|l| *l != one));
    }
}
