//! `trace_*`: calls, state changes and steps as OpenEthereum's trace module says them.

mod calls;
mod filter;
mod params;
mod rewards;

pub(crate) use calls::{call, call_many, raw_transaction};
pub(crate) use filter::filter;

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::Args,
    replays::{Budget, Stored, TRACE_TIME, long_json},
};
use alloy_eips::BlockId;
use alloy_primitives::TxHash;
use alloy_rpc_types_eth::TransactionInfo;
use alloy_rpc_types_trace::parity::{LocalizedTransactionTrace, TraceResultsWithTransactionHash, TransactionTrace};
use params::{Path, TraceTypes};
use rewards::Entry;

/// Says where traces belong.
fn localised(traces: Vec<TransactionTrace>, place: TransactionInfo) -> impl Iterator<Item = LocalizedTransactionTrace> {
    traces.into_iter().map(move |trace| LocalizedTransactionTrace {
        trace,
        block_hash: place.block_hash,
        block_number: place.block_number,
        transaction_hash: place.hash,
        transaction_position: place.index,
    })
}

/// Traces the calls of all transactions of a block; genesis has none.
fn calls_of(context: &Context, stored: &Stored, budget: &mut Budget) -> RpcResult<Vec<LocalizedTransactionTrace>> {
    let mut traces = Vec::new();
    if stored.body.transactions.is_empty() {
        return Ok(traces);
    }
    let mut replay = stored.replay(context)?;
    for index in 0..stored.body.transactions.len() {
        budget.check()?;
        let done = replay.calls(stored.subject(index)?, budget.limits())?;
        traces.extend(localised(budget.spend(done), stored.place(index)));
    }
    Ok(traces)
}

/// `trace_block`: the calls of a block's transactions, then its rewards; `null` where there is no such block.
pub(crate) fn block(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Some(stored) = Stored::find(context, args.required::<BlockId>()?)? else { return json(&()) };
    let mut budget = Budget::new(context, TRACE_TIME);
    let calls = calls_of(context, &stored, &mut budget)?;
    let rewards = rewards::of(context.chain.params(), &stored.header, stored.id);
    let all: Vec<Entry> = calls.into_iter().map(Entry::from).chain(rewards).collect();
    long_json(context, &all)
}

/// `trace_transaction`: the calls of a transaction; `null` where there is no such transaction.
pub(crate) fn transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    match transaction_calls(context, args.required()?)? {
        Some(traces) => long_json(context, &traces),
        None => json(&()),
    }
}

/// `trace_get`: the call of a transaction at a path such as `["0x0", "0x2"]`; `null` where there is none.
pub(crate) fn get(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (hash, Path(path)) = (args.required()?, args.required()?);
    let traces = transaction_calls(context, hash)?.unwrap_or_default();
    long_json(context, &traces.into_iter().find(|found| found.trace.trace_address == path))
}

fn transaction_calls(context: &Context, hash: TxHash) -> RpcResult<Option<Vec<LocalizedTransactionTrace>>> {
    let budget = Budget::new(context, TRACE_TIME);
    let Some((stored, index)) = Stored::of_transaction(context, hash)? else { return Ok(None) };
    let mut replay = stored.replay_to(context, index, &budget)?;
    let (traces, _) = replay.calls(stored.subject(index)?, budget.limits())?;
    Ok(Some(localised(traces, stored.place(index)).collect()))
}

/// `trace_replayTransaction`: the kinds of traces asked for; an error where there is no such transaction.
pub(crate) fn replay_transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: TxHash = args.required()?;
    let TraceTypes(types) = args.required()?;
    let budget = Budget::new(context, TRACE_TIME);
    let found = Stored::of_transaction(context, hash)?;
    let (stored, index) = found.ok_or_else(|| RpcError::Refused(format!("transaction not found: {hash}")))?;
    let mut replay = stored.replay_to(context, index, &budget)?;
    let (results, _) = replay.parity(stored.subject(index)?, &types, budget.limits())?;
    long_json(context, &results)
}

/// `trace_replayBlockTransactions`: the same for every transaction of a block; `null` where there is no such block.
pub(crate) fn replay_block(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block: BlockId = args.required()?;
    let TraceTypes(types) = args.required()?;
    let Some(stored) = Stored::find(context, block)? else { return json(&()) };
    let mut budget = Budget::new(context, TRACE_TIME);
    let mut all = Vec::new();
    if !stored.body.transactions.is_empty() {
        let mut replay = stored.replay(context)?;
        for (index, tx) in stored.body.transactions.iter().enumerate() {
            budget.check()?;
            let traced = replay.parity(stored.subject(index)?, &types, budget.limits())?;
            let full_trace = budget.spend(traced);
            all.push(TraceResultsWithTransactionHash { full_trace, transaction_hash: *tx.tx_hash() });
        }
    }
    long_json(context, &all)
}
