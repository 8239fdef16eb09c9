//! What goes into the requester and what comes out.

use std::fmt;

use alloy_primitives::{Address, B256};
use bmm_types::market::{Content, Standing, TaskFailure, ToProvider, ToRequester};
use bmm_types::system::{Jobs, MAX_SETTLED_PROVIDERS, Voucher};
use bmm_types::{Amount, ContentHash};

use serde::{Deserialize, Serialize};

use super::settle::Settlement;
use crate::trust::{Finding, TrustBook};
use crate::{MILLISECOND, Micros, SECOND};

/// Settings of a requester.
#[derive(Clone, Debug)]
pub struct RequesterConfig {
    /// Chain of the escrow; part of every signed hash.
    pub chain_id: u64,
    /// Who opens the job and signs its vouchers.
    pub requester: Address,
    /// Work that one lease should hold per slot.
    pub lease_micros: Micros,
    /// Runs of one task that may fail by the host's fault before the job stops.
    pub max_host_failures: u8,
    /// How long a job may stand still (no work anywhere, nobody to give the rest to) before it stops.
    pub stall_micros: Micros,
    /// Most providers that are paid: as many as the settlement can pay.
    pub max_paid_providers: usize,
    /// Whether the signature under every batch of results is checked; only a wiring in which providers are threads of the
    /// same process may leave it out.
    pub check_signatures: bool,
    /// The requester's part of every draw of audits; its keccak stands in the job's description ([`bmm_types::market::JobSpec::draw`]).
    pub secret: B256,
    /// Checks that the requester's own machine does at once ([`Effect::Check`]); 0 if it does none.
    pub own_checks: u16,
    /// Whether stakes deter: whether the chain has a jury that takes the stake of one who objects.
    pub counts_stakes: bool,
    /// What is known of providers from earlier jobs; kept up to date by [`Effect::Trust`].
    pub trust: TrustBook,
}

impl RequesterConfig {
    /// Returns the defaults: leases of 250 ms, 5 failures of hosts, 60 s of standing still, as many paid
    /// providers as one settlement takes, signatures checked, no checks on the own machine, nobody known; a secret has to be
    /// put in where audits are drawn.
    pub fn new(chain_id: u64, requester: Address) -> Self {
        Self {
            chain_id,
            requester,
            lease_micros: 250 * MILLISECOND,
            max_host_failures: 5,
            stall_micros: 60 * SECOND,
            max_paid_providers: MAX_SETTLED_PROVIDERS,
            check_signatures: true,
            secret: B256::ZERO,
            own_checks: 0,
            counts_stakes: false,
            trust: TrustBook::default(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The escrow is on chain: the job can begin. Given again after a restart.
    Opened {
        /// Id of the job in the escrow.
        job: B256,
        /// What the escrow holds.
        escrow: Amount,
        /// End of work, Unix seconds; before the end of the escrow's lock, so that there is time to settle.
        deadline: u64,
    },
    /// A provider said something; `from` is who the transport says it is.
    Message {
        /// The provider.
        from: Address,
        /// What it said.
        message: ToRequester,
    },
    /// A provider is gone: disconnected or dead.
    Lost {
        /// The provider.
        provider: Address,
    },
    /// Answers [`Effect::Fetch`]: the bytes are stored and have the right hash (`ok`), or could not be had.
    Fetched {
        /// Who was asked.
        from: Address,
        /// What was asked for.
        hash: ContentHash,
        /// Whether the bytes are here now.
        ok: bool,
    },
    /// Answers [`Effect::Check`].
    Checked {
        /// The task.
        task: u64,
        /// What was found.
        verdict: Verdict,
    },
    /// Answers [`Effect::LookUpStake`]: what the provider has locked for this job, undisputed.
    Stake {
        /// The provider.
        provider: Address,
        /// The stake; zero if there is none.
        amount: Amount,
    },
    /// Answers [`Effect::Merge`]: the outputs are written, or why they cannot be.
    Merged(
        /// The reason is a sentence for people.
        Result<(), String>,
    ),
    /// Answers [`Effect::Settle`]: the transaction is on chain.
    Settled {
        /// Hash of the transaction.
        transaction: B256,
    },
    /// The user wants the job to end now; what is verified is paid.
    Cancel {
        /// Why, for people.
        reason: String,
    },
    /// Time passed; at least ten times a second while the job runs.
    Tick,
}

/// What the wiring has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends a message.
    Send {
        /// The provider.
        to: Address,
        /// The message.
        message: ToProvider,
    },
    /// Appends bytes to the job's log; [`super::Requester::restore`] reads them all. The log must be written before later
    /// effects are carried out (a `write` that survives the death of the process is enough).
    Record(Vec<u8>),
    /// Keeps the bytes of results, by their hash. Empty results are never sent here.
    Store(Vec<(Content, Vec<u8>)>),
    /// Fetches the bytes of a result from a provider, checks their hash and keeps them; answered by [`Event::Fetched`].
    Fetch {
        /// Who has them.
        from: Address,
        /// Which bytes.
        content: Content,
    },
    /// Signs the voucher ([`bmm_types::market::voucher_hash`]) and sends it with the standing as [`ToProvider::Voucher`].
    SignVoucher {
        /// What to sign; the receiver is `voucher.provider`.
        voucher: Voucher,
        /// What to send with it.
        standing: Standing,
    },
    /// Checks a task on the requester's own machine; answered by [`Event::Checked`].
    Check {
        /// The task.
        task: u64,
        /// How.
        how: Check,
    },
    /// Keeps what was found out about providers, for this and later jobs ([`TrustBook::note`]).
    Trust(Finding),
    /// Looks at the escrow for what a provider has at stake; answered by [`Event::Stake`].
    LookUpStake {
        /// The provider.
        provider: Address,
    },
    /// Sends `Jobs.accuse`, unless the accused's stake is disputed or gone already. Given again after a restart.
    Accuse(Box<Jobs::accuseCall>),
    /// Sends `Jobs.contradict`, unless the provider's stake is gone already; after the settlement, since the escrow makes good what the
    /// requester has paid by then. Given again after a restart.
    Contradict(Box<Jobs::contradictCall>),
    /// Merges the results of all tasks ([`super::Requester::result`]); answered by [`Event::Merged`].
    Merge,
    /// Sends `Jobs.settle`; answered by [`Event::Settled`]. Given again after a restart until it is answered.
    Settle(Settlement),
    /// The job is over.
    Over(Ending),
}

/// How the requester's own machine checks a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It runs the task.
    Run,
    /// It gives the verifier this result, whose bytes are stored.
    Judge(Content),
}

/// What the requester's own machine found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of [`Check::Run`]: the result and its fuel.
    Found {
        /// Hash and length of the result.
        content: Content,
        /// Fuel.
        fuel: u64,
    },
    /// Of [`Check::Judge`]: whether the verifier said yes.
    Judged(bool),
    /// It could not be checked here.
    Unable(
        /// Why, for people.
        String,
    ),
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the escrow.
    Opening,
    /// Hands out tasks and collects results.
    Running,
    /// All results are there; they are put together.
    Merging,
    /// What is verified is being paid.
    Settling,
    /// Nothing is left to do.
    Over,
}

/// How a job ended, or is about to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Every task has its verified result.
    Complete,
    /// The user cancelled it.
    Cancelled(String),
    /// It could not be finished.
    Failed(JobFailure),
}

/// Why a job could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JobFailure {
    /// The program itself fails.
    #[error("{}", program_failure(*.task, .failure, *.providers))]
    Program {
        /// The task that failed.
        task: u64,
        /// How, as its providers tell it.
        failure: Box<TaskFailure>,
        /// How many providers saw the same failure (1: the only provider saw it twice).
        providers: usize,
    },
    /// Hosts keep failing on one task.
    #[error("task {task} could not be run by its hosts {attempts} times; the last said: {message}")]
    Hosts {
        /// The task.
        task: u64,
        /// How often it was tried.
        attempts: u8,
        /// What the last host said.
        message: String,
    },
    /// Operators do not agree on one task.
    #[error(
        "task {task} gave different results on {operators} operators, and no {quorum} agree: the program is not deterministic; \
         set canonical_nans = true if it computes with floats, or verify.mode = \"none\""
    )]
    Disagreement {
        /// The task.
        task: u64,
        /// Operators that ran it.
        operators: usize,
        /// How many would have to agree.
        quorum: u8,
    },
    /// The verifier fails.
    #[error(
        "the verifier could not say whether the result of task {task} is right: {reason}; mend it, or use verify.mode = \"audit\""
    )]
    Checker {
        /// The task.
        task: u64,
        /// What happened.
        reason: String,
    },
    /// The escrow does not reach for the rest.
    #[error("budget exhausted: {done} of {tasks} tasks done for {spent}; raise budget.max above {escrow}")]
    Budget {
        /// Tasks with a verified result.
        done: u64,
        /// Tasks of the job.
        tasks: u64,
        /// What they cost.
        spent: Amount,
        /// What the escrow holds.
        escrow: Amount,
    },
    /// The time is over.
    #[error(
        "the deadline passed with {done} of {tasks} tasks done; raise budget.deadline or offer a higher budget.price"
    )]
    Deadline {
        /// Tasks with a verified result.
        done: u64,
        /// Tasks of the job.
        tasks: u64,
    },
    /// Nobody can go on with the rest.
    #[error("the job stands still with {done} of {tasks} tasks done: {reason}")]
    Stalled {
        /// Tasks with a verified result.
        done: u64,
        /// Tasks of the job.
        tasks: u64,
        /// What is missing.
        reason: String,
    },
    /// The results could not be put together.
    #[error("the results could not be merged: {0}")]
    Merge(String),
}

impl Ending {
    /// Returns the task that the job failed by.
    pub fn task(&self) -> Option<u64> {
        match self {
            Self::Failed(
                JobFailure::Program { task, .. }
                | JobFailure::Hosts { task, .. }
                | JobFailure::Disagreement { task, .. }
                | JobFailure::Checker { task, .. },
            ) => Some(*task),
            _ => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Cancelled(reason) => write!(f, "cancelled: {reason}"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

/// Says what a program did wrong, on which task, with the end of its standard error.
fn program_failure(task: u64, failure: &TaskFailure, providers: usize) -> String {
    let seen = if providers > 1 { format!("on {providers} providers") } else { "twice".to_owned() };
    let mut text = format!("task {task} failed the same way {seen}: {} ({})", failure.message, failure.reason);
    let stderr = String::from_utf8_lossy(&failure.stderr);
    if stderr.trim().is_empty() {
        text.push_str("; it wrote nothing to stderr");
    } else {
        text.push_str("\nthe end of its stderr:\n");
        text.push_str(stderr.trim_end());
    }
    text
}
