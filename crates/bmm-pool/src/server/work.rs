//! The job that miners are given, and which earlier ones still count.

use crate::{difficulty::ShareDifficulty, job::Job, stratum::render::Notice};
use parking_lot::RwLock;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A job and how it is told.
#[derive(Debug)]
pub(crate) struct Work {
    pub job: Arc<Job>,
    pub notice: Notice,
    /// As hard as the easiest of its blocks.
    pub easiest: ShareDifficulty,
}

impl Work {
    fn new(job: Arc<Job>) -> Self {
        let easiest = job.chains.iter().map(|chain| chain.target.difficulty().get()).min().unwrap_or_default();
        let easiest = ShareDifficulty::parts(u64::try_from(easiest).unwrap_or(u64::MAX));
        Self { notice: Notice::new(&job), job, easiest }
    }
}

/// The jobs of a server.
#[derive(Debug)]
pub(crate) struct Works {
    current: RwLock<Arc<Work>>,
    /// Number of the first job whose shares count.
    valid_from: AtomicU64,
    /// When that changed last.
    changed_at: AtomicU64,
}

impl Works {
    pub fn new(job: Arc<Job>) -> Self {
        let valid_from = AtomicU64::new(job.number);
        Self { current: RwLock::new(Arc::new(Work::new(job))), valid_from, changed_at: AtomicU64::new(0) }
    }

    pub fn current(&self) -> Arc<Work> {
        Arc::clone(&self.current.read())
    }

    /// Takes a job. Returns whether work on earlier ones is worth nothing any more; `None` if the job is not later than the last.
    pub fn take(&self, job: Arc<Job>, now: u64) -> Option<bool> {
        let last = self.current();
        if job.number <= last.job.number {
            return None;
        }
        let clean = job.clean || is_other_block(&last.job, &job);
        let number = job.number;
        *self.current.write() = Arc::new(Work::new(job));
        if clean {
            self.changed_at.store(now, Ordering::Relaxed);
            self.valid_from.store(number, Ordering::Release);
        }
        Some(clean)
    }

    pub fn is_valid(&self, number: u64) -> bool {
        number >= self.valid_from.load(Ordering::Acquire)
    }

    /// When earlier work became worth nothing last.
    pub fn changed_at(&self) -> u64 {
        self.changed_at.load(Ordering::Relaxed)
    }
}

/// Whoever takes only the newest of several jobs may not have seen one between them that was clean. Where the numbers leave room for
/// that, a job for another block is taken for one.
fn is_other_block(last: &Job, job: &Job) -> bool {
    let heights =
        |job: &Job| -> Vec<_> { job.chains.iter().map(|chain| (Arc::clone(&chain.name), chain.height)).collect() };
    job.number.saturating_sub(last.number) > 1 && (job.previous != last.previous || heights(job) != heights(last))
}
