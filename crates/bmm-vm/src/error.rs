//! What can be wrong with a program (its author's fault) and with running one (the host's fault).

/// Says why a module cannot become a program; always the fault of whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The file is larger than the host accepts.
    #[error(
        "the module has {bytes} bytes, more than the {max} allowed; strip it (wasm-strip, -C strip=symbols) or split the app"
    )]
    TooLarge {
        /// Size of the module, bytes.
        bytes: u64,
        /// Largest accepted module, bytes.
        max: u64,
    },
    /// The file does not begin with the magic number of WebAssembly.
    #[error(
        "the app is not a WebAssembly module (it lacks the bytes \\0asm at its start); compile it for wasm32-wasip1 or wasm32-wasip2"
    )]
    NotWasm,
    /// The component is no command.
    #[error(
        "the component is no command: it lacks the export `wasi:cli/run@0.2` with a function `run` (it exports {exports}); build it as a command (a program with `main`, target wasm32-wasip2), not as a library"
    )]
    NoRun {
        /// What it exports instead.
        exports: String,
    },
    /// The job names an entry, and the program is a component.
    #[error(
        "the app is a WebAssembly component, which begins at `wasi:cli/run`; `entry` ({0:?}) is for modules only, so leave it out or compile the app as a module"
    )]
    ComponentEntry(String),
    /// The component asks for something that the VM does not have.
    #[error("the component asks for what does not exist here: {0}; only the interfaces of `wasi:cli/command@0.2` do")]
    ComponentImport(String),
    /// The component has others inside that have code of their own.
    #[error(
        "the component is composed of components with code of their own, and what passes between them could not be counted; build it as one component"
    )]
    Composed,
    /// The module is damaged, invalid or uses a feature that is switched off (threads, several memories, 64-bit memory).
    #[error(
        "the module or component is not valid here: {0}; compile it for wasm32-wasip1 or wasm32-wasip2 without threads"
    )]
    Malformed(String),
    /// The module has more of something than the host compiles.
    #[error("the module has {count} {what}, more than the {max} allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many the module has.
        count: u64,
        /// How many are allowed.
        max: u64,
    },
    /// The module exports no function `_start`.
    #[error("the module exports no `_start`; build it as a command (a program with `main`), not as a library")]
    NoStart,
    /// `_start` takes parameters or gives results.
    #[error("the export `_start` is not a function without parameters and results")]
    StartType,
    /// The entry that the job names is not usable.
    #[error("the module exports no function `{0}` that takes nothing and returns nothing or an exit code (i32)")]
    Entry(String),
    /// The module asks for something that the VM does not have.
    #[error("the module imports `{module}::{name}`, which does not exist here; only `wasi_snapshot_preview1` does")]
    UnknownImport {
        /// Module half of the import's name.
        module: String,
        /// Field half of the import's name.
        name: String,
    },
    /// The module declares a known import with another type.
    #[error("the module declares `{module}::{name}` with a type that differs from WASI preview 1")]
    ImportType {
        /// Module half of the import's name.
        module: String,
        /// Field half of the import's name.
        name: String,
    },
    /// The module starts with more memory than any task may have.
    #[error("the module starts with {bytes} bytes of memory, more than the {max} that a task may have here")]
    MemoryTooLarge {
        /// Initial memory of the module, bytes.
        bytes: u64,
        /// Largest memory of a task on this host, bytes.
        max: u64,
    },
}

/// Says why the host could not run a task at all; never the outcome of a program that ran.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The sandbox engine could not be set up.
    #[error("the sandbox cannot start: {0}; lower `max_instances` or allow this process more address space")]
    Engine(String),
    /// An instance could not be created although a place was free.
    #[error("the sandbox could not create an instance: {0}")]
    Instance(String),
    /// The sandbox failed in a way that no program can cause.
    #[error("the sandbox failed: {0}")]
    Internal(String),
    /// The task asks for a larger limit than this host offers.
    #[error(
        "the task's limit `{field}` is {asked}, more than the {max} that this host offers; lower it or choose another provider"
    )]
    LimitTooHigh {
        /// Name of the field of `Limits`.
        field: &'static str,
        /// What the task asks for.
        asked: u64,
        /// What the host offers.
        max: u64,
    },
    /// The arguments and environment are too long or contain a zero byte.
    #[error("the task's arguments are not usable: {0}")]
    Arguments(String),
    /// The directory for compiled code cannot be used.
    #[error("the cache directory {path} cannot be used: {reason}")]
    CacheDir {
        /// The directory.
        path: std::path::PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
}
