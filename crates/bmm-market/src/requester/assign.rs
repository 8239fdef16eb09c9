//! Handing tasks out: how many, which, and what to do when nothing is left to hand out.

use alloy_primitives::Address;
use bmm_types::market::{Lease, MAX_LEASE_RANGES, MAX_LEASE_TASKS, TaskRange, ToProvider, Verify};

use super::api::Effect;
use super::contest::{Attempt, AttemptState, Contest};
use super::lease::{LeaseState, into_ranges};
use super::sums::Terms;
use super::{MAX_LEASES_PER_PROVIDER, Requester, split_ranges};
use crate::{MILLISECOND, Micros};

/// How many times larger than its largest a provider's next lease may be.
const GROWTH: u64 = 8;
/// Queued tasks that one event looks at, so that its cost is bounded.
const MAX_LOOKED_AT: usize = 65_536;
/// Work that a lease holds at least even at the end of a job.
const LEAST_WORK: Micros = 5 * MILLISECOND;
/// Time for which a provider that had nothing to give back is not asked again.
const RECALL_PAUSE: Micros = 20 * MILLISECOND;
/// Time after which those who wait are looked at again, though nothing came back that they could take.
const SERVE_PAUSE: Micros = 10 * MILLISECOND;

impl Requester {
    /// Answers the requests that stand, as far as there is work and budget: those of this event, and all of them if work
    /// came back or some time has passed.
    pub(super) fn serve(&mut self) {
        let mut peers = std::mem::take(&mut self.asked);
        if self.queue.take_news() || self.now >= self.served_at.saturating_add(SERVE_PAUSE) {
            self.served_at = self.now;
            let from = self.serve_from;
            let waiting = &self.peers.sums().waiting;
            peers = waiting.range(from..).chain(waiting.range(..from)).copied().collect();
        }
        let mut looks = MAX_LOOKED_AT;
        for peer in peers {
            self.serve_one(peer, &mut looks);
            if looks == 0 && self.has_no_fresh() {
                // Others come first the next time, so that nobody starves behind tasks that he may not take.
                self.serve_from = peer + 1;
                break;
            }
        }
    }

    fn serve_one(&mut self, peer: usize, looks: &mut usize) {
        let state = &self.peers.list[peer];
        if !state.is_usable() || state.leases.len() >= MAX_LEASES_PER_PROVIDER {
            return;
        }
        let Some(slots) = state.waiting else { return };
        if !self.is_admitted(peer) {
            return self.look_up_stake(peer);
        }
        let engaged = self.peers.sums().engaged;
        let state = &self.peers.list[peer];
        if !state.is_engaged() && engaged >= self.config.max_paid_providers {
            return;
        }
        let audits = matches!(self.spec.verify, Verify::Audit(_));
        let unproven = if audits { state.unproven_room(slots) } else { u64::MAX };
        let nothing = state.drawn.is_empty() && self.has_no_fresh() && self.queue.tasks() == 0;
        if unproven == 0 || (nothing && !self.has_tail()) {
            return;
        }
        let room = self.affordable(peer);
        let size = self.lease_size(peer, slots).min(room).min(unproven);
        let tasks = if size == 0 { Vec::new() } else { self.choose(peer, size, looks) };
        if !tasks.is_empty() {
            self.lease(peer, tasks);
        } else if room > 0 && self.has_no_fresh() {
            self.help_the_tail(peer, u64::from(slots).min(room));
        }
    }

    /// Returns how many tasks a lease should have: the wanted work by the measured time of a task, growing step by step
    /// from one task a slot, and near the end no more than half of what is left, shared by slots.
    fn lease_size(&mut self, peer: usize, slots: u16) -> u64 {
        let (mean, all_slots) = (self.peers.sums().task_nanos(), self.peers.sums().slots);
        let state = &self.peers.list[peer];
        let slots = u64::from(slots.max(1));
        if self.results.done() == 0 {
            return slots;
        }
        let Some(nanos) = Some(state.task_nanos).filter(|nanos| *nanos > 0).or(mean) else { return slots };
        let worth = |micros: Micros| (micros * 1_000 / nanos).saturating_mul(slots).max(1);
        let wanted = worth(self.config.lease_micros).max(slots).min(u64::from(state.largest).max(slots) * GROWTH);
        let left = (self.tasks - self.fresh).saturating_mul(self.spec.verify.copies().into()) + self.queue.tasks();
        let share = (left * slots).div_ceil(2 * all_slots.max(1));
        wanted.min(share.max(worth(LEAST_WORK))).clamp(1, MAX_LEASE_TASKS.into())
    }

    pub(super) fn has_no_fresh(&self) -> bool {
        self.fresh >= self.tasks
    }

    /// Returns what to reckon with: fuel and bytes of the dearest task so far, rounded up to a power of two, but never above the
    /// job's own limits. The rounding lets it change a few times in a job only.
    pub(super) fn terms(&self) -> Terms {
        let up = |most: u64| most.checked_next_power_of_two().unwrap_or(u64::MAX);
        let limits = &self.spec.limits;
        let fuel = up(self.max_fuel).min(limits.fuel.unwrap_or(u64::MAX));
        let audits = matches!(self.spec.verify, Verify::Audit(_));
        Terms { dearest: (fuel, up(self.max_bytes).min(limits.output_bytes)), audits }
    }

    /// Returns how many more tasks of a provider the budget bears in the worst case: everything that is out or waits for
    /// verification, and the new ones, at the price of the dearest task that is to be reckoned with. Each provider counts with
    /// its own prices, so that a dear one takes nothing from the others.
    pub(super) fn affordable(&mut self, peer: usize) -> u64 {
        let Some(escrow) = self.escrow else { return 0 };
        let sums = self.peers.sums();
        let (reserved, running, outstanding) = (sums.reserved, sums.running, sums.running + sums.pending);
        let cost = self.peers.list[peer].dearest_cost;
        if self.results.done() == 0 || cost.is_zero() {
            return u64::MAX;
        }
        let left = escrow.amount.saturating_sub(self.spent);
        let bears = u64::try_from(left.saturating_sub(reserved).units() / cost.units()).unwrap_or(u64::MAX);
        if bears > 0 || running > 0 || left.is_zero() {
            return bears;
        }
        // What is left may still pay for an ordinary task; with nothing else out that is safe to try.
        let mean = self.peers.list[peer].prices.cost(self.fuel / self.results.done(), 0);
        let waiting = mean.mul_div(u128::from(outstanding) + 1, 1).unwrap_or(left);
        u64::from(waiting <= left)
    }

    /// Counts the runs that are out.
    pub(super) fn running(&mut self) -> u64 {
        self.peers.sums().running
    }

    /// Takes up to `size` tasks for a provider: first those that need another run, then new ones.
    fn choose(&mut self, peer: usize, size: u64, looks: &mut usize) -> Vec<TaskRange> {
        let tasks = self.choose_queued(peer, size, looks);
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
                let contest = Contest { attempts, wanted: copies - 1, ..Contest::new(self.spec.verify) };
                self.contests.insert(task, contest);
            }
            self.queue.extend(split_ranges(vec![range]));
        }
        let mut ranges = into_ranges(tasks);
        // New tasks come after every task that was handed out before.
        ranges.push(range);
        ranges
    }

    /// Takes queued tasks that this provider may run; what it may not stays queued, what needs no run goes. What stays keeps its place
    /// at the front: a task that lacks one run comes before tasks that lack more, else providers who wait for the pay of many half
    /// verified tasks would stop asking before any of them is whole.
    fn choose_queued(&mut self, peer: usize, size: u64, looks: &mut usize) -> Vec<u64> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut chosen = self.choose_drawn(peer, size);
        let (mut runs, mut last) = (chosen.len(), None);
        let mut passed: Vec<TaskRange> = Vec::new();
        for _ in 0..self.queue.len() {
            if chosen.len() >= size || *looks == 0 || runs >= MAX_LEASE_RANGES - 1 {
                break;
            }
            let Some(range) = self.queue.pop_front() else { break };
            let mut kept = Vec::new();
            for task in range.first..range.end() {
                *looks = looks.saturating_sub(1);
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
            passed.extend(into_ranges(kept));
        }
        if *looks == 0 {
            // The next request looks at others first, so nothing starves behind tasks that nobody may take.
            self.queue.put_back(passed);
        } else {
            self.queue.put_front(passed);
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Takes the tasks that this provider was drawn for, as far as they are still wanted of it.
    fn choose_drawn(&mut self, peer: usize, size: usize) -> Vec<u64> {
        let mut chosen: Vec<u64> = Vec::new();
        while chosen.len() < size.min(MAX_LEASE_RANGES - 1) {
            let Some(task) = self.peers.list[peer].drawn.pop_front() else { break };
            if self.contests.get(&task).is_some_and(|contest| contest.drawn == Some(peer))
                && let Claim::Taken { again } = self.claim(peer, task, true)
            {
                chosen.push(task);
                if again {
                    self.queue.push_front(TaskRange { first: task, count: 1 });
                }
            }
        }
        chosen
    }

    /// Decides about one queued task, and takes it for the provider if it may have it.
    fn claim(&mut self, peer: usize, task: u64, room: bool) -> Claim {
        if self.results.is_done(task) {
            return Claim::Needless;
        }
        let alone = self.contests.get(&task).is_some_and(|contest| self.peers.have_all_had(contest));
        let Some(contest) = self.contests.get_mut(&task) else {
            return if room { Claim::Taken { again: false } } else { Claim::NotNow };
        };
        if contest.wanted == 0 {
            return Claim::Needless;
        }
        if contest.drawn.is_some_and(|drawn| drawn != peer) {
            return Claim::NotNow;
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
        contest.drawn = None;
        Claim::Taken { again: contest.wanted > 0 }
    }

    pub(super) fn lease(&mut self, peer: usize, ranges: Vec<TaskRange>) {
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
