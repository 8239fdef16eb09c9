//! Simulated calls: `eth_call` and `eth_estimateGas`.

use super::{
    CallError, StateRead, TxError,
    env::{self, Machine},
    error::unreadable,
};
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_evm::{Evm as _, EvmEnv};
use alloy_primitives::{Address, Bytes, Log, TxKind, U256};
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};
use bmm_types::{
    ChainParams, Header,
    system::{Jobs::JobsErrors, Token::TokenErrors},
};
use revm::{
    Database as _,
    context::{
        BlockEnv, Cfg as _, TxEnv,
        either::Either,
        result::{EVMError, ExecutionResult, HaltReason},
    },
};

/// An estimate is at most this fraction (1/64) above what would do; below it, further runs are not worth their time.
const ESTIMATE_PRECISION: u64 = 64;

/// Gas that a call with value brings along for the callee.
const CALL_STIPEND: u64 = 2_300;

/// A call that is not a transaction: nobody signs it, and nothing stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// The caller; the zero address if absent.
    pub from: Option<Address>,
    /// The called account; a contract creation if absent.
    pub to: Option<Address>,
    /// Units sent with the call.
    pub value: U256,
    /// Call data, or creation code.
    pub input: Bytes,
    /// Gas limit; the cap if absent.
    pub gas: Option<u64>,
    /// Units per gas that the caller pays; nothing if absent, and the code sees a base fee of zero then.
    pub gas_price: Option<u128>,
    /// Accounts and slots that are warm from the start.
    pub access_list: AccessList,
    /// Delegations to set before the call (EIP-7702).
    pub authorizations: Vec<SignedAuthorization>,
    /// The caller's nonce. It counts only in a simulation that validates.
    pub nonce: Option<u64>,
}

impl CallRequest {
    /// Takes out of `env` the rules that a call need not keep: nonce, a sender without code, the cap of a transaction's gas, and
    /// without a price the base fee.
    pub(super) fn relax(&self, env: &mut EvmEnv) {
        env.cfg_env.disable_nonce_check = true;
        env.cfg_env.disable_eip3607 = true;
        env.cfg_env.tx_gas_limit_cap = Some(u64::MAX);
        if self.gas_price.is_none() {
            env.block_env.basefee = 0;
        }
    }

    /// Makes the machine's transaction; its gas limit is still to be set.
    pub(super) fn tx_env(&self, chain_id: u64) -> TxEnv {
        let tx_type = match (self.authorizations.is_empty(), self.access_list.is_empty()) {
            (false, _) => 4,
            (true, false) => 1,
            (true, true) => 0,
        };
        TxEnv {
            tx_type,
            caller: self.from.unwrap_or_default(),
            kind: self.to.map_or(TxKind::Create, TxKind::Call),
            value: self.value,
            data: self.input.clone(),
            nonce: self.nonce.unwrap_or(0),
            gas_price: self.gas_price.unwrap_or(0),
            gas_priority_fee: (tx_type == 4).then_some(0),
            chain_id: Some(chain_id),
            access_list: self.access_list.clone(),
            authorization_list: self.authorizations.iter().cloned().map(Either::Left).collect(),
            ..TxEnv::default()
        }
    }
}

/// What a simulated call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// Returned data; the deployed code for a creation.
    pub output: Bytes,
    /// Gas used, refunds taken off.
    pub gas_used: u64,
    /// Events.
    pub logs: Vec<Log>,
}

/// Runs `request` in the environment of `header` on the state `db`, with at most `gas_cap` gas and at most the block's.
///
/// # Errors
/// [`CallError::Revert`] with data and reason when the code reverts; the other variants name what is wrong.
pub fn call(
    params: &ChainParams,
    header: &Header,
    db: impl StateRead,
    request: &CallRequest,
    gas_cap: u64,
) -> Result<CallOutcome, CallError> {
    let mut simulation = Simulation::new(params, header, db, request, Cap::Lifted);
    let gas = gas_limit(request, header, gas_cap);
    let done = simulation.transact(gas);
    outcome(done, simulation.machine.block(), params.chain_id, gas)
}

/// The gas that a call may take.
pub(super) fn gas_limit(request: &CallRequest, header: &Header, gas_cap: u64) -> u64 {
    request.gas.unwrap_or(gas_cap).min(gas_cap).min(header.gas_limit)
}

/// Reads what the machine says of a call with this gas limit.
pub(super) fn outcome(
    done: Result<ExecutionResult, EVMError<impl std::error::Error>>,
    block: &BlockEnv,
    chain_id: u64,
    gas_limit: u64,
) -> Result<CallOutcome, CallError> {
    match done.map_err(|error| refusal(error, block, chain_id, gas_limit))? {
        ExecutionResult::Success { gas, logs, output, .. } => {
            Ok(CallOutcome { output: output.into_data(), gas_used: gas.tx_gas_used(), logs })
        }
        failed => Err(failure(failed, gas_limit)),
    }
}

/// Reads why the machine did not run a call with this gas limit.
fn refusal(error: EVMError<impl std::error::Error>, block: &BlockEnv, chain_id: u64, gas_limit: u64) -> CallError {
    match error {
        EVMError::Transaction(error) => {
            TxError::from_evm(error, chain_id, block.basefee, block.gas_limit, gas_limit).into()
        }
        other => CallError::State(unreadable(other)),
    }
}

/// Finds a gas limit with which `request` succeeds, at most `gas_cap`, the block's limit, the fork's cap for a transaction
/// (EIP-7825), and what the caller can pay for. It is at most 1/64 above the least that does, where success does not
/// depend on the gas in stranger ways.
///
/// # Errors
/// As [`call`]; [`CallError::GasAllowance`] when not even the most is enough.
pub fn estimate_gas(
    params: &ChainParams,
    header: &Header,
    db: impl StateRead,
    request: &CallRequest,
    gas_cap: u64,
) -> Result<u64, CallError> {
    let mut simulation = Simulation::new(params, header, db, request, Cap::Kept);
    let cap = simulation.machine.cfg_env().tx_gas_limit_cap().min(gas_cap).min(header.gas_limit);
    let mut enough = request.gas.unwrap_or(cap).min(cap).min(simulation.affordable_gas()?);
    let used = match simulation.run(enough) {
        Ok(ExecutionResult::Success { gas, .. }) => gas,
        Ok(failed) => return Err(failure(failed, enough)),
        Err(CallError::Invalid(TxError::IntrinsicGas { .. })) => return Err(CallError::GasAllowance(enough)),
        Err(error) => return Err(error),
    };
    // Most calls do with what they used before refunds; nothing does with less.
    let spent = used.total_gas_spent().max(used.tx_gas_used());
    if simulation.succeeds(spent)? {
        return Ok(spent);
    }
    let mut too_little = spent;
    // Most others need a stipend more, and the 1/64 that each call keeps back (EIP-150).
    let mut next = spent.saturating_add(CALL_STIPEND).saturating_mul(64) / 63;
    while enough.saturating_sub(too_little) > (enough / ESTIMATE_PRECISION).max(1) {
        let try_with = next.clamp(too_little.saturating_add(1), enough.saturating_sub(1));
        if simulation.succeeds(try_with)? {
            enough = try_with;
        } else {
            too_little = try_with;
        }
        next = too_little.midpoint(enough);
    }
    Ok(enough)
}

/// Whether the fork's cap for one transaction holds for the call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cap {
    Kept,
    Lifted,
}

/// A call as the machine takes it.
pub(super) struct Simulated {
    pub(super) env: EvmEnv,
    /// Without its gas limit.
    pub(super) tx: TxEnv,
}

impl Simulated {
    pub(super) fn new(params: &ChainParams, header: &Header, request: &CallRequest, cap: Cap) -> Self {
        let mut env = env::env(params, header);
        request.relax(&mut env);
        if cap == Cap::Kept {
            env.cfg_env.tx_gas_limit_cap = None;
        }
        Self { env, tx: request.tx_env(params.chain_id) }
    }
}

struct Simulation<'a, DB: StateRead> {
    machine: Machine<'a, DB>,
    tx: TxEnv,
    chain_id: u64,
}

impl<'a, DB: StateRead> Simulation<'a, DB> {
    fn new(params: &'a ChainParams, header: &Header, db: DB, request: &CallRequest, cap: Cap) -> Self {
        let Simulated { env, tx } = Simulated::new(params, header, request, cap);
        Self { machine: env::machine(params, env, db), tx, chain_id: params.chain_id }
    }

    /// Runs the call with a gas limit; the state stays as it was.
    fn transact(&mut self, gas_limit: u64) -> Result<ExecutionResult, EVMError<DB::Error>> {
        Ok(self.machine.transact_raw(TxEnv { gas_limit, ..self.tx.clone() })?.result)
    }

    /// As [`Self::transact`], with errors in words.
    fn run(&mut self, gas_limit: u64) -> Result<ExecutionResult, CallError> {
        self.transact(gas_limit).map_err(|error| refusal(error, self.machine.block(), self.chain_id, gas_limit))
    }

    /// Whether the call succeeds with a gas limit; a limit below the intrinsic gas is a failure like any other.
    fn succeeds(&mut self, gas_limit: u64) -> Result<bool, CallError> {
        match self.run(gas_limit) {
            Ok(result) => Ok(result.is_success()),
            Err(CallError::Invalid(TxError::IntrinsicGas { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gas that the caller can pay for after the value is sent.
    fn affordable_gas(&mut self) -> Result<u64, CallError> {
        if self.tx.gas_price == 0 {
            return Ok(u64::MAX);
        }
        let (caller, needed) = (self.tx.caller, self.tx.value);
        let info = self.machine.db_mut().basic(caller).map_err(|e| CallError::State(e.to_string()))?;
        let balance = info.unwrap_or_default().balance;
        let left = balance.checked_sub(needed).ok_or(TxError::Funds { needed, balance })?;
        Ok(left.checked_div(U256::from(self.tx.gas_price)).unwrap_or(U256::MAX).saturating_to())
    }
}

pub(super) fn failure(result: ExecutionResult, gas_limit: u64) -> CallError {
    match result {
        ExecutionResult::Revert { output, .. } => {
            let reason = decode_revert(&output);
            CallError::Revert { data: output, reason }
        }
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => CallError::GasAllowance(gas_limit),
        ExecutionResult::Halt { reason, .. } => CallError::Halt(format!("{reason:?}")),
        ExecutionResult::Success { .. } => CallError::Halt("success taken for a failure".to_owned()),
    }
}

/// Puts revert data into words: `Error(string)`, `Panic(uint256)`, and the errors of the system contracts.
pub fn decode_revert(data: &[u8]) -> Option<String> {
    let jobs = || JobsErrors::abi_decode(data).ok().map(|error| format!("{error:?}"));
    let token = || TokenErrors::abi_decode(data).ok().map(|error| format!("{error:?}"));
    // `TooEarly(TooEarly { release: 7 })` says its name twice.
    let known = jobs().or_else(token).and_then(|text| Some(text.split_once('(')?.1.strip_suffix(')')?.to_owned()));
    let text = || Revert::abi_decode(data).ok().map(|error| error.reason);
    let panic = || Panic::abi_decode(data).ok().map(|error| error.to_string());
    known.or_else(text).or_else(panic)
}
