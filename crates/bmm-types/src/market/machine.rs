//! What a provider's machine has, and what a job needs of one.

use serde::{Deserialize, Serialize};

use super::wire::{List, WireError, ensure, text};

/// Features of processors that jobs may ask for, by the names that the system gives them.
pub const FEATURES: [&str; 21] = [
    "aes",
    "amx_tile",
    "asimd",
    "avx",
    "avx2",
    "avx512_vnni",
    "avx512bw",
    "avx512dq",
    "avx512f",
    "avx512vl",
    "bmi1",
    "bmi2",
    "f16c",
    "fma",
    "sha2",
    "sha_ni",
    "sse4_1",
    "sse4_2",
    "sve",
    "sve2",
    "vaes",
];

/// Most containers of a task besides its own.
pub const MAX_WORKERS: u16 = 64;

/// A graphics processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Name, as its driver gives it.
    pub name: String,
    /// Its own memory, bytes.
    pub memory_bytes: u64,
}

/// What a provider's machine has, as it says itself: nothing proves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Logical cores.
    pub cores: u16,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Free space for files, bytes.
    pub disk_bytes: u64,
    /// Those of [`FEATURES`] that the processor has.
    #[serde(with = "List::<64>")]
    pub features: Vec<String>,
    /// Graphics processors.
    #[serde(with = "List::<16>")]
    pub gpus: Vec<Gpu>,
}

impl Machine {
    /// Checks the lengths of the texts.
    pub(super) fn check(&self) -> Result<(), WireError> {
        self.features.iter().try_for_each(|feature| text("features", feature, 32))?;
        self.gpus.iter().try_for_each(|gpu| text("gpus", &gpu.name, 96))
    }
}

/// What a job needs of a provider's machine besides its limits; zero and nothing ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Logical cores.
    pub cores: u16,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// Free space for files, bytes.
    pub disk_bytes: u64,
    /// Features of the processor, of [`FEATURES`].
    #[serde(with = "List::<32>")]
    pub features: Vec<String>,
    /// A graphics processor with at least so much memory, bytes; zero for any.
    pub gpu_bytes: Option<u64>,
    /// Containers that each task gets beside its own, at most [`MAX_WORKERS`]; none for WebAssembly.
    pub workers: u16,
}

impl Needs {
    /// Checks that each feature is known.
    pub(super) fn check(&self) -> Result<(), WireError> {
        let known = self.features.iter().all(|feature| FEATURES.contains(&feature.as_str()));
        ensure(known, "needs", "a feature of the processor is not known")?;
        ensure(self.workers <= MAX_WORKERS, "needs", "a task has too many workers")
    }
}
