//! The pool's journal: what waits is there again when the node starts anew.
//!
//! Every transaction that the pool took is appended to `pool.journal` beside the database, by a thread of its own that gathers
//! them for a tenth of a second, and leaves out what is in a block by then. So an acknowledged transaction is lost when the node is killed within that time, or when the machine
//! loses power before the operating system wrote it out (some 30 s; nothing waits for the disk). At a start, every transaction
//! is checked as if it came anew. What went into blocks, or went otherwise, is left out when the file is written anew: at a start, at
//! a stop, and when most of it is stale.

mod file;

use super::{LOCKED_AT_ONCE, PoolLimits, PoolTransaction, TxPool, check};
use crate::{chain::Chain, error::ChainError};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256};
use bmm_ledger::exec::recover_senders;
use bmm_types::Transaction;
use file::{FRAME_BYTES, Reader, Writer};
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const FILE_NAME: &str = "pool.journal";

/// Transactions that wait for the journal's thread; what does not fit is not written.
const QUEUE: usize = 16_384;

/// How long transactions are gathered before they are written.
const GATHER: Duration = Duration::from_millis(100);

/// How often it is looked whether the file is stale.
const TICK: Duration = Duration::from_secs(1);

/// How long the opening of a chain waits for the journal. Longer ones, some 20,000 transactions, come in beside other work.
const RESTORE_WAIT: Duration = Duration::from_millis(800);

/// Stale records that are left alone.
const SLACK: usize = 1_024;

enum Message {
    Restore(Weak<Chain>, SyncSender<()>),
    Add(Arc<PoolTransaction>),
}

/// The journal's thread. Dropping it has the thread write the rest, and waits for that.
pub(crate) struct Journal {
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Whether it has been said that the queue was full.
    told: AtomicBool,
}

impl Journal {
    /// Starts the journal of the pool in `folder`.
    ///
    /// # Errors
    /// [`ChainError::Thread`]. A file that cannot be read or written is told and does not stop the node.
    pub fn start(folder: &Path, pool: Arc<Mutex<TxPool>>, limits: &PoolLimits) -> Result<Self, ChainError> {
        let (queue, messages) = sync_channel(QUEUE);
        let frames = limits.transactions.saturating_mul(FRAME_BYTES);
        let live_bytes = u64::try_from(limits.bytes.saturating_add(frames)).unwrap_or(u64::MAX);
        let keeper = Keeper {
            path: folder.join(FILE_NAME),
            pool,
            max_len: limits.transaction_bytes,
            // Twice what can be live: then at least half of it is stale.
            max_bytes: live_bytes.saturating_mul(2),
            writer: None,
            broken: false,
        };
        let thread = thread::Builder::new()
            .name("pool-journal".into())
            .spawn(move || keeper.run(&messages))
            .map_err(|error| ChainError::Thread(error.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), told: AtomicBool::new(false) })
    }

    /// Has the journal's transactions submitted to `chain`. Returns when that is done or takes long.
    pub fn restore(&self, chain: &Arc<Chain>) {
        let (done, wait) = sync_channel(1);
        if let Some(queue) = &self.queue
            && queue.try_send(Message::Restore(Arc::downgrade(chain), done)).is_ok()
            && wait.recv_timeout(RESTORE_WAIT) == Err(RecvTimeoutError::Timeout)
        {
            tracing::info!("many transactions waited when the node stopped; they come back to the pool by and by");
        }
    }

    /// Appends a transaction, soon. Never waits.
    pub fn add(&self, tx: Arc<PoolTransaction>) {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.try_send(Message::Add(tx)).is_ok());
        if !sent && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("transactions come faster than the pool's journal is written; some are not in it");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        // While it restores, the journal's thread may be the last that holds the chain.
        if thread.thread().id() == thread::current().id() {
            return;
        }
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread of the pool's journal ended in a panic");
        }
    }
}

/// What the journal's thread works with.
struct Keeper {
    path: PathBuf,
    pool: Arc<Mutex<TxPool>>,
    max_len: usize,
    max_bytes: u64,
    writer: Option<Writer>,
    /// Whether writing failed, and that has been told.
    broken: bool,
}

impl Keeper {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::Restore(chain, done)) => {
                    if !self.restore(&chain) {
                        // The chain was closed before all was read: the file stays as it is.
                        return;
                    }
                    // Nobody waits any more if it took long.
                    let _ = done.try_send(());
                    self.rewrite();
                }
                Ok(Message::Add(first)) => {
                    thread::park_timeout(GATHER);
                    let more = messages.try_iter().take(QUEUE).filter_map(|message| match message {
                        Message::Add(tx) => Some(tx),
                        Message::Restore(..) => None,
                    });
                    let gathered: Vec<_> = std::iter::once(first).chain(more).collect();
                    self.append(&gathered);
                }
                Err(RecvTimeoutError::Timeout) => self.tidy(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.writer.as_ref().is_none_or(|writer| writer.records != self.pool.lock().len()) {
            self.rewrite();
        }
    }

    /// Writes those that still wait.
    fn append(&mut self, transactions: &[Arc<PoolTransaction>]) {
        if self.writer.is_none() {
            self.rewrite();
        }
        let mut bytes = Vec::new();
        for some in transactions.chunks(LOCKED_AT_ONCE) {
            let waiting: Vec<_> = {
                let pool = self.pool.lock();
                some.iter().filter(|tx| pool.get(tx.hash).is_some()).collect()
            };
            for tx in waiting {
                let Some(writer) = &mut self.writer else { return };
                bytes.clear();
                tx.transaction.encode_2718(&mut bytes);
                if let Err(error) = writer.append(&bytes) {
                    return self.fail(&error);
                }
                if writer.bytes > self.max_bytes {
                    self.rewrite();
                }
            }
        }
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::flush) {
            self.fail(&error);
        }
    }

    /// Writes the file anew if most of it is stale, or if writing failed before.
    fn tidy(&mut self) {
        let live = self.pool.lock().len();
        let stale = |writer: &Writer| writer.records > live.saturating_mul(2).saturating_add(SLACK);
        if self.writer.as_ref().map_or(self.broken, stale) {
            self.rewrite();
        }
    }

    fn rewrite(&mut self) {
        // Closed before it is replaced.
        self.writer = None;
        let pool = &self.pool;
        let keep = |hashes: &[B256]| {
            let pool = pool.lock();
            hashes.iter().map(|hash| pool.get(*hash).is_some()).collect()
        };
        match file::rewrite(&self.path, self.max_len, self.max_bytes.saturating_mul(2), keep) {
            Ok(writer) => (self.writer, self.broken) = (Some(writer), false),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.writer = None;
        if !std::mem::replace(&mut self.broken, true) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "waiting transactions cannot be kept for a restart; check the disk");
        }
    }

    /// Submits what the file holds. Returns `false` if the chain was closed meanwhile.
    fn restore(&self, chain: &Weak<Chain>) -> bool {
        let mut reader = match Reader::open(&self.path, self.max_len, self.max_bytes.saturating_mul(2)) {
            Ok(Some(reader)) => reader,
            Ok(None) => return true,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the pool's journal cannot be read; waiting transactions are lost");
                return true;
            }
        };
        let mut taken: usize = 0;
        loop {
            let some: Vec<Vec<u8>> = std::iter::from_fn(|| reader.next()).take(LOCKED_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let signed = recover(some.iter().filter_map(|bytes| Transaction::decode_2718_exact(bytes).ok()).collect());
            // Not held while signatures are recovered: who drops the chain meanwhile finds it closed.
            let Some(chain) = chain.upgrade() else { return false };
            let took = signed.into_iter().filter(|(tx, sender)| chain.take_restored(tx, *sender)).count();
            taken = taken.saturating_add(took);
        }
        if reader.damaged > 0 {
            tracing::warn!(records = reader.damaged, "records of the pool's journal were damaged and are lost");
        }
        tracing::info!(taken, "transactions of the last run are in the pool again");
        true
    }
}

/// Recovers the senders; leaves out what has none.
fn recover(transactions: Vec<Transaction>) -> Vec<(Transaction, Address)> {
    if let Ok(senders) = recover_senders(&transactions) {
        return transactions.into_iter().zip(senders).collect();
    }
    let one = |tx: Transaction| tx.recover_signer().ok().map(|sender| (tx, sender));
    transactions.into_iter().filter_map(one).collect()
}

impl Chain {
    /// Takes a transaction of the journal, which says so only where it still can be in a block.
    fn take_restored(&self, transaction: &Transaction, sender: Address) -> bool {
        let gas_limit = self.head.read().header.gas_limit;
        let taken = check::check(&self.params, &self.options.pool, gas_limit, transaction)
            .and_then(|()| self.take(transaction.clone(), sender));
        taken.inspect_err(|error| tracing::trace!(%error, "a transaction of the journal is of no use any more")).is_ok()
    }
}
