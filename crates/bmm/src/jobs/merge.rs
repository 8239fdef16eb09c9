//! Putting the results of all tasks together.

use super::{folder::JobFolder, outputs::Outputs};
use crate::failure::{Failure, IoContext, Outcome};
use bmm_market::job::Tasks;
use bmm_types::{
    ContentHash,
    market::{Content, JobSpec, Merge},
};
use bmm_vm::{InputSet, Limits, StopFlag, TaskInput, Vm};
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// Bounds of a merging program, which runs on the requester's own machine.
const MERGE_LIMITS: Limits =
    Limits { memory_bytes: 4 << 30, time: Duration::from_hours(1), output_bytes: 2 << 30, fuel: None, files: 65_536 };

/// What is merged, and where to.
pub struct Merger<'a> {
    /// The job's description.
    pub spec: &'a JobSpec,
    /// Its tasks.
    pub tasks: &'a Tasks,
    /// Its folder, which holds program and inputs.
    pub folder: &'a JobFolder,
    /// Where the outputs go.
    pub out: &'a Path,
    /// For the merging program.
    pub vm: &'a Vm,
}

impl Merger<'_> {
    /// Merges; `result` names each task's result. Returns the written files.
    pub fn merge(
        &self,
        result: &dyn Fn(u64) -> Option<Content>,
        outputs: &mut Outputs,
        stop: &StopFlag,
    ) -> Outcome<Vec<PathBuf>> {
        std::fs::create_dir_all(self.out).doing("create", self.out)?;
        let hash_of = |index: u64| {
            result(index)
                .map(|content| content.hash)
                .ok_or_else(|| Failure::internal(format!("task {index} has no result")))
        };
        match &self.spec.output.merge {
            Merge::Concat => self.concat(&hash_of, outputs),
            Merge::Folder => self.folder(&hash_of, outputs),
            Merge::App { app, args } => self.app(app.hash, args, &hash_of, outputs, stop),
        }
    }

    fn target(&self) -> PathBuf {
        self.out.join(&self.spec.output.file)
    }

    fn concat(&self, hash_of: &dyn Fn(u64) -> Outcome<ContentHash>, outputs: &mut Outputs) -> Outcome<Vec<PathBuf>> {
        let target = self.target();
        let file = tempfile::NamedTempFile::new_in(self.out).doing("write into", self.out)?;
        let mut writer = std::io::BufWriter::new(file);
        for index in 0..self.tasks.count() {
            writer.write_all(&outputs.get(hash_of(index)?)?).doing("write", &target)?;
        }
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error).doing("write", &target)?;
        file.persist(&target).map_err(|error| error.error).doing("write", &target)?;
        readable(&target)?;
        Ok(vec![target])
    }

    fn folder(&self, hash_of: &dyn Fn(u64) -> Outcome<ContentHash>, outputs: &mut Outputs) -> Outcome<Vec<PathBuf>> {
        let mut written = Vec::new();
        for index in 0..self.tasks.count() {
            let name = self.tasks.file_name(index).expect("index is below the count");
            let path = self.target().join(name);
            write_file(&path, &outputs.get(hash_of(index)?)?)?;
            written.push(path);
        }
        Ok(written)
    }

    fn app(
        &self,
        app: ContentHash,
        args: &[String],
        hash_of: &dyn Fn(u64) -> Outcome<ContentHash>,
        outputs: &mut Outputs,
        stop: &StopFlag,
    ) -> Outcome<Vec<PathBuf>> {
        let mut inputs = InputSet::builder();
        for index in 0..self.tasks.count() {
            inputs.add(&format!("parts/{index:08}"), outputs.get(hash_of(index)?)?).map_err(Failure::job)?;
        }
        for file in &self.spec.inputs {
            inputs.add(&file.path, self.folder.content(file.content.hash)?).map_err(Failure::job)?;
        }
        let module = self.folder.content(app)?;
        let program = self.vm.prepare(&module, self.spec.canonical_nans).map_err(Failure::job)?;
        let inputs = inputs.build();
        let input = TaskInput { args, inputs: &inputs, limits: MERGE_LIMITS, ..TaskInput::new() };
        let outcome = program.run(&input, stop).map_err(Failure::internal)?;
        if !outcome.exit.is_ok() {
            let stderr = String::from_utf8_lossy(&outcome.stderr).trim_end().to_owned();
            return Err(Failure::job(format!(
                "the merging program failed: {} ({})\n{stderr}",
                outcome.exit,
                outcome.exit.name()
            )));
        }
        self.write_outputs(outcome.outputs, outcome.stdout)
    }

    /// One file gets the name that the job has for it; several keep the names that the program gave them; if there is none, the
    /// standard output is the file.
    fn write_outputs(
        &self,
        mut files: std::collections::BTreeMap<String, Vec<u8>>,
        stdout: Vec<u8>,
    ) -> Outcome<Vec<PathBuf>> {
        if files.len() <= 1 {
            let target = self.target();
            let bytes = files.pop_first().map_or(stdout, |(_, bytes)| bytes);
            write_file(&target, &bytes)?;
            return Ok(vec![target]);
        }
        let mut written = Vec::new();
        if let Some(name) = files.keys().find(|name| name.split('/').any(|part| part.starts_with('.'))) {
            return Err(Failure::job(format!(
                "the merging program wrote {name:?}; names that begin with a dot are refused"
            )));
        }
        for (name, bytes) in files {
            let path = self.out.join(&name);
            write_file(&path, &bytes)?;
            written.push(path);
        }
        Ok(written)
    }
}

/// Writes a file whole or not at all, with the folders above it.
fn write_file(path: &Path, bytes: &[u8]) -> Outcome {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).doing("create", dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).doing("write into", dir)?;
    file.write_all(bytes).doing("write", path)?;
    file.persist(path).map_err(|error| error.error).doing("write", path)?;
    readable(path)
}

/// Gives an output the usual permissions; temporary files have narrower ones.
fn readable(path: &Path) -> Outcome {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).doing("open", path)?;
    }
    Ok(())
}
