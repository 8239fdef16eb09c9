//! Scrypt(1024, 1, 1): every kernel that this processor has, and the crate `scrypt`, on one thread and on two.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use bmm_scrypt::{HEADER_LEN, Hasher, Kernel};
use cpu_time::ThreadTime;
use std::{hint::black_box, thread, time::Duration};

/// Processor time of one measurement.
const MEASURE: Duration = Duration::from_millis(600);

/// Times as many hashes as the crate in the same processor time.
fn bar(kernel: Kernel) -> f64 {
    match kernel {
        Kernel::Portable => 1.0,
        Kernel::Avx2 => 4.5,
        Kernel::Avx512 => 8.0,
    }
}

/// `bench scrypt`
#[expect(clippy::unnecessary_wraps, reason = "every benchmark is called in one way, and most can fail")]
pub fn run(rounds: u32) -> Outcome {
    let kernels: Vec<Kernel> = Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()).collect();
    let (mut figures, mut peer) = (Vec::new(), Vec::new());
    for threads in [1, 2] {
        let (mut ours, mut theirs) = (vec![Vec::new(); kernels.len()], Vec::new());
        for _ in 0..rounds {
            for (rates, kernel) in ours.iter_mut().zip(&kernels) {
                rates.push(on_threads(threads, || kernel_rate(*kernel)));
            }
            theirs.push(on_threads(threads, crate_rate));
        }
        let name = |what: &str| if threads == 1 { what.to_owned() } else { format!("{what}, {threads} threads") };
        let theirs = Figure::most(name("crate scrypt"), theirs, "kH/s");
        for (rates, kernel) in ours.into_iter().zip(&kernels) {
            let rate = Figure::most(name(&kernel.to_string()), rates, "kH/s");
            let times = Figure::new("  times the crate's", rate.value / theirs.value, "x");
            let micros = Figure::new("  a hash", 1_000.0 / rate.value, "µs");
            figures.extend([
                rate,
                if threads == 1 { times.held_against(BarIs::AtLeast, bar(*kernel)) } else { times },
                micros,
            ]);
        }
        peer.push(theirs);
    }
    let notes = [
        "Thousands of hashes in a second of processor time, on each thread: the header's PBKDF2 before and after the mixing included.",
        "Runs of all in turns; the fastest of each counts.",
    ];
    Ok(Report::new("scrypt", figures, Some(peer), &notes))
}

/// Runs on so many threads at once, and returns the mean.
fn on_threads(threads: u32, rate: impl Fn() -> f64 + Sync) -> f64 {
    let rates: Vec<f64> = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(&rate)).collect();
        started.into_iter().map(|thread| thread.join().expect("hashing does not panic")).collect()
    });
    rates.iter().sum::<f64>() / f64::from(threads)
}

fn kernel_rate(kernel: Kernel) -> f64 {
    let mut hasher = Hasher::with(kernel).expect("only kernels that are available are asked for");
    let mut headers = vec![[0; HEADER_LEN]; hasher.lanes()];
    let mut made = vec![[0; 32]; hasher.lanes()];
    paced(|turn| {
        for (lane, header) in (0u64..).zip(&mut headers) {
            header[..16].copy_from_slice(&(u128::from(turn) << 64 | u128::from(lane)).to_le_bytes());
        }
        hasher.hash(&headers, &mut made);
        black_box(&made);
        headers.len() as u64
    })
}

fn crate_rate() -> f64 {
    let params = scrypt::Params::new(10, 1, 1).expect("N = 1024, r = 1, p = 1");
    paced(|turn| {
        let (mut header, mut hash) = ([0; HEADER_LEN], [0; 32]);
        header[..8].copy_from_slice(&turn.to_le_bytes());
        scrypt::scrypt(&header, &header, &params, &mut hash).expect("32 bytes is a length that PBKDF2 can give");
        black_box(hash);
        1
    })
}

/// Repeats `work`, which returns how many hashes it made, and returns thousands of hashes in a second of processor time.
fn paced(mut work: impl FnMut(u64) -> u64) -> f64 {
    let clock = ThreadTime::now();
    let mut hashes = 0;
    for turn in 0.. {
        hashes += work(turn);
        if clock.elapsed() >= MEASURE {
            break;
        }
    }
    number(hashes) / clock.elapsed().as_secs_f64() / 1_000.0
}
