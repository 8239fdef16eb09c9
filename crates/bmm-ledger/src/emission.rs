//! The schedule of new coins.

use alloy_primitives::U256;
use bmm_types::Emission;

/// How the emission of one block is split; the parts add up to the block's emission exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    /// Units for the producer.
    pub producer: U256,
    /// Units for the resource pot.
    pub resources: U256,
    /// Units for the footstones' pot.
    pub footstones: U256,
}

/// Returns the units that mining has released up to and with block `height`.
pub fn emitted(emission: &Emission, height: u64) -> U256 {
    todo!()
}

/// Returns the split of the units that block `height` releases.
pub fn reward(emission: &Emission, height: u64) -> Reward {
    todo!()
}
