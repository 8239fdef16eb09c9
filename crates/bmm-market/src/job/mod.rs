//! Jobs: from a file or from options to a description, and from the description to tasks.

mod axes;
mod build;
mod error;
mod file;
mod glob;
mod index;
pub(crate) mod layout;
mod parse_axes;
mod parse_needs;
mod parse_verify;
mod tasks;
mod template;
#[cfg(test)]
mod tests;
mod toml_reader;
pub(crate) mod units;

pub use build::Job;
pub use error::{JobError, JobFault, Location};
pub use file::{AxisSource, JobFile};
pub use tasks::{Task, Tasks, TasksError};

/// Tells whether `path` is relative and of normal names.
fn is_normal(path: &str) -> bool {
    path.len() <= 4_096
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() <= 255)
}
