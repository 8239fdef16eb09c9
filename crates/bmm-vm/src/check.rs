//! Which modules become programs: one check a rule, before any of their code runs.

use std::time::Instant;

use wasmtime::{ExternType, FuncType, Linker, Module, Store};

use crate::error::ModuleError;
use crate::state::TaskState;
use crate::task::{StopFlag, TaskInput};

/// Most entries of one table.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Most tables of a module.
pub(crate) const MAX_TABLES: u32 = 4;
/// Bytes of a page of linear memory.
pub(crate) const PAGE_BYTES: u64 = 65_536;

/// A module begins with the magic number and version 1, is no component, and is not too large.
pub(crate) fn header(wasm: &[u8], max_bytes: u64) -> Result<(), ModuleError> {
    let bytes = wasm.len() as u64;
    if bytes > max_bytes {
        return Err(ModuleError::TooLarge { bytes, max: max_bytes });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    // The upper half of the version field is the layer: 0 for modules, 1 for components.
    if wasm.get(6..8) == Some(&[1, 0]) {
        return Err(ModuleError::Component);
    }
    Ok(())
}

/// A program exports `_start` as a function without parameters and results.
pub(crate) fn start(module: &Module) -> Result<(), ModuleError> {
    match module.get_export("_start") {
        None => Err(ModuleError::NoStart),
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => Ok(()),
        Some(_) => Err(ModuleError::StartType),
    }
}

/// A program's tables and first memory fit into every instance of this host. Returns the first memory in bytes.
pub(crate) fn resources(module: &Module, max_memory_bytes: u64) -> Result<u64, ModuleError> {
    let needs = module.resources_required();
    if needs.num_tables > MAX_TABLES {
        return Err(ModuleError::TooMany { what: "tables", count: needs.num_tables.into(), max: MAX_TABLES.into() });
    }
    let elements = needs.max_initial_table_size.unwrap_or(0);
    if elements > MAX_TABLE_ELEMENTS as u64 {
        return Err(ModuleError::TooMany { what: "table elements", count: elements, max: MAX_TABLE_ELEMENTS as u64 });
    }
    let bytes = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE_BYTES);
    if bytes > max_memory_bytes {
        return Err(ModuleError::MemoryTooLarge { bytes, max: max_memory_bytes });
    }
    Ok(bytes)
}

/// A program imports only functions of WASI preview 1, with their types.
pub(crate) fn imports(module: &Module, linker: &Linker<TaskState>) -> Result<(), ModuleError> {
    let state = TaskState::new(&TaskInput::new(), &StopFlag::new(), 0, Instant::now());
    let mut store = Store::new(module.engine(), state);
    for import in module.imports() {
        let names = || (import.module().to_owned(), import.name().to_owned());
        let Some(known) = linker.get_by_import(&mut store, &import) else {
            let (module, name) = names();
            return Err(ModuleError::UnknownImport { module, name });
        };
        match (known.ty(&store), import.ty()) {
            (ExternType::Func(ours), ExternType::Func(theirs)) if FuncType::eq(&ours, &theirs) => {}
            _ => {
                let (module, name) = names();
                return Err(ModuleError::ImportType { module, name });
            }
        }
    }
    Ok(())
}
