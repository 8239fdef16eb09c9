//! Shares of all connections are hashed together, written to the log together, and only then acknowledged.

use crate::{
    job::{EXTRANONCE1_LEN, EXTRANONCE2_LEN, Solution, Worth},
    server::{
        conn::Conn,
        stats::{Stats, Worker},
        work::Work,
    },
    share::Share,
    stratum::{Id, Reject},
};
use bmm_pow::difficulty::Target;
use bmm_scrypt::Hasher;
use bmm_types::seal::PARENT_HEADER_LEN;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::mpsc;

/// Shares that are written to the log at once, at most.
const MAX_WRITE: usize = 4_096;
/// Solutions that wait where nobody takes them; beyond that they are lost, and the log of the program says so.
const MAX_SOLUTIONS: usize = 1_024;
/// Solutions that wait when no more are added that are no blocks but only work of the epoch.
const MAX_EFFORTS: usize = 256;
/// How often solutions are offered again that nobody had room for.
const OFFER_AGAIN: Duration = Duration::from_millis(100);

/// Keeps shares: returns the numbers that it gave them once they are durable. A failure means that none of them is kept.
pub type Append = Box<dyn FnMut(&[Share]) -> Result<Range<u64>, Box<dyn std::error::Error + Send + Sync>> + Send>;

/// A share that was sent, has the right shape and is new; its hash is not known yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub header: [u8; PARENT_HEADER_LEN],
    pub target: Target,
    /// Hashes that it takes on average.
    pub hashes: u64,
    /// When it came, in Unix milliseconds.
    pub at_millis: u64,
    pub work: Arc<Work>,
    pub extranonce1: [u8; EXTRANONCE1_LEN],
    pub extranonce2: [u8; EXTRANONCE2_LEN],
    pub worker: Arc<Worker>,
    pub conn: Arc<Conn>,
    /// What is answered.
    pub reply: Reply,
}

/// What an answer to a share goes to.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A request of Stratum V1.
    Request(Id),
    /// A share of Stratum V2.
    Channel {
        /// The channel.
        channel: u32,
        /// The share's number in it.
        sequence: u32,
    },
}

/// A share whose hash meets its target.
struct Proven {
    share: Pending,
    /// Its hash, and what it is good for beside the share.
    worth: Option<([u8; 32], Worth)>,
}

#[derive(Default)]
struct Queue {
    shares: VecDeque<Pending>,
    stopped: bool,
}

#[derive(Default)]
struct ToLog {
    shares: Vec<Proven>,
    /// Threads that may add to it.
    sources: usize,
}

struct Inner {
    max_queued: usize,
    lanes: usize,
    gather: Duration,
    queue: Mutex<Queue>,
    some: Condvar,
    full: Condvar,
    to_log: Mutex<ToLog>,
    proven: Condvar,
    /// Shares that were taken and not answered.
    open: AtomicUsize,
    stats: Arc<Stats>,
}

/// The threads that hash, and the one that writes the log.
pub(crate) struct Pipeline {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pipeline {
    /// Starts them.
    pub fn start(
        (hash_threads, gather, max_queued): (usize, Duration, usize),
        log: Append,
        solutions: mpsc::Sender<Solution>,
        stats: Arc<Stats>,
    ) -> io::Result<Self> {
        let sources = hash_threads.max(1);
        let inner = Arc::new(Inner {
            max_queued,
            lanes: Hasher::new().lanes(),
            gather,
            queue: Mutex::default(),
            some: Condvar::new(),
            full: Condvar::new(),
            to_log: Mutex::new(ToLog { shares: Vec::new(), sources }),
            proven: Condvar::new(),
            open: AtomicUsize::new(0),
            stats,
        });
        let pipeline = Self { inner, threads: Mutex::default() };
        for number in 0..sources {
            let inner = Arc::clone(&pipeline.inner);
            pipeline.spawn(format!("pool-hash-{number}"), move || inner.hash())?;
        }
        let inner = Arc::clone(&pipeline.inner);
        let writer = Writer { log, solutions, waiting: VecDeque::new() };
        pipeline.spawn("pool-log".to_owned(), move || inner.write(writer))?;
        Ok(pipeline)
    }

    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.lock().push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Takes shares, and returns those for which there is no room.
    pub fn push(&self, shares: &mut Vec<Pending>) {
        let inner = &self.inner;
        let mut queue = inner.queue.lock();
        let room = if queue.stopped { 0 } else { inner.max_queued.saturating_sub(queue.shares.len()) };
        let before = queue.shares.len();
        let taken = room.min(shares.len());
        inner.open.fetch_add(taken, Ordering::AcqRel);
        queue.shares.extend(shares.drain(..taken));
        let after = queue.shares.len();
        drop(queue);
        let batches = |shares: usize| shares.checked_div(inner.lanes).unwrap_or_default();
        if batches(after) > batches(before) {
            inner.full.notify_one();
        }
        if before == 0 && after > 0 || batches(after) > batches(before) {
            inner.some.notify_one();
        }
    }

    /// How many shares were taken and not answered.
    pub fn open(&self) -> usize {
        self.inner.open.load(Ordering::Acquire)
    }

    /// Ends the threads when all that was taken is done, and waits for them.
    pub fn stop(&self) {
        self.inner.queue.lock().stopped = true;
        self.inner.some.notify_all();
        self.inner.full.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the pool's failed");
            }
        }
    }
}

impl Inner {
    /// Returns as many shares as are hashed at once, or those there are after a while; none if all is over.
    fn take(&self, batch: &mut Vec<Pending>) {
        let mut queue = self.queue.lock();
        while queue.shares.is_empty() && !queue.stopped {
            self.some.wait(&mut queue);
        }
        if queue.shares.len() < self.lanes && !queue.stopped {
            self.full.wait_for(&mut queue, self.gather);
        }
        let len = queue.shares.len().min(self.lanes);
        batch.extend(queue.shares.drain(..len));
        let more = !queue.shares.is_empty();
        drop(queue);
        if more {
            self.some.notify_one();
        }
    }

    fn hash(&self) {
        let (mut kernel, mut batch) = (Hasher::new(), Vec::with_capacity(self.lanes));
        let (mut headers, mut hashes) = (Vec::with_capacity(self.lanes), vec![[0; 32]; self.lanes]);
        loop {
            self.take(&mut batch);
            if batch.is_empty() {
                let stopped = self.queue.lock().stopped;
                if stopped {
                    break;
                }
                continue; // another thread was faster
            }
            headers.clear();
            headers.extend(batch.iter().map(|share: &Pending| share.header));
            hashes.resize(headers.len(), [0; 32]);
            kernel.hash(&headers, &mut hashes);
            let mut proven = Vec::with_capacity(batch.len());
            for (share, hash) in batch.drain(..).zip(&hashes) {
                if share.target.is_met_by(hash) {
                    let worth = share.work.job.worth(hash).map(|worth| (*hash, worth));
                    proven.push(Proven { share, worth });
                } else {
                    self.refuse(&share, Reject::LowDifficulty, "the hash is above the share's target");
                }
            }
            if !proven.is_empty() {
                self.to_log.lock().shares.append(&mut proven);
                self.proven.notify_one();
            }
        }
        let mut to_log = self.to_log.lock();
        to_log.sources = to_log.sources.saturating_sub(1);
        self.proven.notify_one();
    }

    fn refuse(&self, share: &Pending, reject: Reject, why: &str) {
        self.stats.rejected(Some(&share.worker), reject);
        share.conn.refuse(&share.reply, reject, why);
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    fn write(&self, mut writer: Writer) {
        loop {
            let (shares, over) = {
                let mut to_log = self.to_log.lock();
                if to_log.shares.is_empty() && to_log.sources > 0 {
                    if writer.waiting.is_empty() {
                        self.proven.wait(&mut to_log);
                    } else {
                        self.proven.wait_for(&mut to_log, OFFER_AGAIN);
                    }
                }
                let len = to_log.shares.len().min(MAX_WRITE);
                (to_log.shares.drain(..len).collect::<Vec<_>>(), to_log.sources == 0 && to_log.shares.is_empty())
            };
            if !shares.is_empty() {
                self.keep(shares, &mut writer);
            }
            writer.offer();
            if over {
                return;
            }
        }
    }

    /// Writes shares to the log, sends what they solve, and acknowledges them.
    fn keep(&self, mut proven: Vec<Proven>, writer: &mut Writer) {
        let shares: Vec<Share> = proven.iter().map(|proven| proven.share.share()).collect();
        let numbers = match (writer.log)(&shares) {
            Ok(numbers) => numbers,
            Err(error) => {
                tracing::error!(%error, shares = shares.len(), "shares could not be kept, and are refused");
                self.stats.lost_to_log(shares.len());
                for Proven { share, .. } in &proven {
                    self.refuse(share, Reject::Other, "the pool cannot keep shares at this moment; try again soon");
                }
                return;
            }
        };
        for (proven, number) in proven.iter().zip(numbers) {
            if let Some((hash, worth)) = proven.worth {
                writer.solved(proven.share.solution(hash, worth, number));
            }
        }
        writer.offer();
        let now = crate::server::unix_millis();
        self.stats.accepted(proven.iter().map(|Proven { share, .. }| (&*share.worker, share.hashes)), now);
        // All answers to a connection in one write.
        proven.sort_by_key(|proven| proven.share.conn.number());
        for shares in proven.chunk_by(|a, b| a.share.conn.number() == b.share.conn.number()) {
            if let [first, ..] = shares {
                first.share.conn.accept(shares.iter().map(|proven| (&proven.share.reply, proven.share.hashes)));
            }
        }
        self.open.fetch_sub(proven.len(), Ordering::AcqRel);
    }
}

impl Pending {
    fn share(&self) -> Share {
        Share {
            at_millis: self.at_millis,
            account: self.worker.account,
            worker: Arc::clone(&self.worker.name),
            hashes: self.hashes,
            job: Arc::clone(&self.work.job),
        }
    }

    fn solution(&self, hash: [u8; 32], worth: Worth, share: u64) -> Solution {
        Solution {
            job: Arc::clone(&self.work.job),
            coinbase: self.work.job.coinbase(self.extranonce1, self.extranonce2),
            header: self.header,
            hash,
            account: self.worker.account,
            share,
            worth,
        }
    }
}

struct Writer {
    log: Append,
    solutions: mpsc::Sender<Solution>,
    /// The oldest first.
    waiting: VecDeque<Solution>,
}

impl Writer {
    fn solved(&mut self, solution: Solution) {
        // What is no block leaves room for those that are.
        if self.waiting.len() >= if solution.worth.block { MAX_SOLUTIONS } else { MAX_EFFORTS } {
            if solution.worth.block {
                tracing::error!(share = solution.share, "a block is lost: nobody takes the blocks that were found");
            }
            return;
        }
        self.waiting.push_back(solution);
    }

    /// Sends as many as there is room for.
    fn offer(&mut self) {
        while let Some(solution) = self.waiting.pop_front() {
            match self.solutions.try_send(solution) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(solution)) => {
                    self.waiting.push_front(solution);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(solution)) if !solution.worth.block => {}
                Err(mpsc::error::TrySendError::Closed(solution)) => {
                    tracing::error!(share = solution.share, "a block is lost: nobody takes blocks any more");
                }
            }
        }
    }
}
