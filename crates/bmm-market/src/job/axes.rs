//! The axes of the split, with their files read and counted.

use bmm_types::market::{Axis, AxisKind, InputFile};

use super::build::Builder;
use super::error::JobError;
use super::file::AxisSource;
use super::index::{ChunkIndex, CsvIndex};
use super::template::Template;
use super::toml_reader::join;
use super::{glob, is_normal};

/// Longest line or record that a placeholder may show, bytes.
const MAX_SHOWN_BYTES: usize = 65_536;
/// Most axes.
const MAX_AXES: usize = 8;

impl Builder<'_> {
    /// Builds every axis in the order of writing.
    pub(super) fn axes(&mut self) -> Result<Vec<Axis>, JobError> {
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
    pub(super) fn choose_stdin(&self, axes: &mut [Axis]) -> Result<(), JobError> {
        let templates = self.templates(axes)?;
        for (number, axis) in axes.iter_mut().enumerate() {
            if let AxisKind::Rows { stdin, .. } = &mut axis.kind {
                *stdin = !templates.iter().any(|template| template.uses_column(number));
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
}
