//! Who signed the transactions.

use super::error::{BlockError, TxError};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_primitives::Address;
use bmm_types::Transaction;
use std::{panic::resume_unwind, thread};

/// Threads that recover signatures at once.
const THREADS: usize = 2;

/// Below this number a thread costs more than it saves (some 30 µs a signature).
const MIN_PARALLEL: usize = 8;

/// Recovers the senders of `transactions` on two threads, in order.
///
/// # Errors
/// The first transaction whose signature does not recover, or has a high `s` (EIP-2).
pub fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, BlockError> {
    if transactions.len() < MIN_PARALLEL {
        return recover(transactions, 0);
    }
    let (first, second) = transactions.split_at(transactions.len() / THREADS);
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(|| recover(second, first.len()));
        (recover(first, 0), other.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let mut senders = first?;
    senders.extend(second?);
    Ok(senders)
}

fn recover(transactions: &[Transaction], offset: usize) -> Result<Vec<Address>, BlockError> {
    let sender = |(index, tx): (usize, &Transaction)| {
        tx.recover_signer()
            .map_err(|_| BlockError::Transaction { index: offset.saturating_add(index), error: TxError::Signature })
    };
    transactions.iter().enumerate().map(sender).collect()
}
