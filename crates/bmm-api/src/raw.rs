//! `debug_getRaw*`: headers, blocks, receipts and transactions in their consensus encodings.

use crate::{
    blocks::ReadBlock,
    error::RpcResult,
    eth::{at, parts, tx},
    methods::{Context, Json, json},
    params::Args,
};
use alloy_eips::{BlockId, eip2718::Encodable2718 as _};
use alloy_primitives::Bytes;
use bmm_types::Block;
use std::sync::Arc;

fn block(context: &Context, args: &mut Args<'_>) -> RpcResult<Option<Arc<ReadBlock>>> {
    let block: BlockId = args.required()?;
    at::block(context, block)
}

/// `debug_getRawHeader`: RLP.
pub(crate) fn header(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&block(context, args)?.map(|block| Bytes::from(alloy_rlp::encode(&block.header))))
}

/// `debug_getRawBlock`: RLP of header, transactions and ommers; without the seal, which is not part of the block.
pub(crate) fn whole(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let encode = |block: Arc<ReadBlock>| {
        Bytes::from(alloy_rlp::encode(Block { header: block.header.clone(), body: block.body.clone() }))
    };
    json(&block(context, args)?.map(encode))
}

/// `debug_getRawReceipts`: the EIP-2718 encoding of each.
pub(crate) fn receipts(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Some(block) = block(context, args)? else { return json(&()) };
    let receipts = block.receipts(&context.chain)?;
    if receipts.is_none() {
        at::must_be_whole(context, block.id)?;
    }
    json(
        &receipts
            .map(|receipts| receipts.all.iter().map(|receipt| receipt.encoded_2718().into()).collect::<Vec<Bytes>>()),
    )
}

/// `debug_getRawTransaction`, `eth_getRawTransactionByHash`: mined or waiting in the pool.
pub(crate) fn transaction(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash = args.required()?;
    if let Some((block, index)) = tx::find(context, hash)? {
        return parts::raw(block.body.transactions.get(index));
    }
    parts::raw(context.chain.pending_transaction(hash).as_ref().map(|waiting| &waiting.transaction))
}
