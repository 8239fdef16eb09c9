//! What providers signed, kept as long as it may have to be shown to the escrow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall;
use bmm_types::market::{
    Content, Receipt, ResultBatch, SignatureBytes, SignedResults, merkle_proof, merkle_root, result_leaf,
};
use bmm_types::system::{
    Jobs::{accuseCall, contradictCall},
    MAX_TESTIMONIES, Testimony,
};

use super::Requester;
use super::api::Effect;
use super::contest::{Answer, Contest, Returned};
use super::log::Entry;

/// Results that later ones are held against; the oldest are forgotten first.
const MAX_WORDS: usize = 1 << 16;

/// A batch that its provider signed, without the bytes of its results.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    provider: Address,
    lease: u64,
    batch: u64,
    signature: SignatureBytes,
    /// Task, fuel and output hash of each result.
    rows: Vec<(u64, u64, B256)>,
}

impl Signed {
    pub fn new(provider: Address, signed: &SignedResults, contents: &[Content]) -> Self {
        let ResultBatch { lease, batch, results, .. } = &signed.batch;
        let rows = results.iter().zip(contents).map(|(result, content)| (result.index, result.fuel, content.hash.0));
        Self { provider, lease: *lease, batch: *batch, signature: signed.signature, rows: rows.collect() }
    }

    /// Returns what was signed about one task, as the escrow reads it; the last word on it, if there are several.
    pub fn testimony(&self, task: u64) -> Option<Testimony> {
        self.testimony_at(self.rows.iter().rposition(|(of, ..)| *of == task)?)
    }

    /// Returns what one row says, as the escrow reads it.
    fn testimony_at(&self, at: usize) -> Option<Testimony> {
        let leaf = |(task, fuel, output): &(u64, u64, B256)| result_leaf(self.provider, *task, *fuel, *output);
        let leaves: Vec<B256> = self.rows.iter().map(leaf).collect();
        let (_, fuel, output) = *self.rows.get(at)?;
        // A signer's v of 0 or 1 is 27 or 28 on chain.
        let mut signature = self.signature.to_vec();
        if let Some(v) = signature.last_mut().filter(|v| **v < 27) {
            *v += 27;
        }
        Some(Testimony {
            provider: self.provider,
            lease: self.lease,
            batch: self.batch,
            tasks: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
            batchFuel: self.rows.iter().fold(0, |sum, (_, fuel, _)| sum.saturating_add(*fuel)),
            root: merkle_root(&leaves),
            signature: signature.into(),
            fuel,
            output,
            proof: merkle_proof(&leaves, at)?,
        })
    }
}

/// What staked providers have signed of late: of each task the batch and its row there. A provider that signs another result of the same
/// task contradicts itself.
#[derive(Debug, Default)]
pub(super) struct Words {
    said: HashMap<(usize, u64), (Arc<Signed>, usize)>,
    /// The keys, the oldest first.
    order: VecDeque<(usize, u64)>,
}

impl Words {
    /// Keeps a provider's results. Returns the first task about which it said something else before, or in the same batch, and both words.
    fn hold(&mut self, peer: usize, signed: &Arc<Signed>) -> Option<(u64, Testimony, Testimony)> {
        for (at, row) in signed.rows.iter().enumerate() {
            let (task, fuel, output) = *row;
            // A failure has no output: who fails first and then does not may be honest.
            if output.is_zero() {
                continue;
            }
            let Some((earlier, before)) = self.said.get(&(peer, task)) else {
                self.said.insert((peer, task), (signed.clone(), at));
                self.order.push_back((peer, task));
                continue;
            };
            if earlier.rows.get(*before).is_some_and(|(_, had, gave)| (*had, *gave) != (fuel, output)) {
                return Some((task, earlier.testimony_at(*before)?, signed.testimony_at(at)?));
            }
        }
        while self.order.len() > MAX_WORDS {
            if let Some(oldest) = self.order.pop_front() {
                self.said.remove(&oldest);
            }
        }
        None
    }
}

/// Returns the receipt that a testimony's signature is over.
pub fn receipt_of(job: B256, testimony: &Testimony) -> Receipt {
    Receipt {
        job,
        provider: testimony.provider,
        lease: testimony.lease,
        batch: testimony.batch,
        tasks: testimony.tasks,
        fuel: testimony.batchFuel,
        results: testimony.root,
    }
}

impl Requester {
    /// Keeps what a provider signed where the job demands a stake: it may have to be shown.
    pub(super) fn keep_signed(&self, peer: usize, signed: &SignedResults, contents: &[Content]) -> Option<Arc<Signed>> {
        let provider = self.peers.list[peer].address;
        (!self.spec.stake.is_zero()).then(|| Arc::new(Signed::new(provider, signed, contents)))
    }

    /// Returns how many other operators must have found the same before one is accused.
    pub(super) fn accusing_quorum(&self) -> usize {
        usize::from(self.spec.verify.quorum().max(2))
    }

    /// Accuses those who gave another answer than a quorum of operators did, if all of it is signed and there is a stake to lose.
    /// The call is in the log before it is sent, so that no crash saves the stake.
    pub(super) fn accuse(&mut self, task: u64, contest: &Contest, answer: Answer) {
        let Some(escrow) = self.escrow.filter(|_| !self.spec.stake.is_zero()) else { return };
        let testimony = |(_, returned): &(usize, Returned)| returned.signed.as_ref()?.testimony(task);
        let mut others: Vec<Testimony> = contest.agreeing(answer).iter().filter_map(testimony).collect();
        others.sort_unstable_by_key(|testimony| testimony.provider);
        others.truncate(self.accusing_quorum().min(MAX_TESTIMONIES));
        if others.len() < self.accusing_quorum() {
            return;
        }
        for accused in contest.differing(answer).iter().filter_map(testimony) {
            let call = accuseCall { job: escrow.job, task, accused, others: others.clone() };
            self.record(&Entry::Accusation { call: call.abi_encode() });
            self.accusations.push(call);
        }
    }

    /// Holds what a provider signed against what it signed before. If it contradicts itself, the call that shows it is in the log at once,
    /// the provider is out, and nothing of the batch counts: then this returns true.
    pub(super) fn contradicts_itself(&mut self, peer: usize, signed: Option<&Arc<Signed>>) -> bool {
        let (Some(signed), Some(escrow)) = (signed, self.escrow) else { return false };
        if self.peers.list[peer].contradicted {
            return true;
        }
        let Some((task, first, second)) = self.words.hold(peer, signed) else { return false };
        self.peers.list[peer].contradicted = true;
        let call = contradictCall { job: escrow.job, task, first, second };
        self.record(&Entry::Contradiction { call: call.abi_encode() });
        self.contradictions.push(call);
        self.caught.entry(peer).or_insert(task);
        true
    }

    /// Sends what was recorded.
    pub(super) fn send_accusations(&mut self) {
        if self.escrow.is_some() {
            let calls = std::mem::take(&mut self.accusations);
            self.effects.extend(calls.into_iter().map(|call| Effect::Accuse(Box::new(call))));
            let calls = std::mem::take(&mut self.contradictions);
            self.effects.extend(calls.into_iter().map(|call| Effect::Contradict(Box::new(call))));
        }
    }
}
