//! Blocks by number, tag and hash.

use super::answer::{self, Place};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::Args,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Sealed};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64, U256};
use alloy_rlp::Encodable as _;
use alloy_rpc_types_eth::{Block as RpcBlock, BlockTransactions, Header as RpcHeader, Transaction as RpcTransaction};
use bmm_ledger::exec::header::next_base_fee;
use bmm_types::{Block, BlockBody, Header, Transaction};
use serde_json::Value;

type Transactions = BlockTransactions<RpcTransaction<Transaction>>;

/// `eth_blockNumber`.
pub(crate) fn number(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&U64::from(context.chain.head().number()))
}

/// `eth_getBlockByNumber`: `null` above the head.
pub(crate) fn by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let block: BlockNumberOrTag = args.required()?;
    let hydrated = args.optional()?.unwrap_or(false);
    if block.is_pending() { pending(context, hydrated) } else { answer(context, block.into(), hydrated) }
}

/// `eth_getBlockByHash`: `null` where the node does not have it.
pub(crate) fn by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    let hydrated = args.optional()?.unwrap_or(false);
    answer(context, BlockId::from(hash), hydrated)
}

fn answer(context: &Context, block: BlockId, hydrated: bool) -> RpcResult<Json> {
    let Some(found) = context.chain.resolve(block)? else { return json(&()) };
    let (id, header) = (found.id, found.header.clone());
    let body = context.chain.body(id)?;
    let body = body.ok_or_else(|| RpcError::Internal(format!("block {id} has a header but no body")))?;
    let transactions = if hydrated {
        let place = |index| Some(Place { block: id, header: &header, index });
        full(context, &body, place)?
    } else {
        hashes(&body)
    };
    json(&shape(Block { header, body }, id, transactions))
}

fn hashes(body: &BlockBody) -> Transactions {
    BlockTransactions::Hashes(body.transactions.iter().map(|tx| *tx.tx_hash()).collect())
}

fn full<'a>(
    context: &Context,
    body: &BlockBody,
    place: impl Fn(usize) -> Option<Place<'a>>,
) -> RpcResult<Transactions> {
    let senders = context.chain.senders(body)?;
    let signed = body.transactions.iter().cloned().zip(senders).enumerate();
    let written = signed.map(|(index, (tx, sender))| answer::transaction(tx, sender, place(index)));
    Ok(BlockTransactions::Full(written.collect()))
}

fn shape(block: Block, id: B256, transactions: Transactions) -> RpcBlock<RpcTransaction<Transaction>> {
    let size = U256::from(block.length());
    RpcBlock {
        header: RpcHeader::from_consensus(Sealed::new_unchecked(block.header, id), None, Some(size)),
        uncles: Vec::new(),
        transactions,
        withdrawals: block.body.withdrawals,
    }
}

/// Writes the block that would follow the head now. What is not settled until it is sealed is `null`, as in Ethereum's nodes.
fn pending(context: &Context, hydrated: bool) -> RpcResult<Json> {
    let pending = context.chain.pending_block()?;
    let transactions = if hydrated { full(context, &pending.body, |_| None)? } else { hashes(&pending.body) };
    let block = Block { header: pending.header.clone(), body: pending.body.clone() };
    let block = shape(block, B256::ZERO, transactions);
    let mut value = serde_json::to_value(&block).map_err(|e| RpcError::Internal(format!("pending block: {e}")))?;
    for unsettled in ["hash", "nonce", "logsBloom", "miner", "stateRoot"] {
        value[unsettled] = Value::Null;
    }
    json(&value)
}

/// Returns the header that simulated calls on `pending` run in: the one after `parent`, now.
pub(crate) fn pending_header(context: &Context, parent: &Header) -> Header {
    Header {
        parent_hash: parent.hash_slow(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        number: parent.number.saturating_add(1),
        timestamp: context.chain.now_secs().max(parent.timestamp.saturating_add(1)),
        base_fee_per_gas: Some(next_base_fee(parent)),
        gas_used: 0,
        extra_data: alloy_primitives::Bytes::new(),
        ..parent.clone()
    }
}
