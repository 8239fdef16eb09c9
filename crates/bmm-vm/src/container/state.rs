//! The folder that says what runs: each process of ours holds a lock in its own part, and what a dead one left is swept.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::engine::{Engine, EngineAddress};
use super::groups::{GroupLimits, Groups};
use super::{ContainerError, Devices, Image, OUTER_ID, Share, host, image, most_processes};
use crate::task::TaskInput;

/// Runs containers on this host.
#[derive(Debug)]
pub struct Containers {
    session: Arc<Session>,
    devices: Devices,
    images: Mutex<Images>,
}

/// The images that are unpacked, by the SHA-256 of their archive.
#[derive(Debug, Default)]
struct Images {
    used: HashMap<[u8; 32], Weak<Image>>,
    /// Stays for who asks for it next.
    last: Option<Arc<Image>>,
}

/// This process's part of the state folder.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    /// Work of one second of a core, in fuel.
    pub(super) fuel_per_core_second: u64,
    /// Runs the containers in place of `runc`.
    pub(super) engine: Option<Engine>,
    pub(super) groups: Groups,
    /// Held by the task that has the devices.
    pub(super) devices: Mutex<()>,
    next: AtomicU64,
    _lock: File,
}

impl Containers {
    /// Opens a state folder, first removing the containers, mounts, control groups and files of processes that died. What tasks
    /// take is counted as `fuel_per_core_second`: the speed at which this host is rated. `devices` are for tasks that need a GPU.
    ///
    /// # Errors
    /// [`ContainerError::Unavailable`] where the host lacks what containers need.
    pub fn open(root: &Path, fuel_per_core_second: u64, devices: Devices) -> Result<Self, ContainerError> {
        let unavailable = |text: &str| ContainerError::Unavailable(text.to_owned());
        make_root(root)?;
        if fs::metadata(root).map_err(host("look at the folder", root))?.uid() != 0 || !is_root() {
            return Err(unavailable("it takes root; start the provider as root, or offer wasm alone"));
        }
        let version = Command::new("runc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Err(unavailable("`runc` was not found; install it (Debian: apt-get install runc)"));
        }
        if let Some(controller) = Groups::of_host().lacks() {
            return Err(unavailable(&format!("control groups with the controller {controller} were not found")));
        }
        Self::begin(root, fuel_per_core_second, devices, None)
    }

    /// Opens a state folder as [`Self::open`] does, for containers that an engine runs. It takes no root: what it takes then is
    /// the right to use the engine's socket, and a folder of one's own.
    ///
    /// # Errors
    /// [`ContainerError::Unavailable`] if no engine answers there.
    pub fn open_engine(
        root: &Path,
        fuel_per_core_second: u64,
        devices: Devices,
        address: &EngineAddress,
    ) -> Result<Self, ContainerError> {
        let engine = Engine::connect(address)?;
        make_root(root)?;
        let root = root.canonicalize().map_err(host("look at the folder", root))?;
        Self::begin(&root, fuel_per_core_second, devices, Some(engine))
    }

    /// Sweeps what dead processes left, and takes a part of the folder.
    fn begin(
        root: &Path,
        fuel_per_core_second: u64,
        devices: Devices,
        engine: Option<Engine>,
    ) -> Result<Self, ContainerError> {
        let turn = File::create(root.join("lock")).map_err(host("make the file", root))?;
        turn.lock().map_err(host("lock the folder", root))?;
        if let Some(engine) = &engine {
            engine.sweep(|lock| lock.starts_with(root) && !is_held(lock))?;
        }
        sweep(root)?;
        // An engine enters by itself; for `runc`, the users of containers must be able to pass.
        let mode = if engine.is_some() { 0o700 } else { 0o711 };
        for number in 0_u64.. {
            let name = format!("bmm-{}-{number}", std::process::id());
            let folder = root.join(&name);
            if folder.exists() {
                continue;
            }
            fs::DirBuilder::new().mode(mode).create(&folder).map_err(host("make the folder", &folder))?;
            let lock = File::create(folder.join("lock")).map_err(host("make the file", &folder))?;
            lock.lock().map_err(host("lock the folder", &folder))?;
            let (groups, next) = (Groups::of_host(), AtomicU64::new(0));
            let session = Arc::new(Session {
                folder,
                name,
                fuel_per_core_second,
                engine,
                groups,
                devices: Mutex::default(),
                next,
                _lock: lock,
            });
            return Ok(Self { session, devices, images: Mutex::default() });
        }
        Err(ContainerError::Unavailable("no name was free".to_owned()))
    }

    /// Returns what a task gets that asks for so many cores, perhaps a GPU, and so many workers.
    ///
    /// # Errors
    /// Workers where an engine runs the containers.
    pub fn share(&self, cores: u16, gpu: bool, workers: u16) -> Result<Share, ContainerError> {
        if workers > 0 {
            self.session.needs_runc("tasks with workers ([cluster])")?;
        }
        let devices = if gpu { self.devices.clone() } else { Devices::default() };
        Ok(Share { cores: cores.max(1), devices, workers })
    }

    /// Tells whether services can run here.
    ///
    /// # Errors
    /// Why not: an engine runs the containers.
    pub fn check_services(&self) -> Result<(), ContainerError> {
        self.session.needs_runc("services")
    }

    /// Unpacks an image from the bytes of its archive, unless it lies unpacked.
    ///
    /// # Errors
    /// [`ContainerError::Image`] for an archive that is damaged, hostile, too large or of another form.
    pub fn prepare(&self, bytes: &[u8]) -> Result<Arc<Image>, ContainerError> {
        let key: [u8; 32] = Sha256::digest(bytes).into();
        // Held while unpacking: two callers may want the same image.
        let mut images = self.images.lock();
        let found = images.used.get(&key).and_then(Weak::upgrade);
        let image = if let Some(image) = found {
            image
        } else {
            // First, so that no two are on the disk for longer than they must.
            images.last = None;
            images.used.retain(|_, image| image.strong_count() > 0);
            let root = self.session.folder.join(self.session.name("image"));
            fs::DirBuilder::new().mode(0o755).create(&root).map_err(host("make the folder", &root))?;
            let image = Arc::new(image::open(Arc::clone(&self.session), &root, bytes)?);
            images.used.insert(key, Arc::downgrade(&image));
            image
        };
        images.last = Some(Arc::clone(&image));
        Ok(image)
    }
}

impl Session {
    /// Returns a name that no other image or task of this host has.
    pub(super) fn name(&self, kind: &str) -> String {
        format!("{}-{kind}-{}", self.name, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes the control group of a task with its limits; its containers' groups are made below it.
    pub(super) fn make_group(&self, name: &str, task: &TaskInput<'_>, share: &Share) -> Result<(), ContainerError> {
        let memory_bytes = task.limits.memory_bytes;
        let limits = GroupLimits { memory_bytes, processes: most_processes(memory_bytes), cores: share.cores };
        self.groups.make(name, Some(limits))
    }

    /// Refuses what engines do not do here.
    pub(super) fn needs_runc(&self, what: &str) -> Result<(), ContainerError> {
        if self.engine.is_none() {
            return Ok(());
        }
        let reason = format!("{what} run by `runc` alone, and this host runs containers by an engine (provide.engine)");
        Err(ContainerError::Unavailable(reason))
    }

    /// Returns the file that is locked while this process lives.
    pub(super) fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Returns the work of a task: its time on cores, nanoseconds, at the speed of this host, and the time for which it had devices,
    /// at theirs.
    pub(super) fn fuel_of(&self, nanos: u64, share: &Share, wall: Duration) -> u64 {
        let cores = u128::from(nanos).saturating_mul(self.fuel_per_core_second.into());
        let devices = wall.as_nanos().saturating_mul(share.devices.fuel_per_second().into());
        u64::try_from(cores.saturating_add(devices) / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A fault here leaves the rest to the next start.
        if let Some(engine) = &self.engine {
            let own = self.lock();
            let _ = engine.sweep(|lock| lock == own);
        }
        let _ = clear(&self.folder, &self.name);
    }
}

pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn make_root(root: &Path) -> Result<(), ContainerError> {
    fs::DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(host("make the folder", root))
}

/// Whether a living process holds a lock. What cannot be looked at is left alone.
fn is_held(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(lock) => lock.try_lock().is_err(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Clears the parts of processes that no longer hold their lock.
fn sweep(root: &Path) -> Result<(), ContainerError> {
    for entry in fs::read_dir(root).map_err(host("read the folder", root))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() || !name.starts_with("bmm-") {
            continue;
        }
        if !is_held(&entry.path().join("lock")) {
            tracing::info!(session = name, "clears the containers of a process that died");
            clear(&entry.path(), &name)?;
        }
    }
    Ok(())
}

/// Ends every container of a session and removes its control groups, mounts and files.
fn clear(folder: &Path, name: &str) -> Result<(), ContainerError> {
    let prefix = format!("{name}-");
    Groups::of_host().end_all(&prefix);
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(host("read", "/proc/self/mounts"))?;
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(folder)) {
        unmount(Path::new(at));
    }
    fs::remove_dir_all(folder).map_err(host("remove the folder", folder))
}

/// Mounts a file system in memory of so many bytes and files, which belongs to the root of containers.
pub(super) fn mount_memory(at: &Path, bytes: u64, files: u64) -> Result<(), ContainerError> {
    let size = bytes.max(4_096);
    let options = format!("size={size},nr_inodes={files},mode=755,uid={OUTER_ID},gid={OUTER_ID},nosuid,nodev,noexec");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "bmm"]).arg(at).output();
    let mounted = mounted.map_err(host("mount", at))?;
    if mounted.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&mounted.stderr).into_owned();
    Err(ContainerError::Host { what: "mount", path: at.to_owned(), reason })
}

pub(super) fn unmount(at: &Path) {
    let _ = Command::new("umount").arg("-l").arg(at).stderr(Stdio::null()).status();
}
