//! What a transaction must hold to enter the pool, the sender's account left aside.

use super::{Fees, PoolError, PoolLimits};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718;
use bmm_ledger::TxError;
use bmm_types::{ChainParams, Transaction, params::Fork};

/// Most gas of one transaction (EIP-7825, from Osaka on).
const GAS_CAP: u64 = 1 << 24;
/// Longest creation code, in bytes (EIP-3860).
const MAX_INIT_CODE_BYTES: usize = 49_152;

/// Checks all rules that need no state but the head's gas limit; the signature is left to the caller.
pub fn check(params: &ChainParams, limits: &PoolLimits, gas_limit: u64, tx: &Transaction) -> Result<(), PoolError> {
    check_size(limits, tx)?;
    check_type(tx)?;
    check_chain_id(params, tx)?;
    check_gas(params, gas_limit, tx)?;
    check_fees(limits, tx)
}

/// Rule: the EIP-2718 encoding is not too long, and neither is creation code (EIP-3860).
fn check_size(limits: &PoolLimits, tx: &Transaction) -> Result<(), PoolError> {
    let (got, limit) = (tx.encode_2718_len(), limits.transaction_bytes);
    if got > limit {
        return Err(PoolError::Oversized { got, limit });
    }
    if tx.is_create() && tx.input().len() > MAX_INIT_CODE_BYTES {
        return Err(TxError::InitCodeTooLong.into());
    }
    Ok(())
}

/// Rule: no blob transactions; one that sets code (EIP-7702) names at least one authorisation.
fn check_type(tx: &Transaction) -> Result<(), PoolError> {
    if tx.is_eip4844() {
        return Err(TxError::Blob.into());
    }
    if tx.is_eip7702() && tx.authorization_list().is_none_or(<[_]>::is_empty) {
        return Err(TxError::Other("a transaction of type 4 needs at least one authorization".into()).into());
    }
    Ok(())
}

/// Rule: signed for this chain, or, in the oldest form, for every chain (before EIP-155).
fn check_chain_id(params: &ChainParams, tx: &Transaction) -> Result<(), PoolError> {
    let expected = params.chain_id;
    if tx.chain_id().is_none_or(|id| id == expected) { Ok(()) } else { Err(TxError::ChainId { expected }.into()) }
}

/// Rule: the gas limit fits into a block and under the fork's cap, and covers the intrinsic gas.
fn check_gas(params: &ChainParams, block_limit: u64, tx: &Transaction) -> Result<(), PoolError> {
    let got = tx.gas_limit();
    if got > block_limit {
        return Err(PoolError::GasLimit { got, limit: block_limit });
    }
    if params.fork == Fork::Osaka && got > GAS_CAP {
        return Err(TxError::GasCap { limit: got, cap: GAS_CAP }.into());
    }
    let needed = intrinsic_gas(params.fork, tx);
    if got < needed { Err(PoolError::IntrinsicGas { limit: got, needed }) } else { Ok(()) }
}

/// Rule: the tip is not above the highest fee, and not below what this node wants.
fn check_fees(limits: &PoolLimits, tx: &Transaction) -> Result<(), PoolError> {
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(TxError::TipAboveFee.into());
    }
    let tip = Fees::of(tx).tip;
    if tip < limits.min_tip {
        return Err(PoolError::Underpriced { got: tip, needed: limits.min_tip });
    }
    Ok(())
}

/// Returns the least gas that a transaction is charged.
///
/// 21,000; 4 and 16 for each zero and other byte of data; for a creation 32,000 and 2 for each word of code (EIP-2, EIP-3860);
/// 2,400 and 1,900 for each listed address and slot (EIP-2930); 25,000 for each authorisation (EIP-7702); and from
/// Prague on at least 21,000 and 10 for each token of data, a zero byte being one and another four (EIP-7623).
pub fn intrinsic_gas(fork: Fork, tx: &Transaction) -> u64 {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let data = tx.input();
    let tokens = data.iter().fold(0u64, |sum, byte| sum.saturating_add(if *byte == 0 { 1 } else { 4 }));
    let creation =
        if tx.is_create() { count(data.len().div_ceil(32)).saturating_mul(2).saturating_add(32_000) } else { 0 };
    let (addresses, slots) =
        tx.access_list().map_or((0, 0), |list| (count(list.len()), count(list.storage_keys_count())));
    let authorizations = tx.authorization_list().map_or(0, |list| count(list.len()));
    let gas = 21_000u64
        .saturating_add(tokens.saturating_mul(4))
        .saturating_add(creation)
        .saturating_add(addresses.saturating_mul(2_400))
        .saturating_add(slots.saturating_mul(1_900))
        .saturating_add(authorizations.saturating_mul(25_000));
    let floor = match fork {
        Fork::Cancun => 0,
        Fork::Osaka => tokens.saturating_mul(10).saturating_add(21_000),
    };
    gas.max(floor)
}
