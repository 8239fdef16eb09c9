//! A small world: one requester, several providers, a network with latency and disconnections, crashes, one clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{self, Chunk, Provider, ProviderConfig};
use bmm_market::requester::{self, Check, Ending, Requester, RequesterConfig, Settlement, Verdict, receipt_of};
use bmm_market::trust::TrustBook;
use bmm_market::{Micros, SECOND};
use bmm_types::market::{
    Content, FailureKind, JobSpec, SignatureBytes, SignedResults, SignedVoucher, TaskEnd, TaskFailure, TaskOutput,
    TaskResult, ToProvider, ToRequester, Verify, Wire, merkle_verify, receipt_hash, recover, result_leaf, voucher_hash,
};
use bmm_types::system::{Jobs::accuseCall, Testimony};
use bmm_types::{Amount, ContentHash};

use super::fixtures::{CHAIN, JOB, Manners, Program, Random, SECRET, key, offer, sign, spec};

const START: Micros = 1_000 * SECOND;

struct Host {
    signer: PrivateKeySigner,
    machine: Provider,
    manners: Manners,
    slots: u16,
    price: Amount,
    connected: bool,
    /// Grows with every connection; what was sent over an older one is lost.
    connection: u64,
    /// When the last message to it, and from it, arrives: messages of a connection keep their order.
    last_arrivals: [Micros; 2],
    stopped: HashMap<u16, bool>,
    store: HashMap<ContentHash, Vec<u8>>,
}

enum Happening {
    ToProvider(usize, u64, Vec<u8>),
    ToRequester(usize, u64, Vec<u8>),
    ChunkDone(usize, Chunk),
    Prepared(usize, B256),
    Fetched(usize, ContentHash, bool),
    Checked(u64, Verdict),
    Disconnect(usize),
    Connect(usize),
    Pause(usize),
    Resume(usize),
    CrashRequester,
    Tick,
}

pub struct Plan {
    pub seed: u64,
    pub tasks: u64,
    pub verify: Verify,
    pub escrow: Amount,
    pub manners: Vec<Manners>,
    pub program: Program,
    pub disconnects: u64,
    /// How often an owner holds a provider up.
    pub pauses: u64,
    pub crashes: u64,
    /// Checks that the requester's own machine does at once.
    pub own_checks: u16,
    /// What the job demands.
    pub stake: Amount,
}

pub struct World {
    pub plan: Plan,
    random: Random,
    now: Micros,
    heap: BinaryHeap<Reverse<(Micros, u64)>>,
    happenings: HashMap<u64, Happening>,
    sequence: u64,
    hosts: Vec<Host>,
    by_address: BTreeMap<Address, usize>,
    requester_key: PrivateKeySigner,
    pub requester: Requester,
    crash_next: bool,
    pub log: Vec<u8>,
    pub store: HashMap<ContentHash, Vec<u8>>,
    pub vouchers: BTreeMap<Address, Amount>,
    pub settlements: Vec<Settlement>,
    pub over: Option<Ending>,
    /// Chunks that were run, counted by task.
    pub runs: u64,
    /// Checks of the requester's own machine.
    pub own_runs: u64,
    /// What was found out about providers: kept over crashes.
    pub book: TrustBook,
    /// Who lost its stake, and for which task.
    pub taken: BTreeMap<Address, u64>,
}

fn host(number: usize, manners: Manners, random: &mut Random) -> Host {
    let signer = key(u8::try_from(number + 10).unwrap());
    let slots = u16::try_from(1 + random.below(3)).unwrap();
    let price = Amount::from_units(u128::from(1 + random.below(5)) * 1_000_000_000_000_000);
    let config = ProviderConfig::new(CHAIN, offer(&signer, slots, price));
    let machine = Provider::new(ProviderConfig { max_stake: Amount::from_bmm(5), ..config });
    let (connected, connection) = (false, 0);
    Host {
        signer,
        machine,
        manners,
        slots,
        price,
        connected,
        connection,
        last_arrivals: [0; 2],
        stopped: HashMap::new(),
        store: HashMap::new(),
    }
}

/// The defaults, but patient: a host that fails one run in five fails five in a row sooner or later.
fn config(requester: &PrivateKeySigner, plan: &Plan, trust: TrustBook) -> RequesterConfig {
    let own_checks = plan.own_checks;
    let config = RequesterConfig::new(CHAIN, requester.address());
    RequesterConfig { max_host_failures: 20, secret: SECRET, own_checks, trust, ..config }
}

/// The job of a plan.
fn job(plan: &Plan) -> JobSpec {
    let stake = plan.stake;
    JobSpec { stake, canonical_nans: true, ..spec(plan.tasks, plan.verify, plan.escrow) }
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut random = Random(plan.seed);
        let requester_key = key(1);
        let hosts: Vec<Host> =
            plan.manners.iter().enumerate().map(|(number, manners)| host(number, *manners, &mut random)).collect();
        let by_address = hosts.iter().enumerate().map(|(number, host)| (host.signer.address(), number)).collect();
        let config = config(&requester_key, &plan, TrustBook::default());
        let requester = Requester::new(config, job(&plan)).unwrap();
        let log = requester.start_log();
        let mut world = Self {
            random,
            now: START,
            heap: BinaryHeap::new(),
            happenings: HashMap::new(),
            sequence: 0,
            hosts,
            by_address,
            requester_key,
            requester,
            crash_next: false,
            log,
            store: HashMap::from([(ContentHash::of(&[]), vec![])]),
            vouchers: BTreeMap::new(),
            settlements: Vec::new(),
            over: None,
            runs: 0,
            own_runs: 0,
            book: TrustBook::default(),
            taken: BTreeMap::new(),
            plan,
        };
        world.seed_happenings();
        world
    }

    fn seed_happenings(&mut self) {
        let span = 2 * self.plan.tasks * self.plan.program.micros;
        for number in 0..self.hosts.len() {
            let delay = self.random.below(50_000);
            self.after(delay, Happening::Connect(number));
        }
        for _ in 0..self.plan.disconnects {
            let number = usize::try_from(self.random.below(self.hosts.len() as u64)).unwrap();
            let delay = self.random.below(span);
            self.after(delay, Happening::Disconnect(number));
            let back = delay + self.random.below(span);
            self.after(back, Happening::Connect(number));
        }
        for _ in 0..self.plan.pauses {
            let number = usize::try_from(self.random.below(self.hosts.len() as u64)).unwrap();
            let delay = self.random.below(span);
            self.after(delay, Happening::Pause(number));
            let back = delay + self.random.below(span);
            self.after(back, Happening::Resume(number));
        }
        for _ in 0..self.plan.crashes {
            let delay = self.random.below(span);
            self.after(delay, Happening::CrashRequester);
        }
        self.after(50_000, Happening::Tick);
        self.open();
    }

    fn open(&mut self) {
        let deadline = START / SECOND + 3_600;
        let event = requester::Event::Opened { job: JOB, escrow: self.plan.escrow, deadline };
        self.tell_requester(event);
    }

    fn after(&mut self, micros: Micros, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse((self.now + micros, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn latency(&mut self) -> Micros {
        100 + self.random.below(10_000)
    }

    /// Sends a message to a host (0) or from it (1): it takes its time, and passes none that was sent before it.
    fn transmit(&mut self, host: usize, direction: usize, happening: Happening) {
        let arrives = self.now + self.latency();
        let last = &mut self.hosts[host].last_arrivals[direction];
        *last = arrives.max(*last);
        let delay = *last - self.now;
        self.after(delay, happening);
    }

    /// Runs until the job is over; panics if it never is.
    pub fn run(&mut self) -> Ending {
        for _ in 0..2_000_000 {
            if let Some(ending) = &self.over {
                return ending.clone();
            }
            let Some(Reverse((at, number))) = self.heap.pop() else { break };
            self.now = at;
            let happening = self.happenings.remove(&number).unwrap();
            self.happen(happening);
        }
        panic!("seed {}: the job is stuck: {:#?}", self.plan.seed, self.requester.progress(self.now));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToProvider(to, connection, bytes) if self.hosts[to].connection == connection => {
                let message = ToProvider::decode(&bytes).unwrap();
                let from = self.requester_key.address();
                self.tell_provider(to, provider::Event::Message { from, message });
            }
            Happening::ToRequester(from, connection, bytes) if self.hosts[from].connection == connection => {
                let message = ToRequester::decode(&bytes).unwrap();
                let from = self.hosts[from].signer.address();
                self.tell_requester(requester::Event::Message { from, message });
            }
            Happening::ToProvider(..) | Happening::ToRequester(..) => {}
            Happening::ChunkDone(host, chunk) => self.chunk_done(host, chunk),
            Happening::Prepared(host, job) => self.tell_provider(host, provider::Event::Ready { job }),
            Happening::Fetched(host, hash, ok) => {
                let host = &self.hosts[host];
                let ok = ok && host.connected;
                if let Some(bytes) = host.store.get(&hash).filter(|_| ok) {
                    self.store.insert(hash, bytes.clone());
                }
                let from = host.signer.address();
                self.tell_requester(requester::Event::Fetched { from, hash, ok });
            }
            // Of an earlier process, after a crash, nobody hears.
            Happening::Checked(task, verdict) => self.tell_requester(requester::Event::Checked { task, verdict }),
            Happening::Disconnect(host) => self.disconnect(host),
            Happening::Connect(host) => self.connect(host),
            Happening::Pause(host) => self.tell_provider(host, provider::Event::Drain { reason: "its owner".into() }),
            Happening::Resume(host) => {
                self.tell_provider(host, provider::Event::Resume);
                if self.hosts[host].connected {
                    let requester = self.requester_key.address();
                    self.tell_provider(host, provider::Event::Connected { requester });
                }
            }
            Happening::CrashRequester => self.crash_next = true,
            Happening::Tick => {
                self.after(50_000, Happening::Tick);
                self.tell_requester(requester::Event::Tick);
                for host in 0..self.hosts.len() {
                    self.tell_provider(host, provider::Event::Tick);
                }
            }
        }
    }

    fn connect(&mut self, host: usize) {
        if !self.hosts[host].connected {
            self.hosts[host].connected = true;
            self.hosts[host].connection += 1;
            let requester = self.requester_key.address();
            self.tell_provider(host, provider::Event::Connected { requester });
        }
    }

    fn disconnect(&mut self, host: usize) {
        if self.hosts[host].connected {
            self.hosts[host].connected = false;
            self.hosts[host].connection += 1;
            let (requester, provider) = (self.requester_key.address(), self.hosts[host].signer.address());
            self.tell_provider(host, provider::Event::Disconnected { requester });
            self.tell_requester(requester::Event::Lost { provider });
        }
    }

    fn tell_provider(&mut self, number: usize, event: provider::Event) {
        for effect in self.hosts[number].machine.handle(self.now, event) {
            self.do_for_provider(number, effect);
        }
    }

    fn do_for_provider(&mut self, number: usize, effect: provider::Effect) {
        match effect {
            provider::Effect::Send { message, .. } => self.send_to_requester(number, &message),
            provider::Effect::SignResults { batch, .. } => {
                let host = &self.hosts[number];
                let hash = receipt_hash(CHAIN, &batch.receipt(host.signer.address()));
                let signature = sign(&host.signer, hash);
                self.send_to_requester(number, &ToRequester::Results(SignedResults { batch, signature }));
            }
            provider::Effect::Prepare { announcement, .. } => {
                self.after(1_000, Happening::Prepared(number, announcement.job));
            }
            provider::Effect::Run(chunk) => {
                self.hosts[number].stopped.insert(chunk.slot, false);
                let slow = self.hosts[number].manners.slow.max(1);
                let each = self.plan.program.micros / 2 + self.random.below(self.plan.program.micros);
                let time = (each * slow * u64::from(chunk.tasks.count)).max(1);
                self.after(time, Happening::ChunkDone(number, chunk));
            }
            provider::Effect::Stop { slot } => {
                self.hosts[number].stopped.insert(slot, true);
            }
            provider::Effect::KeepVoucher(voucher) => {
                let promised = self.vouchers.get(&voucher.provider).copied().unwrap_or_default();
                assert!(voucher.total <= promised, "a voucher that was never promised");
            }
            provider::Effect::Claim(_) | provider::Effect::Forget { .. } => {}
        }
    }

    fn send_to_requester(&mut self, number: usize, message: &ToRequester) {
        if self.hosts[number].connected {
            let bytes = message.encode();
            let times = 1 + u64::from(matches!(message, ToRequester::Results(_)) && self.random.percent(10));
            for _ in 0..times {
                let connection = self.hosts[number].connection;
                self.transmit(number, 1, Happening::ToRequester(number, connection, bytes.clone()));
            }
        }
    }

    fn chunk_done(&mut self, number: usize, chunk: Chunk) {
        let results = if self.hosts[number].stopped.get(&chunk.slot) == Some(&true) {
            Vec::new()
        } else {
            let tasks = chunk.tasks.first..chunk.tasks.end();
            tasks.map(|task| self.run_task(number, task)).collect()
        };
        let slow = self.hosts[number].manners.slow.max(1);
        let busy_micros = self.plan.program.micros * slow * u64::from(chunk.tasks.count);
        self.tell_provider(number, provider::Event::Done { slot: chunk.slot, results, busy_micros });
    }

    fn run_task(&mut self, number: usize, task: u64) -> TaskResult {
        self.runs += 1;
        let (manners, program) = (self.hosts[number].manners, self.plan.program);
        let fail = |kind, reason: &str| {
            TaskEnd::Failed(Box::new(TaskFailure {
                kind,
                reason: reason.into(),
                message: format!("it failed: {reason}"),
                stderr: b"panicked at line 7\n".to_vec(),
            }))
        };
        let end = if self.random.percent(manners.host_fails) {
            fail(FailureKind::Host, "no_memory")
        } else if program.fails_on == Some(task) || manners.breaks {
            fail(FailureKind::Program, "exit_code:3")
        } else {
            let mut bytes = program.bytes(task);
            if self.random.percent(manners.wrong) {
                let who = if manners.colludes { 99 } else { number };
                bytes = format!("wrong {who} {task}").into_bytes();
            }
            if program.is_large(task) {
                let content = Content::of(&bytes);
                self.hosts[number].store.insert(content.hash, bytes);
                TaskEnd::Done(TaskOutput::Stored { hash: content.hash, size: content.size })
            } else {
                TaskEnd::Done(TaskOutput::Inline(bytes))
            }
        };
        TaskResult { index: task, fuel: Program::fuel(task) * manners.greed.max(1), peak_memory_bytes: 1 << 20, end }
    }

    fn tell_requester(&mut self, event: requester::Event) {
        let effects = self.requester.handle(self.now, event);
        self.check_progress();
        // A crash comes between any two effects.
        let crash = std::mem::take(&mut self.crash_next);
        let kept =
            if crash { usize::try_from(self.random.below(effects.len() as u64 + 1)).unwrap() } else { effects.len() };
        let mut then = Vec::new();
        for effect in effects.into_iter().take(kept) {
            then.extend(self.do_for_requester(effect));
        }
        if crash && self.over.is_none() {
            return self.crash();
        }
        for event in then {
            self.tell_requester(event);
        }
    }

    fn do_for_requester(&mut self, effect: requester::Effect) -> Option<requester::Event> {
        match effect {
            requester::Effect::Send { to, message } => self.send_to_provider(to, &message),
            requester::Effect::Record(bytes) => self.log.extend(bytes),
            requester::Effect::Store(results) => {
                for (content, bytes) in results {
                    assert_eq!(content, Content::of(&bytes));
                    self.store.insert(content.hash, bytes);
                }
            }
            requester::Effect::Fetch { from, content } => {
                let (host, latency, ok) = (self.by_address[&from], self.latency(), self.random.percent(95));
                self.after(latency, Happening::Fetched(host, content.hash, ok));
            }
            requester::Effect::SignVoucher { voucher, standing } => {
                let total = Amount(voucher.total);
                let before = self.vouchers.insert(voucher.provider, total).unwrap_or_default();
                assert!(before <= total, "seed {}: a voucher fell from {before} to {total}", self.plan.seed);
                let promised: Amount = self.vouchers.values().copied().sum();
                assert!(promised <= self.plan.escrow, "seed {}: more promised than locked", self.plan.seed);
                let signature = sign(&self.requester_key, voucher_hash(CHAIN, &voucher));
                let voucher = SignedVoucher { job: voucher.job, provider: voucher.provider, total, signature };
                self.send_to_provider(voucher.provider, &ToProvider::Voucher { voucher, standing });
            }
            requester::Effect::Check { task, how } => {
                let truth = (Content::of(&self.plan.program.bytes(task)), Program::fuel(task));
                let verdict = match how {
                    Check::Run if self.plan.program.fails_on == Some(task) => Verdict::Unable("it fails".into()),
                    Check::Run => Verdict::Found { content: truth.0, fuel: truth.1 },
                    Check::Judge(content) => {
                        assert!(self.store.contains_key(&content.hash), "what is judged is here");
                        Verdict::Judged(content == truth.0)
                    }
                };
                self.own_runs += 1;
                self.after(self.plan.program.micros, Happening::Checked(task, verdict));
            }
            requester::Effect::Trust(finding) => self.book.note(finding),
            requester::Effect::LookUpStake { provider } => {
                let amount = if self.taken.contains_key(&provider) { Amount::ZERO } else { self.plan.stake };
                return Some(requester::Event::Stake { provider, amount });
            }
            requester::Effect::Accuse(call) => self.accused(&call),
            requester::Effect::Contradict(call) => panic!("nobody here signs two results of a task: {call:?}"),
            requester::Effect::Merge => return Some(requester::Event::Merged(Ok(()))),
            requester::Effect::Settle(settlement) => {
                self.settlements.push(settlement);
                return Some(requester::Event::Settled { transaction: B256::repeat_byte(7) });
            }
            requester::Effect::Over(ending) => self.over = Some(ending),
        }
        None
    }

    /// Takes a stake as the escrow would: what was signed must say what is claimed.
    fn accused(&mut self, call: &accuseCall) {
        let says = |testimony: &Testimony| {
            let hash = receipt_hash(CHAIN, &receipt_of(call.job, testimony));
            let signature = SignatureBytes::from_slice(&testimony.signature);
            assert_eq!(recover(&signature, hash), Some(testimony.provider), "signed by another");
            let leaf = result_leaf(testimony.provider, call.task, testimony.fuel, testimony.output);
            assert!(merkle_verify(&testimony.proof, testimony.root, leaf), "not in the receipt");
            (testimony.fuel, testimony.output)
        };
        assert!(call.others.len() >= 2 && call.others.is_sorted_by(|a, b| a.provider < b.provider));
        let found = says(&call.others[0]);
        assert!(call.others.iter().all(|other| says(other) == found) && says(&call.accused) != found);
        self.taken.insert(call.accused.provider, call.task);
    }

    fn send_to_provider(&mut self, to: Address, message: &ToProvider) {
        let host = self.by_address[&to];
        if self.hosts[host].connected {
            let connection = self.hosts[host].connection;
            self.transmit(host, 0, Happening::ToProvider(host, connection, message.encode()));
        }
    }

    /// The requester dies and comes back with nothing but its log, whose end may be torn.
    fn crash(&mut self) {
        let config = config(&self.requester_key, &self.plan, self.book.clone());
        let spec = job(&self.plan);
        let mut log = self.log.clone();
        log.extend([9, 0, 0, 0, 1, 2]);
        let (requester, sound) = Requester::restore(config, spec, &log).unwrap();
        assert_eq!(sound, self.log.len());
        self.requester = requester;
        let connected: Vec<usize> = (0..self.hosts.len()).filter(|host| self.hosts[*host].connected).collect();
        for host in &connected {
            self.hosts[*host].connected = false;
            self.hosts[*host].connection += 1;
            let requester = self.requester_key.address();
            self.tell_provider(*host, provider::Event::Disconnected { requester });
        }
        self.open();
        for host in connected {
            let delay = self.random.below(100_000);
            self.after(delay, Happening::Connect(host));
        }
    }

    /// What must hold after every event.
    fn check_progress(&self) {
        let progress = self.requester.progress(self.now);
        assert!(progress.spent <= self.plan.escrow, "seed {}: budget passed", self.plan.seed);
        let totals: Amount = progress.providers.iter().map(|provider| provider.total).sum();
        assert_eq!(totals, progress.spent, "seed {}: totals are not what was spent", self.plan.seed);
        let accepted: Amount = self.requester.accepted().iter().map(|accepted| accepted.amount).sum();
        assert_eq!(accepted, progress.spent, "seed {}: receipts are not what was spent", self.plan.seed);
    }

    pub fn address(&self, host: usize) -> Address {
        self.hosts[host].signer.address()
    }

    pub fn price(&self, provider: Address) -> Amount {
        self.hosts[self.by_address[&provider]].price
    }

    pub fn slots(&self) -> u64 {
        self.hosts.iter().map(|host| u64::from(host.slots)).sum()
    }
}
