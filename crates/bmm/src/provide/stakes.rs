//! Looks after what a provider has at stake: objects when it is accused, ends disputes whose time is over, and takes stakes back once they
//! are free. Like the collector it knows only ledger and chain, so a restart changes nothing.

use super::ledger::Ledger;
use crate::{failure::Outcome, jobs::now_secs, rpc::RpcClient};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use bmm_types::{
    Amount,
    system::{self, Jobs, job_state, stake_state},
};
use std::time::Duration;

/// How long a transaction may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(2);

/// What there is to do about a stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// Nothing yet.
    Wait,
    /// The provider denies: programs here are deterministic, so that who ran them was right.
    Object,
    /// A dispute has run out of time.
    Resolve,
    /// It is free.
    TakeBack,
    /// It is gone, or never came to be.
    Forget,
}

/// Says what a stake in a `state` of [`stake_state`] asks for; `until` is what the escrow gives with it.
fn duty(state: u8, until: u64, now: u64, job_is_open: bool) -> Duty {
    match state {
        stake_state::NONE if job_is_open => Duty::Wait,
        stake_state::HELD | stake_state::CLEARED if now >= until => Duty::TakeBack,
        stake_state::OBJECTED if now >= until => Duty::Resolve,
        stake_state::HELD | stake_state::CLEARED | stake_state::OBJECTED => Duty::Wait,
        stake_state::ACCUSED if now < until => Duty::Object,
        // Accused and silent for too long: whoever wants ends it, and nothing is left to save.
        _ => Duty::Forget,
    }
}

/// Looks at every stake of an operator once.
pub(super) fn tend(ledger: &Ledger, rpc: &RpcClient, key: &PrivateKeySigner) -> Outcome {
    for job in ledger.stakes()? {
        if let Err(failure) = tend_one(ledger, rpc, key, job) {
            // Others may still be looked at, and this one again.
            tracing::warn!(%job, message = failure.message, "a stake cannot be looked after now");
        }
    }
    Ok(())
}

fn tend_one(ledger: &Ledger, rpc: &RpcClient, key: &PrivateKeySigner, job: B256) -> Outcome {
    let provider = key.address();
    let found = rpc.contract(system::JOBS, &Jobs::stakeOfCall { job, provider })?;
    let open = rpc.contract(system::JOBS, &Jobs::jobOfCall { job })?.state == job_state::OPEN;
    match duty(found.state, found.until, now_secs(), open) {
        Duty::Wait => {}
        Duty::Object => {
            tracing::warn!(%job, "accused of a wrong result; objecting");
            rpc.transact(key, system::JOBS, Amount(found.bond), &Jobs::objectCall { job }, PATIENCE)?;
        }
        Duty::Resolve => {
            rpc.transact(key, system::JOBS, Amount::ZERO, &Jobs::resolveCall { job, provider }, PATIENCE)?;
        }
        Duty::TakeBack => {
            rpc.transact(key, system::JOBS, Amount::ZERO, &Jobs::unstakeCall { job, provider }, PATIENCE)?;
            ledger.drop_stake(job)?;
        }
        Duty::Forget => ledger.drop_stake(job)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_stake_has_its_duty() {
        let at = |state, now| duty(state, 100, now, true);
        assert_eq!((at(stake_state::NONE, 1), duty(stake_state::NONE, 0, 1, false)), (Duty::Wait, Duty::Forget));
        for state in [stake_state::HELD, stake_state::CLEARED] {
            assert_eq!((at(state, 99), at(state, 100)), (Duty::Wait, Duty::TakeBack));
        }
        assert_eq!((at(stake_state::ACCUSED, 99), at(stake_state::ACCUSED, 100)), (Duty::Object, Duty::Forget));
        assert_eq!((at(stake_state::OBJECTED, 99), at(stake_state::OBJECTED, 100)), (Duty::Wait, Duty::Resolve));
        assert_eq!(at(stake_state::GONE, 1), Duty::Forget);
    }
}
