//! Taking results in: which of them count, and what they are paid.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use bmm_types::Amount;
use bmm_types::market::{
    Content, Runtime, SignedResults, TaskEnd, TaskFailure, TaskOutput, TaskResult, ToProvider, Verify,
};
use bmm_types::system::Voucher;
use sha2::{Digest, Sha256};

use super::Requester;
use super::api::{Effect, Phase};
use super::contest::{Answer, Attempt, AttemptState, Contest, Returned};
use super::evidence::Signed;
use super::lease::LeaseState;
use super::log::{Entry, PaidTask};
use super::settle::Accepted;
use crate::{MILLISECOND, Micros};

/// Fuel that no host uses in a millisecond: bulk copies cost a unit a byte, and memory moves less than 256 GB/s for a core.
const MAX_FUEL_PER_MILLI: u64 = 256_000_000;
/// What a container may take to start and to end beyond the time limit of its program, milliseconds.
const STARTING_MILLIS: u64 = 1_000;

/// Returns the digest of an acceptance: SHA-256 over (index, fuel, output hash), numbers little-endian.
fn digest(tasks: &[PaidTask]) -> B256 {
    let mut digest = Sha256::new();
    for paid in tasks {
        let mut row = [0u8; 48];
        row[..8].copy_from_slice(&paid.task.to_le_bytes());
        row[8..16].copy_from_slice(&paid.fuel.to_le_bytes());
        row[16..].copy_from_slice(paid.content.hash.0.as_slice());
        digest.update(row);
    }
    B256::from_slice(&digest.finalize())
}

/// What all results of a batch share.
pub(super) struct Batch {
    /// What the draws for them follow from.
    pub seed: B256,
    /// What was signed, where it may have to be shown.
    pub signed: Option<Arc<Signed>>,
}

impl Requester {
    /// Takes a batch of results. One that its provider did not sign, or for a lease that it does not hold, counts for nothing.
    pub(super) fn collect(&mut self, from: Address, signed: SignedResults) {
        let Some(peer) = self.peers.number(from) else { return };
        let contents = signed.batch.contents();
        if self.config.check_signatures && !signed.is_signed_over(self.config.chain_id, from, &contents) {
            return;
        }
        let kept = self.keep_signed(peer, &signed, &contents);
        if self.contradicts_itself(peer, kept.as_ref()) {
            return;
        }
        let SignedResults { batch, signature } = signed;
        let count = u64::try_from(batch.results.len()).unwrap_or(u64::MAX);
        self.peers.list[peer].news = true;
        // Another provider's lease must stay where it is, whoever names it.
        let is_own = self.leases.get(&batch.lease).is_some_and(|lease| lease.peer == peer);
        let held = if is_own && self.phase == Phase::Running { self.leases.remove(&batch.lease) } else { None };
        let Some(mut lease) = held else {
            self.peers.list[peer].standing.superseded += count;
            return;
        };
        let shown = Batch { seed: self.seed(&signature), signed: kept };
        let busy = self.credible_busy(&lease, batch.busy_micros, count);
        self.peers.list[peer].measure(busy.saturating_mul(1_000), count);
        for (result, content) in batch.results.into_iter().zip(contents) {
            if lease.take(result.index) {
                self.peers.list[peer].out = self.peers.list[peer].out.saturating_sub(1);
                self.result_came(peer, result, content, &shown);
            } else {
                self.peers.list[peer].standing.superseded += 1;
            }
        }
        self.leases.insert(batch.lease, lease);
        self.drop_if_empty(batch.lease);
    }

    /// Bounds the time that a provider says its slots were busy, by the time that has passed since the lease and by the time
    /// that its tasks may run: who claims to be slow would be waited for.
    fn credible_busy(&self, lease: &LeaseState, busy: Micros, tasks: u64) -> Micros {
        let slots = self.peers.list[lease.peer].offer.as_ref().map_or(1, |offer| u64::from(offer.slots));
        let passed = self.now.saturating_sub(lease.issued).saturating_mul(slots);
        busy.min(passed).min(self.spec.limits.time_millis.saturating_mul(MILLISECOND).saturating_mul(tasks))
    }

    fn result_came(&mut self, peer: usize, result: TaskResult, content: Content, batch: &Batch) {
        let (task, fuel) = (result.index, result.fuel);
        let answer = self.settle_fuel(task, Answer { content, fuel });
        let output = match result.end {
            TaskEnd::Failed(_) if self.results.is_done(task) => return self.came_late(peer, task, None, batch),
            TaskEnd::Failed(failure) => return self.failed(peer, task, fuel, failure),
            TaskEnd::Done(output) => output,
        };
        if self.results.is_done(task) {
            return self.came_late(peer, task, Some((answer, output)), batch);
        }
        self.peers.list[peer].failures_in_a_row = 0;
        let plausible = content.size <= self.spec.limits.output_bytes
            && (content.size > 0 || content == Content::of(&[]))
            && fuel <= self.most_fuel(peer);
        if !plausible {
            self.peers.list[peer].standing.refused += 1;
            return self.host_failed(peer, task, "it reported a result beyond the job's limits");
        }
        let plain = self.spec.verify.copies() == 1 && (self.contests.is_empty() || !self.contests.contains_key(&task));
        let here = self.keep_bytes(content, output);
        let drawn = self.draw(batch.seed, peer, task, answer);
        if plain && here && drawn.is_none() {
            self.credit(peer, task, answer, false);
            return;
        }
        let returned = Returned { answer, here, paid: false, signed: batch.signed.clone() };
        let runs = self.contest(peer, task);
        runs.end(peer, AttemptState::Returned(returned));
        let looked_at = runs.is_checked();
        self.peers.list[peer].standing.pending += 1;
        if let Some(number) = drawn.filter(|_| !looked_at) {
            self.begin_check(task, number);
        }
        self.evaluate(task);
    }

    /// Keeps the bytes of a result that came with it; tells whether there are none to be fetched.
    pub(super) fn keep_bytes(&mut self, content: Content, output: TaskOutput) -> bool {
        if let TaskOutput::Inline(bytes) = output {
            if !bytes.is_empty() {
                self.stored.push((content, bytes));
            }
            return true;
        }
        content.size == 0
    }

    /// Returns the contest of a task that `peer` has out, beginning it if there is none yet.
    pub(super) fn contest(&mut self, peer: usize, task: u64) -> &mut Contest {
        let verify = self.spec.verify;
        let contest = self.contests.entry(task).or_insert_with(|| Contest::new(verify));
        let out = |attempt: &Attempt| attempt.peer == peer && attempt.is_out();
        if !contest.attempts.iter().any(out) {
            contest.attempts.push(Attempt { peer, state: AttemptState::Leased });
        }
        contest
    }

    /// A program failure is the host's until it is shown to be the program's: see [`Self::program_failed`].
    fn failed(&mut self, peer: usize, task: u64, fuel: u64, failure: Box<TaskFailure>) {
        use bmm_types::market::FailureKind::{Host, Program, Stopped, Time};
        self.failures += 1;
        self.peers.list[peer].standing.refused += 1;
        match failure.kind {
            Program | Time => self.program_failed(peer, task, fuel, failure),
            Host | Stopped => self.host_failed(peer, task, &failure.message),
        }
    }

    /// Pays a provider for a task, once its result counts; `checked` says whether somebody else has found the same. False if the
    /// escrow does not reach: then nothing changes but that the job ends for want of budget.
    pub(super) fn credit(&mut self, peer: usize, task: u64, answer: Answer, checked: bool) -> bool {
        let Answer { content, fuel } = answer;
        let state = &mut self.peers.list[peer];
        let amount = state.prices.cost(fuel, content.size);
        let alone = !checked && matches!(self.spec.verify, Verify::Audit(_) | Verify::Checker(_));
        if !self.spend(peer, alone, fuel, amount) {
            return false;
        }
        self.results.pay(task, content, fuel, alone.then_some(peer));
        let state = &mut self.peers.list[peer];
        state.standing.accepted += 1;
        self.paid_runs += 1;
        let state = &mut self.peers.list[peer];
        state.unchecked += u64::from(alone);
        self.note_size(fuel, content.size);
        self.earned.entry((peer, alone)).or_default().0.push(PaidTask { task, content, fuel });
        true
    }

    /// The rule of the budget: the sum of all totals never passes the escrow.
    pub(super) fn spend(&mut self, peer: usize, alone: bool, fuel: u64, amount: Amount) -> bool {
        let limit = self.escrow.map_or(Amount::ZERO, |escrow| escrow.amount);
        let Some(spent) = self.spent.checked_add(amount).filter(|spent| *spent <= limit) else {
            self.out_of_budget = true;
            return false;
        };
        self.spent = spent;
        self.fuel = self.fuel.saturating_add(fuel);
        let state = &mut self.peers.list[peer];
        // Below the sum over all providers, which was checked.
        state.total = Amount(state.total.0.saturating_add(amount.0));
        state.fuel = state.fuel.saturating_add(fuel);
        state.owed |= !amount.is_zero();
        state.news = true;
        let earned = self.earned.entry((peer, alone)).or_default();
        earned.1 = earned.1.saturating_add(fuel);
        earned.2 = Amount(earned.2.0.saturating_add(amount.0));
        true
    }

    /// Returns the most fuel that a task can use: its limit, or what no processor gets through in the time that it may run. In a
    /// container that is what the provider's own rating allows on the cores that the job asked for.
    pub(super) fn most_fuel(&self, peer: usize) -> u64 {
        let limits = &self.spec.limits;
        let (millis, per_milli) = if self.spec.runtime == Runtime::Container {
            let rating = self.peers.list[peer].offer.as_ref().map_or(0, |offer| offer.rating_fuel_per_second);
            let cores = u64::from(self.spec.needs.cores.max(1));
            (limits.time_millis.saturating_add(STARTING_MILLIS), rating.saturating_mul(cores).div_ceil(1_000))
        } else {
            (limits.time_millis.saturating_add(1), MAX_FUEL_PER_MILLI)
        };
        limits.fuel.unwrap_or(u64::MAX).min(millis.saturating_mul(per_milli))
    }

    /// Lets runs of one task that gave the same bytes agree on the work too, where it is measured in time and no two runs take the same:
    /// the least that any of them told is what all are paid for.
    pub(super) fn settle_fuel(&mut self, task: u64, mut answer: Answer) -> Answer {
        if self.spec.runtime != Runtime::Container {
            return answer;
        }
        if let Some(paid) = self.results.get(task).filter(|paid| paid.content == answer.content) {
            return Answer { fuel: paid.fuel, ..answer };
        }
        let Some(contest) = self.contests.get_mut(&task) else { return answer };
        if let Some(decided) = contest.decided.filter(|decided| decided.content == answer.content) {
            return decided;
        }
        let alike: Vec<&mut u64> = contest
            .attempts
            .iter_mut()
            .filter_map(|attempt| match &mut attempt.state {
                AttemptState::Returned(returned) if returned.answer.content == answer.content => {
                    Some(&mut returned.answer.fuel)
                }
                _ => None,
            })
            .collect();
        answer.fuel = alike.iter().fold(answer.fuel, |least, fuel| least.min(**fuel));
        for fuel in alike {
            *fuel = answer.fuel;
        }
        answer
    }

    pub(super) fn note_size(&mut self, fuel: u64, bytes: u64) {
        self.max_fuel = self.max_fuel.max(fuel);
        self.max_bytes = self.max_bytes.max(bytes);
        self.peers.reckon_with(self.terms());
    }

    /// Writes what this event earned into the log, one entry a provider, before any voucher is signed for it.
    pub(super) fn record_earned(&mut self) {
        for ((peer, alone), (tasks, fuel, amount)) in std::mem::take(&mut self.earned) {
            self.accept(peer, &tasks, fuel, amount);
            let provider = self.peers.list[peer].address;
            self.record(&if alone {
                Entry::Unchecked { provider, tasks, fuel, amount }
            } else {
                Entry::Accepted { provider, tasks, fuel, amount }
            });
        }
    }

    fn accept(&mut self, peer: usize, tasks: &[PaidTask], fuel: u64, amount: Amount) {
        self.accepted.push(Accepted {
            provider: self.peers.list[peer].address,
            number: u64::try_from(self.accepted.len()).unwrap_or(u64::MAX),
            tasks: u64::try_from(tasks.len()).unwrap_or(u64::MAX),
            fuel,
            amount,
            results: digest(tasks),
        });
    }

    /// Takes an acceptance over from the log.
    pub(super) fn book(&mut self, peer: usize, tasks: &[PaidTask], fuel: u64, amount: Amount) {
        self.spend(peer, false, fuel, amount);
        self.earned = BTreeMap::new();
        self.paid_runs += u64::try_from(tasks.len()).unwrap_or(u64::MAX);
        self.peers.list[peer].standing.accepted += u64::try_from(tasks.len()).unwrap_or(u64::MAX);
        self.accept(peer, tasks, fuel, amount);
    }

    /// Tells providers how they stand: with a voucher where they have earned something new.
    pub(super) fn tell_standings(&mut self) {
        let Some(escrow) = self.escrow else { return };
        let told: Vec<usize> = self.peers.sums().told.iter().copied().collect();
        for number in told {
            let peer = &mut self.peers.list[number];
            let standing = peer.standing;
            self.effects.push(if peer.owed {
                let voucher = Voucher { job: escrow.job, provider: peer.address, total: peer.total.units() };
                Effect::SignVoucher { voucher, standing }
            } else {
                Effect::Send { to: peer.address, message: ToProvider::Standing { job: escrow.job, standing } }
            });
            (peer.owed, peer.news) = (false, false);
        }
    }
}
