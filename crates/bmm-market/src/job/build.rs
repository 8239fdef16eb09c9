//! From a job as written to a job by content: files are read, named by their hash, and everything is held together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bmm_types::ContentHash;
use bmm_types::market::{
    Axis, AxisKind, Collect, Content, InputFile, JobSpec, MAX_SPEC_BYTES, Merge, Output, SpecError, Verify, Wire,
};

use super::error::{JobError, JobFault};
use super::file::{AxisSource, JobFile};
use super::index::{ChunkIndex, CsvIndex};
use super::template::Template;
use super::toml_reader::join;
use super::{glob, is_normal};

/// Longest line or record that a placeholder may show, bytes.
const MAX_SHOWN_BYTES: usize = 65_536;
/// Most axes.
const MAX_AXES: usize = 8;

/// A job that is complete: its description and the bytes of everything that it names.
#[derive(Clone, Debug)]
pub struct Job {
    /// The description.
    pub spec: JobSpec,
    /// The program, the inputs and what the axes read, by their hash.
    pub contents: BTreeMap<ContentHash, Arc<[u8]>>,
}

impl Job {
    /// Prepares the expansion into tasks.
    pub fn tasks(&self) -> Result<super::Tasks, super::TasksError> {
        super::Tasks::new(&self.spec, |hash| self.contents.get(&hash).cloned())
    }
}

/// Reads files and remembers them by content.
struct Builder<'a> {
    job: &'a JobFile,
    base: &'a Path,
    contents: BTreeMap<ContentHash, Arc<[u8]>>,
}

impl JobFile {
    /// Reads every file that the job names, relative to `base`, and checks that all parts fit together.
    pub fn build(&self, base: &Path) -> Result<Job, JobError> {
        let mut builder = Builder { job: self, base, contents: BTreeMap::new() };
        let spec = builder.spec()?;
        Ok(Job { spec, contents: builder.contents })
    }
}

impl Builder<'_> {
    fn spec(&mut self) -> Result<JobSpec, JobError> {
        let job = self.job;
        let app = self.program("app", &job.app)?;
        let name = self.name()?;
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for (path, file) in &job.inputs {
            let key = join("inputs", path);
            if !is_normal(path) {
                let reason = "it is a path under /in and must be relative, without `..`";
                return Err(self.bad(&key, path, reason, "write for example: \"scene.txt\" = \"scenes/a.txt\""));
            }
            inputs.push(InputFile { path: path.clone(), content: self.read(&key, file)?.0 });
        }
        let mut axes = self.axes()?;
        self.choose_stdin(&mut axes)?;
        let output = self.output(&name, &axes)?;
        self.check_paths(&inputs, &axes, &output)?;
        if matches!(job.verify, Verify::Replicate(_)) && !job.deterministic {
            let remedy = "write deterministic = true if equal input gives equal output, or verify.mode = \"none\"";
            return Err(self.bad("verify.mode", "replicate", "only deterministic programs can be compared", remedy));
        }
        let spec = JobSpec {
            name,
            app,
            args: job.args.clone(),
            inputs,
            axes,
            output,
            verify: job.verify,
            limits: job.limits,
            budget: job.budget,
            canonical_nans: job.canonical_nans,
            deterministic: job.deterministic,
            extra: Vec::new(),
        };
        self.check(&spec)?;
        Ok(spec)
    }

    /// Holds the whole description to the bounds that its readers have.
    fn check(&self, spec: &JobSpec) -> Result<(), JobError> {
        match spec.tasks() {
            Err(SpecError::TooManyTasks) => return Err(self.job.fail("split", JobFault::TooManyTasks)),
            Err(error) => {
                return Err(self.bad("split", "", error.to_string(), "give every axis something to run over"));
            }
            Ok(_) => {}
        }
        if spec.budget.max.is_zero() {
            return Err(self.bad(
                "budget.max",
                "0 BMM",
                "nothing can be paid from it",
                "raise it, for example: max = \"5 BMM\"",
            ));
        }
        if let Err(error) = spec.check() {
            return Err(self.bad("job", &spec.name, error.to_string(), "shorten the job's texts and lists"));
        }
        let bytes = spec.encode().len();
        if bytes > MAX_SPEC_BYTES {
            let reason = format!("its description takes {bytes} bytes, more than {MAX_SPEC_BYTES}");
            return Err(self.bad("job", &spec.name, reason, "give long lists as the lines of a file"));
        }
        Ok(())
    }

    fn bad(&self, key: &str, value: &str, reason: impl Into<String>, example: impl Into<String>) -> JobError {
        let value = value.chars().take(200).collect();
        self.job.fail(
            key,
            JobFault::BadValue { key: key.to_owned(), value, reason: reason.into(), example: example.into() },
        )
    }

    fn name(&self) -> Result<String, JobError> {
        let stem =
            Path::new(&self.job.app).file_stem().map_or("job".into(), |stem| stem.to_string_lossy().into_owned());
        let name = self.job.name.clone().unwrap_or(stem);
        if name.is_empty() || name.len() > 100 || !is_normal(&name) || name.contains(['/', '\n']) {
            let reason = "it is not usable as a file name of at most 100 bytes";
            return Err(self.bad("name", &name, reason, "write for example: name = \"cornell-box\""));
        }
        Ok(name)
    }

    /// Reads a file and remembers its bytes.
    fn read(&mut self, key: &str, path: &str) -> Result<(Content, Arc<[u8]>), JobError> {
        let path = self.base.join(path);
        let bytes = std::fs::read(&path).map_err(|error| self.unreadable(key, &path, &error))?;
        let bytes: Arc<[u8]> = bytes.into();
        let content = Content::of(&bytes);
        let bytes = self.contents.entry(content.hash).or_insert(bytes);
        Ok((content, Arc::clone(bytes)))
    }

    fn unreadable(&self, key: &str, path: &Path, error: &std::io::Error) -> JobError {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        self.job.fail(key, JobFault::Unreadable { key: key.to_owned(), path: path.to_owned(), reason })
    }

    /// Reads a program: a WebAssembly core module.
    fn program(&mut self, key: &str, app: &str) -> Result<Content, JobError> {
        let unsupported = |remedy| JobFault::Unsupported { key: key.to_owned(), value: app.to_owned(), remedy };
        if app.starts_with("oci:") {
            let remedy = "compile the program for wasm32-wasip1 and write app = \"./app.wasm\"";
            return Err(self.job.fail(key, unsupported(remedy)));
        }
        if app.contains('@') && !app.contains(['/', '\\']) {
            let remedy = "download the module and name the file, for example app = \"./app.wasm\"";
            return Err(self.job.fail(key, unsupported(remedy)));
        }
        let (content, bytes) = self.read(key, app)?;
        let found = match bytes.get(..8) {
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Ok(content),
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => "it is a component, a core module is needed",
            Some([0, b'a', b's', b'm', ..]) => "its version is unknown",
            Some([0x7f, b'E', b'L', b'F', ..]) => "it is a native program (ELF)",
            Some([b'M', b'Z', ..]) => "it is a native program (PE)",
            Some([b'#', b'!', ..]) => "it is a script",
            _ if bytes.is_empty() => "it is empty",
            _ => "its first bytes are not \\0asm",
        };
        let path = self.base.join(app);
        Err(self.job.fail(key, JobFault::NotWasm { key: key.to_owned(), path, found }))
    }

    fn axes(&mut self) -> Result<Vec<Axis>, JobError> {
        let job = self.job;
        if job.split.len() > MAX_AXES {
            let value = format!("{} axes", job.split.len());
            return Err(self.bad(
                "split",
                &value,
                "there are more than 8",
                "combine some of them into a list of values",
            ));
        }
        let mut axes: Vec<Axis> = Vec::with_capacity(job.split.len());
        for (name, source) in &job.split {
            let key = join("split", name);
            let mut characters = name.chars();
            let plain = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
                && characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
                && name.len() <= 64;
            if !plain || name == "task" || axes.iter().any(|axis| axis.name == *name) {
                let reason = "the name of an axis begins with a letter, is unique, and is not `task`";
                return Err(self.bad(&key, name, reason, "write for example: rows = { range = \"0..100\" }"));
            }
            let kind = self.axis(&key, name, source)?;
            axes.push(Axis { name: name.clone(), kind });
        }
        Ok(axes)
    }

    fn axis(&mut self, key: &str, name: &str, source: &AxisSource) -> Result<AxisKind, JobError> {
        let join = |field: &str| format!("{key}.{field}");
        match source {
            AxisSource::Range { start, end, chunk } => {
                let fits = *chunk > 0 && start < end && end.checked_sub(*start).is_some();
                let value = format!("{start}..{end}");
                let error =
                    || self.bad(key, &value, "the range is empty or too wide", "write for example: range = \"0..100\"");
                if fits { Ok(AxisKind::Range { start: *start, end: *end, chunk: *chunk }) } else { Err(error()) }
            }
            AxisSource::Values(values) => {
                let mut sorted: Vec<&String> = values.iter().collect();
                sorted.sort_unstable();
                if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(self.bad(&join("values"), pair[0], "it is given twice", "list every value once"));
                }
                if let Some(value) = values.iter().find(|value| value.contains('\0')) {
                    return Err(self.bad(&join("values"), value, "it holds a zero byte", "remove it"));
                }
                Ok(AxisKind::Values(values.clone()))
            }
            AxisSource::Lines { path, chunk } => {
                let (content, bytes) = self.read(&join("lines"), path)?;
                let lines = ChunkIndex::of_lines(&bytes, (*chunk).max(1)).items;
                if lines == 0 || *chunk == 0 {
                    let hint = "name a file with at least one line";
                    return Err(self.bad(&join("lines"), path, "it has no lines", hint));
                }
                Ok(AxisKind::Lines { content, lines, chunk: *chunk })
            }
            AxisSource::Csv { path, chunk } => {
                let (content, bytes) = self.read(&join("csv"), path)?;
                let hint = "name a CSV file with a header and at least one record";
                let index = CsvIndex::of(&bytes, (*chunk).max(1));
                let index = index.map_err(|reason| self.bad(&join("csv"), path, reason, hint))?;
                let rows = index.chunks.items;
                if rows == 0 || *chunk == 0 {
                    return Err(self.bad(&join("csv"), path, "it has no records", hint));
                }
                Ok(AxisKind::Rows { content, rows, chunk: *chunk, columns: index.columns, stdin: true })
            }
            AxisSource::Files { pattern } => self.files(&join("files"), name, pattern),
        }
    }

    /// Finds the files of a pattern; they are mounted under `/in/NAME/`.
    fn files(&mut self, key: &str, name: &str, pattern: &str) -> Result<AxisKind, JobError> {
        let hint = "write for example: files = \"frames/*.png\"";
        let found = glob::find(self.base, pattern).map_err(|error| match error {
            glob::GlobError::Pattern(reason) => self.bad(key, pattern, reason, hint),
            glob::GlobError::Folder(path, error) => self.unreadable(key, &path, &error),
        })?;
        if found.is_empty() {
            let reason = format!("no file in {} matches", self.base.display());
            return Err(self.bad(key, pattern, reason, hint));
        }
        let mut files = Vec::with_capacity(found.len());
        for (relative, path) in found {
            let mounted = format!("{name}/{relative}");
            if !is_normal(&mounted) {
                return Err(self.bad(key, &relative, "a file has a name that no program could read", "rename it"));
            }
            let path = path.to_string_lossy().into_owned();
            files.push(InputFile { path: mounted, content: self.read(key, &path)?.0 });
        }
        Ok(AxisKind::Files(files))
    }

    /// Decides which axis feeds the standard input: lines, or records whose fields no placeholder shows. At most one may.
    fn choose_stdin(&self, axes: &mut [Axis]) -> Result<(), JobError> {
        let templates = self.templates(axes)?;
        for number in 0..axes.len() {
            let shown = templates.iter().any(|template| template.uses_column(number));
            if let AxisKind::Rows { stdin, .. } = &mut axes[number].kind {
                *stdin = !shown;
            }
        }
        let feeds = |axis: &&Axis| matches!(axis.kind, AxisKind::Lines { .. } | AxisKind::Rows { stdin: true, .. });
        if let Some(second) = axes.iter().filter(feeds).nth(1) {
            let reason = "a task has one standard input, and another axis feeds it already";
            let hint = "use `values`, or a csv with chunk = 1 and placeholders such as {row.name}";
            return Err(self.bad(&join("split", &second.name), &second.name, reason, hint));
        }
        for axis in axes.iter() {
            self.check_shown(axis, &templates)?;
        }
        Ok(())
    }

    /// Lines and records that placeholders show become arguments: no zero bytes, and not too long.
    fn check_shown(&self, axis: &Axis, templates: &[Template]) -> Result<(), JobError> {
        let shown = match &axis.kind {
            AxisKind::Rows { stdin, .. } => !stdin,
            AxisKind::Lines { chunk, .. } => *chunk == 1 && templates.iter().any(|template| template.fixed().is_none()),
            _ => false,
        };
        let Some(bytes) = axis.kind.content().filter(|_| shown).and_then(|c| self.contents.get(&c.hash)) else {
            return Ok(());
        };
        let longest = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        if bytes.contains(&0) || longest > MAX_SHOWN_BYTES {
            let reason = "its lines become arguments, but one holds a zero byte or more than 65536 bytes";
            return Err(self.bad(
                &join("split", &axis.name),
                &axis.name,
                reason,
                "let the program read the standard input",
            ));
        }
        Ok(())
    }

    /// Compiles the arguments and the collected path, which finds wrong placeholders.
    fn templates(&self, axes: &[Axis]) -> Result<Vec<Template>, JobError> {
        let named = self.job.args.iter().map(|arg| ("args", arg)).chain([("output.collect", &self.job.collect)]);
        named.map(|(key, text)| Template::compile(key, text, axes).map_err(|fault| self.job.fail(key, fault))).collect()
    }

    fn output(&mut self, name: &str, axes: &[Axis]) -> Result<Output, JobError> {
        let job = self.job;
        let collect = match job.collect.as_str() {
            "stdout" => Collect::Stdout,
            path if path.strip_prefix("/out/").is_some_and(is_normal) => {
                let template = Template::compile("output.collect", path, axes);
                template.map_err(|fault| job.fail("output.collect", fault))?;
                Collect::File(path.to_owned())
            }
            other => {
                let reason = "it is neither \"stdout\" nor a file under /out";
                let hint = "write for example: collect = \"/out/result.txt\"";
                return Err(self.bad("output.collect", other, reason, hint));
            }
        };
        let merge = self.merge()?;
        let extension = Path::new(&job.collect).extension().map(|extension| extension.to_string_lossy().into_owned());
        let extension = extension.filter(|extension| !extension.contains(['{', '}']));
        let file = match (&job.file, &merge, &collect, extension) {
            (Some(file), ..) => file.clone(),
            (None, Merge::Concat, Collect::Stdout, _) => format!("{name}.txt"),
            (None, Merge::Concat, Collect::File(_), Some(extension)) => format!("{name}.{extension}"),
            (None, ..) => name.to_owned(),
        };
        if !is_normal(&file) || file.contains('/') {
            let hint = "write for example: file = \"render.png\"";
            return Err(self.bad("output.file", &file, "it is not a plain file name", hint));
        }
        Ok(Output { collect, merge, file })
    }

    fn merge(&mut self) -> Result<Merge, JobError> {
        let job = self.job;
        let merge = job.merge.as_str();
        let simple = match merge {
            "concat" => Some(Merge::Concat),
            "folder" => Some(Merge::Folder),
            _ => None,
        };
        if let Some(merge) = simple {
            if !job.merge_args.is_empty() {
                let reason = "only a program takes arguments";
                let hint = "remove them, or write merge = \"./merge.wasm\"";
                return Err(self.bad("output.merge_args", &job.merge_args.join(" "), reason, hint));
            }
            return Ok(merge);
        }
        if !merge.contains(['/', '.', '@', ':']) {
            let guess = super::error::nearest(merge, ["concat", "folder"]);
            let guess = guess.map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
            let hint = format!("{guess}valid: \"concat\", \"folder\", or a program such as \"./merge.wasm\"");
            return Err(self.bad("output.merge", merge, "there is no such way to merge", hint));
        }
        let app = self.program("output.merge", merge)?;
        Ok(Merge::App { app, args: job.merge_args.clone() })
    }

    /// Every path under `/in` names one file, and none is both a file and a folder.
    fn check_paths(&self, inputs: &[InputFile], axes: &[Axis], output: &Output) -> Result<(), JobError> {
        let mut paths: Vec<&str> = inputs.iter().map(|file| file.path.as_str()).collect();
        for axis in axes {
            if let AxisKind::Files(files) = &axis.kind {
                paths.extend(files.iter().map(|file| file.path.as_str()));
            }
        }
        if matches!(output.merge, Merge::App { .. }) {
            paths.push("parts");
        }
        // Folders sort right before what is in them once `/` sorts below every other character.
        paths.sort_unstable_by_key(|path| path.replace('/', "\0"));
        let clash = |pair: &&[&str]| {
            pair[0] == pair[1] || pair[1].strip_prefix(pair[0]).is_some_and(|rest| rest.starts_with('/'))
        };
        match paths.windows(2).find(clash) {
            None => Ok(()),
            Some(pair) => {
                let reason = "the path is used twice under /in, or is both a file and a folder (`parts` is the merging program's)";
                let hint = "choose another name in [inputs] or another name for the axis";
                Err(self.bad(&join("inputs", pair[1]), pair[1], reason, hint))
            }
        }
    }
}
