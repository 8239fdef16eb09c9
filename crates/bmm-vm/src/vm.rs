//! The sandbox engine: its configuration, its places for running tasks, and the way from a module to a program.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Linker, Module, OptLevel, PoolingAllocationConfig, Strategy,
};

use crate::cache::{DiskCache, Recent};
use crate::check;
use crate::container::{ContainerError, Containers, Devices, EngineAddress};
use crate::error::{ModuleError, VmError};
use crate::program::Program;
use crate::state::TaskState;
use crate::wasi;

/// Stack of a program's calls, bytes: fixed, so that recursion ends at the same depth on every host of one kind.
const WASM_STACK_BYTES: usize = 8 << 20;
/// Export at which a command begins.
pub const COMMAND_ENTRY: &str = "_start";
/// Stack on which a program and the system calls that it makes run, bytes.
const TASK_STACK_BYTES: usize = WASM_STACK_BYTES + (256 << 10);
/// Address space of one linear memory, bytes: with all of 32 bits reserved, no access needs an explicit check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Most that an instance takes besides its memory and tables, bytes: 16 a function that can be called through a table, of which
/// large interpreters have a hundred thousand.
const MAX_INSTANCE_BYTES: usize = 4 << 20;
/// Unreadable space behind each memory, bytes: covers the constant offsets of accesses.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
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

/// Names a program: whether it has canonical NaNs, the SHA-256 of its module, and its entry.
type ProgramKey = (bool, [u8; 32], String);

/// Compiles modules into programs; cheap to share by `Arc`, used from any number of threads.
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

/// Holds an engine and the system calls for it.
struct Compiler {
    engine: Engine,
    linker: Linker<TaskState>,
    /// Names the engine's version and configuration, so that no other engine loads this one's code.
    key: u64,
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

    /// Makes a program of a module's bytes, from memory or disk where this very module was compiled before.
    ///
    /// `canonical_nans` makes float results agree across instruction sets, at a cost of up to twice the time.
    ///
    /// # Errors
    /// Whatever is wrong with the module; see [`ModuleError`].
    pub fn prepare(&self, wasm: &[u8], canonical_nans: bool) -> Result<Arc<Program>, PrepareError> {
        self.prepare_entry(wasm, canonical_nans, COMMAND_ENTRY)
    }

    /// Makes a program that begins at the export `entry` instead of `_start`: a reactor, whose `_initialize` is called first
    /// if it has one. The entry may return an exit code. Reactors are made for hosts of many kinds, so a function that they
    /// import and that does not exist here traps when it is called.
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

    /// Compiles a module or loads its code, and checks and links it.
    fn compile(&self, wasm: &[u8], hash: [u8; 32], canonical_nans: bool, entry: &str) -> Result<Program, PrepareError> {
        let compiler = self.compiler(canonical_nans)?;
        let cached = self.disk.as_ref().and_then(|disk| disk.load(&compiler.engine, compiler.key, &hash));
        let fresh = cached.is_none();
        let module = if let Some(module) = cached {
            module
        } else {
            check::contents(wasm, self.config.max_memory_bytes)?;
            let made = Module::from_binary(&compiler.engine, wasm);
            made.map_err(|error| ModuleError::Malformed(format!("{error:#}")))?
        };
        let returns_code = check::entry(&module, entry)?;
        let mut linker = compiler.linker.clone();
        if entry != COMMAND_ENTRY {
            wasi::trap_unknown(&mut linker, &module)?;
        }
        check::imports(&module, &linker)?;
        let pages = module.resources_required().max_initial_memory_size.unwrap_or(0);
        let first_memory_bytes = check::first_memory(pages, self.config.max_memory_bytes)?;
        let pre = linker.instantiate_pre(&module).map_err(|error| VmError::Internal(format!("{error:#}")))?;
        let start = module.get_export_index(entry).ok_or(ModuleError::NoStart)?;
        let initialize = (entry != COMMAND_ENTRY).then(|| module.get_export_index("_initialize")).flatten();
        if let (true, Some(disk)) = (fresh, &self.disk) {
            disk.store(&module, compiler.key, &hash);
        }
        let slots = Arc::clone(&self.slots);
        Ok(Program { hash, pre, initialize, start, returns_code, first_memory_bytes, slots })
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

impl Compiler {
    fn new(config: &VmConfig, canonical_nans: bool) -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine_config(config, canonical_nans))?;
        let linker = wasi::linker(&engine)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { engine, linker, key: hasher.finish() })
    }
}

/// Returns the engine's configuration: deterministic, counted, and as fast as counted code can be.
fn engine_config(vm: &VmConfig, canonical_nans: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(vm.max_instances)
        // The heap of a program that throws exceptions is a memory of its own.
        .total_memories(vm.max_instances.saturating_mul(2))
        .total_stacks(vm.max_instances)
        .total_gc_heaps(vm.max_instances)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .total_tables(vm.max_instances.saturating_mul(check::MAX_TABLES))
        .max_tables_per_module(check::MAX_TABLES)
        .table_elements(check::MAX_TABLE_ELEMENTS)
        .max_memories_per_module(1)
        // Every task's own limit is enforced by its limiter.
        .max_memory_size(usize::try_from(MEMORY_RESERVATION_BYTES).unwrap_or(usize::MAX));
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // Work: every instruction is counted, and time is cut into slices by the same count.
        .consume_fuel(true)
        .epoch_interruption(false)
        // Speed: no bounds checks, and a base address that never moves and may stay in a register.
        .signals_based_traps(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .memory_init_cow(true)
        // Light traps: reasons are named, traces are not shown.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        // Determinism.
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        // Exceptions need heap objects inside; programs cannot have any of their own.
        .wasm_exceptions(true)
        .wasm_gc(false)
        .cranelift_nan_canonicalization(canonical_nans)
        // Bounds.
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(TASK_STACK_BYTES);
    config
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
