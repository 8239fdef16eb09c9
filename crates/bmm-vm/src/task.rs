//! What a task is given, what it may use, and what comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::input::InputSet;

/// Name that every program sees as `argv[0]`.
pub const PROGRAM_NAME: &str = "app";
/// Longest total of arguments and environment, bytes with their terminators.
pub const MAX_ARGUMENT_BYTES: usize = 1 << 20;
/// How much of the end of the standard error is kept, bytes.
pub const STDERR_KEPT_BYTES: usize = 64 << 10;

/// Bounds what one task may use; a task over a limit is ended with that reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Wall time of the run. Depends on the host's speed, so this is the one limit that is not deterministic.
    pub time: Duration,
    /// Standard output and the files under `/out` together, bytes.
    pub output_bytes: u64,
    /// Fuel; `None` counts without a bound.
    pub fuel: Option<u64>,
    /// Files and directories under `/out`.
    pub files: u32,
}

impl Default for Limits {
    /// Gives the defaults of a job file: 256 MiB of memory, 60 s, 64 MiB of output, no bound of fuel, 1,024 files.
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, time: Duration::from_mins(1), output_bytes: 64 << 20, fuel: None, files: 1_024 }
    }
}

/// Describes one task: everything that its result may depend on besides the program.
#[derive(Debug, Clone, Copy)]
pub struct TaskInput<'a> {
    /// Arguments after `argv[0]`, which is always [`PROGRAM_NAME`].
    pub args: &'a [String],
    /// Environment, in the order in which the program sees it.
    pub env: &'a [(String, String)],
    /// Standard input.
    pub stdin: &'a [u8],
    /// Files under `/in`.
    pub inputs: &'a InputSet,
    /// Seed of every random byte that the program asks for; derived from the task's identity.
    pub seed: [u8; 32],
    /// What the task may use.
    pub limits: Limits,
}

impl TaskInput<'static> {
    /// Returns a task without arguments, environment or input, under the default limits and the zero seed.
    pub fn new() -> Self {
        static NO_INPUTS: std::sync::LazyLock<InputSet> = std::sync::LazyLock::new(InputSet::empty);
        Self { args: &[], env: &[], stdin: &[], inputs: &NO_INPUTS, seed: [0; 32], limits: Limits::default() }
    }
}

impl Default for TaskInput<'static> {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds what a task left behind, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the program ended.
    pub exit: Exit,
    /// Work done: one unit an instruction, one a byte for bulk operations, a fixed charge for system calls.
    pub fuel: u64,
    /// Largest size of the linear memory, bytes.
    pub peak_memory_bytes: u64,
    /// Wall time from creating the instance to the program's end.
    pub wall: Duration,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The last [`STDERR_KEPT_BYTES`] of the standard error.
    pub stderr: Vec<u8>,
    /// Files under `/out` by their path relative to it (`tile.ppm`, `parts/1.bin`); directories are not listed.
    pub outputs: BTreeMap<String, Vec<u8>>,
}

impl Outcome {
    /// What comes of a task that is called off before it begins.
    pub(crate) fn cancelled() -> Self {
        Self {
            exit: Exit::Cancelled,
            fuel: 0,
            peak_memory_bytes: 0,
            wall: Duration::ZERO,
            stdout: Vec::new(),
            stderr: Vec::new(),
            outputs: BTreeMap::new(),
        }
    }
}

/// Says how a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It returned, or exited with code 0.
    Ok,
    /// It exited with another code.
    Code(i32),
    /// It did what WebAssembly forbids.
    Trap(TrapKind),
    /// It went over a limit.
    Limit(LimitKind),
    /// The host stopped it; see [`StopFlag`].
    Cancelled,
}

impl Exit {
    /// Tells whether the program succeeded.
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Tells whether every honest host gets this same ending; only time and cancelling depend on the host.
    pub fn is_deterministic(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Limit(LimitKind::Time))
    }

    /// Returns a stable name for messages and storage: `ok`, `exit_code`, `trap:…`, `limit:…`, `cancelled`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Code(_) => "exit_code",
            Self::Trap(kind) => kind.name(),
            Self::Limit(kind) => kind.name(),
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("the program succeeded"),
            Self::Code(code) => write!(f, "the program exited with code {code}"),
            Self::Trap(kind) => f.write_str(kind.sentence()),
            Self::Limit(kind) => f.write_str(kind.sentence()),
            Self::Cancelled => f.write_str("the program was stopped by its host"),
        }
    }
}

/// Names the rule of WebAssembly that a program broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapKind {
    /// It reached an `unreachable` instruction; a panic or an abort of most languages.
    Unreachable,
    /// It read or wrote outside its memory.
    MemoryOutOfBounds,
    /// It used an element outside a table.
    TableOutOfBounds,
    /// It called a null entry or a function of another type.
    IndirectCall,
    /// It divided an integer by zero.
    DivisionByZero,
    /// An integer division overflowed.
    IntegerOverflow,
    /// It turned a float that does not fit into an integer.
    BadConversion,
    /// Another rule.
    Other,
}

impl TrapKind {
    /// Returns a stable name, `trap:` and a word in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "trap:unreachable",
            Self::MemoryOutOfBounds => "trap:memory_out_of_bounds",
            Self::TableOutOfBounds => "trap:table_out_of_bounds",
            Self::IndirectCall => "trap:indirect_call",
            Self::DivisionByZero => "trap:division_by_zero",
            Self::IntegerOverflow => "trap:integer_overflow",
            Self::BadConversion => "trap:bad_conversion",
            Self::Other => "trap:other",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "the program aborted (it reached an `unreachable` instruction, as a panic does)",
            Self::MemoryOutOfBounds => "the program read or wrote outside its memory",
            Self::TableOutOfBounds => "the program used an element outside a table",
            Self::IndirectCall => "the program called a null entry or a function of another type",
            Self::DivisionByZero => "the program divided an integer by zero",
            Self::IntegerOverflow => "the program overflowed an integer division",
            Self::BadConversion => "the program turned a float that does not fit into an integer",
            Self::Other => "the program broke a rule of WebAssembly",
        }
    }
}

/// Names the limit that a program went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Wall time.
    Time,
    /// Linear memory: the program asked for more, was refused, and then failed.
    Memory,
    /// Bytes written to the standard output and `/out`.
    Output,
    /// Files and directories under `/out`.
    Files,
    /// Fuel.
    Fuel,
    /// Depth of calls.
    Stack,
    /// Processes and threads of a container.
    Processes,
    /// Streams and other handles that a component holds at once.
    Handles,
}

impl LimitKind {
    /// Returns a stable name, `limit:` and a word in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "limit:time",
            Self::Memory => "limit:memory",
            Self::Output => "limit:output",
            Self::Files => "limit:files",
            Self::Fuel => "limit:fuel",
            Self::Stack => "limit:stack_overflow",
            Self::Processes => "limit:processes",
            Self::Handles => "limit:handles",
        }
    }

    /// Returns a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Time => "the program ran longer than its time limit",
            Self::Memory => "the program needed more memory than its limit",
            Self::Output => "the program wrote more output than its limit",
            Self::Files => "the program made more files than its limit",
            Self::Fuel => "the program used more fuel than its limit",
            Self::Stack => "the program's calls went too deep (stack overflow)",
            Self::Processes => "the program started more processes or threads than a container may have",
            Self::Handles => "the program held more streams and other handles at once than a component may have",
        }
    }
}

/// Asks running tasks to stop; clones share one flag, and a task sees it within about a millisecond.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Returns a flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag for good.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Tells whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
