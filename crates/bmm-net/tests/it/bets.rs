//! Bets of footstones among nodes.

use crate::{
    chain::{Full, follows, full},
    nodes::{connect, run, until},
    world::{clock, copy, grow, key, params},
};
use alloy_primitives::{B256, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolStruct as _;
use bmm_chain::{Chain, ChainOptions, Checkpoint, ManualClock, SignedBet};
use bmm_ledger::{genesis, store::Store};
use bmm_types::{
    ChainParams,
    system::{Bet, FOOTSTONES, footstones_domain},
};
use std::{sync::Arc, time::Duration};

const INTERVAL: u64 = 6;

fn weight() -> U256 {
    U256::from(10).pow(U256::from(20))
}

fn footstone_params() -> ChainParams {
    let mut params = params();
    params.epoch_blocks = 60_000;
    params.footstones.as_mut().expect("a development chain has footstones").checkpoint_blocks = INTERVAL;
    params
}

/// A chain in memory on which the accounts 1 to 4 are footstones from genesis on: the contract's slots hold their set.
fn chain(clock: &Arc<ManualClock>) -> Arc<Chain> {
    let params = footstone_params();
    let mut diff = genesis::genesis_diff(&params);
    let account = diff.accounts.get_mut(&FOOTSTONES).expect("the contract is there");
    let mut put = |slot: U256, word: U256| account.storage.insert(slot, (U256::ZERO, word));
    let whole = weight() * U256::from(4);
    put(U256::from(2), U256::from(1));
    put(U256::from(3), whole | whole << 96 | U256::from(4) << 240);
    for n in 1..=4 {
        let address = U256::from_be_bytes(key(n).address().into_word().0);
        // A candidate with its bond, and its seat in the first set.
        let record: U256 = keccak256([key(n).address().into_word(), U256::from(5).into()].concat()).into();
        put(record, weight() | U256::from(1) << 96);
        put(record + U256::from(2), U256::from(1) | weight() << 64);
        put(U256::from(15 + n), address | weight() << 160);
    }
    let store = Store::in_memory(params.digest()).expect("a store");
    let root = store.stage(B256::ZERO, diff.clone()).expect("a state").root();
    let genesis = genesis::genesis_block(&params, root);
    Chain::in_memory_from(params, genesis, diff, clock.clone(), ChainOptions::default()).expect("a chain")
}

fn checkpoint(chain: &Chain, number: u64) -> Checkpoint {
    Checkpoint { number, id: chain.canonical(number * INTERVAL).expect("readable").expect("so long a chain") }
}

fn bets(chain: &Chain, footstones: &[u64], source: Checkpoint, target: Checkpoint) -> Vec<SignedBet> {
    let bet = |n: &u64| {
        let bet = Bet {
            footstone: key(*n).address(),
            source: source.number,
            sourceHash: source.id,
            target: target.number,
            targetHash: target.id,
            amount: weight(),
        };
        let hash = bet.eip712_signing_hash(&footstones_domain(chain.params().chain_id));
        let signature = key(*n).sign_hash_sync(&hash).expect("signing works");
        SignedBet::new(bet, &signature.as_bytes()).expect("65 bytes")
    };
    footstones.iter().map(bet).collect()
}

fn justified(node: &Full) -> u64 {
    node.chain.finality().expect("a chain with footstones").justified.number
}

#[test]
fn bets_reach_everybody_and_make_blocks_final() {
    run(async {
        let clock = clock();
        let mut nodes: Vec<Full> = Vec::new();
        for n in 0..4 {
            let node = full(chain(&clock)).await;
            if n > 0 {
                connect(&node.network, &nodes[n - 1].network).await;
            }
            nodes.push(node);
        }
        grow(&nodes[0].chain, &clock, 1, 2 * INTERVAL + 1);
        for node in &nodes {
            follows(&node.chain, &nodes[0].chain).await;
        }
        let at = |number| checkpoint(&nodes[0].chain, number);
        // Each at its own node, as footstones bet.
        for (n, link) in [(at(0), at(1)), (at(1), at(2))].into_iter().flat_map(|link| (1..=3).map(move |n| (n, link))) {
            let node = &nodes[usize::try_from(n).expect("small")];
            node.chain.hear_bets(&bets(&node.chain, &[n], link.0, link.1));
        }
        for node in &nodes {
            until("final everywhere", || node.chain.finality().expect("footstones").finalised == at(1)).await;
        }
        assert!(nodes.iter().all(|node| node.network.bans().is_empty()));
    });
}

#[test]
fn a_node_that_was_apart_takes_the_lighter_branch_that_bets_justify() {
    run(async {
        let clock = clock();
        let (ours, theirs) = (full(chain(&clock)).await, full(chain(&clock)).await);
        grow(&ours.chain, &clock, 1, 2);
        copy(&ours.chain, &theirs.chain, 2);
        // Far longer than a side branch may be, and no bets.
        grow(&ours.chain, &clock, 1, 150);
        grow(&theirs.chain, &clock, 2, 2 * INTERVAL);
        let (zero, one) = (checkpoint(&theirs.chain, 0), checkpoint(&theirs.chain, 1));
        theirs.chain.hear_bets(&bets(&theirs.chain, &[2, 3, 4], zero, one));
        assert_eq!((justified(&ours), justified(&theirs)), (0, 1));
        assert!(ours.chain.head().work > theirs.chain.head().work);
        connect(&ours.network, &theirs.network).await;
        follows(&ours.chain, &theirs.chain).await;
        assert_eq!(justified(&ours), 1);
        assert_eq!(theirs.chain.head().number(), 2 + 2 * INTERVAL, "the other stays where it is");
        assert!(ours.network.bans().is_empty() && theirs.network.bans().is_empty());
    });
}

#[test]
fn rubbish_is_not_handed_on_and_its_sender_is_banned() {
    run(async {
        let clock = clock();
        let (node, behind) = (full(chain(&clock)).await, full(chain(&clock)).await);
        grow(&node.chain, &clock, 1, INTERVAL + 1);
        connect(&node.network, &behind.network).await;
        follows(&behind.chain, &node.chain).await;
        let bad = crate::nodes::start(node.chain.genesis()).await;
        connect(&bad, &node.network).await;
        let topic = bad.protocol("bets/1");
        let _own = bad.subscribe(&topic).await.expect("subscribed");
        let link = (checkpoint(&node.chain, 0), checkpoint(&node.chain, 1));
        let mut amount = 1;
        until("the sender is banned", || {
            let mut forged = bets(&node.chain, &[1], link.0, link.1);
            forged[0].bet.amount = U256::from(amount);
            amount += 1;
            let (bad, topic) = (bad.clone(), topic.clone());
            tokio::spawn(async move { bad.publish(&topic, alloy_rlp::encode(&forged)).await });
            !node.network.bans().is_empty()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(node.chain.bets_from(0, 10).is_empty() && behind.chain.bets_from(0, 10).is_empty());
        assert!(behind.network.bans().is_empty());
    });
}
