//! The end of a job: when it comes, what is merged, and what is settled.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use bmm_types::market::{ToProvider, merkle_root};

use super::Requester;
use super::api::{Effect, Ending, JobFailure, Phase};
use super::log::Entry;
use super::settle::{ProviderTotal, Settlement};
use crate::SECOND;

impl Requester {
    /// Ends the job if it is done, or cannot be.
    pub(super) fn check_end(&mut self) {
        let (done, tasks) = (self.results.done(), self.tasks);
        if done == tasks {
            return self.complete();
        }
        if let Some(ending) = self.doom.take() {
            return self.end(ending);
        }
        let idle = self.running() == 0 && self.fetching.is_empty() && self.checks.is_empty() && self.checks_out == 0;
        let broke = self.out_of_budget || (done > 0 && idle && self.cannot_pay());
        if broke {
            let (spent, escrow) = (self.spent, self.escrow.map(|escrow| escrow.amount).unwrap_or_default());
            return self.end(Ending::Failed(JobFailure::Budget { done, tasks, spent, escrow }));
        }
        if self.now / SECOND >= self.deadline {
            return self.end(Ending::Failed(JobFailure::Deadline { done, tasks }));
        }
        if !idle {
            self.busy_at = self.now;
        }
        if self.now.saturating_sub(self.busy_at) > self.config.stall_micros {
            let reason = self.stall_reason();
            self.end(Ending::Failed(JobFailure::Stalled { done, tasks, reason }));
        }
    }

    /// Tells whether there are providers, but the rest of the escrow pays none of them for one more task.
    fn cannot_pay(&mut self) -> bool {
        let usable: Vec<usize> = self.peers.usable().map(|(number, _)| number).collect();
        !usable.is_empty() && usable.into_iter().all(|peer| self.affordable(peer) == 0)
    }

    /// All results are there.
    pub(super) fn complete(&mut self) {
        self.dismiss("the job is complete");
        if self.merged {
            return self.settle(Ending::Complete);
        }
        self.phase = Phase::Merging;
        self.effects.push(Effect::Merge);
    }

    /// Notes that the job has to end; it does once the event is dealt with.
    pub(super) fn doom(&mut self, ending: Ending) {
        self.doom.get_or_insert(ending);
    }

    /// Ends the job before it is done; what is verified is paid.
    fn end(&mut self, ending: Ending) {
        if self.phase != Phase::Running && self.phase != Phase::Merging {
            return;
        }
        self.record(&Entry::Ending(ending.clone()));
        self.settle(ending);
        self.dismiss("the job has ended");
    }

    /// Tells every provider that there is nothing more to do, and takes all leases back.
    fn dismiss(&mut self, reason: &str) {
        let Some(escrow) = self.escrow else { return };
        self.leases.clear();
        self.queue.clear();
        self.contests.clear();
        self.fetching.clear();
        self.checks.clear();
        self.draws.clear();
        for peer in self.peers.list.iter_mut() {
            peer.leases.clear();
            peer.waiting = None;
            peer.out = 0;
            peer.standing.superseded += peer.standing.pending;
            peer.standing.pending = 0;
            if peer.is_usable() {
                let message = ToProvider::Over { job: escrow.job, reason: reason.to_owned() };
                self.effects.push(Effect::Send { to: peer.address, message });
            }
        }
    }

    pub(super) fn merged(&mut self, result: Result<(), String>) {
        if self.phase != Phase::Merging {
            return;
        }
        match result {
            Ok(()) => {
                self.record(&Entry::Merged);
                self.settle(Ending::Complete);
            }
            Err(reason) => self.end(Ending::Failed(JobFailure::Merge(reason))),
        }
    }

    /// Asks for the settlement.
    pub(super) fn settle(&mut self, ending: Ending) {
        self.phase = Phase::Settling;
        self.ending = Some(ending);
        if let Some(settlement) = self.settlement() {
            self.effects.push(Effect::Settle(settlement));
        }
    }

    pub(super) fn settled(&mut self, transaction: B256) {
        if self.phase != Phase::Settling {
            return;
        }
        if self.settled.is_none() {
            self.record(&Entry::Settled { transaction });
        }
        self.settled = Some(transaction);
        self.phase = Phase::Over;
        self.effects.push(Effect::Over(self.ending.clone().unwrap_or(Ending::Complete)));
    }

    pub(super) fn cancel(&mut self, reason: String) {
        if self.phase == Phase::Opening && self.escrow.is_none() {
            self.phase = Phase::Over;
            self.ending = Some(Ending::Cancelled(reason.clone()));
            self.effects.push(Effect::Over(Ending::Cancelled(reason)));
        } else {
            self.end(Ending::Cancelled(reason));
        }
    }

    /// Returns what the job's settlement would be now; `None` before the escrow is known.
    pub fn settlement(&self) -> Option<Settlement> {
        let job = self.escrow?.job;
        let leaves: Vec<B256> = self.accepted.iter().map(|accepted| accepted.leaf(job)).collect();
        let mut providers: BTreeMap<Address, ProviderTotal> = BTreeMap::new();
        for peer in self.peers.list.iter().filter(|peer| !peer.total.is_zero()) {
            let (provider, tasks, fuel, total) = (peer.address, peer.standing.accepted, peer.fuel, peer.total);
            providers.insert(provider, ProviderTotal { provider, tasks, fuel, total });
        }
        Some(Settlement { job, root: merkle_root(&leaves), providers: providers.into_values().collect() })
    }
}
