//! Sees to it that what is promised is paid: looks at the escrows of the ledger's jobs, and claims vouchers that a settlement has left out,
//! that nobody has settled by the deadline, or that the rest of the escrow may soon not cover. It knows only ledger and chain, so a restart changes nothing.

use super::{
    ledger::{Earning, Ledger, PayState},
    stakes,
};
use crate::{
    failure::{Failure, Outcome},
    jobs::now_secs,
    rpc::RpcClient,
};
use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{MAX_UNCOLLECTED, is_covered};
use bmm_types::{
    Amount,
    market::SignedVoucher,
    system::{self, Jobs, job_state},
};
use std::{
    collections::HashMap,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often something is looked at, at most.
const LOOK: Duration = Duration::from_secs(2);
/// How often a job is looked at whose escrow will not change soon.
const LOOK_SELDOM: Duration = Duration::from_secs(10);
/// How long a claim may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(2);
/// Gas that a claim takes, about: one that brings less than its gas waits.
const CLAIM_GAS: u128 = 120_000;

/// What the chain says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Everything that was promised is paid.
    Paid {
        /// The job.
        job: B256,
    },
    /// What is left of the budget, and what this operator was paid.
    Escrow {
        /// The job.
        job: B256,
        /// Left of the budget.
        left: Amount,
        /// Paid, fees included.
        paid: Amount,
    },
}

/// A running collector.
pub struct Collector {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Starts a thread that looks after the ledgers of some operators; `tell` gets what the chain says of them.
    pub fn start(
        operators: Vec<(Ledger, PrivateKeySigner)>,
        rpc: &RpcClient,
        tell: impl Fn(Address, Told) + Send + 'static,
    ) -> Outcome<Self> {
        let (stop, stopped) = sync_channel(1);
        let books = |(ledger, key)| Books { ledger, rpc: rpc.clone(), key, looked: HashMap::new(), tended: None };
        let mut books: Vec<Books> = operators.into_iter().map(books).collect();
        let run = move || {
            loop {
                for books in &mut books {
                    if let Err(failure) = books.look(&tell) {
                        tracing::warn!(message = failure.message, "earnings cannot be looked after now");
                    }
                }
                if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("bmm-collector".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Books {
    ledger: Ledger,
    rpc: RpcClient,
    key: PrivateKeySigner,
    looked: HashMap<B256, Instant>,
    tended: Option<Instant>,
}

impl Books {
    fn look(&mut self, tell: &impl Fn(Address, Told)) -> Outcome {
        let now = now_secs();
        if self.tended.is_none_or(|at| at.elapsed() >= LOOK_SELDOM) {
            self.tended = Some(Instant::now());
            stakes::tend(&self.ledger, &self.rpc, &self.key)?;
        }
        for earning in self.ledger.list()? {
            if earning.state != PayState::Promised {
                continue;
            }
            let soon = earning.deadline <= now.saturating_add(LOOK_SELDOM.as_secs());
            let every = if soon { LOOK } else { LOOK_SELDOM };
            if self.looked.get(&earning.job).is_some_and(|at| at.elapsed() < every) {
                continue;
            }
            self.looked.insert(earning.job, Instant::now());
            match self.look_at(&earning, tell) {
                Ok(PayState::Paid) => tell(self.key.address(), Told::Paid { job: earning.job }),
                Ok(_) => {}
                // Others may still be looked at.
                Err(failure) => {
                    tracing::warn!(job = %earning.job, message = failure.message, "a job's pay is not known now");
                }
            }
        }
        Ok(())
    }

    /// Brings the ledger up to date with the chain for one job, and claims what is due.
    fn look_at(&self, earning: &Earning, tell: &impl Fn(Address, Told)) -> Outcome<PayState> {
        let job = earning.job;
        let found = self.rpc.contract(system::JOBS, &Jobs::jobOfCall { job })?;
        if !matches!(found.state, job_state::OPEN | job_state::SETTLED | job_state::CLOSED) {
            return Ok(earning.state);
        }
        let Some(voucher) = &earning.voucher else {
            // Nothing was promised, and nothing will be.
            if found.state != job_state::OPEN {
                self.ledger.drop_empty(job)?;
            }
            return Ok(earning.state);
        };
        let provider = self.key.address();
        let paid = Amount(self.rpc.contract(system::JOBS, &Jobs::paidToCall { job, provider })?);
        let now = now_secs();
        let over = found.state != job_state::OPEN || earning.deadline <= now;
        let state = if paid >= voucher.total && over {
            PayState::Paid
        } else if found.state == job_state::CLOSED {
            PayState::Lost
        } else {
            PayState::Promised
        };
        if state != earning.state || paid != earning.paid_bmm {
            self.ledger.change(job, |earning| {
                earning.paid_bmm = paid;
                earning.state = state;
            })?;
        }
        let left = Amount(found.budget.saturating_sub(found.spent));
        tell(provider, Told::Escrow { job, left, paid });
        let covered = is_covered(voucher.total.saturating_sub(paid), left, MAX_UNCOLLECTED);
        if state == PayState::Promised && (over || !covered) && !left.is_zero() && now < found.releaseAt {
            self.claim(voucher, voucher.total.saturating_sub(paid))?;
        }
        Ok(state)
    }

    /// Presents a voucher to the escrow. It stays in the ledger until the chain has paid it.
    fn claim(&self, voucher: &SignedVoucher, due: Amount) -> Outcome {
        let gas = Amount::from_units(self.rpc.fees()?.max_fee.saturating_mul(CLAIM_GAS));
        if due <= gas {
            tracing::info!(job = %voucher.job, %due, %gas, "a voucher is not worth the gas of its claim");
            return Ok(());
        }
        let call = Jobs::claimCall {
            job: voucher.job,
            provider: voucher.provider,
            total: voucher.total.units(),
            signature: voucher.signature.to_vec().into(),
        };
        let receipt = self.rpc.transact(&self.key, system::JOBS, Amount::ZERO, &call, PATIENCE)?;
        tracing::info!(job = %voucher.job, transaction = %receipt.transaction, "a voucher was claimed");
        self.ledger.change(voucher.job, |earning| earning.claim_transaction = Some(receipt.transaction))
    }
}
