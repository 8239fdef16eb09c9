//! The share log: every accepted share, in order, on disk, each bound to all before it by a hash.
//!
//! A folder of segment files. A segment begins with the number of its first share and the chain's root before it, and needs no other
//! segment to be read. Shares are appended in batches, a frame each (`codec`): one write and one flush to the disk, after which they
//! are there whatever happens to the process. What a write that was cut short left behind is moved aside at the next opening; damage
//! anywhere else is an error that names the file.
//!
//! The root after `n` shares is SHA-256 of the root after `n - 1` and share `n - 1` (`chain`), so that who knows the root that was
//! published with a block can check that every share before it is what the pool says.

mod chain;
mod codec;
mod reader;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

use crate::job::ChainWork;
use alloy_primitives::{Address, B256};
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;

pub use chain::{EMPTY_ROOT, extend, job_digest};
pub use reader::{Backwards, LogReader};
pub use writer::{LogOptions, Recovery, ShareLog};

/// Most shares of one batch.
pub const MAX_BATCH_SHARES: usize = 65_536;
/// Most chains of one job.
pub const MAX_CHAINS: usize = 16;
/// Longest name of a chain, in bytes.
pub const MAX_CHAIN_NAME_BYTES: usize = 32;

/// What a logged share was work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedJob {
    /// The job's number.
    pub number: u64,
    /// The chains that it was work for.
    pub chains: Vec<ChainWork>,
    /// SHA-256 of both ([`job_digest`]).
    pub digest: B256,
}

/// A share as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedShare {
    /// Its number; the first share of a log is 0.
    pub number: u64,
    /// When it came, in Unix milliseconds.
    pub at_millis: u64,
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for the machine.
    pub worker: Arc<str>,
    /// Hashes that finding it takes on average.
    pub hashes: u64,
    /// What it was work on.
    pub job: Arc<LoggedJob>,
}

/// Why the log cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process appends to the log.
    #[error("{} is in use by another pool: stop it, or name another folder", .0.display())]
    InUse(PathBuf),
    /// A file is not what was written.
    #[error("{}: damaged at byte {at}: {reason}; restore the file from a backup", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Offset of the frame, in bytes.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A share breaks a bound of the log.
    #[error("share {index} of the batch: {reason}")]
    BadShare {
        /// Its place in the batch.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// More than [`MAX_BATCH_SHARES`].
    #[error("a batch has at most {MAX_BATCH_SHARES} shares, not {0}")]
    BatchTooLarge(usize),
    /// An earlier write failed, and nobody knows how much of it is on the disk.
    #[error("an earlier write to the share log failed: open the log anew")]
    Poisoned,
    /// The share is not in the log, or no more.
    #[error("the log has shares {first} to {next} (exclusive), not {number}")]
    NotThere {
        /// What was asked for.
        number: u64,
        /// The oldest share that is kept.
        first: u64,
        /// The number of the next share.
        next: u64,
    },
}

impl LogError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}
