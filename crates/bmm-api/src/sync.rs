//! What another node is given so that it can follow the chain: headers and blocks with their seals, as RLP. Every answer is bounded in
//! number and bytes; who asks for more gets less, and asks again from there.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count},
};
use alloy_primitives::Bytes;

/// Headers that one call returns at most.
const MAX_HEADERS: u64 = 512;

/// Blocks that one call returns at most.
const MAX_BLOCKS: u64 = 256;

/// Bytes of RLP after which an answer ends; a single longer block is returned nevertheless.
const ENOUGH_BYTES: usize = 4 << 20;

/// `bmm_getHeaders`: canonical headers from a number on, each as RLP of [header, seal].
pub(crate) fn headers(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    page(args, MAX_HEADERS, |number| Ok(context.chain.sealed_header(number)?.map(alloy_rlp::encode)))
}

/// `bmm_getBlocks`: canonical blocks from a number on, each as RLP of [[header, transactions, ommers], seal].
pub(crate) fn blocks(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    page(args, MAX_BLOCKS, |number| Ok(context.chain.sealed_block(number)?.map(alloy_rlp::encode)))
}

/// Collects what stands under consecutive numbers until there is nothing more or enough of it.
fn page(
    args: &mut Args<'_>,
    max_count: u64,
    mut read: impl FnMut(u64) -> RpcResult<Option<Vec<u8>>>,
) -> RpcResult<Json> {
    let Count(first) = args.required()?;
    let Count(count) = args.required()?;
    if count == 0 {
        return Err(RpcError::param(2, "count", "expected at least 1, got 0"));
    }
    let (mut found, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
    for number in first..first.saturating_add(count.min(max_count)) {
        let Some(rlp) = read(number)? else { break };
        bytes = bytes.saturating_add(rlp.len());
        if bytes > ENOUGH_BYTES && !found.is_empty() {
            break;
        }
        found.push(rlp.into());
    }
    json(&found)
}
