//! The producer: real blocks with real work, and blocks on demand.

use crate::world::{GENESIS_TIME, key, params, sign, transfer};
use alloy_primitives::B256;
use bmm_chain::{
    Chain, ChainError, ChainOptions, Clock, HeadBlock, ManualClock, PoolStatus, Producer, ProducerConfig, SystemClock,
    TemplateRequest,
};
use bmm_pow::{Throttle, verify};
use bmm_types::{ChainParams, Engine};
use std::{sync::Arc, thread, time::Duration};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

fn chain(engine: Engine) -> Arc<Chain> {
    let mut params = params(engine);
    // A genesis long ago, so that blocks are due at once, and the machine's clock.
    params.genesis_time = 1_000_000_000;
    Chain::in_memory(params, Arc::new(SystemClock), ChainOptions::default()).expect("a chain")
}

fn config() -> ProducerConfig {
    let request = TemplateRequest { beneficiary: key(5).address(), vanity: b"bmm".into() };
    ProducerConfig { request, throttle: Throttle::percent_of_core(50), refresh_after: Duration::from_millis(20) }
}

#[test]
fn mines_blocks_with_real_work() {
    let chain = chain(Engine::Pow);
    let hash = chain.submit(transfer(&chain, 1, 0, key(9).address(), 3)).expect("valid");
    let producer = Producer::start(chain.clone(), config(), Arc::new(|hash| sign(5, hash))).expect("started");
    assert!(chain.wait_for_head_above(1, LONG).is_some());
    producer.stop();
    let head = chain.head();
    assert!(head.number() >= 2);
    for number in 1..=head.number() {
        let id = chain.canonical(number).expect("a store").expect("canonical");
        let block = chain.block(id).expect("a store").expect("stored");
        assert_eq!(block.block.header.beneficiary, key(5).address());
        let difficulty = bmm_pow::Difficulty::new(block.block.header.difficulty).expect("not zero");
        let aux = block.seal.as_aux_pow().expect("mined");
        assert_eq!(verify(aux, id, chain.params().aux_chain_id, difficulty), Ok(()));
    }
    assert!(chain.transaction(hash).expect("a store").is_some());
    assert_eq!(chain.head(), head, "nobody mines any more");
}

/// A development chain is opened again after days: it is far behind its schedule, so that work is as easy as it ever gets, and
/// still it makes no more than one block a second, dated within its clock.
#[test]
fn a_chain_that_was_idle_for_days_makes_a_block_a_second() {
    const DAYS: u64 = 3 * 86_400;
    const SECS: u64 = 30;
    let folder = tempfile::tempdir().expect("a folder");
    let params = ChainParams::dev(key(0).address(), GENESIS_TIME);
    let clock = Arc::new(ManualClock::new(GENESIS_TIME));
    let open = || Chain::open(params.clone(), folder.path(), clock.clone(), ChainOptions::default()).expect("a chain");
    // The throttle of a development node, but for the waiting.
    let config = || ProducerConfig { throttle: Throttle::NONE, ..config() };
    let run = |chain: &Arc<Chain>| {
        let producer = Producer::start(chain.clone(), config(), Arc::new(|hash| sign(5, hash))).expect("started");
        for _ in 0..SECS {
            clock.advance(1);
            let due = |head: &HeadBlock| head.header.timestamp >= clock.now_secs();
            while !due(&chain.head()) {
                let waited = chain.wait_for_head_above(chain.head().number(), LONG);
                assert!(waited.is_some() || due(&chain.head()), "a block is due");
            }
        }
        producer.stop();
    };
    run(&open());
    clock.advance(DAYS);
    let chain = open();
    let before = chain.head();
    assert_eq!(before.header.timestamp, GENESIS_TIME + SECS);
    let woke = clock.now_secs();
    run(&chain);
    let head = chain.head();
    assert_eq!(head.header.timestamp, woke + SECS, "dated by the clock, not by the schedule");
    assert!((SECS..=SECS + 1).contains(&(head.number() - before.number())), "a second has one block at most");
    for number in before.number() + 2..=head.number() {
        let id = chain.canonical(number).expect("a store").expect("canonical");
        let header = chain.header(id).expect("a store").expect("stored");
        assert_eq!(header.difficulty, chain.params().min_difficulty);
        let parent = chain.header(header.parent_hash).expect("a store").expect("stored");
        assert!(header.timestamp > parent.timestamp && header.timestamp <= clock.now_secs());
    }
}

#[test]
fn makes_a_block_when_there_is_a_transaction() {
    let chain = chain(Engine::Dev);
    let producer = Producer::start(chain.clone(), config(), Arc::new(|hash| sign(5, hash))).expect("started");
    for nonce in 0..3 {
        let hash = chain.submit(transfer(&chain, 1, nonce, key(9).address(), 3)).expect("valid");
        let head = chain.wait_for_head_above(nonce, LONG).expect("a block");
        assert_eq!(head.number(), nonce + 1, "one block for one transaction");
        assert_eq!(chain.transaction(hash).expect("a store").map(|found| found.block), Some(head.id));
    }
    // A gap makes no block.
    chain.submit(transfer(&chain, 1, 9, key(9).address(), 3)).expect("held");
    producer.stop();
    assert_eq!(chain.head().number(), 3);
}

#[test]
fn whatever_is_acknowledged_is_mined() {
    const EACH: u64 = 40;
    let chain = chain(Engine::Dev);
    let producer = Producer::start(chain.clone(), config(), Arc::new(|hash| sign(5, hash))).expect("started");
    // Wallets submit, and others read, while blocks come in.
    let hashes: Vec<B256> = thread::scope(|scope| {
        let wallets: Vec<_> = (1..5)
            .map(|from| {
                let chain = &chain;
                scope.spawn(move || {
                    let next = || chain.pending_nonce(key(from).address()).expect("a store");
                    (0..EACH)
                        .map(|nonce| {
                            assert_eq!(next(), nonce, "what was acknowledged counts");
                            chain.submit(transfer(chain, from, nonce, key(9).address(), 1)).expect("valid")
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..20 {
            let pending = chain.pending_block().expect("a block");
            assert!(pending.header.number <= chain.head().number() + 1);
        }
        wallets.into_iter().flat_map(|wallet| wallet.join().expect("no panic")).collect()
    });
    let mined = |hash: &B256| chain.transaction(*hash).expect("a store").is_some();
    let mut head = chain.head().number();
    while !hashes.iter().all(mined) {
        head = match chain.wait_for_head_above(head, LONG) {
            Some(block) => block.number(),
            None => panic!("transactions wait and no block comes"),
        };
    }
    producer.stop();
    assert_eq!(chain.pool_status(), PoolStatus::default());
}

#[test]
fn foreign_chains_have_no_producer() {
    let chain = chain(Engine::NoSeal);
    let started = Producer::start(chain.clone(), config(), Arc::new(|hash| sign(5, hash)));
    assert!(matches!(started, Err(ChainError::NoProducer)));
}
