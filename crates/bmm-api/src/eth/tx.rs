//! Transactions: sending, finding, receipts.

use super::answer::{self, Place};
use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
};
use alloy_primitives::{B256, Bytes};
use bmm_chain::FoundTransaction;

/// `eth_sendRawTransaction`: checks a signed transaction, takes it into the pool and returns its hash.
pub(crate) fn send_raw(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let bytes: Bytes = args.required()?;
    json(&context.chain.submit_raw(&bytes)?)
}

/// `eth_getTransactionByHash`: mined or waiting in the pool; `null` where neither.
pub(crate) fn by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    if let Some(found) = context.chain.transaction(hash)? {
        return json(&answer::transaction(found.transaction.clone(), found.sender, Some(place(&found))));
    }
    let waiting = context.chain.pending_transaction(hash);
    json(&waiting.map(|waiting| answer::transaction(waiting.transaction.clone(), waiting.sender, None)))
}

/// `eth_getTransactionReceipt`: `null` until the transaction is mined.
pub(crate) fn receipt(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    let Some(found) = context.chain.transaction(hash)? else { return json(&()) };
    // The block may have left the chain between the two reads; then there is no receipt any more.
    let Some(receipts) = context.chain.receipts(found.block)? else { return json(&()) };
    json(&answer::receipt(&found.transaction, found.sender, place(&found), &receipts)?)
}

fn place(found: &FoundTransaction) -> Place<'_> {
    Place { block: found.block, header: &found.header, index: found.index }
}
