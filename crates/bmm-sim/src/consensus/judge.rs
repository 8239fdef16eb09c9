//! What is held against a run when it is over: final checkpoints that conflict, and the evidence against those who made them.

use super::{
    setup::{BLOCK_SECS, CHECKPOINT_BLOCKS, next_block},
    world::World,
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use bmm_chain::{Members, SignedBet};
use bmm_ledger::rights::is_slashed;
use bmm_types::{
    finality::offence,
    system::{FOOTSTONES, Footstones},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// Blocks within which evidence must be in.
const MOST_BLOCKS: usize = 64;

impl World<'_> {
    /// Holds all final checkpoints against each other.
    pub(super) fn judge(&mut self) {
        let mut finals: BinaryHeap<Reverse<(u64, B256)>> = self.finals.iter().copied().map(Reverse).collect();
        let mut chain: Vec<(u64, B256)> = Vec::new();
        let mut conflict = false;
        while let Some(Reverse((number, id))) = finals.pop() {
            let below = chain.last().copied();
            conflict |= below.is_some_and(|(low, ancestor)| self.ancestor(id, low) != Some(ancestor));
            chain.push((number, id));
        }
        self.outcome.final_checkpoints += chain.last().map_or(0, |(number, _)| number / CHECKPOINT_BLOCKS);
        self.outcome.seeds_of_a_third += u64::from(self.cheats_have_a_third());
        if !conflict {
            return;
        }
        let guilty = self.guilty();
        if self.is_a_third(&guilty) {
            self.outcome.conflicts_with_evidence += 1;
            self.punish(guilty);
        } else {
            self.outcome.violations += 1;
            self.outcome.violating_seeds.push(self.seed);
        }
    }

    /// Whether footstones have a third of the weight of a set by which something was made final: that of the beginning, or one that an honest node
    /// has now.
    fn is_a_third(&self, guilty: &BTreeMap<Address, (SignedBet, SignedBet)>) -> bool {
        let of_set = |members: &Members| {
            let weight = guilty.keys().filter_map(|footstone| members.weight_of(*footstone)).sum::<U256>();
            weight * U256::from(3) >= members.weight() && !members.members.is_empty()
        };
        let first = self.weight_of(|n| guilty.contains_key(&self.town.keys[n].address()));
        let now = self.honest().filter_map(|node| node.chain.finality());
        first * U256::from(3) >= self.weight_of(|_| true)
            || now.into_iter().any(|finality| of_set(&finality.rights.current) || of_set(&finality.rights.previous))
    }

    /// The ancestor of a block at a number; genesis has no entry among the parents.
    fn ancestor(&self, mut id: B256, number: u64) -> Option<B256> {
        loop {
            match self.parents.get(&id) {
                Some((parent, at)) if *at > number => id = *parent,
                Some((_, at)) => return (*at == number).then_some(id),
                None => return (number == 0).then_some(id),
            }
        }
    }

    /// Footstones whose own bets contradict each other, each with two of them.
    fn guilty(&self) -> BTreeMap<Address, (SignedBet, SignedBet)> {
        let mut guilty = BTreeMap::new();
        for (at, first) in self.all_bets.iter().enumerate() {
            for second in &self.all_bets[..at] {
                if offence(&first.bet, &second.bet).is_some() {
                    guilty.entry(first.bet.footstone).or_insert_with(|| (first.clone(), second.clone()));
                }
            }
        }
        guilty
    }

    /// Shows the evidence to the contract, on the chain of an honest node, and looks who lost the bond.
    fn punish(&mut self, guilty: BTreeMap<Address, (SignedBet, SignedBet)>) {
        let Some(judge) = self.honest().map(|node| node.index).next() else { return };
        let accused: Vec<Address> = guilty.keys().copied().collect();
        for (first, second) in guilty.into_values() {
            let call = Footstones::slashCall {
                first: first.bet.clone(),
                firstSignature: first.signature.to_vec().into(),
                second: second.bet.clone(),
                secondSignature: second.signature.to_vec().into(),
            };
            let sent = self.nodes[judge].transaction(self.town, FOOTSTONES, call.abi_encode().into());
            let sent = sent.expect("memory reads");
            self.nodes[judge].chain.submit(sent).expect("the pool takes a transaction of the next nonce");
        }
        let chain = self.nodes[judge].chain.clone();
        let left = || {
            let state = chain.state(BlockId::latest()).expect("memory reads");
            accused.iter().filter(|footstone| !is_slashed(&state, **footstone).expect("memory reads")).count()
        };
        // What waited before the evidence goes first.
        for _ in 0..MOST_BLOCKS {
            if left() == 0 || !self.add_block(judge) {
                break;
            }
        }
        let kept = left();
        self.outcome.slashed += (accused.len() - kept) as u64;
        self.outcome.not_slashed += kept as u64;
    }

    /// Adds a block to the chain of a node, by whoever may: its own footstone if it can, another that is honest, or a cheat. False if nobody may.
    fn add_block(&self, node: usize) -> bool {
        let chain = &self.nodes[node].chain;
        self.nodes[node].set_time(chain.head().header.timestamp + BLOCK_SECS);
        let mut producers: Vec<usize> = (0..self.nodes.len()).collect();
        producers.sort_by_key(|n| (*n != node, !self.is_honest(*n)));
        let block = producers.into_iter().find_map(|producer| next_block(chain, &self.town.keys[producer]));
        block.is_some_and(|block| chain.import(&block).is_ok_and(|imported| imported.became_head))
    }
}
