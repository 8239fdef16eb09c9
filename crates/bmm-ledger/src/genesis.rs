//! The first block and the state that it begins with.

use crate::diff::StateDiff;
use alloy_primitives::B256;
use bmm_types::{Block, ChainParams};

/// Returns the state at genesis as a change of the empty state.
pub fn genesis_diff(params: &ChainParams) -> StateDiff {
    todo!()
}

/// Returns the genesis block over the root of [`genesis_diff`]'s state.
pub fn genesis_block(params: &ChainParams, state_root: B256) -> Block {
    todo!()
}
