//! Peers that lie, stall, flood and send rubbish.

use crate::{
    chain::{Full, follows, full, full_with},
    nodes::{address, connect, run, start, until},
    world::{chain, clock, copy, grow, key, next, proof},
};
use alloy_primitives::{B256, U256};
use bmm_chain::{Chain, SealedHeader};
use bmm_net::{
    Network, NodeConfig, PeerId,
    frame::{read_frame, write_frame},
    wire::{Announcement, Request, Status},
};
use bmm_types::{BlockBody, Seal};
use std::{sync::Arc, time::Duration};

const WITHIN: Duration = Duration::from_mins(1);

/// What a hostile peer answers; `None` says nothing and keeps the stream open.
type Answers = Arc<dyn Fn(&Request) -> Option<Vec<u8>> + Send + Sync>;

/// Starts a peer that says it stands at `status` and answers questions its own way.
async fn evil(genesis: B256, status: Vec<u8>, answers: Answers) -> Network {
    let network = start(genesis).await;
    let mut statuses = network.accept(&network.protocol("status/1"), 64, 64).expect("free");
    let mut questions = network.accept(&network.protocol("sync/1"), 64, 64).expect("free");
    tokio::spawn(async move {
        while let Some((_, mut stream)) = statuses.next().await {
            let _ = read_frame(&mut stream, 1_000, WITHIN).await;
            let _ = write_frame(&mut stream, &status, WITHIN).await;
        }
    });
    tokio::spawn(async move {
        while let Some((_, mut stream)) = questions.next().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                let Ok(bytes) = read_frame(&mut stream, 1 << 20, WITHIN).await else { return };
                match answers(&Request::decode(&bytes).expect("an honest question")) {
                    Some(answer) => drop(write_frame(&mut stream, &answer, WITHIN).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    network
}

/// A status of a chain, but with another head.
fn status(chain: &Chain, number: u64, work: u64) -> Vec<u8> {
    alloy_rlp::encode(Status {
        chain_id: chain.params().chain_id,
        genesis: chain.genesis(),
        number,
        head: B256::repeat_byte(9),
        work: U256::from(work),
        lowest_body: 1,
    })
}

/// Answers as an honest node does that has a chain.
fn honest(chain: &Chain, request: &Request) -> Vec<u8> {
    match request {
        Request::Ids(numbers) => alloy_rlp::encode(
            numbers.iter().map_while(|number| chain.canonical(*number).expect("readable")).collect::<Vec<_>>(),
        ),
        Request::Headers { first, count } => alloy_rlp::encode(
            (*first..first + count)
                .map_while(|number| chain.sealed_header(number).expect("readable"))
                .collect::<Vec<_>>(),
        ),
        Request::Bodies(ids) => {
            alloy_rlp::encode(ids.iter().map_while(|id| chain.body(*id).expect("readable")).collect::<Vec<BlockBody>>())
        }
        Request::Transactions { .. } | Request::Pool | Request::Bets(_) => alloy_rlp::encode(Vec::<B256>::new()),
    }
}

/// Connects a hostile peer, which may be gone again before it is known.
async fn meet(bad: &Network, node: &Network) {
    bad.dial(address(node)).await.expect("connected");
}

async fn banned(node: &Network, peer: PeerId) {
    until("it is banned and gone", || {
        node.bans().iter().any(|ban| ban.peer == peer) && node.peers().iter().all(|info| info.peer != peer)
    })
    .await;
}

/// A node with nothing yet, an honest one with `blocks` blocks, and what a hostile peer needs of the honest chain.
async fn two(blocks: u64, config: NodeConfig) -> (Full, Full) {
    let clock = clock();
    let (long, short) = (chain(&clock), chain(&clock));
    grow(&long, &clock, 0, blocks);
    (full_with(short, config).await, full(long).await)
}

#[test]
fn rubbish_for_a_status_or_an_answer_is_a_ban() {
    run(async {
        let (node, other) = two(3, NodeConfig::default()).await;
        let bad = evil(node.chain.genesis(), vec![0xc0, 1, 2, 3], Arc::new(|_| Some(vec![7; 100]))).await;
        meet(&bad, &node.network).await;
        banned(&node.network, bad.peer_id()).await;
        let heavy = status(&node.chain, 1_000, 1_000_000);
        let worse = evil(node.chain.genesis(), heavy, Arc::new(|_| Some(vec![0xff; 100]))).await;
        meet(&worse, &node.network).await;
        banned(&node.network, worse.peer_id()).await;
        connect(&node.network, &other.network).await;
        follows(&node.chain, &other.chain).await;
    });
}

#[test]
fn a_head_that_does_not_come_is_a_lie_and_keeps_nobody_from_the_truth() {
    run(async {
        let (node, other) = two(40, NodeConfig::default()).await;
        let short = other.chain.clone();
        let liar = evil(
            node.chain.genesis(),
            status(&node.chain, 1 << 40, 1 << 60),
            // True headers, but none of those that it boasts of.
            Arc::new(move |request| Some(honest(&short, request))),
        )
        .await;
        meet(&liar, &node.network).await;
        // It gave true blocks on the way, and these are kept.
        follows(&node.chain, &other.chain).await;
        let score = || node.network.peers().iter().find(|info| info.peer == liar.peer_id()).map(|info| info.score);
        until("the lie is noted", || score().is_some_and(|score| score < -20)).await;
        connect(&node.network, &other.network).await;
        assert!(node.network.bans().is_empty());
    });
}

#[test]
fn headers_that_break_a_rule_are_a_ban() {
    run(async {
        let (node, other) = two(30, NodeConfig::default()).await;
        let long = other.chain.clone();
        let forged = move |request: &Request| match request {
            Request::Headers { first, count } => {
                let mut headers: Vec<SealedHeader> =
                    (*first..first + count).map_while(|n| long.sealed_header(n).expect("readable")).collect();
                if let Some(last) = headers.last_mut() {
                    // Much more work in words, none done.
                    last.header.difficulty = U256::from(1_000_000_000);
                }
                Some(alloy_rlp::encode(&headers))
            }
            other => Some(honest(&long, other)),
        };
        let bad = evil(node.chain.genesis(), status(&node.chain, 30, 2_000_000_000), Arc::new(forged)).await;
        meet(&bad, &node.network).await;
        banned(&node.network, bad.peer_id()).await;
        assert!(node.chain.head().number() < 30, "nothing of it is taken");
        connect(&node.network, &other.network).await;
        follows(&node.chain, &other.chain).await;
    });
}

#[test]
fn who_stalls_or_sends_other_bodies_is_replaced() {
    run(async {
        let config = NodeConfig { answer_within: Duration::from_secs(2) };
        let (node, other) = two(300, config).await;
        let head = other.chain.head();
        let work = u64::try_from(head.work.get()).expect("small");
        let long = other.chain.clone();
        let stalls = evil(
            node.chain.genesis(),
            status(&node.chain, 300, work),
            Arc::new(|request| matches!(request, Request::Pool).then(|| alloy_rlp::encode(Vec::<B256>::new()))),
        )
        .await;
        let forges = evil(
            node.chain.genesis(),
            status(&node.chain, 300, work),
            Arc::new(move |request| match request {
                Request::Bodies(ids) => Some(alloy_rlp::encode(vec![BlockBody::default(); ids.len()])),
                other => Some(honest(&long, other)),
            }),
        )
        .await;
        meet(&stalls, &node.network).await;
        meet(&forges, &node.network).await;
        connect(&other.network, &node.network).await;
        follows(&node.chain, &other.chain).await;
        assert!(
            node.network.bans().iter().all(|ban| ban.peer != other.network.peer_id()),
            "the honest one is not blamed"
        );
    });
}

#[test]
fn a_light_branch_from_long_ago_is_not_kept() {
    run(async {
        let clock = clock();
        let (main, side) = (chain(&clock), chain(&clock));
        grow(&main, &clock, 0, 5);
        copy(&main, &side, 5);
        grow(&side, &clock, 1, 1);
        grow(&main, &clock, 0, 100);
        let node = full(main).await;
        let peer = start(node.chain.genesis()).await;
        connect(&peer, &node.network).await;
        let block = side.sealed_block(6).expect("readable").expect("there");
        let sealed = SealedHeader { header: block.block.header.clone(), seal: block.seal.clone() };
        let announcement = Announcement { sealed, hashes: Vec::new() }.encode();
        let topic = peer.protocol("blocks/1");
        let _own = peer.subscribe(&topic).await.expect("subscribed");
        publish_and_one_more(&peer, &node, &topic, announcement).await;
        assert!(node.chain.header(block.id()).expect("readable").is_none(), "valid, but not worth the room");
        assert!(node.network.bans().is_empty());
    });
}

/// Publishes a message until the node has looked at it: until one that goes after it, a block beside the head, is taken.
async fn publish_and_one_more(peer: &Network, node: &Full, topic: &str, message: Vec<u8>) {
    let (head, clock) = (node.chain.head(), clock());
    clock.set(head.header.timestamp + 1);
    let fork = chain(&clock);
    copy(&node.chain, &fork, head.number() - 1);
    let block = next(&fork, 4);
    let sealed = SealedHeader { header: block.block.header.clone(), seal: block.seal.clone() };
    let second = Announcement { sealed, hashes: Vec::new() }.encode();
    until("the second is taken", || {
        let (peer, topic, first, second) = (peer.clone(), topic.to_owned(), message.clone(), second.clone());
        tokio::spawn(async move {
            let _ = peer.publish(&topic, first).await;
            peer.publish(&topic, second).await
        });
        node.chain.header(block.id()).expect("readable").is_some()
    })
    .await;
}

#[test]
fn blocks_without_work_and_rubbish_are_not_handed_on() {
    run(async {
        let clock = clock();
        let (one, far) = (full(chain(&clock)).await, full(chain(&clock)).await);
        connect(&one.network, &far.network).await;
        for kind in 0..2 {
            let bad = start(one.chain.genesis()).await;
            let topic = bad.protocol("blocks/1");
            let _own = bad.subscribe(&topic).await.expect("subscribed");
            meet(&bad, &one.network).await;
            let id = bad.peer_id();
            clock.advance(1);
            let mut block = next(&one.chain, 1);
            // Once no work, once the work of another block.
            block.seal = if kind == 0 { Seal::None } else { proof(&next(&one.chain, 2).block) };
            let sealed = SealedHeader { header: block.block.header.clone(), seal: block.seal.clone() };
            let message = Announcement { sealed, hashes: Vec::new() }.encode();
            until("it is banned", || {
                let (bad, topic, message) = (bad.clone(), topic.clone(), message.clone());
                tokio::spawn(async move { bad.publish(&topic, message).await });
                one.network.bans().iter().any(|ban| ban.peer == id)
            })
            .await;
        }
        assert_eq!(one.network.peers().len(), 1, "the honest one stays");
        assert!(far.network.bans().is_empty(), "nothing of it came there");
        assert_eq!((one.chain.head().number(), far.chain.head().number()), (0, 0));
    });
}

#[test]
fn transactions_that_could_never_be_in_a_block_are_a_fault_of_their_sender_only() {
    run(async {
        let clock = clock();
        let (one, far) = (full(chain(&clock)).await, full(chain(&clock)).await);
        connect(&one.network, &far.network).await;
        let bad = start(one.chain.genesis()).await;
        let topic = bad.protocol("transactions/1");
        let _own = bad.subscribe(&topic).await.expect("subscribed");
        meet(&bad, &one.network).await;
        let (mut n, id) = (0u64, bad.peer_id());
        until("it is banned", || {
            n += 1;
            let rubbish: Vec<alloy_primitives::Bytes> = vec![key(n).address().to_vec().into()];
            let (bad, topic) = (bad.clone(), topic.clone());
            tokio::spawn(async move { bad.publish(&topic, alloy_rlp::encode(&rubbish)).await });
            one.network.bans().iter().any(|ban| ban.peer == id)
        })
        .await;
        assert!(far.network.bans().is_empty() && far.network.peers().iter().all(|info| info.score >= 0));
    });
}

#[test]
fn questions_without_sense_are_a_ban_and_many_of_them_do_no_harm() {
    run(async {
        let (node, other) = two(5, NodeConfig::default()).await;
        connect(&node.network, &other.network).await;
        follows(&node.chain, &other.chain).await;
        let bad = start(node.chain.genesis()).await;
        meet(&bad, &node.network).await;
        let protocol = bad.protocol("sync/1");
        let mut asked = 0;
        while node.network.bans().is_empty() {
            asked += 1;
            assert!(asked < 10_000, "it is let ask for ever");
            let Ok(mut stream) = bad.open_stream(node.network.peer_id(), &protocol).await else { continue };
            let _ = write_frame(&mut stream, &[9, 9, 9], WITHIN).await;
            let _ = read_frame(&mut stream, 1_000, WITHIN).await;
        }
        assert_eq!(node.network.bans()[0].peer, bad.peer_id());
        // The others are served as before.
        let late = full(chain(&clock())).await;
        connect(&late.network, &node.network).await;
        until("it has the chain", || late.chain.head().number() == node.chain.head().number()).await;
    });
}
