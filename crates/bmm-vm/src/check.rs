//! Which modules and components become programs: one check a rule, before any of their code runs.

mod parts;

use std::time::Instant;

use wasmparser::{FunctionBody, Parser, Payload, TypeRef};
use wasmtime::{ExternType, FuncType, Linker, Module, Store, ValType};

use parts::Parts;
pub(crate) use parts::{MAX_COMPONENT_MEMORIES, MAX_CORE_INSTANCES, run_export};

use crate::error::ModuleError;
use crate::state::TaskState;
use crate::task::{StopFlag, TaskInput};
use crate::vm::COMMAND_ENTRY;
use crate::weight::{self, Arity, Signatures};

/// Most entries of one table.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Most tables of a program.
pub(crate) const MAX_TABLES: u32 = 4;
/// Most functions of a module; an interpreter of Python has about 20,000.
const MAX_FUNCTIONS: u64 = 200_000;
/// Most global variables of a module; they are part of every instance.
const MAX_GLOBALS: u64 = 10_000;
/// Most local variables of all functions of a module together.
const MAX_LOCALS: u64 = 4_000_000;
/// Most work that one function makes for the compiler, in the units of [`weight`]: some ten seconds and a gigabyte.
const MAX_FUNCTION_UNITS: u64 = 16_000_000;
/// Most work that a module makes for the compiler besides what its length explains.
const MAX_MODULE_UNITS: u64 = 16_000_000;
/// Work that each byte of a module explains; honest code has less than one.
const UNITS_PER_BYTE: u64 = 2;
/// Bytes of a page of linear memory.
pub(crate) const PAGE_BYTES: u64 = 65_536;

/// Checks what can be checked of a module or a component before it is compiled, which is all that bounds the compiler's work: its header, and how much of
/// everything it has. [`crate::Vm::prepare`] does so first.
///
/// # Errors
/// The first rule that the module breaks.
pub fn check_module(wasm: &[u8], max_module_bytes: u64, max_memory_bytes: u64) -> Result<(), ModuleError> {
    header(wasm, max_module_bytes)?;
    contents(wasm, max_memory_bytes)
}

/// Tells components from modules: the upper half of the version field is the layer, 0 for modules and 1 for components.
pub(crate) fn is_component(wasm: &[u8]) -> bool {
    wasm.get(6..8) == Some(&[1, 0])
}

/// A program begins with the magic number, and is not too large.
pub(crate) fn header(wasm: &[u8], max_bytes: u64) -> Result<(), ModuleError> {
    let bytes = wasm.len() as u64;
    if bytes > max_bytes {
        return Err(ModuleError::TooLarge { bytes, max: max_bytes });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    Ok(())
}

/// A program exports `_start`, or the entry that its user names, as a function without parameters; only that other entry may
/// return a number, its exit code. Returns whether it does.
pub(crate) fn entry(module: &Module, name: &str) -> Result<bool, ModuleError> {
    let command = name == COMMAND_ENTRY;
    let own = || ModuleError::Entry(name.to_owned());
    let plain = |export| matches!(export, ExternType::Func(ty) if ty.params().len() == 0 && ty.results().len() == 0);
    if !command && module.get_export("_initialize").is_some_and(|export| !plain(export)) {
        return Err(ModuleError::Entry("_initialize".to_owned()));
    }
    match module.get_export(name) {
        None if command => Err(ModuleError::NoStart),
        Some(ExternType::Func(ty)) if ty.params().len() == 0 => {
            let results: Vec<_> = ty.results().collect();
            match results.as_slice() {
                [] => Ok(false),
                [ValType::I32] if !command => Ok(true),
                _ if command => Err(ModuleError::StartType),
                _ => Err(own()),
            }
        }
        Some(_) if command => Err(ModuleError::StartType),
        _ => Err(own()),
    }
}

/// A program has no more of anything than can be compiled in reasonable time and fits into an instance.
///
/// A few bytes can declare 50,000 local variables, and a module can do so in every function: without bounds a small file
/// keeps the compiler busy for hours.
pub(crate) fn contents(wasm: &[u8], max_memory_bytes: u64) -> Result<(), ModuleError> {
    let mut bodies = Bodies {
        max_units: MAX_MODULE_UNITS.saturating_add(UNITS_PER_BYTE.saturating_mul(wasm.len() as u64)),
        max_memory_bytes,
        ..Bodies::default()
    };
    let mut parts = Parts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        parts.check(&payload)?;
        bodies.payload(payload)?;
    }
    Ok(())
}

/// Turns the parser's error into the room's.
fn malformed(error: impl std::fmt::Display) -> ModuleError {
    ModuleError::Malformed(error.to_string())
}

/// Follows the modules of a program: one, or those of a component.
#[derive(Default)]
struct Bodies {
    max_memory_bytes: u64,
    signatures: Signatures,
    /// Number of the next function.
    next: u32,
    locals: u64,
    units: u64,
    max_units: u64,
}

impl Bodies {
    /// Checks the next part of a module; what belongs to components is passed over.
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::Version { .. } => {
                self.signatures = Signatures::default();
                self.next = 0;
            }
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(malformed)?;
                    let count = |values: &[_]| u32::try_from(values.len()).unwrap_or(u32::MAX);
                    self.signatures.types.push(Arity { params: count(ty.params()), results: count(ty.results()) });
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import.map_err(malformed)?.ty {
                        self.signatures.functions.push(ty);
                        self.next = self.next.saturating_add(1);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                at_most("functions", section.count().into(), MAX_FUNCTIONS)?;
                for ty in section {
                    self.signatures.functions.push(ty.map_err(malformed)?);
                }
            }
            Payload::GlobalSection(section) => at_most("globals", section.count().into(), MAX_GLOBALS)?,
            Payload::TableSection(section) => {
                at_most("tables", section.count().into(), MAX_TABLES.into())?;
                for table in section {
                    at_most("table elements", table.map_err(malformed)?.ty.initial, MAX_TABLE_ELEMENTS as u64)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    first_memory(memory.map_err(malformed)?.initial, self.max_memory_bytes)?;
                }
            }
            Payload::CodeSectionEntry(body) => self.check(&body)?,
            _ => {}
        }
        Ok(())
    }

    /// All functions together have no more variables, and make no more work for the compiler, than the bounds say.
    fn check(&mut self, body: &FunctionBody<'_>) -> Result<(), ModuleError> {
        let mut own = 0_u64;
        for local in body.get_locals_reader().map_err(malformed)? {
            own = own.saturating_add(local.map_err(malformed)?.0.into());
        }
        self.locals = self.locals.saturating_add(own);
        at_most("local variables", self.locals, MAX_LOCALS)?;
        let arity = self.signatures.of_function(self.next);
        self.next = self.next.saturating_add(1);
        let units = weight::of_function(body, arity, own, &self.signatures).map_err(malformed)?;
        at_most("units of work for the compiler in one function", units, MAX_FUNCTION_UNITS)?;
        self.units = self.units.saturating_add(units);
        at_most("units of work for the compiler", self.units, self.max_units)
    }
}

/// A count stays within its bound.
fn at_most(what: &'static str, count: u64, max: u64) -> Result<(), ModuleError> {
    if count > max { Err(ModuleError::TooMany { what, count, max }) } else { Ok(()) }
}

/// A program's first memory is one that a task may have on this host. Returns it in bytes.
pub(crate) fn first_memory(pages: u64, max_bytes: u64) -> Result<u64, ModuleError> {
    let bytes = pages.saturating_mul(PAGE_BYTES);
    if bytes > max_bytes { Err(ModuleError::MemoryTooLarge { bytes, max: max_bytes }) } else { Ok(bytes) }
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
