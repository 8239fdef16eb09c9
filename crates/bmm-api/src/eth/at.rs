//! Which block a block parameter means.

use crate::{
    blocks::ReadBlock,
    error::{RpcError, RpcResult},
    methods::Context,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
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
    id.map_or(Ok(None), |id| context.blocks.get(chain, id))
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
