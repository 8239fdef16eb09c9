//! Tasks that more than one run is needed for: copies of a replicated job, failures, duplicates of the tail.
//!
//! A task of an unverified job that simply runs once has no entry here; that is what keeps a million tasks small.

use bmm_types::market::{Content, TaskFailure};

/// One run of a task by one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub peer: usize,
    pub state: AttemptState,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptState {
    /// It is out.
    Leased,
    /// It gave a result; `here` says whether its bytes are stored on the requester's side.
    Returned { content: Content, fuel: u64, here: bool },
    /// The program failed.
    Failed { failure: Box<TaskFailure>, fuel: u64 },
    /// The host failed.
    HostFailed,
}

/// A task with several runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contest {
    pub attempts: Vec<Attempt>,
    /// Runs still to be handed out.
    pub wanted: u8,
    /// Whether the winning bytes are being fetched.
    pub fetching: bool,
}

impl Contest {
    pub fn of(&self, peer: usize) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.peer == peer)
    }

    pub fn has(&self, peer: usize) -> bool {
        self.of(peer).next().is_some()
    }

    /// Counts the runs that are out.
    pub fn leased(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.state == AttemptState::Leased).count()
    }

    /// Ends the run that a provider has out; false if it has none.
    pub fn end(&mut self, peer: usize, state: AttemptState) -> bool {
        let out = |attempt: &&mut Attempt| attempt.peer == peer && attempt.state == AttemptState::Leased;
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
        self.attempts.retain(|attempt| attempt.peer != peer || attempt.state != AttemptState::Leased);
        let withdrawn = self.attempts.len() < before;
        self.wanted = self.wanted.saturating_add(u8::from(withdrawn));
        withdrawn
    }

    /// Returns the result that most operators gave, and how many did; the smaller content wins a tie.
    pub fn leader(&self) -> Option<(Content, u8)> {
        let returned = |attempt: &Attempt| match &attempt.state {
            AttemptState::Returned { content, .. } => Some(*content),
            _ => None,
        };
        let contents: Vec<Content> = self.attempts.iter().filter_map(returned).collect();
        let votes = |content: &Content| contents.iter().filter(|other| *other == content).count();
        let best = contents.iter().max_by_key(|content| (votes(content), std::cmp::Reverse(**content)))?;
        Some((*best, u8::try_from(votes(best)).unwrap_or(u8::MAX)))
    }

    /// Returns the providers that gave `content`, with their fuel and whether its bytes are here.
    pub fn agreeing(&self, wanted: Content) -> Vec<(usize, u64, bool)> {
        let agree = |attempt: &Attempt| match attempt.state {
            AttemptState::Returned { content, fuel, here } if content == wanted => Some((attempt.peer, fuel, here)),
            _ => None,
        };
        self.attempts.iter().filter_map(agree).collect()
    }

    /// Returns the providers that gave another result.
    pub fn differing(&self, wanted: Content) -> Vec<usize> {
        let differ = |attempt: &Attempt| match attempt.state {
            AttemptState::Returned { content, .. } if content != wanted => Some(attempt.peer),
            _ => None,
        };
        self.attempts.iter().filter_map(differ).collect()
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

    /// Counts the runs that the host failed.
    pub fn host_failures(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.state == AttemptState::HostFailed).count()
    }

    /// Counts the runs that gave a result.
    pub fn returned(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.state, AttemptState::Returned { .. })).count()
    }

    /// Counts the runs in which the program failed.
    pub fn program_failures(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.state, AttemptState::Failed { .. })).count()
    }
}
