//! Going on from the log of an earlier process.

use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use bmm_types::market::{Content, JobSpec, Verify};
use bmm_types::system::Jobs::{accuseCall, contradictCall};
use bmm_types::{Amount, ContentHash};

use super::log::{self, Entry, PaidTask};
use super::{Escrow, Phase, Requester, RequesterConfig, RequesterError, lease, split_ranges};
use crate::trust::Finding;

impl Requester {
    /// Takes up a job from its log, however the process that wrote it ended. Also returns the length of the log's sound
    /// part, to which the file must be cut before more is appended. Work goes on with [`Event::Opened`](super::Event::Opened).
    pub fn restore(config: RequesterConfig, spec: JobSpec, log: &[u8]) -> Result<(Self, usize), RequesterError> {
        let mut this = Self::new(config, spec)?;
        let (entries, sound) = log::read(log);
        let expected = ContentHash::of(&this.spec_bytes);
        match entries.first() {
            Some(Entry::Job { spec }) if *spec == expected => {}
            Some(Entry::Job { spec }) => return Err(RequesterError::OtherJob { found: *spec, expected }),
            _ => return Err(RequesterError::EmptyLog),
        }
        for entry in entries {
            this.replay(entry);
        }
        this.queue_open();
        Ok((this, sound))
    }

    /// Hands everything out anew that was handed out and has no result.
    fn queue_open(&mut self) {
        let open = (0..self.fresh).filter(|task| !self.results.is_done(*task));
        self.queue = split_ranges(lease::into_ranges(open)).into();
    }

    /// After [`Self::restore`] and before [`Event::Opened`](super::Event::Opened): gives up the results whose bytes were lost, as the end of a file
    /// is when the power fails. Their tasks run again, and are paid again, within the escrow; without their bytes the job could
    /// not be put together. Returns how many. Once the job's end is decided or its results are merged, nothing changes.
    pub fn give_up_missing(&mut self, is_here: impl Fn(Content) -> bool) -> u64 {
        if self.phase != Phase::Opening || self.merged || self.ending.is_some() || self.settled.is_some() {
            return 0;
        }
        let lost = self.results.drop_missing(is_here);
        self.queue_open();
        lost
    }

    fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::Job { .. } => {}
            // Leases of each run have their own numbers: 2^40 of them.
            Entry::Run => self.next_lease = ((self.next_lease >> 40) + 1) << 40,
            Entry::Opened { job, escrow } => self.escrow = Some(Escrow { job, amount: escrow }),
            Entry::Accepted { provider, tasks, fuel, amount } => self.replay_pay(provider, &tasks, fuel, amount, false),
            Entry::Unchecked { provider, tasks, fuel, amount } => self.replay_pay(provider, &tasks, fuel, amount, true),
            Entry::Caught { provider, task } => {
                let peer = self.peers.enter(provider);
                self.reopen_all_of(peer);
                let state = &mut self.peers.list[peer];
                state.wrong = true;
                state.wrong_in = Some(task);
                state.refused = Some(format!("its result of task {task} is not what others found"));
                // Should the process have died before it was kept elsewhere.
                if self.config.trust.wrongs(provider) == 0 {
                    self.find(Finding::Wrong(provider));
                }
            }
            Entry::Accusation { call } => self.accusations.extend(accuseCall::abi_decode(&call)),
            Entry::Contradiction { call } => {
                if let Ok(call) = contradictCall::abi_decode(&call) {
                    let peer = self.peers.enter(call.first.provider);
                    self.peers.list[peer].contradicted = true;
                    self.contradictions.push(call);
                }
            }
            Entry::Ending(ending) => self.ending = Some(ending),
            Entry::Merged => self.merged = true,
            Entry::Settled { transaction } => self.settled = Some(transaction),
        }
    }

    fn replay_pay(&mut self, provider: Address, tasks: &[PaidTask], fuel: u64, amount: Amount, alone: bool) {
        let peer = self.peers.enter(provider);
        let known = self.tasks;
        for paid in tasks.iter().filter(|paid| paid.task < known) {
            self.results.pay(paid.task, paid.content, paid.fuel, alone.then_some(peer));
            self.fresh = self.fresh.max(paid.task + 1);
            self.note_size(paid.fuel, paid.content.size);
        }
        let count = u64::try_from(tasks.len()).unwrap_or(u64::MAX);
        let state = &mut self.peers.list[peer];
        if alone {
            state.unchecked += count;
        } else if matches!(self.spec.verify, Verify::Audit(_)) {
            state.checked += count;
            state.vouched.extend(tasks.iter().map(|paid| paid.task));
        }
        self.book(peer, tasks, fuel, amount);
    }
}
