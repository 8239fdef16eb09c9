//! Audits: which results are checked, by whom, and what the requester's own machine says.
//!
//! The draw: keccak(keccak(secret ‖ signature) ‖ task), where `secret` is the requester's, fixed by the job's description before
//! any work, and `signature` is the provider's under the batch, which commits to its results. The requester cannot know the
//! signature beforehand, the provider never learns the secret while the job runs: neither chooses what is checked or by whom. The
//! auditor gets the task as any other, and nobody is ever told another's result, so there is nothing to copy.

use alloy_primitives::{Address, B256, U256, keccak256};
use bmm_types::Amount;
use bmm_types::market::{Audit, Checker, Runtime, SignatureBytes, TaskRange, Verify};

use super::api::{Check, Effect, Ending, JobFailure, Verdict};
use super::contest::{Answer, AttemptState, Contest, Own};
use super::peers::StakeKnown;
use super::{Phase, Requester};
use crate::trust::ONE;
use crate::{Micros, SECOND};

/// One, as a chance.
const CERTAIN: u64 = 1 << 32;
/// How long a drawn auditor has at least to ask for work, before another is drawn.
const PATIENCE: Micros = 2 * SECOND;
/// Providers that are tried by number before all of them are looked at.
const TRIES: u32 = 12;
/// Trust from which on a provider's stake counts.
const PROVEN: u64 = 32 * ONE;
/// Trust of an operator that decides between others.
const JUDGE_TRUST: u64 = 4 * ONE;
/// Checks that may wait for the own machine, for each that it does at once, before others are asked instead.
const OWN_QUEUE: usize = 4;
/// How long after a missing stake was looked up it is looked up again.
pub(super) const STAKE_PAUSE: Micros = 3 * SECOND;

impl Requester {
    /// Returns what the draws for a batch's results follow from.
    pub(super) fn seed(&self, signature: &SignatureBytes) -> B256 {
        let mut both = [0u8; 97];
        both[..32].copy_from_slice(self.config.secret.as_slice());
        both[32..].copy_from_slice(signature.as_slice());
        keccak256(both)
    }

    /// Draws whether a result is checked; if so, a number from which its auditor follows.
    pub(super) fn draw(&self, seed: B256, peer: usize, task: u64, answer: Answer) -> Option<u64> {
        let (Verify::Audit(Audit { floor_ppm }) | Verify::Checker(Checker { floor_ppm, .. })) = self.spec.verify else {
            return None;
        };
        let mut input = [0u8; 40];
        input[..32].copy_from_slice(seed.as_slice());
        input[32..].copy_from_slice(&task.to_be_bytes());
        let drawn = keccak256(input);
        let number = |at: usize| drawn[at..at + 8].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let chance = self.chance(peer, floor_ppm, answer);
        (number(0) >> 32 < chance).then(|| number(8))
    }

    /// The rule of audits: a result is checked with the chance max(floor, g / (g + F)), in 2^-32. g is what cheating on it gains: its
    /// pay. F is what the provider loses when caught: its stake (where the chain takes stakes from those who object), and as many
    /// further results at this job's mean pay as it has trust. The stake counts of proven providers only: it deters who reckons,
    /// but one that is careless or broken is found by being looked at, and no stake buys the first looks off.
    fn chance(&self, peer: usize, floor_ppm: u32, answer: Answer) -> u64 {
        let peer = &self.peers.list[peer];
        let floor = u64::from(floor_ppm).saturating_mul(CERTAIN) / 1_000_000;
        let mean = self.spent.units().checked_div(U256::from(self.paid_runs)).unwrap_or_default();
        let gain = peer.prices.cost(answer.fuel, answer.content.size).units();
        // Where work costs nothing, what cheating gains is the work saved: one result against as many as there is trust.
        let (gain, mean) = if mean.is_zero() || gain.is_zero() { (U256::ONE, U256::ONE) } else { (gain, mean) };
        let proven = self.config.counts_stakes && peer.trust >= PROVEN;
        let stake = if proven { self.spec.stake } else { Amount::ZERO };
        let earnings = mean.saturating_mul(U256::from(peer.trust)) / U256::from(ONE);
        let all = gain.saturating_add(earnings).saturating_add(stake.units());
        let chance: u64 = (gain.saturating_mul(U256::from(CERTAIN)) / all).saturating_to();
        chance.max(floor).min(CERTAIN)
    }

    /// A result was drawn: another operator runs the task, or the own machine does if there is none; in a job with a verifier the
    /// own machine asks it.
    pub(super) fn begin_check(&mut self, task: u64, number: u64) {
        let judged = matches!(self.spec.verify, Verify::Checker(_));
        let auditor = if judged { None } else { self.pick_auditor(task, number) };
        let own = judged || (auditor.is_none() && self.config.own_checks > 0);
        let Some(contest) = self.contests.get_mut(&task) else { return };
        contest.number = number;
        if own {
            contest.own = Own::Waits;
            self.checks.push_back(task);
            return;
        }
        contest.quorum = self.spec.verify.quorum();
        contest.pays = contest.quorum;
        if contest.leased() == 0 {
            contest.wanted = contest.wanted.max(1);
            contest.drawn = auditor;
            self.ask_again(task);
        }
    }

    /// A further run of a task is wanted; in a job with audits a draw says by whom, or the own machine does it if nobody is left.
    pub(super) fn ask_further(&mut self, task: u64) {
        if !matches!(self.spec.verify, Verify::Audit(_)) {
            return self.queue.push_front(TaskRange { first: task, count: 1 });
        }
        let Some(contest) = self.contests.get(&task) else { return };
        let operators = u64::try_from(contest.attempts.len()).unwrap_or(u64::MAX);
        let further = [contest.number.to_be_bytes(), task.to_be_bytes(), operators.to_be_bytes()].concat();
        let further = keccak256([self.config.secret.as_slice(), &further].concat());
        let number = further[..8].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let auditor = self.pick_auditor(task, number);
        // Where operators differ, the own machine's word is better than a third one's; but only operators' words take a stake.
        let disputed = contest.returned() > 1 && self.spec.stake.is_zero() && self.own_has_time();
        let own = disputed || (auditor.is_none() && self.config.own_checks > 0);
        let Some(contest) = self.contests.get_mut(&task) else { return };
        if own && contest.own == Own::No && contest.decided.is_none() {
            contest.wanted = 0;
            contest.own = Own::Waits;
            self.checks.push_back(task);
        } else {
            contest.drawn = auditor;
            self.ask_again(task);
        }
    }

    /// Hands a further run of a task to who was drawn, or to whoever comes if nobody was.
    fn ask_again(&mut self, task: u64) {
        let drawn = self.contests.get(&task).and_then(|contest| contest.drawn);
        if let Some(peer) = drawn {
            self.peers.list[peer].drawn.push_back(task);
            self.asked.push(peer);
        } else {
            self.queue.push_front(TaskRange { first: task, count: 1 });
        }
        let patience = self.draw_patience();
        self.draws.push_back((self.now.saturating_add(patience), task));
    }

    /// Returns how long a drawn auditor has: as long as two tasks take, and two seconds.
    fn draw_patience(&mut self) -> Micros {
        PATIENCE.saturating_add(self.peers.sums().task_nanos().unwrap_or(0).saturating_mul(2) / 1_000)
    }

    /// Picks the operator of a further run by a drawn number: any that can work and has not had the task, all alike. Where
    /// operators differ it is one that has earned some trust, if there is any: else a crowd of new names would outvote the
    /// honest.
    fn pick_auditor(&self, task: u64, number: u64) -> Option<usize> {
        let contest = self.contests.get(&task)?;
        let judges = if contest.returned() > 1 { self.pick(contest, number, JUDGE_TRUST) } else { None };
        judges.or_else(|| self.pick(contest, number, 0))
    }

    fn pick(&self, contest: &Contest, number: u64, trust: u64) -> Option<usize> {
        let fits = |peer: usize| {
            let usable = self.peers.list[peer].is_usable() && self.is_admitted(peer);
            usable && self.peers.list[peer].trust >= trust && !contest.has(peer)
        };
        let (count, number) = (self.peers.list.len(), usize::try_from(number >> 1).unwrap_or(0));
        let tries = (0..TRIES).map(|at| number.rotate_left(at * 5) % count.max(1));
        if let Some(peer) = tries.take(count).find(|peer| fits(*peer)) {
            return Some(peer);
        }
        // Few fit: all are looked at.
        let others: Vec<usize> = (0..count).filter(|peer| fits(*peer)).collect();
        others.get(number.checked_rem(others.len())?).copied()
    }

    /// Tells whether the own machine can take a check that somebody else could do as well: it is one machine, and must not become
    /// what the job waits for.
    fn own_has_time(&self) -> bool {
        self.checks.len() < usize::from(self.config.own_checks) * OWN_QUEUE
    }

    /// Those who were drawn and did not come lose their turn: the own machine takes it, or another is drawn.
    pub(super) fn pass_over(&mut self) {
        while self.draws.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, task)) = self.draws.pop_front() else { return };
            let own = self.own_has_time();
            let Some(contest) = self.contests.get_mut(&task).filter(|contest| contest.wanted > 0) else { continue };
            contest.drawn = None;
            contest.number = contest.number.wrapping_add(1);
            if own && contest.own == Own::No && contest.leased() == 0 {
                contest.wanted = 0;
                contest.own = Own::Waits;
                self.checks.push_back(task);
            } else {
                self.ask_further(task);
            }
        }
    }

    /// Gives the own machine as many checks as it does at once.
    pub(super) fn start_checks(&mut self) {
        for _ in 0..self.checks.len() {
            if self.checks_out >= self.config.own_checks.max(1) || self.phase != Phase::Running {
                return;
            }
            let Some(task) = self.checks.pop_front() else { return };
            let Some(contest) = self.contests.get(&task).filter(|contest| contest.own == Own::Waits) else { continue };
            let judges = matches!(self.spec.verify, Verify::Checker(_)) && contest.said_to_fail.is_none();
            let how = if judges {
                let Some((peer, returned)) = contest.results().next() else { continue };
                let found = returned.answer.content;
                if !returned.here && found.size > 0 {
                    // Comes back when its bytes are here.
                    if !contest.fetching {
                        self.fetch(task, found, peer);
                    }
                    continue;
                }
                Check::Judge(found)
            } else {
                Check::Run
            };
            if let Some(contest) = self.contests.get_mut(&task) {
                contest.own = Own::Runs;
                self.checks_out += 1;
                self.effects.push(Effect::Check { task, how });
            }
        }
    }

    /// The bytes that a judgement waited for are here, or their provider does not have them.
    pub(super) fn after_fetch(&mut self, task: u64) {
        let Some(contest) = self.contests.get_mut(&task) else { return };
        if contest.returned() > 0 {
            self.checks.push_back(task);
        } else {
            contest.own = Own::No;
        }
    }

    /// The own machine has looked at a task.
    pub(super) fn checked(&mut self, task: u64, verdict: Verdict) {
        self.checks_out = self.checks_out.saturating_sub(1);
        let Some(contest) = self.contests.get_mut(&task).filter(|contest| contest.own == Own::Runs) else { return };
        contest.own = Own::No;
        if contest.said_to_fail.is_some() {
            let found = match verdict {
                Verdict::Found { content, fuel } => Some(Answer { content, fuel }),
                Verdict::Judged(_) | Verdict::Unable(_) => None,
            };
            return self.failure_checked(task, found);
        }
        let returned = contest.results().next().map(|(peer, returned)| (peer, returned.answer));
        match (verdict, returned) {
            (Verdict::Found { content, fuel }, _) => {
                let found = self.fuel_of_provider(task, Answer { content, fuel });
                if let Some(contest) = self.contests.get_mut(&task) {
                    contest.decided = Some(found);
                }
            }
            (Verdict::Judged(true), Some((_, answer))) => contest.decided = Some(answer),
            (Verdict::Judged(false), Some((peer, _))) => {
                self.found_wrong(peer, task);
                return;
            }
            (Verdict::Judged(_), None) => {}
            (Verdict::Unable(reason), _) => {
                if matches!(self.spec.verify, Verify::Checker(_)) {
                    return self.doom(Ending::Failed(JobFailure::Checker { task, reason }));
                }
                contest.own = Own::Unable;
                contest.quorum = self.spec.verify.quorum();
                contest.pays = contest.quorum;
            }
        }
        self.own_checked += u64::from(self.contests.get(&task).is_some_and(|contest| contest.decided.is_some()));
        self.evaluate(task);
    }

    /// Returns what the own machine found, with the work that a provider told for the same where that is measured in time.
    fn fuel_of_provider(&self, task: u64, found: Answer) -> Answer {
        let alike =
            self.contests.get(&task).into_iter().flat_map(Contest::results).map(|(_, returned)| returned.answer);
        let mut alike =
            alike.filter(|answer| self.spec.runtime == Runtime::Container && answer.content == found.content);
        alike.next().unwrap_or(found)
    }

    /// Notes who differs from what the own machine found, or was judged wrong.
    pub(super) fn found_wrong(&mut self, peer: usize, task: u64) {
        let standing = &mut self.peers.list[peer].standing;
        standing.pending = standing.pending.saturating_sub(1);
        standing.refused += 1;
        self.caught.entry(peer).or_insert(task);
        if let Some(contest) = self.contests.get_mut(&task) {
            contest
                .attempts
                .retain(|attempt| attempt.peer != peer || !matches!(attempt.state, AttemptState::Returned(_)));
            if contest.attempts.is_empty() && contest.decided.is_some() {
                contest.wanted = 1;
            } else if contest.attempts.is_empty() {
                self.contests.remove(&task);
            } else {
                return;
            }
            self.queue.push_front(TaskRange { first: task, count: 1 });
        }
    }

    /// Tells whether a provider gets leases: in a job that demands a stake, once the stake is there.
    pub(super) fn is_admitted(&self, peer: usize) -> bool {
        self.spec.stake.is_zero() || self.peers.list[peer].stake == StakeKnown::Enough
    }

    /// Looks a provider's stake up, if that was not done or did not find it for a while.
    pub(super) fn look_up_stake(&mut self, peer: usize) {
        let now = self.now;
        let peer = &mut self.peers.list[peer];
        if matches!(peer.stake, StakeKnown::From(at) if at <= now) {
            peer.stake = StakeKnown::Asked;
            self.effects.push(Effect::LookUpStake { provider: peer.address });
        }
    }

    /// The escrow says what a provider has at stake.
    pub(super) fn stake_found(&mut self, provider: Address, amount: Amount) {
        let (least, later) = (self.spec.stake, self.now.saturating_add(STAKE_PAUSE));
        let Some(peer) = self.peers.number(provider) else { return };
        let known = if amount >= least { StakeKnown::Enough } else { StakeKnown::From(later) };
        self.peers.list[peer].stake = known;
    }
}
