//! Jobs between strangers: requester and providers in processes and data folders of their own, over libp2p.

use crate::{
    chain::{Chain, read, units},
    programs::{job, worked, worker},
    run::{Bmm, Running},
};
use alloy_primitives::{Address, B256, U256};
use bmm_types::system::{Jobs, Resources};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// Some 50 ms each.
const ROUNDS: u32 = 40_000_000;

/// A running `bmm provide` with a data folder of its own.
pub struct Provider {
    bmm: Bmm,
    running: Running,
    pub operator: Address,
    pub address: String,
}

/// Waits for something, as long as anything here may take.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn provide(bmm: &Bmm, chain: &Chain, bootstrap: Option<&Provider>, slots: &str) -> (Running, Value) {
    let mut args = vec!["provide", "--json", "--rpc", chain.rpc.url(), "--slots", slots];
    args.extend(["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"]);
    if let Some(first) = bootstrap {
        args.extend(["--bootstrap", &first.address]);
    }
    let mut running = bmm.spawn(&args);
    let told = until("a provider", || {
        assert!(running.lives(), "bmm provide ends: {}", running.stderr());
        serde_json::from_str(&running.stdout()).ok()
    });
    (running, told)
}

impl Provider {
    fn start(chain: &Chain, bootstrap: Option<&Self>) -> Self {
        Self::with(chain, bootstrap, "")
    }

    /// Starts one with a configuration of its own.
    pub fn with(chain: &Chain, bootstrap: Option<&Self>, config: &str) -> Self {
        Self::with_slots(chain, bootstrap, config, "1")
    }

    /// Starts one that runs so many tasks at once.
    pub fn with_slots(chain: &Chain, bootstrap: Option<&Self>, config: &str, slots: &str) -> Self {
        let bmm = Bmm::new();
        std::fs::create_dir_all(bmm.data()).expect("a folder");
        std::fs::write(bmm.data().join("config.toml"), config).expect("written");
        let (running, told) = provide(&bmm, chain, bootstrap, slots);
        let address = told["addresses"][0].as_str().expect("an address").to_owned();
        Self { bmm, running, operator: read(&told, "operator"), address }
    }

    /// Kills the process as the system would for want of memory.
    pub fn kill(&mut self) {
        self.running.signal("KILL");
        assert_eq!(self.running.end(), None);
    }

    /// Starts it again on the same data folder; returns when it tells of itself.
    pub fn restart(&mut self, chain: &Chain, bootstrap: Option<&Self>, slots: &str) {
        let (running, told) = provide(&self.bmm, chain, bootstrap, slots);
        self.running = running;
        told["addresses"][0].as_str().expect("an address").clone_into(&mut self.address);
    }

    /// Returns the number of its process.
    pub fn pid(&self) -> u64 {
        let told: Value = serde_json::from_str(&self.running.stdout()).expect("it told of itself");
        told["pid"].as_u64().expect("a number")
    }

    /// Returns what it tells of itself.
    pub fn status(&self) -> Value {
        self.bmm.json(&["provide", "--status"])
    }
}

/// Runs a job of `tasks` tasks on the network that `first` is part of.
fn start_job(bmm: &Bmm, first: &Provider, tasks: u32, more: &str) -> Running {
    let file = job(bmm, &worker(ROUNDS), tasks, more);
    bmm.spawn(&["--json", "run", file.to_str().expect("UTF-8"), "--bootstrap", &first.address, "--out", "out"])
}

/// Holds that a job is right and was paid once, to `operators`; returns who was paid.
fn check(bmm: &Bmm, chain: &Chain, receipt: &Value, tasks: u32, operators: &[&Provider]) -> BTreeSet<Address> {
    assert_eq!((&receipt["status"], &receipt["done"]), (&"settled".into(), &tasks.into()), "{receipt}");
    let output = bmm.dir.path().join("out/out.bin");
    assert!(std::fs::read(output).expect("the output") == worked(ROUNDS, tasks), "other bytes than on one machine");
    let id: B256 = read(receipt, "job");
    assert_eq!(chain.settled_once(id).paid, units(receipt, "price_bmm"));
    let paid: Vec<Jobs::Paid> = chain.events(Some(id));
    let paid: BTreeSet<Address> = paid.iter().map(|event| event.provider).collect();
    assert!(paid.iter().all(|one| operators.iter().any(|provider| provider.operator == *one)), "{paid:?}");
    paid
}

#[test]
fn strangers_do_a_job_and_are_paid() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let first = Provider::start(&chain, None);
    let second = Provider::start(&chain, Some(&first));
    let offers = until("two offers", || {
        let listed = bmm.json(&["market", "offers", "--bootstrap", &first.address, "--no-mdns", "--wait", "1"]);
        let offers = listed["offers"].as_array().expect("a list").clone();
        (offers.len() == 2).then_some(offers)
    });
    let offered: BTreeSet<Address> = offers.iter().map(|offer| read(offer, "provider")).collect();
    assert_eq!(offered, BTreeSet::from([first.operator, second.operator]));

    let receipt = start_job(&bmm, &first, 60, "[verify]\nmode = \"replicate\"\nn = 2\n").wait().json();
    let paid = check(&bmm, &chain, &receipt, 60, &[&first, &second]);
    assert_eq!(paid.len(), 2, "every task ran on both");
    for provider in [&first, &second] {
        let operator = until("pay", || {
            let operator = provider.status()["operators"][0].clone();
            (operator["earnings"][0]["state"] == "paid").then_some(operator)
        });
        assert_eq!((&operator["jobs"], &operator["promised_bmm"]), (&1.into(), &"0".into()), "{operator}");
        let pay = receipt["providers"].as_array().expect("a list").iter();
        let pay = pay.clone().find(|pay| read::<Address>(pay, "address") == provider.operator).expect("paid");
        assert_eq!(operator["paid_bmm"], pay["pay_bmm"]);
    }
    let id = receipt["job"].as_str().expect("an id");
    let explained = bmm.json(&["job", "explain", id]);
    assert_eq!((&explained["providers"], &explained["matching"]), (&2.into(), &2.into()), "{explained}");
    assert!(explained["verify"].as_str().is_some_and(|how| how.contains("2 providers")), "{explained}");
}

#[test]
fn a_provider_claims_what_its_work_earns_of_the_resource_pot() {
    let bmm = Bmm::new();
    let chain = Chain::up_with(&bmm, |params| {
        params.epoch_blocks = 12;
        params.jobs.as_mut().expect("an escrow").fee_bps = 2_000;
    });
    let provider = Provider::with(&chain, None, "[provide]\nprice_per_gfuel = \"0.01\"\n");
    let receipt = start_job(&bmm, &provider, 20, "[verify]\nmode = \"none\"\n").wait().json();
    assert_eq!(receipt["status"], "settled", "{receipt}");
    let credited: Vec<Resources::Credited> = chain.resource_events();
    let [credited] = &credited[..] else { panic!("one credit: {credited:?}") };
    assert_eq!(credited.contributor, provider.operator);
    let claimed = until("a claim", || {
        let claimed: Vec<Resources::Claimed> = chain.resource_events();
        claimed.into_iter().find(|claimed| claimed.contributor == provider.operator)
    });
    // Its class has a whole pot for it alone, so the cap of 40 % of the fees is what it gets.
    assert_eq!((claimed.epoch, claimed.reward), (credited.epoch, credited.fee * U256::from(4) / U256::from(10)));
}

#[test]
fn offers_go_through_a_plain_node_that_jobs_begin_with() {
    let (bmm, buyer) = (Bmm::new(), Bmm::new());
    let listen = ["--listen", "127.0.0.1:0", "--peer-listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
    let mut up = bmm.spawn(&[&["up", "--json"], &listen[..]].concat());
    let node: Value = until("a node", || {
        assert!(up.lives(), "bmm up ends: {}", up.stderr());
        serde_json::from_str(&up.stdout()).ok()
    });
    let rpc = node["rpc"].as_str().expect("an address");
    // Neither of them is told of the other, or of a node to begin with but the one for JSON-RPC.
    let provider = Bmm::new();
    let args = ["provide", "--json", "--rpc", rpc, "--slots", "1", "--no-mdns"];
    let mut running = provider.spawn(&args);
    until("its offer", || {
        assert!(running.lives(), "bmm provide ends: {}", running.stderr());
        let told = buyer.json(&["market", "offers", "--rpc", rpc, "--no-mdns", "--wait", "1"]);
        (told["offers"].as_array().expect("a list").len() == 1).then_some(())
    });
}

#[test]
fn the_configuration_says_where_to_begin_unless_somebody_types_it() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let first = Provider::start(&chain, None);
    let config = format!("[network]\nbootstrap = [{:?}]\nmdns = false\n", first.address);
    let second = Provider::with(&chain, None, &config);
    let elsewhere = Bmm::new();
    std::fs::create_dir_all(elsewhere.data()).expect("a folder");
    std::fs::write(elsewhere.data().join("config.toml"), &config).expect("written");
    let offers = ["market", "offers", "--rpc", chain.rpc.url(), "--wait", "1"];
    let listed = until("two offers", || {
        let listed = elsewhere.json(&offers);
        (listed["offers"].as_array().expect("a list").len() == 2).then_some(listed)
    });
    let from: BTreeSet<Address> =
        listed["offers"].as_array().expect("a list").iter().map(|offer| read(offer, "provider")).collect();
    assert_eq!(from, BTreeSet::from([first.operator, second.operator]));
    let nowhere = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let listed = elsewhere.json(&[&offers[..], &["--bootstrap", nowhere]].concat());
    assert_eq!((listed["offers"].as_array().map(Vec::len), &listed["peers"]), (Some(0), &0.into()), "{listed}");
}

#[test]
fn what_strangers_do_is_audited_unless_the_job_says_otherwise() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let first = Provider::start(&chain, None);
    let file = job(&bmm, &worker(1_000), 8, "");
    let path = file.to_str().expect("UTF-8");
    let quoted = |more: &[&str]| bmm.json(&[&["run", path, "--dry-run"], more].concat())["verify"].to_string();
    let network = ["--bootstrap", first.address.as_str()];
    assert!(quoted(&[]).contains("nobody checks") && quoted(&network).contains("audited"));
    assert!(quoted(&[&network[..], &["--replicate", "1"]].concat()).contains("nobody checks"));
    let receipt = start_job(&bmm, &first, 30, "").wait().json();
    check(&bmm, &chain, &receipt, 30, &[&first]);
    let checked: u64 = read(&receipt["verified"], "checked");
    assert!(checked > 0, "a provider that nobody knows is looked at: {receipt}");
}

#[test]
fn a_job_outlives_the_providers_that_it_began_with() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let second = Provider::start(&chain, None);
    let mut doomed = Provider::start(&chain, Some(&second));
    // Without checks each task is paid once, to whoever delivered it.
    let more = "[verify]\nmode = \"none\"\n[budget]\nmax = \"20 BMM\"\n";
    let mut running = start_job(&bmm, &second, 400, more);
    has_earned(&mut running, &doomed);
    doomed.running.signal("KILL");
    assert_eq!(doomed.running.end(), None);
    let third = Provider::start(&chain, Some(&second));
    has_earned(&mut running, &third);
    let receipt = running.wait().json();
    let paid = check(&bmm, &chain, &receipt, 400, &[&second, &doomed, &third]);
    assert!(paid.contains(&third.operator) && paid.contains(&doomed.operator), "{paid:?}");
    nothing_undelivered_is_paid(&chain, &receipt, 400);
}

/// Holds that every task was paid once, and each provider on chain exactly for the work that it delivered.
fn nothing_undelivered_is_paid(chain: &Chain, receipt: &Value, tasks: u64) {
    let providers = receipt["providers"].as_array().expect("a list");
    let delivered: u64 = providers.iter().map(|provider| read::<u64>(provider, "tasks")).sum();
    assert_eq!(delivered, tasks, "a task that a provider took with it is paid to who did it");
    let paid: Vec<Jobs::Paid> = chain.events(Some(read(receipt, "job")));
    for provider in providers {
        // 0.001 BMM for 10^9 fuel are 10^6 units for each.
        let earned = U256::from(read::<u64>(provider, "fuel")) * U256::from(1_000_000);
        let on_chain = paid.iter().find(|event| event.provider == read::<Address>(provider, "address")).expect("paid");
        assert_eq!(on_chain.amount, earned, "{provider}");
    }
}

/// Waits until a provider has a voucher.
fn has_earned(running: &mut Running, provider: &Provider) {
    until("a voucher", || {
        assert!(running.lives(), "bmm run ended before that: {} {}", running.stdout(), running.stderr());
        let status = provider.status();
        let voucher = &status["operators"][0]["earnings"][0]["voucher"];
        (!voucher.is_null()).then_some(())
    });
}

#[test]
fn a_provider_that_stops_hands_in_what_it_has_done() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let mut first = Provider::start(&chain, None);
    let second = Provider::start(&chain, Some(&first));
    let mut running = start_job(&bmm, &first, 200, "[budget]\nmax = \"20 BMM\"\n");
    has_earned(&mut running, &first);
    has_earned(&mut running, &second);
    first.running.signal("INT");
    assert_eq!(first.running.end(), Some(0), "{}", first.running.stderr());
    let receipt = running.wait().json();
    check(&bmm, &chain, &receipt, 200, &[&first, &second]);
    assert_eq!(receipt["failed"], 0);
}

#[test]
fn a_paused_provider_gives_back_what_it_has_not_begun_and_goes_on_when_its_owner_says_so() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let provider = Provider::start(&chain, None);
    let more = "[verify]\nmode = \"none\"\n[budget]\nmax = \"20 BMM\"\n";
    let mut running = start_job(&bmm, &provider, 200, more);
    has_earned(&mut running, &provider);
    provider.bmm.json(&["provide", "pause"]);
    until("the pause", || {
        let running = provider.status()["running"].clone();
        (running["paused"].as_str()?.contains("paused by its owner") && running["free_slots"] == 1).then_some(())
    });
    let earned = || provider.status()["operators"][0]["earnings"][0]["voucher"]["total"].clone();
    // What had run may still be on its way.
    std::thread::sleep(Duration::from_secs(1));
    let before = earned();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(earned(), before, "nothing runs meanwhile");
    assert!(running.lives(), "the job waits: {} {}", running.stdout(), running.stderr());
    provider.bmm.json(&["provide", "resume"]);
    let receipt = running.wait().json();
    check(&bmm, &chain, &receipt, 200, &[&provider]);
    nothing_undelivered_is_paid(&chain, &receipt, 200);
}

#[test]
fn a_provider_that_died_is_paid_by_a_requester_that_vanished() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let mut provider = Provider::start(&chain, None);
    // Its claim costs gas.
    let operator = provider.operator.to_string();
    bmm.json(&["wallet", "send", &operator, "1 BMM", "--from", "dev", "--yes", "--wait"]);
    let mut running = start_job(&bmm, &provider, 4_000, "[budget]\nmax = \"900 BMM\"\ndeadline = \"30 s\"\n");
    has_earned(&mut running, &provider);
    running.signal("KILL");
    running.end();
    provider.running.signal("KILL");
    provider.running.end();
    let promised = units(&provider.status()["operators"][0], "promised_bmm");
    assert!(!promised.is_zero());
    provider.restart(&chain, None, "1");
    let paid = until("the claim", || chain.events::<Jobs::Paid>(None).pop());
    assert_eq!((paid.provider, paid.amount), (provider.operator, promised));
    let earning = until("the ledger", || {
        let earning = provider.status()["operators"][0]["earnings"][0].clone();
        (earning["state"] == "paid").then_some(earning)
    });
    assert!(earning["claim_transaction"].is_string() && units(&earning, "paid_bmm") == promised, "{earning}");
    assert_eq!(chain.events::<Jobs::Paid>(None).len(), 1, "claimed once");
}

#[test]
fn nobody_there_is_told_with_the_remedy() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let file = job(&bmm, &worker(1_000), 4, "");
    let nowhere = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let ran = bmm.run(&["run", file.to_str().expect("UTF-8"), "--bootstrap", nowhere]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("no provider of the network") && ran.stderr.contains("hint:"), "{ran:?}");
    assert!(chain.events::<Jobs::Opened>(None).is_empty(), "nothing was opened");
    let told = bmm.fails(1, &["run", file.to_str().expect("UTF-8"), "--bootstrap", "there"]);
    assert!(told.contains("is no address") && told.contains("/p2p/"), "{told}");
    let one = provide(&bmm, &chain, None, "1");
    let told = bmm.fails(1, &["provide", "--no-mdns"]);
    assert!(told.contains("a provider runs in this data folder already"), "{told}");
    drop(one);
    assert!(Path::new(&bmm.data()).join("providers/operator.key").exists());
}
