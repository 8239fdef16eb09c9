//! `eth_createAccessList`.

use super::call::Simulated;
use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
    replays::{Budget, TRACE_TIME},
};
use alloy_eips::BlockId;
use alloy_primitives::U256;
use alloy_rpc_types_eth::{AccessListResult, TransactionRequest, state::StateOverride};
use bmm_ledger::exec::Replay;

/// `eth_createAccessList`: accounts and slots that a call touches, and the gas that it uses with them listed. A call that
/// fails has its list, too, with `error`.
pub(crate) fn create(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let request: TransactionRequest = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let overrides: Option<StateOverride> = args.optional()?;
    let state = (overrides, (3, "state overrides"));
    let call = Simulated::new(context, request, block, state, (None, (0, "block overrides")))?;
    let budget = Budget::new(context, TRACE_TIME);
    let mut replay = Replay::after(context.chain.params(), &call.header, call.state);
    let found = replay.access_list(&call.request, context.config.call_gas_limit, budget.limits())?;
    json(&AccessListResult { access_list: found.access_list, gas_used: U256::from(found.gas_used), error: found.error })
}
