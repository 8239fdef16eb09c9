//! Transactions: sending, finding, receipts.

use super::answer;
use crate::{
    blocks::ReadBlock,
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
};
use alloy_primitives::{B256, Bytes};
use std::sync::Arc;

/// `eth_sendRawTransaction`: checks a signed transaction, takes it into the pool and returns its hash.
pub(crate) fn send_raw(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let bytes: Bytes = args.required()?;
    json(&context.chain.submit_raw(&bytes)?)
}

/// `eth_getTransactionByHash`: mined or waiting in the pool; `null` where neither.
pub(crate) fn by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    if let Some((block, index)) = find(context, hash)? {
        return json(&answer::mined(&context.chain, &block, index)?);
    }
    let waiting = context.chain.pending_transaction(hash);
    json(&waiting.map(|waiting| answer::transaction(waiting.transaction.clone(), waiting.sender, None)))
}

/// `eth_getTransactionReceipt`: `null` until the transaction is mined.
pub(crate) fn receipt(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Some((block, index)) = find(context, args.required()?)? else { return json(&()) };
    json(&answer::receipt(&context.chain, &block, index)?)
}

/// Finds a mined transaction: its block, and its index there.
pub(crate) fn find(context: &Context, hash: B256) -> RpcResult<Option<(Arc<ReadBlock>, usize)>> {
    let Some(place) = context.chain.transaction_place(hash)? else { return Ok(None) };
    let block = context.blocks.get(&context.chain, place.block)?;
    Ok(block.zip(usize::try_from(place.index).ok()))
}
