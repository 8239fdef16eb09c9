//! Deciding what the result of a task is, who was right, and whose fault a failure is.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use bmm_types::ContentHash;
use bmm_types::market::{Content, TaskFailure, TaskRange, ToProvider};

use super::api::{Effect, Ending, JobFailure};
use super::contest::{AttemptState, Contest};
use super::{Fetching, Phase, Requester};

/// Operators that may differ beyond the number asked for, before the program is held to be not deterministic.
const MAX_FURTHER_OPERATORS: usize = 3;

impl Requester {
    /// Looks whether a task is decided: by a quorum of equal results (then their bytes are fetched, unless they are here),
    /// or not yet, and then whether more runs are wanted.
    pub(super) fn evaluate(&mut self, task: u64) {
        let quorum = self.spec.verify.quorum();
        let Some(contest) = self.contests.get_mut(&task).filter(|contest| !contest.fetching) else { return };
        let leader = contest.leader();
        if let Some((content, _)) = leader.filter(|(_, votes)| *votes >= quorum) {
            let agreeing = contest.agreeing(content);
            if content.size == 0 || agreeing.iter().any(|(_, _, here)| *here) {
                return self.finalize(task, content);
            }
            contest.fetching = true;
            let first = agreeing.first().map_or(0, |(peer, ..)| *peer);
            return self.fetch(task, content, first);
        }
        if contest.leased() > 0 || contest.wanted > 0 {
            return;
        }
        let votes = leader.map_or(0, |(_, votes)| votes);
        let operators = contest.returned();
        if operators >= usize::from(self.spec.verify.copies()) + MAX_FURTHER_OPERATORS {
            return self.doom(Ending::Failed(JobFailure::Disagreement { task, operators, quorum }));
        }
        contest.wanted += (quorum - votes.min(quorum)).max(1);
        self.queue.push_front(TaskRange { first: task, count: 1 });
    }

    fn fetch(&mut self, task: u64, content: Content, peer: usize) {
        let from = self.peers.list[peer].address;
        let fetching = self.fetching.entry(content.hash).or_insert_with(|| {
            self.effects.push(Effect::Fetch { from, content });
            Fetching { content, peer, tasks: BTreeSet::new() }
        });
        fetching.tasks.insert(task);
    }

    /// The result of a task is verified: everybody who gave it is paid, for the least fuel that any of them claims; whoever
    /// gave another is unpaid and out.
    fn finalize(&mut self, task: u64, content: Content) {
        let Some(decided) = self.contests.remove(&task) else { return };
        let agreeing = decided.agreeing(content);
        let fuel = agreeing.iter().map(|(_, fuel, _)| *fuel).min().unwrap_or(0);
        for (peer, ..) in agreeing.iter().take(self.spec.verify.copies().into()) {
            let standing = &mut self.peers.list[*peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            if !self.credit(*peer, task, content, fuel) {
                return;
            }
        }
        for peer in decided.differing(content) {
            let standing = &mut self.peers.list[peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            standing.refused += 1;
            self.caught.insert(peer);
        }
        for (peer, ..) in agreeing.iter().skip(self.spec.verify.copies().into()) {
            let standing = &mut self.peers.list[*peer].standing;
            standing.pending = standing.pending.saturating_sub(1);
            standing.superseded += 1;
        }
        if self.spec.verify.copies() == 1 {
            let out = decided.attempts.iter().filter(|attempt| attempt.state == AttemptState::Leased);
            out.for_each(|attempt| self.drop_run(attempt.peer, task));
        }
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

    /// A run ends after its task was decided. In a replicated job an equal result is paid as long as no more are paid than were
    /// asked for, and another one gives its provider away.
    pub(super) fn came_late(&mut self, peer: usize, task: u64, fuel: u64, content: Option<Content>) {
        let copies = self.spec.verify.copies();
        let Some(verified) = self.results.get(task) else { return };
        match content {
            Some(content) if copies > 1 && content != verified.content => {
                self.peers.list[peer].standing.refused += 1;
                self.caught.insert(peer);
            }
            Some(content) if copies > 1 && verified.paid < copies => {
                self.credit(peer, task, content, fuel.min(verified.fuel));
            }
            Some(_) => self.peers.list[peer].standing.superseded += 1,
            None => self.peers.list[peer].standing.refused += 1,
        }
    }

    /// The program failed. Twice in the same way on different providers, or twice on the only one, it is the program's
    /// fault: these runs are paid, for the least fuel that any of them claims, and the job stops. Else another provider tries.
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
            // Who failed alike worked alike, so the least claim is the credible one.
            let fuel = alike.iter().map(|(_, fuel)| *fuel).min().unwrap_or(0).min(self.most_fuel());
            for peer in alike.iter().map(|(peer, _)| *peer) {
                let amount = self.peers.list[peer].prices.cost(fuel, 0);
                self.spend(peer, fuel, amount);
            }
            return self.doom(Ending::Failed(JobFailure::Program { task, failure, providers }));
        }
        self.try_again(task);
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

    /// A provider gave a wrong result: it is out of the job, and everything of it that is not verified is done again.
    pub(super) fn punish(&mut self, peer: usize) {
        self.refuse(peer, "it gave a result that differs from what the majority found".to_owned());
        let mut again = Vec::new();
        for (task, contest) in &mut self.contests {
            let before = contest.attempts.len();
            let of_peer = |state: &AttemptState| matches!(state, AttemptState::Returned { .. });
            contest.attempts.retain(|attempt| attempt.peer != peer || !of_peer(&attempt.state));
            if contest.attempts.len() < before {
                contest.wanted = contest.wanted.saturating_add(1);
                again.push(*task);
            }
        }
        again.sort_unstable();
        self.queue.extend(super::lease::into_ranges(again));
        let standing = &mut self.peers.list[peer].standing;
        standing.refused += standing.pending;
        standing.pending = 0;
        self.peers.list[peer].news = true;
        self.fetch_elsewhere(peer);
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
                let AttemptState::Returned { content, here, .. } = &mut attempt.state else { continue };
                if *content == asked && ok {
                    *here = true;
                } else if content.hash == hash && ok {
                    self.caught.insert(attempt.peer);
                } else if *content == asked && attempt.peer == peer {
                    attempt.state = AttemptState::HostFailed;
                    missing += 1;
                }
            }
            let standing = &mut self.peers.list[peer].standing;
            standing.pending = standing.pending.saturating_sub(missing);
            standing.refused += missing;
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
