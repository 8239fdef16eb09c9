//! Transactions, receipts and logs in the shapes of Ethereum's execution-apis.

use crate::{blocks::ReadBlock, error::RpcResult};
use alloy_consensus::{
    Transaction as _,
    transaction::{Recovered, TransactionInfo},
};
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::{Log, Transaction as RpcTransaction, TransactionReceipt};
use bmm_chain::Chain;
use bmm_types::{Header, Transaction};

/// Where a transaction stands in the chain.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) block: B256,
    pub(crate) header: &'a Header,
    pub(crate) index: usize,
}

/// Writes a transaction, of the pool where it has no place.
pub(crate) fn transaction(tx: Transaction, sender: Address, place: Option<Place<'_>>) -> RpcTransaction<Transaction> {
    let info = place.map_or_else(TransactionInfo::default, |place| TransactionInfo {
        hash: None,
        index: Some(u64_of(place.index)),
        block_hash: Some(place.block),
        block_number: Some(place.header.number),
        base_fee: place.header.base_fee_per_gas,
        block_timestamp: Some(place.header.timestamp),
    });
    RpcTransaction::from_transaction(Recovered::new_unchecked(tx, sender), info)
}

/// Writes the transaction at `index` in `block`; `None` where there is none.
pub(crate) fn mined(chain: &Chain, block: &ReadBlock, index: usize) -> RpcResult<Option<RpcTransaction<Transaction>>> {
    let (Some(tx), Some(&sender)) = (block.body.transactions.get(index), block.senders(chain)?.get(index)) else {
        return Ok(None);
    };
    Ok(Some(transaction(tx.clone(), sender, Some(Place { block: block.id, header: &block.header, index }))))
}

/// Writes one log. `number` counts the logs of the whole block.
pub(crate) fn log(inner: alloy_primitives::Log, tx_hash: B256, place: Place<'_>, number: usize) -> Log {
    Log {
        inner,
        block_hash: Some(place.block),
        block_number: Some(place.header.number),
        block_timestamp: Some(place.header.timestamp),
        transaction_hash: Some(tx_hash),
        transaction_index: Some(u64_of(place.index)),
        log_index: Some(u64_of(number)),
        removed: false,
    }
}

/// Writes the receipt of the transaction at `index` in `block`; `None` where the block has left the chain, or has no such
/// transaction.
pub(crate) fn receipt(chain: &Chain, block: &ReadBlock, index: usize) -> RpcResult<Option<TransactionReceipt>> {
    let Some((receipt, gas_before, mut next_log)) = block.receipts(chain)?.and_then(|all| all.get(index)) else {
        return Ok(None);
    };
    let (Some(tx), Some(&sender)) = (block.body.transactions.get(index), block.senders(chain)?.get(index)) else {
        return Ok(None);
    };
    let place = Place { block: block.id, header: &block.header, index };
    let inner = receipt.clone().map_logs(|inner| {
        let number = next_log;
        next_log += 1;
        log(inner, *tx.tx_hash(), place, number)
    });
    Ok(Some(TransactionReceipt {
        inner,
        transaction_hash: *tx.tx_hash(),
        transaction_index: Some(u64_of(place.index)),
        block_hash: Some(place.block),
        block_number: Some(place.header.number),
        gas_used: receipt.cumulative_gas_used().saturating_sub(gas_before),
        effective_gas_price: tx.effective_gas_price(place.header.base_fee_per_gas),
        blob_gas_used: tx.blob_gas_used(),
        blob_gas_price: None,
        from: sender,
        to: tx.to(),
        contract_address: tx.is_create().then(|| sender.create(tx.nonce())),
    }))
}

/// An index as JSON-RPC carries it; `usize` has 64 bits at most.
pub(crate) fn u64_of(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}
