//! What a container uses: by the counters of its control group where they are ours to read, else as the engine tells.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptions;
use futures::StreamExt;
use parking_lot::Mutex;

use crate::container::{ContainerError, host, state};

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
pub(super) enum Meter {
    /// A control group of ours that the container's is below: its sum stays when the container is gone.
    Group(String, Seen),
    /// The engine's word, asked for beside.
    Asked(Arc<Mutex<Seen>>, tokio::task::JoinHandle<()>),
}

impl Meter {
    /// Begins to look at a container that was started.
    pub(super) fn begin(docker: &Docker, id: &str, group: Option<&str>, most_processes: u64) -> Self {
        if let Some(group) = group {
            return Self::Group(group.to_owned(), Seen::default());
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let asking = ask(docker.clone(), id.to_owned(), Arc::clone(&seen), most_processes);
        Self::Asked(seen, tokio::spawn(asking))
    }

    /// Returns what has been seen up to now.
    pub(super) fn look(&mut self) -> Seen {
        match self {
            Self::Group(group, seen) => {
                look_at(group, seen);
                *seen
            }
            Self::Asked(seen, _) => *seen.lock(),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Self::Asked(_, asking) = self {
            asking.abort();
        }
    }
}

/// Makes a control group without limits, which the engine sets on what is below.
pub(super) fn make_group(name: &str) -> Result<(), ContainerError> {
    for hierarchy in ["memory", "cpu", "cpuacct", "pids"] {
        let group = Path::new(state::CGROUPS).join(hierarchy).join(name);
        std::fs::create_dir_all(&group).map_err(host("make the control group", &group))?;
    }
    Ok(())
}

fn look_at(group: &str, seen: &mut Seen) {
    let time = |group: &str| state::counter("cpuacct", group, "cpuacct.usage", None);
    seen.nanos = seen.nanos.max(time(group).saturating_sub(time(&format!("{group}/{HELPER}"))));
    // Counted for the container's own group, which goes with it.
    for own in state::groups_below("memory", group).filter(|own| own != HELPER) {
        let own = format!("{group}/{own}");
        let peak = state::counter("memory", &own, "memory.max_usage_in_bytes", None);
        seen.peak_bytes = seen.peak_bytes.max(peak);
        seen.lacked_memory |= state::counter("memory", &own, "memory.oom_control", Some("oom_kill ")) > 0;
        seen.lacked_processes |= state::counter("pids", &own, "pids.events", Some("max ")) > 0;
    }
    if seen.peak_bytes == 0 {
        seen.peak_bytes = state::counter("memory", group, "memory.max_usage_in_bytes", None);
    }
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
