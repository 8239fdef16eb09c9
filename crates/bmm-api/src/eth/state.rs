//! What accounts hold, and what chain this is.

use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::{Args, Slot},
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U64, U256};
use bmm_ledger::store::StateView;

/// Returns the state after a block; absent means the head.
fn state(context: &Context, block: Option<BlockId>) -> RpcResult<StateView> {
    Ok(context.chain.state(block.unwrap_or_default())?)
}

/// `eth_chainId`.
pub(crate) fn chain_id(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&U64::from(context.chain.params().chain_id))
}

/// `eth_accounts`: none, since the node holds no keys.
pub(crate) fn accounts(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json::<[Address]>(&[])
}

/// `eth_syncing`: how far the node is in catching up with its network, or `false`.
pub(crate) fn syncing(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    match context.network.as_ref().and_then(|network| (network.syncing)()) {
        None => json(&false),
        Some(sync) => json(&serde_json::json!({
            "startingBlock": U64::from(sync.starting),
            "currentBlock": U64::from(sync.current),
            "highestBlock": U64::from(sync.highest),
        })),
    }
}

/// `eth_getBalance`: units (10^-18 BMM).
pub(crate) fn balance(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let state = state(context, args.optional()?)?;
    json(&state.account(address)?.map_or(U256::ZERO, |account| account.balance))
}

/// `eth_getTransactionCount`: the account's next nonce; with `pending`, that after its transactions in the pool.
pub(crate) fn nonce(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let nonce = if block.is_some_and(|block| block.is_pending()) {
        context.chain.pending_nonce(address)?
    } else {
        state(context, block)?.account(address)?.map_or(0, |account| account.nonce)
    };
    json(&U64::from(nonce))
}

/// `eth_getCode`.
pub(crate) fn code(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let state = state(context, args.optional()?)?;
    let code = match state.account(address)? {
        Some(account) if account.code_hash != KECCAK256_EMPTY => state.code(account.code_hash)?,
        _ => None,
    };
    json(&code.unwrap_or_else(Bytes::new))
}

/// `eth_getStorageAt`: always 32 bytes.
pub(crate) fn storage(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let Slot(slot) = args.required()?;
    let state = state(context, args.optional()?)?;
    json(&B256::from(state.storage(address, slot)?))
}
