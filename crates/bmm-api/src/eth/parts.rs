//! Parts of blocks: headers, counts, single transactions, all receipts, and the uncles that there never are.

use super::{answer, at};
use crate::{
    blocks::ReadBlock,
    error::RpcResult,
    methods::{Context, Json, json},
    params::{Args, Count},
};
use alloy_consensus::Sealed;
use alloy_eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _};
use alloy_primitives::{B256, Bytes, U64};
use alloy_rpc_types_eth::{Header as RpcHeader, TransactionReceipt};
use bmm_types::Transaction;
use std::sync::Arc;

/// Returns the block of a call whose first parameter is a hash.
fn by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Option<Arc<ReadBlock>>> {
    let hash: B256 = args.required()?;
    at::stored(context, hash)
}

/// Returns the block of a call whose first parameter is a number or a tag.
fn by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Option<Arc<ReadBlock>>> {
    let block: BlockNumberOrTag = args.required()?;
    at::block(context, block.into())
}

/// Reads an index; one that no block can have means none.
fn index(args: &mut Args<'_>) -> RpcResult<usize> {
    let Count(index) = args.required()?;
    Ok(usize::try_from(index).unwrap_or(usize::MAX))
}

/// Writes a header without what belongs to the whole block.
pub(crate) fn header(block: &ReadBlock) -> RpcHeader {
    RpcHeader::from_consensus(Sealed::new_unchecked(block.header.clone(), block.id), None, None)
}

/// `eth_getHeaderByHash`.
pub(crate) fn header_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&by_hash(context, args)?.map(|block| header(&block)))
}

/// `eth_getHeaderByNumber`.
pub(crate) fn header_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&by_number(context, args)?.map(|block| header(&block)))
}

fn count(block: Option<Arc<ReadBlock>>) -> RpcResult<Json> {
    json(&block.map(|block| U64::from(block.body.transactions.len())))
}

/// `eth_getBlockTransactionCountByHash`.
pub(crate) fn count_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    count(by_hash(context, args)?)
}

/// `eth_getBlockTransactionCountByNumber`; of `pending`, what the next block would hold now.
pub(crate) fn count_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block: BlockNumberOrTag = args.required()?;
    if block.is_pending() {
        return json(&U64::from(context.chain.pending_block()?.body.transactions.len()));
    }
    count(at::block(context, block.into())?)
}

/// `eth_getUncleCountByBlockHash`: 0 for every block.
pub(crate) fn uncles_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&by_hash(context, args)?.map(|_| U64::ZERO))
}

/// `eth_getUncleCountByBlockNumber`: 0 for every block.
pub(crate) fn uncles_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&by_number(context, args)?.map(|_| U64::ZERO))
}

/// `eth_getUncleByBlockHashAndIndex`: there is none.
pub(crate) fn uncle_by_hash(_: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (_, _): (B256, usize) = (args.required()?, index(args)?);
    json(&())
}

/// `eth_getUncleByBlockNumberAndIndex`: there is none.
pub(crate) fn uncle_by_number(_: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (_, _): (BlockNumberOrTag, usize) = (args.required()?, index(args)?);
    json(&())
}

fn transaction(context: &Context, block: Option<Arc<ReadBlock>>, index: usize) -> RpcResult<Json> {
    let Some(block) = block else { return json(&()) };
    json(&answer::mined(&context.chain, &block, index)?)
}

/// `eth_getTransactionByBlockHashAndIndex`.
pub(crate) fn transaction_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block = by_hash(context, args)?;
    transaction(context, block, index(args)?)
}

/// `eth_getTransactionByBlockNumberAndIndex`; of `pending`, one that the next block would hold now.
pub(crate) fn transaction_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block: BlockNumberOrTag = args.required()?;
    let index = index(args)?;
    if !block.is_pending() {
        return transaction(context, at::block(context, block.into())?, index);
    }
    let pending = context.chain.pending_block()?;
    let Some(tx) = pending.body.transactions.get(index) else { return json(&()) };
    let sender = context.chain.senders(&pending.body)?[index];
    json(&answer::transaction(tx.clone(), sender, None))
}

/// Writes a transaction as it was sent; `null` where there is none.
pub(crate) fn raw(tx: Option<&Transaction>) -> RpcResult<Json> {
    json(&tx.map(|tx| Bytes::from(tx.encoded_2718())))
}

/// `eth_getRawTransactionByBlockHashAndIndex`.
pub(crate) fn raw_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (block, index) = (by_hash(context, args)?, index(args)?);
    raw(block.as_ref().and_then(|block| block.body.transactions.get(index)))
}

/// `eth_getRawTransactionByBlockNumberAndIndex`.
pub(crate) fn raw_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (block, index) = (by_number(context, args)?, index(args)?);
    raw(block.as_ref().and_then(|block| block.body.transactions.get(index)))
}

/// `eth_getBlockReceipts`: `null` where there is no such block in the chain.
pub(crate) fn receipts(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block: BlockId = args.required()?;
    let Some(block) = at::block(context, block)? else { return json(&()) };
    let written = (0..block.body.transactions.len()).map(|index| answer::receipt(&context.chain, &block, index));
    let written: Option<Vec<TransactionReceipt>> = written.collect::<RpcResult<_>>()?;
    if written.is_none() {
        at::must_be_whole(context, block.id)?;
    }
    json(&written)
}
