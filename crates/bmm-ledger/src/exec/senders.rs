//! Who signed the transactions.

use super::error::{BlockError, TxError};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_primitives::Address;
use bmm_types::Transaction;
use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Transactions that a thread takes at once: half a millisecond of work, so that threads end at nearly the same time.
const CHUNK: usize = 16;

/// Fewer signatures are recovered (in some 30 µs each) before another thread would have begun.
const MIN_PARALLEL: usize = 8;

/// Returns the number of cores, as far as it is known.
pub(super) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// Recovers the senders of `transactions` on all cores, in order.
///
/// # Errors
/// The first transaction whose signature does not recover, or has a high `s` (EIP-2).
pub fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, BlockError> {
    recover_missing_senders(transactions, &vec![None; transactions.len()])
}

/// Recovers those senders of `transactions` that are not `known`, on all cores, and returns all in order.
///
/// # Errors
/// [`BlockError::Senders`] unless there is an entry for each transaction; otherwise as [`recover_senders`].
pub fn recover_missing_senders(
    transactions: &[Transaction],
    known: &[Option<Address>],
) -> Result<Vec<Address>, BlockError> {
    if known.len() != transactions.len() {
        return Err(BlockError::Senders { senders: known.len(), transactions: transactions.len() });
    }
    let missing: Vec<usize> = (0..transactions.len()).filter(|index| known[*index].is_none()).collect();
    let recovered = recover(transactions, &missing)?;
    let mut senders: Vec<Address> = known.iter().map(|sender| sender.unwrap_or_default()).collect();
    for (index, sender) in missing.into_iter().zip(recovered) {
        senders[index] = sender;
    }
    Ok(senders)
}

/// Recovers the senders of the transactions at `indices`, which ascend.
fn recover(transactions: &[Transaction], indices: &[usize]) -> Result<Vec<Address>, BlockError> {
    let one = |index: &usize| {
        let error = || BlockError::Transaction { index: *index, error: TxError::Signature };
        transactions[*index].recover_signer().map_err(|_| error())
    };
    let threads = cores().min(indices.len().div_ceil(CHUNK));
    if indices.len() < MIN_PARALLEL || threads < 2 {
        return indices.iter().map(one).collect();
    }
    let chunks: Vec<&[usize]> = indices.chunks(CHUNK).collect();
    let next = AtomicUsize::new(0);
    // Whole chunks, each with its number. All are done even after a failure, so that the first one is what is told.
    let work = || {
        let mut done = Vec::new();
        while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < chunks.len()) {
            done.push((number, chunks[number].iter().map(one).collect::<Result<Vec<_>, _>>()));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    let mut senders = Vec::with_capacity(indices.len());
    for (_, chunk) in done {
        senders.extend(chunk?);
    }
    Ok(senders)
}
