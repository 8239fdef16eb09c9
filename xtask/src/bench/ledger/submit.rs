//! Signed transactions from JSON-RPC to a block: our node, durable, against anvil, in memory.

use super::{
    contracts,
    drive::{Sent, drive},
    http::{Client, Request},
    people::{Deed, Person},
    server::Kind,
};
use crate::bench::{
    Outcome, Report, build, number,
    report::{BarIs, Figure},
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde_json::{Value, json};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Accounts that send.
const SENDERS: usize = 2_000;
/// Connections, each with one request under way.
pub const CONNECTIONS: usize = 32;
/// Calls in one request of the second figure.
const BATCH: usize = 100;
/// Chain id on both sides.
pub const CHAIN_ID: u64 = 20_191;
/// Times that our transactions must be as many as anvil's in the same time.
const BAR: f64 = 2.0;
/// Transactions for anvil's automine. It makes a block for each, works out the root of the whole state and keeps a copy of it: the
/// more accounts and blocks there are, the slower it gets, so that it is given few of both.
const AUTOMINE_TRANSACTIONS: u32 = 640;
/// Pause between two looks at whether the last transaction is in a block.
const LOOK: Duration = Duration::from_millis(5);
/// Longest wait for a transaction's receipt.
const PATIENCE: Duration = Duration::from_mins(2);

/// `bench transfers`
pub fn transfers(transactions: u32, rounds: u32) -> Outcome {
    run("transfers", Race::transfers, transactions, rounds)
}

/// `bench erc20`
pub fn erc20(transactions: u32, rounds: u32) -> Outcome {
    run("erc20", Race::erc20, transactions, rounds)
}

/// Runs all sides in turns, and anvil's automine once.
fn run(name: &'static str, prepare: fn(usize, u32) -> Race, transactions: u32, rounds: u32) -> Outcome {
    let binary = build()?;
    let (race, automine) = (prepare(SENDERS, transactions), prepare(CONNECTIONS, AUTOMINE_TRANSACTIONS));
    let kinds = [Kind::Ours, Kind::AnvilEverySecond, Kind::OursAtOnce];
    let sides = [1, BATCH].into_iter().flat_map(|batch| kinds.map(|kind| Lineup { kind, batch, runs: Vec::new() }));
    let mut sides: Vec<Lineup> = sides.collect();
    let mut slow = Lineup { kind: Kind::AnvilAtOnce, batch: 1, runs: Vec::new() };
    for _ in 0..rounds {
        for side in &mut sides {
            let run = race.once(&binary, side.kind, side.batch);
            side.runs.push(run.map_err(|error| format!("{}, {}: {error}", side.kind.program(), side.name()))?);
        }
        slow.runs.push(automine.once(&binary, slow.kind, slow.batch)?);
    }
    sides.push(slow);
    report(name, &race, &sides)
}

/// Transactions that create the token and give some of it to everybody.
pub struct TokenSetup {
    /// Who creates it.
    pub creator: Address,
    /// The token.
    pub token: Address,
    /// Groups of transactions, each to be in blocks before the next is sent.
    pub groups: Vec<Vec<Bytes>>,
}

impl TokenSetup {
    /// Signs them.
    pub fn new(people: &[Person]) -> Self {
        let mut creator = Person::new(usize::MAX);
        let token = creator.address().create(0);
        let mut groups = vec![vec![creator.sign_raw(CHAIN_ID, contracts::create_token())]];
        for some in people.chunks(500) {
            let give =
                |person: &Person| creator.sign_raw(CHAIN_ID, contracts::transfer(token, person.address(), 1_000_000));
            groups.push(some.iter().map(give).collect());
        }
        Self { creator: creator.address(), token, groups }
    }
}

/// Signed transactions of one connection, with nonces in order.
type Lane = Vec<Bytes>;

/// Signs `transactions` of all people in turn, each person always on the same connection.
pub fn sign(people: &mut [Person], transactions: u32, deed: impl Fn(Address) -> Deed + Sync) -> Vec<Lane> {
    let addresses: Vec<Address> = people.iter().map(Person::address).collect();
    let turns = usize::try_from(transactions).unwrap_or(usize::MAX).div_ceil(people.len()).max(1);
    let per_lane = people.len().div_ceil(CONNECTIONS);
    let lane = |(index, some): (usize, &mut [Person])| -> Lane {
        let mut lane = Vec::with_capacity(turns * some.len());
        for turn in 0..turns {
            for (at, person) in some.iter_mut().enumerate() {
                let to = addresses[(index * per_lane + at + 1 + 7 * turn) % addresses.len()];
                lane.push(person.sign_raw(CHAIN_ID, deed(to)));
            }
        }
        lane
    };
    thread::scope(|scope| {
        let lanes = people.chunks_mut(per_lane).enumerate();
        let signers: Vec<_> = lanes.map(|part| scope.spawn(|| lane(part))).collect();
        signers.into_iter().map(|signer| signer.join().expect("signing does not panic")).collect()
    })
}

/// The same transactions for every side.
struct Race {
    /// The senders, and who else needs coins.
    funded: Vec<Address>,
    setup: Vec<Vec<Bytes>>,
    load: Vec<Lane>,
    /// Whether every transaction logs something.
    logs: bool,
}

/// What one run showed.
struct Run {
    transactions: f64,
    sent: Sent,
    /// From the first request until all are in blocks.
    wall: Duration,
    server_cpu: Duration,
    memory_bytes: u64,
    disk_bytes: u64,
    blocks: u64,
}

/// A side and the size of its requests, with all its runs.
struct Lineup {
    kind: Kind,
    batch: usize,
    runs: Vec<Run>,
}

impl Race {
    fn transfers(senders: usize, transactions: u32) -> Self {
        let mut people = Person::many(senders);
        let load = sign(&mut people, transactions, Deed::transfer);
        Self { funded: people.iter().map(Person::address).collect(), setup: Vec::new(), load, logs: false }
    }

    fn erc20(senders: usize, transactions: u32) -> Self {
        let mut people = Person::many(senders);
        let TokenSetup { creator, token, groups } = TokenSetup::new(&people);
        let load = sign(&mut people, transactions, |to| contracts::transfer(token, to, 1));
        let funded = people.iter().map(Person::address).chain([creator]).collect();
        Self { funded, setup: groups, load, logs: true }
    }

    fn count(&self) -> usize {
        self.load.iter().map(Vec::len).sum()
    }

    /// Starts a fresh server, sends everything, and waits until it is in blocks.
    fn once(&self, binary: &Path, kind: Kind, batch: usize) -> Outcome<Run> {
        let server = kind.start(binary, CHAIN_ID, &self.funded)?;
        let mut client = server.client()?;
        for group in &self.setup {
            mine(&mut client, group)?;
        }
        let lanes = self.load.iter().map(|lane| lane.chunks(batch).map(Request::send).collect()).collect();
        let first = block_number(&mut client)?;
        let cpu = server.cpu()?;
        let began = Instant::now();
        let sent = drive(server.address, lanes)?;
        self.wait(&mut client)?;
        let wall = began.elapsed();
        let server_cpu = server.cpu()?.saturating_sub(cpu);
        self.check(&mut client)?;
        let blocks = block_number(&mut client)?.saturating_sub(first);
        let (memory_bytes, disk_bytes) = (server.memory_peak_bytes()?, server.disk_bytes()?);
        let transactions = number(u64::try_from(self.count())?);
        Ok(Run { transactions, sent, wall, server_cpu, memory_bytes, disk_bytes, blocks })
    }

    /// Waits for the receipt of every connection's last transaction.
    fn wait(&self, client: &mut Client) -> Outcome<()> {
        let last = self.load.iter().filter_map(|lane| lane.last());
        wait_for(client, last)
    }

    /// Checks that all of them are in blocks, and did what they should.
    fn check(&self, client: &mut Client) -> Outcome<()> {
        let last = self.load.iter().filter_map(|lane| lane.last()).map(keccak256);
        let receipts =
            client.calls(&last.map(|hash| ("eth_getTransactionReceipt", json!([hash]))).collect::<Vec<_>>())?;
        if let Some(failed) = receipts.iter().find(|receipt| receipt["status"] != "0x1") {
            return Err(format!("a transaction failed: {failed}").into());
        }
        if let Some(failed) = receipts.iter().find(|receipt| self.logs && receipt["logs"][0].is_null()) {
            return Err(format!("a transaction of the token logged nothing: {failed}").into());
        }
        let asked: Vec<_> = self.funded.iter().map(|who| ("eth_getTransactionCount", json!([who, "latest"]))).collect();
        let nonces: Vec<u64> = client.calls(&asked)?.iter().map(quantity).collect::<Outcome<_>>()?;
        let (found, sent) = (nonces.iter().sum::<u64>(), self.count() + self.setup.iter().map(Vec::len).sum::<usize>());
        if found == u64::try_from(sent)? {
            Ok(())
        } else {
            Err(format!("{found} of {sent} transactions are in blocks").into())
        }
    }
}

fn report(name: &'static str, race: &Race, sides: &[Lineup]) -> Outcome {
    let peer = |batch| {
        let anvils = sides.iter().filter(|side| side.batch == batch && !side.kind.is_ours());
        anvils.map(Lineup::best_rate).fold(0.0, f64::max)
    };
    let mut figures = vec![
        Figure::new("transactions", number(u64::try_from(race.count())?), ""),
        Figure::new("connections with one request each", number(u64::try_from(CONNECTIONS)?), ""),
    ];
    let mut reference = Vec::new();
    for side in sides {
        side.figures(if side.kind.is_ours() { &mut figures } else { &mut reference })?;
    }
    for side in sides.iter().filter(|side| side.kind.is_ours()) {
        let name = format!("{}: times anvil's better", side.name());
        let times = Figure::new(name, side.best_rate() / peer(side.batch), "x");
        let held = side.kind == Kind::Ours && side.batch == 1;
        figures.push(if held { times.held_against(BarIs::AtLeast, BAR) } else { times });
    }
    let notes = [
        "From the first request until every transaction is in a block: our blocks on the disk, anvil's in memory without its log.",
        "Every run begins with a fresh server; signing, making the requests and starting the server are not timed.",
        "Ours: the development chain of `bmm up` (proof of work, a block every second on average, 2 % of a core to mine with), with a higher gas limit.",
        "Block at once: our engine `dev`; anvil's automine, which slows down with accounts and blocks and so gets 32 accounts and 640 transactions. The fastest run of each side counts; runs are in turns.",
        "Processor time of the server from the first request to the last block; the sender shares the same cores.",
    ];
    Ok(Report::new(name, figures, Some(reference), &notes))
}

impl Kind {
    fn program(self) -> &'static str {
        if self.is_ours() { "bmm" } else { "anvil" }
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursAtOnce)
    }
}

impl Lineup {
    fn name(&self) -> String {
        let blocks = match self.kind {
            Kind::Ours => "blocks by proof of work",
            Kind::AnvilEverySecond => "a block every second",
            Kind::OursAtOnce | Kind::AnvilAtOnce => "block at once",
            Kind::AnvilOnDemand => "blocks on demand",
        };
        let size = if self.batch == 1 { "one a request".to_owned() } else { format!("{} a request", self.batch) };
        format!("{size}, {blocks}")
    }

    /// Transactions per second of each run.
    fn rates(&self) -> Vec<f64> {
        self.runs.iter().map(|run| run.transactions / run.wall.as_secs_f64()).collect()
    }

    fn best_rate(&self) -> f64 {
        self.rates().into_iter().fold(0.0, f64::max)
    }

    fn figures(&self, list: &mut Vec<Figure>) -> Outcome<()> {
        let best = self.runs.iter().min_by_key(|run| run.wall).ok_or("nothing was measured")?;
        let cost = |run: &Run| run.server_cpu.as_secs_f64() * 1e6 / run.transactions;
        let seconds = |time: Duration| time.as_secs_f64();
        list.push(Figure::most(self.name(), self.rates(), "1/s"));
        list.push(Figure::least("  processor time a transaction", self.runs.iter().map(cost).collect(), "µs"));
        list.push(Figure::new("  sender's share of one core", seconds(best.sent.cpu) / seconds(best.sent.wall), ""));
        list.push(Figure::new("  last answer after", seconds(best.sent.wall), "s"));
        list.push(Figure::new("  all in blocks after", seconds(best.wall), "s"));
        list.push(Figure::new("  blocks", number(best.blocks), ""));
        list.push(Figure::new("  most memory", number(best.memory_bytes) / 1e6, "MB"));
        if self.kind.is_ours() {
            list.push(Figure::new("  disk", number(best.disk_bytes) / 1e6, "MB"));
        }
        if self.runs.iter().any(|run| run.sent.again > 0) {
            list.push(Figure::new("  requests sent again, as the pool was full", number(best.sent.again), ""));
        }
        Ok(())
    }
}

/// Sends transactions and waits until they are in blocks; fails where one fails.
pub fn mine(client: &mut Client, transactions: &[Bytes]) -> Outcome<()> {
    let calls: Vec<_> = transactions.iter().map(|raw| ("eth_sendRawTransaction", json!([raw]))).collect();
    let hashes = client.calls(&calls)?;
    wait_for(client, transactions)?;
    let asked: Vec<_> = hashes.iter().map(|hash| ("eth_getTransactionReceipt", json!([hash]))).collect();
    match client.calls(&asked)?.iter().find(|receipt| receipt["status"] != "0x1") {
        Some(failed) => Err(format!("a transaction of the preparation failed: {failed}").into()),
        None => Ok(()),
    }
}

/// Waits for the receipts of all these transactions.
fn wait_for<'a>(client: &mut Client, transactions: impl IntoIterator<Item = &'a Bytes>) -> Outcome<()> {
    let mut open: Vec<B256> = transactions.into_iter().map(keccak256).collect();
    let began = Instant::now();
    loop {
        let asked: Vec<_> = open.iter().map(|hash| ("eth_getTransactionReceipt", json!([hash]))).collect();
        let receipts = client.calls(&asked)?;
        let mut found = receipts.iter().map(|receipt| !receipt.is_null());
        open.retain(|_| !found.next().unwrap_or(false));
        if open.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("no receipt of {} within {} s", open[0], PATIENCE.as_secs()).into());
        }
        thread::sleep(LOOK);
    }
}

/// Reads a quantity.
pub fn quantity(value: &Value) -> Outcome<u64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).ok_or("the server's number is no quantity")?;
    Ok(u64::from_str_radix(digits, 16)?)
}

fn block_number(client: &mut Client) -> Outcome<u64> {
    quantity(&client.call("eth_blockNumber", &json!([]))?)
}
