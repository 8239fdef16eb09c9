//! What goes into the provider and what comes out.

use alloy_primitives::{Address, B256};
use bmm_types::Amount;
use bmm_types::market::{
    JobAnnouncement, JobSpec, ResultBatch, SignedOffer, SignedVoucher, TaskRange, TaskResult, ToProvider, ToRequester,
};

use super::pay::MAX_UNCOLLECTED;
use crate::{MILLISECOND, Micros};

/// Settings of a provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Chain of the escrow.
    pub chain_id: u64,
    /// What it sells; `offer.offer.slots` is the number of slots that run tasks.
    pub offer: SignedOffer,
    /// Work given to a slot at once: short tasks are run many at a time.
    pub chunk_micros: Micros,
    /// Longest time that a finished result waits for others before it is sent.
    pub batch_micros: Micros,
    /// Inline bytes of results that are sent at once at the latest.
    pub batch_bytes: usize,
    /// Unpaid work that a requester may always have, whatever the size of its batches; above it at most four batches a copy.
    pub credit: Amount,
    /// Share of its delivered work, percent, that a requester may leave unpaid as superseded or refused.
    pub max_unpaid_percent: u8,
    /// Most that may be promised to it in one job and not be collected, once it is told what the escrow holds ([`Event::Escrow`]).
    pub max_uncollected: Amount,
    /// Most jobs at once.
    pub max_jobs: usize,
    /// Most that it locks as a stake in one job; jobs that ask for more are declined.
    pub max_stake: Amount,
    /// Whether the signature under every voucher is checked; only a simulation, in which nobody forges them, may leave it out.
    pub check_signatures: bool,
}

impl ProviderConfig {
    /// Returns the defaults: chunks of 10 ms, batches of 100 ms or 1 MiB, a credit of 0.001 BMM, a quarter unpaid, 5 BMM
    /// uncollected, 64 jobs,
    /// no stake, signatures checked.
    pub fn new(chain_id: u64, offer: SignedOffer) -> Self {
        Self {
            chain_id,
            offer,
            chunk_micros: 10 * MILLISECOND,
            batch_micros: 100 * MILLISECOND,
            batch_bytes: 1 << 20,
            credit: Amount::from_units(1_000_000_000_000_000),
            max_unpaid_percent: 25,
            max_uncollected: MAX_UNCOLLECTED,
            max_jobs: 64,
            max_stake: Amount::ZERO,
            check_signatures: true,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A requester can be talked to; it gets the offer.
    Connected {
        /// The requester, as the transport knows it.
        requester: Address,
    },
    /// A requester said something.
    Message {
        /// The requester, as the transport knows it.
        from: Address,
        /// What it said.
        message: ToProvider,
    },
    /// A requester cannot be talked to any more.
    Disconnected {
        /// The requester.
        requester: Address,
    },
    /// The requester of one job cannot be talked to any more; it may have others over other connections.
    Interrupted {
        /// The job.
        job: B256,
    },
    /// Answers [`Effect::Prepare`]: the escrow is as announced, the stake is locked, and program and inputs are here.
    Ready {
        /// The job.
        job: B256,
    },
    /// Answers [`Effect::Prepare`]: the job cannot be run here.
    Unable {
        /// The job.
        job: B256,
        /// Why, for people.
        reason: String,
    },
    /// Answers [`Effect::Run`]: the slot is free again. Tasks of the chunk without a result were not run.
    Done {
        /// The slot.
        slot: u16,
        /// What became of the tasks, in any order.
        results: Vec<TaskResult>,
        /// How long the slot worked.
        busy_micros: Micros,
    },
    /// The job's settlement paid this provider on chain at least what its voucher says: nothing is left to claim.
    Paid {
        /// The job.
        job: B256,
    },
    /// The provider takes no more work: tasks that are not started go back, those that run are finished and sent.
    Drain {
        /// Why, for people.
        reason: String,
    },
    /// The provider takes work again.
    Resume,
    /// So many slots are for something else than tasks from now on; tasks that run in them go on.
    Held {
        /// How many.
        slots: u16,
    },
    /// The escrow was looked at. May be told at any time; a provider that nobody tells takes every voucher for covered.
    Escrow {
        /// The job.
        job: B256,
        /// What is left of the budget.
        left: Amount,
        /// What this provider was paid, fees included.
        paid: Amount,
    },
    /// The provider shuts down: no new work, the finished results are sent, the rest goes back.
    Leave {
        /// Why, for people.
        reason: String,
    },
    /// Time passed; at least ten times a second.
    Tick,
}

/// Tasks for one slot, to be run one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The slot, from 0.
    pub slot: u16,
    /// The job.
    pub job: B256,
    /// The tasks.
    pub tasks: TaskRange,
}

/// What the wiring has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends a message.
    Send {
        /// The requester.
        to: Address,
        /// The message.
        message: ToRequester,
    },
    /// Checks the escrow on chain, locks the stake that the job asks for ([`JobSpec::stake`]), fetches the job's contents and compiles its program; answered by [`Event::Ready`] or
    /// [`Event::Unable`].
    Prepare {
        /// The job as announced.
        announcement: Box<JobAnnouncement>,
        /// Its description, decoded and checked.
        spec: Box<JobSpec>,
    },
    /// Runs tasks; answered by [`Event::Done`].
    Run(Chunk),
    /// Stops what a slot runs; [`Event::Done`] still comes.
    Stop {
        /// The slot.
        slot: u16,
    },
    /// Signs the batch ([`bmm_types::market::receipt_hash`] over [`ResultBatch::receipt`]) and sends it as
    /// [`ToRequester::Results`].
    SignResults {
        /// The requester.
        to: Address,
        /// What to sign and send.
        batch: ResultBatch,
    },
    /// Keeps a checked voucher on disk in place of the job's earlier one.
    KeepVoucher(SignedVoucher),
    /// Sends `Jobs.claim` with the last voucher: the deadline has come without a settlement ([`Event::Paid`]), or too much is
    /// promised and not collected ([`Event::Escrow`] then says what was paid).
    Claim(SignedVoucher),
    /// Nothing more will come for this job: its program and inputs may be dropped.
    Forget {
        /// The job.
        job: B256,
    },
}
