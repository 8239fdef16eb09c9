//! The mining pool: shares over TCP from the line to the log, memory of connections that rest, and the time that a share takes.

mod load;
mod server;

pub use server::serve;

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use load::Miners;
use server::Process;
use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// Connections that rest.
const IDLE: usize = 10_000;
/// Most bytes of the server's with them.
const IDLE_BAR: f64 = 300e6;
/// Connections that send shares, each one at a time.
const MINERS: usize = 1_000;
/// Shares of a run as fast as may be, all together.
const SHARES: usize = 150_000;
/// Least shares that the server accepts in a second of its processor time.
const RATE_BAR: f64 = 20_000.0;
/// Length of a run at half of that load.
const PACED: Duration = Duration::from_secs(8);
/// Most milliseconds that 99 of 100 shares take there.
const LATENCY_BAR: f64 = 5.0;

/// A folder in memory.
const MEMORY: &str = "/dev/shm";
/// Flushes to the disk that are timed.
const FLUSHES: usize = 200;

/// `bench pool`
pub fn run(rounds: u32) -> Outcome {
    let disk = std::env::current_exe()?.parent().ok_or("a program is in a folder")?.to_owned();
    let idle = memory(&disk)?;
    let (mut per_core, mut micros, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut on_disk, mut in_memory, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let speed = speed(&disk)?;
        per_core.push(1e6 / speed.micros);
        micros.push(speed.micros);
        rates.push(speed.rate);
        on_disk.push(times(&disk, speed.rate / 2.0)?);
        flushes.push(flush_times(&disk)?);
        in_memory.push(times(Path::new(MEMORY), speed.rate / 2.0)?);
    }
    let least =
        |name: &str, runs: &[Times], of: fn(&Times) -> f64| Figure::least(name, runs.iter().map(of).collect(), "ms");
    let figures = vec![
        Figure::most("accepted shares a second of the server's processor time", per_core, "1/s")
            .held_against(BarIs::AtLeast, RATE_BAR),
        Figure::least("  processor time a share", micros, "µs"),
        Figure::most("  accepted shares a second, the miners on the same cores", rates, "1/s"),
        least("p99 of a share at half of that, log in memory", &in_memory, |times| times.p99)
            .held_against(BarIs::AtMost, LATENCY_BAR),
        least("  median", &in_memory, |times| times.median),
        least("p99 of a share, log on the disk", &on_disk, |times| times.p99),
        least("  median", &on_disk, |times| times.median),
        Figure::new(format!("memory of the server with {IDLE} connections that rest"), idle / 1e6, "MB")
            .held_against(BarIs::AtMost, IDLE_BAR / 1e6),
    ];
    let peer = vec![
        least("a flush of the disk alone, p99", &flushes, |times| times.p99),
        least("a flush of the disk alone, median", &flushes, |times| times.median),
    ];
    let notes = [
        "Shares of some two hashes, mined beforehand for the server's own job; 1,000 connections with one share under way each.",
        "A process of its own: TCP, checks, Scrypt, the log with its flush to the disk, statistics. The miners' time is not counted.",
        "At half load shares are sent by the clock, and their time counts from when they were due.",
        "An answer waits for the flush that its share is in, and mostly for the one before: the disk's time, once or twice.",
    ];
    Ok(Report::new("pool", figures, Some(peer), &notes))
}

fn memory(place: &Path) -> Outcome<f64> {
    let process = Process::start(place)?;
    let _miners = Miners::connect(process.address, IDLE)?;
    let bytes = process.memory()?;
    process.stop()?;
    Ok(number(bytes))
}

/// As fast as may be.
struct Speed {
    micros: f64,
    rate: f64,
}

fn speed(place: &Path) -> Outcome<Speed> {
    let process = Process::start(place)?;
    let mut miners = Miners::connect(process.address, MINERS)?;
    miners.mine(SHARES / MINERS);
    let (before, began) = (process.processor_time()?, Instant::now());
    let accepted = number(miners.send_all()?);
    let (processor, wall) = (process.processor_time()?.saturating_sub(before), began.elapsed());
    process.stop()?;
    Ok(Speed { micros: processor.as_secs_f64() / accepted * 1e6, rate: accepted / wall.as_secs_f64() })
}

/// In milliseconds.
struct Times {
    median: f64,
    p99: f64,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| all[(all.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
        Self { median: at(50), p99: at(99) }
    }
}

/// `rate` shares a second.
fn times(place: &Path, rate: f64) -> Outcome<Times> {
    let process = Process::start(place)?;
    let mut miners = Miners::connect(process.address, MINERS)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousands a second")]
    let count = (rate * PACED.as_secs_f64()) as usize;
    miners.mine(count / MINERS + 1);
    let all = miners.send_paced(rate, count)?;
    process.stop()?;
    Ok(Times::of(all))
}

/// What the disk takes for flushing some shares that were appended to a file.
fn flush_times(place: &Path) -> Outcome<Times> {
    let mut file = tempfile::tempfile_in(place)?;
    let flush = |_| -> Outcome<Duration> {
        file.write_all(&[0; 2_048])?;
        let began = Instant::now();
        file.sync_data()?;
        Ok(began.elapsed())
    };
    Ok(Times::of((0..FLUSHES).map(flush).collect::<Outcome<_>>()?))
}
