//! `bmm bench`: what this machine is and how fast.

use super::Context;
use crate::{
    failure::{Failure, IoContext, Outcome},
    mine::hash_rate,
    output,
};
use bmm_scrypt::Kernel;
use bmm_types::market::Gpu;
use bmm_vm::{Vm, VmConfig, hardware};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::{fmt::Write as _, thread};

/// `bmm bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm bench            hardware, sandbox and hashes
  bmm bench hash       Scrypt hashes only")]
pub struct Bench {
    /// What to rate [default: everything]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Fuel per second of the sandbox on one core
    Vm,
    /// Scrypt hashes per second: every kernel on one core, the best on all
    Hash,
}

#[derive(Serialize)]
struct Rating {
    cpu: String,
    arch: &'static str,
    cores: u32,
    memory_bytes: Option<u64>,
    features: Vec<&'static str>,
    gpus: Vec<Gpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scrypt: Vec<HashRate>,
}

/// How fast a kernel hashes.
#[derive(Serialize)]
struct HashRate {
    kernel: String,
    threads: usize,
    hashes_per_second: u64,
}

/// Answers `bmm bench`.
pub fn run(context: &Context, args: &Bench) -> Outcome {
    let found = hardware::detect();
    let vm = |()| -> Outcome<u64> {
        let vm = Vm::new(VmConfig::default()).map_err(Failure::internal)?;
        hardware::rate(&vm).map(|rating| rating.fuel_per_s).map_err(Failure::internal)
    };
    let disk = |()| {
        let folder = context.data.root();
        std::fs::create_dir_all(folder).and_then(|()| hardware::disk_speed(folder)).doing("write into", folder)
    };
    let wanted = |what: What| (args.what.is_none() || args.what == Some(what)).then_some(());
    let rating = Rating {
        cpu: found.cpu_model,
        arch: found.arch,
        cores: found.logical_cores,
        memory_bytes: found.memory_bytes,
        features: found.features,
        gpus: found.gpus,
        memory_bytes_per_second: wanted(What::Vm).map(|()| hardware::memory_speed()),
        disk_bytes_per_second: wanted(What::Vm).map(disk).transpose()?,
        fuel_per_second: wanted(What::Vm).map(vm).transpose()?,
        scrypt: wanted(What::Hash).map(|()| hash_rates(found.logical_cores)).unwrap_or_default(),
    };
    let memory = rating.memory_bytes.map_or_else(String::new, |bytes| format!(", {} MiB of memory", bytes >> 20));
    let mut text = format!("{} ({}), {} cores{memory}", rating.cpu, rating.arch, rating.cores);
    if !rating.features.is_empty() {
        let _ = write!(text, "\nfeatures {}", rating.features.join(" "));
    }
    for gpu in &rating.gpus {
        let _ = write!(text, "\nGPU      {}, {} MiB", gpu.name, gpu.memory_bytes >> 20);
    }
    if rating.gpus.is_empty() {
        let _ = write!(text, "\nGPU      none found (looked for {})", hardware::GPU_SOURCES);
    }
    let speeds = [("memory", rating.memory_bytes_per_second), ("disk", rating.disk_bytes_per_second)];
    for (name, speed) in speeds.into_iter().filter_map(|(name, speed)| Some((name, speed?))) {
        let _ = write!(text, "\n{name:8} {:>10} MB/s", speed / 1_000_000);
    }
    if let Some(fuel) = rating.fuel_per_second {
        let _ = write!(text, "\nsandbox  {:>10} Mfuel/s on one core", fuel / 1_000_000);
    }
    for rate in &rating.scrypt {
        let threads = if rate.threads == 1 { "one core".to_owned() } else { format!("{} cores", rate.threads) };
        let _ = write!(text, "\nscrypt   {:>10} hashes/s on {threads}, {}", rate.hashes_per_second, rate.kernel);
    }
    output::print(context.global.json, &rating, text);
    Ok(())
}

/// Rates every kernel that this processor has on one thread, and the best one on all.
fn hash_rates(cores: u32) -> Vec<HashRate> {
    let mut runs: Vec<(Kernel, usize)> =
        Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()).map(|kernel| (kernel, 1)).collect();
    let cores = usize::try_from(cores).unwrap_or(1);
    if cores > 1 {
        runs.push((Kernel::best(), cores));
    }
    let rate = |(kernel, threads): (Kernel, usize)| HashRate {
        kernel: kernel.to_string(),
        threads,
        hashes_per_second: thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(move || hash_rate(kernel))).collect();
            started.into_iter().map(|thread| thread.join().unwrap_or_default()).fold(0, u64::saturating_add)
        }),
    };
    runs.into_iter().map(rate).collect()
}
