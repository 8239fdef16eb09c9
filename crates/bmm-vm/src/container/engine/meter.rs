//! What a container uses: by the counters of its control group where they are ours to read, else as the engine tells.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptions;
use futures::StreamExt;
use parking_lot::Mutex;

use crate::container::{groups::Groups, used::Used};

/// How often the engine is asked; it takes some milliseconds itself.
const ASK: Duration = Duration::from_millis(100);
/// Name of the group that Podman makes for its own helper beside a container's.
const HELPER: &str = "conmon";

/// What has been seen of a container's use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Time on cores, nanoseconds.
    pub nanos: u64,
    /// Largest use of memory, bytes.
    pub peak_bytes: u64,
    /// A process was ended for want of memory.
    pub lacked_memory: bool,
    /// No further process could be made, or there were as many as there may be.
    pub lacked_processes: bool,
}

/// Looks at what a container uses.
pub(super) struct Meter {
    how: How,
    used: Used,
}

enum How {
    /// Control groups whose counters can be read.
    Read(Groups, Place, Seen),
    /// The engine's word, asked for beside.
    Asked(Arc<Mutex<Seen>>, tokio::task::JoinHandle<()>),
}

/// Which group is a container's.
pub(super) enum Place {
    /// One below this, which is ours: its sum stays when the container is gone.
    Below(String),
    /// This one, which goes with the container.
    Own(String),
}

impl Meter {
    /// Begins to read the counters of a group.
    pub(super) fn read(groups: &Groups, place: Place) -> Self {
        Self { how: How::Read(groups.clone(), place, Seen::default()), used: Used::default() }
    }

    /// Begins to ask the engine about a container that was started.
    pub(super) fn ask(docker: &Docker, id: &str, most_processes: u64) -> Self {
        let seen = Arc::default();
        let asking = ask(docker.clone(), id.to_owned(), Arc::clone(&seen), most_processes);
        Self { how: How::Asked(seen, tokio::spawn(asking)), used: Used::default() }
    }

    /// Returns what has been seen up to now.
    pub(super) fn look(&mut self) -> Seen {
        let seen = self.how.look();
        self.used.see(seen.nanos);
        seen
    }
}

impl How {
    fn look(&mut self) -> Seen {
        match self {
            Self::Read(groups, Place::Own(group), seen) => {
                seen.nanos = seen.nanos.max(groups.nanos(group));
                look_at(groups, group, seen);
                *seen
            }
            Self::Read(groups, Place::Below(group), seen) => {
                let helper = groups.nanos(&format!("{group}/{HELPER}"));
                seen.nanos = seen.nanos.max(groups.nanos(group).saturating_sub(helper));
                // These are counted for the container's own group, which goes with it.
                for own in groups.below(group).iter().filter(|own| *own != HELPER) {
                    look_at(groups, &format!("{group}/{own}"), seen);
                }
                if seen.peak_bytes == 0 {
                    seen.peak_bytes = groups.peak_bytes(group);
                }
                *seen
            }
            Self::Asked(seen, _) => *seen.lock(),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let How::Asked(_, asking) = &self.how {
            asking.abort();
        }
    }
}

fn look_at(groups: &Groups, group: &str, seen: &mut Seen) {
    seen.peak_bytes = seen.peak_bytes.max(groups.peak_bytes(group));
    seen.lacked_memory |= groups.lacked_memory(group);
    seen.lacked_processes |= groups.lacked_processes(group);
}

/// Asks again and again, until the container is gone.
async fn ask(docker: Docker, id: String, seen: Arc<Mutex<Seen>>, most_processes: u64) {
    loop {
        let once = StatsOptions { stream: false, one_shot: true };
        let told = Box::pin(docker.stats(&id, Some(once))).next().await;
        let Some(Ok(told)) = told else { return };
        note(&mut seen.lock(), &told, most_processes);
        tokio::time::sleep(ASK).await;
    }
}

fn note(seen: &mut Seen, told: &ContainerStatsResponse, most_processes: u64) {
    let time = told.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    seen.nanos = seen.nanos.max(time.unwrap_or(0));
    let memory = told.memory_stats.as_ref().and_then(|memory| memory.max_usage.max(memory.usage));
    seen.peak_bytes = seen.peak_bytes.max(memory.unwrap_or(0));
    let processes = told.pids_stats.as_ref().and_then(|pids| pids.current);
    seen.lacked_processes |= processes.is_some_and(|count| count >= most_processes);
}
