//! `bmm bench`: what this machine is and how fast.

use super::Context;
use crate::{
    failure::{Failure, Outcome},
    output,
};
use bmm_vm::{Vm, VmConfig, hardware};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

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
    /// Scrypt hashes per second on one core
    Hash,
}

#[derive(Serialize)]
struct Rating {
    cpu: String,
    arch: &'static str,
    cores: u32,
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scrypt_hashes_per_second: Option<u64>,
}

/// Answers `bmm bench`.
pub fn run(context: &Context, args: &Bench) -> Outcome {
    let found = hardware::detect();
    let vm = |()| -> Outcome<u64> {
        let vm = Vm::new(VmConfig::default()).map_err(Failure::internal)?;
        hardware::rate(&vm).map(|rating| rating.fuel_per_s).map_err(Failure::internal)
    };
    let wanted = |what: What| (args.what.is_none() || args.what == Some(what)).then_some(());
    let rating = Rating {
        cpu: found.cpu_model,
        arch: found.arch,
        cores: found.logical_cores,
        memory_bytes: found.memory_bytes,
        fuel_per_second: wanted(What::Vm).map(vm).transpose()?,
        scrypt_hashes_per_second: wanted(What::Hash).map(|()| hash_rate()),
    };
    let memory = rating.memory_bytes.map_or_else(String::new, |bytes| format!(", {} MiB of memory", bytes >> 20));
    let mut text = format!("{} ({}), {} cores{memory}", rating.cpu, rating.arch, rating.cores);
    if let Some(fuel) = rating.fuel_per_second {
        let _ = write!(text, "\nsandbox  {:>10} Mfuel/s on one core", fuel / 1_000_000);
    }
    if let Some(hashes) = rating.scrypt_hashes_per_second {
        let _ = write!(text, "\nscrypt   {hashes:>10} hashes/s on one core");
    }
    output::print(context.global.json, &rating, text);
    Ok(())
}

/// Hashes headers for a second.
fn hash_rate() -> u64 {
    let start = Instant::now();
    let mut header = [0u8; 80];
    let mut hashes = 0u64;
    while start.elapsed() < Duration::from_secs(1) {
        header[..8].copy_from_slice(&hashes.to_le_bytes());
        std::hint::black_box(bmm_pow::scrypt_hash(&header));
        hashes += 1;
    }
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    hashes.saturating_mul(1_000_000) / micros.max(1)
}
