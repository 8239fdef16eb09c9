//! Handing tasks out: how many, which, and what to do when nothing is left to hand out.

use alloy_primitives::Address;
use bmm_types::Amount;
use bmm_types::market::{Lease, MAX_LEASE_RANGES, MAX_LEASE_TASKS, TaskRange, ToProvider};
use bmm_types::system::MAX_SETTLED_PROVIDERS;

use super::api::Effect;
use super::contest::{Attempt, AttemptState, Contest};
use super::lease::{LeaseState, into_ranges};
use super::{MAX_LEASES_PER_PROVIDER, Requester, split_ranges};
use crate::{MILLISECOND, Micros};

/// How many times larger than its largest a provider's next lease may be.
const GROWTH: u64 = 8;
/// Queued tasks that one request looks at, so that its cost is bounded.
const MAX_LOOKED_AT: usize = 65_536;
/// Work that a lease holds at least even at the end of a job.
const LEAST_WORK: Micros = 5 * MILLISECOND;
/// Time for which a provider that had nothing to give back is not asked again.
const RECALL_PAUSE: Micros = 20 * MILLISECOND;
/// Turnarounds that the median is taken over.
const TURNAROUNDS: usize = 31;

impl Requester {
    /// Answers the requests that stand, as far as there is work and budget.
    pub(super) fn serve(&mut self) {
        for peer in 0..self.peers.list.len() {
            let state = &self.peers.list[peer];
            if !state.is_usable() || state.leases.len() >= MAX_LEASES_PER_PROVIDER {
                continue;
            }
            let Some(slots) = state.waiting else { continue };
            if !state.is_engaged() && self.peers.list.len() > MAX_SETTLED_PROVIDERS && self.is_full() {
                continue;
            }
            let room = self.affordable(peer);
            let size = self.lease_size(peer, slots).min(room);
            let tasks = if size == 0 { Vec::new() } else { self.choose(peer, size) };
            if !tasks.is_empty() {
                self.lease(peer, tasks);
            } else if room > 0 && self.has_no_fresh() {
                self.help_the_tail(peer, u64::from(slots).min(room));
            }
        }
    }

    /// Tells whether as many providers are or may have to be paid as one settlement can pay.
    fn is_full(&self) -> bool {
        self.peers.list.iter().filter(|peer| peer.is_engaged()).count() >= MAX_SETTLED_PROVIDERS
    }

    /// Returns how many tasks a lease should have: the wanted work by the measured time of a task, growing step by step
    /// from one task a slot, and near the end no more than half of what is left, shared by slots.
    fn lease_size(&self, peer: usize, slots: u16) -> u64 {
        let state = &self.peers.list[peer];
        let slots = u64::from(slots.max(1));
        if self.results.done() == 0 {
            return slots;
        }
        let Some(nanos) = Some(state.task_nanos).filter(|nanos| *nanos > 0).or_else(|| self.peers.task_nanos()) else {
            return slots;
        };
        let worth = |micros: Micros| (micros * 1_000 / nanos).saturating_mul(slots).max(1);
        let wanted = worth(self.config.lease_micros).max(slots).min(u64::from(state.largest).max(slots) * GROWTH);
        let left = (self.tasks - self.fresh).saturating_mul(self.spec.verify.copies().into()) + self.queued();
        let share = (left * slots).div_ceil(2 * self.peers.slots().max(1));
        wanted.min(share.max(worth(LEAST_WORK))).clamp(1, MAX_LEASE_TASKS.into())
    }

    pub(super) fn queued(&self) -> u64 {
        self.queue.iter().map(|range| u64::from(range.count)).sum()
    }

    pub(super) fn has_no_fresh(&self) -> bool {
        self.fresh >= self.tasks
    }

    /// Returns how many more tasks the budget bears in the worst case: everything that is out or waits for verification,
    /// and the new ones, at twice the dearest task so far (but never above the job's own limit of fuel).
    pub(super) fn affordable(&self, peer: usize) -> u64 {
        let Some(escrow) = self.escrow else { return 0 };
        let left = escrow.amount.saturating_sub(self.spent);
        let outstanding = self.outstanding();
        let limit = self.spec.limits.fuel.unwrap_or(u64::MAX);
        let fuel = self.max_fuel.saturating_mul(2).min(limit);
        let bytes = self.max_bytes.saturating_mul(2).min(self.spec.limits.output_bytes);
        let dearest = self.peers.usable().map(|(_, peer)| peer.prices.cost(fuel, bytes)).max().unwrap_or(Amount::ZERO);
        if self.results.done() == 0 || dearest.is_zero() {
            return u64::MAX;
        }
        let bears = u64::try_from(left.units() / dearest.units()).unwrap_or(u64::MAX).saturating_sub(outstanding);
        // What is left may still pay for an ordinary task; with nothing else out that is safe to try.
        let mean = self.peers.list[peer].prices.cost(self.fuel / self.results.done(), 0);
        let waiting = mean.mul_div(u128::from(outstanding) + 1, 1).unwrap_or(left);
        let one_more = self.running() == 0 && waiting <= left && !left.is_zero();
        if bears == 0 && one_more { 1 } else { bears }
    }

    /// Counts the runs that are out.
    pub(super) fn running(&self) -> u64 {
        self.peers.list.iter().map(|peer| peer.out).sum()
    }

    /// Counts the runs that are out or not verified: what could still cost something.
    fn outstanding(&self) -> u64 {
        self.peers.list.iter().map(|peer| peer.out + peer.standing.pending).sum()
    }

    /// Takes up to `size` tasks for a provider: first those that need another run, then new ones.
    fn choose(&mut self, peer: usize, size: u64) -> Vec<TaskRange> {
        let tasks = self.choose_queued(peer, size);
        let fresh = (size - u64::try_from(tasks.len()).unwrap_or(u64::MAX)).min(self.tasks - self.fresh);
        let count = u32::try_from(fresh).unwrap_or(MAX_LEASE_TASKS);
        if count == 0 {
            return into_ranges(tasks);
        }
        let range = TaskRange { first: self.fresh, count };
        self.fresh = range.end();
        let copies = self.spec.verify.copies();
        if copies > 1 {
            for task in range.first..range.end() {
                let attempts = vec![Attempt { peer, state: AttemptState::Leased }];
                self.contests.insert(task, Contest { attempts, wanted: copies - 1, fetching: false });
            }
            self.queue.extend(split_ranges(vec![range]));
        }
        let mut ranges = into_ranges(tasks);
        // New tasks come after every task that was handed out before.
        ranges.push(range);
        ranges
    }

    /// Takes queued tasks that this provider may run; what it may not stays queued, what needs no run goes.
    fn choose_queued(&mut self, peer: usize, size: u64) -> Vec<u64> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut chosen: Vec<u64> = Vec::new();
        let (mut looked_at, mut runs, mut last) = (0usize, 0usize, None);
        for _ in 0..self.queue.len() {
            if chosen.len() >= size || looked_at >= MAX_LOOKED_AT || runs >= MAX_LEASE_RANGES - 1 {
                break;
            }
            let Some(range) = self.queue.pop_front() else { break };
            let mut kept = Vec::new();
            for task in range.first..range.end() {
                looked_at += 1;
                match self.claim(peer, task, chosen.len() < size && runs < MAX_LEASE_RANGES - 1) {
                    Claim::Taken { again } => {
                        chosen.push(task);
                        runs += usize::from(last.is_none_or(|last: u64| last + 1 != task));
                        last = Some(task);
                        if again {
                            kept.push(task);
                        }
                    }
                    Claim::NotNow => kept.push(task),
                    Claim::Needless => {}
                }
            }
            // To the back: the next request looks at others first, so nothing starves behind tasks that nobody may take.
            self.queue.extend(into_ranges(kept));
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Decides about one queued task, and takes it for the provider if it may have it.
    fn claim(&mut self, peer: usize, task: u64, room: bool) -> Claim {
        if self.results.is_done(task) {
            return Claim::Needless;
        }
        let alone = self.contests.get(&task).is_some_and(|contest| self.nobody_else_for(contest));
        let Some(contest) = self.contests.get_mut(&task) else {
            return if room { Claim::Taken { again: false } } else { Claim::NotNow };
        };
        if contest.wanted == 0 {
            return Claim::Needless;
        }
        let untried = !contest.has(peer);
        // A provider that failed a task gets it again only where there is nobody else to ask.
        let only_failed = contest
            .of(peer)
            .all(|attempt| matches!(attempt.state, AttemptState::Failed { .. } | AttemptState::HostFailed));
        if !room || !(untried || (alone && only_failed)) {
            return Claim::NotNow;
        }
        contest.attempts.push(Attempt { peer, state: AttemptState::Leased });
        contest.wanted -= 1;
        Claim::Taken { again: contest.wanted > 0 }
    }

    /// Tells whether every provider that could get work has had this task.
    pub(super) fn nobody_else_for(&self, contest: &Contest) -> bool {
        self.peers.usable().all(|(peer, _)| contest.has(peer))
    }

    fn lease(&mut self, peer: usize, ranges: Vec<TaskRange>) {
        let Some(escrow) = self.escrow else { return };
        let id = self.next_lease;
        self.next_lease += 1;
        let lease = LeaseState::new(peer, self.now, ranges.clone());
        let state = &mut self.peers.list[peer];
        state.waiting = None;
        state.leases.push(id);
        state.largest = state.largest.max(lease.size);
        state.out += u64::from(lease.size);
        self.leases.insert(id, lease);
        let message = ToProvider::Lease { job: escrow.job, lease: Lease { id, ranges } };
        self.effects.push(Effect::Send { to: state.address, message });
    }

    /// Nothing is unassigned: gets unstarted tasks back from the provider that has most of them, or runs late ones again.
    fn help_the_tail(&mut self, peer: usize, most: u64) {
        let spare = |number: usize| {
            let state = &self.peers.list[number];
            let slots = state.offer.as_ref().map_or(1, |offer| u64::from(offer.slots));
            if number == peer || self.now < state.recall_from { 0 } else { state.out.saturating_sub(slots) }
        };
        let fullest = self.peers.usable().map(|(number, _)| (spare(number), number)).max();
        if let (Some((spare @ 1.., holder)), Some(escrow)) = (fullest, self.escrow) {
            let tasks = u32::try_from(spare.div_ceil(2)).unwrap_or(MAX_LEASE_TASKS).min(MAX_LEASE_TASKS);
            let state = &mut self.peers.list[holder];
            state.recall_from = Micros::MAX;
            let message = ToProvider::Recall { job: escrow.job, tasks };
            self.effects.push(Effect::Send { to: state.address, message });
            return;
        }
        let late = self.late_tasks(peer, most);
        if !late.is_empty() {
            self.lease(peer, into_ranges(late));
        }
    }

    /// Returns the median time from giving a lease out to its completion.
    fn median_turnaround(&self) -> Option<Micros> {
        let mut times: Vec<Micros> = self.turnarounds.iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    pub(super) fn note_turnaround(&mut self, issued: Micros) {
        if self.turnarounds.len() >= TURNAROUNDS {
            self.turnarounds.pop_front();
        }
        self.turnarounds.push_back(self.now.saturating_sub(issued));
    }

    /// Takes tasks for a second run from the oldest lease that is older than the median turnaround and than twice its
    /// expected time, if its holder is not the faster one of the two (or is three times too late).
    fn late_tasks(&mut self, peer: usize, most: u64) -> Vec<u64> {
        let Some(median) = self.median_turnaround() else { return Vec::new() };
        let own = self.peers.list[peer].task_nanos;
        let is_late = |lease: &LeaseState| {
            let holder = &self.peers.list[lease.peer];
            let slots = holder.offer.as_ref().map_or(1, |offer| u64::from(offer.slots.max(1)));
            let expected = u64::from(lease.size).div_ceil(slots).saturating_mul(holder.task_nanos) / 1_000;
            let (age, allowed) = (self.now.saturating_sub(lease.issued), median.max(expected.saturating_mul(2)));
            let faster = own > 0 && own <= holder.task_nanos.saturating_add(holder.task_nanos / 8);
            age > allowed && (faster || age > allowed.saturating_mul(3))
        };
        let mut late: Vec<(u64, usize, Vec<u64>)> = Vec::new();
        for lease in self.leases.values().filter(|lease| lease.peer != peer && lease.left > 0 && is_late(lease)) {
            let few = usize::try_from(most).unwrap_or(usize::MAX).min(1_024);
            let tasks = lease.remaining().filter(|task| self.may_repeat(peer, *task)).take(few).collect::<Vec<_>>();
            if !tasks.is_empty() {
                late.push((lease.issued, lease.peer, tasks));
            }
        }
        let Some((_, holder, tasks)) = late.into_iter().min() else { return Vec::new() };
        for &task in &tasks {
            let contest = self.contests.entry(task).or_default();
            if !contest.has(holder) {
                contest.attempts.push(Attempt { peer: holder, state: AttemptState::Leased });
            }
            contest.attempts.push(Attempt { peer, state: AttemptState::Leased });
        }
        tasks
    }

    /// A late task may run once more, by a provider that has not had it.
    fn may_repeat(&self, peer: usize, task: u64) -> bool {
        let repeats = |contest: &Contest| {
            !contest.has(peer) && contest.wanted == 0 && contest.leased() <= usize::from(self.spec.verify.copies())
        };
        !self.results.is_done(task) && self.contests.get(&task).is_none_or(repeats)
    }

    /// A provider gives tasks back that it has not started.
    pub(super) fn released(&mut self, from: Address, ranges: &[TaskRange]) {
        let Some(peer) = self.peers.number(from) else { return };
        self.peers.list[peer].recall_from = self.now + if ranges.is_empty() { RECALL_PAUSE } else { 0 };
        for id in self.peers.list[peer].leases.clone() {
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            let tasks = ranges.iter().flat_map(|range| range.first..range.end());
            let back: Vec<u64> = tasks.filter(|task| lease.take(*task)).collect();
            self.give_back(peer, &back);
            self.drop_if_empty(id);
        }
    }

    /// Puts tasks that a provider had out back to be handed out, first of all.
    pub(super) fn give_back(&mut self, peer: usize, tasks: &[u64]) {
        let state = &mut self.peers.list[peer];
        state.out = state.out.saturating_sub(u64::try_from(tasks.len()).unwrap_or(u64::MAX));
        let again: Vec<u64> = tasks
            .iter()
            .copied()
            .filter(|task| {
                let done = self.results.is_done(*task);
                // A late task's other run is still out: it is enough.
                match self.contests.get_mut(task) {
                    None => !done,
                    Some(contest) => {
                        let other = contest.leased() > usize::from(self.spec.verify.copies());
                        let withdrawn = contest.withdraw(peer);
                        if withdrawn && (other || done) {
                            contest.wanted -= 1;
                        }
                        withdrawn && !other && !done
                    }
                }
            })
            .collect();
        for range in split_ranges(into_ranges(again)).into_iter().rev() {
            self.queue.push_front(range);
        }
    }

    /// Takes all leases of a provider back.
    pub(super) fn release_all(&mut self, peer: usize) {
        for id in std::mem::take(&mut self.peers.list[peer].leases) {
            if let Some(lease) = self.leases.remove(&id) {
                let tasks: Vec<u64> = lease.remaining().collect();
                self.give_back(peer, &tasks);
            }
        }
        let state = &mut self.peers.list[peer];
        state.waiting = None;
        state.recall_from = 0;
        state.out = 0;
    }

    /// Forgets a lease that has nothing out any more.
    pub(super) fn drop_if_empty(&mut self, id: u64) {
        if self.leases.get(&id).is_some_and(|lease| lease.left == 0)
            && let Some(lease) = self.leases.remove(&id)
        {
            self.note_turnaround(lease.issued);
            self.peers.list[lease.peer].leases.retain(|other| *other != id);
        }
    }

    /// A provider is gone: its tasks go back at once. What it has delivered stays.
    pub(super) fn lost(&mut self, provider: Address) {
        let Some(peer) = self.peers.number(provider) else { return };
        self.release_all(peer);
        self.peers.list[peer].connected = false;
        self.fetch_elsewhere(peer);
    }
}

/// What becomes of a queued task when a provider asks.
enum Claim {
    /// The provider takes it; `again` says that more runs are wanted.
    Taken { again: bool },
    /// Another provider will have to.
    NotNow,
    /// It needs no run.
    Needless,
}
