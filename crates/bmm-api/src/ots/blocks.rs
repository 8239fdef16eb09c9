//! Blocks as Otterscan shows them.

use super::{Number, page_size};
use crate::{
    error::{RpcError, RpcResult},
    eth::{
        answer::{self, Place},
        at, blocks,
    },
    methods::{Context, Json, json},
    params::{Args, Count},
    replays::{Stored, long_json},
};
use alloy_consensus::Sealed;
use alloy_eips::BlockId;
use alloy_primitives::{B256, U256};
use alloy_rlp::Encodable as _;
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log, Transaction as RpcTransaction, TransactionReceipt,
};
use alloy_rpc_types_trace::otterscan::{
    BlockDetails, InternalIssuance, OtsBlock, OtsBlockTransactions, OtsReceipt, OtsTransactionReceipt,
};
use bmm_ledger::emission;
use bmm_types::{Block, Transaction};

/// Transactions of one page.
const MAX_PAGE: usize = 1_000;

/// `ots_getHeaderByNumber` and `erigon_getHeaderByNumber`; `null` above the head.
pub(crate) fn header_by_number(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Number(number) = args.required()?;
    let found = context.chain.resolve(number.into())?;
    json(
        &found
            .map(|found| RpcHeader::from_consensus(Sealed::new_unchecked(found.header.clone(), found.id), None, None)),
    )
}

/// `ots_getBlockDetails`: header, what the block brought, what its transactions paid; `null` above the head.
pub(crate) fn block_details(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Number(number) = args.required()?;
    details(context, number.into())
}

/// `ots_getBlockDetailsByHash`.
pub(crate) fn block_details_by_hash(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let hash: B256 = args.required()?;
    details(context, hash.into())
}

fn details(context: &Context, block: BlockId) -> RpcResult<Json> {
    let Some(stored) = Stored::find(context, block)? else { return json(&()) };
    let receipts = receipts(context, &stored)?;
    let fees = receipts.iter().map(|receipt| U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price));
    let total_fees = fees.fold(U256::ZERO, U256::saturating_add);
    let shares = emission::payments(context.chain.params(), &stored.header);
    let issuance = InternalIssuance {
        block_reward: shares.first().map_or(U256::ZERO, |(_, producer)| *producer),
        uncle_reward: U256::ZERO,
        issuance: shares.iter().map(|(_, share)| *share).fold(U256::ZERO, U256::saturating_add),
    };
    let transactions = blocks::hashes(&stored.body);
    let shaped = shaped(stored, transactions);
    json(&BlockDetails::new(shaped, issuance, total_fees))
}

/// `ots_getBlockTransactions`: a page of a block's transactions, counted from the last, with receipts without logs and only the
/// first four bytes of data.
pub(crate) fn block_transactions(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Number(number) = args.required()?;
    let Count(page) = args.required()?;
    let size = page_size(args, 3, MAX_PAGE)?;
    let Some(stored) = Stored::find(context, number.into())? else { return json(&()) };
    let count = stored.body.transactions.len();
    let end = count.saturating_sub(usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(size));
    let part = end.saturating_sub(size)..end;
    let receipts = receipts(context, &stored)?;
    let timestamp = stored.header.timestamp;
    let slim = receipts[part.clone()].iter().cloned().map(|receipt| ots_receipt(receipt, timestamp, false)).collect();
    let txs = part.clone().map(|index| hydrated(&stored, index)).collect();
    let fullblock = OtsBlock { block: shaped(stored, BlockTransactions::Full(txs)), transaction_count: count };
    long_json(context, &OtsBlockTransactions { fullblock, receipts: slim })
}

fn shaped(stored: Stored, transactions: blocks::Transactions) -> RpcBlock<RpcTransaction<Transaction>> {
    let block = Block { header: stored.header, body: stored.body };
    let len = block.length();
    blocks::shape(block.header, stored.id, len, transactions, block.body.withdrawals)
}

/// Writes the transaction at `index`.
pub(super) fn hydrated(stored: &Stored, index: usize) -> RpcTransaction<Transaction> {
    let place = Place { block: stored.id, header: &stored.header, index };
    answer::transaction(stored.body.transactions[index].clone(), stored.senders[index], Some(place))
}

/// Writes the receipts of a block.
pub(super) fn receipts(context: &Context, stored: &Stored) -> RpcResult<Vec<TransactionReceipt>> {
    let missing = || RpcError::Refused(format!("block {} is not part of the chain: it has no receipts", stored.id));
    let block = at::block(context, stored.id.into())?.ok_or_else(missing)?;
    let all = (0..stored.body.transactions.len()).map(|index| answer::receipt(&context.chain, &block, index));
    all.map(|receipt| receipt.and_then(|receipt| receipt.ok_or_else(missing))).collect()
}

/// Writes a receipt as Otterscan reads it, with or without its logs.
pub(super) fn ots_receipt(receipt: TransactionReceipt, timestamp: u64, with_logs: bool) -> OtsTransactionReceipt {
    let receipt = receipt.map_inner(|inner| OtsReceipt {
        status: inner.is_success(),
        cumulative_gas_used: inner.cumulative_gas_used(),
        r#type: inner.tx_type().into(),
        logs_bloom: with_logs.then(|| *inner.logs_bloom()),
        logs: with_logs.then(|| inner.logs().to_vec()) as Option<Vec<Log>>,
    });
    OtsTransactionReceipt { receipt, timestamp: Some(timestamp) }
}
