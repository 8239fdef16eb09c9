//! Control groups: limits and counters, in the files of version 1 (a hierarchy for each controller) and of version 2 (one for all).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{ContainerError, host};

/// Where the kernel shows control groups.
const ROOT: &str = "/sys/fs/cgroup";
/// Period over which cores are counted, microseconds.
const CPU_PERIOD_MICROS: u64 = 100_000;
/// How long processes that were killed may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which files there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The control groups of this host.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    root: PathBuf,
    pub(super) version: Version,
}

/// What the processes of a group may use together.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupLimits {
    pub memory_bytes: u64,
    pub processes: u64,
    pub cores: u16,
}

/// A controller, a file of its, the name before the number in the file (none where it is alone), and what the number counts.
type Counter = (&'static str, &'static str, &'static str, u64);

impl Groups {
    /// Looks where the kernel shows them.
    pub(super) fn of_host() -> Self {
        Self::at(Path::new(ROOT))
    }

    fn at(root: &Path) -> Self {
        let version = if root.join("cgroup.controllers").is_file() { Version::Two } else { Version::One };
        Self { root: root.to_owned(), version }
    }

    /// Names a controller that limits need and that is not there.
    pub(super) fn lacks(&self) -> Option<&'static str> {
        let there = fs::read_to_string(self.root.join("cgroup.controllers")).unwrap_or_default();
        ["memory", "cpu", "pids"].into_iter().find(|controller| match self.version {
            Version::One => !self.root.join(controller).is_dir(),
            Version::Two => !there.split_whitespace().any(|found| found == *controller),
        })
    }

    /// Returns the folder of a group for a controller.
    fn folder(&self, controller: &str, group: &str) -> PathBuf {
        let group = group.trim_start_matches('/');
        match self.version {
            Version::One => self.root.join(controller).join(group),
            Version::Two => self.root.join(group),
        }
    }

    /// Returns the tops of all hierarchies.
    fn tops(&self) -> Vec<PathBuf> {
        match self.version {
            Version::One => {
                fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
            }
            Version::Two => vec![self.root.clone()],
        }
    }

    /// Makes a group for a task, whose containers' groups are made below it; without limits where those carry them.
    pub(super) fn make(&self, name: &str, limits: Option<GroupLimits>) -> Result<(), ContainerError> {
        if self.version == Version::Two {
            // A group has the files of the controllers that the one above passes on.
            let path = self.root.join("cgroup.subtree_control");
            fs::write(&path, "+cpu +memory +pids").map_err(host("pass on the controllers", &path))?;
        }
        for controller in ["memory", "cpu", "cpuacct", "pids"] {
            let group = self.folder(controller, name);
            fs::create_dir_all(&group).map_err(host("make the control group", &group))?;
        }
        let Some(limits) = limits else { return Ok(()) };
        let (memory, processes) = (limits.memory_bytes.to_string(), limits.processes.to_string());
        let quota = (CPU_PERIOD_MICROS * u64::from(limits.cores.max(1))).to_string();
        let period = CPU_PERIOD_MICROS.to_string();
        let files = match self.version {
            Version::One => vec![
                ("memory", "memory.limit_in_bytes", memory.clone()),
                ("memory", "memory.memsw.limit_in_bytes", memory),
                ("cpu", "cpu.cfs_period_us", period),
                ("cpu", "cpu.cfs_quota_us", quota),
                ("pids", "pids.max", processes),
            ],
            Version::Two => vec![
                ("memory", "memory.max", memory),
                ("memory", "memory.swap.max", "0".to_owned()),
                ("cpu", "cpu.max", format!("{quota} {period}")),
                ("pids", "pids.max", processes),
            ],
        };
        for (controller, file, value) in files {
            let path = self.folder(controller, name).join(file);
            // Kernels without accounting of swap lack its file.
            if !file.contains("sw") || path.exists() {
                fs::write(&path, value).map_err(host("write the limit", &path))?;
            }
        }
        Ok(())
    }

    /// Ends and removes a group in every hierarchy.
    pub(super) fn end(&self, name: &str) {
        self.tops().iter().map(|top| top.join(name)).filter(|group| group.is_dir()).for_each(|group| end(&group));
    }

    /// Ends and removes all groups whose names begin so.
    pub(super) fn end_all(&self, prefix: &str) {
        for top in self.tops() {
            for group in fs::read_dir(top).into_iter().flatten().flatten() {
                if group.file_name().to_string_lossy().starts_with(prefix) {
                    end(&group.path());
                }
            }
        }
    }

    /// Returns the time on cores of a group and those below it, nanoseconds.
    pub(super) fn nanos(&self, group: &str) -> u64 {
        self.read(group, self.pick(("cpuacct", "cpuacct.usage", "", 1), ("cpu", "cpu.stat", "usage_usec ", 1_000)))
    }

    /// Returns the largest use of memory of a group and those below it, bytes.
    pub(super) fn peak_bytes(&self, group: &str) -> u64 {
        let one = ("memory", "memory.max_usage_in_bytes", "", 1);
        self.read(group, self.pick(one, ("memory", "memory.peak", "", 1)))
    }

    /// Whether a process was ended for want of memory in a group or directly below it.
    pub(super) fn lacked_memory(&self, group: &str) -> bool {
        let one = ("memory", "memory.oom_control", "oom_kill ", 1);
        self.any(group, self.pick(one, ("memory", "memory.events", "oom_kill ", 1)))
    }

    /// Whether no further process could be made in a group or directly below it.
    pub(super) fn lacked_processes(&self, group: &str) -> bool {
        self.any(group, ("pids", "pids.events", "max ", 1))
    }

    /// Returns the numbers of the processes that are in a group itself.
    pub(super) fn members(&self, group: &str) -> Vec<u32> {
        let text = fs::read_to_string(self.folder("pids", group).join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Returns the names of the groups directly below one.
    pub(super) fn below(&self, group: &str) -> Vec<String> {
        let below = fs::read_dir(self.folder("memory", group)).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.path().is_dir());
        below.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Returns the group of a process, if it is one whose counters can be read and not the one at the top.
    pub(super) fn of_process(&self, id: i64) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{id}/cgroup")).ok()?;
        let group = self.named_in(&text)?;
        (self.nanos(&group) > 0).then_some(group)
    }

    /// Reads a group from what the kernel says of a process.
    fn named_in(&self, text: &str) -> Option<String> {
        let group = text.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let wanted = match self.version {
                Version::One => controllers.split(',').any(|controller| controller == "memory"),
                Version::Two => controllers.is_empty(),
            };
            wanted.then_some(path)
        });
        group.filter(|path| path.len() > 1 && !path.contains("..")).map(str::to_owned)
    }

    fn pick(&self, one: Counter, two: Counter) -> Counter {
        if self.version == Version::One { one } else { two }
    }

    /// Returns one of the kernel's counters, 0 where it is not there.
    fn read(&self, group: &str, (controller, file, field, unit): Counter) -> u64 {
        let text = fs::read_to_string(self.folder(controller, group).join(file)).unwrap_or_default();
        let number = text.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
        number.and_then(|number| number.parse::<u64>().ok()).map_or(0, |number| number.saturating_mul(unit))
    }

    fn any(&self, group: &str, counter: Counter) -> bool {
        let below = self.below(group).into_iter().map(|name| format!("{group}/{name}"));
        below.chain([group.to_owned()]).any(|group| self.read(&group, counter) > 0)
    }
}

/// Kills what is in a control group and those below it until they are empty, and removes them.
fn end(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        end(&below.path());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let ids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for id in ids.lines().filter(|id| *id != "0") {
            let _ = Command::new("kill").args(["-9", id]).stderr(Stdio::null()).status();
        }
        if fs::remove_dir(group).is_ok() || !group.exists() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GroupLimits = GroupLimits { memory_bytes: 64 << 20, processes: 256, cores: 2 };

    /// A tree of files such as the kernel shows; what it makes by itself in a new group is not there.
    fn tree(version: Version) -> (tempfile::TempDir, Groups) {
        let folder = tempfile::tempdir().expect("a folder");
        match version {
            Version::One => ["memory", "cpu", "cpuacct", "pids", "unified"]
                .iter()
                .for_each(|name| fs::create_dir(folder.path().join(name)).expect("a folder")),
            Version::Two => {
                fs::write(folder.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").expect("a file");
            }
        }
        let groups = Groups::at(folder.path());
        assert_eq!((groups.version, groups.lacks()), (version, None));
        (folder, groups)
    }

    fn read(folder: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(folder.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn write(folder: &tempfile::TempDir, path: &str, text: &str) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn limits_go_to_the_files_of_each_version() {
        let (folder, groups) = tree(Version::One);
        groups.make("task", Some(LIMITS)).expect("made");
        assert_eq!(read(&folder, "memory/task/memory.limit_in_bytes"), "67108864");
        assert!(!folder.path().join("memory/task/memory.memsw.limit_in_bytes").exists(), "a kernel without swap");
        assert_eq!(read(&folder, "cpu/task/cpu.cfs_quota_us"), "200000");
        assert_eq!(read(&folder, "pids/task/pids.max"), "256");

        let (folder, groups) = tree(Version::Two);
        write(&folder, "task/memory.swap.max", "max");
        groups.make("task", Some(LIMITS)).expect("made");
        assert_eq!(read(&folder, "cgroup.subtree_control"), "+cpu +memory +pids");
        assert_eq!(read(&folder, "task/memory.max"), "67108864");
        assert_eq!(read(&folder, "task/memory.swap.max"), "0");
        assert_eq!(read(&folder, "task/cpu.max"), "200000 100000");
        assert_eq!(read(&folder, "task/pids.max"), "256");
    }

    #[test]
    fn counters_are_read_from_the_files_of_each_version() {
        let (folder, groups) = tree(Version::One);
        write(&folder, "cpuacct/task/cpuacct.usage", "1234\n");
        write(&folder, "memory/task/memory.max_usage_in_bytes", "5678\n");
        write(&folder, "memory/task/0/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        write(&folder, "pids/task/0/pids.events", "max 3\n");
        assert_eq!((groups.nanos("task"), groups.peak_bytes("task")), (1_234, 5_678));
        assert!(groups.lacked_memory("task") && groups.lacked_processes("task"));

        let (folder, groups) = tree(Version::Two);
        write(&folder, "task/cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n");
        write(&folder, "task/memory.peak", "5678\n");
        write(&folder, "task/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n");
        write(&folder, "task/pids.events", "max 0\n");
        write(&folder, "task/cgroup.procs", "7\n9\n");
        assert_eq!((groups.nanos("/task"), groups.peak_bytes("task")), (1_234_000, 5_678));
        assert!(!groups.lacked_memory("task") && !groups.lacked_processes("task"));
        write(&folder, "task/0/memory.events", "oom_kill 2\n");
        write(&folder, "task/pids.events", "max 1\n");
        assert!(groups.lacked_memory("task") && groups.lacked_processes("task"));
        assert_eq!((groups.members("task"), groups.below("task")), (vec![7, 9], vec!["0".to_owned()]));
        assert_eq!(groups.nanos("gone"), 0);
    }

    #[test]
    fn the_group_of_a_process_is_that_of_the_version() {
        let text = "4:memory:/one\n2:cpu,cpuacct:/other\n0::/user.slice/two.scope\n";
        assert_eq!(tree(Version::One).1.named_in(text).as_deref(), Some("/one"));
        assert_eq!(tree(Version::Two).1.named_in(text).as_deref(), Some("/user.slice/two.scope"));
        for text in ["", "0::/\n", "0::/../above\n", "nonsense"] {
            assert_eq!(tree(Version::Two).1.named_in(text), None, "{text}");
        }
    }

    #[test]
    fn groups_end_by_name_and_by_prefix() {
        for version in [Version::One, Version::Two] {
            let (folder, groups) = tree(version);
            for name in ["bmm-1-0-task-0", "bmm-1-0-task-1", "other"] {
                groups.make(name, None).expect("made");
            }
            let top = if version == Version::One { folder.path().join("memory") } else { folder.path().to_owned() };
            groups.end("bmm-1-0-task-0");
            assert!(!top.join("bmm-1-0-task-0").exists() && top.join("bmm-1-0-task-1").exists());
            groups.end_all("bmm-1-0-");
            assert!(!top.join("bmm-1-0-task-1").exists() && top.join("other").exists());
        }
    }
}
