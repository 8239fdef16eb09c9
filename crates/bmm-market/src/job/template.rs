//! Templates: texts with placeholders such as `{rows.start}`, compiled once and filled per task.

use bmm_types::market::{Axis, AxisKind};

use super::error::{JobFault, nearest};

/// A compiled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it is.
    Text(String),
    /// `{task}`: the number of the task.
    Task,
    /// `{axis}`, `{axis.field}`: something of an axis, by its number.
    Axis(usize, Field),
}

/// What a placeholder shows of an axis' position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The value, or the integer of a range of chunk 1.
    Value,
    /// First integer, line or record (these from 0).
    Start,
    /// One past the last.
    End,
    /// Number of the position, from 0.
    Index,
    /// The text of a line, for chunk 1.
    Line,
    /// A field of a record, for chunk 1.
    Column(usize),
    /// Path of the file: `/in/frame/a.png`.
    Path,
    /// Name of the file: `a.png`.
    Name,
    /// Name of the file without its extension: `a`.
    Stem,
}

/// Returns the fields that an axis has. Columns hide the fixed fields of the same name.
fn fields(kind: &AxisKind) -> Vec<(String, Field)> {
    let named = |fields: &[(&str, Field)]| fields.iter().map(|&(name, field)| (name.to_owned(), field)).collect();
    let mut all: Vec<(String, Field)> = Vec::new();
    if let AxisKind::Rows { chunk: 1, columns, .. } = kind {
        all.extend(columns.iter().enumerate().map(|(number, name)| (name.clone(), Field::Column(number))));
    }
    let fixed: Vec<(String, Field)> = match kind {
        AxisKind::Range { chunk: 1, .. } => {
            named(&[("", Field::Value), ("start", Field::Start), ("end", Field::End), ("index", Field::Index)])
        }
        AxisKind::Lines { chunk: 1, .. } => named(&[
            ("", Field::Line),
            ("line", Field::Line),
            ("start", Field::Start),
            ("end", Field::End),
            ("index", Field::Index),
        ]),
        AxisKind::Range { .. } | AxisKind::Lines { .. } | AxisKind::Rows { .. } => {
            named(&[("start", Field::Start), ("end", Field::End), ("index", Field::Index)])
        }
        AxisKind::Values(_) => named(&[("", Field::Value), ("index", Field::Index)]),
        AxisKind::Files(_) => named(&[
            ("", Field::Path),
            ("path", Field::Path),
            ("name", Field::Name),
            ("stem", Field::Stem),
            ("index", Field::Index),
        ]),
    };
    all.extend(fixed);
    all
}

/// Lists every placeholder of a job.
fn known(axes: &[Axis]) -> Vec<String> {
    let of_axis = |axis: &Axis| {
        let join = |field: String| if field.is_empty() { axis.name.clone() } else { format!("{}.{field}", axis.name) };
        fields(&axis.kind).into_iter().map(|(field, _)| join(field)).collect::<Vec<_>>()
    };
    axes.iter().flat_map(of_axis).chain(["task".to_owned()]).collect()
}

impl Template {
    /// Compiles `text`, the value of `key`.
    pub fn compile(key: &str, text: &str, axes: &[Axis]) -> Result<Self, JobFault> {
        let broken = |reason| JobFault::Template { key: key.to_owned(), text: text.to_owned(), reason };
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(broken("a closing brace without an opening one"));
            }
            let end = rest.find('}').ok_or_else(|| broken("an opening brace that is not closed"))?;
            let (name, after) = (&rest[..end], &rest[end + 1..]);
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(resolve(key, name, axes)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Returns the text if it has no placeholder.
    pub fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Tells whether it shows a column of the axis number `axis`.
    pub fn uses_column(&self, axis: usize) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Axis(at, Field::Column(_)) if *at == axis))
    }
}

/// Finds what the placeholder `name` shows.
fn resolve(key: &str, name: &str, axes: &[Axis]) -> Result<Piece, JobFault> {
    if name == "task" {
        return Ok(Piece::Task);
    }
    let (axis_name, field_name) = name.split_once('.').unwrap_or((name, ""));
    let found = axes.iter().enumerate().filter(|(_, axis)| axis.name == axis_name).find_map(|(number, axis)| {
        let field = fields(&axis.kind).into_iter().find(|(field, _)| field == field_name);
        field.map(|(_, field)| Piece::Axis(number, field))
    });
    found.ok_or_else(|| {
        let known = known(axes);
        let nearest = nearest(name, known.iter().map(String::as_str));
        JobFault::UnknownPlaceholder { key: key.to_owned(), name: name.to_owned(), nearest, known }
    })
}
