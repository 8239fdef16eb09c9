//! Gossip of footstones' bets.

use super::{
    Node, judge, refuse_rubbish, start_one_of,
    wire::{self, MAX_BETS, MAX_BETS_ANSWER, Request},
};
use crate::{
    bucket::{Buckets, Rate},
    network::{Gossip, Verdict},
    peers::Offence,
};
use bmm_chain::{Heard, SignedBet};
use libp2p::PeerId;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// New bets that wait to be told of.
const MAX_NEW: usize = 4_096;
/// How long bets are gathered before they are told of.
const GATHER: Duration = Duration::from_millis(50);
/// Bets that one peer may hand on a second, four times as many at once: a set of 128 bets at once.
const BETS_PER_SEC: u32 = 128;
/// Messages that are looked at at once.
const AT_ONCE: usize = 2;
/// Answers in which a peer's bets are taken when it comes.
const MAX_ANSWERS: usize = 16;
/// How often a blocked thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Tells the network of bets that came to this node itself.
pub(super) fn tell(node: &Arc<Node>, tasks: &mut JoinSet<()>) {
    let (sender, mut receiver) = mpsc::channel(MAX_NEW);
    let (events, also) = (node.chain.subscribe_bets(MAX_NEW), node.clone());
    tasks.spawn_blocking(move || forward(&also, &events, &sender));
    let node = node.clone();
    tasks.spawn(async move {
        let mut bets: Vec<SignedBet> = Vec::new();
        while receiver.recv_many(&mut bets, MAX_BETS).await > 0 {
            tokio::time::sleep(GATHER).await;
            while bets.len() < MAX_BETS {
                let Ok(bet) = receiver.try_recv() else { break };
                bets.push(bet);
            }
            let sent = node.network.publish(&node.protocols.bets, alloy_rlp::encode(&bets)).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "bets are not told of; others will ask");
            }
            bets.clear();
        }
    });
}

/// Passes on what is new and did not come from the network. Ends with the node.
fn forward(node: &Node, events: &Receiver<SignedBet>, to: &mpsc::Sender<SignedBet>) {
    while !node.stopped() && !to.is_closed() {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(bet) => {
                if node.seen.lock().insert(bet.hash()) && to.blocking_send(bet).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Takes bets of others.
pub(super) async fn hear(node: Arc<Node>, mut gossip: mpsc::Receiver<Gossip>) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut budget = Buckets::new(Rate::per_sec(BETS_PER_SEC));
    while let Some(gossip) = gossip.recv().await {
        let bets = match wire::bets(&gossip.data, MAX_BETS) {
            Ok(bets) => bets,
            Err(error) => {
                refuse_rubbish(&node, &gossip, "bets", &error).await;
                continue;
            }
        };
        // To find out that a bet is worth nothing may cost as much as for a good one.
        let count = u32::try_from(bets.len()).unwrap_or(u32::MAX);
        if !budget.take(gossip.from, f64::from(count), Instant::now()) {
            judge(&node, &gossip, Verdict::Ignore).await;
            continue;
        }
        start_one_of(&mut running, AT_ONCE, look_at(node.clone(), gossip, bets)).await;
    }
}

async fn look_at(node: Arc<Node>, gossip: Gossip, bets: Vec<SignedBet>) {
    let heard = give(&node, bets).await;
    let verdict = if heard.contains(&Heard::Rubbish) {
        node.network.report(gossip.from, Offence::Rubbish);
        Verdict::Reject
    } else if heard.iter().any(|heard| matches!(heard, Heard::New | Heard::Offence)) {
        node.network.praise(gossip.from);
        Verdict::Accept
    } else {
        Verdict::Ignore
    };
    judge(&node, &gossip, verdict).await;
}

/// Gives bets to the chain.
async fn give(node: &Arc<Node>, bets: Vec<SignedBet>) -> Vec<Heard> {
    {
        // Before they are taken: the chain tells of them at once.
        let mut seen = node.seen.lock();
        for bet in &bets {
            seen.insert(bet.hash());
        }
    }
    let also = node.clone();
    let heard = tokio::task::spawn_blocking(move || also.chain.hear_bets(&bets)).await;
    if node.chain.missing_promises().is_empty() {
        return heard.unwrap_or_default();
    }
    node.behind.notify_one();
    heard.unwrap_or_default()
}

/// Takes what a peer knows of bets that may still count here.
pub(super) async fn take_bets(node: &Arc<Node>, peer: PeerId) {
    let Some(finality) = node.chain.finality() else { return };
    let mut from = finality.finalised.number;
    for _ in 0..MAX_ANSWERS {
        let read = |bytes: &[u8]| wire::bets(bytes, MAX_BETS_ANSWER);
        let Ok(bets) = node.ask(peer, &Request::Bets(from), read).await else { return };
        let Some(last) = bets.last().map(|bet| bet.bet.target) else { return };
        let whole = bets.len() < MAX_BETS_ANSWER;
        if give(node, bets).await.contains(&Heard::Rubbish) {
            return node.network.report(peer, Offence::Rubbish);
        }
        if whole || last < from {
            return;
        }
        // The bets on the last target may go on in the next answer.
        from = last.max(from.saturating_add(1));
    }
}
