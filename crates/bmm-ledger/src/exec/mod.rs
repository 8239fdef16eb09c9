//! Executing blocks, building them, and simulating calls.

mod builder;
mod call;
mod desk;
mod env;
mod error;
mod executor;
pub mod header;
mod overlay;
mod overrides;
mod parallel;
mod receipts;
mod replay;
mod senders;
pub(crate) mod short;
mod simulate;
mod speculation;
#[cfg(test)]
mod tests;
mod trace;
mod watch;

pub use builder::{BlockBuilder, BlockPlan, Built, TxOutcome};
pub use call::{CallOutcome, CallRequest, call, decode_revert, estimate_gas};
pub use env::is_built_in;
pub use error::{BlockError, CallError, ExecError, TxError};
pub use overrides::{MAX_OVERRIDDEN_ACCOUNTS, MAX_OVERRIDDEN_SLOTS, Overridden, OverrideError};
pub use replay::{Replay, Subject, TraceError};
pub use senders::{recover_missing_senders, recover_senders};
pub use short::call_within;
pub use simulate::{SimulateOptions, SimulatedCall, Simulation};
pub use trace::AccessListOutcome;
pub use watch::TraceLimits;

use crate::{diff::StateDiff, store::Receipt};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, Bloom};
use bmm_types::{Block, ChainParams, Header};
use desk::Desk;
use executor::Executor;
use parallel::Sharing;
use revm::DatabaseRef;

/// A state that execution can read: shared, read-only, with errors that can be told.
pub trait StateRead: DatabaseRef<Error: std::error::Error + Send + Sync + 'static> {
    /// Returns whether an account has storage; execution asks only where a foreign state may hold storage without code.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn has_storage(&self, address: Address) -> Result<bool, Self::Error>;
}

impl<T: StateRead> StateRead for &T {
    fn has_storage(&self, address: Address) -> Result<bool, Self::Error> {
        (**self).has_storage(address)
    }
}

/// What a block did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// One receipt for each transaction, in order.
    pub receipts: Vec<Receipt>,
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

/// How a block is executed; the outcome is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecMode {
    /// On as many threads as there are cores; blocks of few transactions on the calling one alone.
    #[default]
    Auto,
    /// On the calling thread alone.
    Sequential,
    /// On the calling thread and others: they hash receipts, and execute transactions ahead of their turn.
    Parallel {
        /// Threads, the calling one included; 0 and 1 mean the calling one alone, and more than [`MAX_THREADS`] count as that many.
        threads: usize,
    },
}

/// The most threads that execute a block.
pub const MAX_THREADS: usize = 16;

/// Blocks of fewer transactions are executed before another thread would have begun.
const MIN_PARALLEL: usize = 64;

impl ExecMode {
    /// Returns the number of threads beside the calling one for a block of so many transactions.
    fn workers(self, transactions: usize) -> usize {
        match self {
            Self::Auto if transactions < MIN_PARALLEL => 0,
            Self::Auto => senders::cores().min(MAX_THREADS).saturating_sub(1),
            Self::Sequential => 0,
            Self::Parallel { threads } => threads.min(MAX_THREADS).saturating_sub(1),
        }
    }
}

/// Executes `block` on the state of its parent and checks everything in its header that execution decides, the state
/// root excepted: that is the trie's to compute from the diff.
///
/// `senders` are those of the transactions in order, see [`recover_senders`]. The header's own rules
/// ([`header::check_header`]) and the body's roots ([`header::check_body`]) are the caller's to check before.
///
/// # Errors
/// [`ExecError::Invalid`] names the rule that the block breaks; [`ExecError::State`] says nothing about the block.
pub fn execute_block(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    db: impl StateRead + Sync,
) -> Result<Executed, ExecError> {
    execute_block_with(params, block, senders, db, ExecMode::default())
}

/// As [`execute_block`], in the manner of `mode`: receipts, gas, diff and errors are the same whatever the mode.
pub fn execute_block_with(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    db: impl StateRead + Sync,
    mode: ExecMode,
) -> Result<Executed, ExecError> {
    let transactions = &block.body.transactions;
    if senders.len() != transactions.len() {
        return Err(BlockError::Senders { senders: senders.len(), transactions: transactions.len() }.into());
    }
    let executed = match mode.workers(transactions.len()) {
        0 => run(params, block, senders, db)?,
        workers => parallel::run(params, block, senders, &db, workers, Sharing::of(transactions.len()))?,
    };
    check_outcome(&block.header, &executed)?;
    Ok(executed)
}

/// Executes a block on this thread.
fn run(params: &ChainParams, block: &Block, senders: &[Address], db: impl StateRead) -> Result<Executed, ExecError> {
    let transactions = &block.body.transactions;
    let desk = Desk::here(transactions.len());
    let mut executor = Executor::begin(params, block.header.clone(), db, desk, transactions.len())?;
    for (index, (tx, sender)) in transactions.iter().zip(senders).enumerate() {
        executor.transact(tx, *sender)?.map_err(|error| BlockError::Transaction { index, error })?;
    }
    executor.finish(withdrawals(block))
}

fn withdrawals(block: &Block) -> &[Withdrawal] {
    block.body.withdrawals.as_deref().map_or(&[], Vec::as_slice)
}

/// What the header says of the execution is what happened.
fn check_outcome(header: &Header, executed: &Executed) -> Result<(), BlockError> {
    if header.gas_used != executed.gas_used {
        return Err(BlockError::GasUsed { got: header.gas_used, expected: executed.gas_used });
    }
    if header.blob_gas_used != Some(executed.blob_gas_used) {
        return Err(BlockError::BlobGasUsed { got: header.blob_gas_used, expected: executed.blob_gas_used });
    }
    if header.receipts_root != executed.receipts_root {
        return Err(BlockError::ReceiptsRoot { got: header.receipts_root, expected: executed.receipts_root });
    }
    if header.logs_bloom != executed.logs_bloom {
        return Err(BlockError::LogsBloom);
    }
    if header.requests_hash != executed.requests_hash {
        return Err(BlockError::RequestsHash { got: header.requests_hash, expected: executed.requests_hash });
    }
    Ok(())
}
