//! Runs programs of OCI images in containers of `runc`: no network, a read-only root, no capabilities, a user namespace.
//!
//! Containers are native code: unlike wasm tasks, two runs of one task need not give the same bytes or the same work.

mod config;
mod image;
mod layer;
mod run;
mod state;

use std::path::PathBuf;

pub use image::{Image, is_image};
pub use state::Containers;

/// User and group outside the container that its root is; nothing on the host belongs to it.
const OUTER_ID: u32 = 1_879_048_192;
/// Users and groups that a container has.
const IDS: u32 = 65_536;
/// Processes and threads that a task may have at once.
const MAX_PROCESSES: u64 = 256;
/// Work of one core-second at the reference speed, in units of fuel.
pub const FUEL_PER_CORE_SECOND: u64 = 1_000_000_000;

/// Says why a container could not be made ready or run; never the outcome of a program that ran.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// This host lacks what containers need.
    #[error("this host cannot run containers: {0}")]
    Unavailable(String),
    /// The image is damaged, hostile, too large or of a form that is not read.
    #[error("the container image is not usable: {0}")]
    Image(String),
    /// A file, folder or program of the host failed.
    #[error("the container could not be run: {what} ({path}): {reason}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// The file, folder or program.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
}

/// Makes an error of what the operating system said about a path.
fn host(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ContainerError {
    let path = path.into();
    move |error| ContainerError::Host { what, path, reason: error.to_string() }
}
