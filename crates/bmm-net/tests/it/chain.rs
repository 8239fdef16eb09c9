//! Chains that follow each other.

use crate::{
    nodes::{connect, run, start, until},
    world::{chain, clock, copy, grow, params, pay},
};
use bmm_chain::{
    Chain, ChainOptions,
    sync::{SnapshotOptions, take_snapshot},
};
use bmm_net::{ChainNode, Network, NodeConfig, PeerSource};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A node that follows the network.
pub struct Full {
    pub network: Network,
    pub chain: Arc<Chain>,
    pub node: ChainNode,
}

/// Starts a node for a chain.
pub async fn full(chain: Arc<Chain>) -> Full {
    full_with(chain, NodeConfig::default()).await
}

pub async fn full_with(chain: Arc<Chain>, config: NodeConfig) -> Full {
    let network = start(chain.genesis()).await;
    let node = ChainNode::start(network.clone(), chain.clone(), config).await.expect("a node");
    Full { network, chain, node }
}

/// Waits until a chain has the head of another.
pub async fn follows(one: &Chain, other: &Chain) {
    until("the same head", || one.head().id == other.head().id).await;
}

#[test]
fn a_transaction_sent_to_one_of_ten_is_in_a_block_on_all() {
    run(async {
        let clock = clock();
        let mut nodes = Vec::new();
        for n in 0..10usize {
            let node = full(chain(&clock)).await;
            // A tree, so that most are not neighbours.
            if n > 0 {
                let parent: &Full = &nodes[(n - 1) / 2];
                connect(&node.network, &parent.network).await;
            }
            nodes.push(node);
        }
        for (round, miner) in [0u64, 7, 3].into_iter().enumerate() {
            let (at, miner) = (9 - round, &nodes[usize::try_from(miner).expect("small")].chain);
            let hash = pay(&nodes[at].chain, round as u64, 0);
            until("the miner hears of it", || miner.pending_transaction(hash).is_some()).await;
            grow(miner, &clock, 1, 1);
            let block = miner.transaction_place(hash).expect("readable").expect("it is in a block").block;
            for node in &nodes {
                until("all have the block", || node.chain.head().id == block).await;
                assert!(node.chain.transaction_place(hash).expect("readable").is_some());
            }
        }
        assert!(nodes.iter().all(|node| node.network.bans().is_empty()), "nobody is blamed");
    });
}

#[test]
#[expect(clippy::print_stdout, reason = "the speed is worth knowing, and depends on the machine")]
fn a_node_that_was_away_for_two_thousand_blocks_catches_up() {
    run(async {
        let clock = clock();
        let (one, late) = (chain(&clock), chain(&clock));
        for n in 0..8 {
            pay(&one, 1, n);
        }
        grow(&one, &clock, 0, 50);
        copy(&one, &late, 50);
        grow(&one, &clock, 0, 2_000);
        let other = chain(&clock);
        copy(&one, &other, 2_050);
        let (one, other) = (full(one).await, full(other).await);
        let late = full(late).await;
        let begun = Instant::now();
        connect(&late.network, &one.network).await;
        connect(&late.network, &other.network).await;
        follows(&late.chain, &one.chain).await;
        let rate = 2_000.0 / begun.elapsed().as_secs_f64();
        println!("2,000 blocks from two peers, {rate:.0} blocks/s");
        until("it knows that it is done", || late.node.syncing().is_none()).await;
        assert!(late.network.bans().is_empty() && one.network.bans().is_empty());
        // What comes next comes by gossip.
        grow(&other.chain, &clock, 2, 1);
        follows(&late.chain, &other.chain).await;
        follows(&one.chain, &other.chain).await;
        assert_eq!(late.chain.head().number(), 2_051);
    });
}

#[test]
fn of_two_branches_the_heavier_is_taken_also_after_an_interruption() {
    run(async {
        let clock = clock();
        let (one, other) = (chain(&clock), chain(&clock));
        grow(&one, &clock, 0, 20);
        copy(&one, &other, 20);
        grow(&one, &clock, 1, 200);
        grow(&other, &clock, 2, 900);
        let (one, other) = (full(one).await, full(other).await);
        connect(&one.network, &other.network).await;
        until("it goes over", || one.chain.head().number() > 220).await;
        // Stopped in the middle, or at the end if it is fast.
        let Full { network, chain, node } = one;
        drop(node);
        network.shutdown().await;
        let one = full(chain).await;
        connect(&one.network, &other.network).await;
        follows(&one.chain, &other.chain).await;
        assert!(one.network.bans().is_empty() && other.network.bans().is_empty());
    });
}

#[test]
fn what_waited_before_nodes_met_is_told_of() {
    run(async {
        let clock = clock();
        let (one, other) = (full(chain(&clock)).await, full(chain(&clock)).await);
        let hash = pay(&one.chain, 3, 0);
        connect(&other.network, &one.network).await;
        until("the other has it", || other.chain.pending_transaction(hash).is_some()).await;
    });
}

#[test]
fn a_chain_begins_from_the_state_that_a_peer_proves() {
    run(async {
        let clock = clock();
        let long = chain(&clock);
        for nonce in 0..20 {
            pay(&long, 1, nonce);
        }
        grow(&long, &clock, 0, 400);
        let node = full(long).await;
        let asking = start(node.chain.genesis()).await;
        connect(&asking, &node.network).await;
        let folder = tempfile::tempdir().expect("folder");
        let (place, also) = (folder.path().join("db"), clock.clone());
        let id = node.chain.params().chain_id;
        let source = PeerSource::new(
            asking.clone(),
            node.network.peer_id(),
            id,
            tokio::runtime::Handle::current(),
            Duration::from_mins(1),
        );
        let taken = tokio::task::spawn_blocking(move || {
            let options = SnapshotOptions::default();
            let head = take_snapshot(&params(), &place, &*also, &[&source], &options, &mut |_| true);
            head.expect("taken").expect("the chain is long enough");
            Chain::open(params(), &place, also, ChainOptions::default()).expect("opened")
        });
        let short = taken.await.expect("no panic");
        assert!(short.head().number() > 100, "it begins near the head: {}", short.head().number());
        assert!(short.lowest_body().expect("readable") > 100, "and without the past");
        asking.shutdown().await;
        // From there it goes on as any other.
        let late = full(short).await;
        connect(&late.network, &node.network).await;
        follows(&late.chain, &node.chain).await;
        grow(&node.chain, &clock, 2, 1);
        follows(&late.chain, &node.chain).await;
    });
}
