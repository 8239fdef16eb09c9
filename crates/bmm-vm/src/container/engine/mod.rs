//! Runs containers by an engine's API, which Docker and Podman both speak, over a socket of this machine.
//!
//! Every operation has a thread and a runtime of its own, so that it may be called from anywhere, other runtimes included.

mod archive;
mod create;
mod meter;
mod run;
mod seccomp;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, SystemVersion};
use bollard::query_parameters::{
    ImportImageOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::groups::{Groups, Version};
use super::state::{self, Session};
use super::{ContainerError, host};

/// Label with the path of the file that the owner of a container or image has locked.
const LOCK_LABEL: &str = "bmm.lock";
/// Label with the session's name.
const SESSION_LABEL: &str = "bmm.session";
/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it may take to read an image of gigabytes.
const LOAD_PATIENCE: Duration = Duration::from_hours(1);
/// How much of an archive is sent at once, bytes.
const PART_BYTES: usize = 256 << 10;

/// The socket of a container engine: `unix:///run/podman/podman.sock`, or the path alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineAddress(PathBuf);

impl FromStr for EngineAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self(path.into()));
        }
        Err(format!("{text:?} is no address of a container engine; write for example unix:///run/podman/podman.sock"))
    }
}

impl TryFrom<String> for EngineAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EngineAddress> for String {
    fn from(address: EngineAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

/// Who the root of a container is outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// The host's own, unless the engine is asked for a user namespace.
    Host,
    /// Somebody else: the engine gives its containers a user namespace unasked.
    Mapped,
    /// The user as whom the engine runs, who is not root.
    Owner,
}

/// An engine that has answered, and what it told of itself.
#[derive(Debug)]
pub(super) struct Engine {
    socket: PathBuf,
    version: (usize, usize),
    is_podman: bool,
    root: Root,
    /// It finds devices by their CDI names.
    knows_cdi: bool,
    /// Containers can be put under a control group of ours, whose counters stay when they end.
    takes_groups: bool,
    groups: Groups,
    /// It was found to have no users for a namespace.
    lacks_namespace: AtomicBool,
}

/// An image that an engine holds.
#[derive(Debug)]
pub(super) struct Loaded {
    reference: String,
}

impl Engine {
    /// Asks the engine at an address what it is.
    pub(super) fn connect(address: &EngineAddress) -> Result<Self, ContainerError> {
        let mut engine = Self {
            socket: address.0.clone(),
            version: (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version),
            is_podman: false,
            root: Root::Host,
            knows_cdi: false,
            takes_groups: false,
            groups: Groups::of_host(),
            lacks_namespace: AtomicBool::new(false),
        };
        let asked = engine.with(PATIENCE, async |docker| {
            let docker = docker.negotiate_version().await?;
            let (version, info) = (docker.version().await?, docker.info().await?);
            Ok::<_, bollard::errors::Error>((docker.client_version(), version, info))
        });
        let (client, version, info) = asked.and_then(|told| told.map_err(engine.fault("answer"))).map_err(|error| {
            ContainerError::Unavailable(format!(
                "{error}; start it (Podman: podman system service --time=0 {address}), or leave it out to run containers by runc"
            ))
        })?;
        engine.version = (client.major_version, client.minor_version);
        engine.learn(&version, &info);
        Ok(engine)
    }

    fn learn(&mut self, version: &SystemVersion, info: &SystemInfo) {
        let mut parts = version.components.iter().flatten();
        self.is_podman = parts.any(|part| part.name.to_lowercase().contains("podman"));
        let has = |option: &str| info.security_options.iter().flatten().any(|found| found == option);
        if has("name=rootless") {
            self.root = Root::Owner;
        } else if has("name=userns") {
            self.root = Root::Mapped;
        }
        self.knows_cdi = info.cdi_spec_dirs.as_ref().is_some_and(|folders| !folders.is_empty());
        let plain = info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::CGROUPFS);
        let same = match self.groups.version {
            Version::One => info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1),
            Version::Two => info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
        };
        let ours = state::is_root() && self.root != Root::Owner && self.groups.lacks().is_none();
        self.takes_groups = plain && same && ours;
    }

    /// Lets `work` use the engine, on a thread and a runtime of its own.
    fn with<T: Send>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(Docker) -> T + Send,
    ) -> Result<T, ContainerError> {
        let begin = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(host("start a runtime for", &self.socket))?;
            let (major_version, minor_version) = self.version;
            let version = ClientVersion { major_version, minor_version };
            let docker = Docker::connect_with_unix(&self.socket.to_string_lossy(), patience.as_secs(), &version);
            let docker = docker.map_err(self.fault("be reached"))?;
            Ok(runtime.block_on(work(docker)))
        };
        let ended = std::thread::scope(|scope| scope.spawn(begin).join());
        ended.unwrap_or_else(|_| Err(self.error("be used", "the thread failed".to_owned())))
    }

    fn error(&self, what: &'static str, reason: String) -> ContainerError {
        ContainerError::Engine { socket: self.socket.clone(), what, reason }
    }

    /// Makes an error of what the engine said.
    fn fault(&self, what: &'static str) -> impl FnOnce(bollard::errors::Error) -> ContainerError {
        move |error| self.error(what, error.to_string())
    }

    /// Removes the containers and images that bear the path of a lock for which `gone` holds.
    pub(super) fn sweep(&self, gone: impl Fn(&Path) -> bool + Sync) -> Result<(), ContainerError> {
        let filter = HashMap::from([("label", vec![LOCK_LABEL])]);
        let is_ours =
            |labels: &HashMap<String, String>| labels.get(LOCK_LABEL).is_some_and(|lock| gone(Path::new(lock)));
        self.with(PATIENCE, async |docker| {
            let list = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
            for found in docker.list_containers(Some(list)).await.map_err(self.fault("list its containers"))? {
                let (Some(id), Some(labels)) = (found.id, found.labels) else { continue };
                if is_ours(&labels) {
                    self.remove(&docker, &id).await?;
                }
            }
            let list = ListImagesOptionsBuilder::new().filters(&filter).build();
            for found in docker.list_images(Some(list)).await.map_err(self.fault("list its images"))? {
                if is_ours(&found.labels) {
                    let force = RemoveImageOptionsBuilder::new().force(true).build();
                    let removed = docker.remove_image(&found.id, Some(force), None).await;
                    removed.map_err(self.fault("remove an image"))?;
                }
            }
            Ok(())
        })?
    }

    /// Removes a container with everything that runs in it.
    async fn remove(&self, docker: &Docker, id: &str) -> Result<(), ContainerError> {
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match docker.remove_container(id, Some(force)).await {
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            removed => removed.map_err(self.fault("remove a container")),
        }
    }

    /// Hands an image over that lies unpacked and checked in `root`, which goes.
    ///
    /// The engine sees an archive of our own making and none of the stranger's bytes but the contents of files: nothing that
    /// was not checked can mean something else to it.
    pub(super) fn load(&self, session: &Session, root: &Path, hash: &[u8]) -> Result<Loaded, ContainerError> {
        let hash = hash.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let tag = root.file_name().unwrap_or_default().to_string_lossy();
        let reference = format!("localhost/bmm/{hash}:{tag}");
        let path = root.with_extension("tar");
        let written = archive::write(root, &path, &reference, &labels(session));
        let removed = std::fs::remove_dir_all(root).map_err(host("remove the folder", root));
        let sent = written.and(removed).and_then(|()| self.send(&path, &reference));
        let _ = std::fs::remove_file(&path);
        sent.map(|()| Loaded { reference })
    }

    fn send(&self, path: &Path, reference: &str) -> Result<(), ContainerError> {
        let file = std::fs::File::open(path).map_err(host("open the file", path))?;
        let parts = futures::stream::try_unfold(file, async |mut file| {
            let mut part = vec![0; PART_BYTES];
            let count = std::io::Read::read(&mut file, &mut part)?;
            part.truncate(count);
            Ok((count > 0).then(|| (part.into(), file)))
        });
        self.with(LOAD_PATIENCE, async |docker| {
            let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
            let mut told = Box::pin(docker.import_image(options, bollard::body_try_stream(parts), None));
            while let Some(line) = told.next().await {
                line.map_err(self.fault("take an image"))?;
            }
            docker.inspect_image(reference).await.map(drop).map_err(self.fault("find the image that it took"))
        })?
    }

    /// Removes an image that no task needs any more; what stays is swept with the session.
    pub(super) fn unload(&self, loaded: &Loaded) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let removed =
            self.with(PATIENCE, async |docker| docker.remove_image(&loaded.reference, Some(options), None).await);
        if let Ok(Err(error)) = removed {
            tracing::debug!(%error, image = loaded.reference, "the engine keeps an image until the session ends");
        }
    }

    /// Tells whether a container is to get a user namespace for the asking.
    fn asks_for_namespace(&self) -> bool {
        let can = self.is_podman && self.root == Root::Host && state::is_root();
        can && !self.lacks_namespace.load(Ordering::Relaxed)
    }
}

/// What everything of a session bears, so that it is known when the session is dead.
fn labels(session: &Session) -> HashMap<String, String> {
    let lock = session.lock().to_string_lossy().into_owned();
    HashMap::from([(LOCK_LABEL.to_owned(), lock), (SESSION_LABEL.to_owned(), session.name.clone())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sockets_of_this_machine() {
        for text in ["unix:///run/podman/podman.sock", "/run/podman/podman.sock"] {
            let address: EngineAddress = text.parse().expect("it is one");
            assert_eq!(address.to_string(), "unix:///run/podman/podman.sock");
        }
        for text in ["", "podman.sock", "tcp://127.0.0.1:2375", "unix://podman.sock"] {
            let error = text.parse::<EngineAddress>().expect_err("it is none");
            assert!(error.contains("unix:///run/podman/podman.sock"), "{error}");
        }
    }
}
