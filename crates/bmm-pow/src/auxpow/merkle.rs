//! Bitcoin's Merkle trees: double SHA-256, and folding a branch to its root.

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

/// Computes SHA-256 twice.
pub fn sha256d(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(Sha256::digest(bytes)))
}

/// Folds `leaf` along `branch`; bit i of `index` says whether the node at level i stands on the right.
pub fn fold(leaf: B256, branch: &[B256], index: u32) -> B256 {
    let (root, _) = branch.iter().fold((leaf, index), |(node, index), sibling| {
        let (left, right) = if index & 1 == 1 { (sibling, &node) } else { (&node, sibling) };
        let mut pair = [0; 64];
        pair[..32].copy_from_slice(left.as_slice());
        pair[32..].copy_from_slice(right.as_slice());
        (sha256d(&pair), index >> 1)
    });
    root
}

/// Returns the hash with its bytes in the other order.
///
/// Bitcoin-style software computes over hashes in one order and shows (and, in the merged-mining commitment, writes)
/// them in the other.
pub fn reversed(hash: B256) -> B256 {
    let mut bytes = hash.0;
    bytes.reverse();
    B256::new(bytes)
}
