//! A node among others: it tells of blocks and transactions, takes those of others, and catches up.
//!
//! Nothing that a peer says is believed. A header's rules and its proof of work are checked before anything of its block is asked for
//! or handed on; a body must be the one that its header commits to; and every block goes through [`Chain::import`].

mod ask;
mod bets;
mod blocks;
mod heads;
mod serve;
mod state;
mod sync;
mod transactions;
pub mod wire;

pub use state::PeerSource;
pub use sync::SyncProgress;

use crate::{
    error::NetError,
    network::{Network, Verdict},
    peers::{Offence, PeerEvent},
};
use alloy_primitives::{B256, U256};
use bmm_chain::{Chain, ChainError};
use bmm_types::SealedBlock;
use heads::Heads;
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OnceCell, broadcast::error::RecvError},
    task::JoinSet,
};
use wire::Status;

/// How old a peer's word of its head may be.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// Blocks that are kept at hand for those who heard of them from here.
const MAX_RECENT: usize = 16;
/// Hashes of blocks and transactions that are remembered as having come from others.
const MAX_SEEN: usize = 65_536;

/// What a node may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// How long a peer may take for an answer.
    pub answer_within: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self { answer_within: Duration::from_secs(15) }
    }
}

/// Names of protocols and topics.
struct Protocols {
    status: String,
    sync: String,
    blocks: String,
    transactions: String,
    bets: String,
}

/// Where a peer stands, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStanding {
    /// Number of its head.
    pub number: u64,
    /// Id of its head.
    pub head: B256,
    /// Work of its head and all its ancestors.
    pub work: U256,
}

/// What the parts of a node share.
struct Node {
    network: Network,
    chain: Arc<Chain>,
    config: NodeConfig,
    protocols: Protocols,
    heads: Heads,
    recent: Arc<Recent>,
    /// Blocks and transactions that came from others: they have them.
    seen: Mutex<Seen>,
    lowest_body: OnceCell<u64>,
    behind: Notify,
    progress: Mutex<Option<SyncProgress>>,
    stopped: AtomicBool,
}

/// A chain that follows its network. Dropping it stops it; the network goes on.
pub struct ChainNode {
    node: Arc<Node>,
    tasks: JoinSet<()>,
}

impl ChainNode {
    /// Begins to follow and to serve the network's chain. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::Taken`] when a chain is followed already; [`NetError::Setup`] for another chain than the network's.
    pub async fn start(network: Network, chain: Arc<Chain>, config: NodeConfig) -> Result<Self, NetError> {
        if network.genesis() != chain.genesis() {
            return Err(NetError::Setup("the chain is not that of the network".into()));
        }
        let protocols = Protocols {
            status: network.protocol("status/1"),
            sync: network.protocol("sync/1"),
            blocks: network.protocol("blocks/1"),
            transactions: network.protocol("transactions/1"),
            bets: network.protocol("bets/1"),
        };
        let statuses = network.accept(&protocols.status, 4, 128)?;
        let questions = network.accept(&protocols.sync, 16, 256)?;
        let states = network.accept(&network.protocol(state::PROTOCOL), 4, 32)?;
        let (blocks, transactions) =
            (network.subscribe(&protocols.blocks).await?, network.subscribe(&protocols.transactions).await?);
        let bets = network.subscribe(&protocols.bets).await?;
        let node = Arc::new(Node {
            network,
            chain,
            config,
            protocols,
            heads: Heads::default(),
            recent: Arc::default(),
            seen: Mutex::default(),
            lowest_body: OnceCell::new(),
            behind: Notify::new(),
            progress: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::statuses(node.clone(), statuses));
        tasks.spawn(serve::questions(node.clone(), questions));
        tasks.spawn(state::serve(node.network.clone(), node.chain.clone(), states));
        tasks.spawn(blocks::hear(node.clone(), blocks));
        tasks.spawn(transactions::hear(node.clone(), transactions));
        tasks.spawn(bets::hear(node.clone(), bets));
        tasks.spawn(follow_peers(node.clone()));
        tasks.spawn(sync::catch_up(node.clone()));
        blocks::tell(&node, &mut tasks);
        transactions::tell(&node, &mut tasks);
        bets::tell(&node, &mut tasks);
        Ok(Self { node, tasks })
    }

    /// Returns how far the node is in catching up; `None` when it is not behind anybody.
    pub fn syncing(&self) -> Option<SyncProgress> {
        *self.node.progress.lock()
    }

    /// Returns where a peer stands, as it says.
    pub fn standing(&self, peer: PeerId) -> Option<PeerStanding> {
        let head = self.node.heads.get(peer)?;
        Some(PeerStanding { number: head.number, head: head.id, work: head.work })
    }
}

impl Drop for ChainNode {
    fn drop(&mut self) {
        self.node.stopped.store(true, Ordering::Relaxed);
        self.tasks.abort_all();
    }
}

impl Node {
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Returns where this node stands.
    async fn status(&self) -> Result<Status, ChainError> {
        let chain = self.chain.clone();
        let lowest_body = *self
            .lowest_body
            .get_or_try_init(|| async {
                let search = tokio::task::spawn_blocking(move || chain.lowest_body()).await;
                search.unwrap_or(Ok(u64::MAX))
            })
            .await?;
        let (head, params) = (self.chain.head(), self.chain.params());
        Ok(Status {
            chain_id: params.chain_id,
            genesis: self.chain.genesis(),
            number: head.number(),
            head: head.id,
            work: head.work.get(),
            lowest_body,
        })
    }

    /// Notes where a peer says it stands; leaves it if it follows another chain.
    async fn heard(&self, peer: PeerId, status: &Status) {
        if status.genesis != self.chain.genesis() || status.chain_id != self.chain.params().chain_id {
            tracing::info!(%peer, genesis = %status.genesis, "a peer follows another chain");
            let _ = self.network.other_chain(peer).await;
            return;
        }
        self.heads.told(peer, status);
        if status.work > self.chain.head().work.get() {
            self.behind.notify_one();
        }
    }

    /// Asks a peer where it stands.
    async fn ask_status(&self, peer: PeerId) {
        match self.exchange_status(peer).await {
            Ok(status) => self.heard(peer, &status).await,
            Err(error) => tracing::debug!(%peer, %error, "a peer does not say where it stands"),
        }
    }
}

/// Keeps the table of heads: asks who comes, forgets who goes, asks all from time to time.
async fn follow_peers(node: Arc<Node>) {
    let mut news = node.network.events();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let ask = |peer: PeerId| {
        let node = node.clone();
        tokio::spawn(async move {
            node.ask_status(peer).await;
        });
    };
    for info in node.network.peers() {
        ask(info.peer);
    }
    loop {
        tokio::select! {
            event = news.recv() => match event {
                Ok(PeerEvent::Joined(peer)) => {
                    let node = node.clone();
                    tokio::spawn(async move {
                        node.ask_status(peer).await;
                        bets::take_bets(&node, peer).await;
                        transactions::take_pool(&node, peer).await;
                    });
                }
                Ok(PeerEvent::Left(peer)) => node.heads.left(peer),
                Err(RecvError::Lagged(_)) => node.network.peers().iter().for_each(|info| ask(info.peer)),
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => {
                let connected: HashSet<PeerId> = node.network.peers().iter().map(|info| info.peer).collect();
                for peer in node.heads.older_than(STATUS_EVERY) {
                    if connected.contains(&peer) { ask(peer) } else { node.heads.left(peer) }
                }
                for peer in connected.iter().filter(|peer| node.heads.get(**peer).is_none()) {
                    ask(*peer);
                }
                // A set has no order: some peer's bets, and what time alone may have changed.
                let (some, node) = (connected.into_iter().next(), node.clone());
                tokio::spawn(async move {
                    if let Some(peer) = some {
                        bets::take_bets(&node, peer).await;
                    }
                    let _ = tokio::task::spawn_blocking(move || node.chain.reconsider()).await;
                });
            }
        }
    }
}

/// Judges a message; the network being shut down ends the task by itself.
async fn judge(node: &Node, gossip: &crate::network::Gossip, verdict: Verdict) {
    let _ = node.network.judge(gossip, verdict).await;
}

/// Refuses a message that cannot be understood, and reports who sent it.
async fn refuse_rubbish(node: &Node, gossip: &crate::network::Gossip, what: &str, error: &impl std::fmt::Display) {
    tracing::debug!(from = %gossip.from, %error, "{what} that cannot be understood");
    node.network.report(gossip.from, Offence::Rubbish);
    judge(node, gossip, Verdict::Reject).await;
}

/// Looks at a message beside others, once fewer than `most` are looked at.
async fn start_one_of(running: &mut JoinSet<()>, most: usize, look: impl Future<Output = ()> + Send + 'static) {
    while running.len() >= most {
        running.join_next().await;
    }
    while running.try_join_next().is_some() {}
    running.spawn(look);
}

/// The last blocks that were announced here, imported or not yet.
#[derive(Default)]
struct Recent(Mutex<VecDeque<(B256, Arc<SealedBlock>)>>);

impl Recent {
    fn add(&self, id: B256, block: Arc<SealedBlock>) {
        let mut blocks = self.0.lock();
        blocks.push_back((id, block));
        if blocks.len() > MAX_RECENT {
            blocks.pop_front();
        }
    }

    fn get(&self, id: B256) -> Option<Arc<SealedBlock>> {
        self.0.lock().iter().rev().find(|(other, _)| *other == id).map(|(_, block)| block.clone())
    }
}

/// A bounded memory of hashes: two generations, the older of which goes when the newer is full.
#[derive(Default)]
struct Seen {
    new: HashSet<B256>,
    old: HashSet<B256>,
}

impl Seen {
    /// Remembers a hash. Returns whether it is new.
    fn insert(&mut self, hash: B256) -> bool {
        if self.contains(&hash) {
            return false;
        }
        if self.new.len() >= MAX_SEEN / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(hash)
    }

    fn contains(&self, hash: &B256) -> bool {
        self.new.contains(hash) || self.old.contains(hash)
    }

    fn remove(&mut self, hash: &B256) {
        self.new.remove(hash);
        self.old.remove(hash);
    }
}
