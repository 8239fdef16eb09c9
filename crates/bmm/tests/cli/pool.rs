//! A pool on the dev chain: miners of unequal power are paid in proportion, and a pool that is killed loses and pays nothing twice.

use crate::{
    chain::Chain,
    run::{Bmm, Running},
};
use alloy_primitives::{Address, U256, hex};
use bmm_pow::auxpow::merkle::sha256d;
use bmm_scrypt::Hasher;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Long enough on a busy machine; nothing waits so long unless it fails.
const LONG: Duration = Duration::from_mins(8);

pub const CONFIG: &str = r#"
[pool]
listen = ["127.0.0.1:0"]
api_listen = ["127.0.0.1:0"]
wallet = "dev"
shares_per_minute = 100000
maturity = 3
min_payment = "0.001 BMM"
payment_fee = "0.0001 BMM"
payment_confirmations = 2
payment_secs = 1
"#;

fn pool(bmm: &Bmm) -> (Running, Value) {
    start(bmm, &["pool", "--json"])
}

/// Starts a pool, and returns what it says when it listens.
pub fn start(bmm: &Bmm, args: &[&str]) -> (Running, Value) {
    let mut pool = bmm.spawn(args);
    loop {
        if let Ok(running) = serde_json::from_str(&pool.stdout()) {
            return (pool, running);
        }
        assert!(pool.lives(), "bmm pool ends: {}", pool.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A miner that hashes only when it is told to, so that its power is exact.
pub struct Miner {
    pub account: Address,
    stream: Option<TcpStream>,
    read: Vec<u8>,
    extranonce1: String,
    target: U256,
    job: Vec<Value>,
    nonce: u32,
    ids: u64,
    pub acknowledged: u64,
}

impl Miner {
    pub fn new(account: u8) -> Self {
        Self {
            account: Address::repeat_byte(account),
            stream: None,
            read: Vec::new(),
            extranonce1: String::new(),
            target: U256::ZERO,
            job: Vec::new(),
            nonce: 0,
            ids: 10,
            acknowledged: 0,
        }
    }

    /// Connects anew; shares that were not acknowledged before are forgotten.
    pub fn connect(&mut self, address: &str) {
        let mut stream = TcpStream::connect(address).expect("the pool listens");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let user = format!("{:#x}.rig", self.account);
        let lines = format!(
            "{}\n{}\n",
            json!({ "id": 1, "method": "mining.subscribe", "params": ["test"] }),
            json!({ "id": 2, "method": "mining.authorize", "params": [user, "d=0.015625"] })
        );
        stream.write_all(lines.as_bytes()).expect("sent");
        self.stream = Some(stream);
        self.job.clear();
        self.read.clear();
        let begun = Instant::now();
        while self.job.is_empty() {
            assert!(begun.elapsed() < LONG && self.stream.is_some(), "no job comes");
            self.listen();
        }
    }

    /// Reads what has come.
    fn listen(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut some = vec![0; 65_536];
        match stream.read(&mut some) {
            Ok(0) => self.stream = None,
            Ok(len) => self.read.extend(&some[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.stream = None,
        }
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            self.told(&serde_json::from_slice(&line).expect("a line is JSON"));
        }
    }

    fn told(&mut self, line: &Value) {
        let params = line["params"].as_array().cloned().unwrap_or_default();
        match line["method"].as_str() {
            Some("mining.set_difficulty") => {
                let parts = params[0].as_f64().expect("a number") * 65_536.0;
                self.target = (U256::from(0xffff) << 240) / U256::from(parts);
            }
            Some("mining.notify") => self.job = params,
            None if line["id"] == 1 => {
                line["result"][1].as_str().expect("an extra nonce").clone_into(&mut self.extranonce1);
            }
            None if line["id"].as_u64().is_some_and(|id| id > 2) && line["result"] == true => self.acknowledged += 1,
            _ => {}
        }
    }

    /// Hashes one batch of headers and sends what are shares.
    fn hash(&mut self, kernel: &mut Hasher) {
        let text = |place: usize| self.job[place].as_str().expect("text");
        let number = |place: usize| u32::from_str_radix(text(place), 16).expect("a number");
        let extranonce2 = "00000000000000b2";
        let coinbase = hex::decode([text(2), &self.extranonce1, extranonce2, text(3)].concat()).expect("hex");
        let branch = self.job[4].as_array().expect("a branch").iter();
        let root = branch.fold(sha256d(&coinbase), |root, node| {
            sha256d(&[root.as_slice(), &hex::decode(node.as_str().expect("text")).expect("hex")].concat())
        });
        let mut previous = hex::decode(text(1)).expect("hex");
        previous.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let lanes = u32::try_from(kernel.lanes()).expect("few");
        let header = |nonce: u32| -> [u8; 80] {
            let tail = [number(7).to_le_bytes(), number(6).to_le_bytes(), nonce.to_le_bytes()].concat();
            let all = [number(5).to_le_bytes().to_vec(), previous.clone(), root.to_vec(), tail].concat();
            all.try_into().expect("80 bytes")
        };
        let headers: Vec<_> = (0..lanes).map(|lane| header(self.nonce.wrapping_add(lane))).collect();
        let mut hashes = vec![[0; 32]; headers.len()];
        kernel.hash(&headers, &mut hashes);
        let user = format!("{:#x}.rig", self.account);
        let mut out = String::new();
        for (lane, hash) in (0..lanes).zip(&hashes) {
            if U256::from_le_bytes(*hash) <= self.target {
                self.ids += 1;
                let nonce = format!("{:08x}", self.nonce.wrapping_add(lane));
                let params = json!([user, self.job[0], extranonce2, self.job[7], nonce]);
                out += &json!({ "id": self.ids, "method": "mining.submit", "params": params }).to_string();
                out.push('\n');
            }
        }
        self.nonce = self.nonce.wrapping_add(lanes);
        if let Some(stream) = &mut self.stream
            && stream.write_all(out.as_bytes()).is_err()
        {
            self.stream = None;
        }
    }
}

/// Three miners with powers of 4, 2 and 1.
fn miners() -> Vec<(Miner, u32)> {
    vec![(Miner::new(0xa4), 4), (Miner::new(0xb2), 2), (Miner::new(0xc1), 1)]
}

/// Mines until `enough` says so, looking about every second.
pub fn mine(miners: &mut [(Miner, u32)], mut enough: impl FnMut(&[(Miner, u32)]) -> bool) {
    let mut kernel = Hasher::new();
    let (begun, mut looked) = (Instant::now(), Instant::now());
    loop {
        for (miner, power) in &mut *miners {
            miner.listen();
            (0..*power).for_each(|_| miner.hash(&mut kernel));
        }
        if looked.elapsed() > Duration::from_secs(1) {
            if enough(miners) {
                return;
            }
            looked = Instant::now();
        }
        assert!(begun.elapsed() < LONG, "the pool does not come so far");
    }
}

fn amount(value: &Value) -> u128 {
    value.as_str().expect("an amount is text").parse().expect("a number")
}

/// What the books say of each miner: earned, paid.
fn accounts(report: &Value) -> BTreeMap<String, (u128, u128)> {
    let rows = report["balances"].as_array().expect("rows").iter();
    rows.map(|row| (row["account"].as_str().expect("text").to_owned(), (amount(&row["earned"]), amount(&row["paid"]))))
        .collect()
}

/// What a miner has on chain is what the books say it was paid, less the fees: nothing was paid twice.
fn holds_on_chain(bmm: &Bmm, chain: &Chain, miners: &[(Miner, u32)]) {
    let report = bmm.json(&["pool", "payments", "--limit", "500"]);
    assert_eq!(report["balanced"], true, "{report}");
    let payments = report["payments"].as_array().expect("rows");
    assert!(payments.iter().all(|payment| payment["state"] == "paid"), "all are final: {report}");
    for (miner, _) in miners {
        let account = miner.account.to_string();
        let own = bmm.json(&["pool", "payments", "--account", &account, "--limit", "500"]);
        let times = u128::try_from(own["payments"].as_array().expect("rows").len()).expect("few");
        let (_, paid) = accounts(&own)[&format!("{:#x}", miner.account)];
        let fee = 100_000_000_000_000;
        let balance = chain.rpc.balance(miner.account).expect("an answer").units();
        assert_eq!(balance, U256::from(paid - times * fee), "{account} was paid {times} times");
    }
}

/// Runs the pool once more, without new payments, until none is open.
fn settle(bmm: &Bmm, miners: &mut [(Miner, u32)]) {
    let (mut running, listening) = start(bmm, &["pool", "--json", "--min-payment", "1000000 BMM"]);
    for (miner, _) in &mut *miners {
        miner.connect(listening["stratum"][0].as_str().expect("an address"));
    }
    mine(miners, |_| {
        let report = bmm.json(&["pool", "payments"]);
        let payments = report["payments"].as_array().expect("rows");
        payments.iter().all(|payment| payment["state"] == "paid")
    });
    running.signal("TERM");
    assert_eq!(running.end(), Some(0), "{}", running.stderr());
}

#[test]
fn miners_are_paid_in_proportion_and_can_check_it() {
    let bmm = Bmm::new();
    std::fs::create_dir_all(bmm.data()).expect("a folder");
    std::fs::write(bmm.data().join("config.toml"), CONFIG).expect("written");
    let chain = Chain::up(&bmm);
    let (mut running, listening) = pool(&bmm);
    let mut miners = miners();
    for (miner, _) in &mut miners {
        miner.connect(listening["stratum"][0].as_str().expect("an address"));
    }
    mine(&mut miners, |_| {
        let report = bmm.json(&["pool", "payments"]);
        let accounts = accounts(&report);
        let paid = accounts.iter().filter(|(account, (_, paid))| account.len() == 42 && *paid > 0).count();
        let blocks: Value = bmm.json(&["pool", "status"]);
        paid == 3 && blocks["sides"][0]["chains"][0]["taken"].as_u64() >= Some(40)
    });
    let status = bmm.json(&["pool", "status"]);
    let logged = status["sides"][0]["log_shares"].as_u64().expect("a number");
    assert!(logged >= miners.iter().map(|(miner, _)| miner.acknowledged).sum());
    let workers = bmm.json(&["pool", "workers"]);
    assert_eq!(workers["total"], 3, "{workers}");

    // Powers are as 4 : 2 : 1. A miner's shares vary by the root of their number; five times that is never seen.
    let report = bmm.json(&["pool", "payments"]);
    let earned = accounts(&report);
    let earned: Vec<u128> = miners.iter().map(|(miner, _)| earned[&format!("{:#x}", miner.account)].0).collect();
    let total: u128 = earned.iter().sum();
    for ((miner, power), earned) in miners.iter().zip(&earned) {
        let shares = miner.acknowledged;
        let permille = earned * 1000 / total;
        let right = u128::from(*power) * 1000 / 7;
        // 5 · 1000 · sqrt(n) / n · part, with n no more than what was acknowledged in time for a mature block: half, say.
        let allowed = u128::from((25_000_000 / (shares / 2).max(1)).isqrt()) * right / 1000 + 1;
        assert!(
            permille.abs_diff(right) <= allowed,
            "power {power}: {permille} ‰ of the pay, where {right} ± {allowed} is right; {shares} shares"
        );
    }

    // Each miner checks the newest block for itself; its shares are in the window that the published root is of.
    let block = status["sides"][0]["chains"][0]["taken"].as_u64().expect("a number").to_string();
    let mut own = 0;
    for (miner, _) in &miners {
        let finding = bmm.json(&["pool", "check", &block, &miner.account.to_string()]);
        assert_eq!(finding["ok"], true, "{finding}");
        own += finding["own_shares"].as_u64().expect("a number");
        // All shares of the window are somebody's.
        assert!(own <= finding["shares"].as_u64().expect("a number"), "{finding}");
    }
    assert!(own > 0, "somebody's shares are in the window");
    let text = bmm.run(&["pool", "payments"]).stdout;
    assert!(text.contains("rewards") && text.contains("paid"), "{text}");
    running.signal("INT");
    assert_eq!(running.end(), Some(0), "{}", running.stderr());
    assert!(bmm.fails(1, &["pool", "status"]).contains("no pool runs"));
    settle(&bmm, &mut miners);
    holds_on_chain(&bmm, &chain, &miners);
}

#[test]
fn a_pool_that_is_killed_loses_no_share_and_pays_nothing_twice() {
    let bmm = Bmm::new();
    std::fs::create_dir_all(bmm.data()).expect("a folder");
    std::fs::write(bmm.data().join("config.toml"), CONFIG).expect("written");
    let chain = Chain::up(&bmm);
    let mut miners = miners();
    for life in 0_u64..6 {
        let (mut running, listening) = pool(&bmm);
        let before: u64 = miners.iter().map(|(miner, _)| miner.acknowledged).sum();
        assert!(
            listening["shares"].as_u64() >= Some(before),
            "{before} shares were acknowledged: {listening}, {}",
            running.stderr()
        );
        for (miner, _) in &mut miners {
            miner.connect(listening["stratum"][0].as_str().expect("an address"));
        }
        // Shares, blocks and payments are under way at whatever point it is killed.
        let mut looks = 0;
        mine(&mut miners, |miners| {
            looks += 1;
            let now: u64 = miners.iter().map(|(miner, _)| miner.acknowledged).sum();
            now > before && looks > 3 + life
        });
        running.signal("KILL");
        assert_eq!(running.end(), None);
        for (miner, _) in &mut miners {
            // What was acknowledged before the end counts too.
            while miner.stream.is_some() {
                miner.listen();
            }
        }
    }
    let (mut running, listening) = pool(&bmm);
    for (miner, _) in &mut miners {
        miner.connect(listening["stratum"][0].as_str().expect("an address"));
    }
    mine(&mut miners, |_| {
        let report = bmm.json(&["pool", "payments"]);
        let accounts = accounts(&report);
        accounts.iter().filter(|(account, (_, paid))| account.len() == 42 && *paid > 0).count() == 3
    });
    running.signal("KILL");
    assert_eq!(running.end(), None);
    settle(&bmm, &mut miners);
    holds_on_chain(&bmm, &chain, &miners);
}
