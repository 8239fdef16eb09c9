//! BMM alone: a synthetic parent carries the work.

use super::support::{Node, PROOF_HASHES, solve};
use bmm_pool::{
    BlockEvent, BlockKey, Solution, SourceConfig, Sources,
    source::{PendingBlock, SourceError},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

fn config(node: &Node, maturity: u64) -> SourceConfig {
    SourceConfig {
        parents: Vec::new(),
        aux: vec![node.aux(maturity)],
        tag: "/bmm test/".into(),
        refresh: Duration::from_secs(5),
        pending: Vec::new(),
    }
}

fn next(events: &mut mpsc::Receiver<BlockEvent>) -> BlockEvent {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await }).expect("in time").expect("one")
}

#[test]
fn blocks_are_found_and_ripen() {
    let node = Node::start();
    let (solutions, queue) = mpsc::channel(16);
    let (sender, mut events) = mpsc::channel(16);
    let sources = Sources::start(config(&node, 3), queue, &sender).expect("work");
    let mut jobs = sources.jobs();
    let mut found = Vec::new();
    for share in 1..=4 {
        let job = Arc::clone(&jobs.borrow_and_update());
        assert!(job.clean, "each is on a new head");
        solutions.blocking_send(solve(&job, "bmm", share)).expect("open");
        let BlockEvent::Found { key, height, reward, share: of_share } = next(&mut events) else {
            panic!("a block is found first")
        };
        assert_eq!((height, of_share), (share, share));
        assert_eq!(key.id, node.chain.head().id.to_string());
        assert!(reward > 0);
        found.push((key, reward));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let news = async { tokio::time::timeout(PATIENCE, jobs.wait_for(|next| next.chains[0].height > share)).await };
        runtime.block_on(news).expect("in time").expect("open");
        jobs.mark_changed();
    }
    assert_eq!(next(&mut events), BlockEvent::Mature(found[0].0.clone()));
    let balance = node.chain.state(node.chain.head().id.into()).expect("a state");
    let balance = balance.account(node.miner).expect("a store").expect("there").balance;
    let genesis = node.chain.params().alloc.iter().find(|alloc| alloc.address == node.miner).expect("funded");
    let earned: u128 = found.iter().map(|(_, reward)| reward).sum();
    assert_eq!(balance, genesis.balance.units() + alloy_primitives::U256::from(earned), "to the unit");
    let status = sources.status();
    assert_eq!((status[0].taken, status[0].stale, status[0].refused), (4, 0, 0));
}

#[test]
fn what_is_no_block_is_work_of_the_epoch() {
    let node = Node::start();
    let (solutions, queue) = mpsc::channel(256);
    let (sender, _events) = mpsc::channel(16);
    let sources = Sources::start(config(&node, 1), queue, &sender).expect("work");
    let job = Arc::clone(&sources.jobs().borrow());
    let coinbase = job.coinbase([1, 2, 3, 4], [0; 8]);
    let mut sent = 0;
    for nonce in 0.. {
        let header = job.header(&coinbase, job.version, job.time, nonce);
        let hash = bmm_pow::scrypt_hash(&header);
        if let Some(worth) = job.worth(&hash).filter(|worth| !worth.block) {
            assert!(worth.effort);
            let (job, coinbase, account) = (Arc::clone(&job), coinbase.clone(), node.miner);
            let solution = Solution { job, coinbase, header, hash, account, share: 1, worth };
            solutions.blocking_send(solution).expect("open");
            sent += 1;
        }
        if sent > PROOF_HASHES + 8 {
            break;
        }
    }
    drop(solutions);
    sources.finish(PATIENCE);
    assert_eq!(node.chain.head().number(), 0, "no block");
    let (proof, hashes) = node.solutions.proof(&node.work()).expect("a proof");
    bmm_pow::resource::check_proof(&proof, node.work().leaf()).expect("a good one");
    assert!(hashes > alloy_primitives::U256::from(PROOF_HASHES));
}

#[test]
fn several_shares_of_one_block_are_one_block() {
    let node = Node::start();
    let (solutions, queue) = mpsc::channel(16);
    let (sender, mut events) = mpsc::channel(16);
    let sources = Sources::start(config(&node, 1), queue, &sender).expect("work");
    let job = Arc::clone(&sources.jobs().borrow());
    for share in 1..=3 {
        solutions.blocking_send(solve(&job, "bmm", share)).expect("open");
    }
    drop(solutions);
    assert!(matches!(next(&mut events), BlockEvent::Found { share: 1, .. }));
    sources.finish(PATIENCE);
    drop(sender);
    assert_eq!(node.chain.head().number(), 1);
    assert!(events.blocking_recv().is_none(), "nothing else");
}

#[test]
fn blocks_of_before_a_restart_are_judged() {
    let node = Node::start();
    let (_solutions, queue) = mpsc::channel(16);
    let (sender, mut events) = mpsc::channel(16);
    let key = |id: String| BlockKey { chain: "bmm".into(), id };
    let (good, bad) = (key(node.chain.genesis().to_string()), key(format!("0x{}", "11".repeat(32))));
    let pending = [&good, &bad].map(|key| PendingBlock { key: key.clone(), height: 0 }).to_vec();
    let sources = Sources::start(SourceConfig { pending, ..config(&node, 0) }, queue, &sender).expect("work");
    assert_eq!(next(&mut events), BlockEvent::Mature(good));
    assert_eq!(next(&mut events), BlockEvent::Orphaned(bad));
    drop(sources);
}

#[test]
fn another_node_answers_when_the_first_is_gone() {
    let node = Node::start();
    let (_solutions, queue) = mpsc::channel(16);
    let (sender, _events) = mpsc::channel(16);
    let mut config = config(&node, 1);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    config.aux[0].nodes.insert(0, format!("http://{free}").parse().expect("an address"));
    let sources = Sources::start(config, queue, &sender).expect("the second one's work");
    assert_eq!(sources.jobs().borrow().chains[0].height, 1);
}

#[test]
fn what_cannot_work_is_told() {
    let mut node = Node::start();
    let start = |config: SourceConfig| {
        let (_solutions, queue) = mpsc::channel(1);
        Sources::start(config, queue, &mpsc::channel(1).0).err().expect("refused")
    };
    let good = config(&node, 1);
    assert!(matches!(start(SourceConfig { aux: Vec::new(), ..good.clone() }), SourceError::NoChain));
    let twice = vec![good.aux[0].clone(), good.aux[0].clone()];
    assert!(matches!(start(SourceConfig { aux: twice, ..good.clone() }), SourceError::Name(_)));
    assert!(matches!(start(SourceConfig { tag: "x".repeat(33), ..good.clone() }), SourceError::Tag(33)));
    let mut stranger = good.clone();
    stranger.aux[0].address = alloy_primitives::Address::repeat_byte(9).to_string();
    assert!(start(stranger).to_string().contains("--mine-for"));
    node.stop();
    assert!(start(good).to_string().contains("does not answer"));
}
