//! A container engine of a test's own, with everything of it in one folder.
#![expect(clippy::print_stderr, reason = "it says why it is skipped")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bmm_vm::container::{Containers, Devices, EngineAddress, Image};

use crate::containers::archive;

/// What a Podman needs that runs without systemd, and whose user may not raise limits.
const SETTINGS: &str = "[engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\nevents_logger = \"none\"\n\
    lock_type = \"file\"\n[containers]\ndefault_ulimits = [\"nofile=8192:8192\", \"nproc=8192:8192\"]\n";

/// An engine that runs for a test.
pub struct Served {
    service: Child,
    pub folder: PathBuf,
}

impl Served {
    /// Starts Podman. With `namespaces` it has users for user namespaces, by lines in `/etc/subuid` that it alone sees.
    pub fn podman(namespaces: bool) -> Option<Self> {
        let folder = folder("podman")?;
        std::fs::write(folder.join("containers.conf"), SETTINGS).expect("written");
        let mut command = Command::new("sh");
        let mut script = String::from("exec \"$@\"");
        if namespaces {
            let file = folder.join("subid").display().to_string();
            std::fs::write(&file, "containers:1000000000:1048576\n").expect("written");
            script = format!("mount --bind {file} /etc/subuid && mount --bind {file} /etc/subgid && exec \"$@\"");
            command = Command::new("unshare");
            command.args(["--mount", "--propagation", "slave", "sh"]);
        }
        let at = |name: &str| folder.join(name).display().to_string();
        command.args(["-c", &script, "sh", "podman", "--root", &at("root"), "--runroot", &at("run")]);
        command.args(["--tmpdir", &at("tmp"), "system", "service", "--time=0", &address(&folder)]);
        command.env("CONTAINERS_CONF", folder.join("containers.conf"));
        Some(Self::start(command, folder))
    }

    /// Starts Docker.
    pub fn docker() -> Option<Self> {
        let folder = folder("dockerd")?;
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args(["--data-root", &at("root"), "--exec-root", &at("run"), "--pidfile", &at("pid")]);
        command.args(["--host", &address(&folder), "--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.arg("--exec-opt=native.cgroupdriver=cgroupfs");
        Some(Self::start(command, folder))
    }

    fn start(mut command: Command, folder: PathBuf) -> Self {
        // A service with mounts of its own must see those that tasks get.
        let state = folder.join("state").display().to_string();
        let shared = format!("mkdir {state} && mount --bind {state} {state} && mount --make-shared {state}");
        assert!(Command::new("sh").args(["-c", &shared]).status().expect("a shell").success());
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        // Its helpers write into the folder in which they are started.
        command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let served = Self { service: command.spawn().expect("it starts"), folder };
        let until = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(served.folder.join("podman.sock")).is_err() {
            let log = || std::fs::read_to_string(served.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the engine does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    pub fn open(&self) -> Containers {
        let address: EngineAddress = address(&self.folder).parse().expect("an address");
        let state = self.folder.join("state");
        Containers::open_engine(&state, 1_000_000_000, Devices::default(), &address).expect("the engine answers")
    }

    pub fn shell(&self) -> (Containers, Arc<Image>) {
        let containers = self.open();
        let image = containers.prepare(&shell_archive()).expect("the image is sound");
        (containers, image)
    }

    /// Lists the engine's containers and images, and mounts and control groups of the tasks.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for list in ["containers/json?all=1", "images/json"] {
            let mut stream = UnixStream::connect(self.folder.join("podman.sock")).expect("it answers");
            write!(stream, "GET /v1.41/{list} HTTP/1.0\r\nHost: engine\r\n\r\n").expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("text");
            assert!(text.contains(" 200 OK"), "{text}");
            left.extend(text.split("\"Id\":").skip(1).map(|found| format!("{list}: {}", &found[..20])));
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let state = format!("{}/state/", self.folder.display());
        left.extend(mounts.lines().filter(|line| line.contains(&state)).map(str::to_owned));
        left.extend(crate::containers::left());
        left
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let id = self.service.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let until = Instant::now() + Duration::from_secs(20);
        while matches!(self.service.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.service.kill();
        let _ = self.service.wait();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for at in places.filter(|at| Path::new(at).starts_with(&self.folder)) {
            let _ = Command::new("umount").args(["-l", at]).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Makes a folder for an engine, or says why there can be none.
fn folder(program: &str) -> Option<PathBuf> {
    let able = Path::new("/sys/fs/cgroup/pids").is_dir() && Path::new("/bin/busybox").exists() && is_root();
    let there = Command::new(program).arg("--version").output().is_ok_and(|told| told.status.success());
    if there && able {
        return Some(tempfile::Builder::new().prefix("bmm-engine-").tempdir().expect("a folder").keep());
    }
    eprintln!("skipped: this takes {program}, root, busybox-static and control groups of version 1");
    None
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

pub fn address(folder: &Path) -> String {
    format!("unix://{}/podman.sock", folder.display())
}

pub fn shell_archive() -> Vec<u8> {
    archive(&std::fs::read("/bin/busybox").expect("busybox is there"))
}
