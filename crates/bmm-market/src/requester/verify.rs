//! Deciding what the result of a task is, who was right, and whose fault a failure is.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use bmm_types::ContentHash;
use bmm_types::market::{Content, FailureKind, TaskFailure, TaskOutput, TaskRange, ToProvider, Verify};

use super::api::{Effect, Ending, JobFailure};
use super::collect::Batch;
use super::contest::{Answer, Attempt, AttemptState, Contest, Own, Returned};
use super::log::Entry;
use super::{Fetching, Phase, Requester};
use crate::trust::Finding;

/// Operators that may differ beyond the number asked for, before the program is held to be not deterministic.
const MAX_FURTHER_OPERATORS: usize = 3;

impl Requester {
    /// Looks whether a task is decided: by a quorum of equal results or by the own machine (then their bytes are fetched, unless they
    /// are here), or not yet, and then whether more runs are wanted.
    pub(super) fn evaluate(&mut self, task: u64) {
        let busy = |contest: &&Contest| contest.fetching || matches!(contest.own, Own::Waits | Own::Runs);
        let Some(contest) = self.contests.get(&task).filter(|contest| !busy(contest)) else { return };
        if let Some(answer) = contest.decided {
            for (peer, _) in contest.differing(answer) {
                self.found_wrong(peer, task);
            }
        }
        let Some(contest) = self.contests.get_mut(&task) else { return };
        let leader = contest.leader();
        if let Some((answer, _)) = leader.filter(|(_, votes)| contest.is_won(*votes)) {
            let agreeing = contest.agreeing(answer);
            if answer.content.size == 0 || agreeing.iter().any(|(_, returned)| returned.here) {
                return self.finalize(task, answer);
            }
            let first = agreeing.first().map_or(0, |(peer, ..)| *peer);
            return self.fetch(task, answer.content, first);
        }
        if contest.leased() > 0 || contest.wanted > 0 {
            return;
        }
        let (votes, quorum) = (leader.map_or(0, |(_, votes)| votes), contest.quorum);
        let operators = contest.returned();
        let enough = self.spec.verify.copies().max(quorum.saturating_mul(2).saturating_sub(1));
        if operators >= usize::from(enough) + MAX_FURTHER_OPERATORS {
            return self.doom(Ending::Failed(JobFailure::Disagreement { task, operators, quorum }));
        }
        contest.wanted += (quorum - votes.min(quorum)).max(1);
        self.ask_further(task);
    }

    pub(super) fn fetch(&mut self, task: u64, content: Content, peer: usize) {
        if let Some(contest) = self.contests.get_mut(&task) {
            contest.fetching = true;
        }
        let from = self.peers.list[peer].address;
        let fetching = self.fetching.entry(content.hash).or_insert_with(|| {
            self.effects.push(Effect::Fetch { from, content });
            Fetching { content, peer, tasks: BTreeSet::new() }
        });
        fetching.tasks.insert(task);
    }

    /// The result of a task is verified: everybody who gave it is paid; whoever gave another, or claims other fuel for it, is unpaid
    /// and out.
    fn finalize(&mut self, task: u64, answer: Answer) {
        let Some(decided) = self.contests.remove(&task) else { return };
        let agreeing = decided.agreeing(answer);
        self.note_agreement(task, &decided, &agreeing);
        self.accuse(task, &decided, answer);
        for (peer, returned) in agreeing.iter().take(decided.pays.into()) {
            let standing = &mut self.peers.list[*peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            if returned.paid {
                self.results.pay(task, answer.content, answer.fuel, None);
            } else if !self.credit(*peer, task, answer, decided.is_checked()) {
                return;
            }
        }
        for (peer, _) in decided.differing(answer) {
            let standing = &mut self.peers.list[peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            standing.refused += 1;
            self.caught.entry(peer).or_insert(task);
        }
        for (peer, ..) in agreeing.iter().skip(decided.pays.into()) {
            let standing = &mut self.peers.list[*peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            standing.superseded += 1;
        }
        if self.spec.verify.copies() == 1 {
            let out = decided.attempts.iter().filter(|attempt| attempt.is_out());
            out.for_each(|attempt| self.drop_run(attempt.peer, task));
        }
    }

    /// Who found the same gains trust.
    fn note_agreement(&mut self, task: u64, decided: &Contest, agreeing: &[(usize, Returned)]) {
        let address = |peer: usize| self.peers.list[peer].address;
        let findings: Vec<Finding> = if decided.decided.is_some() {
            agreeing.iter().map(|(peer, _)| Finding::Confirmed(address(*peer))).collect()
        } else {
            let pairs = agreeing.iter().enumerate().flat_map(|(number, (a, _))| {
                agreeing[number + 1..].iter().map(move |(b, _)| Finding::Agreed(address(*a), address(*b)))
            });
            pairs.collect()
        };
        for finding in findings {
            self.find(finding);
        }
        if decided.is_checked() {
            for (peer, _) in agreeing {
                let peer = &mut self.peers.list[*peer];
                peer.checked += 1;
                if matches!(self.spec.verify, Verify::Audit(_)) && decided.decided.is_none() {
                    peer.vouched.push(task);
                }
            }
        }
    }

    /// Keeps a finding in mind and on disk.
    pub(super) fn find(&mut self, finding: Finding) {
        self.config.trust.note(finding);
        for address in finding.about() {
            if let Some(peer) = self.peers.number(address) {
                self.peers.list[peer].trust = self.config.trust.trust(address);
            }
        }
        self.effects.push(Effect::Trust(finding));
    }

    /// A second run is not needed any more.
    fn drop_run(&mut self, peer: usize, task: u64) {
        let Some(escrow) = self.escrow else { return };
        for id in self.peers.list[peer].leases.clone() {
            if self.leases.get_mut(&id).is_some_and(|lease| lease.take(task)) {
                self.peers.list[peer].out = self.peers.list[peer].out.saturating_sub(1);
                self.drop_if_empty(id);
                let ranges = vec![TaskRange { first: task, count: 1 }];
                let message = ToProvider::Drop { job: escrow.job, ranges };
                self.effects.push(Effect::Send { to: self.peers.list[peer].address, message });
            }
        }
    }

    /// A run ends after its task was decided. An equal result is paid as long as no more are paid than were asked for. Another one
    /// gives its provider away; but where the first result rests on its provider's word alone, both are looked at again.
    pub(super) fn came_late(&mut self, peer: usize, task: u64, late: Option<(Answer, TaskOutput)>, batch: &Batch) {
        let Some(verified) = self.results.get(task) else { return };
        let standing = &mut self.peers.list[peer].standing;
        let Some((answer, output)) = late else {
            standing.refused += 1;
            return;
        };
        let copies = self.spec.verify.copies();
        let same = answer == Answer { content: verified.content, fuel: verified.fuel };
        if !self.spec.verify.compares() || (same && verified.paid >= copies) {
            standing.superseded += 1;
        } else if same {
            self.credit(peer, task, answer, true);
        } else if let Some(first) = self.results.rests_on(task).filter(|first| *first != peer) {
            let here = self.keep_bytes(answer.content, output);
            let mut contest = Contest::new(self.spec.verify);
            (contest.quorum, contest.pays) = (self.spec.verify.quorum(), self.spec.verify.quorum());
            let other = Answer { content: verified.content, fuel: verified.fuel };
            let doubted = Returned { answer: other, here: true, paid: true, signed: None };
            let late = Returned { answer, here, paid: false, signed: batch.signed.clone() };
            for (peer, returned) in [(first, doubted), (peer, late)] {
                self.peers.list[peer].standing.pending += 1;
                contest.attempts.push(Attempt { peer, state: AttemptState::Returned(returned) });
            }
            self.results.reopen(task);
            self.contests.insert(task, contest);
            self.evaluate(task);
        } else {
            standing.refused += 1;
            self.caught.entry(peer).or_insert(task);
        }
    }

    /// The program failed. Twice in the same way on different providers, or twice on the only one, it is held to be the program's fault,
    /// unless the own machine finds otherwise. Else another provider tries.
    pub(super) fn program_failed(&mut self, peer: usize, task: u64, fuel: u64, failure: Box<TaskFailure>) {
        let most = usize::from(self.config.max_host_failures) + usize::from(self.spec.verify.copies());
        // Kept for comparing: a million failures must not hold their words and the ends of their standard errors.
        let kept = Box::new(TaskFailure { message: String::new(), stderr: Vec::new(), ..TaskFailure::clone(&failure) });
        self.contest(peer, task).end(peer, AttemptState::Failed { failure: kept, fuel });
        let Some(contest) = self.contests.get(&task) else { return };
        let alike = contest.failed_alike(&failure);
        let providers = alike.iter().map(|(peer, _)| *peer).collect::<BTreeSet<_>>().len();
        let only_one = alike.len() >= 2 && self.peers.have_all_had(contest);
        if providers >= 2 || only_one || contest.program_failures() >= most {
            return self.held_to_fail(task, failure, providers);
        }
        self.try_again(task);
    }

    /// A program fails, as its providers say. Where the own machine can look, it does first: two who belong together must not end a job.
    fn held_to_fail(&mut self, task: u64, failure: Box<TaskFailure>, providers: usize) {
        let looks = self.config.own_checks > 0 && failure.kind == FailureKind::Program;
        let Some(contest) = self.contests.get_mut(&task) else { return };
        if looks && contest.own == Own::No && contest.decided.is_none() {
            contest.own = Own::Waits;
            contest.wanted = 0;
            contest.said_to_fail = Some((failure, providers));
            self.checks.push_back(task);
            return;
        }
        if contest.own == Own::No || contest.own == Own::Unable {
            self.program_is_wrong(task, failure, providers);
        }
    }

    /// The program's own fault: those runs are paid, for the least fuel that any of them claims, and the job stops.
    pub(super) fn program_is_wrong(&mut self, task: u64, failure: Box<TaskFailure>, providers: usize) {
        let Some(contest) = self.contests.get(&task) else { return };
        let alike = contest.failed_alike(&failure);
        // Who failed alike worked alike, so the least claim is the credible one.
        let fuel = alike.iter().map(|(peer, fuel)| (*fuel).min(self.most_fuel(*peer))).min().unwrap_or(0);
        for peer in alike.iter().map(|(peer, _)| *peer) {
            let amount = self.peers.list[peer].prices.cost(fuel, 0);
            self.spend(peer, false, fuel, amount);
        }
        self.doom(Ending::Failed(JobFailure::Program { task, failure, providers }));
    }

    /// The own machine ran a program that is said to fail. If it does not, those who say so are wrong; if equal input gives equal
    /// output, its result decides.
    pub(super) fn failure_checked(&mut self, task: u64, found: Option<Answer>) {
        let Some(contest) = self.contests.get_mut(&task) else { return };
        let Some((failure, providers)) = contest.said_to_fail.take() else { return };
        let Some(answer) = found else {
            contest.own = Own::Unable;
            return self.program_is_wrong(task, failure, providers);
        };
        if self.spec.deterministic {
            contest.decided = Some(answer);
            for peer in contest.failing() {
                self.caught.entry(peer).or_insert(task);
            }
        } else {
            // It may fail now and then; it is not asked here again.
            contest.own = Own::Unable;
        }
        self.own_checked += 1;
        self.evaluate(task);
    }

    /// The host failed, or did what no honest host does.
    pub(super) fn host_failed(&mut self, peer: usize, task: u64, message: &str) {
        self.contest(peer, task).end(peer, AttemptState::HostFailed);
        if self.peers.list[peer].host_failed() {
            self.refuse(peer, format!("it keeps failing; its last words: {message}"));
        }
        let attempts = self.contests.get(&task).map_or(0, Contest::host_failures);
        if attempts >= usize::from(self.config.max_host_failures) {
            let attempts = self.config.max_host_failures;
            return self.doom(Ending::Failed(JobFailure::Hosts { task, attempts, message: message.to_owned() }));
        }
        self.try_again(task);
    }

    fn try_again(&mut self, task: u64) {
        if let Some(contest) = self.contests.get_mut(&task) {
            // A run that is out besides (of a late task) may still do it; `evaluate` asks for more if it does not.
            let enough = contest.leased() + contest.returned() + usize::from(contest.wanted);
            if enough < usize::from(self.spec.verify.copies()) {
                contest.wanted += 1;
                self.queue.push_front(TaskRange { first: task, count: 1 });
            }
        }
        self.evaluate(task);
    }

    /// No more work for a provider in this job.
    fn refuse(&mut self, peer: usize, reason: String) {
        self.release_all(peer);
        if let Some(escrow) = self.escrow {
            let message = ToProvider::Over { job: escrow.job, reason: reason.chars().take(500).collect() };
            self.effects.push(Effect::Send { to: self.peers.list[peer].address, message });
        }
        self.peers.list[peer].refused = Some(reason);
    }

    /// A provider was wrong: it is out of the job for good, all trust in it is gone, and everything of it that nobody else has found,
    /// or only one other, is done again.
    pub(super) fn punish(&mut self, peer: usize, task: u64) {
        if self.peers.list[peer].wrong {
            return;
        }
        let provider = self.peers.list[peer].address;
        self.record(&Entry::Caught { provider, task });
        self.peers.list[peer].wrong = true;
        self.peers.list[peer].wrong_in = Some(task);
        self.find(Finding::Wrong(provider));
        self.refuse(peer, format!("its result of task {task} is not what others found"));
        let mut again = Vec::new();
        self.contests.retain(|task, contest| {
            let before = contest.attempts.len();
            let of_peer = |state: &AttemptState| matches!(state, AttemptState::Returned(_));
            contest.attempts.retain(|attempt| attempt.peer != peer || !of_peer(&attempt.state));
            if contest.drawn == Some(peer) {
                contest.drawn = None;
            }
            if contest.attempts.len() < before {
                contest.wanted = contest.wanted.saturating_add(1);
                again.push(*task);
            }
            // Without any run left it begins anew.
            !(contest.attempts.is_empty() && contest.decided.is_none())
        });
        again.extend(self.reopen_all_of(peer));
        again.sort_unstable();
        again.dedup();
        self.queue.extend(super::split_ranges(super::lease::into_ranges(again)));
        let standing = &mut self.peers.list[peer].standing;
        standing.refused += standing.pending;
        standing.pending = 0;
        self.peers.list[peer].news = true;
        self.fetch_elsewhere(peer);
    }

    /// Opens every task again whose result rests on a provider's word, or on its and one other's.
    pub(super) fn reopen_all_of(&mut self, peer: usize) -> Vec<u64> {
        let mut tasks = self.results.resting_on(peer);
        tasks.extend(std::mem::take(&mut self.peers.list[peer].vouched));
        tasks.retain(|task| self.results.reopen(*task));
        tasks
    }

    /// Bytes arrived, or could not be had. One hash has one length: once the bytes are here, whoever claimed another lied.
    pub(super) fn fetched(&mut self, from: Address, hash: ContentHash, ok: bool) {
        let Some(peer) = self.peers.number(from) else { return };
        if self.phase != Phase::Running || self.fetching.get(&hash).is_none_or(|fetching| fetching.peer != peer) {
            return;
        }
        let Some(Fetching { content: asked, tasks, .. }) = self.fetching.remove(&hash) else { return };
        for task in tasks {
            let Some(contest) = self.contests.get_mut(&task) else { continue };
            contest.fetching = false;
            let mut missing = 0;
            for attempt in &mut contest.attempts {
                let AttemptState::Returned(returned) = &mut attempt.state else { continue };
                let found = returned.answer.content;
                if found == asked && ok {
                    returned.here = true;
                } else if found.hash == hash && ok {
                    self.caught.entry(attempt.peer).or_insert(task);
                } else if found == asked && attempt.peer == peer {
                    attempt.state = AttemptState::HostFailed;
                    missing += 1;
                }
            }
            let standing = &mut self.peers.list[peer].standing;
            standing.pending = standing.pending.saturating_sub(missing);
            standing.refused += missing;
            if contest.own == Own::Waits {
                self.after_fetch(task);
            }
            self.evaluate(task);
        }
        if !ok && self.peers.list[peer].is_usable() && self.peers.list[peer].host_failed() {
            self.refuse(peer, "it does not deliver the bytes of its results".to_owned());
        }
    }

    /// What was being fetched from a provider that is gone has to come from another.
    pub(super) fn fetch_elsewhere(&mut self, peer: usize) {
        let asked = self.fetching.iter().filter(|(_, fetching)| fetching.peer == peer);
        let mut hashes: Vec<ContentHash> = asked.map(|(hash, _)| *hash).collect();
        hashes.sort_unstable();
        let from = self.peers.list[peer].address;
        for hash in hashes {
            self.fetched(from, hash, false);
        }
    }
}
