//! Runs programs of OCI images in containers: no network, a read-only root, no capabilities.
//!
//! Either by `runc`, or by the container engine (Docker, Podman) that the host's owner names.
//!
//! Containers are native code: unlike wasm tasks, two runs of one task need not give the same bytes or the same work.

mod cdi;
mod compressed;
mod config;
mod engine;
mod groups;
mod image;
mod layer;
mod run;
mod service;
mod state;
mod used;
mod volume;
mod workers;

use std::path::PathBuf;

pub use cdi::{CDI_FOLDERS, Devices};
pub use engine::EngineAddress;
pub use image::{Image, is_image};
pub use service::{Door, Service, ServiceInput, VolumeInput};
pub use state::Containers;
pub use used::used_nanos;

/// What of the machine a container gets.
#[derive(Clone, Debug)]
pub struct Share {
    /// Cores that its processes may keep busy together.
    pub cores: u16,
    /// Devices of the host.
    pub devices: Devices,
    /// Containers of the same image beside the task's own, with one network and one `/out` for all of them.
    pub workers: u16,
}

impl Default for Share {
    /// Gives one core, no devices and no workers.
    fn default() -> Self {
        Self { cores: 1, devices: Devices::default(), workers: 0 }
    }
}

/// User and group outside the container that its root is; nothing on the host belongs to it.
const OUTER_ID: u32 = 1_879_048_192;
/// Users and groups that a container has.
const IDS: u32 = 65_536;
/// Processes and threads that a task may have at once, however little memory it asks for.
const LEAST_PROCESSES: u64 = 256;
/// Memory that a job asks for, for each further process or thread, bytes.
const BYTES_PER_PROCESS: u64 = 4 << 20;
/// Files that a process may have open.
const MAX_OPEN_FILES: u64 = 8_192;

/// Returns how many processes and threads a task with so much memory may have at once.
fn most_processes(memory_bytes: u64) -> u64 {
    (memory_bytes / BYTES_PER_PROCESS).max(LEAST_PROCESSES)
}

/// Says why a container could not be made ready or run; never the outcome of a program that ran.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// This host lacks what containers need.
    #[error("this host cannot run containers: {0}")]
    Unavailable(String),
    /// The image is damaged, hostile, too large or of a form that is not read.
    #[error("the container image is not usable: {0}")]
    Image(String),
    /// A device that tasks are to have is not there, or its specification is not usable.
    #[error("the device cannot be given to tasks: {0}")]
    Devices(String),
    /// The container engine refused or failed.
    #[error("the container engine at {socket} could not {what}: {reason}")]
    Engine {
        /// The engine's socket.
        socket: PathBuf,
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        reason: String,
    },
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
