//! What a block does to the state: the EVM, the system contracts, emission, genesis, state storage and roots.
//!
//! Above `bmm-types` and `bmm-pow`, below `bmm-chain`. It knows nothing of consensus engines, networks, clocks or
//! entropy: time and randomness come in with the header, state comes in by [`revm::DatabaseRef`], and what changed goes
//! out as a [`diff::StateDiff`].
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod diff;
pub mod emission;
pub mod exec;
pub mod genesis;
#[cfg(test)]
mod properties;
pub mod rights;
pub mod store;
pub mod system;
#[cfg(test)]
mod testkit;
pub mod trie;

pub use exec::{
    BlockBuilder, BlockError, BlockPlan, Built, CallError, CallOutcome, CallRequest, ExecError, ExecMode, Executed,
    TxError, TxOutcome,
};
