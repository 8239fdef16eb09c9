//! Blocks that the pool found, and what becomes of them.

use crate::log::MAX_CHAIN_NAME_BYTES;
use std::sync::Arc;

/// Longest id of a block, in bytes of its text.
pub const MAX_BLOCK_ID_BYTES: usize = 80;

/// Which block of which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// The chain's name, as in [`ChainWork`](crate::ChainWork).
    pub chain: Arc<str>,
    /// The block's id as the chain writes it: hexadecimal, with `0x` on BMM.
    pub id: String,
}

impl BlockKey {
    /// Whether name and id are short enough to be kept.
    pub fn is_bounded(&self) -> bool {
        (1..=MAX_CHAIN_NAME_BYTES).contains(&self.chain.len()) && (1..=MAX_BLOCK_ID_BYTES).contains(&self.id.len())
    }
}

/// What happened to a block of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockEvent {
    /// Its chain took it. To be told again after a restart does no harm.
    Found {
        /// The block.
        key: BlockKey,
        /// Its height.
        height: u64,
        /// What it brings the pool, in base units of the chain (10^-18 BMM, 10^-8 LTC).
        reward: u128,
        /// Number of the share in the log.
        share: u64,
    },
    /// It has so many blocks above it that it counts as final: its pay is booked.
    Mature(BlockKey),
    /// Another block took its place: nobody is paid for it.
    Orphaned(BlockKey),
}
