//! Simulated calls: `eth_call` and `eth_estimateGas`.

use super::{CallError, StateRead};
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, Bytes, Log, U256};
use bmm_types::{ChainParams, Header};

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
    /// Units per gas that the caller pays; nothing if absent.
    pub gas_price: Option<u128>,
    /// Accounts and slots that are warm from the start.
    pub access_list: AccessList,
    /// Delegations to set before the call (EIP-7702).
    pub authorizations: Vec<SignedAuthorization>,
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

/// Runs `request` in the environment of `header` on the state `db`, with at most `gas_cap` gas.
pub fn call(
    params: &ChainParams,
    header: &Header,
    db: impl StateRead,
    request: &CallRequest,
    gas_cap: u64,
) -> Result<CallOutcome, CallError> {
    todo!()
}

/// Finds the gas limit with which `request` succeeds, at most `gas_cap`.
pub fn estimate_gas(
    params: &ChainParams,
    header: &Header,
    db: impl StateRead,
    request: &CallRequest,
    gas_cap: u64,
) -> Result<u64, CallError> {
    todo!()
}
