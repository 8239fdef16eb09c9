//! The pool of transactions that wait for a block.

mod best;
mod check;
mod error;
mod queue;

pub use error::PoolError;
pub(crate) use queue::TxPool;

use crate::{chain::Chain, error::ChainError};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256};
use bmm_ledger::{TxError, diff::Account, store::StateView};
use bmm_types::Transaction;
use std::sync::Arc;

/// Code of an account that delegates to another one begins so and is 23 bytes long (EIP-7702).
const DELEGATION_PREFIX: [u8; 3] = [0xef, 0x01, 0x00];

/// Limits of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub transactions: usize,
    /// Bytes of all transactions (EIP-2718 encodings).
    pub bytes: usize,
    /// Transactions of one sender.
    pub per_sender: usize,
    /// Length of one transaction, in bytes (EIP-2718 encoding).
    pub transaction_bytes: usize,
    /// Least tip, in units per gas.
    pub min_tip: u128,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { transactions: 16_384, bytes: 64 << 20, per_sender: 1_024, transaction_bytes: 128 * 1024, min_tip: 0 }
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

impl Chain {
    /// Takes a signed transaction into the pool. Returns its hash.
    pub fn submit(&self, transaction: Transaction) -> Result<B256, PoolError> {
        let limits = {
            let pool = self.pool.lock();
            if pool.get(*transaction.tx_hash()).is_some() {
                return Err(PoolError::AlreadyKnown);
            }
            *pool.limits()
        };
        let sender = check::check(&self.params, &limits, self.head().header.gas_limit, &transaction)?;
        let hash = {
            // The state is read under the pool's lock: a block that comes in between then finds the transaction there.
            let mut pool = self.pool.lock();
            let state = self.store.view()?;
            let account = state.account(sender)?.unwrap_or_default();
            check_sender(&state, &account)?;
            pool.insert(transaction, sender, account)?
        };
        self.events.new_pending(hash);
        Ok(hash)
    }

    /// Takes a transaction as `eth_sendRawTransaction` brings it (EIP-2718 encoding). Returns its hash.
    pub fn submit_raw(&self, bytes: &[u8]) -> Result<B256, PoolError> {
        let limit = self.pool.lock().limits().transaction_bytes;
        if bytes.len() > limit {
            return Err(PoolError::Oversized { got: bytes.len(), limit });
        }
        let mut rest = bytes;
        let transaction =
            Transaction::decode_2718(&mut rest).map_err(|error| PoolError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(PoolError::Malformed(format!("{} bytes follow it", rest.len())));
        }
        self.submit(transaction)
    }

    /// Returns the nonce that follows the account's waiting transactions without a gap (`eth_getTransactionCount`, `pending`).
    pub fn pending_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let pool = self.pool.lock();
        if let Some(nonce) = pool.next_nonce(address) {
            return Ok(nonce);
        }
        Ok(self.store.view()?.account(address)?.map_or(0, |account| account.nonce))
    }

    /// Returns a waiting transaction.
    pub fn pending_transaction(&self, hash: B256) -> Option<Arc<PoolTransaction>> {
        self.pool.lock().get(hash).cloned()
    }

    /// Returns how many transactions wait.
    pub fn pool_status(&self) -> PoolStatus {
        self.pool.lock().status()
    }

    /// Returns all waiting transactions.
    pub fn pool_content(&self) -> PoolContent {
        self.pool.lock().content()
    }
}

/// Rule: the sender has no code but a delegation (EIP-3607, EIP-7702).
fn check_sender(state: &StateView, account: &Account) -> Result<(), PoolError> {
    let code = state.code(account.code_hash)?.unwrap_or_default();
    let delegates = code.len() == 23 && code.starts_with(&DELEGATION_PREFIX);
    if code.is_empty() || delegates { Ok(()) } else { Err(TxError::SenderIsContract.into()) }
}
