//! Blocks by number, tag and hash.

use super::{answer, at};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::Args,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Sealed};
use alloy_eips::{BlockId, BlockNumberOrTag, eip4895::Withdrawals};
use alloy_primitives::{B256, U64, U256};
use alloy_rlp::Encodable as _;
use alloy_rpc_types_eth::{Block as RpcBlock, BlockTransactions, Header as RpcHeader, Transaction as RpcTransaction};
use bmm_ledger::exec::header::next_base_fee;
use bmm_types::{Block, BlockBody, Header, Transaction};
use serde_json::Value;

pub(crate) type Transactions = BlockTransactions<RpcTransaction<Transaction>>;

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

fn answer(context: &Context, at: BlockId, hydrated: bool) -> RpcResult<Json> {
    let Some(block) = at::block(context, at)? else { return json(&()) };
    let written = if hydrated { &block.hydrated } else { &block.with_hashes };
    if let Some(written) = written.get() {
        return Ok(written.clone());
    }
    let transactions = if hydrated {
        let all = (0..block.body.transactions.len())
            .filter_map(|index| answer::mined(&context.chain, &block, index).transpose());
        BlockTransactions::Full(all.collect::<RpcResult<_>>()?)
    } else {
        hashes(&block.body)
    };
    let shaped = shape(block.header.clone(), block.id, block.len, transactions, block.body.withdrawals.clone());
    Ok(written
        .get_or_init({
            let text = json(&shaped)?;
            || text
        })
        .clone())
}

pub(crate) fn hashes(body: &BlockBody) -> Transactions {
    BlockTransactions::Hashes(body.transactions.iter().map(|tx| *tx.tx_hash()).collect())
}

pub(crate) fn shape(
    header: Header,
    id: B256,
    len: usize,
    transactions: Transactions,
    withdrawals: Option<Withdrawals>,
) -> RpcBlock<RpcTransaction<Transaction>> {
    RpcBlock {
        header: RpcHeader::from_consensus(Sealed::new_unchecked(header, id), None, Some(U256::from(len))),
        uncles: Vec::new(),
        transactions,
        withdrawals,
    }
}

/// Writes the block that would follow the head now. What is not settled until it is sealed is `null`, as in Ethereum's nodes.
fn pending(context: &Context, hydrated: bool) -> RpcResult<Json> {
    let pending = context.chain.pending_block()?;
    let block = Block { header: pending.header.clone(), body: pending.body.clone() };
    let (len, Block { header, body }) = (block.length(), block);
    let transactions = if hydrated {
        let signed = context.chain.senders(&body)?.into_iter().zip(&body.transactions);
        BlockTransactions::Full(signed.map(|(sender, tx)| answer::transaction(tx.clone(), sender, None)).collect())
    } else {
        hashes(&body)
    };
    let block = shape(header, B256::ZERO, len, transactions, body.withdrawals);
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
