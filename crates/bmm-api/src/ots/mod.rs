//! `ots_*`: what the Otterscan explorer asks for, and `erigon_getHeaderByNumber`, which it asks first.

mod blocks;
mod history;
mod search;

pub(crate) use blocks::{block_details, block_details_by_hash, block_transactions, header_by_number};
pub(crate) use history::{contract_creator, transaction_by_sender_and_nonce};
pub(crate) use search::{after, before};

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count, Param, by_serde},
    replays::{Budget, Stored, TRACE_TIME, long_json},
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, TxHash};
use alloy_rpc_types_trace::{
    geth::{CallFrame, GethDebugBuiltInTracerType, GethDebugTracingOptions, GethTrace},
    otterscan::TraceEntry,
};

/// Version of the methods, as Otterscan counts them.
const API_LEVEL: u8 = 8;

/// A block's number; Otterscan sends plain JSON numbers, others hex and tags.
pub(super) struct Number(pub(super) BlockNumberOrTag);

impl Param for Number {
    const EXPECTED: &'static str = <BlockNumberOrTag as Param>::EXPECTED;

    fn read(json: &str) -> Result<Self, Option<String>> {
        match serde_json::from_str(json) {
            Ok(number) => Ok(Self(BlockNumberOrTag::Number(number))),
            Err(_) => by_serde(json).map(Self),
        }
    }
}

/// A block by number or hash, the number plain or hex.
struct AnyBlock(BlockId);

impl Param for AnyBlock {
    const EXPECTED: &'static str = <BlockId as Param>::EXPECTED;

    fn read(json: &str) -> Result<Self, Option<String>> {
        match serde_json::from_str::<u64>(json) {
            Ok(number) => Ok(Self(number.into())),
            Err(_) => BlockId::read(json).map(Self),
        }
    }
}

/// Reads a page's size.
pub(super) fn page_size(args: &mut Args<'_>, position: usize, max: usize) -> RpcResult<usize> {
    let Count(size) = args.required()?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 0 || size > max {
        return Err(RpcError::param(position, "page size", format!("got {size}, expected 1 to {max}")));
    }
    Ok(size)
}

/// `ots_getApiLevel`.
pub(crate) fn api_level(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&API_LEVEL)
}

/// `ots_hasCode`.
pub(crate) fn has_code(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let block: Option<AnyBlock> = args.optional()?;
    let state = context.chain.state(block.map_or_else(BlockId::default, |AnyBlock(block)| block))?;
    json(&state.account(address)?.is_some_and(|account| account.code_hash != KECCAK256_EMPTY))
}

fn found(context: &Context, hash: TxHash) -> RpcResult<(Stored, usize)> {
    let found = Stored::of_transaction(context, hash)?;
    found.ok_or_else(|| RpcError::Refused(format!("transaction not found: {hash}")))
}

/// `ots_getInternalOperations`: transfers, creations and self-destructions inside a transaction.
pub(crate) fn internal_operations(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (stored, index) = found(context, args.required()?)?;
    let budget = Budget::new(context, TRACE_TIME);
    let mut replay = stored.replay_to(context, index, &budget)?;
    long_json(context, &replay.internal_operations(stored.subject(index)?, budget.limits())?)
}

/// `ots_getTransactionError`: what a failed transaction reverted with; `0x` of others.
pub(crate) fn transaction_error(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (stored, index) = found(context, args.required()?)?;
    let receipts = context.chain.receipts(stored.id)?.unwrap_or_default();
    if receipts.get(index).is_some_and(bmm_ledger::store::Receipt::is_success) {
        return json(&Bytes::new());
    }
    let budget = Budget::new(context, TRACE_TIME);
    let mut replay = stored.replay_to(context, index, &budget)?;
    json(&replay.output(stored.subject(index)?, budget.limits())?)
}

/// `ots_traceTransaction`: the calls of a transaction in their order, with their depth.
pub(crate) fn trace_transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (stored, index) = found(context, args.required()?)?;
    let budget = Budget::new(context, TRACE_TIME);
    let options = GethDebugTracingOptions::new_tracer(GethDebugBuiltInTracerType::CallTracer);
    let mut replay = stored.replay_to(context, index, &budget)?;
    let (trace, _) = replay.geth(stored.subject(index)?, stored.place(index), options, budget.limits())?;
    let GethTrace::CallTracer(root) = trace else {
        return Err(RpcError::Internal("the call tracer made another trace".into()));
    };
    long_json(context, &entries(root))
}

/// Lists calls in the order in which they began.
fn entries(root: CallFrame) -> Vec<TraceEntry> {
    let (mut waiting, mut listed) = (vec![(0, root)], Vec::new());
    while let Some((depth, frame)) = waiting.pop() {
        listed.push(TraceEntry {
            r#type: frame.typ,
            depth,
            from: frame.from,
            to: frame.to.unwrap_or_default(),
            value: frame.value,
            input: frame.input,
            output: frame.output.unwrap_or_default(),
        });
        waiting.extend(frame.calls.into_iter().rev().map(|call| (depth + 1, call)));
    }
    listed
}
