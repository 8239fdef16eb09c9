//! An accepted share, as the log keeps it.

use crate::job::Job;
use alloy_primitives::Address;
use std::sync::Arc;

/// Longest name of a worker, in bytes.
pub const MAX_WORKER_BYTES: usize = 32;

/// Work that a miner has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// When it came, in Unix milliseconds.
    pub at_millis: u64,
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for the machine; empty if it has none.
    pub worker: Arc<str>,
    /// Hashes that finding it takes on average: the difficulty that it was handed out with.
    pub hashes: u64,
    /// What it was work on; what a share is worth follows from the targets of the job's chains.
    pub job: Arc<Job>,
}
