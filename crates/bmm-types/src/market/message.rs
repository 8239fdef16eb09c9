//! What requesters and providers send each other while a job runs.

use super::commitment::{merkle_root, result_leaf};
use super::signing::{Receipt, SignatureBytes, receipt_hash, recover, voucher_hash};
use super::wire::{Bytes, List, Wire, WireError, ensure, text};
use super::{
    Content, MAX_INLINE_BYTES, MAX_LEASE_RANGES, MAX_LEASE_TASKS, MAX_SPEC_BYTES, MAX_STDERR_BYTES, SignedOffer,
};
use crate::system::Voucher;
use crate::{Amount, ContentHash};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// Most results of one batch, as a length.
const MAX_RESULTS: usize = 65_536;

/// Some tasks in a row: `first`, `first + 1`, … `first + count - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRange {
    /// First task.
    pub first: u64,
    /// Number of tasks.
    pub count: u32,
}

impl TaskRange {
    /// Returns one past the last task.
    pub fn end(self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// Tells whether `task` is one of the range.
    pub fn contains(self, task: u64) -> bool {
        (self.first..self.end()).contains(&task)
    }
}

/// Checks ranges of a lease: none empty, ascending without overlap, and together at most [`MAX_LEASE_TASKS`].
fn check_ranges(ranges: &[TaskRange]) -> Result<(), WireError> {
    let mut total = 0u64;
    let mut end = 0u64;
    for range in ranges {
        let fits = range.count > 0 && range.first.checked_add(range.count.into()).is_some() && range.first >= end;
        ensure(fits, "ranges", "a range is empty, unordered or past the end")?;
        end = range.end();
        total = total.saturating_add(range.count.into());
    }
    ensure(total <= MAX_LEASE_TASKS.into(), "ranges", "there are too many tasks in one lease")
}

/// A job that a requester has opened, as told to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobAnnouncement {
    /// Id of the job in the escrow.
    pub job: B256,
    /// Who opened it and signs its vouchers.
    pub requester: Address,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// What the escrow holds.
    pub budget: Amount,
    /// End of the escrow's lock, Unix seconds.
    pub deadline: u64,
    /// The encoded [`super::JobSpec`]; its SHA-256 is what the escrow records.
    #[serde(with = "Bytes::<MAX_SPEC_BYTES>")]
    pub spec: Vec<u8>,
}

impl JobAnnouncement {
    /// Returns the content name of the description.
    pub fn spec_hash(&self) -> ContentHash {
        ContentHash::of(&self.spec)
    }
}

/// Tasks handed to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Number of the lease, unique within the job.
    pub id: u64,
    /// The tasks: ascending, without overlap.
    #[serde(with = "List::<MAX_LEASE_RANGES>")]
    pub ranges: Vec<TaskRange>,
}

impl Lease {
    /// Returns the number of tasks.
    pub fn tasks(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.count)).sum()
    }
}

/// A voucher with the requester's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// The job.
    pub job: B256,
    /// Who is paid.
    pub provider: Address,
    /// Everything earned in the job so far.
    pub total: Amount,
    /// Signature of the requester over the EIP-712 `Voucher`.
    pub signature: SignatureBytes,
}

impl SignedVoucher {
    /// Tells whether `requester` signed the voucher for the chain `chain_id`.
    pub fn is_signed(&self, chain_id: u64, requester: Address) -> bool {
        let voucher = Voucher { job: self.job, provider: self.provider, total: self.total.units() };
        recover(&self.signature, voucher_hash(chain_id, &voucher)) == Some(requester)
    }
}

/// How a provider's results stand with the requester; all numbers count from the beginning of the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Results that are paid for.
    pub accepted: u64,
    /// Results that wait for others to agree or for their bytes.
    pub pending: u64,
    /// Results that came after another provider's, or for tasks that were taken back: unpaid, nobody's fault.
    pub superseded: u64,
    /// Results that differ from what the majority found, and failures: unpaid.
    pub refused: u64,
}

/// From a requester to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToProvider {
    /// There is a job that the provider could work for.
    Job(JobAnnouncement),
    /// Tasks to run.
    Lease {
        /// The job.
        job: B256,
        /// The tasks.
        lease: Lease,
    },
    /// Asks for up to `tasks` tasks back that are not started; answered by [`ToRequester::Released`].
    Recall {
        /// The job.
        job: B256,
        /// How many, at most.
        tasks: u32,
    },
    /// These tasks need no result any more; a running one may be stopped.
    Drop {
        /// The job.
        job: B256,
        /// The tasks, whatever lease they are in.
        #[serde(with = "List::<MAX_LEASE_RANGES>")]
        ranges: Vec<TaskRange>,
    },
    /// What the provider has earned so far.
    Voucher {
        /// The voucher.
        voucher: SignedVoucher,
        /// How its results stand.
        standing: Standing,
    },
    /// How the provider's results stand when that brings no new pay.
    Standing {
        /// The job.
        job: B256,
        /// How its results stand.
        standing: Standing,
    },
    /// The job is over, or the requester wants nothing more of this provider; running tasks may be stopped.
    Over {
        /// The job.
        job: B256,
        /// Why, for people.
        reason: String,
    },
}

/// Where the bytes of a task's result are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskOutput {
    /// Here.
    Inline(#[serde(with = "Bytes::<MAX_INLINE_BYTES>")] Vec<u8>),
    /// At the provider, to be fetched by their hash.
    Stored {
        /// SHA-256 of the bytes.
        hash: ContentHash,
        /// Length, bytes.
        size: u64,
    },
}

impl TaskOutput {
    /// Returns hash and length of the bytes.
    pub fn content(&self) -> Content {
        match self {
            Self::Inline(bytes) => Content::of(bytes),
            Self::Stored { hash, size } => Content { hash: *hash, size: *size },
        }
    }
}

/// Whose fault a failure can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program ended in a way that every honest host sees: exit code, trap, limit of memory, output, fuel, missing output.
    Program,
    /// The program ran longer than its time limit, which depends on the host's speed.
    Time,
    /// The host could not run the task.
    Host,
    /// The host stopped the task, for example because it shuts down.
    Stopped,
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Whose fault it can be.
    pub kind: FailureKind,
    /// Stable name of the reason, equal on every host: `exit_code:1`, `trap:unreachable`, `limit:memory`, `missing_output`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// End of the standard error.
    #[serde(with = "Bytes::<MAX_STDERR_BYTES>")]
    pub stderr: Vec<u8>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskEnd {
    /// It has a result.
    Done(TaskOutput),
    /// It has none.
    Failed(Box<TaskFailure>),
}

/// What became of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The task.
    pub index: u64,
    /// Work done.
    pub fuel: u64,
    /// Largest memory, bytes.
    pub peak_memory_bytes: u64,
    /// How it ended.
    pub end: TaskEnd,
}

/// Results of some tasks of one lease, as many as came together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultBatch {
    /// The job.
    pub job: B256,
    /// The lease that the tasks were handed out in.
    pub lease: u64,
    /// Number of the batch, counted by the provider within the job.
    pub batch: u64,
    /// Time that the tasks ran, all slots added, microseconds.
    pub busy_micros: u64,
    /// The results.
    #[serde(with = "List::<MAX_RESULTS>")]
    pub results: Vec<TaskResult>,
}

impl ResultBatch {
    /// Returns hash and length of each result's bytes, zero for failures, in the order of the results.
    pub fn contents(&self) -> Vec<Content> {
        let content = |result: &TaskResult| match &result.end {
            TaskEnd::Done(output) => output.content(),
            TaskEnd::Failed(_) => Content::default(),
        };
        self.results.iter().map(content).collect()
    }

    /// Returns the statement that `provider` signs about this batch.
    pub fn receipt(&self, provider: Address) -> Receipt {
        self.receipt_over(provider, &self.contents())
    }

    /// Returns the leaves of the commitment: one for each result, in their order.
    pub fn leaves(&self, provider: Address, contents: &[Content]) -> Vec<B256> {
        let leaf = |(result, content): (&TaskResult, &Content)| {
            result_leaf(provider, result.index, result.fuel, content.hash.0)
        };
        self.results.iter().zip(contents).map(leaf).collect()
    }

    /// Returns the statement that `provider` signs, from [`Self::contents`] that are known already.
    ///
    /// `results` is the Merkle root over [`result_leaf`] of each result in order: the provider's commitment.
    pub fn receipt_over(&self, provider: Address, contents: &[Content]) -> Receipt {
        Receipt {
            job: self.job,
            provider,
            lease: self.lease,
            batch: self.batch,
            tasks: self.results.len().try_into().unwrap_or(u64::MAX),
            fuel: self.results.iter().fold(0, |fuel: u64, result| fuel.saturating_add(result.fuel)),
            results: merkle_root(&self.leaves(provider, contents)),
        }
    }
}

/// A batch with its provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedResults {
    /// The results.
    pub batch: ResultBatch,
    /// Signature of the provider over the EIP-712 [`Receipt`].
    pub signature: SignatureBytes,
}

impl SignedResults {
    /// Tells whether `provider` signed the batch for the chain `chain_id`.
    pub fn is_signed(&self, chain_id: u64, provider: Address) -> bool {
        self.is_signed_over(chain_id, provider, &self.batch.contents())
    }

    /// As [`Self::is_signed`], from [`ResultBatch::contents`] that are known already.
    pub fn is_signed_over(&self, chain_id: u64, provider: Address, contents: &[Content]) -> bool {
        let receipt = self.batch.receipt_over(provider, contents);
        recover(&self.signature, receipt_hash(chain_id, &receipt)) == Some(provider)
    }
}

/// From a provider to a requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRequester {
    /// What the provider sells; opens the conversation.
    Offer(Box<SignedOffer>),
    /// The provider will not work for the job.
    Decline {
        /// The job.
        job: B256,
        /// Why, for people.
        reason: String,
    },
    /// The provider wants tasks. One request stands at a time; it is answered when there is work.
    LeaseRequest {
        /// The job.
        job: B256,
        /// Slots that the provider gives to this job.
        slots: u16,
    },
    /// Answers [`ToProvider::Recall`]: tasks of a lease that the provider gives back unstarted; empty if there are none.
    Released {
        /// The job.
        job: B256,
        /// The tasks.
        #[serde(with = "List::<MAX_LEASE_RANGES>")]
        ranges: Vec<TaskRange>,
    },
    /// Results.
    Results(SignedResults),
    /// The provider stops; its tasks can go elsewhere.
    Leave {
        /// The job.
        job: B256,
        /// Why, for people.
        reason: String,
    },
}

impl Wire for ToProvider {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Lease { lease, .. } => check_ranges(&lease.ranges),
            Self::Drop { ranges, .. } => check_ranges(ranges),
            Self::Over { reason, .. } => text("reason", reason, 1_024),
            Self::Job(_) | Self::Recall { .. } | Self::Voucher { .. } | Self::Standing { .. } => Ok(()),
        }
    }
}

impl Wire for ToRequester {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Offer(offer) => offer.offer.check(),
            Self::Decline { reason, .. } | Self::Leave { reason, .. } => text("reason", reason, 1_024),
            Self::LeaseRequest { slots, .. } => {
                ensure((1..=4_096).contains(slots), "slots", "it is not between 1 and 4096")
            }
            Self::Released { ranges, .. } => check_ranges(ranges),
            Self::Results(results) => results.batch.results.iter().try_for_each(|result| match &result.end {
                TaskEnd::Failed(failure) => {
                    text("failure reason", &failure.reason, 64)?;
                    text("failure message", &failure.message, 1_024)
                }
                TaskEnd::Done(_) => Ok(()),
            }),
        }
    }
}
