//! What a footstone's node sends to the contract: bets that are in no block yet, claims of rewards, offences and lost bets.

use super::KeeperState;
use crate::{failure::Outcome, rpc::RpcClient};
use alloy_primitives::{Address, B256, Bytes};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Chain, SignedBet};
use bmm_types::{
    Amount,
    system::{FOOTSTONES, Footstones, LOST_BET_WAIT, MAX_REWARDED, footstone_state},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Bets of one transaction: each takes some 100,000 gas.
const BETS_AT_ONCE: usize = 64;
/// Blocks after which a transaction that is in no block is given up.
const PATIENCE_BLOCKS: u64 = 20;
/// Longest a footstone lets others go first, in blocks.
const MAX_TURN: u64 = 4;
/// Checkpoints after which rewards are claimed.
const CLAIM_EVERY: u64 = 16;
/// Bets that are looked through.
const MAX_LOOKED_AT: usize = 2_048;

/// See the module's documentation.
pub struct Duties {
    chain: Arc<Chain>,
    rpc: RpcClient,
    key: PrivateKeySigner,
    /// Number of the head when it was looked at last.
    looked: u64,
    /// The transaction under way, and the head's number when it was sent.
    sent: Option<(B256, u64)>,
    /// Bets that the contract counts in `epoch`, by footstone and target, with their amounts.
    counted: HashSet<(Address, u64, alloy_primitives::U256)>,
    epoch: u64,
    last_target: u64,
    /// The last final checkpoint up to which rewards were claimed.
    claimed: u64,
    slashed: HashSet<Address>,
    /// Lost bets that were reported, and the checkpoint that must be final before they are taken.
    lost: BTreeMap<(Address, u64), Option<u64>>,
}

impl Duties {
    /// Begins without knowing what was done before; the contract refuses what was.
    pub fn new(chain: Arc<Chain>, rpc: RpcClient, key: PrivateKeySigner) -> Self {
        Self {
            chain,
            rpc,
            key,
            looked: 0,
            sent: None,
            counted: HashSet::new(),
            epoch: 0,
            last_target: 0,
            claimed: 0,
            slashed: HashSet::new(),
            lost: BTreeMap::new(),
        }
    }

    /// Returns the highest target of this footstone's bets that the contract knows.
    pub const fn last_target(&self) -> u64 {
        self.last_target
    }

    /// Does what there is to do after a new head, one transaction at a time.
    pub fn tend(&mut self, state: &KeeperState) {
        let head = self.chain.head().number();
        if head == self.looked {
            return;
        }
        self.looked = head;
        if let Err(failure) = self.look(state) {
            tracing::debug!(message = failure.message, "a footstone's duty cannot be done now");
        }
    }

    fn look(&mut self, state: &KeeperState) -> Outcome {
        let footstone = self.key.address();
        let mine = self.rpc.contract(FOOTSTONES, &Footstones::footstoneOfCall { footstone })?;
        self.last_target = mine.lastTarget;
        if self.is_busy()? {
            return Ok(());
        }
        // Whoever shows an offence is paid; that needs no seat.
        if self.slash()? || matches!(state, KeeperState::Stopped { .. } | KeeperState::Listening { .. }) {
            return Ok(());
        }
        if self.place_bets()? || self.claim()? {
            return Ok(());
        }
        self.report_lost()
    }

    /// Whether a transaction is under way.
    fn is_busy(&mut self) -> Outcome<bool> {
        let Some((transaction, at)) = self.sent else { return Ok(false) };
        if self.looked < at + PATIENCE_BLOCKS && self.rpc.receipt(transaction)?.is_none() {
            return Ok(true);
        }
        self.sent = None;
        Ok(false)
    }

    fn send(&mut self, call: &impl SolCall) -> Outcome {
        let data: Bytes = call.abi_encode().into();
        let sent = self.rpc.send_transaction(&self.key, FOOTSTONES, Amount::ZERO, data)?;
        self.sent = Some((sent.transaction, self.looked));
        Ok(())
    }

    /// Puts bets that the contract does not count yet into a transaction, when it is this footstone's turn.
    fn place_bets(&mut self) -> Outcome<bool> {
        let (Some(finality), Some(rules)) = (self.chain.finality(), self.chain.params().footstones) else {
            return Ok(false);
        };
        let members = &finality.rights.current.members;
        let place = members.iter().position(|(member, _)| *member == self.key.address()).unwrap_or(0) as u64;
        let last = self.looked.saturating_sub(rules.bet_depth) / rules.checkpoint_blocks;
        let turn = place.wrapping_add(last) % (members.len() as u64).clamp(1, MAX_TURN);
        if self.looked % rules.checkpoint_blocks < (rules.bet_depth + 1 + turn) % rules.checkpoint_blocks {
            return Ok(false);
        }
        let finalised = finality.rights.finalised;
        self.counted.retain(|(_, target, _)| *target >= finalised.number);
        // Each epoch counts anew.
        let epoch = self.looked.checked_div(self.chain.params().epoch_blocks).unwrap_or(0);
        if epoch != std::mem::replace(&mut self.epoch, epoch) {
            self.counted.clear();
        }
        let mut open = Vec::new();
        for signed in self.chain.bets_from(finalised.number + 1, MAX_LOOKED_AT) {
            if open.len() < BETS_AT_ONCE && self.may_count(&signed, rules.checkpoint_blocks)? {
                open.push(signed);
            }
        }
        if open.is_empty() {
            return Ok(false);
        }
        self.send(&call_of(&open))?;
        Ok(true)
    }

    /// Whether a bet lies on the branch and is not counted yet.
    fn may_count(&mut self, signed: &SignedBet, interval: u64) -> Outcome<bool> {
        let bet = &signed.bet;
        let key = (bet.footstone, bet.target, bet.amount);
        let lies = |number: u64, id: B256| self.chain.canonical(number * interval).is_ok_and(|found| found == Some(id));
        // The block after a checkpoint writes it down.
        if self.counted.contains(&key)
            || self.looked <= bet.target * interval
            || !lies(bet.target, bet.targetHash)
            || !lies(bet.source, bet.sourceHash)
        {
            return Ok(false);
        }
        let call = Footstones::betOfCall { footstone: bet.footstone, target: bet.target };
        let found = self.rpc.contract(FOOTSTONES, &call)?;
        if found.amount >= bet.amount {
            self.counted.insert(key);
            return Ok(false);
        }
        Ok(found.amount.is_zero() || found.source == bet.source)
    }

    /// Claims what became final since the last time, now and then.
    fn claim(&mut self) -> Outcome<bool> {
        let Some(finality) = self.chain.finality() else { return Ok(false) };
        let to = finality.rights.finalised.number;
        if to < self.claimed + CLAIM_EVERY {
            return Ok(false);
        }
        let from = (self.claimed + 1).max((to + 1).saturating_sub(MAX_REWARDED));
        // It is refused when nothing is owed; either way it is tried again only when more has become final.
        self.claimed = to;
        self.send(&Footstones::rewardCall { footstone: self.key.address(), from, to })?;
        Ok(true)
    }

    /// Shows bets that contradict each other.
    fn slash(&mut self) -> Outcome<bool> {
        for (first, second) in self.chain.offences() {
            let footstone = first.bet.footstone;
            if footstone == self.key.address() || self.slashed.contains(&footstone) {
                continue;
            }
            let state = self.rpc.contract(FOOTSTONES, &Footstones::footstoneOfCall { footstone })?.state;
            if !matches!(state, footstone_state::CANDIDATE | footstone_state::LEAVING) {
                self.slashed.insert(footstone);
                continue;
            }
            tracing::warn!(%footstone, "a footstone contradicts itself; reporting it");
            self.send(&Footstones::slashCall {
                first: first.bet,
                firstSignature: first.signature.to_vec().into(),
                second: second.bet,
                secondSignature: second.signature.to_vec().into(),
            })?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reports bets on checkpoints that did not become final, and has taken what they lost when it is time.
    fn report_lost(&mut self) -> Outcome {
        let (Some(finality), Some(interval)) = (self.chain.finality(), self.chain.checkpoint_blocks()) else {
            return Ok(());
        };
        let finalised = finality.rights.finalised.number;
        let due = self.lost.iter().find(|(_, at)| at.is_some_and(|at| finalised >= at)).map(|(key, _)| *key);
        if let Some((footstone, target)) = due {
            self.lost.insert((footstone, target), None);
            return self.send(&Footstones::takeLostCall { footstone, target });
        }
        for signed in self.chain.bets_from(0, MAX_LOOKED_AT) {
            let (bet, key) = (&signed.bet, (signed.bet.footstone, signed.bet.target));
            let canonical = self.chain.canonical(bet.target * interval).ok().flatten();
            if bet.target > finalised || canonical.is_none_or(|id| id == bet.targetHash) || self.lost.contains_key(&key)
            {
                continue;
            }
            self.lost.insert(key, Some(finalised + LOST_BET_WAIT + 1));
            return self
                .send(&Footstones::reportLostCall { bet: signed.bet, signature: signed.signature.to_vec().into() });
        }
        Ok(())
    }
}

fn call_of(bets: &[SignedBet]) -> Footstones::betCall {
    Footstones::betCall {
        bets: bets.iter().map(|signed| signed.bet.clone()).collect(),
        signatures: bets.iter().map(|signed| signed.signature.to_vec().into()).collect(),
    }
}
