//! `debug_trace*`: what geth's tracers say of transactions, blocks and calls.

mod options;

use crate::{
    error::{RpcError, RpcResult},
    eth::call::Simulated,
    methods::{Context, Json},
    params::Args,
    replays::{Budget, Stored, long_json},
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, Bytes, TxHash};
use alloy_rlp::Decodable as _;
use alloy_rpc_types_eth::{TransactionInfo, TransactionRequest};
use alloy_rpc_types_trace::{
    common::TraceResult,
    geth::{GethDebugTracingCallOptions, GethDebugTracingOptions, GethTrace},
};
use bmm_ledger::exec::{Replay, StateRead, Subject};
use bmm_types::Block;

/// `debug_traceTransaction`: runs the transaction again on the state that it met.
pub(crate) fn transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: TxHash = args.required()?;
    let (options, time) = options::read(args.optional()?.unwrap_or_default())?;
    let budget = Budget::new(context, time);
    let found = Stored::of_transaction(context, hash)?;
    let (block, index) = found.ok_or_else(|| RpcError::Refused(format!("transaction not found: {hash}")))?;
    let mut replay = block.replay_to(context, index, &budget)?;
    let (trace, _) = replay.geth(block.subject(index)?, block.place(index), options, budget.limits())?;
    long_json(context, &trace)
}

/// `debug_traceCall`: runs a call after a block, or in it after `txIndex` transactions.
pub(crate) fn call(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let request: TransactionRequest = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let options: GethDebugTracingCallOptions = args.optional()?.unwrap_or_default();
    let (tracing, time) = options::read(options.tracing_options)?;
    let budget = Budget::new(context, time);
    let state = (options.state_overrides, (3, "options"));
    let blocks = (options.block_overrides, (3, "options"));
    let trace = match options.tx_index {
        None => {
            let call = Simulated::new(context, request, block, state, blocks)?;
            let replay = Replay::after(context.chain.params(), &call.header, call.state);
            run_call(replay, Subject::Call(&call.request, context.config.call_gas_limit), tracing, &budget)?
        }
        Some(_) if state.0.is_some() || blocks.0.is_some() => {
            let words = "txIndex and overrides do not go together; send one of them";
            return Err(RpcError::param(3, "options", words));
        }
        Some(index) => {
            let stored = Stored::get(context, block.unwrap_or_default())?;
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            if index > stored.body.transactions.len() {
                let words = format!("txIndex {index}, the block has {} transactions", stored.body.transactions.len());
                return Err(RpcError::param(3, "options", words));
            }
            let replay = stored.replay_to(context, index, &budget)?;
            let call = Simulated::new(context, request, block, (None, state.1), (None, blocks.1))?;
            run_call(replay, Subject::Call(&call.request, context.config.call_gas_limit), tracing, &budget)?
        }
    };
    long_json(context, &trace)
}

fn run_call<DB: StateRead + 'static>(
    mut replay: Replay<'_, DB>,
    subject: Subject<'_>,
    options: GethDebugTracingOptions,
    budget: &Budget,
) -> RpcResult<GethTrace> {
    Ok(replay.geth(subject, TransactionInfo::default(), options, budget.limits())?.0)
}

/// `debug_traceBlockByNumber`.
pub(crate) fn block_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let number: BlockNumberOrTag = args.required()?;
    let stored = Stored::get(context, number.into())?;
    block(context, &stored, args.optional()?.unwrap_or_default())
}

/// `debug_traceBlockByHash`.
pub(crate) fn block_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    let stored = Stored::get(context, BlockId::from(hash))?;
    block(context, &stored, args.optional()?.unwrap_or_default())
}

/// `debug_traceBlock`: an encoded block, which need not be one that the node has, on the state of its parent, which must.
pub(crate) fn block_encoded(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let bytes: Bytes = args.required()?;
    let refuse = |error: alloy_rlp::Error| RpcError::param(1, "block", format!("not the RLP of a block: {error}"));
    let mut rest = bytes.as_ref();
    let decoded = Block::decode(&mut rest).map_err(refuse)?;
    if !rest.is_empty() {
        return Err(RpcError::param(1, "block", format!("{} bytes follow the block's RLP", rest.len())));
    }
    if context.chain.header(decoded.header.parent_hash)?.is_none() {
        return Err(RpcError::no_block(format!("{} (the parent)", decoded.header.parent_hash)));
    }
    let senders = context.chain.senders(&decoded.body)?;
    let id = decoded.header.hash_slow();
    let stored = Stored { id, header: decoded.header, body: decoded.body, senders };
    block(context, &stored, args.optional()?.unwrap_or_default())
}

/// Traces every transaction of a block.
fn block(context: &Context, stored: &Stored, options: GethDebugTracingOptions) -> RpcResult<Json> {
    let (options, time) = options::read(options)?;
    let mut budget = Budget::new(context, time);
    let mut replay = stored.replay(context)?;
    let mut traces: Vec<TraceResult<GethTrace, String>> = Vec::with_capacity(stored.body.transactions.len());
    for index in 0..stored.body.transactions.len() {
        budget.check()?;
        let done = replay.geth(stored.subject(index)?, stored.place(index), options.clone(), budget.limits())?;
        traces.push(TraceResult::new_success(budget.spend(done), stored.place(index).hash));
    }
    long_json(context, &traces)
}
