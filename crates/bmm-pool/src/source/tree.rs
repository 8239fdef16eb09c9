//! The tree of merge-mined chains: one root in the parent's coinbase that commits to a block of each.

use alloy_primitives::B256;
use bmm_pow::auxpow::{
    MAGIC, expected_slot,
    merkle::{reversed, sha256d},
};

/// Most chains in one tree.
pub const MAX_CHAINS: usize = 16;
/// Highest tree: chain ids below 2^13, of which every usual one is, differ in some of so many bits.
const MAX_HEIGHT: usize = 13;
/// The tree's nonce. Another one moves all chains alike: two meet where their ids are equal modulo the tree's size, whatever it is.
const NONCE: u32 = 0;

/// Bytes of the commitment: magic, root, size, nonce.
pub const COMMITMENT_LEN: usize = 44;

/// A tree with a place for each chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTree {
    /// What stands in the coinbase's script.
    pub commitment: [u8; COMMITMENT_LEN],
    /// For each chain, in the order in which they came, its slot and the branch from there to the root.
    pub places: Vec<(u32, Vec<B256>)>,
}

impl ChainTree {
    /// Builds the smallest tree in which every chain has the slot that its id determines. `chains` holds ids in AuxPoW trees and ids of blocks.
    ///
    /// `None` for no chains, for too many, and for two with the same id (modulo 2^13), which always meet.
    pub fn build(chains: &[(u32, B256)]) -> Option<Self> {
        if chains.is_empty() || chains.len() > MAX_CHAINS {
            return None;
        }
        let (height, slots) = (0..=MAX_HEIGHT).find_map(|height| Some((height, slots(chains, height)?)))?;
        let size = 1usize.checked_shl(u32::try_from(height).ok()?)?;
        let mut level = vec![B256::ZERO; size];
        for (slot, (_, block)) in slots.iter().zip(chains) {
            *level.get_mut(usize::try_from(*slot).ok()?)? = reversed(*block);
        }
        let mut places: Vec<(u32, Vec<B256>)> = slots.iter().map(|slot| (*slot, Vec::new())).collect();
        for step in 0..height {
            for (slot, branch) in &mut places {
                let here = usize::try_from(*slot).ok()? >> step;
                branch.push(*level.get(here ^ 1)?);
            }
            level = level.chunks(2).map(|pair| sha256d(&bytes_of(pair))).collect();
        }
        let root = reversed(*level.first()?);
        let mut commitment = [0; COMMITMENT_LEN];
        commitment[..4].copy_from_slice(&MAGIC);
        commitment[4..36].copy_from_slice(root.as_slice());
        commitment[36..40].copy_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        commitment[40..].copy_from_slice(&NONCE.to_le_bytes());
        Some(Self { commitment, places })
    }
}

/// Hashes, one after the other.
fn bytes_of(hashes: &[B256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The chains' slots, if no two meet.
fn slots(chains: &[(u32, B256)], height: usize) -> Option<Vec<u32>> {
    let slots: Vec<u32> = chains.iter().map(|(id, _)| expected_slot(NONCE, *id, height)).collect::<Option<_>>()?;
    let mut sorted = slots.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == slots.len()).then_some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_pow::auxpow::{check_slot, check_tree_size, commitment_root, find_commitment};
    use bmm_types::AuxPow;
    use proptest::prelude::*;

    fn proof(place: &(u32, Vec<B256>)) -> AuxPow {
        AuxPow {
            coinbase: Vec::new().into(),
            coinbase_branch: Vec::new(),
            chain_branch: place.1.clone(),
            chain_index: place.0,
            parent_header: [0; 80].into(),
        }
    }

    #[test]
    fn a_chain_alone_is_its_own_root() {
        let id = B256::repeat_byte(7);
        let tree = ChainTree::build(&[(0x0bb3, id)]).expect("a tree");
        assert_eq!(&tree.commitment[4..36], id.as_slice());
        assert_eq!(tree.commitment[36..], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(tree.places, [(0, Vec::new())]);
    }

    #[test]
    fn bmm_and_dogecoin_stand_side_by_side() {
        let tree = ChainTree::build(&[(0x0bb3, B256::repeat_byte(1)), (0x62, B256::repeat_byte(2))]).expect("a tree");
        assert_eq!(tree.commitment[36..40], [2, 0, 0, 0]);
        assert_eq!(tree.places[0].0 + tree.places[1].0, 1);
    }

    #[test]
    fn none_too_many_and_twins_have_no_tree() {
        let id = B256::repeat_byte(1);
        assert_eq!(ChainTree::build(&[]), None);
        assert_eq!(ChainTree::build(&[(5, id), (5, id)]), None);
        let many: Vec<_> = (0..17).map(|chain| (chain, id)).collect();
        assert_eq!(ChainTree::build(&many), None);
    }

    proptest! {
        #[test]
        fn every_chain_finds_its_block(ids in proptest::collection::btree_set(0u32..0x2000, 1..=MAX_CHAINS)) {
            let chains: Vec<(u32, B256)> =
                ids.into_iter().map(|id| (id, sha256d(&id.to_le_bytes()))).collect();
            let tree = ChainTree::build(&chains).expect("different ids");
            for ((id, block), place) in chains.iter().zip(&tree.places) {
                let aux = proof(place);
                let rest = find_commitment(&tree.commitment, commitment_root(&aux, *block)).expect("the root");
                let nonce = check_tree_size(rest, place.1.len()).expect("the size");
                check_slot(&aux, nonce, *id).expect("the slot");
            }
        }
    }
}
