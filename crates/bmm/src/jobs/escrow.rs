//! The job's money on chain: open, settle, take back the rest. Every step looks at the chain first, so that it can be repeated after
//! a crash at any moment without paying twice.

use super::disputes::Dispute;
use crate::{
    failure::{Failure, Outcome},
    rpc::RpcClient,
};
use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolEvent};
use bmm_market::requester::Settlement;
use bmm_types::{
    Amount,
    system::{self, Jobs, job_state, stake_state},
};
use std::time::Duration;

/// How long a transaction may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long the challenge time is waited for, so that it can be told what came back.
pub(crate) const REFUND_PATIENCE: Duration = Duration::from_secs(15);

/// Holds that a wallet has what the escrow is to lock, and the gas for its transactions; else says so after `what`, with a remedy.
pub(crate) fn check_funds(
    rpc: &RpcClient,
    payer: Address,
    amount: Amount,
    gas_room: u128,
    what: &str,
    hint: &str,
) -> Outcome {
    let balance = rpc.balance(payer)?;
    let gas = Amount::from_units(rpc.fees()?.max_fee.saturating_mul(gas_room));
    if amount.checked_add(gas).is_some_and(|needed| needed <= balance) {
        return Ok(());
    }
    let text = format!("{what}, and up to {gas} may go for gas, but the wallet {payer} holds {balance}");
    Err(Failure::user(text).hint(hint))
}

/// What the escrow says of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscrowState {
    /// See [`job_state`].
    pub state: u8,
    /// What was locked.
    pub budget: Amount,
    /// What was paid out to providers, fees included.
    pub spent: Amount,
    /// When the rest can be taken back, Unix seconds.
    pub release_at: u64,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub transaction: B256,
    /// Its block's number.
    pub block: u64,
}

/// The escrow as the requester of one job uses it.
pub struct Escrow {
    rpc: RpcClient,
    key: PrivateKeySigner,
    job: B256,
}

impl Escrow {
    /// Takes the requester's key and the job's id.
    pub fn new(rpc: RpcClient, key: PrivateKeySigner, job: B256) -> Self {
        Self { rpc, key, job }
    }

    /// Returns what the escrow says of the job.
    pub fn state(&self) -> Outcome<EscrowState> {
        let found = self.rpc.contract(system::JOBS, &Jobs::jobOfCall { job: self.job })?;
        Ok(EscrowState {
            state: found.state,
            budget: Amount(found.budget),
            spent: Amount(found.spent),
            release_at: found.releaseAt,
        })
    }

    /// Locks the budget, unless that was done before, and tells which transaction did it. `salt` must be the one of the job's id. `asks` is the
    /// stake that every provider has to lock, and how many others must agree before one is accused.
    pub fn open(
        &self,
        salt: B256,
        spec: B256,
        deadline: u64,
        budget: Amount,
        asks: Option<(Amount, u8)>,
    ) -> Outcome<Option<Mined>> {
        if self.state()?.state != job_state::UNKNOWN {
            return self.find(Jobs::Opened::SIGNATURE_HASH);
        }
        let opened = match asks {
            None => self.transact(budget, &Jobs::openCall { salt, spec, deadline }),
            Some((stake, quorum)) => {
                let stake = stake.units();
                self.transact(budget, &Jobs::openStakedCall { salt, spec, deadline, stake, quorum })
            }
        };
        match opened {
            Ok(mined) => Ok(Some(mined)),
            // The transaction of a process that died may have waited in the node's pool, and come first.
            Err(_) if self.state()?.state != job_state::UNKNOWN => self.find(Jobs::Opened::SIGNATURE_HASH),
            Err(failure) => Err(failure),
        }
    }

    /// Returns what a provider has at stake, undisputed.
    pub fn stake_of(&self, provider: Address) -> Outcome<Amount> {
        let found = self.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job: self.job, provider })?;
        Ok(if found.state == stake_state::HELD { Amount(found.amount) } else { Amount::ZERO })
    }

    /// Accuses a provider, unless its stake is in dispute or gone already.
    pub fn accuse(&self, call: &Jobs::accuseCall) -> Outcome<Option<Mined>> {
        if self.stake_of(call.accused.provider)?.is_zero() {
            return Ok(None);
        }
        self.transact(Amount::ZERO, call).map(Some)
    }

    /// Shows that a provider signed two results of one task, unless its stake is gone already.
    pub fn contradict(&self, call: &Jobs::contradictCall) -> Outcome<Option<Mined>> {
        let provider = call.first.provider;
        let found = self.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job: self.job, provider })?;
        if matches!(found.state, stake_state::NONE | stake_state::GONE) {
            return Ok(None);
        }
        self.transact(Amount::ZERO, call).map(Some)
    }

    /// Returns where the dispute about a provider's stake stands.
    pub fn dispute(&self, provider: Address) -> Outcome<Dispute> {
        let found = self.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job: self.job, provider })?;
        Ok(Dispute::of(found.state, found.until, now_secs()))
    }

    /// Ends a dispute whose time is over: who was silent loses the stake.
    pub fn resolve(&self, provider: Address) -> Outcome<Mined> {
        self.transact(Amount::ZERO, &Jobs::resolveCall { job: self.job, provider })
    }

    /// Gives a provider its stake back, if there is one and it is time; waits up to `patience` for that time. False if it is too early.
    pub fn unstake(&self, provider: Address, patience: Duration) -> Outcome<bool> {
        let start = std::time::Instant::now();
        loop {
            let found = self.rpc.contract(system::JOBS, &Jobs::stakeOfCall { job: self.job, provider })?;
            if !matches!(found.state, stake_state::HELD | stake_state::CLEARED) {
                return Ok(true);
            }
            if found.until > now_secs().saturating_add(patience.as_secs()) {
                return Ok(false);
            }
            // As with `refund`, the block that it would be in is what counts.
            match self.transact(Amount::ZERO, &Jobs::unstakeCall { job: self.job, provider }) {
                Ok(_) => return Ok(true),
                Err(failure) if start.elapsed() >= patience => return Err(failure),
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// Pays the providers, unless that was done before.
    pub fn settle(&self, settlement: &Settlement) -> Outcome<Mined> {
        if self.state()?.state == job_state::OPEN {
            let call = Jobs::settleCall {
                job: self.job,
                root: settlement.root,
                providers: settlement.providers.iter().map(|total| total.provider).collect(),
                totals: settlement.providers.iter().map(|total| total.total.units()).collect(),
            };
            match self.transact(Amount::ZERO, &call) {
                // As with `open`.
                Err(_) if self.state()?.state != job_state::OPEN => {}
                result => return result,
            }
        }
        self.find(Jobs::Settled::SIGNATURE_HASH)?.ok_or_else(|| {
            Failure::job("the escrow was closed without a settlement: the deadline passed and the budget went back")
        })
    }

    /// Takes back what is left, if there is something and it is time; waits up to `patience` for that time.
    pub fn refund(&self, patience: Duration) -> Outcome<Option<Mined>> {
        let state = self.state()?;
        if state.state == job_state::CLOSED {
            return self.find(Jobs::Refunded::SIGNATURE_HASH);
        }
        if state.state != job_state::SETTLED && state.state != job_state::OPEN {
            return Ok(None);
        }
        let start = std::time::Instant::now();
        loop {
            // The block that the refund would be in is what counts, and a node estimates gas as of its next block.
            match self.transact(Amount::ZERO, &Jobs::refundCall { job: self.job }) {
                Ok(mined) => return Ok(Some(mined)),
                // As with `open`.
                Err(_) if self.state()?.state == job_state::CLOSED => return self.find(Jobs::Refunded::SIGNATURE_HASH),
                Err(failure) if start.elapsed() >= patience => {
                    return if state.release_at > now_secs() { Ok(None) } else { Err(failure) };
                }
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    fn transact<C: SolCall>(&self, value: Amount, call: &C) -> Outcome<Mined> {
        let receipt = self.rpc.transact(&self.key, system::JOBS, value, call, PATIENCE)?;
        Ok(Mined { transaction: receipt.transaction, block: receipt.block })
    }

    /// Finds the transaction that left the event called `topic` for this job.
    fn find(&self, topic: B256) -> Outcome<Option<Mined>> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Found {
            transaction_hash: B256,
            block_number: alloy_primitives::U64,
        }
        let last = self.rpc.block_number()?;
        // Nodes bound the blocks of one query; jobs are days long at most, so look back in steps.
        for step in 0..64u64 {
            let to = last.saturating_sub(step.saturating_mul(9_000));
            let filter = serde_json::json!({
                "address": system::JOBS,
                "topics": [topic, self.job],
                "fromBlock": format!("{:#x}", to.saturating_sub(8_999)),
                "toBlock": format!("{to:#x}"),
            });
            let found: Vec<Found> = self.rpc.call("eth_getLogs", (filter,))?;
            if let Some(log) = found.first() {
                return Ok(Some(Mined { transaction: log.transaction_hash, block: log.block_number.to() }));
            }
            if to < 9_000 {
                break;
            }
        }
        Ok(None)
    }
}

/// Returns the time, Unix seconds.
pub fn now_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
