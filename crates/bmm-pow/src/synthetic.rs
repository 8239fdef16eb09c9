//! A parent block that exists only to carry work: how a native miner makes an AuxPoW.
//!
//! There is one verifier and one job format, and a Litecoin ASIC mines BMM alone or merged, unchanged.

use crate::auxpow::{AuxTree, MAGIC, merkle::sha256d};
use alloy_primitives::{B256, FixedBytes};
use bmm_types::{AuxPow, seal::PARENT_HEADER_LEN};

/// BIP 9's base version. As a merged-mining chain id it reads 0x2000, which is nobody's.
const VERSION: u32 = 0x2000_0000;

/// Coinbase and header of a synthetic parent, all but the nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticParent {
    tree: AuxTree,
    coinbase: Vec<u8>,
    header: [u8; PARENT_HEADER_LEN],
}

impl SyntheticParent {
    /// Builds the parent that commits to `block_id` alone. `extra_nonce` makes parents differ; `time` is in Unix seconds.
    pub fn new(block_id: B256, extra_nonce: u64, time: u32) -> Self {
        let tree = AuxTree::new(&[(0, block_id)]).expect("one leaf is its own root");
        Self::of_tree(&tree, extra_nonce, time)
    }

    /// Builds the parent that commits to all leaves of `tree`.
    pub fn of_tree(tree: &AuxTree, extra_nonce: u64, time: u32) -> Self {
        let coinbase = coinbase(tree, extra_nonce);
        let mut header = [0; PARENT_HEADER_LEN];
        header[..4].copy_from_slice(&VERSION.to_le_bytes());
        // 4..36: no previous block. 36..68: the tree has one transaction, so its root is the coinbase's hash.
        header[36..68].copy_from_slice(sha256d(&coinbase).as_slice());
        header[68..72].copy_from_slice(&time.to_le_bytes());
        // 72..76: no target of its own. 76..80: the nonce.
        Self { tree: tree.clone(), coinbase, header }
    }

    /// Returns the header with this nonce, the thing to hash.
    pub fn header(&self, nonce: u32) -> [u8; PARENT_HEADER_LEN] {
        let mut header = self.header;
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        header
    }

    /// Returns the proof of the first leaf for the nonce that met the target.
    pub fn assemble(&self, nonce: u32) -> AuxPow {
        self.assemble_leaf(0, nonce).expect("a tree has a leaf")
    }

    /// Returns the proof of the leaf at `index` of the tree; `None` if it has no such leaf.
    pub fn assemble_leaf(&self, index: usize, nonce: u32) -> Option<AuxPow> {
        let (chain_index, branch) = self.tree.branch(index)?;
        Some(AuxPow {
            coinbase: self.coinbase.clone().into(),
            coinbase_branch: Vec::new(),
            chain_branch: branch.to_vec(),
            chain_index,
            parent_header: FixedBytes(self.header(nonce)),
        })
    }
}

/// A transaction with the null input whose script is magic, the tree's root, size and nonce, extra nonce; and one output of
/// nothing to nobody (OP_RETURN).
fn coinbase(tree: &AuxTree, extra_nonce: u64) -> Vec<u8> {
    let script = [
        &MAGIC[..],
        tree.root.as_slice(),
        &tree.size.to_le_bytes(),
        &tree.nonce.to_le_bytes(),
        &extra_nonce.to_le_bytes(),
    ]
    .concat();
    let script_len = u8::try_from(script.len()).expect("52 bytes");
    [
        &1u32.to_le_bytes()[..], // version
        &[1],                    // inputs
        &[0; 32],                // no previous output
        &u32::MAX.to_le_bytes(),
        &[script_len],
        &script,
        &u32::MAX.to_le_bytes(), // sequence
        &[1],                    // outputs
        &0u64.to_le_bytes(),     // value
        &[1, 0x6a],              // script: OP_RETURN
        &0u32.to_le_bytes(),     // lock time
    ]
    .concat()
}
