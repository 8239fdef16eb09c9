//! Runs one task by an engine, watches its limits and reads what it left.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::query_parameters::{
    AttachContainerOptions, InspectContainerOptions, KillContainerOptions, StartContainerOptions,
};
use futures::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::meter::{self, Meter, Seen};
use super::{Engine, Loaded, PATIENCE, seccomp, state, watch};
use crate::container::run::{LOOK, read_outputs, write_inputs};
use crate::container::{ContainerError, Image, Share, host, most_processes};
use crate::task::{Exit, LimitKind, Outcome, STDERR_KEPT_BYTES, StopFlag, TaskInput};

/// How often the engine is asked whether a container lives that still writes.
const ASK: Duration = Duration::from_secs(1);
/// How often it is asked about one that has closed its output.
const ASK_SOON: Duration = Duration::from_millis(20);
/// How often the folder for output is looked at where it is no file system of its own.
const LOOK_AT_OUTPUT: Duration = Duration::from_millis(50);
/// When it is killed again that was killed and still runs.
const KILL_AGAIN: Duration = Duration::from_millis(200);
/// How long a container may take to be gone when it was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// A task's folder, mount, control group and container; all go when it is dropped.
pub(super) struct Place<'a> {
    engine: &'a Engine,
    pub(super) loaded: &'a Loaded,
    pub(super) folder: PathBuf,
    pub(super) group: Option<String>,
    /// File with the system calls that are allowed, where the engine's own list can be read.
    pub(super) seccomp: Option<PathBuf>,
    /// Whether `out` is a file system of the size that it may have.
    bounded: bool,
    id: OnceLock<String>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // What stays is swept with the session.
        if let Some(id) = self.id.get() {
            let removed = self.engine.with(PATIENCE, async |docker| self.engine.remove(&docker, id).await);
            if let Ok(Err(error)) | Err(error) = removed {
                tracing::warn!(%error, "a container stays until the session ends");
            }
        }
        if let Some(group) = &self.group {
            self.engine.groups.end(group);
        }
        if self.bounded {
            state::unmount(&self.folder.join("out"));
        } else {
            watch::open_up(&self.outputs());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How a container ended.
struct Ended {
    /// Why it was killed, if it was.
    killed: Option<Exit>,
    code: i32,
    lacked_memory: bool,
    seen: Seen,
    wall: Duration,
    said: Said,
}

impl Engine {
    /// Runs one task to its end; whatever the program does is an [`Outcome`].
    pub(in crate::container) fn run(
        &self,
        image: &Image,
        loaded: &Loaded,
        task: &TaskInput<'_>,
        share: &Share,
        stop: &StopFlag,
    ) -> Result<Outcome, ContainerError> {
        if share.workers > 0 {
            image.session.needs_runc("tasks with workers ([cluster])")?;
        }
        let name = image.session.name("task");
        let mut place = Place {
            engine: self,
            loaded,
            folder: image.session.folder.join(&name),
            group: self.takes_groups.then_some(name),
            seccomp: None,
            bounded: false,
            id: OnceLock::new(),
        };
        place.lay_out(task)?;
        let ended = self.with(PATIENCE, async |docker| {
            let id = self.create(&docker, &place, image, task, share).await?;
            let id = place.id.get_or_init(|| id);
            Run { engine: self, docker: &docker, id, place: &place, image, task, share }.perform(stop).await
        })??;
        if !place.bounded {
            watch::open_up(&place.outputs());
        }
        let (outputs, over) = read_outputs(&place.outputs(), task, ended.said.stdout.len())?;
        let exit = ended.killed.unwrap_or_else(|| explain(&ended, over));
        // A program that ended well and left more than it may has nothing to show.
        let exit = match over {
            Some(limit) if exit.is_ok() && outputs.is_empty() => Exit::Limit(limit),
            _ => exit,
        };
        let fuel = image.session.fuel_of(ended.seen.nanos, share, ended.wall);
        let Ended { wall, said: Said { stdout, stderr, .. }, seen, .. } = ended;
        Ok(Outcome { exit, fuel, peak_memory_bytes: seen.peak_bytes, wall, stdout, stderr, outputs })
    }
}

impl Place<'_> {
    /// Returns the folder that the program sees as `/out`. It lies in the mount, so that an engine that does not see the mount
    /// finds nothing, rather than a folder without a bound.
    pub(super) fn outputs(&self) -> PathBuf {
        self.folder.join("out/files")
    }

    fn lay_out(&mut self, task: &TaskInput<'_>) -> Result<(), ContainerError> {
        write_inputs(&self.folder, task)?;
        if let Some(list) = self.engine.is_podman.then(seccomp::profile).flatten() {
            let path = self.folder.join("seccomp.json");
            fs::write(&path, list.to_string()).map_err(host("write the file", &path))?;
            self.seccomp = Some(path);
        }
        let out = self.folder.join("out");
        if state::is_root() {
            state::mount_memory(&out, task.limits.output_bytes, u64::from(task.limits.files) + 3)?;
            self.bounded = true;
        }
        let files = self.outputs();
        fs::create_dir(&files).map_err(host("make the folder", &files))?;
        // Whoever the program is outside; the session's folder lets nobody else pass.
        fs::set_permissions(&files, Permissions::from_mode(0o777)).map_err(host("set the mode", &files))?;
        self.group.as_deref().map_or(Ok(()), |group| self.engine.groups.make(group, None))
    }
}

/// Names the cause of a failure where a limit was behind it.
fn explain(ended: &Ended, over: Option<LimitKind>) -> Exit {
    if ended.code == 0 {
        Exit::Ok
    } else if ended.lacked_memory {
        Exit::Limit(LimitKind::Memory)
    } else if ended.seen.lacked_processes {
        Exit::Limit(LimitKind::Processes)
    } else {
        over.map_or(Exit::Code(ended.code), Exit::Limit)
    }
}

/// A container that was made, on its way to the end.
struct Run<'a> {
    engine: &'a Engine,
    docker: &'a Docker,
    id: &'a str,
    place: &'a Place<'a>,
    image: &'a Image,
    task: &'a TaskInput<'a>,
    share: &'a Share,
}

impl Run<'_> {
    async fn perform(&self, stop: &StopFlag) -> Result<Ended, ContainerError> {
        let output = AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let output = self.attach(output).await?.output;
        // On a way of its own: with input that a program never reads, Podman drops the whole connection.
        let mut input = None;
        if !self.task.stdin.is_empty() {
            let options = AttachContainerOptions { stream: true, stdin: true, ..Default::default() };
            input = Some(self.attach(options).await?);
        }
        // What was made ready has a process already; once it runs, it may be gone at once.
        let mut own = self.own_group().await;
        let started = Instant::now();
        let start = self.docker.start_container(self.id, None::<StartContainerOptions>).await;
        start.map_err(self.engine.fault("start a container"))?;
        if own.is_none() {
            own = self.own_group().await;
        }
        let most = most_processes(self.task.limits.memory_bytes);
        let mut meter = match own {
            Some(place) => Meter::read(&self.engine.groups, place),
            None => Meter::ask(self.docker, self.id, most),
        };
        let (killed, (code, lacked), said) = self.watch(output, input, &mut meter, started, stop).await?;
        let (wall, seen) = (started.elapsed(), meter.look());
        // It may have ended before it could be killed for it.
        let killed = killed.or(said.is_over.then_some(Exit::Limit(LimitKind::Output)));
        Ok(Ended { killed, code, lacked_memory: lacked || seen.lacked_memory, seen, wall, said })
    }

    /// Finds the control group where the counters can be read.
    async fn own_group(&self) -> Option<meter::Place> {
        if let Some(group) = &self.place.group {
            return Some(meter::Place::Below(group.clone()));
        }
        let found = self.docker.inspect_container(self.id, None::<InspectContainerOptions>).await.ok()?;
        let id = found.state?.pid.filter(|id| *id > 0)?;
        self.engine.groups.of_process(id).map(meter::Place::Own)
    }

    async fn attach(&self, options: AttachContainerOptions) -> Result<AttachContainerResults, ContainerError> {
        let attached = self.docker.attach_container(self.id, Some(options)).await;
        attached.map_err(self.engine.fault("attach to a container"))
    }

    /// Reads what the program writes, and ends it when it is over a limit.
    async fn watch(
        &self,
        mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
        input: Option<AttachContainerResults>,
        meter: &mut Meter,
        started: Instant,
        stop: &StopFlag,
    ) -> Result<(Option<Exit>, (i32, bool), Said), ContainerError> {
        let mut feed = pin!(feed(input, self.task.stdin));
        let mut said = Said { stdout: Vec::new(), stderr: Vec::new(), is_over: false };
        let (mut is_fed, mut is_read) = (false, false);
        let (mut next_ask, mut next_look_at_output) = (started + ASK, started);
        // Why it was to end, and since when.
        let mut ending: Option<(Exit, Instant)> = None;
        let mut next_kill = started;
        let mut is_killed = false;
        let mut died: Option<Instant> = None;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                part = output.next(), if !is_read => {
                    if let Some(Ok(part)) = part {
                        said.take(part, self.task);
                    } else {
                        (is_read, next_ask) = (true, Instant::now());
                    }
                }
                () = &mut feed, if !is_fed => is_fed = true,
                _ = looks.tick() => {
                    let now = Instant::now();
                    if now >= next_ask {
                        next_ask = now + if is_read || ending.is_some() { ASK_SOON } else { ASK };
                        if let Some(ended) = self.ended().await? {
                            // Its last words may still be under way.
                            let since = *died.get_or_insert(now);
                            if is_read || since.elapsed() >= ASK {
                                let exit = ending.map(|(exit, _)| exit).filter(|_| is_killed);
                                return Ok((exit, ended, said));
                            }
                        }
                    }
                    let mut over = if said.is_over {
                        Some(Exit::Limit(LimitKind::Output))
                    } else {
                        self.over(meter, started, stop)
                    };
                    if !self.place.bounded && now >= next_look_at_output {
                        next_look_at_output = now + LOOK_AT_OUTPUT;
                        let limit = watch::over(&self.place.outputs(), &self.task.limits);
                        over = over.or(limit.map(Exit::Limit));
                    }
                    if let Some(exit) = over {
                        let (_, since) = *ending.get_or_insert((exit, now));
                        if since.elapsed() > KILL_PATIENCE {
                            return Err(self.engine.error("end a container", "it was killed and still runs".to_owned()));
                        }
                        if now >= next_kill {
                            is_killed |= self.kill().await;
                            next_kill = now + KILL_AGAIN;
                            next_ask = next_ask.min(now + ASK_SOON);
                        }
                    }
                }
            }
        }
    }

    /// Says why the program must end now, if it must.
    fn over(&self, meter: &mut Meter, started: Instant, stop: &StopFlag) -> Option<Exit> {
        let limits = &self.task.limits;
        let used = self.image.session.fuel_of(meter.look().nanos, self.share, started.elapsed());
        if stop.is_set() {
            Some(Exit::Cancelled)
        } else if limits.fuel.is_some_and(|most| used > most) {
            Some(Exit::Limit(LimitKind::Fuel))
        } else {
            (started.elapsed() >= limits.time).then_some(Exit::Limit(LimitKind::Time))
        }
    }

    /// Kills the container; not if it has ended by itself already.
    async fn kill(&self) -> bool {
        let signal = KillContainerOptions { signal: "KILL".to_owned() };
        self.docker.kill_container(self.id, Some(signal)).await.is_ok()
    }

    /// Returns the exit code of a container that has ended, and whether it lacked memory.
    async fn ended(&self) -> Result<Option<(i32, bool)>, ContainerError> {
        let found = self.docker.inspect_container(self.id, None::<InspectContainerOptions>).await;
        let state = match found {
            Ok(found) => found.state.unwrap_or_default(),
            // Podman has a name of its own, "stopped", for the time until it has cleaned up.
            Err(bollard::errors::Error::JsonDataError { message, .. }) if message.contains("`stopped`") => {
                return Ok(None);
            }
            Err(error) => return Err(self.engine.fault("look at a container")(error)),
        };
        if state.running == Some(true) || state.finished_at.is_none_or(|at| at.starts_with("0001-")) {
            return Ok(None);
        }
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(137);
        Ok(Some((code, state.oom_killed == Some(true))))
    }
}

/// Writes the standard input and closes it. A program need not read it.
async fn feed(to: Option<AttachContainerResults>, bytes: &[u8]) {
    let Some(mut to) = to else { return };
    let _ = to.input.write_all(bytes).await;
    let _ = to.input.shutdown().await;
    // Until the engine closes it: a connection that is dropped may take what is under way along.
    while to.output.next().await.is_some() {}
}

/// What a program has written.
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// It wrote more than it may, and what came then was let go.
    is_over: bool,
}

impl Said {
    fn take(&mut self, part: LogOutput, task: &TaskInput<'_>) {
        match part {
            LogOutput::StdErr { message } => {
                self.stderr.extend_from_slice(&message);
                let over = self.stderr.len().saturating_sub(STDERR_KEPT_BYTES);
                drop(self.stderr.drain(..over));
            }
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                let most = usize::try_from(task.limits.output_bytes).unwrap_or(usize::MAX);
                self.stdout.extend_from_slice(&message);
                self.is_over |= self.stdout.len() > most;
                self.stdout.truncate(most);
            }
        }
    }
}
