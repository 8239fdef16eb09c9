//! The pool of transactions that wait for a block.

use crate::{chain::Chain, error::ChainError};
use alloy_primitives::{Address, B256};
use bmm_ledger::{TxError, store::StoreError};
use bmm_types::Transaction;
use std::sync::Arc;

/// Limits of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub transactions: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Length of one transaction, in bytes (EIP-2718 encoding).
    pub transaction_bytes: usize,
    /// Least tip, in units per gas.
    pub min_tip: u128,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { transactions: 16_384, per_sender: 1_024, transaction_bytes: 128 * 1024, min_tip: 0 }
    }
}

/// A transaction that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Its hash.
    pub hash: B256,
    /// Who signed it.
    pub sender: Address,
    /// Order of arrival.
    pub arrival: u64,
}

/// Counts of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Transactions that could be in the next block.
    pub pending: usize,
    /// Transactions that wait for an earlier nonce.
    pub queued: usize,
}

/// All transactions of the pool, each list by sender and nonce.
#[derive(Clone, Debug, Default)]
pub struct PoolContent {
    /// Those that could be in the next block.
    pub pending: Vec<Arc<PoolTransaction>>,
    /// Those that wait for an earlier nonce.
    pub queued: Vec<Arc<PoolTransaction>>,
}

/// Why the pool did not take a transaction. Where wallets look for words, these are the words.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The bytes are not a transaction.
    #[error("the bytes are not a signed transaction (EIP-2718): {0}")]
    Malformed(String),
    /// It is there already.
    #[error("already known")]
    AlreadyKnown,
    /// It could never be in a block: signature, chain id, type, gas.
    #[error(transparent)]
    Invalid(#[from] TxError),
    /// Longer than the pool takes.
    #[error("oversized data: transaction size {got}, limit {limit}")]
    Oversized {
        /// Its length, in bytes.
        got: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More gas than a block has.
    #[error("exceeds block gas limit")]
    GasLimit,
    /// Less gas than any such transaction costs.
    #[error("intrinsic gas too low: gas {limit}, minimum needed {needed}")]
    IntrinsicGas {
        /// Its gas limit.
        limit: u64,
        /// The least.
        needed: u64,
    },
    /// The nonce has been used.
    #[error("nonce too low: next nonce {state}, tx nonce {tx}")]
    NonceTooLow {
        /// The transaction's.
        tx: u64,
        /// The account's next.
        state: u64,
    },
    /// The nonce is too far ahead.
    #[error("nonce too high: next nonce {state}, tx nonce {tx}")]
    NonceTooHigh {
        /// The transaction's.
        tx: u64,
        /// The account's next.
        state: u64,
    },
    /// The account cannot pay for all its waiting transactions.
    #[error("insufficient funds for gas * price + value: balance {balance}, cost {cost}")]
    Funds {
        /// What the account has, in units.
        balance: alloy_primitives::U256,
        /// The most that its waiting transactions and this one may cost, in units.
        cost: alloy_primitives::U256,
    },
    /// The fee is too low for this node.
    #[error("transaction underpriced: fee {got}, minimum needed {needed}")]
    Underpriced {
        /// Units per gas that it offers.
        got: u128,
        /// The least.
        needed: u128,
    },
    /// Not enough more than the one that it would replace.
    #[error("replacement transaction underpriced: a transaction with this nonce waits already; raise both fees by 10 %")]
    ReplacementUnderpriced,
    /// The sender has as many as are allowed.
    #[error("the account has {0} transactions waiting, which is the limit; wait for a block")]
    AccountLimit(usize),
    /// The pool is full of better ones.
    #[error("txpool is full")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pool.
pub(crate) struct TxPool {}

impl TxPool {
    pub fn new(limits: PoolLimits) -> Self {
        todo!("{limits:?}")
    }
}

impl Chain {
    /// Takes a signed transaction into the pool. Returns its hash.
    pub fn submit(&self, transaction: Transaction) -> Result<B256, PoolError> {
        todo!("{transaction:?}")
    }

    /// Takes a transaction as `eth_sendRawTransaction` brings it (EIP-2718 encoding). Returns its hash.
    pub fn submit_raw(&self, bytes: &[u8]) -> Result<B256, PoolError> {
        todo!("{bytes:?}")
    }

    /// Returns the nonce that follows the account's waiting transactions without a gap (`eth_getTransactionCount`, `pending`).
    pub fn pending_nonce(&self, address: Address) -> Result<u64, ChainError> {
        todo!("{address}")
    }

    /// Returns a waiting transaction.
    pub fn pending_transaction(&self, hash: B256) -> Option<Arc<PoolTransaction>> {
        todo!("{hash}")
    }

    /// Returns how many transactions wait.
    pub fn pool_status(&self) -> PoolStatus {
        todo!()
    }

    /// Returns all waiting transactions.
    pub fn pool_content(&self) -> PoolContent {
        todo!()
    }
}
