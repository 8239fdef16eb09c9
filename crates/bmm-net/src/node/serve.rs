//! Answering questions about the chain.

use super::{
    Node, Recent,
    wire::{
        ENOUGH_BYTES, MAX_BETS_ANSWER, MAX_HEADERS, MAX_POOL, MAX_REQUEST_BYTES, MAX_STATUS_BYTES, Request, Status,
        exact,
    },
};
use crate::{
    bucket::{Buckets, Rate},
    frame::{FrameError, read_frame, write_frame},
    network::Network,
    peers::Offence,
    streams::{Incoming, Stream},
};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Encodable;
use bmm_chain::{Chain, ChainError};
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// How long a question may take to come, and an answer to go.
const WITHIN: Duration = Duration::from_secs(30);
/// Questions that are answered at once.
const AT_ONCE: usize = 4;
/// Headers, or what costs as much, that one peer may read a second; four times as many at once.
const READ_PER_SEC: u32 = 4_096;

/// How long, and how often, a question of a peer waits that has asked a lot.
const WAIT: Duration = Duration::from_millis(100);
const MAX_WAITS: u32 = 40;

/// What each peer may still ask.
#[derive(Clone)]
pub(super) struct Budget(Arc<Mutex<Buckets>>);

impl Budget {
    pub fn per_sec(tokens: u32) -> Self {
        Self(Arc::new(Mutex::new(Buckets::new(Rate::per_sec(tokens)))))
    }

    /// Waits until the peer may ask. Who asks a lot is answered slowly: a node that catches up asks for all it can get.
    pub async fn wait(&self, peer: PeerId, cost: f64) {
        for _ in 0..MAX_WAITS {
            let free = self.0.lock().take(peer, cost, Instant::now());
            if free {
                return;
            }
            tokio::time::sleep(WAIT).await;
        }
    }
}

/// Answers those who ask where this node stands.
pub(super) async fn statuses(node: Arc<Node>, mut incoming: Incoming) {
    while let Some((peer, mut stream)) = incoming.next().await {
        let node = node.clone();
        tokio::spawn(async move {
            let Ok(bytes) = read_frame(&mut stream, MAX_STATUS_BYTES, WITHIN).await else { return };
            let Ok(theirs) = exact::<Status>(&bytes) else { return node.network.report(peer, Offence::Rubbish) };
            if let Ok(ours) = node.status().await {
                // Who is gone needs no answer.
                let _ = write_frame(&mut stream, &alloy_rlp::encode(&ours), WITHIN).await;
            }
            node.heard(peer, &theirs).await;
        });
    }
}

/// Answers questions until the network is shut down.
pub(super) async fn questions(node: Arc<Node>, mut incoming: Incoming) {
    let budget = Budget::per_sec(READ_PER_SEC);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((peer, stream)) = incoming.next().await {
        let (node, budget, turns) = (node.clone(), budget.clone(), turns.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(&node, &budget, &turns, peer, stream).await {
                tracing::debug!(%peer, %error, "a question is not answered");
            }
        });
    }
}

async fn answer(
    node: &Node,
    budget: &Budget,
    turns: &Semaphore,
    peer: PeerId,
    mut stream: Stream,
) -> Result<(), FrameError> {
    let network: &Network = &node.network;
    let bytes = match read_frame(&mut stream, MAX_REQUEST_BYTES, WITHIN).await {
        Err(error @ FrameError::TooLong { .. }) => {
            network.report(peer, Offence::Rubbish);
            return Err(error);
        }
        other => other?,
    };
    let Ok(request) = Request::decode(&bytes) else {
        network.report(peer, Offence::Rubbish);
        return Ok(());
    };
    #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
    let cost = request.cost() as f64;
    budget.wait(peer, cost).await;
    let Ok(_turn) = turns.acquire().await else { return Ok(()) };
    let (chain, recent) = (node.chain.clone(), node.recent.clone());
    let read = tokio::task::spawn_blocking(move || read(&chain, &recent, &request)).await;
    match read {
        Ok(Ok(answer)) => write_frame(&mut stream, &answer, WITHIN).await,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the chain cannot be read for a peer");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "reading the chain for a peer failed");
            Ok(())
        }
    }
}

/// Reads an answer.
pub(super) fn read(chain: &Chain, recent: &Recent, request: &Request) -> Result<Vec<u8>, ChainError> {
    match request {
        Request::Ids(numbers) => {
            let ids = numbers.iter().map(|number| chain.canonical(*number).transpose()).map_while(|found| found);
            Ok(alloy_rlp::encode(ids.collect::<Result<Vec<B256>, _>>()?))
        }
        Request::Headers { first, count } => {
            let last = first.saturating_add((*count).min(MAX_HEADERS as u64));
            page(*first..last, |number| chain.sealed_header(number))
        }
        Request::Bodies(ids) => page(ids.iter(), |id| chain.body(*id)),
        Request::Transactions { block, hashes } => transactions(chain, recent, *block, hashes),
        Request::Pool => {
            let content = chain.pool_content();
            let hashes: Vec<B256> = content.pending.iter().take(MAX_POOL).map(|tx| tx.hash).collect();
            Ok(alloy_rlp::encode(hashes))
        }
        Request::Bets(from) => Ok(alloy_rlp::encode(chain.bets_from(*from, MAX_BETS_ANSWER))),
    }
}

/// Reads one after another until there is nothing more or enough of it.
fn page<K, T: Encodable>(
    keys: impl Iterator<Item = K>,
    mut read: impl FnMut(K) -> Result<Option<T>, ChainError>,
) -> Result<Vec<u8>, ChainError> {
    let mut payload = Vec::new();
    for key in keys {
        let Some(found) = read(key)? else { break };
        if !payload.is_empty() && payload.len() + found.length() > ENOUGH_BYTES {
            break;
        }
        found.encode(&mut payload);
    }
    let mut answer = Vec::with_capacity(payload.len() + 9);
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut answer);
    answer.append(&mut payload);
    Ok(answer)
}

fn transactions(chain: &Chain, recent: &Recent, block: B256, hashes: &[B256]) -> Result<Vec<u8>, ChainError> {
    let body = match recent.get(block) {
        Some(known) => Some(known.block.body.clone()),
        None if block == B256::ZERO => None,
        None => chain.body(block)?,
    };
    let of_block: HashMap<B256, Bytes> = body
        .map(|body| body.transactions.iter().map(|tx| (*tx.tx_hash(), tx.encoded_2718().into())).collect())
        .unwrap_or_default();
    page(
        hashes.iter().filter_map(|hash| {
            let of_pool = || chain.pending_transaction(*hash).map(|tx| tx.transaction.encoded_2718().into());
            of_block.get(hash).cloned().or_else(of_pool)
        }),
        |bytes: Bytes| Ok(Some(bytes)),
    )
}
