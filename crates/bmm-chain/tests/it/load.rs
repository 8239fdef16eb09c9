//! How fast transactions come in and blocks go out while a hundred thousand wait:
//! `cargo test --release -p bmm-chain under_load -- --ignored --nocapture`.
#![expect(clippy::print_stderr, reason = "it prints times")]

use crate::world::{GENESIS_TIME, key, params, seal, sign, unsigned};
use alloy_consensus::SignableTransaction;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_signer::SignerSync;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_ledger::exec::recover_senders;
use bmm_types::{Amount, Engine, Transaction, params::Allocation};
use cpu_time::ProcessTime;
use std::{sync::Arc, thread, time::Instant};

const SENDERS: u64 = 100;
const EACH: u64 = 1_000;
const FIRST: u64 = 1_000;

fn signed(chain: &Chain, senders: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let keys: Vec<_> = senders.map(|n| key(FIRST + n)).collect();
    let one = |nonce, key: &alloy_signer_local::PrivateKeySigner| {
        let tx = unsigned(chain, nonce, key.address(), 1);
        let signature = key.sign_hash_sync(&tx.signature_hash()).expect("signing works");
        Transaction::from(tx.into_signed(signature)).encoded_2718()
    };
    (0..EACH).flat_map(|nonce| keys.iter().map(move |key| one(nonce, key))).collect()
}

/// Runs and prints the time of it, and how much of the processors it took.
fn timed<T>(what: &str, times: usize, work: impl FnOnce() -> T) -> T {
    let (begun, used) = (Instant::now(), ProcessTime::now());
    let done = work();
    let times = f64::from(u32::try_from(times).expect("small"));
    let micros = |secs: f64| secs * 1e6 / times;
    let (wall, cpu) = (micros(begun.elapsed().as_secs_f64()), micros(used.elapsed().as_secs_f64()));
    eprintln!("{what:<60} {wall:>10.2} µs, {cpu:>10.2} µs of a core");
    done
}

#[test]
#[ignore = "a measurement"]
fn under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = params(Engine::Dev);
    for n in 0..SENDERS {
        params.alloc.push(Allocation { address: key(FIRST + n).address(), balance: Amount::from_bmm(1_000) });
    }
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
    let open = || Chain::open(params.clone(), folder.path(), clock.clone(), ChainOptions::default()).expect("a chain");
    let chain = open();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| signed(&chain, 0..SENDERS / 2));
        (signed(&chain, SENDERS / 2..SENDERS), one.join().expect("signed"))
    });
    let some: Vec<Transaction> =
        one.iter().take(5_000).map(|bytes| Transaction::decode_2718(&mut &bytes[..]).expect("encoded")).collect();
    let count = one.len() + other.len();
    timed("decode, each", 5_000, || {
        one.iter().take(5_000).for_each(|bytes| assert!(Transaction::decode_2718(&mut &bytes[..]).is_ok()));
    });
    timed("recover a signature on two threads, each", 5_000, || recover_senders(&some).expect("signed"));
    timed("submit_raw of 100,000 on two threads, each", count, || {
        thread::scope(|scope| {
            for half in [&one, &other] {
                scope.spawn(|| half.iter().for_each(|bytes| drop(chain.submit_raw(bytes).map(|_| ()))));
            }
        });
    });
    assert_eq!(chain.pool_status().pending, count);
    timed("pool_content", 1, || assert_eq!(chain.pool_content().pending.len(), count));
    for _ in 0..3 {
        clock.advance(1);
        let request = TemplateRequest { beneficiary: key(6).address(), ..TemplateRequest::default() };
        let block = timed("template", 1, || chain.template(&request, &|hash| sign(6, hash)).expect("a template").block);
        let block = seal(&chain, block);
        let again = block.block.body.transactions.len();
        timed(&format!("import of our own block of {again}"), 1, || chain.import(&block).expect("valid"));
    }
    let left = chain.pool_status();
    drop(chain);
    let chain = timed("open again", 1, open);
    eprintln!("{} of {} are back when it is open", chain.pool_status().pending, left.pending);
    let begun = Instant::now();
    while chain.pool_status() != left && begun.elapsed().as_secs() < 60 {
        thread::sleep(std::time::Duration::from_millis(20));
    }
    eprintln!("all after {:?} more", begun.elapsed());
    assert_eq!(chain.pool_status(), left);
}
