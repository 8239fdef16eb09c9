//! Gossip of transactions.

use super::{
    Node, judge, refuse_rubbish, start_one_of,
    wire::{self, MAX_POOL, MAX_TRANSACTIONS, Request, exact_list},
};
use crate::{
    bucket::{Buckets, Rate},
    network::{Gossip, Verdict},
    peers::Offence,
};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes, keccak256};
use bmm_chain::{PoolError, PoolTransaction};
use libp2p::PeerId;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// New transactions that wait to be told of; the chain closes a queue that is full, and it is opened anew.
const MAX_NEW: usize = 16_384;
/// How long transactions are gathered before they are told of.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of transactions in one message.
const MAX_BATCH_BYTES: usize = 256 << 10;
/// Bytes of transactions that one peer may hand on a second, four times as many at once: some 4,000 transfers.
const BYTES_PER_SEC: u32 = 512 << 10;
/// Messages that are looked at at once.
const AT_ONCE: usize = 4;
/// How often a blocked thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Tells the network of transactions that came to this node itself.
pub(super) fn tell(node: &Arc<Node>, tasks: &mut JoinSet<()>) {
    let (sender, mut receiver) = mpsc::channel(MAX_NEW);
    let (events, also) = (node.chain.subscribe_pending(MAX_NEW), node.clone());
    tasks.spawn_blocking(move || forward(&also, events, &sender));
    let node = node.clone();
    tasks.spawn(async move {
        let mut hashes = Vec::new();
        while receiver.recv_many(&mut hashes, MAX_TRANSACTIONS).await > 0 {
            tokio::time::sleep(GATHER).await;
            while hashes.len() < MAX_TRANSACTIONS {
                let Ok(hash) = receiver.try_recv() else { break };
                hashes.push(hash);
            }
            publish(&node, std::mem::take(&mut hashes)).await;
        }
    });
}

/// Passes on what is new and did not come from the network. Ends with the node.
fn forward(node: &Node, mut events: Receiver<B256>, to: &mpsc::Sender<B256>) {
    while !node.stopped() && !to.is_closed() {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(hash) => {
                if node.seen.lock().insert(hash) && to.blocking_send(hash).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => events = node.chain.subscribe_pending(MAX_NEW),
        }
    }
}

async fn publish(node: &Node, hashes: Vec<B256>) {
    let waiting = hashes.iter().filter_map(|hash| node.chain.pending_transaction(*hash));
    let mut batch: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    let mut batches = Vec::new();
    for transaction in waiting {
        if bytes + transaction.bytes > MAX_BATCH_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += transaction.bytes;
        batch.push(encoded(&transaction));
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    for batch in batches {
        let sent = node.network.publish(&node.protocols.transactions, alloy_rlp::encode(&batch)).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "transactions are not told of; who connects will ask");
        }
    }
}

fn encoded(transaction: &PoolTransaction) -> Bytes {
    transaction.transaction.encoded_2718().into()
}

/// Takes transactions of others.
pub(super) async fn hear(node: Arc<Node>, mut gossip: mpsc::Receiver<Gossip>) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut budget = Buckets::new(Rate::per_sec(BYTES_PER_SEC));
    while let Some(gossip) = gossip.recv().await {
        // To find out that a transaction is worth nothing costs as much as for a good one.
        let bytes = u32::try_from(gossip.data.len()).unwrap_or(u32::MAX);
        if !budget.take(gossip.from, f64::from(bytes), Instant::now()) {
            judge(&node, &gossip, Verdict::Ignore).await;
            continue;
        }
        start_one_of(&mut running, AT_ONCE, look_at(node.clone(), gossip)).await;
    }
}

async fn look_at(node: Arc<Node>, gossip: Gossip) {
    let from = gossip.from;
    let batch = match wire::transactions(&gossip.data) {
        Ok(batch) => batch,
        Err(error) => return refuse_rubbish(&node, &gossip, "transactions", &error).await,
    };
    let also = node.clone();
    let verdict = match tokio::task::spawn_blocking(move || submit(&also, &batch)).await {
        Ok(Ok(0)) => Verdict::Ignore,
        Ok(Ok(_)) => {
            node.network.praise(from);
            Verdict::Accept
        }
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "a transaction that could never be in a block");
            node.network.report(from, Offence::Rubbish);
            Verdict::Reject
        }
        Err(error) => {
            tracing::error!(%error, "taking transactions failed");
            Verdict::Ignore
        }
    };
    judge(&node, &gossip, verdict).await;
}

/// Gives transactions to the pool. Returns how many are new and taken.
///
/// # Errors
/// For one that could never be in a block. Not for one whose time is over or has not come: pools differ.
fn submit(node: &Node, batch: &[Bytes]) -> Result<usize, PoolError> {
    let mut taken = 0;
    for bytes in batch {
        let hash = keccak256(bytes);
        if node.chain.pending_transaction(hash).is_some() {
            continue;
        }
        // Before it is taken: the pool tells of it at once.
        let new = node.seen.lock().insert(hash);
        match node.chain.submit_raw(bytes) {
            Ok(_) => taken += 1,
            Err(error) if error.is_for_ever() => return Err(error),
            Err(error) => {
                tracing::trace!(%hash, %error, "a transaction of the network is not taken");
                if new {
                    // It may come again when its time has come.
                    node.seen.lock().remove(&hash);
                }
            }
        }
    }
    Ok(taken)
}

/// Takes what waits at a peer that has just come.
pub(super) async fn take_pool(node: &Arc<Node>, peer: PeerId) {
    let Ok(hashes) = node.ask(peer, &Request::Pool, |bytes| exact_list::<B256>(bytes, MAX_POOL)).await else { return };
    let unknown = hashes.into_iter().filter(|hash| node.chain.pending_transaction(*hash).is_none());
    let unknown: Vec<B256> = unknown.collect();
    for some in unknown.chunks(MAX_TRANSACTIONS) {
        let request = Request::Transactions { block: B256::ZERO, hashes: some.to_vec() };
        let Ok(batch) = node.ask(peer, &request, wire::transactions).await else { return };
        let also = node.clone();
        match tokio::task::spawn_blocking(move || submit(&also, &batch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a transaction that could never be in a block");
                return node.network.report(peer, Offence::Rubbish);
            }
            Err(error) => return tracing::error!(%error, "taking transactions failed"),
        }
    }
}
