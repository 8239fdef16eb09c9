//! The sandbox engine: its configuration, its places for running tasks, and the way from a file to a program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};

use crate::cache::{DiskCache, Recent};
use crate::check;
use crate::compile::{Compiler, Source};
use crate::container::{ContainerError, Containers, Devices, EngineAddress};
use crate::error::{ModuleError, VmError};
use crate::program::Program;

/// Export at which a command begins.
pub const COMMAND_ENTRY: &str = "_start";
/// Programs kept ready in memory.
const RECENT_PROGRAMS: usize = 64;
/// Machine code of all programs that are kept ready, bytes.
const RECENT_CODE_BYTES: usize = 1 << 30;

/// Configures a [`Vm`]; every field has a default.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Directory for compiled code, created if missing and private to this user; `None` keeps code in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Largest total of the compiled code in `cache_dir`, bytes.
    pub cache_bytes: u64,
    /// Tasks that may run at once; further ones wait.
    pub max_instances: u32,
    /// Largest `memory_bytes` that a task may ask for.
    pub max_memory_bytes: u64,
    /// Largest `output_bytes` that a task may ask for.
    pub max_output_bytes: u64,
    /// Largest module, bytes.
    pub max_module_bytes: u64,
}

impl Default for VmConfig {
    /// Gives no directory, 4 GiB of compiled code, 64 instances of at most 4 GiB each, 4 GiB of output, modules of 128 MiB.
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_bytes: 4 << 30,
            max_instances: 64,
            max_memory_bytes: 4 << 30,
            max_output_bytes: 4 << 30,
            max_module_bytes: 128 << 20,
        }
    }
}

/// Names a program: whether it has canonical NaNs, the SHA-256 of its bytes, and its entry.
type ProgramKey = (bool, [u8; 32], String);

/// Compiles modules and components into programs; cheap to share by `Arc`, used from any number of threads.
pub struct Vm {
    config: VmConfig,
    /// Without and with canonical NaNs; the second is made when first needed.
    engines: [std::sync::OnceLock<Compiler>; 2],
    disk: Option<DiskCache>,
    recent: Mutex<Recent<ProgramKey, Arc<Program>>>,
    /// Held while compiling: compiling uses all cores by itself, and two callers may want the same module.
    compiling: Mutex<()>,
    slots: Arc<Slots>,
    containers: std::sync::OnceLock<Containers>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Vm {
    /// Sets up the sandbox.
    ///
    /// # Errors
    /// The engine cannot reserve its address space, or the cache directory cannot be used.
    pub fn new(config: VmConfig) -> Result<Self, VmError> {
        let disk = config.cache_dir.as_deref().map(|dir| DiskCache::open(dir, config.cache_bytes)).transpose()?;
        let slots = Slots::new(&config);
        let vm = Self {
            config,
            engines: Default::default(),
            disk,
            recent: Mutex::new(Recent::new(RECENT_PROGRAMS, RECENT_CODE_BYTES)),
            compiling: Mutex::new(()),
            slots: Arc::new(slots),
            containers: std::sync::OnceLock::new(),
        };
        vm.compiler(false)?;
        Ok(vm)
    }

    /// Returns the configuration.
    pub fn config(&self) -> &VmConfig {
        &self.config
    }

    /// Lets tasks run in containers too, with their state in `folder`; what dead processes left there is removed. One
    /// second of a core counts as `fuel_per_core_second`, and tasks that need a GPU get `devices`. They run by `engine`, or without one
    /// by `runc`. Does nothing where that was done before.
    ///
    /// # Errors
    /// What this host lacks for it.
    pub fn allow_containers(
        &self,
        folder: &Path,
        fuel_per_core_second: u64,
        devices: Devices,
        engine: Option<&EngineAddress>,
    ) -> Result<(), ContainerError> {
        if self.containers.get().is_none() {
            let opened = match engine {
                Some(engine) => Containers::open_engine(folder, fuel_per_core_second, devices, engine)?,
                None => Containers::open(folder, fuel_per_core_second, devices)?,
            };
            // Whoever was first wins; the other's part is empty and goes.
            let _ = self.containers.set(opened);
        }
        Ok(())
    }

    /// Returns what runs containers, if they are allowed.
    pub fn containers(&self) -> Option<&Containers> {
        self.containers.get()
    }

    /// Makes a program of the bytes of a module or a component, from memory or disk where these very bytes were compiled before.
    ///
    /// `canonical_nans` makes float results agree across instruction sets, at a cost of up to twice the time.
    ///
    /// # Errors
    /// Whatever is wrong with the program; see [`ModuleError`].
    pub fn prepare(&self, wasm: &[u8], canonical_nans: bool) -> Result<Arc<Program>, PrepareError> {
        self.prepare_entry(wasm, canonical_nans, COMMAND_ENTRY)
    }

    /// Makes a program that begins at the export `entry` instead of `_start`: a reactor, whose `_initialize` is called first
    /// if it has one. The entry may return an exit code. Reactors are made for hosts of many kinds, so a function that they
    /// import and that does not exist here traps when it is called. Components have no such entries.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_entry(&self, wasm: &[u8], canonical_nans: bool, entry: &str) -> Result<Arc<Program>, PrepareError> {
        check::header(wasm, self.config.max_module_bytes)?;
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        let key = (canonical_nans, hash, entry.to_owned());
        if let Some(program) = self.recent.lock().get(&key).cloned() {
            return Ok(program);
        }
        let _one_at_a_time = self.compiling.lock();
        if let Some(program) = self.recent.lock().get(&key).cloned() {
            return Ok(program);
        }
        let program = Arc::new(self.compile(wasm, hash, canonical_nans, entry)?);
        self.recent.lock().insert(key, Arc::clone(&program), program.code_bytes());
        Ok(program)
    }

    /// Returns a program that is ready in memory, by the SHA-256 of its module.
    pub fn prepared(&self, hash: &[u8; 32], canonical_nans: bool) -> Option<Arc<Program>> {
        self.recent.lock().get(&(canonical_nans, *hash, COMMAND_ENTRY.to_owned())).cloned()
    }

    /// Compiles a program or loads its code, and checks and links it.
    fn compile(&self, wasm: &[u8], hash: [u8; 32], canonical_nans: bool, entry: &str) -> Result<Program, PrepareError> {
        let compiler = self.compiler(canonical_nans)?;
        let source = Source { wasm, hash, disk: self.disk.as_ref(), max_memory_bytes: self.config.max_memory_bytes };
        let (ready, first_memory_bytes) = if check::is_component(wasm) {
            compiler.component(&source, entry)?
        } else {
            compiler.module(&source, entry)?
        };
        Ok(Program { hash, ready, first_memory_bytes, slots: Arc::clone(&self.slots) })
    }

    /// Returns the engine of a class, made when first needed.
    fn compiler(&self, canonical_nans: bool) -> Result<&Compiler, VmError> {
        let cell = &self.engines[usize::from(canonical_nans)];
        if let Some(compiler) = cell.get() {
            return Ok(compiler);
        }
        let made = Compiler::new(&self.config, canonical_nans)
            .map_err(|error: wasmtime::Error| VmError::Engine(format!("{error:#}")))?;
        Ok(cell.get_or_init(|| made))
    }
}

/// Says why [`Vm::prepare`] gave no program: the module's fault or the host's.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The module is not usable: its author's fault.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] VmError),
}

/// Counts the tasks that may run at once, and carries the host's bounds to the programs.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
    pub max_memory_bytes: u64,
    pub max_output_bytes: u64,
}

impl Slots {
    fn new(config: &VmConfig) -> Self {
        Self {
            free: Mutex::new(config.max_instances),
            freed: Condvar::new(),
            max_memory_bytes: config.max_memory_bytes,
            max_output_bytes: config.max_output_bytes,
        }
    }

    /// Waits for a free place and takes it until the guard is dropped.
    pub fn take(&self) -> Slot<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.freed.wait(&mut free);
        }
        *free -= 1;
        Slot(self)
    }
}

/// Holds a place until dropped.
pub(crate) struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}
