//! What each worker and the pool have shown.

use crate::{difficulty::ShareDifficulty, stratum::Reject};
use alloy_primitives::Address;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Times of the averages, in milliseconds: a minute, a quarter of an hour, a day.
const SPANS: [f64; 3] = [60_000.0, 900_000.0, 86_400_000.0];

/// A worker that has no connection and showed nothing for so long is forgotten, in milliseconds: two days, after which its hash rate of
/// a day is next to nothing.
const FORGOTTEN_MILLIS: u64 = 2 * 86_400_000;

/// Hashes a second, from the work of accepted shares: exponentially decaying averages, which count from the first share on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HashRates {
    /// Over about a minute.
    pub minute: f64,
    /// Over about a quarter of an hour.
    pub quarter: f64,
    /// Over about a day.
    pub day: f64,
}

/// Shares that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Shares that were accepted.
    pub accepted: u64,
    /// Hashes that they take on average, together.
    pub hashes: u128,
    /// Shares that were refused, in the order of [`Reject::ALL`].
    pub rejected: [u64; Reject::ALL.len()],
    /// When the last share was accepted, in Unix milliseconds; 0 if none was.
    pub last_share_millis: u64,
}

/// What is known of a worker now.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSnapshot {
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for it.
    pub worker: Arc<str>,
    /// Connections that it has.
    pub connections: u32,
    /// Since when it has had one without a break, in Unix milliseconds; 0 if it has none.
    pub connected_since_millis: u64,
    /// Difficulty of the shares that it was last given.
    pub difficulty: Option<ShareDifficulty>,
    /// Name and version of its software, as it says; empty if it does not say.
    pub agent: Arc<str>,
    /// Its shares.
    pub counts: Counts,
    /// Its hash rates.
    pub rates: HashRates,
}

/// What is known of the server now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolSnapshot {
    /// Connections, with and without a worker.
    pub connections: usize,
    /// Shares of all workers since the server started.
    pub counts: Counts,
    /// Hash rates of all together.
    pub rates: HashRates,
    /// Shares that could not be kept, and so were refused, since the server started.
    pub lost_to_log: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// Hashes a millisecond.
    averages: [f64; 3],
    first: u64,
    at: u64,
    counts: Counts,
}

/// Hashes and milliseconds of a meter are far below 2^52 in a single step, and rates are for people.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "see above")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Meter {
    fn accept(&mut self, hashes: u64, now: u64) {
        if self.counts.accepted == 0 {
            self.first = now;
        }
        self.averages = self.decayed(now);
        self.at = self.at.max(now);
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            *average += float(hashes) / span;
        }
        self.counts.accepted = self.counts.accepted.saturating_add(1);
        self.counts.hashes = self.counts.hashes.saturating_add(u128::from(hashes));
        self.counts.last_share_millis = now;
    }

    fn decayed(&self, now: u64) -> [f64; 3] {
        let elapsed = float(now.saturating_sub(self.at));
        let mut averages = self.averages;
        for (average, span) in averages.iter_mut().zip(SPANS) {
            *average *= (-elapsed / span).exp();
        }
        averages
    }

    fn rates(&self, now: u64) -> HashRates {
        if self.counts.accepted == 0 {
            return HashRates::default();
        }
        // As much as an average has seen of its span; less than 10 s is too little to say anything from.
        let seen = float(now.saturating_sub(self.first).max(10_000));
        let mut averages = self.decayed(now);
        for (average, span) in averages.iter_mut().zip(SPANS) {
            *average *= 1_000.0 / (1.0 - (-seen / span).exp());
        }
        let [minute, quarter, day] = averages;
        HashRates { minute, quarter, day }
    }

    fn reject(&mut self, reject: Reject) {
        let place = Reject::ALL.iter().position(|other| *other == reject);
        if let Some(count) = place.and_then(|place| self.counts.rejected.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }
}

#[derive(Debug)]
struct Live {
    meter: Meter,
    connections: u32,
    connected_since: u64,
    difficulty: Option<ShareDifficulty>,
    agent: Arc<str>,
    seen_at: u64,
}

/// A worker: shares under one address and one name.
#[derive(Debug)]
pub struct Worker {
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for it.
    pub name: Arc<str>,
    live: Mutex<Live>,
}

impl Worker {
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock()
    }

    pub(crate) fn rejected(&self, reject: Reject) {
        self.lock().meter.reject(reject);
    }

    pub(crate) fn has_difficulty(&self, difficulty: ShareDifficulty) {
        self.lock().difficulty = Some(difficulty);
    }

    pub(crate) fn has_agent(&self, agent: &Arc<str>) {
        self.lock().agent = Arc::clone(agent);
    }

    /// Counts a connection that ended.
    pub(crate) fn left(&self, now: u64) {
        let mut live = self.lock();
        live.connections = live.connections.saturating_sub(1);
        live.seen_at = now;
        if live.connections == 0 {
            live.connected_since = 0;
        }
    }

    fn snapshot(&self, now: u64) -> WorkerSnapshot {
        let live = self.lock();
        WorkerSnapshot {
            account: self.account,
            worker: Arc::clone(&self.name),
            connections: live.connections,
            connected_since_millis: live.connected_since,
            difficulty: live.difficulty,
            agent: Arc::clone(&live.agent),
            counts: live.meter.counts,
            rates: live.meter.rates(now),
        }
    }
}

type Key = (Address, Arc<str>);

/// Statistics of a server; times are in Unix milliseconds. Every call is cheap but [`Stats::workers`], which copies what it returns.
#[derive(Debug)]
pub struct Stats {
    max_workers: usize,
    workers: Mutex<HashMap<Key, Arc<Worker>>>,
    pool: Mutex<Meter>,
    connections: AtomicU64,
    lost_to_log: AtomicU64,
}

impl Stats {
    pub(crate) fn new(max_workers: usize) -> Self {
        Self {
            max_workers,
            workers: Mutex::default(),
            pool: Mutex::default(),
            connections: AtomicU64::new(0),
            lost_to_log: AtomicU64::new(0),
        }
    }

    fn workers_lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Worker>>> {
        self.workers.lock()
    }

    fn pool_lock(&self) -> MutexGuard<'_, Meter> {
        self.pool.lock()
    }

    /// Returns the server's numbers.
    pub fn pool(&self, now: u64) -> PoolSnapshot {
        let meter = *self.pool_lock();
        PoolSnapshot {
            connections: usize::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
            counts: meter.counts,
            rates: meter.rates(now),
            lost_to_log: self.lost_to_log.load(Ordering::Relaxed),
        }
    }

    /// Returns the numbers of every worker, or of those of one account, in no order.
    pub fn workers(&self, account: Option<Address>, now: u64) -> Vec<WorkerSnapshot> {
        let chosen: Vec<Arc<Worker>> = {
            let workers = self.workers_lock();
            let of_account = |worker: &&Arc<Worker>| account.is_none_or(|account| worker.account == account);
            workers.values().filter(of_account).cloned().collect()
        };
        chosen.iter().map(|worker| worker.snapshot(now)).collect()
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection of a worker's. `None` if there are as many workers as can be remembered.
    pub(crate) fn enter(&self, account: Address, name: &Arc<str>, now: u64) -> Option<Arc<Worker>> {
        let mut workers = self.workers_lock();
        let key = (account, Arc::clone(name));
        if !workers.contains_key(&key) && workers.len() >= self.max_workers {
            // First those that are long gone; if that is not enough, those that are gone and showed nothing.
            forget(&mut workers, |live| now.saturating_sub(live.seen_at) > FORGOTTEN_MILLIS);
            if workers.len() >= self.max_workers {
                forget(&mut workers, |live| live.meter.counts.accepted == 0);
            }
            if workers.len() >= self.max_workers {
                return None;
            }
        }
        let fresh = || {
            let live = Live {
                meter: Meter::default(),
                connections: 0,
                connected_since: now,
                difficulty: None,
                agent: Arc::from(""),
                seen_at: now,
            };
            Arc::new(Worker { account, name: Arc::clone(name), live: Mutex::new(live) })
        };
        let worker = Arc::clone(workers.entry(key).or_insert_with(fresh));
        let mut live = worker.lock();
        if live.connections == 0 {
            live.connected_since = now;
        }
        live.connections = live.connections.saturating_add(1);
        drop(live);
        Some(worker)
    }

    /// Counts shares that are in the log.
    pub(crate) fn accepted<'a>(&self, shares: impl Iterator<Item = (&'a Worker, u64)>, now: u64) {
        let mut pool = self.pool_lock();
        for (worker, hashes) in shares {
            worker.lock().meter.accept(hashes, now);
            pool.accept(hashes, now);
        }
    }

    /// Counts a share that was refused.
    pub(crate) fn rejected(&self, worker: Option<&Worker>, reject: Reject) {
        if let Some(worker) = worker {
            worker.rejected(reject);
        }
        self.pool_lock().reject(reject);
    }

    pub(crate) fn lost_to_log(&self, shares: usize) {
        self.lost_to_log.fetch_add(u64::try_from(shares).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Forgets workers that are long gone.
    pub(crate) fn sweep(&self, now: u64) {
        forget(&mut self.workers_lock(), |live| now.saturating_sub(live.seen_at) > FORGOTTEN_MILLIS);
    }
}

fn forget(workers: &mut HashMap<Key, Arc<Worker>>, gone: impl Fn(&Live) -> bool) {
    workers.retain(|_, worker| {
        let live = worker.lock();
        live.connections > 0 || !gone(&live)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn rates_are_what_was_shown() {
        let mut meter = Meter::default();
        // 65,537,000 hashes every 4 s: 16.4 MH/s, for an hour.
        for second in (0..3_600).step_by(4) {
            meter.accept(65_537_000, NOW + second * 1_000);
        }
        let end = NOW + 3_600_000;
        let close = |rate: f64, expected: f64| (rate / expected - 1.0).abs() < 0.05;
        let HashRates { minute, quarter, day } = meter.rates(end);
        assert!([minute, quarter, day].into_iter().all(|rate| close(rate, 16_384_250.0)), "{minute} {quarter} {day}");
        let later = meter.rates(end + 600_000);
        assert!(later.minute < 1_000.0 && later.quarter > 7e6 && later.day > 1.3e7, "{later:?}");
        assert_eq!(meter.counts.hashes, 900 * 65_537_000);
    }

    #[test]
    fn one_share_is_no_hash_rate_of_a_year() {
        let mut meter = Meter::default();
        meter.accept(1_000_000, NOW);
        let rates = meter.rates(NOW);
        assert!(rates.minute < 200_000.0 && rates.day < 110_000.0, "{rates:?}");
    }

    #[test]
    fn workers_are_bounded_and_those_with_connections_stay() {
        let stats = Stats::new(2);
        let enter = |name: &str, now| stats.enter(Address::repeat_byte(1), &name.into(), now);
        let (a, _b) = (enter("a", NOW).expect("room"), enter("b", NOW).expect("room"));
        assert!(enter("c", NOW).is_none());
        assert!(enter("a", NOW).is_some(), "known already");
        (0..2).for_each(|_| a.left(NOW));
        assert!(enter("c", NOW).is_some(), "a is gone and showed nothing");
        let mut names: Vec<String> = stats.workers(None, NOW).iter().map(|worker| worker.worker.to_string()).collect();
        names.sort();
        assert_eq!(names, ["b", "c"]);
        assert!(stats.workers(Some(Address::ZERO), NOW).is_empty());
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let stats = Stats::new(10);
        let worker = stats.enter(Address::repeat_byte(1), &"a".into(), NOW).expect("room");
        stats.rejected(Some(&worker), Reject::Stale);
        stats.rejected(None, Reject::NotSubscribed);
        stats.accepted([(&*worker, 7)].into_iter(), NOW);
        let pool = stats.pool(NOW);
        assert_eq!((pool.counts.accepted, pool.counts.rejected), (1, [0, 1, 0, 0, 0, 1]));
        let snapshot = &stats.workers(None, NOW)[0];
        assert_eq!((snapshot.connections, snapshot.counts.rejected), (1, [0, 1, 0, 0, 0, 0]));
    }
}
