//! Catching up with the network: headers first, from the peer whose head has the most work; then bodies, from all who have them.
//!
//! ```text
//! peer's ids ─► common block ─► headers, checked ─► enough work? ─► bodies, many peers at once ─► Chain::import_all
//! ```
//!
//! Nothing of a branch is kept before its headers show more work than this node's head has, or reach a checkpoint that bets of footstones
//! justify. What was imported stays when a peer fails,
//! and the next one goes on from there, as a node does that was stopped in the middle.

mod bodies;
mod headers;

use super::{
    Node,
    heads::PeerHead,
    wire::{MAX_NUMBERS, Request, exact_list},
};
use crate::peers::Offence;
use alloy_primitives::B256;
use bmm_chain::{ImportError, SealedHeader};
use bmm_types::SealedBlock;
use libp2p::PeerId;
use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// How often the heads of peers are looked at when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause after a failure of this node.
const PAUSE: Duration = Duration::from_secs(1);
/// Pages of headers that wait for their bodies.
const HEADERS_AHEAD: usize = 2;
/// Groups of blocks that wait to be imported.
const BLOCKS_AHEAD: usize = 4;
/// Promised checkpoints that peers are asked for at once.
const MAX_PROMISES: usize = 4;
/// Blocks that are imported in one go; others get their turn in between.
const IMPORT_AT_ONCE: usize = 512;

/// How far a node is in catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// Number of the block at which it began.
    pub starting: u64,
    /// Number of the head.
    pub current: u64,
    /// Number of the head that it follows.
    pub highest: u64,
}

/// A header whose rules and work hold, and its block's id.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub id: B256,
    pub sealed: SealedHeader,
}

/// Why catching up with a peer ended early.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct Fault {
    /// What the peer did; `None` when it has been reported already, or is not to blame.
    pub offence: Option<Offence>,
    pub what: String,
}

impl Fault {
    pub(super) fn new(offence: impl Into<Option<Offence>>, what: impl Display) -> Self {
        Self { offence: offence.into(), what: format!("{what}") }
    }
}

/// Follows whoever is ahead, for as long as the node lives.
pub(super) async fn catch_up(node: Arc<Node>) {
    loop {
        let _ = tokio::time::timeout(LOOK_EVERY, node.behind.notified()).await;
        while let Some((peer, head)) = next_peer(&node).await {
            let begun = (Instant::now(), node.chain.head().number());
            *node.progress.lock() = Some(SyncProgress { starting: begun.1, current: begun.1, highest: head.number });
            let result = follow(&node, peer, &head).await;
            *node.progress.lock() = None;
            report(&node, peer, &head, begun, result).await;
        }
    }
}

/// Chooses whom to follow: who has a checkpoint that bets justify and this node has not, else who has more work.
async fn next_peer(node: &Arc<Node>) -> Option<(PeerId, PeerHead)> {
    for (number, id) in node.chain.missing_promises().into_iter().take(MAX_PROMISES) {
        for (peer, head) in node.heads.reaching(number) {
            let ids = node.ask(peer, &Request::Ids(vec![number]), |bytes| exact_list::<B256>(bytes, MAX_NUMBERS)).await;
            if ids.is_ok_and(|ids| ids.first() == Some(&id)) {
                return Some((peer, head));
            }
        }
    }
    let (peer, head) = node.heads.best_above(node.chain.head().work.get())?;
    if node.chain.header(head.id).is_ok_and(|header| header.is_some()) {
        // It is here already and not the head, because bets speak against its branch.
        node.heads.distrust(peer);
        return None;
    }
    Some((peer, head))
}

async fn report(node: &Node, peer: PeerId, head: &PeerHead, (begun, from): (Instant, u64), result: Result<(), Fault>) {
    let now = node.chain.head();
    let taken = now.number().saturating_sub(from);
    if taken > 1 {
        let (secs, number) = (begun.elapsed().as_secs_f64(), now.number());
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let rate = taken as f64 / secs.max(0.001);
        tracing::info!(%peer, number, taken, "caught up {rate:.0} blocks/s");
    }
    match result {
        Ok(()) if now.work.get() >= head.work || node.chain.header(head.id).is_ok_and(|header| header.is_some()) => {
            node.network.praise(peer);
        }
        // A lighter branch that nothing speaks for any more.
        Ok(()) if head.work <= now.work.get() => node.heads.distrust(peer),
        Ok(()) => {
            // All that it gave holds, but it is less than it said.
            tracing::info!(%peer, said = head.number, "the head of a peer did not come");
            node.network.report(peer, Offence::Lie);
            node.heads.distrust(peer);
        }
        Err(fault) => {
            tracing::info!(%peer, what = fault.what, "catching up with a peer ended");
            if let Some(offence) = fault.offence {
                node.network.report(peer, offence);
            }
            node.heads.distrust(peer);
            if taken == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes what a peer has and this node has not.
async fn follow(node: &Arc<Node>, peer: PeerId, head: &PeerHead) -> Result<(), Fault> {
    let common = headers::common_block(node, peer, head.number).await?;
    tracing::debug!(%peer, common, head = head.number, "catching up");
    let (to_bodies, headers) = mpsc::channel(HEADERS_AHEAD);
    let (to_import, blocks) = mpsc::channel(BLOCKS_AHEAD);
    let mut tasks: JoinSet<Result<(), Fault>> = JoinSet::new();
    tasks.spawn(headers::take(node.clone(), peer, common, head.number, to_bodies));
    tasks.spawn(bodies::take(node.clone(), peer, headers, to_import));
    tasks.spawn(import(node.clone(), blocks));
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(Fault::new(None, error)));
        // The first fault is the cause; the other tasks end because of it, with what they have under way.
        if result.is_ok() {
            result = ended;
        }
    }
    result
}

/// Imports what comes, as many at once as there are.
async fn import(node: Arc<Node>, mut blocks: mpsc::Receiver<Vec<SealedBlock>>) -> Result<(), Fault> {
    while let Some(mut some) = blocks.recv().await {
        while some.len() < IMPORT_AT_ONCE {
            let Ok(more) = blocks.try_recv() else { break };
            some.extend(more);
        }
        let also = node.clone();
        let imported = tokio::task::spawn_blocking(move || {
            let ids: Vec<_> = some.iter().map(SealedBlock::id).collect();
            {
                let mut seen = also.seen.lock();
                for id in ids {
                    seen.insert(id);
                }
            }
            also.chain.import_all(some.into_iter(), |head| {
                if let Some(progress) = also.progress.lock().as_mut() {
                    progress.current = head.number();
                }
            })
        })
        .await
        .map_err(|error| Fault::new(None, error))?;
        match imported {
            Ok(_) => {}
            Err(refused) if refused.error.is_internal() => {
                tracing::error!(error = %refused, "this node cannot take blocks");
                tokio::time::sleep(PAUSE).await;
                return Err(Fault::new(None, refused));
            }
            // The chain went to another branch in between.
            Err(refused) if matches!(refused.error, ImportError::UnknownParent(_)) => {
                return Err(Fault::new(None, refused));
            }
            // The headers were good and the bodies theirs: the peer follows a branch that is not valid.
            Err(refused) => return Err(Fault::new(Offence::Invalid, refused)),
        }
    }
    Ok(())
}
