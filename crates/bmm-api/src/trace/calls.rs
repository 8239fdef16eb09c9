//! Traces of what is no part of the chain: calls, and transactions that were not sent.

use super::params::{Calls, TraceTypes};
use crate::{
    error::{RpcError, RpcResult},
    eth::{
        at, blocks,
        call::{Simulated, request_of},
    },
    methods::{Context, Json},
    params::Args,
    replays::{Budget, TRACE_TIME, long_json},
};
use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_eips::{BlockId, eip2718::Decodable2718 as _};
use alloy_primitives::Bytes;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::StateOverride};
use bmm_ledger::exec::{Replay, Subject};
use bmm_types::Transaction;

/// `trace_call`: a call after a block, with overrides.
pub(crate) fn call(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let request: TransactionRequest = args.required()?;
    let TraceTypes(types) = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let (state, blocks): (Option<StateOverride>, Option<BlockOverrides>) = (args.optional()?, args.optional()?);
    let state = (state, (4, "state overrides"));
    let call = Simulated::new(context, request, block, state, (blocks, (5, "block overrides")))?;
    let budget = Budget::new(context, TRACE_TIME);
    let mut replay = Replay::after(context.chain.params(), &call.header, call.state);
    let subject = Subject::Call(&call.request, context.config.call_gas_limit);
    let (results, _) = replay.parity(subject, &types, budget.limits())?;
    long_json(context, &results)
}

/// `trace_callMany`: calls after a block, each on the state that the one before left.
pub(crate) fn call_many(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Calls(calls) = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let (state, mut header) = at::state(context, block)?;
    if block.is_some_and(|block| block.is_pending()) {
        header = blocks::pending_header(context, &header);
    }
    let params = context.chain.params();
    let mut budget = Budget::new(context, TRACE_TIME);
    let mut replay = Replay::after(params, &header, state);
    let mut all = Vec::with_capacity(calls.len());
    for (request, TraceTypes(types)) in calls {
        budget.check()?;
        let request = request_of(request, params.chain_id, header.base_fee_per_gas.unwrap_or(0))?;
        let traced = replay.parity(Subject::Call(&request, context.config.call_gas_limit), &types, budget.limits())?;
        all.push(budget.spend(traced));
    }
    long_json(context, &all)
}

/// `trace_rawTransaction`: a signed transaction as the next block would run it, without sending it.
pub(crate) fn raw_transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let bytes: Bytes = args.required()?;
    let TraceTypes(types) = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let refuse = |words: String| RpcError::param(1, "transaction", words);
    let tx = Transaction::decode_2718_exact(&bytes).map_err(|e| refuse(format!("not an encoded transaction: {e}")))?;
    let sender = tx.recover_signer().map_err(|_| refuse("the signature is invalid".into()))?;
    let (state, header) = at::state(context, block)?;
    let header = blocks::pending_header(context, &header);
    let budget = Budget::new(context, TRACE_TIME);
    let mut replay = Replay::after(context.chain.params(), &header, state);
    let (results, _) = replay.parity(Subject::Transaction(&tx, sender), &types, budget.limits())?;
    long_json(context, &results)
}
