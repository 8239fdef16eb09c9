//! From a job as written to a job by content: files are read, named by their hash, and everything is held together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bmm_types::ContentHash;
use bmm_types::market::{
    Axis, AxisKind, Checker, Collect, Content, InputFile, JobSpec, MAX_SPEC_BYTES, Merge, Output, Runtime, SpecError,
    Verify, Wire, is_fixed,
};

use super::error::{JobError, JobFault};
use super::file::JobFile;
use super::layout;
use super::template::Template;
use super::toml_reader::join;
use super::{is_normal, parse_verify};

/// How the name of a container image begins.
pub(super) const IMAGE: &str = "oci:";
/// Most input files of a job.
const MAX_INPUT_FILES: usize = 65_536;
/// Most names in a path of a file in an input folder.
const MAX_FOLDER_DEPTH: usize = 32;
/// Most files under `/in` of a merging program: the results of all tasks and the job's inputs.
const MAX_MERGED_FILES: u64 = 65_536;

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
pub(super) struct Builder<'a> {
    pub job: &'a JobFile,
    pub base: &'a Path,
    pub contents: BTreeMap<ContentHash, Arc<[u8]>>,
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
        let (runtime, app) = self.app()?;
        let name = self.name()?;
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for (path, file) in &job.inputs {
            let key = join("inputs", path);
            if !is_normal(path) && !is_fixed(path) {
                let reason =
                    "it is a path under /in, relative and without `..`, or an absolute one outside of /in and /out";
                return Err(self.bad(&key, path, reason, "write for example: \"scene.txt\" = \"scenes/a.txt\""));
            }
            self.input(&key, path, Path::new(file), &mut inputs)?;
        }
        let mut axes = self.axes()?;
        self.choose_stdin(&mut axes)?;
        let output = self.output(&name, &axes)?;
        self.check_paths(&inputs, &axes, &output)?;
        let verify = self.verify()?;
        let spec = JobSpec {
            name,
            runtime,
            app,
            args: job.args.clone(),
            env: job.env.clone(),
            entry: job.entry.clone().unwrap_or_default(),
            inputs,
            axes,
            output,
            verify,
            limits: job.limits,
            budget: job.budget,
            canonical_nans: job.canonical_nans,
            needs: job.needs.clone(),
            deterministic: job.deterministic,
            stake: job.stake,
            draw: alloy_primitives::B256::ZERO,
            extra: Vec::new(),
        };
        self.check(&spec)?;
        Ok(spec)
    }

    /// Reads a file, or a folder with everything in it, in the order of the names.
    fn input(&mut self, key: &str, path: &str, file: &Path, inputs: &mut Vec<InputFile>) -> Result<(), JobError> {
        let whole = self.base.join(file);
        if !whole.is_dir() {
            if inputs.len() >= MAX_INPUT_FILES {
                let reason = format!("there are more than {MAX_INPUT_FILES} input files");
                return Err(self.bad(key, path, reason, "pack them into an archive"));
            }
            inputs.push(InputFile { path: path.to_owned(), content: self.read(key, file)?.0 });
            return Ok(());
        }
        // A link may lead back into its own folder.
        if path.split('/').count() > MAX_FOLDER_DEPTH {
            let reason = format!("its folders go deeper than {MAX_FOLDER_DEPTH}");
            return Err(self.bad(key, path, reason, "remove links that lead back, or pack the folder into an archive"));
        }
        let unreadable = |error| self.unreadable(key, &whole, &error);
        let entries = std::fs::read_dir(&whole).map_err(unreadable)?;
        let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names.map_err(unreadable)?;
        names.sort_unstable();
        for name in names {
            let Some(text) = name.to_str().filter(|text| is_normal(text)) else {
                let reason = format!("the folder has a file whose name ({}) no task could see", name.display());
                return Err(self.bad(key, path, reason, "rename it"));
            };
            self.input(key, &format!("{path}/{text}"), &file.join(text), inputs)?;
        }
        Ok(())
    }

    /// Results can be compared only where equal input gives equal output, and cost a stake only where that holds on every processor.
    fn verify(&mut self) -> Result<Verify, JobError> {
        let job = self.job;
        let verify = job.verify.unwrap_or_else(|| job.default_verify(false));
        if verify.compares() && !job.deterministic {
            let mode = if matches!(verify, Verify::Audit(_)) { "audit" } else { "replicate" };
            let remedy = "write deterministic = true if equal input gives equal output, or verify.mode = \"none\"";
            return Err(self.bad("verify.mode", mode, "only deterministic programs can be compared", remedy));
        }
        if let Some((reason, remedy)) = parse_verify::stake_objection(job) {
            return Err(self.bad("verify.stake", &job.stake.to_string(), reason, remedy));
        }
        match (verify, &job.checker) {
            (Verify::Checker(checker), Some(app)) => {
                Ok(Verify::Checker(Checker { app: self.program("verify.app", app)?, ..checker }))
            }
            (verify, _) => Ok(verify),
        }
    }

    /// Holds the whole description to the bounds that its readers have.
    fn check(&self, spec: &JobSpec) -> Result<(), JobError> {
        match spec.tasks() {
            Err(SpecError::TooManyTasks) => return Err(self.job.fail("split", JobFault::TooManyTasks)),
            Err(error) => {
                return Err(self.bad("split", "", error.to_string(), "give every axis something to run over"));
            }
            Ok(tasks) => self.check_merge(spec, tasks)?,
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

    /// A merging program finds every result as a file: what is too many for it is told before anything is paid.
    fn check_merge(&self, spec: &JobSpec, tasks: u64) -> Result<(), JobError> {
        let files = tasks.saturating_add(u64::try_from(spec.inputs.len()).unwrap_or(u64::MAX));
        if matches!(spec.output.merge, Merge::App { .. }) && files > MAX_MERGED_FILES {
            let reason = format!("a merging program gets at most {MAX_MERGED_FILES} files, these are {files}");
            return Err(self.bad("output.merge", &self.job.merge, reason, "use larger chunks, or merge = \"concat\""));
        }
        Ok(())
    }

    pub(super) fn bad(
        &self,
        key: &str,
        value: &str,
        reason: impl Into<String>,
        example: impl Into<String>,
    ) -> JobError {
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
    pub(super) fn read(&mut self, key: &str, path: impl AsRef<Path>) -> Result<(Content, Arc<[u8]>), JobError> {
        let path = self.base.join(path);
        let bytes = std::fs::read(&path).map_err(|error| self.unreadable(key, &path, &error))?;
        Ok(self.keep(bytes.into()))
    }

    fn keep(&mut self, bytes: Arc<[u8]>) -> (Content, Arc<[u8]>) {
        let content = Content::of(&bytes);
        let bytes = self.contents.entry(content.hash).or_insert(bytes);
        (content, Arc::clone(bytes))
    }

    pub(super) fn unreadable(&self, key: &str, path: &Path, error: &std::io::Error) -> JobError {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        self.job.fail(key, JobFault::Unreadable { key: key.to_owned(), path: path.to_owned(), reason })
    }

    /// Reads the job's program and says what runs it.
    fn app(&mut self) -> Result<(Runtime, Content), JobError> {
        let job = self.job;
        let Some(file) = job.app.strip_prefix(IMAGE) else {
            if let Some(bytes) = job.needs.gpu_bytes {
                let (value, remedy) =
                    (format!("{bytes} B"), "name the image of a container: app = \"oci:./image.tar\"");
                return Err(self.bad("needs.gpu", &value, "no WebAssembly module can use a GPU", remedy));
            }
            if job.needs.workers > 0 {
                let (value, remedy) =
                    (job.needs.workers.to_string(), "name the image of a container: app = \"oci:./image.tar\"");
                return Err(self.bad("cluster.workers", &value, "a WebAssembly module runs alone", remedy));
            }
            return Ok((Runtime::Wasm, self.program("app", &job.app)?));
        };
        let nobody = "runs of native programs may differ, and no honest provider would risk that";
        let stake = (!job.stake.is_zero()).then(|| job.stake.to_string());
        let fixed = job.inputs.iter().find(|(path, _)| is_fixed(path)).map(|(path, _)| path.clone());
        let objections = [
            ("entry", job.entry.clone(), "a container begins where its image says", "remove it"),
            ("canonical_nans", job.canonical_nans.then(|| "true".into()), "only modules have them", "remove it"),
            ("inputs", fixed, "a container finds its inputs under /in alone", "write a relative path"),
            ("verify.stake", stake, nobody, "remove it"),
        ];
        for (key, value, reason, remedy) in objections {
            if let Some(value) = value {
                return Err(self.bad(key, &value, reason, remedy));
            }
        }
        let path = self.base.join(file);
        if let Some(bytes) = layout::read_image(&path).map_err(|error| self.unreadable("app", &path, &error))? {
            return Ok((Runtime::Container, self.keep(bytes.into()).0));
        }
        let remedy = "write one with `podman save --format oci-archive` or `docker save`, and name it: app = \"oci:./image.tar\"";
        Err(self.bad("app", &job.app, "the file is no archive (tar) of a container image", remedy))
    }

    /// Reads a program: a WebAssembly core module.
    fn program(&mut self, key: &str, app: &str) -> Result<Content, JobError> {
        let unsupported = |remedy| JobFault::Unsupported { key: key.to_owned(), value: app.to_owned(), remedy };
        if app.starts_with(IMAGE) {
            let remedy =
                "only the job's own program may be an image; name a WebAssembly module, such as \"./merge.wasm\"";
            return Err(self.job.fail(key, unsupported(remedy)));
        }
        if app.contains('@') && !app.contains(['/', '\\']) {
            let remedy = "download the module and name the file, for example app = \"./app.wasm\"";
            return Err(self.job.fail(key, unsupported(remedy)));
        }
        let (content, bytes) = self.read(key, app)?;
        let found = match bytes.get(..8) {
            // A module, or a component.
            Some([0, b'a', b's', b'm', 1, 0, 0, 0] | [0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => return Ok(content),
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

    /// Compiles the arguments and the collected path, which finds wrong placeholders.
    pub(super) fn templates(&self, axes: &[Axis]) -> Result<Vec<Template>, JobError> {
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
