//! One block of `eth_simulateV1`: calls that nobody signed, one after the other, in a block that never was.

use super::{
    CallError, CallRequest, StateRead,
    call::failure,
    overlay::CreditError,
    replay::{Replay, TraceError},
    watch::TraceLimits,
};
use crate::{diff::StateDiff, emission};
use alloy_primitives::{Address, Bytes, Log};
use bmm_types::{ChainParams, Header};
use revm::{Database as _, context::TxEnv};
use revm_inspectors::transfer::TransferInspector;

/// How a simulation runs.
#[derive(Clone, Copy)]
pub struct SimulateOptions<'a> {
    /// Whether calls keep the rules of transactions: nonce, base fee, a sender without code, the cap of a transaction's gas.
    pub validation: bool,
    /// Whether transfers of coins appear as logs of the address `0xeeee…`.
    pub trace_transfers: bool,
    /// Bounds of each call.
    pub limits: TraceLimits<'a>,
}

/// What one call did.
#[derive(Debug)]
pub struct SimulatedCall {
    /// What it returned, or why it failed.
    pub returned: Result<Bytes, CallError>,
    /// Its logs.
    pub logs: Vec<Log>,
    /// Gas used, refunds taken off.
    pub gas_used: u64,
    /// Gas used at most, before refunds.
    pub max_used_gas: u64,
}

/// A block under simulation.
pub struct Simulation<'a, DB: StateRead> {
    replay: Replay<'a, DB>,
    header: Header,
    options: SimulateOptions<'a>,
}

impl<'a, DB: StateRead + 'static> Simulation<'a, DB> {
    /// Begins the block of `header` over `db`, with the calls that come before a block's transactions.
    ///
    /// # Errors
    /// When the state cannot be read, or those calls fail.
    pub fn begin(
        params: &'a ChainParams,
        header: Header,
        db: DB,
        options: SimulateOptions<'a>,
    ) -> Result<Self, TraceError> {
        Ok(Self { replay: Replay::block(params, &header, db)?, header, options })
    }

    /// Returns an account's next nonce.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn nonce(&mut self, address: Address) -> Result<u64, TraceError> {
        let info = self.replay.overlay.basic(address).map_err(TraceError::state)?;
        Ok(info.map_or(0, |info| info.nonce))
    }

    /// Runs a call with that much gas, and takes over what it did.
    ///
    /// # Errors
    /// When the call may not be in the block, a limit is passed, or the state cannot be read. A call that fails is no error.
    pub fn call(&mut self, request: &CallRequest, gas_limit: u64) -> Result<SimulatedCall, TraceError> {
        let mut env = self.replay.env.clone();
        if !self.options.validation {
            request.relax(&mut env);
        }
        let tx = TxEnv { gas_limit, ..request.tx_env(self.replay.params.chain_id) };
        let inspector = TransferInspector::new(false).with_logs(self.options.trace_transfers);
        let ran = self.replay.run_in(env, tx, inspector, None, self.options.limits)?;
        self.replay.commit(&ran.done)?;
        let result = ran.done.result;
        let (gas_used, max_used_gas) = (result.tx_gas_used(), result.gas().total_gas_spent());
        let logs = if result.is_success() { result.logs().to_vec() } else { Vec::new() };
        let returned = if result.is_success() {
            Ok(result.into_output().unwrap_or_default())
        } else {
            Err(failure(result, gas_limit))
        };
        Ok(SimulatedCall { returned, logs, gas_used, max_used_gas: max_used_gas.max(gas_used) })
    }

    /// Ends the block as any block ends: the base fee's way, and the emission. Returns what changed.
    ///
    /// # Errors
    /// When the state cannot be read, or an override leaves an account so rich that nothing can be added.
    pub fn finish(mut self) -> Result<StateDiff, TraceError> {
        let vanished = self.replay.overlay.vanished();
        let base_fee = self.replay.params.base_fee_to.map(|to| (to, vanished));
        for (to, amount) in emission::payments(self.replay.params, &self.header).into_iter().chain(base_fee) {
            self.replay.overlay.credit(to, amount).map_err(|error| match error {
                CreditError::State(error) => TraceError::state(error),
                CreditError::Overflow => {
                    TraceError::Options(format!("the balance of {to} would pass 2^256 units; override it with less"))
                }
            })?;
        }
        Ok(self.replay.overlay.into_diff())
    }
}
