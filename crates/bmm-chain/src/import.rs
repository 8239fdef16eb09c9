//! How a block comes in.

use crate::{chain::Chain, error::ImportError, events::Reorg};
use alloy_primitives::B256;
use bmm_types::{Seal, SealedBlock};
use std::sync::Arc;

/// What became of a block that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The block's id.
    pub id: B256,
    /// Whether it is the head now.
    pub became_head: bool,
    /// The change of branch that it caused.
    pub reorg: Option<Arc<Reorg>>,
}

/// What only the thread that imports sees.
#[derive(Default)]
pub(crate) struct Importing {}

impl Chain {
    /// Takes a block: the one path for our own blocks, those of the RPC and those of peers.
    ///
    /// Checks every rule, stores the block, executes it if its branch has the most work, and moves the head to it.
    pub fn import(&self, block: SealedBlock) -> Result<Imported, ImportError> {
        todo!("{block:?}")
    }

    /// Stores one more valid seal of a known block, since children may build on the randomness of any. Returns whether it is
    /// new.
    pub fn add_seal(&self, block: B256, seal: Seal) -> Result<bool, ImportError> {
        todo!("{block} {seal:?}")
    }
}
