//! `txpool_*`: what waits for a block.

use crate::{
    error::RpcResult,
    eth::answer,
    methods::{Context, Json, json},
    params::Args,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, U64};
use bmm_chain::PoolTransaction;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Transactions that could be in the next block, and those that wait for an earlier nonce.
#[derive(Serialize)]
struct Parts<T> {
    pending: T,
    queued: T,
}

/// `txpool_status`: how many.
pub(crate) fn status(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let status = context.chain.pool_status();
    json(&Parts { pending: U64::from(status.pending), queued: U64::from(status.queued) })
}

/// Writes a list by nonce.
fn by_nonce<T>(list: &[Arc<PoolTransaction>], write: impl Fn(&PoolTransaction) -> T) -> BTreeMap<u64, T> {
    list.iter().map(|waiting| (waiting.transaction.nonce(), write(waiting))).collect()
}

/// Writes a list by sender and nonce.
fn by_sender<T>(
    list: &[Arc<PoolTransaction>],
    write: impl Fn(&PoolTransaction) -> T,
) -> BTreeMap<Address, BTreeMap<u64, T>> {
    let mut senders: BTreeMap<Address, BTreeMap<u64, T>> = BTreeMap::new();
    for waiting in list {
        senders.entry(waiting.sender).or_default().insert(waiting.transaction.nonce(), write(waiting));
    }
    senders
}

fn whole(waiting: &PoolTransaction) -> impl Serialize + use<> {
    answer::transaction(waiting.transaction.clone(), waiting.sender, None)
}

/// `txpool_content`: all of them, whole.
pub(crate) fn content(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let waiting = context.chain.pool_content();
    json(&Parts { pending: by_sender(&waiting.pending, whole), queued: by_sender(&waiting.queued, whole) })
}

/// `txpool_contentFrom`: those of one sender, whole.
pub(crate) fn content_from(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let waiting = context.chain.pool_content_of(args.required()?);
    json(&Parts { pending: by_nonce(&waiting.pending, whole), queued: by_nonce(&waiting.queued, whole) })
}

/// `txpool_inspect`: all of them in a few words each, as geth writes them.
pub(crate) fn inspect(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let words = |one: &PoolTransaction| {
        let tx = &one.transaction;
        let to = tx.to().map_or_else(|| "contract creation".to_owned(), |to| to.to_string());
        format!("{to}: {} wei + {} gas × {} wei", tx.value(), tx.gas_limit(), tx.max_fee_per_gas())
    };
    let waiting = context.chain.pool_content();
    json(&Parts { pending: by_sender(&waiting.pending, words), queued: by_sender(&waiting.queued, words) })
}
