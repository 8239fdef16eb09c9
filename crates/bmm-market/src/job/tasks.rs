//! Tasks by their number: nothing is listed, each is made when it is asked for.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use bmm_types::ContentHash;
use bmm_types::market::{Axis, AxisKind, Collect, Content, InputFile, JobSpec};
use sha2::{Digest, Sha256};

use super::error::JobFault;
use super::index::{ChunkIndex, CsvIndex, record_fields};
use super::template::{Field, Piece, Template};

/// One task, ready for the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// Its number.
    pub index: u64,
    /// Arguments after `argv[0]`.
    pub args: Vec<String>,
    /// Standard input.
    pub stdin: Cow<'a, [u8]>,
    /// Files under `/in` of this task only, beside the job's inputs.
    pub mounts: Vec<&'a InputFile>,
    /// Path under `/out` of the result, relative to `/out`; `None` for the standard output.
    pub collect: Option<String>,
    /// Seed of the task's randomness: SHA-256 of the job's [work hash](JobSpec::work_hash) and the number, little-endian.
    pub seed: [u8; 32],
}

/// Says why a description cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TasksError {
    /// A content is not at hand.
    #[error("the content {0} of the split is missing; fetch it before the job is expanded")]
    Missing(ContentHash),
    /// A content does not fit the description.
    #[error("the content of the axis `{axis}` does not fit the job's description: {reason}")]
    Mismatch {
        /// The axis.
        axis: String,
        /// What differs.
        reason: String,
    },
    /// A template is wrong.
    #[error("the job's description is wrong: {0}")]
    Template(#[from] JobFault),
    /// There are no tasks, or too many.
    #[error("the job's description is wrong: {0}")]
    Count(#[from] bmm_types::market::SpecError),
}

/// What an axis needs besides its description.
enum Data {
    None,
    Lines(Arc<[u8]>, ChunkIndex),
    Rows(Arc<[u8]>, CsvIndex),
}

/// All tasks of a job.
pub struct Tasks {
    axes: Vec<(Axis, Data)>,
    args: Vec<Template>,
    collect: Option<Template>,
    seed_root: ContentHash,
    count: u64,
    /// Whether the collected names tell every task from every other.
    distinct_names: bool,
}

/// Most bytes that the arguments of a task are filled with; the sandbox takes half as many.
const MAX_FILLED_BYTES: usize = 2 << 20;

/// Where a task stands on each axis.
type Positions = [u64; 8];

impl Tasks {
    /// Prepares the expansion; `content` gives the bytes that the axes read ([`AxisKind::content`]).
    pub fn new(spec: &JobSpec, mut content: impl FnMut(ContentHash) -> Option<Arc<[u8]>>) -> Result<Self, TasksError> {
        let count = spec.tasks()?;
        let compile = |key: &str, text: &String| Template::compile(key, text, &spec.axes);
        let args = spec.args.iter().map(|arg| compile("args", arg)).collect::<Result<Vec<_>, _>>()?;
        let collect = match &spec.output.collect {
            Collect::Stdout => None,
            Collect::File(path) => Some(compile("output.collect", path)?),
        };
        let mut axes = Vec::with_capacity(spec.axes.len());
        for axis in &spec.axes {
            axes.push((axis.clone(), load(axis, &mut content)?));
        }
        let distinct_names = collect.as_ref().is_some_and(|template| is_distinct(template, &spec.axes));
        Ok(Self { axes, args, collect, seed_root: spec.work_hash(), count, distinct_names })
    }

    /// Returns the number of tasks.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the task number `index`, or `None` past the last.
    pub fn task(&self, index: u64) -> Option<Task<'_>> {
        if index >= self.count {
            return None;
        }
        let at = self.positions(index);
        let records = self.records(&at);
        // A description of a few bytes can ask for arguments of many gigabytes. What passes the bound is cut, and stays above
        // what any sandbox takes, so that the task is refused there and nowhere runs with less than it should have.
        let mut room = MAX_FILLED_BYTES;
        let mut fill = |template: &Template| {
            let text = self.fill(template, index, &at, &records, room);
            room = room.saturating_sub(text.len());
            text
        };
        Some(Task {
            index,
            args: self.args.iter().map(&mut fill).collect(),
            stdin: self.stdin(&at),
            mounts: self.mounts(&at),
            collect: self.collect.as_ref().map(|path| self.fill(path, index, &at, &records, MAX_FILLED_BYTES)).map(
                |path| {
                    let below = path.strip_prefix("/out/").map(str::to_owned);
                    below.unwrap_or(path)
                },
            ),
            seed: self.seed(index),
        })
    }

    /// Returns the name that a task's result has in the job's folder: the collected name where that tells the tasks apart,
    /// else the number and the collected name's extension.
    pub fn file_name(&self, index: u64) -> Option<String> {
        if index >= self.count {
            return None;
        }
        let at = self.positions(index);
        let name = self.collect.as_ref().map(|path| self.fill(path, index, &at, &self.records(&at), MAX_FILLED_BYTES));
        let name = name.as_deref().and_then(|path| path.strip_prefix("/out/")).unwrap_or_default();
        if self.distinct_names && super::is_normal(name) {
            return Some(name.to_owned());
        }
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let plain = (1..=16).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(if plain { format!("{index:08}.{extension}") } else { format!("{index:08}") })
    }

    /// Returns the seed of a task.
    fn seed(&self, index: u64) -> [u8; 32] {
        Sha256::new().chain_update(self.seed_root.0).chain_update(index.to_le_bytes()).finalize().into()
    }

    /// Splits a number into positions: row-major, the last axis varies fastest.
    fn positions(&self, index: u64) -> Positions {
        let (mut positions, mut rest) = ([0; 8], index);
        for (number, (axis, _)) in self.axes.iter().enumerate().rev() {
            let len = axis.kind.len().max(1);
            positions[number] = rest % len;
            rest /= len;
        }
        positions
    }

    /// Returns the fields of the records that placeholders show, by axis.
    fn records(&self, at: &Positions) -> Vec<Vec<String>> {
        let shows_columns = |(axis, _): &(Axis, Data)| matches!(axis.kind, AxisKind::Rows { stdin: false, .. });
        if !self.axes.iter().any(shows_columns) {
            return Vec::new();
        }
        let fields = |(number, (_, data)): (usize, &(Axis, Data))| match data {
            Data::Rows(content, index) => {
                record_fields(index.chunks.slice(content, to_usize(at[number])).unwrap_or_default())
            }
            _ => Vec::new(),
        };
        self.axes.iter().enumerate().map(fields).collect()
    }

    fn stdin(&self, at: &Positions) -> Cow<'_, [u8]> {
        for (number, (axis, data)) in self.axes.iter().enumerate() {
            let chunk = to_usize(at[number]);
            match (&axis.kind, data) {
                (AxisKind::Lines { .. }, Data::Lines(content, index)) => {
                    return Cow::Borrowed(index.slice(content, chunk).unwrap_or_default());
                }
                (AxisKind::Rows { stdin: true, .. }, Data::Rows(content, index)) => {
                    let header = content.get(..index.header).unwrap_or_default();
                    let rows = index.chunks.slice(content, chunk).unwrap_or_default();
                    return Cow::Owned([header, rows].concat());
                }
                _ => {}
            }
        }
        Cow::Borrowed(&[])
    }

    fn mounts(&self, at: &Positions) -> Vec<&InputFile> {
        let file = |(number, (axis, _)): (usize, &'_ (Axis, Data))| match &axis.kind {
            AxisKind::Files(_) => Some(number),
            _ => None,
        };
        let numbers = self.axes.iter().enumerate().filter_map(file);
        numbers.filter_map(|number| self.file(number, at)).collect()
    }

    fn file(&self, axis: usize, at: &Positions) -> Option<&InputFile> {
        match &self.axes.get(axis)?.0.kind {
            AxisKind::Files(files) => files.get(to_usize(at[axis])),
            _ => None,
        }
    }

    fn fill(&self, template: &Template, index: u64, at: &Positions, records: &[Vec<String>], room: usize) -> String {
        let mut text = String::new();
        for piece in &template.pieces {
            if text.len() >= room {
                break;
            }
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Task => push(&mut text, index),
                Piece::Axis(axis, Field::Column(column)) => {
                    text.push_str(records.get(*axis).and_then(|fields| fields.get(*column)).map_or("", String::as_str));
                }
                Piece::Axis(axis, field) => self.fill_field(&mut text, *axis, *field, at),
            }
        }
        text
    }

    fn fill_field(&self, text: &mut String, axis: usize, field: Field, at: &Positions) {
        let position = at[axis];
        let Some((Axis { kind, .. }, data)) = self.axes.get(axis) else { return };
        match (field, kind) {
            (Field::Index, _) => push(text, position),
            (Field::Value, AxisKind::Values(values)) => {
                text.push_str(values.get(to_usize(position)).map_or("", String::as_str));
            }
            (Field::Value | Field::Start, AxisKind::Range { start, chunk, .. }) => {
                push(text, i128::from(*start) + i128::from(position) * i128::from(*chunk));
            }
            (Field::End, AxisKind::Range { start, end, chunk }) => {
                let last = i128::from(*start) + (i128::from(position) + 1) * i128::from(*chunk);
                push(text, last.min((*end).into()));
            }
            (Field::Start, AxisKind::Lines { chunk, .. } | AxisKind::Rows { chunk, .. }) => {
                push(text, u128::from(position) * u128::from(*chunk));
            }
            (Field::End, AxisKind::Lines { chunk, lines: items, .. } | AxisKind::Rows { chunk, rows: items, .. }) => {
                push(text, ((u128::from(position) + 1) * u128::from(*chunk)).min((*items).into()));
            }
            (Field::Line, _) => {
                if let Data::Lines(content, index) = data {
                    let line = index.slice(content, to_usize(position)).unwrap_or_default();
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    text.push_str(&String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)));
                }
            }
            (Field::Path | Field::Name | Field::Stem, _) => {
                let path = self.file(axis, at).map_or("", |file| file.path.as_str());
                push_file(text, field, path);
            }
            // Templates are compiled against the axes, so no other field meets another kind.
            (Field::Value | Field::Start | Field::End | Field::Column(_), _) => {}
        }
    }
}

/// Writes a number; writing to a `String` cannot fail.
fn push(text: &mut String, number: impl std::fmt::Display) {
    let _ = write!(text, "{number}");
}

fn push_file(text: &mut String, field: Field, path: &str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    match field {
        Field::Path => {
            text.push_str("/in/");
            text.push_str(path);
        }
        Field::Stem => text.push_str(name.rsplit_once('.').map_or(name, |(stem, _)| stem)),
        _ => text.push_str(name),
    }
}

/// Positions are below the length of a list in memory wherever they index one.
fn to_usize(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Gets and indexes the content of an axis, and holds it to its description.
fn load(axis: &Axis, content: &mut impl FnMut(ContentHash) -> Option<Arc<[u8]>>) -> Result<Data, TasksError> {
    let mismatch = |reason: String| TasksError::Mismatch { axis: axis.name.clone(), reason };
    let mut get = |wanted: Content| content(wanted.hash).ok_or(TasksError::Missing(wanted.hash));
    match &axis.kind {
        AxisKind::Lines { content, lines, chunk } => {
            let bytes = get(*content)?;
            let index = ChunkIndex::of_lines(&bytes, *chunk);
            if index.items != *lines {
                return Err(mismatch(format!("it has {} lines, not {lines}", index.items)));
            }
            Ok(Data::Lines(bytes, index))
        }
        AxisKind::Rows { content, rows, chunk, columns, .. } => {
            let bytes = get(*content)?;
            let index = CsvIndex::of(&bytes, *chunk).map_err(mismatch)?;
            if index.chunks.items != *rows || index.columns != *columns {
                return Err(mismatch(format!("it has {} records, not {rows}, or other columns", index.chunks.items)));
            }
            Ok(Data::Rows(bytes, index))
        }
        AxisKind::Range { .. } | AxisKind::Values(_) | AxisKind::Files(_) => Ok(Data::None),
    }
}

/// Tells whether a template gives every task another text, by the one rule that is sure: its only placeholder is the task's
/// number, or something of the only axis with several positions that differs at each.
fn is_distinct(template: &Template, axes: &[Axis]) -> bool {
    let mut shown = template.pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_)));
    let (Some(piece), None) = (shown.next(), shown.next()) else { return false };
    let Piece::Axis(number, field) = piece else { return true };
    let alone = axes.iter().enumerate().all(|(other, axis)| other == *number || axis.kind.len() == 1);
    alone
        && match field {
            Field::Value => axes.get(*number).is_some_and(|axis| values_differ(axis, template)),
            Field::Start | Field::End | Field::Index => true,
            Field::Name | Field::Stem => axes.get(*number).is_some_and(|axis| names_differ(axis, *field)),
            Field::Line | Field::Column(_) | Field::Path => false,
        }
}

/// Tells whether the values of an axis make different paths of a template with one placeholder, all of them usable. A value
/// with a slash could make one path lead through another.
fn values_differ(axis: &Axis, template: &Template) -> bool {
    let AxisKind::Values(values) = &axis.kind else { return true };
    let mut path = String::new();
    let is_file = |value: &String| {
        path.clear();
        for piece in &template.pieces {
            path.push_str(if let Piece::Text(text) = piece { text } else { value });
        }
        !value.contains('/') && path.strip_prefix("/out/").is_some_and(super::is_normal)
    };
    values.iter().all(is_file) && values.iter().collect::<std::collections::BTreeSet<_>>().len() == values.len()
}

fn names_differ(axis: &Axis, field: Field) -> bool {
    let AxisKind::Files(files) = &axis.kind else { return false };
    let name = |file: &InputFile| {
        let mut text = String::new();
        push_file(&mut text, field, &file.path);
        text
    };
    let mut names: Vec<String> = files.iter().map(name).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}
