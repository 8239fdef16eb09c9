//! The folder of one job: everything that is needed to go on with it after the process died.
//!
//! ```text
//! jobs/<id>/job.json      what the job is and how far it is (replaced atomically)
//!           spec.bin      the encoded description, whose hash the escrow records
//!           contents/     program and inputs by content name
//!           log           what the requester recorded, append-only
//!           outputs       results of tasks by their hash, append-only
//!           live.json     how far it is, for pages and programs, once a second
//!           cancel        why it is to be ended, if somebody asked for that
//!           receipt.json  the receipt, once the job is over
//! ```

use super::{reach::NetChoice, receipt::Receipt};
use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::{DataDir, write_atomically},
};
use alloy_primitives::{Address, B256};
use bmm_types::{
    Amount, ContentHash,
    market::{JobSpec, Merge, Verify, Wire},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

/// Who cancels a job, as its ending has it.
pub const CANCELLED: &str = "by its user";

/// How far a job is, as the folder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStatus {
    /// Its escrow may or may not be on chain yet.
    Opening,
    /// Its tasks run, or wait to be resumed.
    Running,
    /// Done: every task has its result, and the providers are paid.
    Settled,
    /// Ended by the user; what was done is paid.
    Cancelled,
    /// Ended without all results; what was done is paid.
    Failed,
}

impl JobStatus {
    /// Whether nothing is left to do but, at most, to take back the rest of the escrow.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Settled | Self::Cancelled | Self::Failed)
    }

    /// Returns the name that people and programs see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Settled => "settled",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What `job.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Id of the job in the escrow.
    pub id: B256,
    /// The job's name.
    pub name: String,
    /// How far it is.
    pub status: JobStatus,
    /// Number of tasks.
    pub tasks: u64,
    /// Who pays.
    pub requester: Address,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// Salt of the id.
    pub salt: B256,
    /// The requester's part of the draws of audits; its keccak stands in the description.
    #[serde(default)]
    pub secret: B256,
    /// What the escrow holds.
    pub budget: Amount,
    /// End of the escrow's lock, Unix seconds.
    pub deadline: u64,
    /// When the job was made, Unix seconds.
    pub created: u64,
    /// Where the outputs are written.
    pub out: PathBuf,
    /// Providers of this process to start for it.
    pub providers: u16,
    /// How it finds the network, if it is for providers there.
    #[serde(default)]
    pub network: Option<NetChoice>,
    /// Transaction that opened the escrow.
    pub open_transaction: Option<B256>,
    /// Transaction that settled it.
    pub settle_transaction: Option<B256>,
    /// Transaction that took the rest back.
    pub refund_transaction: Option<B256>,
    /// Files that were written when the results were merged.
    pub outputs: Vec<PathBuf>,
    /// Time that processes worked on it, milliseconds.
    pub worked_ms: u64,
    /// Of it, from the first lease to the last results, milliseconds.
    pub running_ms: u64,
    /// Time that programs ran, all slots added, milliseconds.
    pub busy_ms: u64,
    /// Results that this machine checked.
    #[serde(default)]
    pub own_checked: u64,
    /// How it ended, for people; empty while it has not.
    pub ending: String,
}

/// Returns the first digits of the id of a job or a service, by which people name it.
pub(crate) fn short_id(id: B256) -> String {
    format!("{:.8}", format!("{id:x}"))
}

impl JobRecord {
    /// Returns the first digits of the id, by which people name the job.
    pub fn short_id(&self) -> String {
        short_id(self.id)
    }
}

/// The folder of one job.
#[derive(Clone, Debug)]
pub struct JobFolder {
    dir: PathBuf,
}

impl JobFolder {
    /// Makes the folder of a new job.
    pub fn create(data: &DataDir, record: &JobRecord, spec: &JobSpec) -> Outcome<Self> {
        let folder = Self { dir: data.jobs().join(format!("{:x}", record.id)) };
        data.create(&folder.dir.join("contents"))?;
        write_atomically(&folder.dir.join("spec.bin"), &spec.encode())?;
        folder.save(record)?;
        Ok(folder)
    }

    /// Finds the job whose id begins with `id` (with or without 0x).
    pub fn find(data: &DataDir, id: &str) -> Outcome<Self> {
        let wanted = id.strip_prefix("0x").unwrap_or(id).to_ascii_lowercase();
        let mut found: Vec<Self> = Self::all(data)?.into_iter().filter(|job| job.name().starts_with(&wanted)).collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::user(format!("no job has the id {id:?}"))
                .hint("`bmm job list` shows the jobs of this data folder")),
            n => {
                Err(Failure::user(format!("{n} jobs have ids that begin with {id:?}"))
                    .hint("give more digits of the id"))
            }
        }
    }

    /// Lists the jobs of the data folder, newest first.
    pub fn all(data: &DataDir) -> Outcome<Vec<Self>> {
        let root = data.jobs();
        if !root.exists() {
            return Ok(Vec::new());
        }
        let mut jobs = Vec::new();
        for entry in std::fs::read_dir(&root).doing("list", &root)? {
            let dir = entry.doing("list", &root)?.path();
            if dir.join("job.json").is_file() {
                let folder = Self { dir };
                let record = folder.record()?;
                if folder.is_whole(&record) {
                    jobs.push((record.created, folder));
                }
            }
        }
        jobs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.dir.cmp(&b.1.dir)));
        Ok(jobs.into_iter().map(|(_, folder)| folder).collect())
    }

    /// Whether the folder was finished: of a process that died while it made one, something is missing. The escrow is opened only
    /// after that, so that nothing is lost with such a folder.
    fn is_whole(&self, record: &JobRecord) -> bool {
        record.status != JobStatus::Opening
            || self.spec().is_ok_and(|spec| {
                let merger = match &spec.output.merge {
                    Merge::App { app, .. } => Some(*app),
                    Merge::Concat | Merge::Folder => None,
                };
                let verifier = match spec.verify {
                    Verify::Checker(checker) => Some(checker.app),
                    _ => None,
                };
                spec.contents()
                    .iter()
                    .chain(&merger)
                    .chain(&verifier)
                    .all(|content| self.content_path(content.hash).exists())
            })
    }

    fn name(&self) -> &str {
        self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of the append-only log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Returns the path of the append-only outputs.
    pub fn outputs(&self) -> PathBuf {
        self.dir.join("outputs")
    }

    /// Reads `job.json`.
    pub fn record(&self) -> Outcome<JobRecord> {
        let path = self.dir.join("job.json");
        let text = std::fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&text).map_err(|error| damaged(&path, error))
    }

    /// Replaces `job.json`.
    pub fn save(&self, record: &JobRecord) -> Outcome {
        let text = serde_json::to_vec_pretty(record).expect("a record is plain values");
        write_atomically(&self.dir.join("job.json"), &text)
    }

    /// Reads the description.
    pub fn spec(&self) -> Outcome<JobSpec> {
        let path = self.dir.join("spec.bin");
        let bytes = std::fs::read(&path).doing("read", &path)?;
        JobSpec::decode(&bytes).map_err(|error| damaged(&path, error))
    }

    /// Keeps a piece of content.
    pub fn put_content(&self, hash: ContentHash, bytes: &[u8]) -> Outcome {
        let path = self.content_path(hash);
        if path.exists() { Ok(()) } else { write_atomically(&path, bytes) }
    }

    /// Reads a piece of content and checks its hash.
    pub fn content(&self, hash: ContentHash) -> Outcome<Vec<u8>> {
        let path = self.content_path(hash);
        let bytes = std::fs::read(&path).doing("read", &path)?;
        if ContentHash::of(&bytes) == hash { Ok(bytes) } else { Err(damaged(&path, "its bytes have another hash")) }
    }

    /// Returns the file of a piece of content, whether it is there or not.
    pub fn content_path(&self, hash: ContentHash) -> PathBuf {
        self.dir.join("contents").join(hash.to_string())
    }

    /// Reads the receipt, if the job is over.
    pub fn receipt(&self) -> Outcome<Option<Receipt>> {
        let path = self.dir.join("receipt.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| damaged(&path, error))
    }

    /// Keeps the receipt.
    pub fn save_receipt(&self, receipt: &Receipt) -> Outcome {
        let text = serde_json::to_vec_pretty(receipt).expect("a receipt is plain values");
        write_atomically(&self.dir.join("receipt.json"), &text)
    }

    /// Asks the process that works on the job, now or next, to end it.
    pub fn ask_to_cancel(&self, reason: &str) -> Outcome {
        write_atomically(&self.dir.join("cancel"), reason.as_bytes())
    }

    /// Returns why the job is to be ended, if somebody asked for that.
    pub fn asked_to_cancel(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join("cancel")).ok()
    }

    /// Takes the job for this process; fails while another process works on it.
    pub fn lock(&self) -> Outcome<JobLock> {
        // Whoever only looks whether somebody works on it holds the lock for a moment.
        for _ in 0..10 {
            if let Ok(lock) = self.try_lock() {
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.try_lock()
    }

    fn try_lock(&self) -> Outcome<JobLock> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(JobLock(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(Failure::user("another bmm process works on this job")
                .hint("watch it with `bmm job watch`, or end that process first")),
            Err(std::fs::TryLockError::Error(error)) => Err(error).doing("lock", &path),
        }
    }

    /// Whether a process works on the job right now.
    pub fn is_locked(&self) -> bool {
        self.try_lock().is_err()
    }
}

/// Held by the process that works on a job; the operating system frees it when the process dies.
#[derive(Debug)]
pub struct JobLock(#[expect(dead_code, reason = "holding the file is the lock")] File);

fn damaged(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::config(format!("{} is damaged: {why}", path.display()))
        .hint("the escrow is safe: providers claim their vouchers, and the rest can be refunded after the deadline")
}
