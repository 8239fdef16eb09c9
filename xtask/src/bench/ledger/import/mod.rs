//! Import of blocks that were made beforehand into a fresh durable database, against revm alone on the very same blocks.
//!
//! Every measurement is a process of its own, so that neither the preparation nor the other side counts in its time or memory.

mod peer;
mod prepare;
mod workload;

use super::server::{disk_bytes, folder, memory_peak_of};
use crate::bench::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use bmm_chain::{Chain, ChainOptions, SystemClock};
use bmm_types::{ChainParams, SealedBlock};
use cpu_time::ProcessTime;
use prepare::Prepared;
pub(super) use prepare::{block, open, params};
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};
pub use workload::Kind;
pub(super) use workload::{SENDERS, account, setup};

/// Least share of revm's speed that import keeps.
const BAR_PEER: f64 = 0.7;
/// Least share of the speed at 100,000 accounts that import keeps at 10,000,000.
const BAR_LARGE: f64 = 0.6;
/// Accounts of `--large`.
const LARGE: u32 = 10_000_000;
/// Most memory of the import at `--large`, in megabytes.
const LARGE_MEMORY_MB: f64 = 4.0 * 1_073.741_824;

/// What the measured process prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// For each kind of blocks.
    kinds: Vec<Pace>,
    memory_bytes: u64,
}

/// One kind of blocks in one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pace {
    transactions: u64,
    gas: u64,
    /// Wall time of it all, in seconds.
    secs: f64,
    /// Of it, the recovery of the senders, where it is a step of its own.
    recovery_secs: f64,
    /// Processor time of it all, in seconds.
    cpu_secs: f64,
}

/// A side that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// `Chain::import_all`: checking, execution and storing side by side, durable when it returns
    All,
    /// `Chain::import`: block by block, each durable before the next
    One,
    /// revm alone
    Peer,
}

/// The runs of a side, each with the size of the database afterwards.
#[derive(Default)]
struct Runs {
    measured: Vec<Measured>,
    disk_bytes: Vec<u64>,
}

/// `bench import`
pub fn import(accounts: u32, large: bool, rounds: u32) -> Outcome {
    let prepared = Prepared::new(accounts)?;
    let (mut all, mut one, mut peer) = (Runs::default(), Runs::default(), Runs::default());
    for _ in 0..rounds {
        all.push(prepared.measure(Side::All)?);
        one.push(prepared.measure(Side::One)?);
        peer.push(prepared.measure(Side::Peer)?);
    }
    let mut figures = vec![Figure::new("accounts", f64::from(accounts), "")];
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let name = kind.name();
        figures.push(Figure::most(format!("{name}: transactions"), all.rates(at), "1/s"));
        figures.push(Figure::new("  gas", all.best(at, |pace| number(pace.gas) / 1e6 / pace.secs), "Mgas/s"));
        figures.push(Figure::least("  processor time a transaction", all.costs(at), "µs"));
        figures.push(Figure::most("  block by block", one.rates(at), "1/s"));
        let share = Figure::new(format!("{name}: share of revm's speed"), all.rate(at) / peer.rate(at), "");
        figures.push(if kind == Kind::Mix { share.held_against(BarIs::AtLeast, BAR_PEER) } else { share });
        figures.push(Figure::new("  block by block", one.rate(at) / peer.rate(at), ""));
    }
    figures.extend(house(&all, prepared.database_bytes));
    if large {
        figures.extend(large_figures(&prepared, rounds)?);
    }
    let notes = [
        "Import: header rules, signatures, execution, receipts, state root, journal and tables on the disk; no proof of work.",
        "revm: senders recovered by the same library on as many threads, then all transactions in order on a state in memory; no roots, receipts, disk.",
        "Blocks are decoded before the clock starts. Each side runs in a process of its own, in turns; the fastest run of each counts.",
        "The tables are written in the background; the clock of each kind stops when the last of its blocks is in them, not only in the journal.",
    ];
    Ok(Report::new("import", figures, Some(peer_figures(&peer)), &notes))
}

/// What 10,000,000 accounts cost, in turns with the few of `base`, since other work on the machine comes and goes.
fn large_figures(base: &Prepared, rounds: u32) -> Outcome<Vec<Figure>> {
    let prepared = Prepared::new(LARGE)?;
    let (mut small, mut runs) = (Runs::default(), Runs::default());
    for _ in 0..rounds {
        small.push(base.measure(Side::All)?);
        runs.push(prepared.measure(Side::All)?);
    }
    let mut figures = vec![Figure::new("accounts", f64::from(LARGE), "")];
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let name = kind.name();
        figures.push(Figure::most(format!("{name}: transactions"), runs.rates(at), "1/s"));
        figures.push(Figure::least("  processor time a transaction", runs.costs(at), "µs"));
        figures.push(Figure::most("  with fewer accounts", small.rates(at), "1/s"));
        figures.push(Figure::least("  processor time a transaction", small.costs(at), "µs"));
        let share = Figure::new(format!("{name}: share of the speed with fewer"), runs.rate(at) / small.rate(at), "");
        figures.push(share.held_against(BarIs::AtLeast, BAR_LARGE));
    }
    let [memory, others @ ..] = house(&runs, prepared.database_bytes);
    figures.push(memory.held_against(BarIs::AtMost, LARGE_MEMORY_MB));
    figures.extend(others);
    Ok(figures)
}

/// Memory and disk.
fn house(runs: &Runs, database_bytes: u64) -> [Figure; 3] {
    let memory = runs.measured.iter().map(|run| run.memory_bytes).max().unwrap_or_default();
    let disk = runs.disk_bytes.iter().copied().max().unwrap_or_default();
    [
        Figure::new("most memory of the import", number(memory) / 1e6, "MB"),
        Figure::new("database before the blocks", number(database_bytes) / 1e6, "MB"),
        Figure::new("database after the blocks", number(disk) / 1e6, "MB"),
    ]
}

fn peer_figures(peer: &Runs) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let name = kind.name();
        figures.push(Figure::most(format!("{name}: recovery and execution"), peer.rates(at), "1/s"));
        let alone = |pace: &Pace| number(pace.transactions) / (pace.secs - pace.recovery_secs);
        figures.push(Figure::most("  execution alone", peer.each(at, alone), "1/s"));
        figures.push(Figure::least("  processor time a transaction", peer.costs(at), "µs"));
    }
    figures
}

impl Runs {
    fn push(&mut self, (measured, disk_bytes): (Measured, u64)) {
        self.measured.push(measured);
        self.disk_bytes.push(disk_bytes);
    }

    fn each(&self, kind: usize, of: impl Fn(&Pace) -> f64) -> Vec<f64> {
        self.measured.iter().map(|run| of(&run.kinds[kind])).collect()
    }

    fn best(&self, kind: usize, of: impl Fn(&Pace) -> f64) -> f64 {
        self.each(kind, of).into_iter().fold(0.0, f64::max)
    }

    /// Transactions per second.
    fn rates(&self, kind: usize) -> Vec<f64> {
        self.each(kind, |pace| number(pace.transactions) / pace.secs)
    }

    fn rate(&self, kind: usize) -> f64 {
        self.rates(kind).into_iter().fold(0.0, f64::max)
    }

    /// Processor time of a transaction, in µs.
    fn costs(&self, kind: usize) -> Vec<f64> {
        self.each(kind, |pace| pace.cpu_secs * 1e6 / number(pace.transactions))
    }
}

impl Prepared {
    /// Runs one side in a process of its own. Returns what it showed and the size of the database afterwards.
    fn measure(&self, side: Side) -> Outcome<(Measured, u64)> {
        let copy = folder()?;
        if side != Side::Peer {
            self.copy_database(copy.path())?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("import-blocks").arg("--prepared").arg(self.folder.path()).arg("--database").arg(copy.path());
        command.arg("--side").arg(side.name()).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("the measured process failed: {}", output.status).into());
        }
        Ok((serde_json::from_slice(&output.stdout)?, disk_bytes(copy.path())?))
    }
}

/// The measured process: imports the prepared blocks into `database`, or runs them on revm alone.
pub fn measured(prepared: &Path, database: &Path, side: Side) -> Outcome<Measured> {
    let prepared = prepare::read(prepared)?;
    match side {
        Side::All | Side::One => ours(prepared.params, prepared.load, database, side == Side::All),
        Side::Peer => peer::run(&prepared),
    }
}

/// Our side.
fn ours(params: ChainParams, load: Vec<Vec<SealedBlock>>, database: &Path, all: bool) -> Outcome<Measured> {
    let chain = Chain::open(params, database, Arc::new(SystemClock), ChainOptions::default())?;
    let mut kinds = Vec::new();
    for blocks in load {
        let mut pace = Pace::of(&blocks);
        let clock = Stopwatch::start();
        if all {
            chain.import_all(blocks.into_iter(), |_| {})?;
        } else {
            for block in &blocks {
                chain.import(block)?;
            }
        }
        chain.flush()?;
        clock.stop(&mut pace);
        kinds.push(pace);
    }
    Ok(Measured { kinds, memory_bytes: memory_peak_of(std::process::id())? })
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::One => "one",
            Self::Peer => "peer",
        }
    }
}

impl Pace {
    fn of(blocks: &[SealedBlock]) -> Self {
        Self {
            transactions: blocks.iter().map(|block| block.block.body.transactions.len() as u64).sum(),
            gas: blocks.iter().map(|block| block.block.header.gas_used).sum(),
            ..Self::default()
        }
    }
}

/// Wall and processor time.
struct Stopwatch(Instant, ProcessTime);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), ProcessTime::now())
    }

    fn stop(self, pace: &mut Pace) {
        pace.secs = self.0.elapsed().as_secs_f64();
        pace.cpu_secs = self.1.elapsed().as_secs_f64();
    }
}
