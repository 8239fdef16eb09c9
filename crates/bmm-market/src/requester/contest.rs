//! Tasks that more than one run is needed for: copies of a replicated job, failures, duplicates of the tail.
//!
//! A task of an unverified job that simply runs once has no entry here; that is what keeps a million tasks small.

use std::sync::Arc;

use bmm_types::market::{Content, FailureKind, TaskFailure, Verify};

use super::evidence::Signed;

/// What two honest runs of a task share: the result, and the fuel that the task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    pub content: Content,
    pub fuel: u64,
}

/// One run of a task by one provider.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub peer: usize,
    pub state: AttemptState,
}

impl Attempt {
    pub fn is_out(&self) -> bool {
        matches!(self.state, AttemptState::Leased)
    }
}

/// A result that waits to be verified.
#[derive(Clone, Debug)]
pub(super) struct Returned {
    pub answer: Answer,
    /// Whether its bytes are stored on the requester's side.
    pub here: bool,
    /// Whether it was paid before it was doubted.
    pub paid: bool,
    /// What the provider signed, where it may have to be shown.
    pub signed: Option<Arc<Signed>>,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub(super) enum AttemptState {
    /// It is out.
    Leased,
    /// It gave a result.
    Returned(Returned),
    /// The program failed.
    Failed { failure: Box<TaskFailure>, fuel: u64 },
    /// The host failed.
    HostFailed,
}

/// Whether the requester's own machine checks a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Own {
    /// Not asked to.
    #[default]
    No,
    /// As soon as it has time (and the bytes, if it needs them).
    Waits,
    /// Now.
    Runs,
    /// It cannot.
    Unable,
}

/// A task with several runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Contest {
    pub attempts: Vec<Attempt>,
    /// Runs still to be handed out.
    pub wanted: u8,
    /// Whether the winning bytes are being fetched.
    pub fetching: bool,
    /// How many must agree.
    pub quorum: u8,
    /// How many are paid.
    pub pays: u8,
    /// Who was drawn for the next run; nobody else gets it.
    pub drawn: Option<usize>,
    /// What further draws follow from.
    pub number: u64,
    pub own: Own,
    /// What the own machine found.
    pub decided: Option<Answer>,
    /// How the program fails, as so many providers say, while the own machine looks whether it does.
    pub said_to_fail: Option<(Box<TaskFailure>, usize)>,
}

impl Contest {
    /// Begins as the job's mode has it: a replicated task by its quorum, others by the first result.
    pub fn new(verify: Verify) -> Self {
        let quorum = if let Verify::Replicate(_) = verify { verify.quorum() } else { 1 };
        Self { quorum, pays: verify.copies(), ..Self::default() }
    }

    /// Tells whether a result of this task is looked at by somebody besides its provider.
    pub fn is_checked(&self) -> bool {
        self.quorum > 1 || self.own != Own::No || self.decided.is_some()
    }

    pub fn results(&self) -> impl Iterator<Item = (usize, &Returned)> {
        self.attempts.iter().filter_map(|attempt| match &attempt.state {
            AttemptState::Returned(returned) => Some((attempt.peer, returned)),
            _ => None,
        })
    }

    pub fn of(&self, peer: usize) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.peer == peer)
    }

    pub fn has(&self, peer: usize) -> bool {
        self.of(peer).next().is_some()
    }

    /// Counts the runs that are out.
    pub fn leased(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.is_out()).count()
    }

    /// Ends the run that a provider has out; false if it has none.
    pub fn end(&mut self, peer: usize, state: AttemptState) -> bool {
        let out = |attempt: &&mut Attempt| attempt.peer == peer && attempt.is_out();
        match self.attempts.iter_mut().find(out) {
            Some(attempt) => {
                attempt.state = state;
                true
            }
            None => false,
        }
    }

    /// Takes back the run that a provider has out; one more is wanted then.
    pub fn withdraw(&mut self, peer: usize) -> bool {
        let before = self.attempts.len();
        self.attempts.retain(|attempt| attempt.peer != peer || !attempt.is_out());
        let withdrawn = self.attempts.len() < before;
        self.wanted = self.wanted.saturating_add(u8::from(withdrawn));
        withdrawn
    }

    /// Returns the answer that counts: what the own machine found, or what most operators gave (the smaller one wins a tie); and
    /// how many gave it.
    pub fn leader(&self) -> Option<(Answer, u8)> {
        let votes = |answer: &Answer| {
            let count = self.results().filter(|(_, returned)| returned.answer == *answer).count();
            u8::try_from(count).unwrap_or(u8::MAX)
        };
        if let Some(answer) = self.decided {
            return Some((answer, votes(&answer)));
        }
        let best = self.results().map(|(_, returned)| returned.answer);
        let best = best.max_by_key(|answer| (votes(answer), std::cmp::Reverse(*answer)))?;
        Some((best, votes(&best)))
    }

    /// Tells whether the answer of `leader` is the result, given its votes.
    pub fn is_won(&self, votes: u8) -> bool {
        if self.decided.is_some() { votes > 0 } else { votes >= self.quorum }
    }

    /// Returns the providers that gave an answer.
    pub fn agreeing(&self, answer: Answer) -> Vec<(usize, Returned)> {
        let agree = self.results().filter(|(_, returned)| returned.answer == answer);
        agree.map(|(peer, returned)| (peer, returned.clone())).collect()
    }

    /// Returns the providers that gave another answer.
    pub fn differing(&self, answer: Answer) -> Vec<(usize, Returned)> {
        let differ = self.results().filter(|(_, returned)| returned.answer != answer);
        differ.map(|(peer, returned)| (peer, returned.clone())).collect()
    }

    /// Returns the runs in which the program failed in the same way as in `failure`: provider and fuel.
    pub fn failed_alike(&self, failure: &TaskFailure) -> Vec<(usize, u64)> {
        let alike = |attempt: &Attempt| match &attempt.state {
            AttemptState::Failed { failure: other, fuel }
                if other.kind == failure.kind && other.reason == failure.reason =>
            {
                Some((attempt.peer, *fuel))
            }
            _ => None,
        };
        self.attempts.iter().filter_map(alike).collect()
    }

    /// Returns the providers that say that the program fails in a way that every host must see.
    pub fn failing(&self) -> Vec<usize> {
        let fails = |attempt: &Attempt| match &attempt.state {
            AttemptState::Failed { failure, .. } if failure.kind == FailureKind::Program => Some(attempt.peer),
            _ => None,
        };
        self.attempts.iter().filter_map(fails).collect()
    }

    /// Counts the runs that the host failed.
    pub fn host_failures(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.state, AttemptState::HostFailed)).count()
    }

    /// Counts the runs that gave a result.
    pub fn returned(&self) -> usize {
        self.results().count()
    }

    /// Counts the runs in which the program failed.
    pub fn program_failures(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.state, AttemptState::Failed { .. })).count()
    }
}
