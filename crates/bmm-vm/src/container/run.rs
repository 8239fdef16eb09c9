//! Runs one task in a container, watches its limits and reads what it left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::used::Used;
use super::workers::Workers;
use super::{ContainerError, Image, Share, host, state};
use parking_lot::Mutex;

use crate::task::{Exit, LimitKind, Outcome, STDERR_KEPT_BYTES, StopFlag, TaskInput};

/// How often a running container is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// A task's folder, control groups and mount; all go when it is dropped.
pub(super) struct Place<'a> {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) image: &'a Image,
    pub(super) share: &'a Share,
    used: Mutex<Used>,
}

impl Place<'_> {
    /// Returns the name of one of the task's containers.
    pub(super) fn container(&self, rank: u16) -> String {
        format!("{}-{rank}", self.name)
    }

    /// Returns the control group of one of them.
    pub(super) fn container_group(&self, rank: u16) -> String {
        format!("{}/{rank}", self.name)
    }

    /// Starts one of the task's containers, whose description is written.
    pub(super) fn start(&self, rank: u16, stdin: Stdio, stdout: Stdio) -> Result<Child, ContainerError> {
        let bundle = self.folder.join(rank.to_string());
        let mut command = runc_run(self.image, &bundle, &self.container(rank));
        command.stdin(stdin).stdout(stdout).spawn().map_err(host("start", "runc"))
    }

    /// Returns the time on cores that all of the task's containers have used.
    fn used_nanos(&self) -> u64 {
        self.used.lock().see(self.image.session.groups.nanos(&self.name))
    }

    /// Ends one of the task's containers: the first process takes every other one of its name space along.
    pub(super) fn kill(&self, rank: u16) {
        let mut kill = runc(self.image);
        let _ = kill.args(["kill", &self.container(rank), "KILL"]).stderr(Stdio::null()).status();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        for rank in 0..=self.share.workers {
            let mut delete = runc(self.image);
            delete.args(["delete", "--force", &self.container(rank)]).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = delete.status();
        }
        self.image.session.groups.end(&self.name);
        state::unmount(&self.folder.join("out"));
        // What stays is swept with the session.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn runc(image: &Image) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(image.session.folder.join("runc")).stdin(Stdio::null());
    command
}

/// Makes the command that starts a container whose description lies in `bundle`, where its log and the number of its process come too.
pub(super) fn runc_run(image: &Image, bundle: &Path, name: &str) -> Command {
    let mut command = runc(image);
    command.arg("--log").arg(bundle.join("log")).args(["run", "--keep", "--pid-file"]).arg(bundle.join("pid"));
    command.arg("--bundle").arg(bundle).arg(name).stderr(Stdio::piped());
    command
}

impl Image {
    /// Runs one task to its end on this thread; whatever the program does is an [`Outcome`].
    pub fn run(&self, task: &TaskInput<'_>, share: &Share, stop: &StopFlag) -> Result<Outcome, ContainerError> {
        let devices = &self.session.devices;
        // One task at a time has the devices.
        let _alone = loop {
            let wanted = !share.devices.is_empty();
            match wanted.then(|| devices.try_lock_for(LOOK)) {
                Some(None) if stop.is_set() => return Ok(Outcome::cancelled()),
                Some(None) => {}
                taken => break taken,
            }
        };
        if let (Some(engine), Some(loaded)) = (&self.session.engine, &self.loaded) {
            return engine.run(self, loaded, task, share, stop);
        }
        let name = self.session.name("task");
        let place = Place { folder: self.session.folder.join(&name), name, image: self, share, used: Mutex::default() };
        lay_out(&place, task)?;
        self.session.make_group(&place.name, task, share)?;
        let started = Instant::now();
        let stdin = File::open(place.folder.join("stdin")).map_err(host("open the file", &place.folder))?;
        let mut child = place.start(0, stdin.into(), Stdio::piped())?;
        let overflowed = Arc::new(AtomicBool::new(false));
        let output = usize::try_from(task.limits.output_bytes).unwrap_or(usize::MAX);
        let stdout = child.stdout.take().map(|pipe| drain(pipe, output, Some(Arc::clone(&overflowed))));
        let stderr = child.stderr.take().map(|pipe| drain(pipe, STDERR_KEPT_BYTES, None));
        let workers = Workers::start(&place, task, &mut child).inspect_err(|_| {
            place.kill(0);
            let _ = child.kill();
            let _ = child.wait();
        })?;
        let ended = watch(&place, &mut child, task, stop, &overflowed);
        let said = workers.finish(&place);
        let ended = ended?;
        let used_nanos = place.used_nanos();
        let peak_memory_bytes = self.session.groups.peak_bytes(&place.name);
        let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        let wall = started.elapsed();
        let (stdout, mut stderr) = (text(stdout), text(stderr));
        let (outputs, over) = read_outputs(&place.folder.join("out"), task, stdout.len())?;
        let exit = ended.unwrap_or_else(|code| explain(&place, code, over));
        // A program that ended well and left more than it may has nothing to show.
        let exit = match over {
            Some(limit) if exit.is_ok() && outputs.is_empty() => Exit::Limit(limit),
            _ => exit,
        };
        let fuel = self.session.fuel_of(used_nanos, share, wall);
        if !exit.is_ok() {
            stderr.splice(0..0, said);
            stderr.drain(..stderr.len().saturating_sub(STDERR_KEPT_BYTES));
        }
        Ok(Outcome { exit, fuel, peak_memory_bytes, wall, stdout, stderr, outputs })
    }
}

/// Writes the task's files and the container's description.
fn lay_out(place: &Place<'_>, task: &TaskInput<'_>) -> Result<(), ContainerError> {
    let folder = &place.folder;
    write_inputs(folder, task)?;
    fs::write(folder.join("stdin"), task.stdin).map_err(host("write the file", folder))?;
    state::mount_memory(&folder.join("out"), task.limits.output_bytes, u64::from(task.limits.files) + 2)?;
    super::config::write(place, task, 0, None)
}

/// Makes a task's folder with its `in` and an empty `out`.
pub(super) fn write_inputs(folder: &Path, task: &TaskInput<'_>) -> Result<(), ContainerError> {
    let mut build = fs::DirBuilder::new();
    build.recursive(true).mode(0o755);
    for path in [folder.to_owned(), folder.join("in"), folder.join("out")] {
        build.create(&path).map_err(host("make the folder", &path))?;
    }
    for (name, bytes) in task.inputs.iter() {
        let path = folder.join("in").join(name);
        let parent = path.parent().unwrap_or(folder);
        build.create(parent).map_err(host("make the folder", parent))?;
        fs::write(&path, bytes.as_slice()).map_err(host("write the file", &path))?;
    }
    Ok(())
}

/// Waits for the end; `Err` is the program's own exit code.
fn watch(
    place: &Place<'_>,
    child: &mut Child,
    task: &TaskInput<'_>,
    stop: &StopFlag,
    overflowed: &AtomicBool,
) -> Result<Result<Exit, i32>, ContainerError> {
    let started = Instant::now();
    let until = started + task.limits.time;
    let most = task.limits.fuel.unwrap_or(u64::MAX);
    // Why it was killed, and when.
    let mut killed: Option<(Exit, Instant)> = None;
    loop {
        if let Some(status) = child.try_wait().map_err(host("wait for", "runc"))? {
            if let Some((exit, _)) = killed {
                return Ok(Ok(exit));
            }
            let logged = fs::read_to_string(place.folder.join("0/log")).unwrap_or_default();
            if !status.success() && place.used_nanos() == 0 {
                return Err(ContainerError::Host { what: "start", path: "runc".into(), reason: logged });
            }
            return Ok(Err(status.code().unwrap_or(137)));
        }
        let fuel = place.image.session.fuel_of(place.used_nanos(), place.share, started.elapsed());
        let end = if stop.is_set() {
            Some(Exit::Cancelled)
        } else if overflowed.load(Ordering::Relaxed) {
            Some(Exit::Limit(LimitKind::Output))
        } else if fuel > most {
            Some(Exit::Limit(LimitKind::Fuel))
        } else {
            (Instant::now() >= until).then_some(Exit::Limit(LimitKind::Time))
        };
        if let Some(exit) = end {
            let (_, since) = killed.get_or_insert((exit, Instant::now()));
            // Again, in case it had not begun.
            place.kill(0);
            if since.elapsed() > LOOK * 400 {
                let _ = child.kill();
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Names the cause of a failure where a limit was behind it.
fn explain(place: &Place<'_>, code: i32, over: Option<LimitKind>) -> Exit {
    if code == 0 {
        return Exit::Ok;
    }
    if place.image.session.groups.lacked_memory(&place.name) {
        return Exit::Limit(LimitKind::Memory);
    }
    if place.image.session.groups.lacked_processes(&place.name) {
        return Exit::Limit(LimitKind::Processes);
    }
    over.map_or(Exit::Code(code), Exit::Limit)
}

/// Reads a pipe to its end, keeping the first `keep` bytes, or the last ones where nobody is told of more.
pub(super) fn drain(
    mut pipe: impl Read + Send + 'static,
    keep: usize,
    overflowed: Option<Arc<AtomicBool>>,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut part = [0; 16 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut part) {
            kept.extend_from_slice(&part[..count]);
            if kept.len() > keep {
                match &overflowed {
                    Some(overflowed) => {
                        overflowed.store(true, Ordering::Relaxed);
                        kept.truncate(keep);
                    }
                    None => drop(kept.drain(..kept.len() - keep)),
                }
            }
        }
        kept
    })
}

pub(super) type Outputs = (BTreeMap<String, Vec<u8>>, Option<LimitKind>);

/// Reads the regular files under `/out`; links, pipes and sockets are not output.
pub(super) fn read_outputs(out: &Path, task: &TaskInput<'_>, mut bytes: usize) -> Result<Outputs, ContainerError> {
    let (mut outputs, mut folders, mut entries) = (BTreeMap::new(), vec![out.to_owned()], 0_u32);
    let limit = usize::try_from(task.limits.output_bytes).unwrap_or(usize::MAX);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(host("read the folder", &folder))? {
            let entry = entry.map_err(host("read the folder", &folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(host("look at", &folder))?);
            entries += 1;
            if entries > task.limits.files {
                return Ok((BTreeMap::new(), Some(LimitKind::Files)));
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let size = entry.metadata().map_err(host("look at", &path))?.len();
                bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
                if bytes > limit {
                    return Ok((BTreeMap::new(), Some(LimitKind::Output)));
                }
                let name = path.strip_prefix(out).unwrap_or(&path).to_string_lossy().into_owned();
                outputs.insert(name, fs::read(&path).map_err(host("read the file", &path))?);
            }
        }
    }
    // The mount holds whole pages: within the last one of the limit a write may have been refused.
    let near = bytes.saturating_add(4_096) > limit;
    Ok((outputs, near.then_some(LimitKind::Output)))
}
