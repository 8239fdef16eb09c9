//! Why the pool does not take a transaction.

use alloy_primitives::U256;
use bmm_ledger::{TxError, store::StoreError};

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
    #[error("exceeds block gas limit: gas {got}, limit {limit}")]
    GasLimit {
        /// Its gas limit.
        got: u64,
        /// The block's.
        limit: u64,
    },
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
        balance: U256,
        /// The most that this and its other waiting transactions may cost, in units.
        cost: U256,
    },
    /// The fee is too low for this node.
    #[error("transaction underpriced: tip {got}, minimum needed {needed}")]
    Underpriced {
        /// Units per gas that it offers.
        got: u128,
        /// The least.
        needed: u128,
    },
    /// Not enough more than the one that it would replace.
    #[error("replacement transaction underpriced: one with this nonce waits already; raise both fees by 10 %")]
    ReplacementUnderpriced,
    /// The sender has as many as are allowed.
    #[error("the account has {0} transactions waiting, which is the limit; wait for a block")]
    AccountLimit(usize),
    /// The pool is full of better ones.
    #[error("txpool is full; raise the fee, or wait for a block")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PoolError {
    /// Whether no node would ever take the transaction, whatever its state and its settings.
    pub const fn is_for_ever(&self) -> bool {
        match self {
            Self::Malformed(_) => true,
            Self::Invalid(error) => !matches!(error, TxError::SenderIsContract),
            _ => false,
        }
    }
}
