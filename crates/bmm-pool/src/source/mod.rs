//! Where work comes from, and where blocks go.
//!
//! A job is a header that is work for several chains at once: for a parent such as Litecoin, whose template it fills, and for merge-mined
//! chains, BMM among them, to whose blocks the parent's coinbase commits. Without a parent the header is one of a block that never will be
//! (a synthetic parent), and carries work for the merge-mined chains alone.
//!
//! Each chain has a thread that follows its newest block, and one that hands in what miners find and watches it until it is final. Nodes
//! are asked by blocking calls, so that none of this runs on the server's threads.

mod aux_chain;
mod coinbase;
mod confirm;
mod desk;
mod follow;
mod maker;
mod parent;
mod rpc;
mod settle;
mod template;
mod tree;

pub use aux_chain::AuxConfig;
pub use coinbase::MAX_TAG_BYTES;
pub use desk::ChainStatus;
pub use parent::{ParentConfig, ParentError};
pub use rpc::{Login, NodeError, NodeUrl};
pub use settle::PendingBlock;
pub use tree::MAX_CHAINS;

use crate::{
    block::BlockEvent,
    job::{Job, Solution},
    log::MAX_CHAIN_NAME_BYTES,
};
use aux_chain::AuxChain;
use desk::Desk;
use parent::Parent;
use settle::{Chain, Submitter};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Name of the chain whose node is asked in Ethereum's way.
pub const BMM: &str = "bmm";

/// Blocks of one chain that wait for being handed in.
const MAX_WAITING: usize = 1_024;

/// Is told of a block ([`BlockEvent::Found`]) before it is handed in, so that a pool which ends in between can look for it when it starts
/// again. It should take no longer than a write to the disk.
pub type Intend = Arc<dyn Fn(&BlockEvent) + Send + Sync>;

/// What a pool works on.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Parents, the preferred first. The first one that answers is worked on; without one the parent is synthetic.
    pub parents: Vec<ParentConfig>,
    /// Merge-mined chains.
    pub aux: Vec<AuxConfig>,
    /// The pool's name in coinbases, at most 32 bytes.
    pub tag: String,
    /// How old templates may be until new transactions get in.
    pub refresh: Duration,
    /// Blocks of before a restart that are not final yet.
    pub pending: Vec<PendingBlock>,
}

/// Why there is no work.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is configured.
    #[error("no chain to work for is configured; name a node of BMM, or of a parent")]
    NoChain,
    /// A chain's name cannot be kept.
    #[error("the name of a chain, {0:?}, must have 1 to {MAX_CHAIN_NAME_BYTES} bytes, and be that of one chain")]
    Name(Arc<str>),
    /// Too many merge-mined chains.
    #[error("{0} merge-mined chains are configured; at most {MAX_CHAINS} fit")]
    TooMany(usize),
    /// The tag is too long.
    #[error("the tag has {0} bytes; at most {MAX_TAG_BYTES} fit into a coinbase")]
    Tag(usize),
    /// The address that a parent should pay.
    #[error(transparent)]
    Parent(ParentError),
    /// No node has given work.
    #[error("no chain gives work: {}", .0.join("; "))]
    Nothing(Vec<String>),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// The running sources of work. Dropping them ends them; blocks that wait are handed in by [`Self::finish`].
pub struct Sources {
    desk: Arc<Desk>,
    stop: Arc<AtomicBool>,
    settling: Vec<JoinHandle<()>>,
}

impl Sources {
    /// Asks every chain for work, begins to follow them, and to hand in what comes by `solutions`. What becomes of blocks goes to `events`.
    ///
    /// Blocks the calling thread until every chain was asked once.
    pub fn start(
        config: SourceConfig,
        solutions: mpsc::Receiver<Solution>,
        events: &mpsc::Sender<BlockEvent>,
    ) -> Result<Self, SourceError> {
        let nobody: Intend = Arc::new(|_: &BlockEvent| {});
        Self::start_with(config, solutions, events, &nobody)
    }

    /// As [`Sources::start`]; `intend` is told of each block before it is handed in.
    pub fn start_with(
        config: SourceConfig,
        solutions: mpsc::Receiver<Solution>,
        events: &mpsc::Sender<BlockEvent>,
        intend: &Intend,
    ) -> Result<Self, SourceError> {
        check(&config)?;
        let parents: Vec<Arc<Parent>> =
            config.parents.into_iter().map(|parent| Arc::new(Parent::new(parent))).collect();
        let aux: Vec<Arc<AuxChain>> = config.aux.into_iter().map(|chain| Arc::new(AuxChain::new(chain))).collect();
        let desk = follow::first_job(&parents, &aux, &config.tag)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut sources = Self { desk, stop, settling: Vec::new() };
        for (index, parent) in parents.iter().enumerate() {
            sources.follow(follow::ParentFollower::new(index, parent, config.refresh))?;
            sources.follow(follow::ParentWaiter::new(index, parent))?;
        }
        for (index, chain) in aux.iter().enumerate() {
            sources.follow(follow::AuxFollower::new(index, chain, config.refresh))?;
        }
        let (efforts, queue) = sync_channel(MAX_WAITING);
        let (collectors, stop) = (aux.clone(), Arc::clone(&sources.stop));
        sources.settling.push(spawn("pool-effort", move || settle::hand_in_efforts(&collectors, &queue, &stop))?);
        let chains = parents.into_iter().map(Chain::Parent).chain(aux.into_iter().map(Chain::Aux));
        let mut queues = HashMap::new();
        for chain in chains {
            let pending = config.pending.iter().filter(|block| block.key.chain == *chain.name()).cloned().collect();
            let (sender, queue) = sync_channel(MAX_WAITING);
            queues.insert(Arc::clone(chain.name()), sender);
            let submitter =
                Submitter::new(chain, Arc::clone(&sources.desk), (events.clone(), Arc::clone(intend)), pending);
            let stop = Arc::clone(&sources.stop);
            sources.settling.push(spawn("pool-submit", move || submitter.run(&queue, &stop))?);
        }
        let desk = Arc::clone(&sources.desk);
        sources.settling.push(spawn("pool-solved", move || hand_out(solutions, &desk, &queues, &efforts))?);
        Ok(sources)
    }

    fn follow(&self, follower: impl follow::Follow + 'static) -> Result<(), SourceError> {
        let (desk, stop) = (Arc::clone(&self.desk), Arc::clone(&self.stop));
        // They wait in calls for as long as half an hour, and hold nothing that must be closed: they end with the process.
        spawn("pool-source", move || follow::run(&follower, &desk, &stop)).map(|_| ())
    }

    /// Returns the jobs, as they come.
    pub fn jobs(&self) -> watch::Receiver<Arc<Job>> {
        self.desk.jobs()
    }

    /// Returns how each chain stands, parents first.
    pub fn status(&self) -> Vec<ChainStatus> {
        self.desk.status()
    }

    /// Waits until everything that was found is handed in, or for so long. Close the queue of solutions first, by dropping the server.
    pub fn finish(mut self, patience: Duration) {
        let begun = Instant::now();
        let settling = std::mem::take(&mut self.settling);
        while settling.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SourceError> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(SourceError::Thread)
}

fn check(config: &SourceConfig) -> Result<(), SourceError> {
    let names: Vec<&Arc<str>> =
        config.parents.iter().map(|parent| &parent.name).chain(config.aux.iter().map(|chain| &chain.name)).collect();
    if names.is_empty() {
        return Err(SourceError::NoChain);
    }
    if config.aux.len() > MAX_CHAINS {
        return Err(SourceError::TooMany(config.aux.len()));
    }
    if config.tag.len() > MAX_TAG_BYTES {
        return Err(SourceError::Tag(config.tag.len()));
    }
    for (index, name) in names.iter().enumerate() {
        let is_twice = names.iter().skip(index.saturating_add(1)).any(|other| other == name);
        if is_twice || !(1..=MAX_CHAIN_NAME_BYTES).contains(&name.len()) {
            return Err(SourceError::Name(Arc::clone(name)));
        }
    }
    Ok(())
}

/// Gives each solution to the chains that it is a block of, and those for an epoch's work to who hands them in.
fn hand_out(
    mut solutions: mpsc::Receiver<Solution>,
    desk: &Desk,
    queues: &HashMap<Arc<str>, SyncSender<settle::Found>>,
    efforts: &SyncSender<settle::Found>,
) {
    while let Some(solution) = solutions.blocking_recv() {
        let Some(parts) = desk.parts(solution.job.number) else {
            if solution.worth.block {
                tracing::warn!(job = solution.job.number, "a block was found for a job that is too old");
            }
            continue;
        };
        let solution = Arc::new(solution);
        for chain in solution.solved() {
            let found = settle::Found { solution: Arc::clone(&solution), parts: Arc::clone(&parts) };
            // A full queue waits: blocks are rare, and none may be lost.
            if let Some(queue) = queues.get(&chain.name) {
                let _ = queue.send(found);
            }
        }
        if solution.worth.effort {
            // Blocks do not wait for these.
            let _ = efforts.try_send(settle::Found { solution, parts });
        }
    }
}
