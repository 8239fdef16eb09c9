//! The description of a job, everything in it named by content: two equal descriptions are the same work.

use super::MAX_TASKS;
use super::machine::Needs;
use super::offer::Runtime;
use super::wire::{Bytes, List, Wire};
use crate::{Amount, ContentHash};
use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

mod check;

/// Most input files, and most files of one `files` axis.
const MAX_FILES: usize = 65_536;
/// Most values of one `values` axis.
const MAX_VALUES: usize = 1 << 20;
/// Largest stake, in units: 10^9 BMM.
const MAX_STAKE_UNITS: u128 = 1_000_000_000_000_000_000_000_000_000;
/// Longest text of any field, bytes.
const MAX_TEXT_BYTES: usize = 65_536;

/// A piece of content: its name and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub hash: ContentHash,
    /// Length, bytes.
    pub size: u64,
}

impl Content {
    /// Names `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { hash: ContentHash::of(bytes), size: bytes.len().try_into().unwrap_or(u64::MAX) }
    }
}

/// A file under `/in`, or at an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Path relative to `/in`, with normal names only: `scenes/a.txt`; or, for inputs of the whole job, an absolute one
    /// outside of `/in` and `/out`: `/usr/lib/a.zip`.
    pub path: String,
    /// Its bytes.
    pub content: Content,
}

/// One value of a `values` axis.
pub type NamedValue = String;

/// One dimension of the split; the tasks are the product of all, the last axis varying fastest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Name that placeholders use.
    pub name: String,
    /// What the axis runs over.
    pub kind: AxisKind,
}

/// What an axis runs over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AxisKind {
    /// The integers `start..end`, `chunk` of them per task.
    Range {
        /// First integer.
        start: i64,
        /// One past the last integer.
        end: i64,
        /// Integers per task; the last task may have fewer.
        chunk: u64,
    },
    /// Texts, one per task.
    Values(#[serde(with = "List::<MAX_VALUES>")] Vec<NamedValue>),
    /// Lines of a text file, `chunk` per task, given on the standard input.
    Lines {
        /// The file.
        content: Content,
        /// Lines in it; the last may lack its newline.
        lines: u64,
        /// Lines per task; the last task may have fewer.
        chunk: u64,
    },
    /// Records of a CSV file with a header, `chunk` per task.
    Rows {
        /// The file.
        content: Content,
        /// Records in it, the header not counted.
        rows: u64,
        /// Records per task; the last task may have fewer.
        chunk: u64,
        /// Names of the columns, from the header.
        #[serde(with = "List::<4096>")]
        columns: Vec<String>,
        /// Whether header and records are given on the standard input; otherwise `chunk` is 1 and the fields are placeholders.
        stdin: bool,
    },
    /// Files, one per task, mounted for that task only.
    Files(#[serde(with = "List::<MAX_FILES>")] Vec<InputFile>),
}

impl AxisKind {
    /// Returns the number of positions, that is of tasks if this were the only axis.
    pub fn len(&self) -> u64 {
        let chunks = |count: u64, chunk: u64| count.div_ceil(chunk.max(1));
        match self {
            Self::Range { start, end, chunk } => chunks(end.saturating_sub(*start).try_into().unwrap_or(0), *chunk),
            Self::Values(values) => values.len().try_into().unwrap_or(u64::MAX),
            Self::Lines { lines, chunk, .. } => chunks(*lines, *chunk),
            Self::Rows { rows, chunk, .. } => chunks(*rows, *chunk),
            Self::Files(files) => files.len().try_into().unwrap_or(u64::MAX),
        }
    }

    /// Tells whether the axis has no position, which no valid job has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the content that must be at hand to expand the axis.
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Lines { content, .. } | Self::Rows { content, .. } => Some(*content),
            _ => None,
        }
    }
}

/// Where a task's result is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Collect {
    /// The standard output.
    Stdout,
    /// A file under `/out`, as a template with placeholders: `/out/tile.ppm`.
    File(String),
}

/// How the results of all tasks become the job's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Merge {
    /// Put one after the other in task order.
    Concat,
    /// Kept as files of one folder.
    Folder,
    /// Given to a program: results as `/in/parts/00000000` and so on, the job's inputs beside them; what it writes
    /// under `/out` is the job's output.
    App {
        /// The program.
        app: Content,
        /// Its arguments, without placeholders.
        #[serde(with = "List::<1024>")]
        args: Vec<String>,
    },
}

/// What is collected, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where each task's result is found.
    pub collect: Collect,
    /// How they are put together.
    pub merge: Merge,
    /// Name of the job's output: a file, or a folder for [`Merge::Folder`]. Of a program that writes several files each keeps its
    /// own name.
    pub file: String,
}

/// How results are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verify {
    /// The first result of each task counts.
    #[default]
    None,
    /// Each task runs on `n` different operators; the result that floor(n/2)+1 of them agree on counts.
    Replicate(u8),
    /// Each task runs once, and a random share of the results is checked by a second run elsewhere.
    Audit(Audit),
    /// A program says of each result (or of a random share) whether it is right.
    Checker(Checker),
}

/// Terms of [`Verify::Audit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Least share of results that is checked, of anybody, parts per million.
    pub floor_ppm: u32,
}

/// Terms of [`Verify::Checker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checker {
    /// The verifier, a WebAssembly module. It sees the task's inputs under `/in` and on its standard input, the result as
    /// `/in/result`, and the task's arguments; exit code 0 means yes, 1 means no.
    pub app: Content,
    /// Least share of results that is checked, of anybody, parts per million.
    pub floor_ppm: u32,
    /// Row of the registry that names the verifier's author, who is paid at the settlement; nobody is while there is no registry.
    pub listing: Option<B256>,
}

impl Verify {
    /// Returns how many operators run each task in any case.
    pub fn copies(self) -> u8 {
        match self {
            Self::None | Self::Audit(_) | Self::Checker(_) => 1,
            Self::Replicate(n) => n,
        }
    }

    /// Returns how many must agree where runs are compared.
    pub fn quorum(self) -> u8 {
        match self {
            Self::None | Self::Checker(_) => 1,
            Self::Replicate(n) => (n >> 1).saturating_add(1),
            Self::Audit(_) => 2,
        }
    }

    /// Tells whether results of different operators are compared, so that equal input must give equal output.
    pub fn compares(self) -> bool {
        matches!(self, Self::Replicate(_) | Self::Audit(_))
    }
}

/// What one task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Wall time, milliseconds.
    pub time_millis: u64,
    /// Standard output and files together, bytes.
    pub output_bytes: u64,
    /// Fuel; `None` counts without a bound.
    pub fuel: Option<u64>,
    /// Files and directories under `/out`.
    pub files: u32,
}

impl Default for TaskLimits {
    /// Gives 256 MiB of memory, 60 s, 64 MiB of output, no bound of fuel, 1,024 files.
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, time_millis: 60_000, output_bytes: 64 << 20, fuel: None, files: 1_024 }
    }
}

/// What the requester spends at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Locked in the escrow; no path pays more.
    pub max: Amount,
    /// From opening to the end of work, seconds.
    pub deadline_seconds: u64,
    /// Highest price per 10^9 units of fuel that the job accepts; `None` accepts every price.
    pub price: Option<Amount>,
}

/// The description of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Name for people.
    pub name: String,
    /// What runs the program.
    pub runtime: Runtime,
    /// The program: a WebAssembly module, or the archive of a container image.
    pub app: Content,
    /// Arguments after `argv[0]`, as templates with placeholders.
    #[serde(with = "List::<4096>")]
    pub args: Vec<String>,
    /// Environment, name and value, in the order in which the program sees it.
    #[serde(with = "List::<256>")]
    pub env: Vec<(String, String)>,
    /// Export at which the program begins; empty for a command, which begins at `_start`.
    pub entry: String,
    /// Files that every task sees under `/in`, or at their absolute path.
    #[serde(with = "List::<MAX_FILES>")]
    pub inputs: Vec<InputFile>,
    /// The split; empty for a job of one task.
    #[serde(with = "List::<8>")]
    pub axes: Vec<Axis>,
    /// What is collected and how it is merged.
    pub output: Output,
    /// How results are verified.
    pub verify: Verify,
    /// What one task may use.
    pub limits: TaskLimits,
    /// What it needs of a provider's machine.
    pub needs: Needs,
    /// What the requester spends at most.
    pub budget: Budget,
    /// Whether NaNs are made equal on every instruction set, at some cost in speed.
    pub canonical_nans: bool,
    /// Whether the program's author says that equal input gives equal output; replication needs it.
    pub deterministic: bool,
    /// What each provider locks in the escrow before it gets work, and loses by a wrong result; zero asks for nothing.
    pub stake: Amount,
    /// keccak of the requester's secret. The draws of audits follow from the secret and the provider's signature, so that
    /// neither chooses them alone, and anybody can follow them once the secret is told.
    pub draw: B256,
    /// Free bytes of later versions.
    #[serde(with = "Bytes::<4096>")]
    pub extra: Vec<u8>,
}

/// Says that a job description has too many tasks, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// An axis is empty.
    #[error("axis number {0} of the split is empty, so the job has no task")]
    EmptyAxis(usize),
    /// The product of the axes is too large.
    #[error("the split makes more than {MAX_TASKS} tasks; use larger chunks")]
    TooManyTasks,
}

impl JobSpec {
    /// Returns the content name of the description, which `Jobs.open` records on chain.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.encode())
    }

    /// Returns the number of tasks, 1 to [`MAX_TASKS`].
    pub fn tasks(&self) -> Result<u64, SpecError> {
        let mut tasks = 1u64;
        for (number, axis) in self.axes.iter().enumerate() {
            if axis.kind.is_empty() {
                return Err(SpecError::EmptyAxis(number));
            }
            tasks = tasks.checked_mul(axis.kind.len()).filter(|n| *n <= MAX_TASKS).ok_or(SpecError::TooManyTasks)?;
        }
        Ok(tasks)
    }

    /// Returns the seed root: the hash of all that a task's result may depend on besides its number.
    ///
    /// Name, price, verification and merging are left out, so that the same work done for another budget gives the same bytes.
    pub fn work_hash(&self) -> ContentHash {
        let work = (&self.app, &self.args, &self.inputs, &self.axes, self.canonical_nans);
        let expect = "a Vec grows, and a spec holds nothing that postcard cannot encode";
        let mut bytes = postcard::to_stdvec(&work).expect(expect);
        // Jobs without them keep their seeds; what follows cannot be mistaken, as the encoding before it has an end.
        if !(self.env.is_empty() && self.entry.is_empty()) {
            bytes.extend(postcard::to_stdvec(&(&self.env, &self.entry)).expect(expect));
        }
        ContentHash::of(&bytes)
    }

    /// Returns every content that a provider needs: the program, the inputs, and what the axes read.
    pub fn contents(&self) -> Vec<Content> {
        let mut contents = vec![self.app];
        contents.extend(self.inputs.iter().map(|file| file.content));
        for axis in &self.axes {
            contents.extend(axis.kind.content());
            if let AxisKind::Files(files) = &axis.kind {
                contents.extend(files.iter().map(|file| file.content));
            }
        }
        contents.sort_unstable();
        contents.dedup();
        contents
    }
}

/// Tells whether `path` is relative and of normal names, so that it can name a file under `/in`.
fn is_normal(path: &str) -> bool {
    path.len() <= 4_096
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() <= 255)
}

/// Tells whether `path` is absolute, normal, and outside of the folders that every task has.
pub fn is_fixed(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| is_normal(rest) && !matches!(rest.split('/').next(), Some("in" | "out")))
}
