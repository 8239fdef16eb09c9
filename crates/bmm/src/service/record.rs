//! What is kept of a service at its requester: everything that it takes to go on after a crash.

use crate::{
    failure::{Failure, IoContext, Outcome},
    jobs::{NetChoice, short_id},
    paths::{DataDir, write_atomically},
};
use alloy_primitives::{Address, B256};
use bmm_types::{
    Amount,
    market::{Content, ServiceSpec, Wire},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

/// Longest log that is kept before it is begun anew, bytes; one such part stays beside it.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// Where a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Its budget is not locked yet.
    Opening,
    /// It is to run.
    Open,
    /// It is over and paid.
    Settled,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Id of the job in the escrow.
    pub id: B256,
    /// Name for people.
    pub name: String,
    /// Where it stands.
    pub state: ServiceState,
    /// Who pays.
    pub requester: Address,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// Of the job's id.
    pub salt: B256,
    /// What the escrow holds.
    pub budget_bmm: Amount,
    /// End of the escrow's lock, Unix seconds.
    pub deadline: u64,
    /// When it was begun, Unix seconds.
    pub created: u64,
    /// What each provider was promised.
    pub promised_bmm: BTreeMap<Address, Amount>,
    /// Healthy intervals that were paid, of all providers.
    pub intervals: u64,
    /// Who hosts it now.
    pub host: Option<Address>,
    /// Whether it is healthy, as far as is known.
    pub healthy: bool,
    /// How often it began at a provider.
    pub begun: u64,
    /// Chunks of the last copy of its volume.
    pub snapshot: Option<Vec<Content>>,
    /// Where its ports are reached on this machine, by name.
    pub ports: BTreeMap<String, std::net::SocketAddr>,
    /// How the network is found.
    pub network: NetChoice,
    /// The transaction that paid the providers.
    pub settle_transaction: Option<B256>,
    /// What came back.
    pub refunded_bmm: Option<Amount>,
}

impl ServiceRecord {
    /// Returns the beginning of the id, by which people name it.
    pub fn short_id(&self) -> String {
        short_id(self.id)
    }

    /// Returns what all providers were promised.
    pub fn spent(&self) -> Amount {
        self.promised_bmm.values().copied().sum()
    }
}

/// The folder of one service.
#[derive(Clone, Debug)]
pub struct ServiceFolder(PathBuf);

impl ServiceFolder {
    /// Makes the folder of a new service.
    pub fn create(data: &DataDir, record: &ServiceRecord, spec: &ServiceSpec) -> Outcome<Self> {
        let folder = Self(root(data).join(format!("{:x}", record.id)));
        data.create(&folder.0)?;
        write_atomically(&folder.0.join("spec"), &spec.encode())?;
        folder.save(record)?;
        Ok(folder)
    }

    /// Returns all services of a data folder, the newest first.
    pub fn all(data: &DataDir) -> Outcome<Vec<(Self, ServiceRecord)>> {
        let root = root(data);
        let mut found = Vec::new();
        let entries = match fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error).doing("read", &root),
        };
        for entry in entries {
            let folder = Self(entry.doing("read", &root)?.path());
            // One without a record was never begun.
            if folder.0.join("record.json").exists() {
                let record = folder.record()?;
                found.push((folder, record));
            }
        }
        found.sort_by_key(|(_, record)| std::cmp::Reverse(record.created));
        Ok(found)
    }

    /// Returns what is known of the service.
    pub fn record(&self) -> Outcome<ServiceRecord> {
        let path = self.0.join("record.json");
        let text = fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&text)
            .map_err(|error| Failure::config(format!("{} cannot be understood: {error}", path.display())))
    }

    /// Keeps what is known; it is on disk when this returns.
    pub fn save(&self, record: &ServiceRecord) -> Outcome {
        write_atomically(&self.0.join("record.json"), &serde_json::to_vec_pretty(record).expect("plain values"))
    }

    /// Returns the description.
    pub fn spec(&self) -> Outcome<ServiceSpec> {
        let path = self.0.join("spec");
        let bytes = fs::read(&path).doing("read", &path)?;
        ServiceSpec::decode(&bytes).map_err(|error| Failure::config(format!("{}: {error}", path.display())))
    }

    /// Returns where image and snapshots are.
    pub fn content(&self) -> PathBuf {
        self.0.join("content")
    }

    /// Returns the log.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Writes on in the log.
    pub fn append_log(&self, bytes: &[u8]) -> Outcome {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|found| found.len() > MAX_LOG_BYTES) {
            fs::rename(&path, path.with_extension("1")).doing("rename", &path)?;
        }
        let mut file = File::options().create(true).append(true).open(&path).doing("open", &path)?;
        file.write_all(bytes).doing("write", &path)
    }

    /// Takes the service for this process; `None` if another one has it.
    pub fn lock(&self) -> Outcome<Option<File>> {
        let path = self.0.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error).doing("lock", &path),
        }
    }

    /// Returns the file by which a running process is asked to stop the service.
    pub fn stop_mark(&self) -> PathBuf {
        self.0.join("stop")
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn root(data: &DataDir) -> PathBuf {
    data.root().join("services")
}
