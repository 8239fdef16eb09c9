//! Runs a program of an image without an end: a volume that can be copied, a door to its ports, its log, restarts.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use super::config::{Subject, describe};
use super::run::{runc, runc_run};
use super::used::Used;
use super::{ContainerError, Image, OUTER_ID, Share, host, layer, state, volume};
use crate::task::{Limits, TaskInput};

/// How long a container may take to begin.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a program has to end by itself when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often something is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Log that waits to be taken, bytes; what is older goes.
const LOG_BYTES: usize = 256 << 10;
/// Files and folders of a volume.
const VOLUME_FILES: u64 = 65_536;

/// The part of the file system that outlives the program.
#[derive(Clone, Copy, Debug)]
pub struct VolumeInput<'a> {
    /// Where the program sees it.
    pub path: &'a str,
    /// Most that it holds, bytes. It lies in memory.
    pub size_bytes: u64,
}

/// Describes a service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceInput<'a> {
    /// Arguments after those of the image.
    pub args: &'a [String],
    /// Environment beside that of the image.
    pub env: &'a [(String, String)],
    /// Memory of the program, bytes; the volume's comes on top.
    pub memory_bytes: u64,
    /// The volume, if there is one.
    pub volume: Option<VolumeInput<'a>>,
}

/// A way to the ports of a running service; nobody else has one, as its network is connected to nothing.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<Mutex<Option<Arc<File>>>>);

impl Door {
    /// Connects with a port of the service's own loopback.
    pub fn connect(&self, port: u16, patience: Duration) -> std::io::Result<TcpStream> {
        let space = self.0.lock().clone();
        let space = space.ok_or_else(|| std::io::Error::other("the service does not run"))?;
        // The thread ends with the connection made: no other one ever is in that namespace.
        let connect = move || {
            nix::sched::setns(space, nix::sched::CloneFlags::CLONE_NEWNET)?;
            TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), patience)
        };
        let thread = std::thread::Builder::new().name("bmm-door".to_owned()).spawn(connect)?;
        thread.join().map_err(|_| std::io::Error::other("the thread failed"))?
    }
}

/// A service on this host. Dropping it ends it, and removes everything of it.
#[derive(Debug)]
pub struct Service {
    image: Arc<Image>,
    folder: PathBuf,
    name: String,
    child: Option<Child>,
    door: Door,
    log: Arc<Mutex<VecDeque<u8>>>,
    volume_bytes: Option<u64>,
    used: Used,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.delete();
        self.image.session.groups.end(&self.name);
        state::unmount(&self.folder.join("volume"));
        // What stays is swept with the session.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Service {
    /// Lays a service of `image` out, with the volume as `snapshot` has it; it does not run yet.
    pub fn lay_out(
        image: Arc<Image>,
        input: &ServiceInput<'_>,
        snapshot: Option<&[u8]>,
    ) -> Result<Self, ContainerError> {
        image.session.needs_runc("services")?;
        let name = image.session.name("service");
        let folder = image.session.folder.join(&name);
        let volume_bytes = input.volume.map(|volume| volume.size_bytes);
        let (door, log) = (Door::default(), Arc::default());
        let service = Self { image, folder, name, child: None, door, log, volume_bytes, used: Used::default() };
        let folder = &service.folder;
        fs::DirBuilder::new().mode(0o755).create(folder).map_err(host("make the folder", folder))?;
        if let Some(volume) = input.volume {
            service.make_volume(volume, snapshot)?;
        }
        let config = service.describe(input)?.to_string();
        fs::write(folder.join("config.json"), config).map_err(host("write the file", folder))?;
        Ok(service)
    }

    fn make_volume(&self, input: VolumeInput<'_>, snapshot: Option<&[u8]>) -> Result<(), ContainerError> {
        let at = self.folder.join("volume");
        fs::DirBuilder::new().mode(0o755).create(&at).map_err(host("make the folder", &at))?;
        state::mount_memory(&at, input.size_bytes, VOLUME_FILES)?;
        if let Some(bytes) = snapshot {
            volume::restore(&at, bytes, OUTER_ID)?;
        }
        // The root is read-only for the runtime as well, which would have to make the place.
        let inside = layer::place(&self.image.root, Path::new(input.path))?;
        let inside = inside.ok_or_else(|| ContainerError::Image("the volume cannot be the root".to_owned()))?;
        match fs::symlink_metadata(&inside) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(ContainerError::Image(format!("{} is no folder in the image", input.path))),
            Err(_) => fs::create_dir(&inside).map_err(host("make the folder", &inside)),
        }
    }

    fn describe(&self, input: &ServiceInput<'_>) -> Result<serde_json::Value, ContainerError> {
        let memory_bytes = input.memory_bytes.saturating_add(self.volume_bytes.unwrap_or(0));
        let limits = Limits { memory_bytes, ..Limits::default() };
        let task = TaskInput { args: input.args, env: input.env, limits, ..TaskInput::new() };
        let share = Share::default();
        let subject = Subject { image: &self.image, folder: &self.folder, name: &self.name, share: &share };
        self.image.session.make_group(&self.name, &task, &share)?;
        let mut config = describe(&subject, &task, 0, None)?;
        if let Some(mounts) = config["mounts"].as_array_mut() {
            // A service has neither inputs nor outputs.
            mounts.retain(|mount| mount["destination"] != "/in" && mount["destination"] != "/out");
            if let Some(volume) = input.volume {
                mounts.push(json!({ "destination": volume.path, "type": "bind", "source": self.folder.join("volume"),
                    "options": ["bind", "rw", "nosuid", "nodev", "noexec"] }));
            }
        }
        Ok(config)
    }

    /// Starts the program, again if it has run before; the volume is as it was left.
    pub fn start(&mut self) -> Result<(), ContainerError> {
        self.delete();
        let mark = self.folder.join("pid");
        let _ = fs::remove_file(&mark);
        let mut command = runc_run(&self.image, &self.folder, &self.name);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(host("start", "runc"))?;
        if let Some(pipe) = child.stdout.take() {
            keep_log(pipe, &self.log);
        }
        if let Some(pipe) = child.stderr.take() {
            keep_log(pipe, &self.log);
        }
        self.child = Some(child);
        let until = Instant::now() + START_PATIENCE;
        loop {
            let pid = fs::read_to_string(&mark).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse::<u32>() {
                self.open_door(pid);
                return Ok(());
            }
            if !self.is_running() || Instant::now() >= until {
                let reason = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(ContainerError::Host { what: "start", path: "runc".into(), reason });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Holds on to the namespace of the program's network, so that its number may be used again by others.
    fn open_door(&self, pid: u32) {
        // It may have ended already, as programs do; then there is no door.
        let Ok(space) = File::open(format!("/proc/{pid}/ns/net")) else { return };
        // While the process is in our control group, the number is its own and no other's.
        let is_ours = self.image.session.groups.members(&format!("{}/0", self.name)).contains(&pid);
        let inode = |found: std::io::Result<fs::Metadata>| found.map(|found| found.ino()).ok();
        if is_ours && inode(space.metadata()) != inode(fs::metadata("/proc/self/ns/net")) {
            *self.door.0.lock() = Some(Arc::new(space));
        }
    }

    /// Whether the program runs.
    pub fn is_running(&mut self) -> bool {
        self.used.see(self.image.session.groups.nanos(&self.name));
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Returns the way to its ports; it stays the same over restarts.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Takes what the program has written since the last time.
    pub fn take_log(&self) -> Vec<u8> {
        self.log.lock().drain(..).collect()
    }

    /// Runs a program inside beside the service; whether it ended well within `patience`.
    pub fn probe(&self, command: &[String], patience: Duration) -> bool {
        let mut exec = runc(&self.image);
        exec.arg("exec").arg(&self.name).args(command).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = exec.spawn() else { return false };
        let until = Instant::now() + patience;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return false;
                }
            }
        }
    }

    /// Copies the volume as a tar archive, the program standing still meanwhile; `None` without a volume.
    pub fn snapshot(&mut self) -> Result<Option<Vec<u8>>, ContainerError> {
        let Some(limit) = self.volume_bytes else { return Ok(None) };
        let running = self.is_running();
        if running {
            self.command(&["pause", &self.name])?;
        }
        let copied = volume::save(&self.folder.join("volume"), limit);
        if running {
            self.command(&["resume", &self.name])?;
        }
        copied.map(Some)
    }

    fn command(&self, args: &[&str]) -> Result<(), ContainerError> {
        let done = runc(&self.image).args(args).output().map_err(host("start", "runc"))?;
        if done.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(ContainerError::Host { what: "command", path: "runc".into(), reason })
    }

    /// Asks the program to end, and ends it if it does not.
    pub fn stop(&mut self) {
        if self.is_running() {
            let _ = self.command(&["kill", &self.name, "TERM"]);
            let until = Instant::now() + STOP_PATIENCE;
            while self.is_running() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }
        self.delete();
    }

    fn delete(&mut self) {
        *self.door.0.lock() = None;
        let Some(mut child) = self.child.take() else { return };
        let mut delete = runc(&self.image);
        let _ = delete.args(["delete", "--force", &self.name]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !matches!(child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(LOOK * 10);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a pipe to its end into a log of bounded length.
fn keep_log(mut pipe: impl Read + Send + 'static, log: &Arc<Mutex<VecDeque<u8>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut part = [0; 16 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut part) {
            let mut log = log.lock();
            log.extend(&part[..count]);
            let over = log.len().saturating_sub(LOG_BYTES);
            drop(log.drain(..over));
        }
    });
}
