//! The description of one container for the OCI runtime.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::run::Place;
use super::{ContainerError, IDS, Image, MAX_OPEN_FILES, OUTER_ID, Share, host};
use crate::task::TaskInput;

/// System calls that no task needs and that reach deep into the kernel.
pub(super) const DENIED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mknod",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
];

/// Writes the runtime's `config.json` of one of a task's containers; `network` is the name space that it joins, if any.
///
/// # Errors
/// A device of the task's share that is not there any more, or a file that cannot be written.
pub(super) fn write(
    place: &Place<'_>,
    task: &TaskInput<'_>,
    rank: u16,
    network: Option<&Path>,
) -> Result<(), ContainerError> {
    let bundle = place.folder.join(rank.to_string());
    fs::create_dir_all(&bundle).map_err(host("make the folder", &bundle))?;
    let subject = Subject { image: place.image, folder: &place.folder, name: &place.name, share: place.share };
    let text = describe(&subject, task, rank, network)?.to_string();
    fs::write(bundle.join("config.json"), text).map_err(host("write the file", &bundle))
}

/// Whose container it is.
pub(super) struct Subject<'a> {
    pub image: &'a Image,
    pub folder: &'a Path,
    pub name: &'a str,
    pub share: &'a Share,
}

/// Returns the environment of one of a task's containers.
pub(super) fn environment(image: &Image, task: &TaskInput<'_>, share: &Share, rank: u16) -> Vec<String> {
    let mut env = image.env.clone();
    let seed = task.seed.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    env.extend([
        format!("BMM_SEED={seed}"),
        format!("BMM_CORES={}", share.cores.max(1)),
        format!("BMM_RANK={rank}"),
        format!("BMM_WORKERS={}", share.workers),
    ]);
    env.extend(task.env.iter().map(|(name, value)| format!("{name}={value}")));
    env
}

/// Describes one of a task's containers.
pub(super) fn describe(
    place: &Subject<'_>,
    task: &TaskInput<'_>,
    rank: u16,
    network: Option<&Path>,
) -> Result<Value, ContainerError> {
    let (image, folder, share) = (place.image, place.folder, place.share);
    let args: Vec<&String> = image.command.iter().chain(task.args).collect();
    let env = environment(image, task, share, rank);
    let memory = i64::try_from(task.limits.memory_bytes).unwrap_or(i64::MAX);
    let ids = json!([{ "containerID": 0, "hostID": OUTER_ID, "size": IDS }]);
    let bind = |to: &str, from: &str, mode: &str| {
        json!({ "destination": to, "type": "bind", "source": folder.join(from),
                "options": ["bind", mode, "nosuid", "nodev", "noexec"] })
    };
    let mut spaces = ["pid", "ipc", "uts", "mount", "user"].map(|kind| json!({ "type": kind })).to_vec();
    spaces.push(network.map_or(json!({ "type": "network" }), |path| json!({ "type": "network", "path": path })));
    let mut config = json!({
        "ociVersion": "1.0.2",
        "hostname": "bmm",
        "root": { "path": image.root, "readonly": true },
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": args, "env": env, "cwd": image.folder,
            "capabilities": { "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] },
            "rlimits": [
                { "type": "RLIMIT_NOFILE", "hard": MAX_OPEN_FILES, "soft": MAX_OPEN_FILES },
                { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 },
            ],
            "noNewPrivileges": true,
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "nodev", "mode=1777", format!("size={memory}")] },
            // Semaphores and shared memory of the C library; part of the task's memory, as what is in /tmp.
            { "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "nodev", "noexec", "mode=1777", format!("size={memory}")] },
            bind("/in", "in", "ro"), bind("/out", "out", "rw"),
        ],
        "linux": {
            // Its parent carries the limits, for all of the task's containers together.
            "cgroupsPath": format!("/{}/{rank}", place.name),
            "uidMappings": ids, "gidMappings": ids,
            "namespaces": spaces,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
                "syscalls": [{ "names": DENIED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
            },
        },
    });
    share.devices.add_to(&mut config)?;
    Ok(config)
}
