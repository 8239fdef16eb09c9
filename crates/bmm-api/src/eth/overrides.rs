//! Overrides of state and block for simulated calls.

use crate::{
    error::{RpcError, RpcResult},
    params::{Param, by_serde},
};
use alloy_primitives::U256;
use alloy_rpc_types_eth::{BlockOverrides, state::StateOverride};
use bmm_ledger::exec::{Overridden, OverrideError, StateRead, is_built_in};
use bmm_types::{ChainParams, Header};

/// Past block ids that one call may override: the code sees 256.
const MAX_BLOCK_HASHES: usize = 256;

impl Param for StateOverride {
    const EXPECTED: &'static str =
        "state overrides: an object of addresses, each with balance, nonce, code, state or stateDiff";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

impl Param for BlockOverrides {
    const EXPECTED: &'static str = "block overrides: an object with number, time, gasLimit, feeRecipient, prevRandao, baseFeePerGas, difficulty or blockHash";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

/// Applies state overrides; `position` and `name` are those of their parameter.
pub(crate) fn apply_state<DB: StateRead>(
    params: &ChainParams,
    state: &mut Overridden<DB>,
    overrides: Option<StateOverride>,
    (position, name): (usize, &'static str),
) -> RpcResult<()> {
    let Some(overrides) = overrides else { return Ok(()) };
    state.apply(overrides, |address| is_built_in(params, address)).map_err(|error| match error {
        OverrideError::State(_) => RpcError::Internal(error.to_string()),
        OverrideError::Accounts(_) | OverrideError::Slots => RpcError::Limit(format!("{name}: {error}")),
        _ => RpcError::param(position, name, error.to_string()),
    })
}

/// Applies block overrides to the header that a call runs in.
pub(crate) fn apply_block<DB: StateRead>(
    header: &mut Header,
    state: &mut Overridden<DB>,
    overrides: Option<BlockOverrides>,
    (position, name): (usize, &'static str),
) -> RpcResult<()> {
    let Some(overrides) = overrides else { return Ok(()) };
    let refuse = |words: String| Err(RpcError::param(position, name, words));
    let small = |field: &str, value: U256| {
        u64::try_from(value).map_err(|_| RpcError::param(position, name, format!("{field} {value} is above 2^64 - 1")))
    };
    if overrides.blob_base_fee.is_some() {
        return refuse("blobBaseFee: this chain has no blobs; leave it out".into());
    }
    if overrides.beacon_root.is_some_and(|root| !root.is_zero()) {
        return refuse("beaconRoot: this chain has no beacon chain; leave it out".into());
    }
    if let Some(number) = overrides.number {
        header.number = small("number", number)?;
    }
    if let Some(base_fee) = overrides.base_fee {
        header.base_fee_per_gas = Some(small("baseFeePerGas", base_fee)?);
    }
    header.timestamp = overrides.time.unwrap_or(header.timestamp);
    header.gas_limit = overrides.gas_limit.unwrap_or(header.gas_limit);
    header.beneficiary = overrides.coinbase.unwrap_or(header.beneficiary);
    header.mix_hash = overrides.random.unwrap_or(header.mix_hash);
    header.difficulty = overrides.difficulty.unwrap_or(header.difficulty);
    let hashes = overrides.block_hash.unwrap_or_default();
    if hashes.len() > MAX_BLOCK_HASHES {
        return refuse(format!("blockHash: {} ids, at most {MAX_BLOCK_HASHES} are allowed", hashes.len()));
    }
    for (number, hash) in hashes {
        state.set_block_hash(number, hash);
    }
    Ok(())
}
