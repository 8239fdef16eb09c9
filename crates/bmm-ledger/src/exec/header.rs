//! Rules of the header that do not depend on the engine, and the values that the next header must hold.

use super::BlockError;
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, proofs};
use alloy_eips::{eip1559::BaseFeeParams, eip7685::EMPTY_REQUESTS_HASH, eip7840::BlobParams};
use alloy_primitives::{B64, B256};
use alloy_rlp::Encodable;
use bmm_types::{Block, ChainParams, Engine, Header, params::Fork};

/// Least gas limit of a block (Ethereum's).
pub const MIN_GAS_LIMIT: u64 = 5_000;

/// Greatest gas limit of a block (Ethereum's), 2^63 - 1.
pub const MAX_GAS_LIMIT: u64 = i64::MAX.unsigned_abs();

/// A gas limit moves by less than this fraction of the parent's (Ethereum's).
pub const GAS_LIMIT_BOUND_DIVISOR: u64 = 1_024;

/// Longest block in bytes of RLP: 10 MiB less a margin of 2 MiB for what travels with it (EIP-7934).
pub const MAX_BLOCK_BYTES: usize = 8 << 20;

/// Free bytes of `extraData`.
pub const MAX_FREE_EXTRA_BYTES: usize = 32;

/// Bytes of the producer's signature at the end of `extraData`.
pub const SIGNATURE_BYTES: usize = 65;

/// Returns whether the chain fixes the fields that it has no use for. Foreign vectors use them all.
pub(crate) fn has_fixed_fields(params: &ChainParams) -> bool {
    params.engine != Engine::NoSeal
}

/// Returns the hash over no execution requests (EIP-7685), where the fork has requests.
pub(crate) fn empty_requests_hash(fork: Fork) -> Option<B256> {
    match fork {
        Fork::Cancun => None,
        Fork::Osaka => Some(EMPTY_REQUESTS_HASH),
    }
}

/// Returns the fork's blob schedule (foreign vectors only).
pub(crate) fn blob_params(fork: Fork) -> BlobParams {
    match fork {
        Fork::Cancun => BlobParams::cancun(),
        Fork::Osaka => BlobParams::osaka(),
    }
}

/// Returns the excess blob gas of the block after `parent`: nothing on chains without blobs.
pub(crate) fn next_excess_blob_gas(params: &ChainParams, parent: &Header) -> u64 {
    if has_fixed_fields(params) {
        return 0;
    }
    parent.next_block_excess_blob_gas(blob_params(params.fork)).unwrap_or(0)
}

/// Returns the base fee of the block after `parent`, in units per gas (EIP-1559: at most an eighth up or down).
pub fn next_base_fee(parent: &Header) -> u64 {
    parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(0)
}

/// Returns the gas limit nearest to `wanted` that the block after one of `parent_limit` may have.
pub fn next_gas_limit(parent_limit: u64, wanted: u64) -> u64 {
    let step = (parent_limit / GAS_LIMIT_BOUND_DIVISOR).saturating_sub(1);
    wanted
        .clamp(parent_limit.saturating_sub(step), parent_limit.saturating_add(step))
        .clamp(MIN_GAS_LIMIT, MAX_GAS_LIMIT)
}

/// Checks what a header must hold given its parent, the engine's part (difficulty, seal, signature, `mixHash`, the clock)
/// and what execution decides left aside.
pub fn check_header(params: &ChainParams, parent: &Header, header: &Header) -> Result<(), BlockError> {
    follows_parent(parent, header)?;
    gas_limit_is_near(parent, header)?;
    base_fee_is_due(parent, header)?;
    fields_are_fixed(params, header)?;
    blob_gas_is_due(params, parent, header)
}

/// A block names its parent, has the next number and a later time.
fn follows_parent(parent: &Header, header: &Header) -> Result<(), BlockError> {
    let expected = parent.hash_slow();
    if header.parent_hash != expected {
        return Err(BlockError::ParentHash { got: header.parent_hash, expected });
    }
    let expected = parent.number.saturating_add(1);
    if header.number != expected {
        return Err(BlockError::Number { got: header.number, expected });
    }
    if header.timestamp <= parent.timestamp {
        return Err(BlockError::Timestamp { got: header.timestamp, parent: parent.timestamp });
    }
    Ok(())
}

/// The gas limit moves by less than 1/1024 of the parent's, is at least 5,000 and at most 2^63 - 1; what is used is within it.
fn gas_limit_is_near(parent: &Header, header: &Header) -> Result<(), BlockError> {
    let moved = header.gas_limit.abs_diff(parent.gas_limit);
    if moved >= (parent.gas_limit / GAS_LIMIT_BOUND_DIVISOR).max(1) || header.gas_limit < MIN_GAS_LIMIT {
        return Err(BlockError::GasLimit { got: header.gas_limit, parent: parent.gas_limit });
    }
    if header.gas_limit > MAX_GAS_LIMIT {
        return Err(BlockError::Field { field: "gasLimit", must: "at most 2^63 - 1" });
    }
    if header.gas_used > header.gas_limit {
        return Err(BlockError::Field { field: "gasUsed", must: "at most the gas limit" });
    }
    Ok(())
}

/// The base fee follows from the parent by EIP-1559.
fn base_fee_is_due(parent: &Header, header: &Header) -> Result<(), BlockError> {
    let expected = next_base_fee(parent);
    if header.base_fee_per_gas != Some(expected) {
        return Err(BlockError::BaseFee { got: header.base_fee_per_gas, expected });
    }
    Ok(())
}

/// What a chain without ommers, blobs, withdrawals, requests and beacon chain has no use for is fixed.
fn fields_are_fixed(params: &ChainParams, header: &Header) -> Result<(), BlockError> {
    let fixed = has_fixed_fields(params);
    let must = |holds: bool, field, must| if holds { Ok(()) } else { Err(BlockError::Field { field, must }) };
    must(header.ommers_hash == EMPTY_OMMER_ROOT_HASH, "sha3Uncles", "the hash of no ommers")?;
    must(header.nonce == B64::ZERO, "nonce", "zero")?;
    must(header.withdrawals_root.is_some(), "withdrawalsRoot", "present")?;
    must(header.parent_beacon_block_root.is_some(), "parentBeaconBlockRoot", "present")?;
    let has_requests = empty_requests_hash(params.fork).is_some();
    must(header.requests_hash.is_some() == has_requests, "requestsHash", "present from Prague on, absent before")?;
    must(header.block_access_list_hash.is_none(), "blockAccessListHash", "absent")?;
    must(header.slot_number.is_none(), "slotNumber", "absent")?;
    if !fixed {
        return must(header.extra_data.len() <= MAX_FREE_EXTRA_BYTES, "extraData", "at most 32 bytes");
    }
    let extra_max = MAX_FREE_EXTRA_BYTES.saturating_add(SIGNATURE_BYTES);
    must(header.extra_data.len() <= extra_max, "extraData", "at most 32 bytes and a signature of 65")?;
    must(header.withdrawals_root == Some(EMPTY_ROOT_HASH), "withdrawalsRoot", "the root of nothing")?;
    must(header.parent_beacon_block_root == Some(B256::ZERO), "parentBeaconBlockRoot", "zero")?;
    must(header.blob_gas_used == Some(0), "blobGasUsed", "zero")?;
    must(header.requests_hash == empty_requests_hash(params.fork), "requestsHash", "the hash of no requests")
}

/// The excess blob gas follows from the parent by EIP-4844; zero on chains without blobs.
fn blob_gas_is_due(params: &ChainParams, parent: &Header, header: &Header) -> Result<(), BlockError> {
    if header.excess_blob_gas == Some(next_excess_blob_gas(params, parent)) && header.blob_gas_used.is_some() {
        return Ok(());
    }
    Err(BlockError::Field { field: "excessBlobGas", must: "what follows from the parent" })
}

/// Checks that the body is the one that the header commits to: transactions, no ommers, withdrawals, length.
pub fn check_body(params: &ChainParams, block: &Block) -> Result<(), BlockError> {
    let (header, body) = (&block.header, &block.body);
    let length = block.length();
    if params.fork == Fork::Osaka && length > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLong { got: length, max: MAX_BLOCK_BYTES });
    }
    if !body.ommers.is_empty() {
        return Err(BlockError::Ommers);
    }
    let expected = proofs::calculate_transaction_root(&body.transactions);
    if header.transactions_root != expected {
        return Err(BlockError::BodyRoot { field: "transactionsRoot", got: header.transactions_root, expected });
    }
    let expected = body.withdrawals.as_ref().map(|w| proofs::calculate_withdrawals_root(w));
    match (header.withdrawals_root, expected) {
        (Some(got), Some(expected)) if got == expected => Ok(()),
        (Some(got), Some(expected)) => Err(BlockError::BodyRoot { field: "withdrawalsRoot", got, expected }),
        _ => Err(BlockError::Field { field: "withdrawals", must: "present" }),
    }
}
