//! One run: the parties, the clock between them, and what it all comes to.

use std::collections::HashMap;

use alloy_primitives::{Address, keccak256};
use bmm_market::requester::{Ending, Phase};
use bmm_market::{MILLISECOND, Micros, SECOND, provider, requester};
use bmm_types::Amount;
use bmm_types::market::{Content, ToProvider, ToRequester, Wire};
use indicatif::ProgressBar;

use super::boss::{Boss, BossPlan};
use super::clock::{Clock, Happening};
use super::host::Host;
use super::manners::{Kind, truth};
use super::options::Options;
use super::outcome::Outcome;
use super::plan::{MIDDLING, Machine, Signer, fuel, spec};
use crate::random::Random;

/// When a world begins, so that no clock is near zero.
const START: Micros = 1_000 * SECOND;
/// How often a requester looks at its clock.
const TICK: Micros = 50 * MILLISECOND;
/// Signers of requesters are numbered from here, below any provider's.
const BOSSES: u64 = 1 << 40;

/// One run of a market.
pub struct World<'a> {
    pub options: &'a Options,
    pub seed: u64,
    pub random: Random,
    pub clock: Clock,
    pub hosts: Vec<Host>,
    pub bosses: Vec<Boss>,
    pub numbers: HashMap<Address, usize>,
    /// What cheaters gave for tasks, by job and task: they tell each other.
    pub shared: HashMap<(usize, u64), Vec<u8>>,
    pub outcome: Outcome,
    /// Time in which the honest machines could do everything.
    ideal: Micros,
}

impl<'a> World<'a> {
    /// Makes the world of a seed.
    pub fn new(options: &'a Options, seed: u64) -> Self {
        let mut world = Self {
            options,
            seed,
            random: Random::new(seed, 1),
            clock: Clock::starting_at(START),
            hosts: Vec::new(),
            bosses: Vec::new(),
            numbers: HashMap::new(),
            shared: HashMap::new(),
            outcome: Outcome::default(),
            ideal: 0,
        };
        world.populate();
        world.open_jobs();
        world.plan_trouble();
        world
    }

    /// Returns the mean fuel of a task.
    pub fn mean_fuel(&self) -> u64 {
        self.options.task_seconds * MIDDLING
    }

    fn populate(&mut self) {
        for number in 0..u64::from(self.options.providers) {
            let cheats = !self.options.kinds.is_empty() && self.random.chance(self.options.cheaters.0);
            let kinds = self.options.kinds.len() as u64;
            let drawn = usize::try_from(self.random.below(kinds)).unwrap_or(0);
            let kind = if cheats { self.options.kinds[drawn] } else { Kind::Honest };
            let machine = Machine::draw(&mut self.random);
            let host = self.add_host(kind, machine);
            let delay = self.random.below(500 * MILLISECOND);
            debug_assert_eq!(host as u64, number);
            self.connect_after(host, delay);
        }
        let honest = self.hosts.iter().filter(|host| host.kind == Kind::Honest);
        let speed: u128 = honest.map(|host| u128::from(host.machine.speed) * u128::from(host.machine.slots)).sum();
        let tasks = u128::from(self.options.tasks()) * u128::from(self.options.requesters);
        let work = tasks * u128::from(self.mean_fuel()) * 1_000_000;
        self.ideal = u64::try_from(work / speed.max(1)).unwrap_or(u64::MAX);
    }

    /// Adds a provider under a new name, and returns its number.
    pub fn add_host(&mut self, kind: Kind, machine: Machine) -> usize {
        let number = self.hosts.len();
        let signer = Signer::new(self.seed, number as u64, self.options.sign);
        self.numbers.insert(signer.address(), number);
        let requesters = usize::from(self.options.requesters);
        self.hosts.push(Host::new(signer, kind, machine, requesters, self.options.sign));
        number
    }

    pub fn connect_after(&mut self, host: usize, delay: Micros) {
        for boss in 0..usize::from(self.options.requesters) {
            self.clock.after(delay, Happening::Connect { host, boss });
        }
    }

    fn open_jobs(&mut self) {
        let tasks = self.options.tasks();
        let seconds = (self.ideal / SECOND * 60).max(1_800);
        // Four times what every task costs at the highest price, for every copy: never the reason why a job ends.
        let whole = u128::from(tasks) * u128::from(self.mean_fuel() / MIDDLING).max(1) * 2_000_000_000_000_000;
        let budget = Amount::from_units(whole * 4 * u128::from(self.options.mode.copies().max(2)));
        for number in 0..self.options.requesters {
            let signer = Signer::new(self.seed, BOSSES + u64::from(number), self.options.sign);
            let secret = keccak256(signer.address());
            let plan = BossPlan {
                spec: spec(tasks, self.options, budget, seconds, secret),
                budget,
                deadline: START / SECOND + seconds,
                keeps_log: self.options.crashes > 0,
                checks: self.options.sign,
                own_checks: self.options.own_checks,
                secret,
            };
            self.bosses.push(Boss::new(signer, u8::try_from(number + 1).unwrap_or(u8::MAX), plan));
            let boss = usize::from(number);
            self.clock.after(TICK, Happening::BossTick { boss });
            self.tell_boss(boss, self.bosses[boss].opened());
        }
    }

    fn plan_trouble(&mut self) {
        for host in 0..self.hosts.len() {
            if self.random.chance(self.options.churn.0) {
                let at = self.random.below(self.ideal);
                let what = match self.random.below(4) {
                    0 | 1 => Happening::Crash { host },
                    2 => Happening::Leave { host, says_so: true },
                    _ => Happening::Leave { host, says_so: false },
                };
                self.clock.after(at, what);
            }
        }
        for boss in 0..self.bosses.len() {
            for _ in 0..self.options.crashes {
                let at = self.random.below(self.ideal);
                self.clock.after(at, Happening::BossCrash { boss });
            }
            if self.random.chance(self.options.vanish.0) {
                let at = self.ideal / 4 + self.random.below(self.ideal / 2);
                self.clock.after(at, Happening::BossVanish { boss });
            }
        }
    }

    /// Runs until every job is over, or was abandoned and its deadline has passed.
    pub fn run(mut self, bar: &ProgressBar) -> Outcome {
        let (mut shown, mut events) = (0, 0u64);
        while self.bosses.iter().any(|boss| boss.over.is_none()) {
            let Some(what) = self.clock.next() else { break };
            self.happen(what);
            events += 1;
            if events.is_multiple_of(1 << 16) {
                let done = self.bosses.iter().map(|boss| boss.machine.done()).sum::<u64>();
                bar.inc(done.saturating_sub(shown));
                shown = shown.max(done);
            }
        }
        bar.inc((self.options.tasks() * u64::from(self.options.requesters)).saturating_sub(shown));
        self.add_up();
        self.outcome
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToHost { host, boss, connection, bytes } => {
                if self.hosts[host].links[boss].connection == connection {
                    let message = ToProvider::decode(&bytes).expect("what a requester sends can be read");
                    let from = self.bosses[boss].signer.address();
                    self.tell_host(host, provider::Event::Message { from, message });
                }
            }
            Happening::ToBoss { host, boss, connection, bytes } => {
                if self.hosts[host].links[boss].connection == connection {
                    let message = ToRequester::decode(&bytes).expect("what a provider sends can be read");
                    let from = self.hosts[host].signer.address();
                    self.tell_boss(boss, requester::Event::Message { from, message });
                }
            }
            Happening::ChunkDone { host, life, run, chunk, results, busy } => {
                self.chunk_done(host, (life, run), chunk, results, busy);
            }
            Happening::Prepared { host, life, job } => self.tell_living(host, life, provider::Event::Ready { job }),
            Happening::HostTick { host, life } => {
                self.hosts[host].ticks = false;
                self.tell_living(host, life, provider::Event::Tick);
            }
            Happening::BossTick { boss } => {
                if self.bosses[boss].is_busy() {
                    self.clock.after(TICK, Happening::BossTick { boss });
                    self.tell_boss(boss, requester::Event::Tick);
                }
            }
            Happening::Connect { host, boss } => self.connect(host, boss),
            Happening::Lost { host, boss, connection } => {
                if self.hosts[host].links[boss].connection == connection {
                    let provider = self.hosts[host].signer.address();
                    self.tell_boss(boss, requester::Event::Lost { provider });
                }
            }
            Happening::Checked { boss, life, task, verdict } => {
                if self.bosses[boss].life == life {
                    self.tell_boss(boss, requester::Event::Checked { task, verdict });
                }
            }
            what => self.trouble(&what),
        }
    }

    fn trouble(&mut self, what: &Happening) {
        match *what {
            Happening::Crash { host } | Happening::Leave { host, .. } | Happening::Rebirth { host }
                if self.hosts[host].gone => {}
            Happening::Restart { host } if self.hosts[host].gone => {}
            Happening::Crash { host } => {
                self.die(host);
                let delay = SECOND + self.random.below(9 * SECOND);
                self.clock.after(delay, Happening::Restart { host });
            }
            Happening::Restart { host } => {
                self.hosts[host].restart(self.options.sign);
                self.connect_after(host, 0);
            }
            Happening::Leave { host, says_so } => {
                if says_so && self.hosts[host].alive {
                    self.tell_host(host, provider::Event::Leave { reason: "it is needed elsewhere".into() });
                }
                self.die(host);
                self.hosts[host].gone = true;
                let (kind, machine) = (self.hosts[host].kind, self.hosts[host].machine);
                let new = self.add_host(kind, machine);
                let delay = self.random.below(2 * SECOND);
                self.connect_after(new, delay);
            }
            Happening::Rebirth { host } => {
                let old = &self.hosts[host];
                let (kind, machine, rebirths) = (old.kind, old.machine, old.rebirths);
                self.die(host);
                self.hosts[host].gone = true;
                let new = self.add_host(kind, machine);
                self.hosts[new].rebirths = rebirths + 1;
                self.connect_after(new, SECOND);
            }
            Happening::BossCrash { boss } => self.bosses[boss].crash_next = true,
            Happening::BossVanish { boss } => {
                if self.bosses[boss].over.is_none() {
                    self.bosses[boss].vanished = true;
                    for host in 0..self.hosts.len() {
                        self.hang_up(host, boss);
                    }
                    self.clock.at(self.bosses[boss].deadline * SECOND, Happening::Deadline { boss });
                }
            }
            Happening::Deadline { boss } => {
                for host in 0..self.hosts.len() {
                    if self.hosts[host].alive {
                        self.tell_host(host, provider::Event::Tick);
                    }
                }
                self.bosses[boss].over = Some((Ending::Cancelled("its requester vanished".into()), self.clock.now));
            }
            _ => unreachable!("the rest is dealt with by `happen`"),
        }
    }

    /// A provider's process ends, and with it every connection.
    fn die(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.alive = false;
        state.life += 1;
        for boss in 0..self.bosses.len() {
            self.hang_up(host, boss);
        }
    }

    fn connect(&mut self, host: usize, boss: usize) {
        let busy = self.bosses[boss].is_busy();
        let state = &mut self.hosts[host];
        let link = &mut state.links[boss];
        if state.alive && busy && !link.connected {
            link.connected = true;
            link.connection += 1;
            (link.up, link.down) = (self.clock.now, self.clock.now);
            let requester = self.bosses[boss].signer.address();
            self.tell_host(host, provider::Event::Connected { requester });
        }
    }

    /// A connection ends; both sides notice, and what is under way is lost. Returns whether there was one.
    pub fn hang_up(&mut self, host: usize, boss: usize) -> bool {
        let link = &mut self.hosts[host].links[boss];
        if !std::mem::replace(&mut link.connected, false) {
            return false;
        }
        link.connection += 1;
        let connection = link.connection;
        self.clock.after(self.hosts[host].machine.latency, Happening::Lost { host, boss, connection });
        let requester = self.bosses[boss].signer.address();
        if self.hosts[host].alive {
            self.tell_host(host, provider::Event::Disconnected { requester });
        }
        true
    }

    fn tell_living(&mut self, host: usize, life: u32, event: provider::Event) {
        if self.hosts[host].life == life && self.hosts[host].alive {
            self.tell_host(host, event);
        }
    }

    /// Adds up what the run came to, and empties every escrow.
    fn add_up(&mut self) {
        for boss in 0..self.bosses.len() {
            self.close(boss);
            self.judge_results(boss);
        }
        self.outcome.ideal_micros = self.ideal;
        for host in &self.hosts {
            let sums = self.outcome.kinds.entry(host.kind).or_default();
            sums.providers += 1;
            let accused = self.bosses.iter().filter(|boss| boss.accused.contains(&host.signer.address())).count();
            sums.stakes_lost += accused as u64;
            sums.results += host.results;
            sums.wrong += host.wrong;
            if let Some(after) = host.caught_after {
                sums.caught += 1;
                sums.results_until_caught += after;
                sums.most_until_caught = sums.most_until_caught.max(after);
            }
            for boss in &self.bosses {
                let worth = host.delivered.get(&boss.job).map_or(0, |worth| worth.units().saturating_to::<u128>());
                let paid = boss.escrow.paid_to(host.signer.address());
                sums.earned += paid;
                sums.delivered += worth;
                if boss.vanished && host.kind == Kind::Honest {
                    self.outcome.abandoned_worth += worth;
                    self.outcome.abandoned_paid += paid;
                }
            }
        }
        self.outcome.judge(self.seed);
    }

    /// Whoever was not paid by the settlement presents the voucher that it kept; then the rest goes back.
    fn close(&mut self, boss: usize) {
        let boss = &mut self.bosses[boss];
        for host in &self.hosts {
            let Some(voucher) = host.kept.get(&boss.job) else { continue };
            let due = voucher.total.units().saturating_to::<u128>() > boss.escrow.paid_to(voucher.provider);
            assert!(!due || !boss.escrow.is_settled(), "a settlement pays no less than the vouchers before it");
            if due {
                boss.escrow.claim(voucher.provider, voucher.total);
            }
        }
        boss.escrow.refund();
        self.outcome.transactions += boss.escrow.transactions;
    }

    fn judge_results(&mut self, number: usize) {
        let boss = &self.bosses[number];
        let (ending, at) =
            boss.over.clone().unwrap_or((Ending::Cancelled("nothing more happened".into()), self.clock.now));
        if ending != Ending::Complete && !boss.vanished {
            let why: String = ending.to_string().chars().take(60).collect();
            *self.outcome.failures.entry(why).or_default() += 1;
        }
        if !boss.vanished {
            self.outcome.makespan_micros = self.outcome.makespan_micros.max(at - START);
        }
        let tasks = boss.machine.tasks();
        self.outcome.tasks += tasks;
        for task in 0..tasks {
            let Some(result) = boss.machine.result(task) else { continue };
            self.outcome.done += 1;
            let right = Content::of(&truth(self.seed ^ number as u64, task));
            self.outcome.wrong_accepted += u64::from(result.content != right);
        }
        self.outcome.own_checks += boss.machine.own_checked();
        self.outcome.paid_results += boss.machine.accepted().iter().map(|accepted| accepted.tasks).sum::<u64>();
        debug_assert!(boss.vanished || boss.machine.phase() == Phase::Over);
    }

    /// Returns the fuel of a task.
    pub fn fuel(&self, boss: usize, task: u64) -> u64 {
        fuel(self.seed ^ boss as u64, task, self.mean_fuel())
    }
}
