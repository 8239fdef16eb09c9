//! Hands in blocks, and watches them until they are final.

use super::{
    Intend,
    aux_chain::{AuxChain, Verdict},
    confirm::{Dialect, Tip},
    desk::Desk,
    maker::{AuxPart, ParentWork, Parts},
    parent::Parent,
    rpc::NodeError,
};
use crate::{
    block::{BlockEvent, BlockKey},
    job::Solution,
};
use alloy_primitives::{B256, hex};
use bmm_pow::auxpow::merkle::{reversed, sha256d};
use bmm_types::AuxPow;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often it is looked what became of blocks.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait between two looks at whether to stop.
const STEP: Duration = Duration::from_millis(250);
/// How often a block is handed in to nodes that do not answer.
const ATTEMPTS: u32 = 8;
/// Pause after the first failure; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// Blocks that were taken lately: the same one is not handed in again.
const MAX_TAKEN: usize = 256;
/// Blocks that are watched at most.
const MAX_PENDING: usize = 100_000;

/// A block that a chain took and that is not final yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBlock {
    /// The block.
    pub key: BlockKey,
    /// Its height.
    pub height: u64,
}

/// A solution with what its job was made of.
#[derive(Clone)]
pub struct Found {
    /// The solution.
    pub solution: Arc<Solution>,
    /// What its job was made of.
    pub parts: Arc<Parts>,
}

impl Found {
    /// Puts the proof together of what lies at that place of the tree.
    fn proof(&self, slot: u32, branch: &[B256]) -> AuxPow {
        let solution = &self.solution;
        AuxPow {
            coinbase: solution.coinbase.clone().into(),
            coinbase_branch: solution.job.branch.clone(),
            chain_branch: branch.to_vec(),
            chain_index: slot,
            parent_header: solution.header.into(),
        }
    }
}

/// Hands in the smallest hashes of an epoch's work until the queue is closed, or `stop` is set and nothing waits. One that a node
/// does not take is gone: it is worth little, and others follow.
pub fn hand_in_efforts(chains: &[Arc<AuxChain>], queue: &Receiver<Found>, stop: &AtomicBool) {
    let mut told = None;
    loop {
        let found = match queue.recv_timeout(STEP) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => continue,
            Err(_) => return,
        };
        let Some(part) = &found.parts.effort else { continue };
        let Some(chain) = chains.iter().find(|chain| chain.config.name == part.name) else { continue };
        match chain.submit_effort(part.node, part.work.leaf, &found.proof(part.slot, &part.branch)) {
            Ok(kept) => {
                tracing::debug!(chain = %part.name, kept, "a hash of the epoch's work was handed in");
                told = None;
            }
            Err(error) => {
                // The same words once, however long it lasts.
                if told.replace(error.to_string()) != Some(error.to_string()) {
                    tracing::warn!(chain = %part.name, %error, "a hash of the epoch's work was not taken");
                }
            }
        }
    }
}

/// A chain that takes blocks.
#[derive(Clone)]
pub enum Chain {
    /// A parent.
    Parent(Arc<Parent>),
    /// A merge-mined one.
    Aux(Arc<AuxChain>),
}

impl Chain {
    /// Returns its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Parent(parent) => &parent.config.name,
            Self::Aux(chain) => &chain.config.name,
        }
    }

    fn maturity(&self) -> u64 {
        match self {
            Self::Parent(parent) => parent.config.maturity,
            Self::Aux(chain) => chain.config.maturity,
        }
    }

    fn tip(&self) -> Tip<'_> {
        match self {
            Self::Parent(parent) => parent.tip(),
            Self::Aux(chain) => chain.tip(),
        }
    }
}

/// A block as it is handed in.
enum Block<'a> {
    Parent(&'a Parent, &'a ParentWork),
    Aux(&'a AuxChain, &'a AuxPart),
}

impl Block<'_> {
    /// Its id as the chain writes it.
    fn id(&self, solution: &Solution) -> String {
        match self {
            Self::Parent(..) => hex::encode(reversed(sha256d(&solution.header))),
            Self::Aux(chain, part) => written(chain.dialect(), part.work.id),
        }
    }

    fn height(&self) -> u64 {
        match self {
            Self::Parent(_, work) => work.template.height,
            Self::Aux(_, part) => part.work.height,
        }
    }

    /// What it brings, in base units.
    fn reward(&self) -> u128 {
        match self {
            Self::Parent(_, work) => work.template.value.into(),
            Self::Aux(_, part) => part.work.reward,
        }
    }

    fn submit(&self, found: &Found) -> Result<Verdict, NodeError> {
        match self {
            Self::Parent(parent, work) => {
                parent.submit(&work.template.block(&found.solution.header, &found.solution.coinbase))
            }
            Self::Aux(chain, part) => chain.submit(&part.work, &found.proof(part.slot, &part.branch)),
        }
    }
}

/// An id of a merge-mined block as its chain writes it.
fn written(dialect: Dialect, id: B256) -> String {
    match dialect {
        Dialect::Bmm => id.to_string(),
        Dialect::Bitcoin => hex::encode(id),
    }
}

/// Hands in the blocks of one chain.
pub struct Submitter {
    chain: Chain,
    desk: Arc<Desk>,
    events: mpsc::Sender<BlockEvent>,
    intend: Intend,
    pending: Vec<PendingBlock>,
    taken: VecDeque<String>,
    /// What the parent's block that was taken last is built on.
    built_on: Option<B256>,
}

impl Submitter {
    /// `pending` are blocks of before a restart.
    pub fn new(
        chain: Chain,
        desk: Arc<Desk>,
        (events, intend): (mpsc::Sender<BlockEvent>, Intend),
        pending: Vec<PendingBlock>,
    ) -> Self {
        Self { chain, desk, events, intend, pending, taken: VecDeque::new(), built_on: None }
    }

    /// Works until the queue is closed, or `stop` is set and nothing waits.
    pub fn run(mut self, queue: &Receiver<Found>, stop: &AtomicBool) {
        let mut checked: Option<Instant> = None;
        loop {
            match queue.recv_timeout(STEP) {
                Ok(found) => self.hand_in(&found),
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if checked.is_none_or(|at| at.elapsed() >= CHECK_EVERY) {
                if let Err(error) = self.check() {
                    tracing::debug!(chain = %self.chain.name(), %error, "blocks could not be looked up");
                }
                checked = Some(Instant::now());
            }
        }
    }

    fn tell(&self, event: BlockEvent) {
        // Who listens is gone only when the pool ends.
        let _ = self.events.blocking_send(event);
    }

    fn hand_in(&mut self, found: &Found) {
        let Found { solution, parts } = found;
        let chain = self.chain.clone();
        let block = match &chain {
            Chain::Parent(parent) => parts.parent.as_ref().map(|work| Block::Parent(parent, work)),
            Chain::Aux(aux) => {
                parts.aux.iter().find(|part| part.name == aux.config.name).map(|part| Block::Aux(aux, part))
            }
        };
        let Some(block) = block else { return };
        let id = block.id(solution);
        // Several shares may be blocks of a chain with one id.
        if self.taken.contains(&id) {
            return;
        }
        // Where blocks are easy, one job brings many before the next one is there; a second on the same block is worth nothing.
        let parent = matches!(block, Block::Parent(..)).then_some(solution.job.previous);
        if parent.is_some() && parent == self.built_on {
            return;
        }
        (self.intend)(&self.found(&block, &id, solution.share));
        match self.try_to_submit(&block, found) {
            Ok((Verdict::Accepted, _) | (Verdict::Duplicate, true)) => {
                self.built_on = parent.or(self.built_on);
                self.took(&block, id, solution.share);
            }
            Ok((Verdict::Duplicate, false)) => {}
            Ok((Verdict::Stale(reason), _)) => {
                tracing::info!(chain = %self.chain.name(), %id, %reason, "a block came too late");
                self.desk.note(self.chain.name(), |status| {
                    status.stale = status.stale.saturating_add(1);
                    status.last_refusal = Some(reason);
                });
            }
            Ok((Verdict::Refused(reason), _)) => self.refused(&id, reason),
            Err(error) => self.refused(&id, error.to_string()),
        }
    }

    fn refused(&self, id: &str, reason: String) {
        tracing::error!(chain = %self.chain.name(), %id, %reason, "a block was refused");
        self.desk.note(self.chain.name(), |status| {
            status.refused = status.refused.saturating_add(1);
            status.last_refusal = Some(reason);
        });
    }

    /// Hands a block in until a node answers. Says whether it may have come in at an earlier attempt, whose answer was lost.
    fn try_to_submit(&self, block: &Block<'_>, found: &Found) -> Result<(Verdict, bool), NodeError> {
        let mut pause = PAUSE;
        for attempt in 1..ATTEMPTS {
            match block.submit(found) {
                Ok(verdict) => return Ok((verdict, attempt > 1)),
                Err(error) => tracing::warn!(chain = %self.chain.name(), %error, attempt, "a block was not taken yet"),
            }
            thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
        block.submit(found).map(|verdict| (verdict, true))
    }

    fn found(&self, block: &Block<'_>, id: &str, share: u64) -> BlockEvent {
        let key = BlockKey { chain: Arc::clone(self.chain.name()), id: id.to_owned() };
        BlockEvent::Found { key, height: block.height(), reward: block.reward(), share }
    }

    fn took(&mut self, block: &Block<'_>, id: String, share: u64) {
        let (height, reward) = (block.height(), block.reward());
        tracing::info!(chain = %self.chain.name(), %id, height, reward, share, "a block was taken");
        if self.taken.len() >= MAX_TAKEN {
            self.taken.pop_front();
        }
        let event = self.found(block, &id, share);
        self.taken.push_back(id.clone());
        self.desk.note(self.chain.name(), |status| status.taken = status.taken.saturating_add(1));
        let key = BlockKey { chain: Arc::clone(self.chain.name()), id };
        if self.pending.len() < MAX_PENDING {
            self.pending.push(PendingBlock { key, height });
        } else {
            tracing::error!(block = %key.id, "too many blocks are watched; this one is looked up after a restart");
        }
        self.tell(event);
    }

    /// Looks what became of the blocks that are deep enough.
    fn check(&mut self) -> Result<(), NodeError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chain = self.chain.clone();
        let tip = chain.tip();
        let height = tip.height()?;
        let depth = chain.maturity();
        let mut rest = Vec::new();
        for block in std::mem::take(&mut self.pending) {
            if height.saturating_sub(block.height) < depth {
                rest.push(block);
                continue;
            }
            match tip.id_at(block.height) {
                Ok(Some(id)) if id == block.key.id => self.tell(BlockEvent::Mature(block.key)),
                Ok(Some(_)) => self.tell(BlockEvent::Orphaned(block.key)),
                // Between two answers the chain has changed, or the node does not answer: later.
                Ok(None) | Err(_) => rest.push(block),
            }
        }
        self.pending = rest;
        Ok(())
    }
}
