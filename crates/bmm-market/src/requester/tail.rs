//! The end of a job, when nothing is unassigned: unstarted tasks come back from whoever has most of them, and late ones run
//! a second time elsewhere.

use std::collections::{HashMap, VecDeque};

use bmm_types::market::{MAX_LEASE_TASKS, ToProvider};

use super::Requester;
use super::api::Effect;
use super::contest::{Attempt, AttemptState, Contest};
use super::lease::{LeaseState, into_ranges};
use crate::{MILLISECOND, Micros};

/// Turnarounds that the median is taken over.
const TURNAROUNDS: usize = 31;
/// How long the list of late tasks is used before it is made anew.
const LATE_PAUSE: Micros = 10 * MILLISECOND;
/// Tasks that the list of late ones has, about.
const MAX_LATE: usize = 65_536;
/// Providers with spare tasks that one request looks at, since some were asked a moment ago.
const MAX_FULLEST: usize = 16;

/// A lease that takes longer than it should.
struct Late {
    id: u64,
    holder: usize,
    age: Micros,
    allowed: Micros,
    /// Those of its tasks that may run once more.
    tasks: VecDeque<u64>,
}

/// What the tail needs to know.
#[derive(Default)]
pub(super) struct Tail {
    /// Times from giving out to completion of the last leases.
    turnarounds: VecDeque<Micros>,
    late: Vec<Late>,
    /// How many late leases hold a task.
    late_runs: HashMap<u64, usize>,
    made_at: Option<Micros>,
}

impl Requester {
    /// Nothing is unassigned: gets unstarted tasks back from the provider that has most of them, or runs late ones again.
    pub(super) fn help_the_tail(&mut self, peer: usize, most: u64) {
        let fullest = self.peers.sums().spare.iter().rev().take(MAX_FULLEST).copied().collect::<Vec<_>>();
        let may_ask = |(_, number): &&(u64, usize)| *number != peer && self.now >= self.peers.list[*number].recall_from;
        if let (Some(&(spare, holder)), Some(escrow)) = (fullest.iter().find(may_ask), self.escrow) {
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

    /// Tells whether there may be something to do for those who have nothing.
    pub(super) fn has_tail(&mut self) -> bool {
        let is_old = self.tail.made_at.is_none_or(|made| self.now >= made.saturating_add(LATE_PAUSE));
        is_old || !self.tail.late.is_empty() || !self.peers.sums().spare.is_empty()
    }

    /// Returns the median time from giving a lease out to its completion.
    fn median_turnaround(&self) -> Option<Micros> {
        let mut times: Vec<Micros> = self.tail.turnarounds.iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    pub(super) fn note_turnaround(&mut self, issued: Micros) {
        if self.tail.turnarounds.len() >= TURNAROUNDS {
            self.tail.turnarounds.pop_front();
        }
        self.tail.turnarounds.push_back(self.now.saturating_sub(issued));
    }

    /// Lists the leases, oldest first, that are older than the median turnaround and than twice their expected time.
    fn list_late(&mut self) {
        self.tail.made_at = Some(self.now);
        self.tail.late.clear();
        self.tail.late_runs.clear();
        let Some(median) = self.median_turnaround() else { return };
        let (mut late, mut runs): (Vec<Late>, HashMap<u64, usize>) = (Vec::new(), HashMap::new());
        // Numbers of leases grow with time.
        for (&id, lease) in &self.leases {
            let age = self.now.saturating_sub(lease.issued);
            if age <= median || runs.len() >= MAX_LATE {
                break;
            }
            let allowed = median.max(self.expected(lease).saturating_mul(2));
            if age > allowed && lease.left > 0 {
                let tasks: VecDeque<u64> = lease.remaining().collect();
                for task in &tasks {
                    *runs.entry(*task).or_default() += 1;
                }
                late.push(Late { id, holder: lease.peer, age, allowed, tasks });
            }
        }
        self.tail.late_runs = runs;
        for late in &mut late {
            late.tasks.retain(|task| self.may_repeat(*task));
        }
        self.tail.late = late;
    }

    /// Returns how long a lease should take by its holder's measured speed.
    fn expected(&self, lease: &LeaseState) -> Micros {
        let holder = &self.peers.list[lease.peer];
        let slots = holder.offer.as_ref().map_or(1, |offer| u64::from(offer.slots.max(1)));
        u64::from(lease.size).div_ceil(slots).saturating_mul(holder.task_nanos) / 1_000
    }

    /// Takes tasks for a second run from the oldest late lease whose holder is not the faster one of the two (or is three
    /// times too late).
    fn late_tasks(&mut self, peer: usize, most: u64) -> Vec<u64> {
        if self.tail.made_at.is_none_or(|made| self.now >= made.saturating_add(LATE_PAUSE)) {
            self.list_late();
        }
        let own = self.peers.list[peer].task_nanos;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(1_024);
        let mut all = std::mem::take(&mut self.tail.late);
        let (mut taken, mut holder) = (Vec::new(), peer);
        for late in all.iter_mut().filter(|late| late.holder != peer) {
            let nanos = self.peers.list[late.holder].task_nanos;
            let faster = own > 0 && own <= nanos.saturating_add(nanos / 8);
            if !(faster || late.age > late.allowed.saturating_mul(3)) {
                continue;
            }
            let lease = self.leases.get(&late.id);
            late.tasks.retain(|task| {
                let may = lease.is_some_and(|lease| lease.holds(*task)) && self.may_repeat(*task);
                let fits =
                    may && taken.len() < most && self.contests.get(task).is_none_or(|contest| !contest.has(peer));
                if fits {
                    taken.push(*task);
                }
                may && !fits
            });
            if !taken.is_empty() {
                holder = late.holder;
                break;
            }
        }
        all.retain(|late| !late.tasks.is_empty());
        self.tail.late = all;
        let verify = self.spec.verify;
        for &task in &taken {
            let contest = self.contests.entry(task).or_insert_with(|| Contest::new(verify));
            if !contest.has(holder) {
                contest.attempts.push(Attempt { peer: holder, state: AttemptState::Leased });
            }
            contest.attempts.push(Attempt { peer, state: AttemptState::Leased });
        }
        taken
    }

    /// The rule of repeats: a late task may run once more while fewer runs of it than are needed agree or are out and not late.
    /// So one that comes from silent provider to silent provider still reaches one that answers.
    fn may_repeat(&self, task: u64) -> bool {
        let late = self.tail.late_runs.get(&task).copied().unwrap_or(0);
        let repeats = |contest: &Contest| {
            let agreeing = contest.leader().map_or(0, |(_, votes)| usize::from(votes));
            let runs = contest.leased().saturating_sub(late) + agreeing;
            contest.wanted == 0 && runs < usize::from(contest.quorum.max(self.spec.verify.copies()))
        };
        !self.results.is_done(task) && self.contests.get(&task).is_none_or(repeats)
    }
}
