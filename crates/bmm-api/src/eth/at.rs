//! Which block a block parameter means.

use crate::{
    blocks::ReadBlock,
    error::{RpcError, RpcResult},
    methods::Context,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use bmm_ledger::store::StateView;
use bmm_types::Header;
use std::sync::Arc;

/// Returns the block that `at` means; `None` where there is none. `pending` counts as the head.
pub(crate) fn block(context: &Context, at: BlockId) -> RpcResult<Option<Arc<ReadBlock>>> {
    let chain = &context.chain;
    let id = match at {
        BlockId::Hash(hash) if hash.require_canonical == Some(true) && !chain.is_canonical(hash.block_hash)? => None,
        BlockId::Hash(hash) => Some(hash.block_hash),
        BlockId::Number(BlockNumberOrTag::Number(number)) => chain.canonical(number)?,
        BlockId::Number(BlockNumberOrTag::Latest | BlockNumberOrTag::Pending) => Some(chain.head().id),
        tag @ BlockId::Number(_) => chain.resolve(tag)?.map(|block| block.id),
    };
    id.map_or(Ok(None), |id| stored(context, id))
}

/// Returns the block of that id; `None` where there is none.
pub(crate) fn stored(context: &Context, id: B256) -> RpcResult<Option<Arc<ReadBlock>>> {
    let block = context.blocks.get(&context.chain, id)?;
    if block.is_none() {
        must_be_whole(context, id)?;
    }
    Ok(block)
}

/// Refuses a block of which nothing but the header is here, since the chain was begun with the state of a later one.
pub(crate) fn must_be_whole(context: &Context, id: B256) -> RpcResult<()> {
    let first = context.chain.oldest_body()?;
    match context.chain.header(id)?.filter(|header| header.number < first) {
        Some(header) => Err(RpcError::before_snapshot(header.number, first)),
        None => Ok(()),
    }
}

/// Returns the number that a tag or number means; `None` where it lies above the head. `pending` counts as the head.
pub(crate) fn number(context: &Context, block: BlockNumberOrTag) -> RpcResult<Option<u64>> {
    let number = match block {
        BlockNumberOrTag::Number(number) => Some(number),
        tag => context.chain.resolve(tag.into())?.map(|block| block.number()),
    };
    Ok(number.filter(|&number| number <= context.chain.head().number()))
}

/// Returns the state after a block, and the block's header; absent means the head.
pub(crate) fn state(context: &Context, block: Option<BlockId>) -> RpcResult<(StateView, Header)> {
    let view = context.chain.state(block.unwrap_or_default())?;
    // The view says which block it is of: the head may have moved since.
    let id = view.block().id;
    let head = context.chain.head();
    if head.id == id {
        return Ok((view, head.header.clone()));
    }
    let header = context.chain.header(id)?;
    Ok((view, header.ok_or_else(|| RpcError::Internal(format!("block {id} has a state but no header")))?))
}
