//! One node: its chain, its clock, what it has signed.

use super::setup::{BET_DEPTH, CHECKPOINT_BLOCKS, EPOCH_BLOCKS, GENESIS_TIME, Town, chain_options, transaction};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_signer::SignerSync;
use alloy_sol_types::{SolCall, SolStruct};
use bmm_chain::{Chain, Checkpoint, ManualClock, SignedBet};
use bmm_ledger::rights::{Rights, bets_in, is_justified};
use bmm_types::{
    SealedBlock, Transaction,
    finality::offence,
    system::{Bet, Footstones, footstones_domain},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Bets that are looked through at once.
const MOST_BETS: usize = 1_024;

/// A footstone and its node.
pub struct Node {
    pub index: usize,
    pub chain: Arc<Chain>,
    clock: Arc<ManualClock>,
    /// By how much its clock is wrong, in seconds.
    skew: i64,
    pub alive: bool,
    /// All bets that it ever signed: they are on its disk before a signature leaves it, and no crash loses them.
    pub signed: Vec<Bet>,
    /// Seeds of epochs whose work it has proven.
    pub proven: HashSet<B256>,
    /// Amounts of the bets that blocks of its branch hold, as far as it has seen since its last change of branch.
    brought: HashMap<B256, U256>,
}

impl Node {
    pub fn new(town: &Town, index: usize, skew: i64) -> Self {
        let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000_000));
        let chain = fresh(town, &clock);
        Self {
            index,
            chain,
            clock,
            skew,
            alive: true,
            signed: Vec::new(),
            proven: HashSet::new(),
            brought: HashMap::new(),
        }
    }

    pub fn address(&self, town: &Town) -> Address {
        town.keys[self.index].address()
    }

    /// Sets its clock, which is a little wrong.
    pub fn set_time(&self, secs: u64) {
        self.clock.set(secs.saturating_add_signed(self.skew));
    }

    /// Begins anew with all blocks but the last few of its branch, and without anything that it had heard and not stored.
    pub fn restart(&mut self, town: &Town, lost: u64) {
        let kept = self.chain.head().number().saturating_sub(lost);
        let chain = fresh(town, &self.clock);
        for number in chain.head().number() + 1..=kept {
            let id = self.chain.canonical(number).expect("memory reads").expect("below the head");
            let block = self.chain.block(id).expect("memory reads").expect("its own block");
            chain.import(&block).expect("it was valid before");
        }
        self.chain = chain;
        self.brought.clear();
    }

    /// Signs a bet; the caller has put it among those signed, if it is honest.
    pub fn sign(&self, town: &Town, bet: Bet) -> SignedBet {
        let digest = bet.eip712_signing_hash(&footstones_domain(town.params.chain_id));
        let signature = town.keys[self.index].sign_hash_sync(&digest).expect("a local key signs");
        SignedBet::new(bet, &signature.as_bytes()).expect("65 bytes")
    }

    /// The link that an honest footstone bets on now: from the highest checkpoint that the state of its branch has as justified to the highest checkpoint that is
    /// deep enough. Nothing if that would contradict what it has signed.
    pub fn honest_bet(&self, town: &Town) -> Option<Bet> {
        let head = self.chain.head().number();
        let finality = self.chain.finality()?;
        let footstone = self.address(town);
        // Who is only in the set before the present one is needed as well: both must reach two thirds.
        let Rights { current, previous, .. } = &*finality.rights;
        let weight = current.weight_of(footstone).max(previous.weight_of(footstone))?;
        let number = head.checked_sub(BET_DEPTH)? / CHECKPOINT_BLOCKS;
        let source = finality.bet_source();
        if !finality.rights.enabled
            || number <= source.number
            || number * CHECKPOINT_BLOCKS < finality.rights.current.since
        {
            return None;
        }
        let id = self.chain.canonical(number * CHECKPOINT_BLOCKS).ok()??;
        // A part at first, and all when it is deeper.
        let deep = head > number * CHECKPOINT_BLOCKS + BET_DEPTH;
        let amount = if deep { weight } else { weight / U256::from(2) };
        let bet = link(footstone, source, Checkpoint { number, id }, amount);
        let same = |other: &&Bet| other.targetHash == bet.targetHash && other.sourceHash == bet.sourceHash;
        let raised = self.signed.iter().filter(same).all(|other| other.amount < bet.amount);
        let goes_together = self.signed.iter().all(|other| offence(other, &bet).is_none());
        // One link for one target.
        let one_link = self.signed.iter().all(|other| other.target != bet.target || other.sourceHash == bet.sourceHash);
        (raised && goes_together && one_link).then_some(bet)
    }

    /// Notes what bets a block brought to the branch; a change of branch forgets them all.
    pub fn note_block(&mut self, block: &SealedBlock, is_reorg: bool) {
        // Each epoch counts anew.
        if is_reorg || block.block.header.number.is_multiple_of(EPOCH_BLOCKS) {
            self.brought.clear();
        }
        for transaction in &block.block.body.transactions {
            for (bet, _) in bets_in(transaction.to(), transaction.input()) {
                let amount = self.brought.entry(bet_name(&bet)).or_default();
                *amount = bet.amount.max(*amount);
            }
        }
    }

    /// The bets that its branch lacks and that count on it now: from checkpoints that its blocks have justified.
    pub fn missing_bets(&self) -> Vec<SignedBet> {
        let Some(finality) = self.chain.finality() else { return Vec::new() };
        let rights = &finality.rights;
        let Ok(state) = self.chain.state(BlockId::latest()) else { return Vec::new() };
        let lies = |number: u64, id: B256| matches!(self.chain.canonical(number * CHECKPOINT_BLOCKS), Ok(Some(found)) if found == id);
        let fits = |signed: &SignedBet| {
            let bet = &signed.bet;
            let block = bet.target * CHECKPOINT_BLOCKS;
            lies(bet.source, bet.sourceHash)
                && lies(bet.target, bet.targetHash)
                && is_justified(&state, bet.source).unwrap_or(false)
                && block >= rights.current.since
                && rights.current.weight_of(bet.footstone).max(rights.previous.weight_of(bet.footstone)).is_some()
                && self.brought.get(&bet_name(bet)).is_none_or(|amount| *amount < bet.amount)
        };
        let mut bets = self.chain.bets_from(rights.finalised.number + 1, MOST_BETS);
        bets.retain(fits);
        bets
    }

    /// Makes a transaction of its footstone, after those that wait already.
    pub fn transaction(&self, town: &Town, to: Address, data: Bytes) -> Option<Transaction> {
        let key = &town.keys[self.index];
        let nonce = self.chain.pending_nonce(key.address()).ok()?;
        Some(transaction(key, &town.params, nonce, to, U256::ZERO, data))
    }
}

/// Returns a bet on a link.
pub fn link(footstone: Address, source: Checkpoint, target: Checkpoint, amount: U256) -> Bet {
    Bet {
        footstone,
        source: source.number,
        sourceHash: source.id,
        target: target.number,
        targetHash: target.id,
        amount,
    }
}

/// Returns the call that brings a bet into a block.
pub fn bet_call(signed: &SignedBet) -> Bytes {
    let signatures = vec![Bytes::copy_from_slice(signed.signature.as_slice())];
    Footstones::betCall { bets: vec![signed.bet.clone()], signatures }.abi_encode().into()
}

/// The link of a bet and who bets, without the amount.
fn bet_name(bet: &Bet) -> B256 {
    Bet { amount: U256::ZERO, ..bet.clone() }.eip712_hash_struct()
}

/// A chain that has the blocks of the setup.
fn fresh(town: &Town, clock: &Arc<ManualClock>) -> Arc<Chain> {
    let chain = Chain::in_memory(town.params.clone(), clock.clone(), chain_options()).expect("a chain in memory");
    for block in &town.blocks {
        chain.import(block).expect("a valid block");
    }
    chain
}
