//! The tree of merge-mined chains in a coinbase: several leaves under one root, each in the slot of its chain.

use super::{
    expected_slot,
    merkle::{reversed, sha256d},
};
use alloy_primitives::B256;

/// Highest tree that is built: chain ids have 16 bits where they are a parent's.
const MAX_HEIGHT: usize = 16;
/// Two chains whose ids are equal modulo the size fall together whatever the nonce is, and others do not: any nonce will do.
const NONCE: u32 = 0;

/// A tree that holds the leaves of several chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxTree {
    /// The root as it stands in the coinbase.
    pub root: B256,
    /// Number of slots, a power of two.
    pub size: u32,
    /// What the slots depend on.
    pub nonce: u32,
    branches: Vec<(u32, Vec<B256>)>,
}

impl AuxTree {
    /// Builds the smallest tree in which every chain of `leaves` (chain id, leaf) has a slot of its own; `None` of no leaves, and of chains
    /// whose ids are equal in their last 16 bits.
    pub fn new(leaves: &[(u32, B256)]) -> Option<Self> {
        (0..=MAX_HEIGHT).find_map(|height| {
            let slots: Option<Vec<u32>> =
                leaves.iter().map(|(chain, _)| expected_slot(NONCE, *chain, height)).collect();
            let slots = slots.filter(|slots| !slots.is_empty())?;
            let distinct = slots.iter().enumerate().all(|(at, slot)| !slots.iter().take(at).any(|other| other == slot));
            distinct.then(|| Self::with_slots(leaves, &slots, height)).flatten()
        })
    }

    fn with_slots(leaves: &[(u32, B256)], slots: &[u32], height: usize) -> Option<Self> {
        let size = 1u32.checked_shl(u32::try_from(height).ok()?)?;
        let mut level = vec![B256::ZERO; usize::try_from(size).ok()?];
        for (slot, (_, leaf)) in slots.iter().zip(leaves) {
            *level.get_mut(usize::try_from(*slot).ok()?)? = reversed(*leaf);
        }
        let mut branches: Vec<_> = slots.iter().map(|slot| (*slot, Vec::with_capacity(height))).collect();
        for step in 0..u32::try_from(height).ok()? {
            for (slot, branch) in &mut branches {
                let sibling = slot.checked_shr(step)? ^ 1;
                branch.push(*level.get(usize::try_from(sibling).ok()?)?);
            }
            level = level
                .chunks_exact(2)
                .map(|pair| sha256d(&pair.iter().flat_map(|node| node.0).collect::<Vec<_>>()))
                .collect();
        }
        Some(Self { root: reversed(*level.first()?), size, nonce: NONCE, branches })
    }

    /// Returns slot and branch of the leaf at `index` of those that the tree was made of.
    pub fn branch(&self, index: usize) -> Option<(u32, &[B256])> {
        self.branches.get(index).map(|(slot, branch)| (*slot, branch.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SyntheticParent, auxpow::check_commitment};
    use proptest::prelude::*;

    #[test]
    fn one_leaf_is_its_own_root() {
        let leaf = B256::repeat_byte(3);
        let tree = AuxTree::new(&[(0x0BB3, leaf)]).expect("one chain");
        assert_eq!((tree.root, tree.size, tree.nonce, tree.branch(0)), (leaf, 1, 0, Some((0, &[][..]))));
        assert_eq!(AuxTree::new(&[]), None);
        assert_eq!(AuxTree::new(&[(7, leaf), (7, leaf)]), None, "a chain has one slot");
    }

    proptest! {
        #[test]
        fn every_leaf_is_proven_by_the_one_header(ids in proptest::collection::btree_set(0u32..0x2000, 1..6), extra: u64) {
            let leaves: Vec<_> = ids.into_iter().map(|id| (id, alloy_primitives::keccak256(id.to_le_bytes()))).collect();
            let tree = AuxTree::new(&leaves).expect("few chains");
            let parent = SyntheticParent::of_tree(&tree, extra, 1);
            for (index, (id, leaf)) in leaves.iter().enumerate() {
                let aux = parent.assemble_leaf(index, 9).expect("a leaf");
                prop_assert_eq!(check_commitment(&aux, *leaf, *id), Ok(()));
                prop_assert!(check_commitment(&aux, B256::ZERO, *id).is_err());
                prop_assert_eq!(aux.parent_header, parent.assemble(9).parent_header);
            }
            prop_assert!(parent.assemble_leaf(leaves.len(), 9).is_none());
        }
    }
}
