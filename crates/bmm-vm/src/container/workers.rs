//! The further containers of a task that spans several: same image, inputs and output, on the network of the first.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use super::run::{LOOK, Place, drain};
use bmm_types::market::MAX_WORKERS;

use super::{ContainerError, config, host};
use crate::task::TaskInput;

/// How much of what each worker writes to its standard error is kept, bytes.
const KEPT_BYTES: usize = 2 << 10;

/// The workers that run, in the order of their ranks.
pub(super) struct Workers(Vec<(Child, Option<JoinHandle<Vec<u8>>>)>);

impl Workers {
    /// Starts the workers as soon as the task's own container is there; none if it has ended before.
    pub(super) fn start(place: &Place<'_>, task: &TaskInput<'_>, first: &mut Child) -> Result<Self, ContainerError> {
        let mut workers = Self(Vec::new());
        if place.share.workers == 0 {
            return Ok(workers);
        }
        if place.share.workers > MAX_WORKERS {
            let reason = format!("a task has at most {MAX_WORKERS} workers");
            return Err(ContainerError::Unavailable(reason));
        }
        let Some(network) = network(place, first)? else { return Ok(workers) };
        // Held open here: a path by process number could name another process's network once the first one is gone.
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd()));
        for rank in 1..=place.share.workers {
            let started = || {
                config::write(place, task, rank, Some(&path))?;
                place.start(rank, Stdio::null(), Stdio::null())
            };
            match started() {
                Ok(mut child) => {
                    let stderr = child.stderr.take().map(|pipe| drain(pipe, KEPT_BYTES, None));
                    workers.0.push((child, stderr));
                }
                Err(error) => {
                    workers.finish(place);
                    return Err(error);
                }
            }
        }
        // They join at once, and the file may close when they have.
        for (rank, (child, _)) in (1..).zip(&mut workers.0) {
            while !bundle(place, rank).join("pid").is_file() && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK);
            }
        }
        Ok(workers)
    }

    /// Ends the workers; returns the last that each wrote to its standard error.
    pub(super) fn finish(self, place: &Place<'_>) -> Vec<u8> {
        let mut said = Vec::new();
        for (rank, (mut child, stderr)) in (1..).zip(self.0) {
            let since = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                place.kill(rank);
                if since.elapsed() > LOOK * 400 {
                    let _ = child.kill();
                }
                std::thread::sleep(LOOK);
            }
            let text = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
            if !text.is_empty() {
                said.extend(format!("worker {rank}: ").into_bytes());
                said.extend(text);
                said.push(b'\n');
            }
        }
        said
    }
}

fn bundle(place: &Place<'_>, rank: u16) -> PathBuf {
    place.folder.join(rank.to_string())
}

/// Waits for the first container's process and opens its network; nothing if it has ended before.
fn network(place: &Place<'_>, first: &mut Child) -> Result<Option<File>, ContainerError> {
    let file = bundle(place, 0).join("pid");
    loop {
        let pid = fs::read_to_string(&file).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<u32>() {
            let Ok(network) = File::open(format!("/proc/{pid}/ns/net")) else { return Ok(None) };
            // While the process is in our control group, the number is its own and no other's.
            if !place.image.session.groups.members(&place.container_group(0)).contains(&pid) {
                return Ok(None);
            }
            let own = fs::metadata("/proc/self/ns/net").map_err(host("look at", "/proc/self/ns/net"))?.ino();
            let found = network.metadata().map_err(host("look at the network of", place.container(0)))?.ino();
            if found == own {
                return Err(ContainerError::Unavailable("a container had the host's network".to_owned()));
            }
            return Ok(Some(network));
        }
        if first.try_wait().map_err(host("wait for", "runc"))?.is_some() {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
