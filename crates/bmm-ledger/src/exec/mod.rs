//! Executing blocks, building them, and simulating calls.

mod builder;
mod call;
mod error;
pub mod header;
mod senders;

pub use builder::{BlockBuilder, BlockPlan, Built, TxOutcome};
pub use call::{CallOutcome, CallRequest, call, estimate_gas};
pub use error::{BlockError, CallError, ExecError, TxError};
pub use senders::recover_senders;

use crate::diff::StateDiff;
use alloy_consensus::ReceiptEnvelope;
use alloy_primitives::{Address, B256, Bloom};
use bmm_types::{Block, ChainParams, Header};
use revm::DatabaseRef;

/// A state that execution can read: shared, read-only, with errors that can be told.
pub trait StateRead: DatabaseRef<Error: std::error::Error + Send + Sync + 'static> {}
impl<T: DatabaseRef<Error: std::error::Error + Send + Sync + 'static>> StateRead for T {}

/// What a block did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// One receipt for each transaction, in order.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Gas used by all transactions.
    pub gas_used: u64,
    /// Blob gas used by all transactions (foreign vectors only).
    pub blob_gas_used: u64,
    /// Root over the receipts.
    pub receipts_root: B256,
    /// Bloom filter of all logs.
    pub logs_bloom: Bloom,
    /// Hash of the execution requests (EIP-7685), from Prague on.
    pub requests_hash: Option<B256>,
    /// What changed in the state, rewards included.
    pub diff: StateDiff,
}

/// Executes `block` on the state of its parent and checks everything in its header that execution decides, the state
/// root excepted.
///
/// `senders` are those of the transactions in order, see [`recover_senders`].
pub fn execute_block(
    params: &ChainParams,
    parent: &Header,
    block: &Block,
    senders: &[Address],
    db: impl StateRead,
) -> Result<Executed, ExecError> {
    todo!()
}
