//! Executing a block on several threads with the results of executing it on one.
//!
//! One thread, the committer, goes through the transactions in order. The others, the workers, execute transactions ahead of their
//! turn, each on a view of its own: the parent's state and what the worker itself did so far. With each result they keep every value
//! that the machine asked its state for. At the transaction's turn the committer compares these values with the state as it is then:
//! if all are the same, the result is that of executing it then, since the machine is a function of block, transaction and the
//! values read; otherwise the committer executes it again. What no worker has begun, it executes itself. So the outcome does not
//! depend on who was how fast. See `docs/decisions/0005-parallel-execution.md`.

use super::{
    BlockError, ExecError, Executed, StateRead,
    desk::Desk,
    executor::Executor,
    receipts::{Hashed, Receipts},
    speculation::{Speculated, Speculator},
};
use alloy_consensus::EthereumReceipt;
use alloy_primitives::{Address, map::AddressMap};
use bmm_types::{Block, ChainParams, Transaction};
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::{
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
};

/// How a block is shared out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharing {
    /// Transactions that a worker takes at once.
    pub(super) chunk: usize,
    /// How far ahead of the committer a worker begins at the least, so that it is not overtaken at once.
    pub(super) lead: usize,
    /// Results of no use after which nothing is executed ahead any more, if those of use are not twice as many.
    pub(super) patience: usize,
    /// Whether the committer begins only when the workers have nothing left to do. For tests: everything is executed on the
    /// parent's state then.
    pub(super) wait: bool,
}

/// The chunk and the lead of long blocks.
const CHUNK: usize = 8;

impl Sharing {
    /// Shares out a block of so many transactions.
    pub(super) fn of(transactions: usize) -> Self {
        let part = transactions / 16;
        Self { chunk: part.clamp(1, CHUNK), lead: part.min(CHUNK), patience: 8, wait: false }
    }
}

/// Nobody has begun the transaction.
const FREE: u8 = 0;
/// A worker is at it.
const TAKEN: u8 = 1;
/// A worker has left a result.
const DONE: u8 = 2;
/// It is the committer's.
const OURS: u8 = 3;

/// Nobody has begun a transaction of the sender. Workers count from [`FIRST_WORKER`].
const NOBODY: usize = 0;
const COMMITTER: usize = 1;
const FIRST_WORKER: usize = 2;

/// A transaction on its way.
#[derive(Default)]
struct Place {
    status: AtomicU8,
    result: Mutex<Option<Speculated>>,
}

/// What all threads see of a block.
struct Shared<'a> {
    transactions: &'a [Transaction],
    senders: &'a [Address],
    sharing: Sharing,
    places: Vec<Place>,
    /// Number of each transaction's sender: transactions of one sender depend on each other by their nonces, so one thread has all
    /// of them that nobody has begun.
    groups: Vec<usize>,
    owners: Vec<AtomicUsize>,
    /// The committer's place.
    position: AtomicUsize,
    /// Where the next chunk begins, if the committer is not near.
    next: AtomicUsize,
    stop: AtomicBool,
}

impl<'a> Shared<'a> {
    fn new(transactions: &'a [Transaction], senders: &'a [Address], sharing: Sharing) -> Self {
        let mut numbers = AddressMap::default();
        let groups = senders.iter().map(|sender| {
            let next = numbers.len();
            *numbers.entry(*sender).or_insert(next)
        });
        let groups: Vec<usize> = groups.collect();
        Self {
            transactions,
            senders,
            sharing,
            places: transactions.iter().map(|_| Place::default()).collect(),
            owners: numbers.iter().map(|_| AtomicUsize::new(NOBODY)).collect(),
            groups,
            position: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes the next chunk of places for a worker, if any are left.
    fn chunk(&self) -> Option<Range<usize>> {
        let (chunk, count) = (self.sharing.chunk, self.transactions.len());
        let least = self.position.load(Ordering::Relaxed).saturating_add(self.sharing.lead);
        let begin = |next: usize| next.max(least);
        let advance = |next| (begin(next) < count).then(|| begin(next).saturating_add(chunk));
        if self.stopped() {
            return None;
        }
        let next = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance).ok()?;
        Some(begin(next)..begin(next).saturating_add(chunk).min(count))
    }

    /// Waits until every transaction that workers can have is executed or given up.
    fn wait_for_workers(&self) {
        let begin = |next: usize| next.max(self.sharing.lead);
        while begin(self.next.load(Ordering::Relaxed)) < self.transactions.len()
            || self.places.iter().any(|place| place.status.load(Ordering::Acquire) == TAKEN)
        {
            thread::yield_now();
        }
    }

    /// Takes a transaction for a worker, unless somebody else has it or others of its sender.
    fn take(&self, index: usize, worker: usize) -> Option<Claim<'_>> {
        let owner = self.owners.get(*self.groups.get(index)?)?;
        if let Err(other) = owner.compare_exchange(NOBODY, worker, Ordering::Relaxed, Ordering::Relaxed)
            && other != worker
        {
            return None;
        }
        let place = self.places.get(index)?;
        place.status.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Claim { place })
    }

    /// Takes a transaction for the committer: with a worker's result, or to be executed.
    fn take_turn(&self, index: usize) -> Option<Speculated> {
        self.position.store(index, Ordering::Relaxed);
        let place = self.places.get(index)?;
        let taken = place.status.compare_exchange(FREE, OURS, Ordering::Acquire, Ordering::Acquire);
        let mut status = taken.unwrap_or_else(|status| status);
        while status == TAKEN {
            // It is executed right now; nothing is gained by doing it twice.
            thread::yield_now();
            status = place.status.load(Ordering::Acquire);
        }
        if status == DONE {
            return place.result.lock().take();
        }
        self.take_sender(index);
        None
    }

    /// Gives the transactions of this one's sender that nobody has begun to the committer.
    fn take_sender(&self, index: usize) {
        if let Some(owner) = self.groups.get(index).and_then(|group| self.owners.get(*group)) {
            owner.store(COMMITTER, Ordering::Relaxed);
        }
    }
}

/// A transaction that a worker is at. If it leaves no result, for whatever reason, the transaction is the committer's.
struct Claim<'a> {
    place: &'a Place,
}

impl Claim<'_> {
    fn leave(self, result: Speculated) {
        *self.place.result.lock() = Some(result);
        self.place.status.store(DONE, Ordering::Release);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let _ = self.place.status.compare_exchange(TAKEN, OURS, Ordering::Release, Ordering::Relaxed);
    }
}

/// Lets the workers end however the committer ends.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Executes the transactions of `block` on the state `db` of its parent with `workers` threads beside this one, at least one.
pub(super) fn run<DB: StateRead + Sync>(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    db: &DB,
    workers: usize,
    sharing: Sharing,
) -> Result<Executed, ExecError> {
    run_counted(params, block, senders, db, workers, sharing).map(|(executed, _)| executed)
}

/// How many results of workers were of use, and how many were not.
type Counts = (usize, usize);

/// Executes a block and says how many results of workers were of use.
#[cfg(test)]
pub(super) fn counted<DB: StateRead + Sync>(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    db: &DB,
    workers: usize,
    sharing: Sharing,
) -> Result<Counts, ExecError> {
    run_counted(params, block, senders, db, workers, sharing).map(|(_, counts)| counts)
}

fn run_counted<DB: StateRead + Sync>(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    db: &DB,
    workers: usize,
    sharing: Sharing,
) -> Result<(Executed, Counts), ExecError> {
    let shared = Shared::new(&block.body.transactions, senders, sharing);
    let (to, receipts) = channel();
    let (answer, back) = channel();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&shared.stop);
        let work = |number: usize| Worker {
            number: FIRST_WORKER.saturating_add(number),
            shared: &shared,
            speculator: Speculator::new(params, &block.header, db),
        };
        scope.spawn(move || work(0).hash_and_speculate(&receipts, &answer));
        let others: Vec<_> = (1..workers).map(|number| scope.spawn(move || work(number).speculate())).collect();
        if sharing.wait {
            shared.wait_for_workers();
            for other in others {
                drop(other.join());
            }
        }
        commit(params, block, db, &shared, Desk::away(to, back))
    })
}

/// Goes through the transactions in order.
fn commit<DB: StateRead>(
    params: &ChainParams,
    block: &Block,
    db: &DB,
    shared: &Shared<'_>,
    desk: Desk,
) -> Result<(Executed, Counts), ExecError> {
    let transactions = shared.transactions;
    let mut executor = Executor::begin(params, block.header.clone(), db, desk, transactions.len())?;
    let (mut useful, mut useless) = (0usize, 0usize);
    for (index, (tx, sender)) in transactions.iter().zip(shared.senders).enumerate() {
        if let Some(speculated) = shared.take_turn(index) {
            if executor.adopt(tx, speculated)?.is_some() {
                useful = useful.saturating_add(1);
                continue;
            }
            shared.take_sender(index);
            useless = useless.saturating_add(1);
            if useless >= shared.sharing.patience && useless.saturating_mul(2) > useful {
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
        executor.transact(tx, *sender)?.map_err(|error| BlockError::Transaction { index, error })?;
    }
    Ok((executor.finish(super::withdrawals(block))?, (useful, useless)))
}

/// A thread that executes ahead.
struct Worker<'a, DB: StateRead> {
    number: usize,
    shared: &'a Shared<'a>,
    speculator: Speculator<'a, DB>,
}

impl<DB: StateRead> Worker<'_, DB> {
    /// Executes the next chunk; returns whether there was one.
    fn speculate_chunk(&mut self) -> bool {
        let Some(chunk) = self.shared.chunk() else { return false };
        for index in chunk {
            if self.shared.stopped() {
                break;
            }
            let Some(claim) = self.shared.take(index, self.number) else { continue };
            let (tx, sender) = (&self.shared.transactions[index], self.shared.senders[index]);
            if let Some(result) = self.speculator.execute(tx, sender) {
                claim.leave(result);
            }
        }
        true
    }

    fn speculate(mut self) {
        while self.speculate_chunk() {}
    }

    /// Hashes receipts as they come, and executes ahead when there are none.
    fn hash_and_speculate(mut self, receipts: &Receiver<Vec<EthereumReceipt>>, answer: &Sender<Hashed>) {
        let mut hashed = Receipts::new(self.shared.transactions.len());
        loop {
            let batch = match receipts.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Empty) if self.speculate_chunk() => continue,
                Err(_) => match receipts.recv() {
                    Ok(batch) => batch,
                    Err(_) => break,
                },
            };
            for receipt in batch {
                hashed.push(receipt);
            }
        }
        // Nobody waits for it when the block is invalid.
        let _ = answer.send(hashed.finish());
    }
}
