//! Finds the host's hardware by itself and rates it by a short benchmark.

use std::num::NonZero;
use std::path::Path;

use crate::error::VmError;
use crate::task::{Exit, Limits, StopFlag, TaskInput};
use crate::vm::{PrepareError, Vm};

/// Integer work in and out of a table of 64 KiB; its text is `rating.wat`.
const RATING_WASM: &[u8] = include_bytes!("rating.wasm");
/// What the rating program prints: the state of its generator at the end.
const RATING_RESULT: [u8; 8] = [65, 87, 158, 150, 130, 92, 178, 188];
/// How often the rating program runs; the fastest run counts, as the others were disturbed.
const RATING_RUNS: u32 = 3;

/// Describes the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Name of the processor, or its architecture where the system does not tell.
    pub cpu_model: String,
    /// Architecture of this build (`x86_64`, `aarch64`).
    pub arch: &'static str,
    /// Logical cores that this process may use.
    pub logical_cores: u32,
    /// Memory of the machine, bytes; `None` where the system does not tell.
    pub memory_bytes: Option<u64>,
    /// Memory that could be had without swapping, bytes; `None` where the system does not tell.
    pub available_memory_bytes: Option<u64>,
}

/// Holds what the short benchmark measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// Fuel that one core uses up in a second of integer work.
    pub fuel_per_s: u64,
}

/// Looks at the host.
pub fn detect() -> Hardware {
    let memory = read(Path::new("/proc/meminfo"));
    let processor = read(Path::new("/proc/cpuinfo"));
    Hardware {
        cpu_model: cpu_model(&processor).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        arch: std::env::consts::ARCH,
        logical_cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(NonZero::get(cores)).unwrap_or(u32::MAX)),
        memory_bytes: meminfo(&memory, "MemTotal"),
        available_memory_bytes: meminfo(&memory, "MemAvailable"),
    }
}

/// Measures one core for about half a second.
///
/// # Errors
/// The sandbox failed, or computed something wrong, which only broken hardware does.
pub fn rate(vm: &Vm) -> Result<Rating, VmError> {
    let program = vm.prepare(RATING_WASM, false).map_err(|error| match error {
        PrepareError::Host(error) => error,
        PrepareError::Module(error) => VmError::Internal(format!("the rating program is refused: {error}")),
    })?;
    let task = TaskInput { limits: Limits { memory_bytes: 1 << 20, ..Limits::default() }, ..TaskInput::new() };
    let mut fuel_per_s = 0;
    for _ in 0..RATING_RUNS {
        let outcome = program.run(&task, &StopFlag::new())?;
        if outcome.exit != Exit::Ok || outcome.stdout != RATING_RESULT {
            return Err(VmError::Internal(format!("the rating program computed something wrong ({})", outcome.exit)));
        }
        let speed = u128::from(outcome.fuel) * 1_000_000_000 / outcome.wall.as_nanos().max(1);
        fuel_per_s = fuel_per_s.max(u64::try_from(speed).unwrap_or(u64::MAX));
    }
    Ok(Rating { fuel_per_s })
}

/// Reads a file of the system, which may not exist here.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Finds the processor's name in the text of `/proc/cpuinfo`, whose keys differ by architecture.
fn cpu_model(text: &str) -> Option<String> {
    let fields = || text.lines().filter_map(|line| line.split_once(':'));
    ["model name", "Model", "Hardware", "cpu model"].iter().find_map(|wanted| {
        let (_, value) = fields().find(|(key, _)| key.trim() == *wanted)?;
        let name = value.split_whitespace().collect::<Vec<_>>().join(" ");
        (!name.is_empty()).then_some(name)
    })
}

/// Finds a size in the text of `/proc/meminfo`, which counts in KiB; the result is in bytes.
fn meminfo(text: &str, wanted: &str) -> Option<u64> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == wanted)?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::VmConfig;

    #[test]
    fn the_systems_texts_are_read() {
        let text = "processor\t: 0\nmodel name\t: Some  Processor (R)\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu_model(text).as_deref(), Some("Some Processor (R)"));
        assert_eq!(cpu_model("processor: 0\n"), None);
        let text = "MemTotal:       24684096 kB\nMemFree:  1 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_684_096 * 1_024));
        assert_eq!(meminfo(text, "HugePages_Total"), None);
        assert_eq!(meminfo("MemTotal: 99999999999999999999 kB", "MemTotal"), None);
    }

    #[test]
    fn the_host_has_a_core() {
        assert!(detect().logical_cores > 0 && !detect().cpu_model.is_empty());
    }

    #[test]
    fn the_rating_program_is_its_text_and_rates() {
        assert_eq!(wat::parse_str(include_str!("rating.wat")).unwrap(), RATING_WASM);
        let vm = Vm::new(VmConfig { max_instances: 1, ..VmConfig::default() }).unwrap();
        assert!(rate(&vm).unwrap().fuel_per_s > 0);
    }
}
