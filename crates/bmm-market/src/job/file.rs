//! The job file as written: types, units and keys are checked here, files and meaning in `build`.

use bmm_types::Amount;
use bmm_types::market::{Audit, Budget, Needs, TaskLimits, Verify};
use toml::de::DeTable;

use super::build::IMAGE;
use super::error::{JobError, JobFault, Location};
use super::toml_reader::{Document, Places, Table, Value};
use super::{parse_axes, parse_needs, parse_verify, parse_verify::FLOOR_PPM, units};

/// Longest job file, bytes.
const MAX_FILE_BYTES: usize = 4 << 20;

/// A job as a person describes it; paths are as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFile {
    /// Name for people; by default that of the program's file.
    pub name: Option<String>,
    /// The program: `./app.wasm`.
    pub app: String,
    /// Arguments, as templates.
    pub args: Vec<String>,
    /// Environment of every task, in the order of writing.
    pub env: Vec<(String, String)>,
    /// Export at which the program begins; by default `_start`.
    pub entry: Option<String>,
    /// Path under `/in`, or absolute, and path of the file or folder, in the order of writing.
    pub inputs: Vec<(String, String)>,
    /// Name and source of each axis, in the order of writing; the last varies fastest.
    pub split: Vec<(String, AxisSource)>,
    /// Where a task's result is found: `stdout` or a path under `/out`, as a template.
    pub collect: String,
    /// `concat`, `folder`, or the program that reduces.
    pub merge: String,
    /// Arguments of that program.
    pub merge_args: Vec<String>,
    /// Name of the final output; by default made of the job's name and the collected file's extension.
    pub file: Option<String>,
    /// How results are verified; as [`Self::default_verify`] has it, where the file does not say.
    pub verify: Option<Verify>,
    /// The program that says whether a result is right, for `checker`.
    pub checker: Option<String>,
    /// What each provider locks before it gets work; zero asks for nothing.
    pub stake: Amount,
    /// What one task may use.
    pub limits: TaskLimits,
    /// What is spent at most.
    pub budget: Budget,
    /// What it needs of a provider's machine.
    pub needs: Needs,
    /// Whether NaNs are made equal on every instruction set.
    pub canonical_nans: bool,
    /// Whether equal input gives equal output.
    pub deterministic: bool,
    pub(super) places: Places,
}

/// What an axis of the split runs over, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AxisSource {
    /// `range = "0..1080", chunk = 16`.
    Range {
        /// First integer.
        start: i64,
        /// One past the last integer.
        end: i64,
        /// Integers per task.
        chunk: u64,
    },
    /// `values = ["a", "b"]`.
    Values(Vec<String>),
    /// `lines = "data.txt", chunk = 100`.
    Lines {
        /// The file.
        path: String,
        /// Lines per task.
        chunk: u64,
    },
    /// `csv = "data.csv", chunk = 100`.
    Csv {
        /// The file.
        path: String,
        /// Records per task.
        chunk: u64,
    },
    /// `files = "frames/*.png"`.
    Files {
        /// The pattern.
        pattern: String,
    },
}

impl JobFile {
    /// Returns a job of one task that runs `app` with every default: the standard output is collected,
    /// 1 BMM is spent at most, for an hour at most.
    pub fn new(app: impl Into<String>) -> Self {
        let app = app.into();
        // Native programs give the same twice only if their author says so.
        let deterministic = !app.starts_with(IMAGE);
        Self {
            name: None,
            app,
            args: Vec::new(),
            env: Vec::new(),
            entry: None,
            inputs: Vec::new(),
            split: Vec::new(),
            collect: "stdout".to_owned(),
            merge: "concat".to_owned(),
            merge_args: Vec::new(),
            file: None,
            verify: None,
            checker: None,
            stake: Amount::ZERO,
            limits: TaskLimits::default(),
            budget: Budget { max: Amount::ONE_BMM, deadline_seconds: 3_600, price: None },
            needs: Needs::default(),
            canonical_nans: false,
            deterministic,
            places: Places::new(),
        }
    }

    /// Returns how results are verified if the file does not say: those of strangers by audits, if they can be compared; else not at all.
    pub fn default_verify(&self, strangers: bool) -> Verify {
        if strangers && self.deterministic { Verify::Audit(Audit { floor_ppm: FLOOR_PPM }) } else { Verify::None }
    }

    /// Reads the text of a job file.
    pub fn parse(source: &str) -> Result<Self, JobError> {
        if source.len() > MAX_FILE_BYTES {
            let fault = JobFault::Syntax(format!("it is longer than {MAX_FILE_BYTES} bytes"));
            return Err(JobError::new(None, fault));
        }
        let parsed = DeTable::parse(source).map_err(|error| {
            let at = error.span().map(|span| Location::of(source, span.start));
            JobError::new(at, JobFault::Syntax(error.message().trim().replace('\n', ", ")))
        })?;
        let document = Document::new(source);
        let mut job = read(&Table::root(&document, parsed.get_ref()).only(&[
            "name",
            "app",
            "args",
            "env",
            "entry",
            "canonical_nans",
            "deterministic",
            "inputs",
            "split",
            "output",
            "verify",
            "limits",
            "needs",
            "cluster",
            "budget",
        ])?)?;
        job.places = document.places.into_inner();
        Ok(job)
    }

    /// Makes an error about `key`, at its place if the file has it.
    pub(super) fn fail(&self, key: &str, fault: JobFault) -> JobError {
        JobError::new(self.places.get(key).copied(), fault)
    }
}

fn read(root: &Table<'_>) -> Result<JobFile, JobError> {
    let mut job = JobFile::new(root.need("app", "app = \"./app.wasm\"")?.text("app = \"./app.wasm\"")?);
    if let Some(value) = root.get("name") {
        job.name = Some(value.text("name = \"my-job\"")?.to_owned());
    }
    if let Some(value) = root.get("args") {
        job.args = value.texts("args = [\"--rows\", \"{rows.start}..{rows.end}\"]")?;
    }
    if let Some(value) = root.get("env") {
        for (name, text) in value.table("env = { HOME = \"/out\" }")?.in_order() {
            let (example, content) = ("env = { HOME = \"/out\" }", text.text("env = { HOME = \"/out\" }")?);
            if name.is_empty() || name.contains(['=', '\0']) || content.contains('\0') {
                let reason = "a name is not empty and without `=`, and neither has a zero byte";
                return Err(text.bad(reason, format!("write for example: {example}")));
            }
            job.env.push((name, content.to_owned()));
        }
    }
    if let Some(value) = root.get("entry") {
        let text = value.text("entry = \"run\"")?;
        if text.is_empty() || text.len() > 256 {
            return Err(value.bad("it is no name of an export", "write for example: entry = \"run\""));
        }
        job.entry = Some(text.to_owned()).filter(|name| name != "_start");
    }
    if let Some(value) = root.get("canonical_nans") {
        job.canonical_nans = value.flag("canonical_nans = true")?;
    }
    if let Some(value) = root.get("deterministic") {
        job.deterministic = value.flag("deterministic = true")?;
    }
    if let Some(value) = root.get("inputs") {
        for (path, file) in value.table("[inputs] and below it \"scene.txt\" = \"scenes/a.txt\"")?.in_order() {
            job.inputs.push((path, file.text("\"scene.txt\" = \"scenes/a.txt\"")?.to_owned()));
        }
    }
    if let Some(value) = root.get("split") {
        for (name, axis) in value.table("[split] and below it rows = { range = \"0..100\" }")?.in_order() {
            let source = parse_axes::axis(&axis)?;
            job.split.push((name, source));
        }
    }
    if let Some(value) = root.get("output") {
        read_output(&value.table("[output]")?.only(&["collect", "merge", "merge_args", "file"])?, &mut job)?;
    }
    if let Some(value) = root.get("verify") {
        let table = value.table("[verify] and below it mode = \"replicate\"")?.only(&parse_verify::KEYS)?;
        parse_verify::read(&table, &mut job)?;
    }
    if let Some(value) = root.get("limits") {
        let known = ["memory", "time", "output", "fuel", "files"];
        job.limits = read_limits(&value.table("[limits]")?.only(&known)?)?;
    }
    if let Some(value) = root.get("needs") {
        job.needs = parse_needs::read(&value.table("[needs] and below it memory = \"8 GiB\"")?)?;
    }
    if let Some(value) = root.get("cluster") {
        job.needs.workers = parse_needs::workers(&value.table("[cluster] and below it workers = 2")?)?;
    }
    if let Some(value) = root.get("budget") {
        let table = value.table("[budget] and below it max = \"5 BMM\"")?.only(&["max", "deadline", "price"])?;
        read_budget(&table, &mut job.budget)?;
    }
    Ok(job)
}

fn read_output(table: &Table<'_>, job: &mut JobFile) -> Result<(), JobError> {
    if let Some(value) = table.get("collect") {
        value.text("collect = \"/out/result.txt\"")?.clone_into(&mut job.collect);
    }
    if let Some(value) = table.get("merge") {
        value.text("merge = \"concat\"")?.clone_into(&mut job.merge);
    }
    if let Some(value) = table.get("merge_args") {
        job.merge_args = value.texts("merge_args = [\"--width\", \"1920\"]")?;
    }
    if let Some(value) = table.get("file") {
        job.file = Some(value.text("file = \"render.png\"")?.to_owned());
    }
    Ok(())
}

/// Reads a number with its unit and holds it to its range.
pub(super) fn quantity(
    value: &Value<'_>,
    read: fn(&str) -> Option<u64>,
    range: (u64, u64, &str),
    example: &'static str,
) -> Result<u64, JobError> {
    let text = value.text(example)?;
    let hint = || format!("write for example: {example}");
    let number = read(text).ok_or_else(|| value.bad("it is not a whole number with a unit", hint()))?;
    let (least, most, words) = range;
    if (least..=most).contains(&number) { Ok(number) } else { Err(value.bad(format!("it is not {words}"), hint())) }
}

fn read_limits(table: &Table<'_>) -> Result<TaskLimits, JobError> {
    let mut limits = TaskLimits::default();
    if let Some(value) = table.get("memory") {
        let range = (1 << 20, 4 << 30, "between 1 MiB and 4 GiB");
        limits.memory_bytes = quantity(&value, units::size, range, "memory = \"256 MiB\"")?;
    }
    if let Some(value) = table.get("time") {
        let range = (1, 86_400_000, "between 1 ms and 24 h");
        limits.time_millis = quantity(&value, units::millis, range, "time = \"60 s\"")?;
    }
    if let Some(value) = table.get("output") {
        let range = (1, 4 << 30, "between 1 B and 4 GiB");
        limits.output_bytes = quantity(&value, units::size, range, "output = \"64 MiB\"")?;
    }
    if let Some(value) = table.get("fuel") {
        let fuel = value.count("fuel = 10_000_000_000")?;
        if fuel == 0 {
            return Err(value.bad("no program runs without fuel", "write for example: fuel = 10_000_000_000"));
        }
        limits.fuel = Some(fuel);
    }
    if let Some(value) = table.get("files") {
        let files = value.count("files = 1024")?;
        let in_range = u32::try_from(files).ok().filter(|n| (1..=65_536).contains(n));
        limits.files =
            in_range.ok_or_else(|| value.bad("it is not between 1 and 65536", "write for example: files = 1024"))?;
    }
    Ok(limits)
}

pub(super) fn read_amount(value: &Value<'_>, example: &'static str) -> Result<Amount, JobError> {
    let amount: Amount = value.text(example)?.parse().map_err(|_| {
        value.bad("it is not an amount of BMM", format!("write a decimal number and the unit, for example: {example}"))
    })?;
    if amount > Amount::from_bmm(1_390_000_000) {
        return Err(value.bad("there are only 1390000000 BMM", format!("write for example: {example}")));
    }
    Ok(amount)
}

fn read_budget(table: &Table<'_>, budget: &mut Budget) -> Result<(), JobError> {
    if let Some(value) = table.get("max") {
        budget.max = read_amount(&value, "max = \"5 BMM\"")?;
        if budget.max.is_zero() {
            return Err(value.bad("nothing can be paid from it", "raise it, for example: max = \"5 BMM\""));
        }
    }
    if let Some(value) = table.get("deadline") {
        let range = (1_000, 30 * 86_400_000, "between 1 s and 30 d");
        budget.deadline_seconds = quantity(&value, units::millis, range, "deadline = \"10 min\"")?.div_ceil(1_000);
    }
    if let Some(value) = table.get("price") {
        budget.price = Some(read_amount(&value, "price = \"0.01 BMM\"")?);
    }
    Ok(())
}
