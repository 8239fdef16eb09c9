//! The pool of transactions that wait for a block.
//!
//! A transaction is checked and its signature recovered before the pool's lock is taken; the lock is held for some microseconds a
//! transaction, however many wait. Templates read the order of what is ready as it stood when they began, without the lock.

mod best;
mod books;
mod check;
mod error;
mod fees;
mod follow;
mod heads;
mod journal;
mod lasts;
mod sender;
#[cfg(test)]
mod tests;

pub(crate) use best::Best;
pub(crate) use books::{Candidate, TxPool};
pub use error::PoolError;
use fees::Fees;
pub(crate) use follow::{Touched, accounts_after};
pub(crate) use journal::Journal;

use crate::{chain::Chain, error::ChainError};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY};
use bmm_ledger::{TxError, diff::Account, store::StateView};
use bmm_types::Transaction;
use std::sync::Arc;

/// Code of an account that delegates to another one begins so and is 23 bytes long (EIP-7702).
const DELEGATION_PREFIX: [u8; 3] = [0xef, 0x01, 0x00];

/// Senders, or transactions, that are handled under one lock of the pool before others get their turn.
const LOCKED_AT_ONCE: usize = 256;

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
    /// How long transactions wait for an earlier nonce while their sender does nothing, in seconds.
    pub queued_secs: u64,
    /// How long transactions wait for a block while their sender does nothing, in seconds.
    pub pending_secs: u64,
}

impl Default for PoolLimits {
    /// 131,072 plain transfers fill 46 blocks of 60M gas, some five minutes, and take some 150 MB of memory with all indices;
    /// longer ones are bounded by their bytes. A sender of 1,024 in every block of 6 s sends 170 a second.
    fn default() -> Self {
        Self {
            transactions: 131_072,
            bytes: 256 << 20,
            per_sender: 1_024,
            transaction_bytes: 128 * 1024,
            min_tip: 0,
            queued_secs: 3 * 3_600,
            pending_secs: 72 * 3_600,
        }
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
    /// Length of its EIP-2718 encoding.
    pub bytes: usize,
    /// Order of arrival.
    pub arrival: u64,
}

impl PoolTransaction {
    fn fees(&self) -> Fees {
        Fees::of(&self.transaction)
    }
}

/// Counts of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Transactions that could be in a block, one after another.
    pub pending: usize,
    /// Transactions that wait for an earlier nonce.
    pub queued: usize,
}

/// Transactions of the pool, each list by sender and nonce.
#[derive(Clone, Debug, Default)]
pub struct PoolContent {
    /// Those that could be in a block, one after another.
    pub pending: Vec<Arc<PoolTransaction>>,
    /// Those that wait for an earlier nonce.
    pub queued: Vec<Arc<PoolTransaction>>,
}

impl Chain {
    /// Takes a signed transaction into the pool. Returns its hash.
    pub fn submit(&self, transaction: Transaction) -> Result<B256, PoolError> {
        if self.pool.lock().get(*transaction.tx_hash()).is_some() {
            return Err(PoolError::AlreadyKnown);
        }
        let gas_limit = self.head.read().header.gas_limit;
        check::check(&self.params, &self.options.pool, gas_limit, &transaction)?;
        let sender = transaction.recover_signer().map_err(|_| PoolError::Invalid(TxError::Signature))?;
        self.admit(transaction, sender)
    }

    /// Takes a transaction as `eth_sendRawTransaction` brings it (EIP-2718 encoding). Returns its hash.
    pub fn submit_raw(&self, bytes: &[u8]) -> Result<B256, PoolError> {
        let limit = self.options.pool.transaction_bytes;
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

    /// Takes a transaction that holds all rules but the pool's own, notes it in the journal and tells of it.
    fn admit(&self, transaction: Transaction, sender: Address) -> Result<B256, PoolError> {
        let entry = self.take(transaction, sender)?;
        let hash = entry.hash;
        self.note_bets_in(&entry.transaction);
        if let Some(journal) = &self.journal {
            journal.add(entry);
        }
        self.events.new_pending(hash);
        Ok(hash)
    }

    /// Puts a transaction, which holds all other rules, into the books.
    fn take(&self, transaction: Transaction, sender: Address) -> Result<Arc<PoolTransaction>, PoolError> {
        let state = self.store.view()?;
        let mut account = read_sender(&state, sender)?;
        let mut pool = self.pool.lock();
        if pool.head() != state.block().id {
            // A block came in between. What is read under the lock, the pool's own look at that block comes after.
            account = read_sender(&self.store.view()?, sender)?;
        }
        pool.insert(Candidate { transaction, sender, account, now: self.now_secs() })
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

    /// Returns all waiting transactions. Those of one sender are as they were at one moment; others may come and go meanwhile,
    /// since the pool is not held while it is copied.
    pub fn pool_content(&self) -> PoolContent {
        let mut senders = self.pool.lock().senders();
        senders.sort_unstable();
        let mut content = PoolContent::default();
        for some in senders.chunks(LOCKED_AT_ONCE) {
            let pool = self.pool.lock();
            for queue in some.iter().filter_map(|sender| pool.queue(*sender)) {
                let (pending, queued) = queue.parts();
                content.pending.extend(pending);
                content.queued.extend(queued);
            }
        }
        content
    }

    /// Returns the waiting transactions of one sender.
    pub fn pool_content_of(&self, sender: Address) -> PoolContent {
        let pool = self.pool.lock();
        let (pending, queued) = pool.queue(sender).map(sender::Queue::parts).unwrap_or_default();
        PoolContent { pending, queued }
    }
}

/// Reads the account of somebody who wants to send. Rule: it has no code but a delegation (EIP-3607, EIP-7702).
fn read_sender(state: &StateView, sender: Address) -> Result<Account, PoolError> {
    let account = state.account(sender)?.unwrap_or_default();
    if account.code_hash == KECCAK256_EMPTY {
        return Ok(account);
    }
    let code = state.code(account.code_hash)?.unwrap_or_default();
    let delegates = code.len() == 23 && code.starts_with(&DELEGATION_PREFIX);
    if code.is_empty() || delegates { Ok(account) } else { Err(TxError::SenderIsContract.into()) }
}
