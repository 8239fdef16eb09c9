//! What can be wrong with a job, each with its place, its cause and its remedy.

use std::fmt;
use std::path::PathBuf;

use bmm_types::market::MAX_TASKS;

/// A place in a job file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Location {
    /// Finds the place of a byte of `source`.
    pub(super) fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Says what is wrong with a job, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Where in the job file, if it came from one.
    pub at: Option<Location>,
    /// What is wrong.
    pub fault: Box<JobFault>,
}

impl JobError {
    pub(super) fn new(at: Option<Location>, fault: JobFault) -> Self {
        Self { at, fault: Box::new(fault) }
    }

    /// Returns the cause alone, with its place.
    pub fn cause(&self) -> String {
        match self.at {
            Some(at) => format!("{at}: {}", self.fault),
            None => self.fault.to_string(),
        }
    }

    /// Returns the remedy alone.
    pub fn hint(&self) -> String {
        self.fault.hint()
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.hint())
    }
}

impl std::error::Error for JobError {}

/// What is wrong with a job: each variant is one broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobFault {
    /// The file is not TOML.
    #[error("the job file is not valid TOML: {0}")]
    Syntax(String),
    /// A key that does not exist.
    #[error("unknown key `{key}`{}", in_section(.section))]
    UnknownKey {
        /// The key.
        key: String,
        /// The table that it is in; empty for the top.
        section: String,
        /// The valid key that looks most like it.
        nearest: Option<String>,
        /// All valid keys.
        known: Vec<String>,
    },
    /// A key that is needed.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: String,
        /// A correct line.
        example: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` is {found}, but {expected} is expected")]
    WrongType {
        /// The key.
        key: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
        /// A correct line.
        example: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("`{key}` is {value:?}: {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What to write.
        example: String,
    },
    /// Something that a later version will do.
    #[error("`{key}` is {value:?}, which this build cannot do yet")]
    Unsupported {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What to do until then.
        remedy: &'static str,
    },
    /// A file that cannot be read.
    #[error("`{key}` names {}, which cannot be read: {reason}", .path.display())]
    Unreadable {
        /// The key.
        key: String,
        /// The file, as it was looked for.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A program that is no WebAssembly.
    #[error("`{key}` names {}, which is not a WebAssembly module: {found}", .path.display())]
    NotWasm {
        /// The key.
        key: String,
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
    /// A placeholder that names nothing.
    #[error("`{key}` has the placeholder {{{name}}}, which does not exist")]
    UnknownPlaceholder {
        /// The key that holds the template.
        key: String,
        /// The placeholder.
        name: String,
        /// The placeholder that looks most like it.
        nearest: Option<String>,
        /// All placeholders of this job.
        known: Vec<String>,
    },
    /// A template whose braces do not match.
    #[error("`{key}` has {reason} in {text:?}")]
    Template {
        /// The key that holds the template.
        key: String,
        /// The template.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// More tasks than a job may have.
    #[error("the split makes more than {MAX_TASKS} tasks")]
    TooManyTasks,
}

fn in_section(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

impl JobFault {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        let list = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let did_you_mean = |nearest: &Option<String>| {
            nearest.as_ref().map(|name| format!("did you mean `{name}`? ")).unwrap_or_default()
        };
        match self {
            Self::Syntax(_) => "see https://toml.io for the format".to_owned(),
            Self::UnknownKey { nearest, known, .. } => {
                format!("{}valid here: {}", did_you_mean(nearest), list(known))
            }
            Self::Missing { example, .. } => format!("add for example: {example}"),
            Self::WrongType { example, .. } => format!("write for example: {example}"),
            Self::BadValue { example, .. } => example.clone(),
            Self::Unsupported { remedy, .. } => (*remedy).to_owned(),
            Self::Unreadable { .. } => {
                "paths are relative to the job file's folder; check the spelling and the rights".to_owned()
            }
            Self::NotWasm { .. } => {
                "compile the program for wasm32-wasip1 or wasm32-wasip2 and name the .wasm file".to_owned()
            }
            Self::UnknownPlaceholder { nearest, known, .. } if known.is_empty() => {
                format!("{}this job has no placeholders; write {{{{ and }}}} for braces", did_you_mean(nearest))
            }
            Self::UnknownPlaceholder { nearest, known, .. } => {
                format!("{}known here: {}; write {{{{ and }}}} for braces", did_you_mean(nearest), list(known))
            }
            Self::Template { .. } => "placeholders look like {rows.start}; write {{ and }} for braces".to_owned(),
            Self::TooManyTasks => "use larger chunks".to_owned(),
        }
    }
}

/// Finds the name that looks most like `text`, if one is close enough to be a slip of the pen.
pub(super) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let folded = text.to_ascii_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(folded.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name.to_owned())
}
