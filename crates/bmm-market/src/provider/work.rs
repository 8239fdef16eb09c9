//! Slots, chunks and batches: what runs, what waits, and what is ready to be sent.

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::B256;
use bmm_types::Amount;
use bmm_types::market::{
    FailureKind, MAX_LEASE_RANGES, MAX_LEASE_TASKS, ResultBatch, TaskEnd, TaskOutput, TaskRange, TaskResult,
    ToRequester,
};

use super::api::{Chunk, Effect, ProviderConfig};
use super::{Job, Provider, State};
use crate::Micros;
use crate::money::Prices;

/// Most tasks that a chunk has.
const MAX_CHUNK: u64 = 4_096;
/// Results after which a batch is sent whatever its age.
const MAX_BATCH_RESULTS: usize = 16_384;
/// Inline bytes of one message at most, below the limit of messages by far.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// What a slot runs.
pub(super) struct Running {
    pub job: B256,
    pub lease: u64,
    pub range: TaskRange,
    /// Whether it was stopped: then what is missing is not wanted any more.
    pub stopped: bool,
}

/// Results of one lease that wait to be sent.
#[derive(Default)]
struct Waiting {
    results: Vec<TaskResult>,
    busy: Micros,
}

/// The tasks of one job.
#[derive(Default)]
pub(super) struct Work {
    /// Not started, with the number of their lease.
    queue: VecDeque<(u64, TaskRange)>,
    queued: u64,
    /// Tasks of the last lease.
    last_lease: u64,
    /// Tasks that run.
    running: u64,
    waiting: BTreeMap<u64, Waiting>,
    waiting_results: usize,
    waiting_bytes: usize,
    waiting_since: Micros,
    batches: u64,
    /// Measured time of a task, nanoseconds; 0 until measured.
    task_nanos: u64,
}

impl Work {
    pub fn add(&mut self, lease: u64, ranges: Vec<TaskRange>) {
        self.last_lease = ranges.iter().map(|range| u64::from(range.count)).sum();
        self.queued += self.last_lease;
        self.queue.extend(ranges.into_iter().map(|range| (lease, range)));
    }

    pub fn clear(&mut self) {
        let (running, batches, task_nanos) = (self.running, self.batches, self.task_nanos);
        *self = Self { running, batches, task_nanos, ..Self::default() };
    }

    /// Tells whether it is time for the next lease: half of the last one is started.
    fn is_low(&self) -> bool {
        self.queued <= self.last_lease / 2
    }

    /// Takes up to `tasks` unstarted tasks from the end, and returns them in ascending order.
    pub fn give_back(&mut self, tasks: u32) -> Vec<TaskRange> {
        let (mut left, mut back) = (tasks, Vec::new());
        while left > 0 && back.len() < MAX_LEASE_RANGES {
            let Some((_, range)) = self.queue.back_mut() else { break };
            let count = left.min(range.count);
            range.count -= count;
            back.push(TaskRange { first: range.first + u64::from(range.count), count });
            if range.count == 0 {
                self.queue.pop_back();
            }
            left -= count;
            self.queued -= u64::from(count);
        }
        back.sort_unstable();
        back
    }

    /// Drops unstarted tasks that nobody wants any more.
    pub fn forget(&mut self, ranges: &[TaskRange]) {
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for (lease, range) in std::mem::take(&mut self.queue) {
            let mut from = range.first;
            for dropped in ranges.iter().filter(|dropped| dropped.first < range.end() && dropped.end() > range.first) {
                push_between(&mut kept, lease, from, dropped.first);
                from = from.max(dropped.end());
            }
            push_between(&mut kept, lease, from, range.end());
        }
        self.queued = kept.iter().map(|(_, range)| u64::from(range.count)).sum();
        self.queue = kept;
    }

    /// Takes the next chunk: as many tasks as fill `micros`, but leaving work for the other slots.
    fn next(&mut self, micros: Micros, slots: u64) -> Option<(u64, TaskRange)> {
        let by_time = (micros * 1_000).checked_div(self.task_nanos).unwrap_or(1);
        let count = by_time.min(self.queued.div_ceil(slots.max(1))).clamp(1, MAX_CHUNK);
        let (lease, range) = self.queue.front_mut()?;
        let count = u32::try_from(count).unwrap_or(1).min(range.count);
        let (lease, chunk) = (*lease, TaskRange { first: range.first, count });
        range.first += u64::from(count);
        range.count -= count;
        if range.count == 0 {
            self.queue.pop_front();
        }
        self.queued -= u64::from(count);
        self.running += u64::from(count);
        Some((lease, chunk))
    }

    /// Tells whether nothing waits, runs or is to be sent.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.running == 0 && self.waiting_results == 0
    }

    fn put_back(&mut self, lease: u64, range: TaskRange) {
        self.queued += u64::from(range.count);
        self.queue.push_front((lease, range));
    }

    fn is_due(&self, config: &ProviderConfig, now: Micros) -> bool {
        let idle = self.queued == 0 && self.running == 0;
        self.waiting_results > 0
            && (idle
                || self.batches == 0
                || self.waiting_bytes >= config.batch_bytes
                || self.waiting_results >= MAX_BATCH_RESULTS
                || now.saturating_sub(self.waiting_since) >= config.batch_micros)
    }
}

/// Keeps the tasks `from..to`, if there are any.
fn push_between(queue: &mut VecDeque<(u64, TaskRange)>, lease: u64, from: u64, to: u64) {
    if let Some(count) = to.checked_sub(from).and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0) {
        queue.push_back((lease, TaskRange { first: from, count }));
    }
}

fn inline_bytes(result: &TaskResult) -> usize {
    match &result.end {
        TaskEnd::Done(TaskOutput::Inline(bytes)) => bytes.len(),
        TaskEnd::Done(TaskOutput::Stored { .. }) => 0,
        TaskEnd::Failed(failure) => failure.stderr.len() + failure.message.len(),
    }
}

/// Cuts results into batches that fit into a message each.
fn batches(results: Vec<TaskResult>) -> Vec<Vec<TaskResult>> {
    let (mut all, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for result in results {
        let size = inline_bytes(&result);
        let full =
            u32::try_from(batch.len()).unwrap_or(u32::MAX) >= MAX_LEASE_TASKS || bytes + size > MAX_MESSAGE_BYTES;
        if full && !batch.is_empty() {
            all.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(result);
    }
    all.push(batch);
    all
}

/// Sends what is ready, if it is due (or `now_at_once`).
pub(super) fn flush(
    effects: &mut Vec<Effect>,
    config: &ProviderConfig,
    id: B256,
    job: &mut Job,
    prices: Prices,
    now: Micros,
    at_once: bool,
) {
    if !(job.work.is_due(config, now) || at_once && job.work.waiting_results > 0) {
        return;
    }
    for (lease, waiting) in std::mem::take(&mut job.work.waiting) {
        let count = u64::try_from(waiting.results.len()).unwrap_or(u64::MAX).max(1);
        for results in batches(waiting.results) {
            let part = u64::try_from(results.len()).unwrap_or(u64::MAX);
            let worth = |result: &TaskResult| match &result.end {
                TaskEnd::Done(TaskOutput::Inline(bytes)) => {
                    prices.cost(result.fuel, u64::try_from(bytes.len()).unwrap_or(0))
                }
                TaskEnd::Done(TaskOutput::Stored { size, .. }) => prices.cost(result.fuel, *size),
                // An honest requester stops a job whose program fails; one that does not owes for the runs.
                TaskEnd::Failed(failure) if matches!(failure.kind, FailureKind::Program | FailureKind::Time) => {
                    prices.cost(result.fuel, 0)
                }
                TaskEnd::Failed(_) => Amount::ZERO,
            };
            job.account.deliver(results.iter().map(worth).sum(), part);
            job.work.batches += 1;
            let busy_micros = waiting.busy.saturating_mul(part) / count;
            let batch = ResultBatch { job: id, lease, batch: job.work.batches, busy_micros, results };
            effects.push(Effect::SignResults { to: job.from, batch });
        }
    }
    job.work.waiting_results = 0;
    job.work.waiting_bytes = 0;
}

impl Provider {
    /// A slot is free again; its results wait for their batch.
    pub(super) fn done(&mut self, slot: u16, results: Vec<TaskResult>, busy: Micros) {
        let Some(running) = self.slots.get_mut(usize::from(slot)).and_then(Option::take) else { return };
        let Some(job) = self.jobs.get_mut(&running.job) else { return };
        let work = &mut job.work;
        work.running = work.running.saturating_sub(running.range.count.into());
        if running.stopped || job.state != State::Ready {
            return;
        }
        let mut missing: std::collections::BTreeSet<u64> = std::collections::BTreeSet::new();
        if results.len() < usize::try_from(running.range.count).unwrap_or(usize::MAX) {
            missing.extend(running.range.first..running.range.end());
        }
        if work.waiting_results == 0 {
            work.waiting_since = self.now;
        }
        let waiting = work.waiting.entry(running.lease).or_default();
        waiting.busy = waiting.busy.saturating_add(busy);
        let mut count = 0u64;
        for result in results {
            let stopped = matches!(&result.end, TaskEnd::Failed(failure) if failure.kind == FailureKind::Stopped);
            if !running.range.contains(result.index) || stopped {
                continue;
            }
            missing.remove(&result.index);
            work.waiting_bytes += inline_bytes(&result);
            waiting.results.push(result);
            count += 1;
        }
        work.waiting_results += usize::try_from(count).unwrap_or(usize::MAX);
        if waiting.results.is_empty() {
            work.waiting.remove(&running.lease);
        }
        if let Some(nanos) = busy.saturating_mul(1_000).checked_div(count) {
            let nanos = nanos.clamp(1, u64::MAX / 8);
            work.task_nanos = if work.task_nanos == 0 { nanos } else { (work.task_nanos * 3 + nanos) / 4 };
        }
        for task in missing.into_iter().rev() {
            work.put_back(running.lease, TaskRange { first: task, count: 1 });
        }
    }

    /// Stops what slots run of a job, where `which` says so.
    pub(super) fn stop_running(&mut self, job: B256, which: impl Fn(TaskRange) -> bool) {
        for (slot, running) in self.slots.iter_mut().enumerate() {
            if let Some(running) = running.as_mut().filter(|r| r.job == job && !r.stopped && which(r.range)) {
                running.stopped = true;
                self.effects.push(Effect::Stop { slot: u16::try_from(slot).unwrap_or(u16::MAX) });
            }
        }
    }

    /// Does what every event may have made possible: fills free slots, sends batches, asks for leases.
    pub(super) fn go_on(&mut self) {
        self.fill_slots();
        let slots = u16::try_from(self.room()).unwrap_or(u16::MAX);
        for (id, job) in &mut self.jobs {
            if job.state != State::Ready {
                continue;
            }
            flush(&mut self.effects, &self.config, *id, job, self.prices, self.now, false);
            if self.leaving.is_none()
                && slots > 0
                && !job.requested
                && job.work.is_low()
                && Self::trusts(&self.config, job)
            {
                job.requested = true;
                let message = ToRequester::LeaseRequest { job: *id, slots };
                self.effects.push(Effect::Send { to: job.from, message });
            }
        }
    }

    /// Gives every free slot its next chunk; jobs take turns.
    fn fill_slots(&mut self) {
        let slots = u64::try_from(self.room()).unwrap_or(1);
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() {
                continue;
            }
            if usize::from(self.busy_slots()) >= self.room() {
                return;
            }
            let has_work = |(_, job): &(&B256, &Job)| job.state == State::Ready && job.work.queued > 0;
            let after =
                self.jobs.range((std::ops::Bound::Excluded(self.turn), std::ops::Bound::Unbounded)).find(has_work);
            let Some(id) = after.or_else(|| self.jobs.iter().find(has_work)).map(|(id, _)| *id) else { return };
            let chunk = self.jobs.get_mut(&id).and_then(|job| job.work.next(self.config.chunk_micros, slots));
            let Some((lease, range)) = chunk else { return };
            self.turn = id;
            self.slots[slot] = Some(Running { job: id, lease, range, stopped: false });
            let slot = u16::try_from(slot).unwrap_or(u16::MAX);
            self.effects.push(Effect::Run(Chunk { slot, job: id, tasks: range }));
        }
    }
}
