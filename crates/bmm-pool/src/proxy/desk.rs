//! What all connections of a proxy share: the pool's work, prefixes of the extra nonce, counts.

use crate::{
    stratum::{Id, Reject, render},
    upstream::{UpstreamShare, UpstreamWork},
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// Jobs of which shares are taken.
const MAX_JOBS: usize = 32;
/// Shares whose answer by the pool is waited for.
const MAX_PENDING: usize = 1 << 16;
/// Workers that are counted by name.
const MAX_WORKERS: usize = 10_000;
/// Bytes of the pool's extra nonce that tell miners apart: 65,536 of them; one where the pool leaves less than four.
const PREFIX_LEN: usize = 2;

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerCount {
    /// Shares by their hash, which were handed on.
    pub valid: u64,
    /// Of them, those that the pool accepted.
    pub accepted: u64,
    /// Hashes that the accepted ones stand for: what finding them takes on average.
    pub accepted_hashes: u64,
    /// Of them, those that the pool refused, or has not answered because the connection was lost.
    pub refused: u64,
    /// What was no share: of an old job, above the target, sent twice.
    pub invalid: u64,
}

/// What a proxy has done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProxySnapshot {
    /// Miners that are connected.
    pub miners: usize,
    /// All together.
    pub sum: WorkerCount,
    /// By the name that the miner gave.
    pub workers: BTreeMap<String, WorkerCount>,
    /// The pool's words for the last refusal.
    pub last_refusal: Option<String>,
}

/// The pool's work under the number that miners know it by.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// The number.
    pub number: u64,
    /// The work.
    pub work: Arc<UpstreamWork>,
    /// Whether all before it is worth nothing.
    pub clean: bool,
}

/// Who waits for the pool's answer.
struct Waiting {
    answer: mpsc::Sender<String>,
    id: Id,
    worker: Arc<str>,
    hashes: u64,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Numbered>,
    prefixes: HashSet<u16>,
    pending: HashMap<u64, Waiting>,
    counts: ProxySnapshot,
}

/// See the module.
pub struct Desk {
    inner: Mutex<Inner>,
    newest: watch::Sender<Option<Numbered>>,
    shares: Mutex<Option<mpsc::Sender<UpstreamShare>>>,
    numbers: AtomicU64,
    tags: AtomicU64,
}

/// A miner's prefix; free again when it is dropped.
pub struct Prefix<'a> {
    desk: &'a Desk,
    number: u16,
}

impl Prefix<'_> {
    /// Returns its bytes where the pool leaves so many: two, or one. `None` where it leaves too few for several miners.
    pub fn bytes(&self, extranonce2_len: usize) -> Option<Vec<u8>> {
        let [high, low] = self.number.to_be_bytes();
        match extranonce2_len {
            0 | 1 => None,
            2 | 3 => (high == 0).then(|| vec![low]),
            _ => Some([high, low][..PREFIX_LEN].to_vec()),
        }
    }
}

impl Drop for Prefix<'_> {
    fn drop(&mut self) {
        let mut inner = self.desk.inner.lock();
        inner.prefixes.remove(&self.number);
        inner.counts.miners = inner.prefixes.len();
    }
}

impl Desk {
    pub fn new(shares: mpsc::Sender<UpstreamShare>) -> Self {
        Self {
            inner: Mutex::default(),
            newest: watch::Sender::new(None),
            shares: Mutex::new(Some(shares)),
            numbers: AtomicU64::new(1),
            tags: AtomicU64::new(1),
        }
    }

    /// Takes a prefix that no other miner has: the least, so that one byte does for 256 miners.
    pub fn prefix(&self) -> Option<Prefix<'_>> {
        let mut inner = self.inner.lock();
        let number = (0..=u16::MAX).find(|number| !inner.prefixes.contains(number))?;
        inner.prefixes.insert(number);
        inner.counts.miners = inner.prefixes.len();
        Some(Prefix { desk: self, number })
    }

    /// Returns the newest work, as it comes.
    pub fn work(&self) -> watch::Receiver<Option<Numbered>> {
        self.newest.subscribe()
    }

    /// Returns the work of that number, if its shares count.
    pub fn job(&self, number: u64) -> Option<Numbered> {
        self.inner.lock().jobs.iter().find(|job| job.number == number).cloned()
    }

    /// Whether there is work whose shares count.
    pub fn has_work(&self) -> bool {
        !self.inner.lock().jobs.is_empty()
    }

    /// Takes work of the pool's.
    pub fn take_work(&self, work: Arc<UpstreamWork>) {
        let mut inner = self.inner.lock();
        let is_other = inner.jobs.back().is_none_or(|last| last.work.session != work.session);
        let clean = work.job.clean || is_other;
        if clean {
            inner.jobs.clear();
        } else if inner.jobs.len() >= MAX_JOBS {
            inner.jobs.pop_front();
        }
        let numbered = Numbered { number: self.numbers.fetch_add(1, Ordering::Relaxed), work, clean };
        inner.jobs.push_back(numbered.clone());
        drop(inner);
        self.newest.send_replace(Some(numbered));
    }

    /// The pool is gone: nothing that was found on its work counts.
    pub fn lost(&self) {
        let pending = {
            let mut inner = self.inner.lock();
            inner.jobs.clear();
            std::mem::take(&mut inner.pending)
        };
        for waiting in pending.into_values() {
            self.settle(waiting, Err("the connection to the pool was lost".to_owned()));
        }
    }

    /// Ends everything.
    pub fn end(&self) {
        self.shares.lock().take();
        self.newest.send_replace(None);
    }

    fn count(&self, worker: &str, change: impl Fn(&mut WorkerCount)) {
        let counts = &mut self.inner.lock().counts;
        change(&mut counts.sum);
        if let Some(count) = counts.workers.get_mut(worker) {
            change(count);
        } else if counts.workers.len() < MAX_WORKERS {
            change(counts.workers.entry(worker.to_owned()).or_default());
        }
    }

    /// Counts what was no share.
    pub fn invalid(&self, worker: &str) {
        self.count(worker, |count| count.invalid = count.invalid.saturating_add(1));
    }

    /// Hands a share on; its sender is answered by `answer` when the pool has answered.
    pub fn hand_on(&self, share: UpstreamShare, answer: mpsc::Sender<String>, id: Id, worker: &Arc<str>) {
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        self.count(worker, |count| count.valid = count.valid.saturating_add(1));
        let waiting = Waiting { answer, id, worker: Arc::clone(worker), hashes: share.work.share_hashes() };
        let busy = {
            let mut inner = self.inner.lock();
            if inner.pending.len() < MAX_PENDING {
                inner.pending.insert(tag, waiting);
                None
            } else {
                Some(waiting)
            }
        };
        if let Some(waiting) = busy {
            return self.settle(waiting, Err("too many shares wait for the pool".to_owned()));
        }
        let sent =
            self.shares.lock().as_ref().is_some_and(|shares| shares.try_send(UpstreamShare { tag, ..share }).is_ok());
        if !sent {
            self.judged(tag, Err("the pool does not take shares as fast as they come".to_owned()));
        }
    }

    /// Takes the pool's answer.
    pub fn judged(&self, tag: u64, verdict: Result<(), String>) {
        let waiting = self.inner.lock().pending.remove(&tag);
        if let Some(waiting) = waiting {
            self.settle(waiting, verdict);
        }
    }

    fn settle(&self, Waiting { answer, id, worker, hashes }: Waiting, verdict: Result<(), String>) {
        let mut line = String::new();
        match verdict {
            Ok(()) => {
                self.count(&worker, |count| {
                    count.accepted = count.accepted.saturating_add(1);
                    count.accepted_hashes = count.accepted_hashes.saturating_add(hashes);
                });
                render::result(&mut line, &id, "true");
            }
            Err(why) => {
                self.count(&worker, |count| count.refused = count.refused.saturating_add(1));
                render::refusal(&mut line, &id, Reject::Other, &why);
                self.inner.lock().counts.last_refusal = Some(why);
            }
        }
        // A miner that has left, or reads nothing, misses it.
        let _ = answer.try_send(line);
    }

    /// Returns what was counted of one worker.
    pub fn worker(&self, name: &str) -> WorkerCount {
        self.inner.lock().counts.workers.get(name).copied().unwrap_or_default()
    }

    /// Returns what was counted.
    pub fn snapshot(&self) -> ProxySnapshot {
        self.inner.lock().counts.clone()
    }
}
