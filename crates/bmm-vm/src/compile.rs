//! The compiler: its configuration, and the ways from a module and from a component to code that is linked.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use wasmtime::component::{self, Component};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Linker, Module, OptLevel, PoolingAllocationConfig, Strategy,
};

use crate::cache::{Code, DiskCache};
use crate::check;
use crate::error::{ModuleError, VmError};
use crate::program::Ready;
use crate::state::TaskState;
use crate::vm::{COMMAND_ENTRY, PrepareError, VmConfig};
use crate::wasi;

/// Stack of a program's calls, bytes: fixed, so that recursion ends at the same depth on every host of one kind.
const WASM_STACK_BYTES: usize = 8 << 20;
/// Stack on which a program and the system calls that it makes run, bytes.
const TASK_STACK_BYTES: usize = WASM_STACK_BYTES + (256 << 10);
/// Address space of one linear memory, bytes: with all of 32 bits reserved, no access needs an explicit check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Most that an instance takes besides its memory and tables, bytes: 16 a function that can be called through a table, of which
/// large interpreters have a hundred thousand.
const MAX_INSTANCE_BYTES: usize = 4 << 20;
/// Unreadable space behind each memory, bytes: covers the constant offsets of accesses.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// Most that a component takes besides its memories and tables, bytes: the instances of all its modules.
const MAX_COMPONENT_BYTES: usize = 8 << 20;

/// Holds an engine and the system calls for it.
pub(crate) struct Compiler {
    pub engine: Engine,
    linker: Linker<TaskState>,
    component_linker: component::Linker<TaskState>,
    /// Names the engine's version and configuration, so that no other engine loads this one's code.
    key: u64,
}

/// Holds what is to be compiled, and where its code may lie already.
pub(crate) struct Source<'a> {
    pub wasm: &'a [u8],
    pub hash: [u8; 32],
    pub disk: Option<&'a DiskCache>,
    pub max_memory_bytes: u64,
}

impl Compiler {
    /// Sets up an engine.
    pub fn new(config: &VmConfig, canonical_nans: bool) -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine_config(config, canonical_nans))?;
        let linker = wasi::linker(&engine)?;
        let component_linker = wasi::p2::linker(&engine)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { engine, linker, component_linker, key: hasher.finish() })
    }

    /// Makes a module ready; returns it with the memory that it starts with, bytes.
    pub fn module(&self, source: &Source<'_>, entry: &str) -> Result<(Ready, u64), PrepareError> {
        let (module, is_fresh) = self.code(source, Module::from_binary)?;
        let returns_code = check::entry(&module, entry)?;
        let mut linker = self.linker.clone();
        if entry != COMMAND_ENTRY {
            wasi::trap_unknown(&mut linker, &module)?;
        }
        check::imports(&module, &linker)?;
        let pages = module.resources_required().max_initial_memory_size.unwrap_or(0);
        let first_memory_bytes = check::first_memory(pages, source.max_memory_bytes)?;
        let pre = linker.instantiate_pre(&module).map_err(|error| VmError::Internal(format!("{error:#}")))?;
        let start = module.get_export_index(entry).ok_or(ModuleError::NoStart)?;
        let initialize = (entry != COMMAND_ENTRY).then(|| module.get_export_index("_initialize")).flatten();
        self.keep(source, &module, is_fresh);
        Ok((Ready::Module { pre, initialize, start, returns_code }, first_memory_bytes))
    }

    /// Makes a component ready; returns it with the largest memory that it starts with, bytes.
    pub fn component(&self, source: &Source<'_>, entry: &str) -> Result<(Ready, u64), PrepareError> {
        if entry != COMMAND_ENTRY {
            return Err(ModuleError::ComponentEntry(entry.to_owned()).into());
        }
        let (component, is_fresh) = self.code(source, Component::from_binary)?;
        let run = check::run_export(&component)?;
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size).unwrap_or(0);
        let first_memory_bytes = check::first_memory(pages, source.max_memory_bytes)?;
        let linked = self.component_linker.instantiate_pre(&component);
        let pre = linked.map_err(|error| ModuleError::ComponentImport(format!("{error:#}")))?;
        self.keep(source, &component, is_fresh);
        Ok((Ready::Component { pre, run }, first_memory_bytes))
    }

    /// Returns the code of a source, and whether it was compiled just now.
    fn code<C: Code>(
        &self,
        source: &Source<'_>,
        compile: fn(&Engine, &[u8]) -> wasmtime::Result<C>,
    ) -> Result<(C, bool), ModuleError> {
        if let Some(code) = source.disk.and_then(|disk| disk.load(&self.engine, self.key, &source.hash)) {
            return Ok((code, false));
        }
        check::contents(source.wasm, source.max_memory_bytes)?;
        let made = compile(&self.engine, source.wasm);
        made.map(|code| (code, true)).map_err(|error| ModuleError::Malformed(format!("{error:#}")))
    }

    /// Keeps new code for later.
    fn keep(&self, source: &Source<'_>, code: &impl Code, is_fresh: bool) {
        if let (true, Some(disk)) = (is_fresh, source.disk) {
            disk.store(code, self.key, &source.hash);
        }
    }
}

/// Returns the engine's configuration: deterministic, counted, and as fast as counted code can be.
fn engine_config(vm: &VmConfig, canonical_nans: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(vm.max_instances.saturating_mul(check::MAX_CORE_INSTANCES))
        .max_core_instances_per_component(check::MAX_CORE_INSTANCES)
        .total_component_instances(vm.max_instances)
        .max_component_instance_size(MAX_COMPONENT_BYTES)
        // The heap of a program that throws exceptions is a memory of its own.
        .total_memories(vm.max_instances.saturating_mul(check::MAX_COMPONENT_MEMORIES.saturating_add(1)))
        .max_memories_per_component(check::MAX_COMPONENT_MEMORIES)
        .total_stacks(vm.max_instances)
        .total_gc_heaps(vm.max_instances)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .total_tables(vm.max_instances.saturating_mul(check::MAX_TABLES))
        .max_tables_per_module(check::MAX_TABLES)
        .max_tables_per_component(check::MAX_TABLES)
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
