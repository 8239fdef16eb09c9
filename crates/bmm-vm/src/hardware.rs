//! Finds the host's hardware by itself and rates it by a short benchmark.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bmm_types::market::{FEATURES, Gpu, Machine};

use crate::error::VmError;
use crate::task::{Exit, Limits, StopFlag, TaskInput};
use crate::vm::{PrepareError, Vm};

/// Integer work in and out of a table of 64 KiB; its text is `rating.wat`.
const RATING_WASM: &[u8] = include_bytes!("rating.wasm");
/// What the rating program prints: the state of its generator at the end.
const RATING_RESULT: [u8; 8] = [65, 87, 158, 150, 130, 92, 178, 188];
/// How often the rating program runs; the fastest run counts, as the others were disturbed.
const RATING_RUNS: u32 = 3;
/// Bytes that a measurement of speed moves.
const SPEED_BYTES: usize = 64 << 20;
/// Most graphics processors that are told of.
const MAX_GPUS: usize = 16;

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
    /// Those features of the processor that jobs may ask for, in alphabetical order.
    pub features: Vec<&'static str>,
    /// Graphics processors whose drivers tell of them.
    pub gpus: Vec<Gpu>,
}

impl Hardware {
    /// Describes the machine to others; `disk_bytes` is the free space that it has for files.
    pub fn machine(&self, disk_bytes: u64) -> Machine {
        Machine {
            cores: u16::try_from(self.logical_cores).unwrap_or(u16::MAX),
            memory_bytes: self.memory_bytes.unwrap_or(0),
            disk_bytes,
            features: self.features.iter().map(|&name| name.to_owned()).collect(),
            gpus: self.gpus.clone(),
        }
    }
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
        features: features(&processor),
        gpus: nvidia().into_iter().chain(gpus(Path::new("/sys/class/drm"))).take(MAX_GPUS).collect(),
    }
}

/// Finds the features that jobs may ask for in the text of `/proc/cpuinfo`; only those that every core has.
fn features(text: &str) -> Vec<&'static str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let cores: Vec<HashSet<&str>> = fields
        .filter(|(key, _)| matches!(key.trim(), "flags" | "Features"))
        .map(|(_, value)| value.split_whitespace().collect())
        .collect();
    let everywhere = |name: &&str| !cores.is_empty() && cores.iter().all(|core| core.contains(name));
    FEATURES.into_iter().filter(everywhere).collect()
}

/// Where graphics processors are looked for.
pub const GPU_SOURCES: &str = "NVIDIA's management library (libnvidia-ml.so.1) and /sys/class/drm";

/// Finds NVIDIA's graphics processors by the library that comes with their driver; none where it is not installed.
fn nvidia() -> Vec<Gpu> {
    let Ok(library) = nvml_wrapper::Nvml::init() else { return Vec::new() };
    let gpu = |index| {
        let device = library.device_by_index(index).ok()?;
        let name: String = device.name().ok()?.chars().filter(char::is_ascii).take(64).collect();
        Some(Gpu { name, memory_bytes: device.memory_info().ok()?.total })
    };
    (0..library.device_count().unwrap_or(0)).filter_map(gpu).collect()
}

/// Finds the graphics processors whose drivers tell their memory in the system's own files (amdgpu does).
fn gpus(folder: &Path) -> Vec<Gpu> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut cards: Vec<_> = entries.flatten().map(|entry| entry.path().join("device")).collect();
    cards.sort();
    let gpu = |device: PathBuf| {
        let memory_bytes = read(&device.join("mem_info_vram_total")).trim().parse().ok()?;
        let name =
            read(&device.join("product_name")).trim().chars().take(64).filter(char::is_ascii).collect::<String>();
        Some((
            device.canonicalize().ok()?,
            Gpu { name: if name.is_empty() { "GPU".to_owned() } else { name }, memory_bytes },
        ))
    };
    // One device has several entries here.
    let mut found: BTreeMap<PathBuf, Gpu> = cards.into_iter().filter_map(gpu).collect();
    while found.len() > MAX_GPUS {
        found.pop_last();
    }
    found.into_values().collect()
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

/// Measures how fast one core copies memory, bytes per second: the best of some copies of 64 MiB, far more than caches hold of it.
pub fn memory_speed() -> u64 {
    let from = vec![1_u8; SPEED_BYTES];
    let mut to = vec![0_u8; SPEED_BYTES];
    let copy = |_| {
        let start = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        per_second(SPEED_BYTES, start)
    };
    (0..8).map(copy).max().unwrap_or(0)
}

/// Measures how fast files are written to the disk of `folder`, bytes per second: 64 MiB with everything flushed.
///
/// # Errors
/// What the system says of the file.
pub fn disk_speed(folder: &Path) -> std::io::Result<u64> {
    let bytes = vec![1_u8; SPEED_BYTES];
    let path = folder.join(format!("speed-{}.tmp", std::process::id()));
    let start = Instant::now();
    let written = std::fs::File::create(&path).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    let speed = per_second(SPEED_BYTES, start);
    std::fs::remove_file(&path)?;
    written.map(|()| speed)
}

fn per_second(bytes: usize, since: Instant) -> u64 {
    let speed = bytes as u128 * 1_000_000_000 / since.elapsed().as_nanos().max(1);
    u64::try_from(speed).unwrap_or(u64::MAX)
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
    fn features_are_those_that_every_core_has() {
        let text = "flags\t: fpu avx2 sse4_2 made_up\nbugs: x\nflags\t: sse4_2 fpu\n";
        assert_eq!(features(text), ["sse4_2"]);
        assert_eq!(features("Features : fp asimd sve\n"), ["asimd", "sve"]);
        assert!(features("processor: 0\n").is_empty());
    }

    #[test]
    fn a_graphics_processor_with_many_entries_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("device");
        std::fs::create_dir(&device).unwrap();
        std::fs::write(device.join("mem_info_vram_total"), "8589934592\n").unwrap();
        let drm = folder.path().join("drm");
        for card in ["card0", "renderD128", "card1"] {
            std::fs::create_dir_all(drm.join(card)).unwrap();
        }
        for card in ["card0", "renderD128"] {
            std::os::unix::fs::symlink(&device, drm.join(card).join("device")).unwrap();
        }
        assert_eq!(gpus(&drm), [Gpu { name: "GPU".to_owned(), memory_bytes: 8 << 30 }]);
        assert!(gpus(&folder.path().join("none")).is_empty());
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
