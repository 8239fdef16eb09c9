//! Providers that make their results up, among honest ones: on the real network and the real chain, but a program of the test's own, which
//! speaks the protocol to the letter and lies in what it signs.

use crate::{
    chain::{Chain, read},
    network::{Provider, until},
    programs::{job, worked, worker},
    run::Bmm,
};
use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use bmm::{
    jobs::{Input, Outlet, now_secs, speaker},
    marketplace::{Advert, Joining, Membership, Place, take_sessions},
    rpc::RpcClient,
};
use bmm_net::{NetConfig, market::Speaker};
use bmm_types::{
    Amount,
    market::{
        Lease, Offer, ResultBatch, Runtime, SignedOffer, SignedResults, TaskEnd, TaskOutput, TaskResult, ToProvider,
        ToRequester, Wire, offer_hash, receipt_hash,
    },
    system::{self, Jobs, stake_state},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::sync::mpsc::{Receiver, Sender, channel};

const ROUNDS: u32 = 20_000_000;
const TASKS: u32 = 60;
/// What a made-up task is said to have used.
const FUEL: u64 = 100_000_000;
const PATIENCE: Duration = Duration::from_mins(3);

/// How a cheat lies.
#[derive(Clone, Copy)]
enum Lie {
    /// One wrong result for each task.
    Once,
    /// Two different ones for each task.
    Twice,
}

/// A provider that never runs anything.
struct Cheat {
    operator: Address,
    ends: Sender<Input>,
    thread: Option<JoinHandle<()>>,
    _membership: Membership,
}

/// What its thread needs.
struct Liar {
    lie: Lie,
    key: PrivateKeySigner,
    speaker: Speaker,
    chain_id: u64,
    rpc: RpcClient,
    offer: SignedOffer,
    outlets: HashMap<u64, Outlet>,
}

impl Cheat {
    fn join(chain: &Chain, wealth: &Bmm, first: &Provider, lie: Lie) -> Self {
        let key = PrivateKeySigner::random();
        fund(wealth, key.address());
        let chain_id = chain.rpc.chain_id().expect("a chain");
        let genesis = chain.rpc.block_hash(0).expect("an answer").expect("a genesis");
        let bootstrap = vec![first.address.parse().expect("an address")];
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        let net = NetConfig { bootstrap, listen, private: true, ..NetConfig::new(genesis) };
        let membership = Place::join(Joining { net, chain_id, threads: 1 }).expect("it joins");
        let place = membership.place();
        let speaker = speaker(&key, place);
        let offer = Offer {
            provider: key.address(),
            // Nobody is cheaper.
            price_per_gfuel: Amount::from_units(1_000_000_000_000),
            price_per_gib: Amount::ZERO,
            slots: 2,
            memory_bytes: 4 << 30,
            time_millis: 86_400_000,
            output_bytes: 4 << 30,
            runtimes: vec![Runtime::Wasm],
            isa: std::env::consts::ARCH.to_owned(),
            rating_fuel_per_second: 2_000_000_000,
            hashing: None,
            machine: bmm_types::market::Machine::default(),
            expires_at: now_secs() + 3_600,
            sequence: now_secs(),
        };
        let signature = (speaker.sign)(offer_hash(chain_id, &offer));
        let advert = Advert { offer: offer.clone(), free_slots: Arc::new(|| Some(2)), sign: speaker.sign.clone() };
        let (ends, inbox) = channel(1_024);
        take_sessions(place, speaker.clone(), ends.clone()).expect("it takes sessions");
        advert.tell(place);
        let (operator, rpc) = (key.address(), RpcClient::new(chain.rpc.url()).expect("a URL"));
        let offer = SignedOffer { offer, signature };
        let liar = Liar { lie, key, speaker, chain_id, rpc, offer, outlets: HashMap::new() };
        let thread = Some(std::thread::spawn(move || liar.work(inbox)));
        Self { operator, ends, thread, _membership: membership }
    }
}

impl Drop for Cheat {
    fn drop(&mut self) {
        let _ = self.ends.blocking_send(Input::Leave("the test is over".into()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Liar {
    fn work(mut self, mut inbox: Receiver<Input>) {
        while let Some(input) = inbox.blocking_recv() {
            match input {
                Input::Joined(session) => {
                    self.outlets.insert(session.number, session.outlet);
                    self.say(session.number, &ToRequester::Offer(Box::new(self.offer.clone())));
                }
                Input::Message { session, bytes } => self.hear(session, ToProvider::decode(&bytes).expect("honest")),
                Input::Gone { session } => drop(self.outlets.remove(&session)),
                Input::Leave(_) => return,
                _ => {}
            }
        }
    }

    fn say(&self, session: u64, message: &ToRequester) {
        if let Some(Outlet::Remote(_, sender)) = self.outlets.get(&session) {
            let _ = sender.try_send(message.encode());
        }
    }

    fn hear(&self, session: u64, message: ToProvider) {
        match message {
            ToProvider::Job(announcement) => {
                let (job, provider) = (announcement.job, self.key.address());
                let stake = self.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job, provider }).expect("an answer");
                if stake.state == stake_state::NONE {
                    let call = Jobs::stakeCall { job };
                    self.rpc.transact(&self.key, system::JOBS, stake_asked(), &call, PATIENCE).expect("a stake");
                }
                self.say(session, &ToRequester::LeaseRequest { job, slots: 2 });
            }
            ToProvider::Lease { job, lease } => {
                self.hand_in(session, job, &lease, 1, b"made up!");
                if matches!(self.lie, Lie::Twice) {
                    self.hand_in(session, job, &lease, 2, b"or so...");
                }
                self.say(session, &ToRequester::LeaseRequest { job, slots: 2 });
            }
            _ => {}
        }
    }

    fn hand_in(&self, session: u64, job: B256, lease: &Lease, batch: u64, bytes: &[u8]) {
        let made_up = |index| TaskResult {
            index,
            fuel: FUEL,
            peak_memory_bytes: 65_536,
            end: TaskEnd::Done(TaskOutput::Inline(bytes.to_vec())),
        };
        let results = lease.ranges.iter().flat_map(|range| range.first..range.end()).map(made_up).collect();
        let batch = ResultBatch { job, lease: lease.id, batch, busy_micros: 20_000, results };
        let signature = (self.speaker.sign)(receipt_hash(self.chain_id, &batch.receipt(self.key.address())));
        self.say(session, &ToRequester::Results(SignedResults { batch, signature }));
    }
}

fn stake_asked() -> Amount {
    Amount::from_bmm(2)
}

/// Gives an operator a stake and some gas.
fn fund(bmm: &Bmm, operator: Address) {
    bmm.json(&["wallet", "send", &operator.to_string(), "3 BMM", "--from", "dev", "--yes", "--wait"]);
}

/// Two honest providers and a cheat, and a job with stakes that they do. Holds that the output is right, that the cheat was found wrong and
/// is paid nothing, and that the honest keep their stakes; returns the job.
fn run_with_a_cheat(bmm: &Bmm, chain: &Chain, lie: Lie, verify: &str) -> (B256, Cheat) {
    let first = Provider::with(chain, None, "[provide]\nmax_stake = \"2 BMM\"\n");
    let second = Provider::with(chain, Some(&first), "[provide]\nmax_stake = \"2 BMM\"\n");
    for honest in [&first, &second] {
        fund(bmm, honest.operator);
    }
    let cheat = Cheat::join(chain, bmm, &first, lie);
    until("three offers", || {
        let listed = bmm.json(&["market", "offers", "--bootstrap", &first.address, "--no-mdns", "--wait", "1"]);
        (listed["offers"].as_array().expect("a list").len() == 3).then_some(())
    });
    let file = job(bmm, &worker(ROUNDS), TASKS, &format!("[verify]\nstake = \"2 BMM\"\n{verify}\n"));
    let text = std::fs::read_to_string(&file).expect("the job");
    let file = bmm.file("staked.toml", &format!("canonical_nans = true\n{text}"));
    let run = ["run", file.to_str().expect("UTF-8"), "--bootstrap", &first.address, "--out", "out"];
    let receipt: Value = bmm.json(&run);

    assert_eq!((&receipt["status"], &receipt["done"]), (&"settled".into(), &TASKS.into()), "{receipt}");
    let output = std::fs::read(bmm.dir.path().join("out/out.bin")).expect("the output");
    assert!(output == worked(ROUNDS, TASKS), "other bytes than on one machine");
    let wrong: Vec<Address> =
        receipt["verified"]["wrong"].as_array().expect("a list").iter().map(|found| read(found, "address")).collect();
    assert_eq!(wrong, [cheat.operator], "{receipt}");
    let id: B256 = read(&receipt, "job");
    chain.settled_once(id);
    let paid: Vec<Jobs::Paid> = chain.events(Some(id));
    assert!(!paid.is_empty() && paid.iter().all(|event| event.provider != cheat.operator), "{paid:?}");
    for honest in [&first, &second] {
        assert_ne!(stake_of(chain, id, honest.operator), stake_state::ACCUSED, "nobody accuses the honest");
    }
    (id, cheat)
}

fn stake_of(chain: &Chain, job: B256, provider: Address) -> u8 {
    chain.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job, provider }).expect("the escrow answers").state
}

#[test]
fn a_cheat_is_found_by_audits() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    // Whether it is accused depends on who looked: two others can testify, the requester's own machine cannot.
    run_with_a_cheat(&bmm, &chain, Lie::Once, "mode = \"audit\"");
}

#[test]
fn a_cheat_is_accused_by_those_who_differ_and_loses_its_stake_by_silence() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let (id, cheat) = run_with_a_cheat(&bmm, &chain, Lie::Once, "mode = \"replicate\"\nn = 2");
    let accused: Vec<Jobs::Accused> = chain.events(Some(id));
    assert!(accused.len() == 1 && accused[0].provider == cheat.operator, "{accused:?}");
    assert_eq!(stake_of(&chain, id, cheat.operator), stake_state::ACCUSED);
    // It says nothing in its time (a minute on the dev chain); then the requester may end the dispute.
    let short = id.to_string()[2..10].to_owned();
    let taken: Vec<Jobs::StakeTaken> = until("the end of the dispute", || {
        std::thread::sleep(Duration::from_secs(2));
        bmm.json(&["job", "resume", &short]);
        Some(chain.events(Some(id))).filter(|taken| !taken.is_empty())
    });
    assert!(taken.len() == 1 && taken[0].provider == cheat.operator, "{taken:?}");
    assert_eq!(taken[0].amount, stake_asked().units());
}

#[test]
fn a_cheat_that_contradicts_itself_loses_its_stake_at_once() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let (id, cheat) = run_with_a_cheat(&bmm, &chain, Lie::Twice, "mode = \"audit\"");
    let taken: Vec<Jobs::StakeTaken> = chain.events(Some(id));
    assert!(taken.len() == 1 && taken[0].provider == cheat.operator, "{taken:?}");
    assert_eq!(taken[0].amount, stake_asked().units());
    assert_eq!(stake_of(&chain, id, cheat.operator), stake_state::GONE);
}
