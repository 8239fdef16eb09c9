//! Virtual time: who finds a block when, what reaches whom, and what is held against every state.

use super::{
    cheats::Manner,
    node::{Node, bet_call},
    options::Options,
    outcome::Outcome,
    setup::{BLOCK_SECS, CHECKPOINT_BLOCKS, EPOCH_BLOCKS, GENESIS_TIME, Town, next_block, proof},
};
use crate::random::Random;
use alloy_primitives::{Address, B256, U256};
use bmm_chain::{ImportError, Imported, Members, SignedBet};
use bmm_types::{
    SealedBlock, Transaction,
    finality::is_quorum,
    system::{FOOTSTONES, RESOURCES},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// How often somebody may find a block, and how often nodes compare what they have.
const TURN_MILLIS: u64 = 1_000;
const EXCHANGE_MILLIS: u64 = 10_000;
/// Blocks that one exchange brings at the most.
const MOST_BLOCKS: usize = 512;
/// Bets that one exchange brings at the most.
const MOST_BETS: usize = 1_024;

/// What happens.
enum Event {
    /// Everybody may find a block.
    Turn,
    Block {
        to: usize,
        from: usize,
        block: Arc<SealedBlock>,
    },
    Bets {
        to: usize,
        bets: Arc<Vec<SignedBet>>,
    },
    Transaction {
        to: usize,
        transaction: Box<Transaction>,
    },
    /// A node looks what another has.
    Exchange(usize),
    /// Nodes with this bit see only each other.
    Split(u64),
    Join,
    Crash(usize),
    Return(usize),
}

/// See the module's documentation.
pub struct World<'a> {
    pub(super) options: &'a Options,
    pub(super) town: &'a Town,
    random: Random,
    pub(super) seed: u64,
    pub(super) nodes: Vec<Node>,
    manners: Vec<Manner>,
    /// Milliseconds since genesis.
    now: u64,
    trouble_ends: u64,
    side: u64,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    /// Parents of all blocks, with their numbers.
    pub(super) parents: HashMap<B256, (B256, u64)>,
    /// Every final checkpoint that an honest node ever had: number of the block, id.
    pub(super) finals: HashSet<(u64, B256)>,
    pub(super) all_bets: Vec<SignedBet>,
    pub(super) outcome: Outcome,
}

impl<'a> World<'a> {
    pub fn new(options: &'a Options, town: &'a Town, seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let count = town.keys.len();
        let nodes: Vec<Node> = (0..count).map(|n| Node::new(town, n, skew(&mut random))).collect();
        let begin = 2 * EPOCH_BLOCKS * BLOCK_SECS * 1_000;
        let trouble_ends = begin + options.trouble * BLOCK_SECS * 1_000;
        let manners = draw_cheats(options, town, &mut random);
        let parents = town.blocks.iter().map(|b| (b.id(), (b.block.header.parent_hash, b.block.header.number)));
        let mut world = Self {
            options,
            town,
            seed,
            nodes,
            manners,
            now: begin,
            trouble_ends,
            side: 0,
            events: BTreeMap::new(),
            count: 0,
            parents: parents.collect(),
            finals: HashSet::new(),
            all_bets: Vec::new(),
            outcome: Outcome { seeds: 1, ..Outcome::default() },
            random,
        };
        world.plan();
        world
    }

    /// Draws the trouble.
    fn plan(&mut self) {
        self.at(TURN_MILLIS, Event::Turn);
        for node in 0..self.nodes.len() {
            let first = self.random.below(EXCHANGE_MILLIS);
            self.at(first, Event::Exchange(node));
        }
        let length = self.trouble_ends - self.now;
        for _ in 0..self.random.below(3) {
            // Half of them long enough for both sides to make checkpoints final, if they could.
            let least = if self.random.chance(500_000) { length * 2 / 3 } else { 1 };
            let begin = self.random.below(length - least);
            let end = begin + least + self.random.below(length - begin - least);
            let side = self.random.bits();
            self.at(begin, Event::Split(side));
            self.at(end, Event::Join);
            self.outcome.partitions += 1;
        }
        for _ in 0..self.random.below(4) {
            let node = usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0);
            let begin = self.random.below(length);
            let end = begin + self.random.below(length - begin) + 1;
            self.at(begin, Event::Crash(node));
            self.at(end, Event::Return(node));
            self.outcome.crashes += 1;
        }
        self.at(length, Event::Join);
        for node in 0..self.nodes.len() {
            self.at(length, Event::Return(node));
        }
    }

    fn at(&mut self, later: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + later, self.count), event);
    }

    /// Runs until finality is back everywhere, or the time for that is over.
    pub fn run(mut self) -> Outcome {
        let mut healed_at = None;
        while let Some(((time, _), event)) = self.events.pop_first() {
            self.now = time;
            let secs = GENESIS_TIME + time / 1_000;
            self.nodes.iter().for_each(|node| node.set_time(secs));
            self.happens(event);
            if self.now < self.trouble_ends {
                continue;
            }
            let checkpoint =
                self.honest().map(|node| node.chain.head().number() / CHECKPOINT_BLOCKS).max().unwrap_or(0);
            let begun = *healed_at.get_or_insert(checkpoint);
            // A lighter branch may have been taken since.
            let waited = checkpoint.saturating_sub(begun);
            let is_final =
                |node: &Node| node.chain.finality().is_some_and(|finality| finality.finalised.number >= begun);
            if self.honest().all(is_final) {
                self.outcome.waited(waited);
                break;
            }
            if waited > self.options.heal {
                self.note_stall();
                break;
            }
        }
        self.judge();
        self.outcome
    }

    pub(super) fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| self.is_honest(node.index))
    }

    pub(super) fn is_honest(&self, node: usize) -> bool {
        self.manners[node].is_honest()
    }

    pub(super) fn weight_of(&self, is: impl Fn(usize) -> bool) -> U256 {
        self.town.weights.iter().enumerate().filter(|(n, _)| is(*n)).map(|(_, weight)| *weight).sum()
    }

    pub(super) fn cheats_have_a_third(&self) -> bool {
        let cheats = self.weight_of(|n| !self.manners[n].is_honest());
        cheats * U256::from(3) >= self.weight_of(|_| true)
    }

    /// Nothing final in time: a failure where two thirds of both sets are honest. Who missed a proof lost its seat, so that cheats may have more of
    /// the sets than they began with.
    fn note_stall(&mut self) {
        let honest_sets = self.honest().filter_map(|node| node.chain.finality()).all(|finality| {
            let honest = |members: &Members| {
                let weight = self.honest().filter_map(|node| members.weight_of(node.address(self.town))).sum();
                members.members.is_empty() || is_quorum(weight, members.weight())
            };
            honest(&finality.rights.current) && honest(&finality.rights.previous)
        });
        if honest_sets {
            self.outcome.stalls += 1;
            self.outcome.stalled_seeds.push(self.seed);
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        // Cheats have connections everywhere.
        let divided = (self.side >> from & 1) != (self.side >> to & 1);
        let cheat = !self.manners[from].is_honest() || !self.manners[to].is_honest();
        self.nodes[from].alive && self.nodes[to].alive && (cheat || !divided)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Turn => {
                self.at(TURN_MILLIS, Event::Turn);
                (0..self.nodes.len()).for_each(|node| self.maybe_find(node));
            }
            Event::Block { to, from, block } if self.nodes[to].alive => self.block_comes(to, from, &block),
            Event::Bets { to, bets } if self.nodes[to].alive => {
                self.nodes[to].chain.hear_bets(&bets);
                self.after(to);
            }
            Event::Transaction { to, transaction } if self.nodes[to].alive => {
                let _ = self.nodes[to].chain.submit(*transaction);
            }
            Event::Exchange(node) => {
                self.at(EXCHANGE_MILLIS, Event::Exchange(node));
                let other = usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0);
                if other != node && self.reaches(other, node) {
                    self.exchange(other, node);
                }
            }
            Event::Split(side) => self.side = side,
            Event::Join => self.side = 0,
            Event::Crash(node) => self.nodes[node].alive = false,
            Event::Return(node) if !self.nodes[node].alive => {
                let lost = self.random.below(4);
                self.nodes[node].alive = true;
                self.nodes[node].restart(self.town, lost);
                self.after(node);
            }
            _ => {}
        }
    }

    /// A node finds a block with a chance by its weight, so that all together find one in an interval.
    fn maybe_find(&mut self, node: usize) {
        let total = self.weight_of(|_| true);
        let share: u64 = (self.town.weights[node] * U256::from(1_000_000) / total).to();
        if !self.random.chance(share * TURN_MILLIS / (BLOCK_SECS * 1_000)) || !self.nodes[node].alive {
            return;
        }
        for bet in self.nodes[node].missing_bets() {
            if let Some(transaction) = self.nodes[node].transaction(self.town, FOOTSTONES, bet_call(&bet)) {
                let _ = self.nodes[node].chain.submit(transaction);
            }
        }
        let Some(block) = next_block(&self.nodes[node].chain, &self.town.keys[node]) else { return };
        let header = &block.block.header;
        self.parents.insert(block.id(), (header.parent_hash, header.number));
        self.outcome.blocks += 1;
        let block = Arc::new(block);
        self.block_comes(node, node, &block);
        let (held, _) = self.manners[node].delays(&mut self.random);
        for to in 0..self.nodes.len() {
            self.send(node, to, held, |to| Event::Block { to, from: node, block: block.clone() });
        }
    }

    /// Sends something unless it is lost or nobody is there.
    fn send(&mut self, from: usize, to: usize, held: u64, event: impl Fn(usize) -> Event) {
        let delay = held + 50 + self.random.below(1_950);
        let lost = self.now < self.trouble_ends && self.random.chance(20_000);
        if from != to && self.reaches(from, to) && !lost {
            self.at(delay, event(to));
        }
    }

    fn block_comes(&mut self, to: usize, from: usize, block: &SealedBlock) {
        match self.nodes[to].chain.import(block) {
            Ok(imported) => self.note_import(to, block, &imported),
            Err(ImportError::UnknownParent(_)) if self.reaches(from, to) => return self.exchange(from, to),
            Err(_) => return,
        }
        self.after(to);
    }

    fn note_import(&mut self, node: usize, block: &SealedBlock, imported: &Imported) {
        let taken_back = imported.reorg.as_ref().map_or(0, |reorg| reorg.abandoned.len() as u64);
        self.outcome.deepest_reorg = self.outcome.deepest_reorg.max(taken_back);
        if imported.became_head {
            self.nodes[node].note_block(block, imported.reorg.is_some());
        }
    }

    /// A node fetches the branch of another, and its bets.
    fn exchange(&mut self, from: usize, to: usize) {
        if self.side != 0 && !self.manners[from].is_honest() {
            // A cheat does not tell one side what the other has.
            return;
        }
        let (other, own) = (self.nodes[from].chain.clone(), self.nodes[to].chain.clone());
        let mut missing = Vec::new();
        let mut id = other.head().id;
        while missing.len() < MOST_BLOCKS && !matches!(own.header(id), Ok(Some(_))) {
            let Ok(Some(block)) = other.block(id) else { return };
            id = block.block.header.parent_hash;
            missing.push(block);
        }
        own.hear_bets(&other.bets_from(own.finality().map_or(0, |finality| finality.finalised.number), MOST_BETS));
        for block in missing.iter().rev() {
            match own.import(block) {
                Ok(imported) => self.note_import(to, block, &imported),
                Err(ImportError::Known(_)) => {}
                Err(_) => break,
            }
        }
        own.reconsider();
        self.after(to);
    }

    /// What a node does after it has learnt something, and what is held against it.
    fn after(&mut self, node: usize) {
        self.note_final(node);
        self.prove(node);
        if self.manners[node].is_honest() {
            while let Some(bet) = self.nodes[node].honest_bet(self.town) {
                self.nodes[node].signed.push(bet.clone());
                let signed = self.nodes[node].sign(self.town, bet);
                self.place(node, vec![signed], 0);
            }
            return;
        }
        let mut manner = self.manners[node].clone();
        let bets = manner.bets(self.town, &self.nodes[node], &self.nodes);
        let (_, held) = manner.delays(&mut self.random);
        self.manners[node] = manner;
        if !bets.is_empty() {
            self.place(node, bets, held);
        }
    }

    /// Spreads bets, and brings them into blocks.
    fn place(&mut self, node: usize, bets: Vec<SignedBet>, held: u64) {
        self.outcome.bets += bets.len() as u64;
        self.all_bets.extend(bets.iter().cloned());
        if held == 0 {
            self.nodes[node].chain.hear_bets(&bets);
        }
        let bets = Arc::new(bets);
        for to in 0..self.nodes.len() {
            self.send(node, to, held, |to| Event::Bets { to, bets: bets.clone() });
        }
        self.note_final(node);
    }

    fn transact(&mut self, node: usize, to: Address, data: alloy_primitives::Bytes) {
        let Some(transaction) = self.nodes[node].transaction(self.town, to, data) else { return };
        let _ = self.nodes[node].chain.submit(transaction.clone());
        for to in 0..self.nodes.len() {
            self.send(node, to, 0, |to| Event::Transaction { to, transaction: Box::new(transaction.clone()) });
        }
    }

    /// Footstones go on to prove their work, each epoch in the first blocks of the next.
    fn prove(&mut self, node: usize) {
        let head = self.nodes[node].chain.head().number();
        let (epoch, into) = (head / EPOCH_BLOCKS, head % EPOCH_BLOCKS);
        let Some(worked) = epoch.checked_sub(1).filter(|_| into < EPOCH_BLOCKS / 4 - 1) else { return };
        let first = worked * EPOCH_BLOCKS;
        let Ok(Some(seed)) = self.nodes[node].chain.canonical(first.saturating_sub(1)) else { return };
        if self.nodes[node].proven.insert(seed) {
            let contributor = self.nodes[node].address(self.town);
            self.transact(node, RESOURCES, proof(contributor, worked, seed));
        }
    }

    fn note_final(&mut self, node: usize) {
        if !self.manners[node].is_honest() {
            return;
        }
        if let Some(finality) = self.nodes[node].chain.finality() {
            self.finals.insert((finality.finalised.number * CHECKPOINT_BLOCKS, finality.finalised.id));
        }
    }
}

/// A clock that is up to five seconds fast or slow.
fn skew(random: &mut Random) -> i64 {
    i64::try_from(random.below(11)).unwrap_or(5) - 5
}

/// Draws who cheats: as many as stay within the share, in an order by the seed.
fn draw_cheats(options: &Options, town: &Town, random: &mut Random) -> Vec<Manner> {
    let total: U256 = town.weights.iter().copied().sum();
    let most = total * U256::from(options.byzantine.0) / U256::from(1_000_000);
    let mut order: Vec<(u64, usize)> = (0..town.keys.len()).map(|n| (random.bits(), n)).collect();
    order.sort_unstable();
    let mut manners: Vec<Manner> = town.keys.iter().map(|_| Manner::honest()).collect();
    let mut weight = U256::ZERO;
    // Half of the time all cheat the same way.
    let together = random.chance(500_000).then(|| Manner::cheat(random));
    for (_, n) in order {
        if weight + town.weights[n] <= most {
            weight += town.weights[n];
            manners[n] = together.clone().unwrap_or_else(|| Manner::cheat(random));
        }
    }
    manners
}
