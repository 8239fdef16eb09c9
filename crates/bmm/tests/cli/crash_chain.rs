//! A node that is killed at any moment under load starts again at once, with everything that it had acknowledged, and a sound database.
//!
//! A killed process leaves what it gave to the system; a failing disk or power is what the store's own tests play through.
#![expect(clippy::print_stderr, reason = "seed and times are what one looks for when it fails")]

use crate::{
    chain::read,
    grown::raw_transfer,
    run::{Bmm, Running},
};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use bmm::rpc::RpcClient;
use bmm_types::{ChainParams, Engine};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Transactions that may be on their way at once.
const AHEAD: u64 = 400;

/// Receipts of earlier rounds that are looked up again in each round.
const OLDER: usize = 40;

/// What a node has acknowledged.
#[derive(Default)]
struct Seen {
    head: u64,
    /// Number and id of its block, by transaction.
    receipts: BTreeMap<B256, (u64, B256)>,
    /// Those of the last round.
    newest: Vec<B256>,
}

/// A small generator of moments: the seed is printed, so that a run can be told from another.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
        eprintln!("seed {seed}");
        Self(seed.into())
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A data folder whose chain makes a block as soon as a transaction waits.
fn folder(key: &PrivateKeySigner) -> Bmm {
    let bmm = Bmm::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut params = ChainParams::dev(key.address(), now - 1_000);
    params.engine = Engine::Dev;
    // Many blocks in one second, whose times must rise by one each.
    params.max_ahead_secs = 1_000_000_000;
    let folder = bmm.data().join("chains/dev");
    std::fs::create_dir_all(&folder).expect("created");
    std::fs::write(folder.join("genesis.toml"), toml::to_string(&params).expect("plain values")).expect("written");
    bmm
}

/// Starts a node, and waits until it answers.
fn start(bmm: &Bmm) -> (Running, RpcClient, Duration) {
    let begun = Instant::now();
    let mut up = bmm.spawn(&["up", "--json", "--listen", "127.0.0.1:0"]);
    let rpc = loop {
        if let Ok(listening) = serde_json::from_str::<Value>(&up.stdout()) {
            break RpcClient::new(listening["rpc"].as_str().expect("an address")).expect("a URL");
        }
        assert!(up.lives(), "bmm up ends: {}", up.stderr());
        std::thread::sleep(Duration::from_millis(2));
    };
    rpc.block_number().expect("an answer");
    (up, rpc, begun.elapsed())
}

/// Holds that what was acknowledged is there, at the same place of the chain.
fn check(rpc: &RpcClient, seen: &Seen, moments: &mut Moments) {
    let head = rpc.block_number().expect("an answer");
    assert!(head >= seen.head, "the head was block {}, now it is {head}", seen.head);
    let all: Vec<&B256> = seen.receipts.keys().collect();
    let count = u64::try_from(all.len()).expect("few");
    let older = (0..OLDER.min(all.len())).map(|_| *all[usize::try_from(moments.below(count)).expect("an index")]);
    for transaction in seen.newest.iter().copied().chain(older) {
        let (number, id) = seen.receipts[&transaction];
        let receipt = rpc.receipt(transaction).expect("an answer");
        let receipt = receipt.unwrap_or_else(|| panic!("{transaction} was in block {number}, and is gone"));
        assert_eq!((receipt.block, receipt.block_hash), (number, id), "{transaction}");
        assert_eq!(rpc.block_hash(number).expect("an answer"), Some(id), "block {number} is canonical");
    }
}

/// Sends transfers as fast as they are taken until the node is gone, noting what it acknowledges.
fn load(rpc: &RpcClient, key: &PrivateKeySigner, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let Ok(mut nonce) = rpc.nonce(key.address()) else { return };
    let chain_id = rpc.chain_id().unwrap_or_default();
    let sent = Mutex::new(std::collections::VecDeque::new());
    let waiting = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let next = sent.lock().expect("not poisoned").front().copied();
                let Some(transaction) = next else { continue };
                let Ok(found) = rpc.receipt(transaction) else { return };
                let Some(receipt) = found else { continue };
                sent.lock().expect("not poisoned").pop_front();
                waiting.fetch_sub(1, Ordering::Relaxed);
                let mut seen = seen.lock().expect("not poisoned");
                seen.receipts.insert(transaction, (receipt.block, receipt.block_hash));
                seen.newest.push(transaction);
                seen.head = seen.head.max(receipt.block);
            }
        });
        while !stop.load(Ordering::Relaxed) {
            if waiting.load(Ordering::Relaxed) >= AHEAD {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let Ok(hash) = rpc.call::<B256>("eth_sendRawTransaction", (raw_transfer(key, chain_id, nonce),)) else {
                break;
            };
            nonce += 1;
            waiting.fetch_add(1, Ordering::Relaxed);
            sent.lock().expect("not poisoned").push_back(hash);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let place = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("copied");
        }
    }
}

/// Verifies a copy of what the dead process left, so that the next start finds the files as they lie.
fn verify(bmm: &Bmm) -> Value {
    let copy = Bmm::new();
    copy_folder(&bmm.data().join("chains"), &copy.data().join("chains"));
    copy.json(&["db", "verify"])
}

/// Kills a node at so many random moments; returns how long the starts took.
fn kill(rounds: u32, longest: Duration) -> Vec<Duration> {
    let key = PrivateKeySigner::random();
    let bmm = folder(&key);
    let (mut moments, mut starts) = (Moments::new(), Vec::new());
    let seen = Mutex::new(Seen::default());
    for round in 0..rounds {
        let (mut up, rpc, start) = start(&bmm);
        starts.push(start);
        check(&rpc, &seen.lock().expect("not poisoned"), &mut moments);
        seen.lock().expect("not poisoned").newest.clear();
        let moment = moments.below(u64::try_from(longest.as_millis()).expect("short"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| load(&rpc, &key, &seen, &stop));
            std::thread::sleep(Duration::from_millis(moment));
            up.signal("KILL");
            assert_eq!(up.end(), None, "killed");
            stop.store(true, Ordering::Relaxed);
        });
        let verified = verify(&bmm);
        let seen = seen.lock().expect("not poisoned");
        assert!(read::<u64>(&verified, "head") >= seen.head, "{verified}");
        assert!(
            read::<u64>(&verified, "transactions") >= u64::try_from(seen.receipts.len()).expect("few"),
            "{verified}"
        );
        eprintln!(
            "round {round}: started in {} ms, killed after {moment} ms at block {}, {} receipts in all",
            start.as_millis(),
            verified["head"],
            seen.receipts.len()
        );
    }
    let (_up, rpc, _) = start(&bmm);
    let mut seen = seen.into_inner().expect("not poisoned");
    // At the end all of them, not a sample.
    seen.newest = seen.receipts.keys().copied().collect();
    check(&rpc, &seen, &mut moments);
    assert!(seen.receipts.len() > 20 * usize::try_from(rounds).expect("few"), "the load was no load");
    starts.sort_unstable();
    eprintln!(
        "starts: half within {} ms, the slowest {} ms",
        starts[starts.len() / 2].as_millis(),
        starts[starts.len() - 1].as_millis()
    );
    starts
}

#[test]
fn a_node_killed_under_load_loses_nothing_that_it_acknowledged() {
    kill(8, Duration::from_millis(1_500));
}

/// `cargo test --release -p bmm --test cli -- --ignored kill_200`
#[test]
#[ignore = "takes some ten minutes, and looks at the clock"]
fn kill_200() {
    let starts = kill(200, Duration::from_secs(3));
    assert!(starts.iter().all(|start| *start <= Duration::from_secs(3)), "{starts:?}");
}
