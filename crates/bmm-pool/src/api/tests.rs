//! The API over a socket, as programs use it.

use super::*;
use crate::{
    accountant::{Accountant, POOL_LOG, PayRules},
    block::{BlockEvent, BlockKey},
    job::{ChainWork, Job},
    log::{ShareLog, extend},
    payout::PayRule,
    share::Share,
};
use alloy_primitives::{Address, U256};
use bmm_pow::difficulty::Difficulty;
use serde_json::Value;
use std::collections::BTreeMap;

fn job() -> Arc<Job> {
    let target = Difficulty::new(U256::from(1_000)).expect("not zero").target();
    Job::bare(1, vec![ChainWork { name: "bmm".into(), height: 5, target }])
}

/// A pool with 20 shares, of accounts 1 and 2 in turn, and a block of the last one.
struct World {
    base: String,
    log: ShareLog,
    _serving: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = ShareLog::open(&dir.path().join("log")).expect("new");
        let job = job();
        let share = |n: u8| Share {
            at_millis: 1_700_000_000_000,
            account: Address::with_last_byte(1 + n % 2),
            worker: "rig\"\\".into(),
            hashes: 500,
            job: job.clone(),
        };
        log.append(&(0..20).map(share).collect::<Vec<_>>()).expect("room");
        let books = Books::open(&format!("sqlite://{}", dir.path().join("db").display())).await.expect("new");
        let rules = PayRules { chains: BTreeMap::new(), other: PayRule::new(4, 100).expect("in bounds") };
        let accountant = Accountant::new(log.reader(), POOL_LOG, books.clone(), rules).await.expect("fits");
        let key = BlockKey { chain: "bmm".into(), id: "0xab".into() };
        let found = BlockEvent::Found { key: key.clone(), height: 5, reward: 80_000, share: 19 };
        accountant.note(&found).await.expect("booked");
        accountant.note(&BlockEvent::Mature(key)).await.expect("booked");
        let (_, jobs) = watch::channel(job);
        let status = ChainStatus { name: "bmm".into(), height: 6, taken: 1, ..ChainStatus::default() };
        let side = Side {
            name: POOL_LOG,
            stats: Arc::new(Stats::new(10)),
            log: log.reader(),
            jobs,
            chains: Box::new(move || vec![status.clone()]),
        };
        let state = ApiState {
            books,
            sides: vec![side],
            wallet: "0x01".into(),
            fee_basis_points: 100,
            window_blocks: 4,
            min_payment: "1 BMM".into(),
            payment_fee: "0 BMM".into(),
            network: watch::channel(Some(4_000.0)).1,
        };
        let (addresses, serving) = bind(&["127.0.0.1:0".parse().expect("an address")], state).expect("free");
        let base = format!("http://{}", addresses[0]);
        Self { base, log, _serving: tokio::spawn(serving), _dir: dir }
    }

    /// Status and text of an answer.
    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.base);
        let asked = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
            let mut answer = agent.get(&url).call().expect("an answer");
            (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
        });
        asked.await.expect("no panic")
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_its_blocks_and_accounts_are_told() {
    let world = World::new().await;
    let pool = world.json("/api/v1/pool").await;
    let side = &pool["sides"][0];
    assert_eq!((&side["log_shares"], &side["log_root"]), (&20.into(), &world.log.root().to_string().into()));
    let chain = &side["chains"][0];
    assert_eq!((&chain["height"], &chain["taken"], &chain["effort"]), (&6.into(), &1.into(), &10.0.into()));
    let blocks = world.json("/api/v1/blocks").await;
    let block = &blocks["blocks"][0];
    assert_eq!((&block["reward"], &block["state"], &block["oldest"]), (&"80000".into(), &"mature".into(), &12.into()));
    assert_eq!(world.json("/api/v1/blocks/1").await, *block);
    let credits = world.json("/api/v1/blocks/1/credits").await;
    let amounts: Vec<&Value> = credits["rows"].as_array().expect("rows").iter().map(|row| &row["amount"]).collect();
    assert_eq!(amounts, ["39600", "39600"]);
    let account = world.json(&format!("/api/v1/accounts/{}", Address::with_last_byte(2))).await;
    assert_eq!((&account["balances"][0]["balance"], &account["immature"]["bmm"]), (&"39600".into(), &"0".into()));
    assert_eq!(world.json("/api/v1/payments").await["rows"], Value::Array(Vec::new()));
    assert_eq!(world.json("/api/v1/workers").await["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_says_why() {
    let world = World::new().await;
    for (path, status) in [
        ("/", 404),
        ("/api/v1/blocks/2", 404),
        ("/api/v1/blocks/x", 400),
        ("/api/v1/blocks?limit=many", 400),
        ("/api/v1/blocks?colour=red", 400),
        ("/api/v1/accounts/0x12", 400),
        ("/api/v1/shares?to=20", 404),
        ("/api/v1/shares?log=other&to=1", 404),
        ("/api/v1/shares", 400),
    ] {
        let (found, text) = world.get(path).await;
        assert_eq!(found, status, "{path}: {text}");
        let said: Value = serde_json::from_str(&text).expect("JSON");
        assert!(said["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_told_so_that_their_root_can_be_worked_out() {
    let world = World::new().await;
    let page: SharePage =
        serde_json::from_value(world.json("/api/v1/shares?to=19&limit=8").await).expect("a page of shares");
    let logged = page.logged().expect("sound");
    assert_eq!((logged.len(), page.jobs.len()), (8, 1));
    assert_eq!(logged.iter().rev().fold(page.root_before, extend), world.log.root());
    assert_eq!(logged[7], world.log.reader().share(12).expect("there"));
    let bad = SharePage { shares: vec![(Address::ZERO, String::new(), 1, 1, 1)], ..page };
    assert!(bad.logged().is_none(), "a job that is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_as_prometheus_reads_them() {
    let world = World::new().await;
    let (status, text) = world.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "bmm_pool_books_balanced{chain=\"bmm\"} 1",
        "bmm_pool_log_shares_total{side=\"pool\"} 20",
        "bmm_pool_network_hashes_per_second{side=\"pool\",chain=\"bmm\"} 4000",
        "bmm_pool_balances{chain=\"bmm\"} 80000",
        "bmm_pool_blocks_total{side=\"pool\",chain=\"bmm\",fate=\"taken\"} 1",
        "bmm_pool_shares_rejected_total{side=\"pool\",reason=\"stale\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    // Each metric has its type once, before its values.
    let mut typed = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().expect("a name").to_owned()), "{line} is there twice");
        } else if !line.starts_with('#') {
            assert!(typed.contains(line.split('{').next().expect("a name")), "{line} has no type");
        }
    }
}
