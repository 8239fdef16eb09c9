//! Bodies from all peers that have them, several at once, in order.

use super::{Checked, Fault};
use crate::{
    node::{
        Node,
        wire::{self, ENOUGH_BYTES, Request},
    },
    peers::Offence,
};
use bmm_types::{Block, BlockBody, SealedBlock};
use futures::{StreamExt as _, stream};
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::mpsc;

/// Bodies that are asked for at once.
const AT_ONCE: usize = 64;
/// Questions for bodies that are under way at once.
const QUESTIONS: usize = 8;
/// Peers that are tried for the same bodies.
const MAX_TRIES: usize = 6;

/// Which peer has how many questions before it.
type Busy = Arc<Mutex<HashMap<PeerId, usize>>>;

/// Takes the bodies of headers, and hands whole blocks on in order. `lead` is whose headers they are: it must have the bodies.
pub(super) async fn take(
    node: Arc<Node>,
    lead: PeerId,
    headers: mpsc::Receiver<Vec<Checked>>,
    to: mpsc::Sender<Vec<SealedBlock>>,
) -> Result<(), Fault> {
    let busy: Busy = Arc::default();
    let pages = stream::unfold(headers, |mut headers| async { headers.recv().await.map(|page| (page, headers)) });
    let groups = pages.flat_map(|page| {
        let groups: Vec<Vec<Checked>> = page.chunks(AT_ONCE).map(<[Checked]>::to_vec).collect();
        stream::iter(groups)
    });
    let blocks = groups.map(|group| fetch(node.clone(), lead, busy.clone(), group)).buffered(QUESTIONS);
    let mut blocks = std::pin::pin!(blocks);
    while let Some(group) = blocks.next().await {
        if to.send(group?).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes the bodies of some headers, from whoever gives them.
async fn fetch(node: Arc<Node>, lead: PeerId, busy: Busy, group: Vec<Checked>) -> Result<Vec<SealedBlock>, Fault> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(Vec::new()) };
    let (first, last) = (first.sealed.header.number, last.sealed.header.number);
    let mut left: std::collections::VecDeque<Checked> = group.into();
    let mut blocks = Vec::with_capacity(left.len());
    let mut failed: HashSet<PeerId> = HashSet::new();
    while !left.is_empty() {
        let Some(peer) = choose(&node, lead, &busy, &failed, first, last) else { break };
        let came = ask(&node, peer, &mut left, &mut blocks).await;
        if let Some(count) = busy.lock().get_mut(&peer) {
            *count = count.saturating_sub(1);
        }
        if !came {
            failed.insert(peer);
            if failed.len() >= MAX_TRIES {
                break;
            }
        }
    }
    if left.is_empty() {
        return Ok(blocks);
    }
    // Others may never have had this branch, but who gave its headers should.
    let offence = failed.contains(&lead).then_some(Offence::Lie);
    Err(Fault::new(offence, format!("nobody gives the bodies of blocks {first} to {last}")))
}

/// Chooses the least busy of those who say they have the bodies and have not failed; of equals not the lead, which has headers to give.
fn choose(node: &Node, lead: PeerId, busy: &Busy, failed: &HashSet<PeerId>, first: u64, last: u64) -> Option<PeerId> {
    let mut having = node.heads.having(first, last);
    if !having.contains(&lead) {
        having.push(lead);
    }
    let mut busy = busy.lock();
    let free = having.into_iter().filter(|peer| !failed.contains(peer));
    let chosen = free.min_by_key(|peer| (busy.get(peer).copied().unwrap_or(0), *peer == lead))?;
    *busy.entry(chosen).or_default() += 1;
    Some(chosen)
}

/// Asks a peer for what is left, and takes what it gives. Returns whether that is a good part of it.
async fn ask(
    node: &Arc<Node>,
    peer: PeerId,
    left: &mut std::collections::VecDeque<Checked>,
    blocks: &mut Vec<SealedBlock>,
) -> bool {
    let request = Request::Bodies(left.iter().map(|checked| checked.id).collect());
    let bodies = match node.ask(peer, &request, wire::bodies).await {
        Ok(bodies) => bodies,
        Err(error) => {
            tracing::debug!(%peer, %error, "a peer gives no bodies");
            return false;
        }
    };
    if bodies.is_empty() || bodies.len() > left.len() {
        return false;
    }
    let headers: Vec<Checked> = left.iter().take(bodies.len()).cloned().collect();
    let also = node.clone();
    let bytes: usize = bodies.iter().map(alloy_rlp::Encodable::length).sum();
    // Long ones come in parts; who gives short ones one by one only takes time.
    let generous = bodies.len() >= left.len().div_ceil(4) || bytes >= ENOUGH_BYTES / 8;
    let joined = tokio::task::spawn_blocking(move || join(&also, headers, bodies)).await;
    match joined {
        Ok(Ok(mut whole)) => {
            left.drain(..whole.len());
            blocks.append(&mut whole);
            generous
        }
        Ok(Err(what)) => {
            tracing::info!(%peer, what, "a body is not that of its header");
            node.network.report(peer, Offence::Lie);
            false
        }
        Err(error) => {
            tracing::error!(%error, "checking bodies failed");
            false
        }
    }
}

/// Joins headers and bodies, each of which must be the one that its header commits to.
fn join(node: &Node, headers: Vec<Checked>, bodies: Vec<BlockBody>) -> Result<Vec<SealedBlock>, String> {
    let pairs = headers.into_iter().zip(bodies);
    let joined = pairs.map(|(Checked { sealed, .. }, body)| {
        let block = Block { header: sealed.header, body };
        node.chain.check_body(&block).map_err(|error| format!("block {}: {error}", block.header.number))?;
        Ok(SealedBlock { block, seal: sealed.seal })
    });
    joined.collect()
}
