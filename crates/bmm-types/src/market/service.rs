//! Services: jobs without an end, paid by the time in which they were healthy.

use super::wire::{Bytes, List, Wire, WireError, ensure, text};
use super::{Content, JobAnnouncement, MAX_SPEC_BYTES, SignedVoucher, is_fixed};
use crate::{Amount, ContentHash};
use serde::{Deserialize, Serialize};

/// Most ports of a service.
pub const MAX_PORTS: usize = 16;
/// Length of every chunk of a snapshot but the last, bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
/// Most chunks of a snapshot.
pub const MAX_SNAPSHOT_CHUNKS: usize = 1_024;
/// Largest volume, bytes: with its names, it fits into the chunks.
pub const MAX_VOLUME_BYTES: u64 = 960 << 20;
/// Longest part of a log that travels at once, bytes.
pub const MAX_LOG_BYTES: usize = 65_536;
/// Shortest and longest time that is paid for at once, milliseconds.
pub const INTERVAL_MILLIS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// Longest argument, command or environment variable, bytes.
const MAX_TEXT_BYTES: usize = 65_536;

/// A port of a service that its requester reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Name for people.
    pub name: String,
    /// The TCP port at which the program listens on its loopback.
    pub port: u16,
}

/// How it is found out whether a service does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// The port takes connections.
    Tcp(u16),
    /// The command, run inside the container, ends with 0.
    Command(#[serde(with = "List::<256>")] Vec<String>),
}

/// The part of a service's file system that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceVolume {
    /// Where the program sees it.
    pub path: String,
    /// Most that it holds, bytes.
    pub size_bytes: u64,
}

/// The description of a service; its SHA-256 is what the escrow records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Name for people.
    pub name: String,
    /// Archive of the container image.
    pub image: Content,
    /// Arguments after those of the image.
    #[serde(with = "List::<4096>")]
    pub args: Vec<String>,
    /// Environment beside that of the image.
    #[serde(with = "List::<4096>")]
    pub env: Vec<(String, String)>,
    /// Memory of the program, bytes.
    pub memory_bytes: u64,
    /// Ports that the requester reaches.
    #[serde(with = "List::<MAX_PORTS>")]
    pub ports: Vec<ServicePort>,
    /// How its health is found out.
    pub probe: Probe,
    /// How often, milliseconds.
    pub probe_millis: u64,
    /// What is kept of its files.
    pub volume: Option<ServiceVolume>,
    /// Healthy time that is paid for at once, milliseconds.
    pub interval_millis: u64,
    /// What an interval is paid.
    pub price: Amount,
    /// Intervals after which it is over.
    pub intervals: u64,
}

impl Wire for ServiceSpec {
    const MAX_BYTES: usize = MAX_SPEC_BYTES;

    fn check(&self) -> Result<(), WireError> {
        text("name", &self.name, 256)?;
        self.args.iter().try_for_each(|arg| text("args", arg, MAX_TEXT_BYTES))?;
        for (name, value) in &self.env {
            text("env", name, 256)?;
            text("env", value, MAX_TEXT_BYTES)?;
            let sound = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            ensure(sound, "env", "a name is empty or has `=`, or something has a zero byte")?;
        }
        for port in &self.ports {
            text("ports", &port.name, 64)?;
            ensure(port.port != 0, "ports", "there is no port 0")?;
        }
        match &self.probe {
            Probe::Tcp(port) => ensure(*port != 0, "health", "there is no port 0")?,
            Probe::Command(words) => {
                ensure(!words.is_empty(), "health", "the command is empty")?;
                words.iter().try_for_each(|word| text("health", word, MAX_TEXT_BYTES))?;
            }
        }
        ensure(self.probe_millis >= 100, "health", "it is asked more often than ten times a second")?;
        if let Some(volume) = &self.volume {
            ensure(is_fixed(&volume.path), "volume", "its path is not absolute and normal")?;
            ensure(volume.size_bytes <= MAX_VOLUME_BYTES, "volume", "it is larger than 960 MiB")?;
        }
        ensure(INTERVAL_MILLIS.contains(&self.interval_millis), "interval", "it is not from a second to an hour")?;
        ensure(self.intervals > 0, "intervals", "there is none")?;
        ensure(self.cost().is_some(), "price", "the sum is too large")
    }
}

impl ServiceSpec {
    /// Returns the content name of the description.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.encode())
    }

    /// Returns what the whole time costs; `None` if that is more than can be.
    pub fn cost(&self) -> Option<Amount> {
        self.price.mul_div(self.intervals.into(), 1)
    }
}

/// A copy of a volume: an archive, in chunks, so that what has not changed is not sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The chunks, each of [`SNAPSHOT_CHUNK_BYTES`] but the last.
    #[serde(with = "List::<MAX_SNAPSHOT_CHUNKS>")]
    pub chunks: Vec<Content>,
}

impl Snapshot {
    /// Names the chunks of an archive; `None` if there would be too many.
    pub fn of(archive: &[u8]) -> Option<Self> {
        let chunks: Vec<Content> = archive.chunks(SNAPSHOT_CHUNK_BYTES).map(Content::of).collect();
        (chunks.len() <= MAX_SNAPSHOT_CHUNKS).then_some(Self { chunks })
    }

    fn check(&self) -> Result<(), WireError> {
        let longest = u64::try_from(SNAPSHOT_CHUNK_BYTES).unwrap_or(u64::MAX);
        ensure(self.chunks.iter().all(|chunk| chunk.size <= longest), "chunks", "one is longer than it may be")
    }
}

/// From the requester of a service to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// Host this service.
    Begin {
        /// The job in the escrow; its description is an encoded [`ServiceSpec`].
        job: JobAnnouncement,
        /// What the volume holds at the beginning.
        snapshot: Option<Snapshot>,
    },
    /// An interval is paid.
    Pay(SignedVoucher),
    /// Stop the service; a last snapshot and [`FromHost::Over`] follow.
    Stop,
}

impl Wire for ToHost {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Begin { snapshot: Some(snapshot), .. } => snapshot.check(),
            Self::Begin { .. } | Self::Pay(_) | Self::Stop => Ok(()),
        }
    }
}

/// From a provider that hosts a service to its requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHost {
    /// The program was started, for the first time or again.
    Started,
    /// Its health has changed.
    Health(bool),
    /// So many intervals were healthy in this session; the last one is to be paid.
    Due {
        /// Intervals since the beginning of the session.
        intervals: u64,
    },
    /// The volume was copied; the provider serves the chunks.
    Copied(Snapshot),
    /// The program wrote this.
    Log(#[serde(with = "Bytes::<MAX_LOG_BYTES>")] Vec<u8>),
    /// The provider hosts the service no longer.
    Over {
        /// Why, for people.
        reason: String,
    },
}

impl Wire for FromHost {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Copied(snapshot) => snapshot.check(),
            Self::Over { reason } => text("reason", reason, 4_096),
            Self::Started | Self::Health(_) | Self::Due { .. } | Self::Log(_) => Ok(()),
        }
    }
}
