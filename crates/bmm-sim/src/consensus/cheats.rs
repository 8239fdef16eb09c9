//! What cheating footstones do.

use super::{
    node::{Node, link},
    setup::{CHECKPOINT_BLOCKS, Town},
};
use crate::random::Random;
use alloy_primitives::{B256, U256};
use bmm_chain::{Checkpoint, SignedBet};
use std::collections::HashSet;

/// How a footstone bets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bets {
    /// By the rules.
    Honest,
    /// On every branch, for whoever pays.
    Double,
    /// On every branch, from genesis and from as far back as may count.
    Surround,
    /// Never.
    Stall,
    /// On every branch, but held back for a while.
    Late,
}

/// How a footstone hands on its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// At once.
    Honest,
    /// Late, while it works on alone.
    Selfish,
}

/// The manners of one footstone.
#[derive(Clone, Debug)]
pub struct Manner {
    pub bets: Bets,
    pub blocks: Blocks,
    /// Links that it has bet on.
    done: HashSet<(B256, B256)>,
}

impl Manner {
    pub fn honest() -> Self {
        Self { bets: Bets::Honest, blocks: Blocks::Honest, done: HashSet::new() }
    }

    /// Draws how a cheat cheats: at least one way.
    pub fn cheat(random: &mut Random) -> Self {
        let bets = [Bets::Double, Bets::Double, Bets::Surround, Bets::Stall, Bets::Late];
        let drawn = usize::try_from(random.below(5)).unwrap_or(0);
        let blocks = if random.chance(400_000) { Blocks::Selfish } else { Blocks::Honest };
        Self { bets: bets[drawn], blocks, done: HashSet::new() }
    }

    pub fn is_honest(&self) -> bool {
        self.bets == Bets::Honest && self.blocks == Blocks::Honest
    }

    /// How long its blocks and bets stay with it, in milliseconds.
    pub fn delays(&self, random: &mut Random) -> (u64, u64) {
        let held = |held: bool, random: &mut Random| if held { 5_000 + random.below(60_000) } else { 0 };
        (held(self.blocks == Blocks::Selfish, random), held(self.bets == Bets::Late, random))
    }

    /// The bets of a cheat that sees the chain of every node: on each branch's last checkpoints, from where they would count.
    pub fn bets(&mut self, town: &Town, own: &Node, all: &[Node]) -> Vec<SignedBet> {
        if matches!(self.bets, Bets::Honest | Bets::Stall) {
            return Vec::new();
        }
        let mut made = Vec::new();
        for other in all.iter().filter(|node| node.alive) {
            let Some(finality) = other.chain.finality() else { continue };
            let last = other.chain.head().number() / CHECKPOINT_BLOCKS;
            let sources = match self.bets {
                Bets::Surround => vec![finality.rights.finalised, finality.rights.justified],
                _ => vec![finality.bet_source()],
            };
            for number in last.saturating_sub(1)..=last {
                let Ok(Some(id)) = other.chain.canonical(number * CHECKPOINT_BLOCKS) else { continue };
                for source in sources.iter().filter(|source| source.number < number) {
                    if self.done.insert((source.id, id)) {
                        let amount = finality.rights.current.weight_of(own.address(town)).unwrap_or(U256::ONE);
                        let bet = link(own.address(town), *source, Checkpoint { number, id }, amount);
                        made.push(own.sign(town, bet));
                    }
                }
            }
        }
        made
    }
}
