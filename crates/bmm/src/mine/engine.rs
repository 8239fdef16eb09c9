//! Threads that hash what they are given.

use super::Cores;
use crate::failure::{Failure, Outcome};
use alloy_primitives::B256;
use bmm_pool::{
    Job,
    job::{EXTRANONCE1_LEN, EXTRANONCE2_LEN, Worth},
    upstream::UpstreamWork,
};
use bmm_pow::Target;
use bmm_scrypt::{HEADER_LEN, Hasher};
use parking_lot::{Condvar, Mutex};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Headers found that wait to be handed in; what does not fit is lost, and told.
const MAX_HITS: usize = 4_096;
/// Longest sleep of a thread that has nothing to do.
const NAP: Duration = Duration::from_millis(200);
/// Parts of the nonces that threads take one after the other where a job leaves no room for extra nonces of theirs.
const PARTS_WITHOUT_EXTRANONCE: u64 = 4_096;

/// What to hash.
#[derive(Clone, Debug)]
pub enum Work {
    /// A pool's.
    Upstream(Arc<UpstreamWork>),
    /// A node's, with the first extra nonce.
    Own(Arc<Job>, [u8; EXTRANONCE1_LEN]),
}

impl Work {
    fn extranonce2_len(&self) -> usize {
        match self {
            Self::Upstream(work) => work.extranonce2_len,
            Self::Own(..) => EXTRANONCE2_LEN,
        }
    }

    fn header(&self, extranonce2: &[u8]) -> [u8; HEADER_LEN] {
        match self {
            Self::Upstream(work) => work.header(extranonce2),
            Self::Own(job, extranonce1) => {
                let mut bytes = [0; EXTRANONCE2_LEN];
                bytes.copy_from_slice(extranonce2);
                job.header(&job.coinbase(*extranonce1, bytes), job.version, job.time, 0)
            }
        }
    }

    /// What a hash is good for where this machine decides that.
    fn worth(&self, hash: &[u8; 32]) -> Option<Worth> {
        match self {
            Self::Upstream(_) => None,
            Self::Own(job, _) => job.worth(hash),
        }
    }

    /// The easiest of its targets.
    fn target(&self) -> Option<Target> {
        match self {
            Self::Upstream(work) => Some(work.target),
            Self::Own(job, _) => job.chains.iter().map(|chain| chain.target).max(),
        }
    }
}

/// Work on its way through the threads.
struct Task {
    work: Work,
    target: Target,
    /// Where extra nonces begin, so that two runs do not do the same.
    first: u64,
    taken: AtomicU64,
}

/// A part of a task: an extra nonce and nonces.
struct Part {
    extranonce2: Vec<u8>,
    nonces: Range<u64>,
}

impl Task {
    fn new(work: Work) -> Option<Self> {
        let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos().into());
        Some(Self { target: work.target()?, work, first, taken: AtomicU64::new(0) })
    }

    /// Takes the next part; `None` when there is none any more.
    fn part(&self) -> Option<Part> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let len = self.work.extranonce2_len();
        let all = 1u64 << 32;
        if len == 0 {
            let size = all / PARTS_WITHOUT_EXTRANONCE;
            let nonces = (taken < PARTS_WITHOUT_EXTRANONCE).then(|| taken * size..(taken + 1) * size)?;
            return Some(Part { extranonce2: Vec::new(), nonces });
        }
        // Of eight bytes and more all numbers fit.
        let room = u32::try_from(len * 8).ok().and_then(|bits| 1u64.checked_shl(bits));
        if room.is_some_and(|room| taken >= room) {
            return None;
        }
        let mut extranonce2 = self.first.wrapping_add(taken).to_le_bytes().to_vec();
        extranonce2.resize(len, 0);
        Some(Part { extranonce2, nonces: 0..all })
    }
}

/// A header whose hash meets the target.
#[derive(Clone, Debug)]
pub struct Hit {
    /// What it was found on.
    pub work: Work,
    /// The miner's extra nonce.
    pub extranonce2: Vec<u8>,
    /// The nonce.
    pub nonce: u32,
    /// The header.
    pub header: [u8; HEADER_LEN],
    /// Its hash.
    pub hash: B256,
    /// What a node's work has of it; `None` for a pool's.
    pub worth: Option<Worth>,
}

struct Shared {
    task: Mutex<Option<Arc<Task>>>,
    changed: Condvar,
    /// Counts changes of the task and of the threads that may work.
    generation: AtomicU64,
    /// Threads that may work.
    active: AtomicUsize,
    stop: AtomicBool,
    hashes: AtomicU64,
    hits: mpsc::Sender<Hit>,
}

/// The threads. Dropping it ends them.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts the threads, with nothing to do. What they find comes out of the queue.
    pub fn start(threads: usize, cores: &Cores) -> Outcome<(Self, mpsc::Receiver<Hit>)> {
        let (hits, found) = mpsc::channel(MAX_HITS);
        let shared = Arc::new(Shared {
            task: Mutex::new(None),
            changed: Condvar::new(),
            generation: AtomicU64::new(0),
            active: AtomicUsize::new(threads),
            stop: AtomicBool::new(false),
            hashes: AtomicU64::new(0),
            hits,
        });
        let mut engine = Self { shared, threads: Vec::new() };
        for number in 0..threads {
            let (shared, cores) = (Arc::clone(&engine.shared), cores.clone());
            let work = move || {
                if let Err(error) = cores.pin(number) {
                    tracing::warn!(%error, "a thread is not kept on its core");
                }
                shared.work(number);
            };
            let thread = thread::Builder::new().name(format!("mine-{number}")).spawn(work);
            engine.threads.push(thread.map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?);
        }
        Ok((engine, found))
    }

    /// Gives work; `None` lets the threads rest.
    pub fn set(&self, work: Option<Work>) {
        *self.shared.task.lock() = work.and_then(Task::new).map(Arc::new);
        self.shared.change();
    }

    /// Lets so many of the threads work.
    pub fn limit(&self, active: usize) {
        if self.shared.active.swap(active, Ordering::Relaxed) != active {
            self.shared.change();
        }
    }

    /// Returns how many hashes were computed.
    pub fn hashes(&self) -> u64 {
        self.shared.hashes.load(Ordering::Relaxed)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.change();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a mining thread ended in a panic");
            }
        }
    }
}

impl Shared {
    fn change(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_all();
    }

    /// A thread's life.
    fn work(&self, number: usize) {
        let mut kernel = Hasher::new();
        while !self.stop.load(Ordering::Relaxed) {
            let generation = self.generation.load(Ordering::Acquire);
            let task = self.task.lock().clone().filter(|_| number < self.active.load(Ordering::Relaxed));
            let part = task.and_then(|task| task.part().map(|part| (task, part)));
            let Some((task, part)) = part else {
                let mut guard = self.task.lock();
                if self.generation.load(Ordering::Acquire) == generation {
                    self.changed.wait_for(&mut guard, NAP);
                }
                continue;
            };
            self.hash(&task, &part, &mut kernel, generation);
        }
    }

    /// Hashes a part until it is done, or something has changed.
    fn hash(&self, task: &Task, part: &Part, kernel: &mut Hasher, generation: u64) {
        let mut header = task.work.header(&part.extranonce2);
        let lanes = kernel.lanes();
        let (mut headers, mut hashes) = (Vec::with_capacity(lanes), vec![[0; 32]; lanes]);
        let mut nonces = part.nonces.clone();
        while self.generation.load(Ordering::Acquire) == generation {
            headers.clear();
            for nonce in nonces.by_ref().take(lanes) {
                header[76..].copy_from_slice(&nonce.to_le_bytes()[..4]);
                headers.push(header);
            }
            let Some(results) = hashes.get_mut(..headers.len()).filter(|results| !results.is_empty()) else { return };
            kernel.hash(&headers, results);
            self.hashes.fetch_add(headers.len() as u64, Ordering::Relaxed);
            for (header, hash) in headers.iter().zip(results.iter()) {
                let worth = task.work.worth(hash);
                if worth.is_some() || task.target.is_met_by(hash) {
                    self.found(task, part, (header, *hash), worth);
                }
            }
        }
    }

    fn found(&self, task: &Task, part: &Part, (header, hash): (&[u8; HEADER_LEN], [u8; 32]), worth: Option<Worth>) {
        let mut nonce = [0; 4];
        nonce.copy_from_slice(&header[76..]);
        let hit = Hit {
            work: task.work.clone(),
            extranonce2: part.extranonce2.clone(),
            nonce: u32::from_le_bytes(nonce),
            header: *header,
            hash: hash.into(),
            worth,
        };
        if self.hits.try_send(hit).is_err() {
            tracing::warn!("more is found than can be handed in; the pool's difficulty is very low");
        }
    }
}
