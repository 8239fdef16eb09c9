//! What gas costs: the base fee that is known, and tips as recent blocks paid them.

use super::at;
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count},
};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, U128};
use alloy_rpc_types_eth::FeeHistory;
use bmm_ledger::{exec::header::next_base_fee, store::Receipt};
use bmm_types::{Header, Transaction};

/// Blocks that one `eth_feeHistory` returns at most.
const MAX_HISTORY: u64 = 1_024;

/// Recent blocks that a suggested tip is drawn from.
const SAMPLED_BLOCKS: u64 = 20;

/// Lowest tips of each block that count: what was just enough says more than what somebody was willing to pay.
const SAMPLED_TIPS: usize = 3;

/// The sampled tip that is suggested, in percent from below.
const SAMPLED_PERCENTILE: usize = 60;

/// Suggested where recent blocks are empty, in units per gas: a tenth of the base fee that chains begin with.
const DEFAULT_TIP: u128 = 100_000_000;

/// Most that is suggested, in units per gas, so that a few reckless tips do not set everybody's.
const MAX_TIP: u128 = 500_000_000_000;

/// `eth_gasPrice`: the next block's base fee and the suggested tip, for transactions with one price.
pub(crate) fn gas_price(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&U128::from(suggested_tip(context)?.saturating_add(u128::from(context.chain.next_base_fee()))))
}

/// `eth_maxPriorityFeePerGas`: the suggested tip.
pub(crate) fn priority_fee(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&U128::from(suggested_tip(context)?))
}

/// `eth_blobBaseFee`: 0, since there are no blobs that could cost anything.
pub(crate) fn blob_base_fee(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&U128::ZERO)
}

/// Returns the 60th percentile of the lowest tips in the last 20 blocks; worked out once for each head.
fn suggested_tip(context: &Context) -> RpcResult<u128> {
    let head = context.chain.head();
    if let Some((_, tip)) = context.suggested_tip.lock().filter(|(id, _)| *id == head.id) {
        return Ok(tip);
    }
    let oldest = head.number().saturating_sub(SAMPLED_BLOCKS - 1);
    let mut sample = Vec::new();
    for number in oldest..=head.number() {
        let Some(id) = context.chain.canonical(number)? else { break };
        let mut tips: Vec<u128> = tips(context, id)?.into_iter().map(|paid| paid.tip).collect();
        tips.sort_unstable();
        sample.extend(tips.into_iter().take(SAMPLED_TIPS));
    }
    sample.sort_unstable();
    let index = sample.len().saturating_sub(1) * SAMPLED_PERCENTILE / 100;
    let tip = sample.get(index).map_or(DEFAULT_TIP, |&tip| tip.min(MAX_TIP));
    *context.suggested_tip.lock() = Some((head.id, tip));
    Ok(tip)
}

/// What one transaction paid its block's producer.
#[derive(Clone, Copy)]
struct Paid {
    tip: u128,
    gas: u64,
}

/// Returns what the transactions of a block paid; nothing where the block has left the chain.
fn tips(context: &Context, id: B256) -> RpcResult<Vec<Paid>> {
    let Some(block) = context.blocks.get(&context.chain, id)? else { return Ok(Vec::new()) };
    let Some(receipts) = block.receipts(&context.chain)? else { return Ok(Vec::new()) };
    let base_fee = block.header.base_fee_per_gas.unwrap_or(0);
    let mut gas_before = 0;
    let paid = |(tx, receipt): (&Transaction, &Receipt)| {
        let gas = receipt.cumulative_gas_used().saturating_sub(gas_before);
        gas_before = receipt.cumulative_gas_used();
        Paid { tip: tx.effective_tip_per_gas(base_fee).unwrap_or(0), gas }
    };
    Ok(block.body.transactions.iter().zip(&receipts.all).map(paid).collect())
}

/// `eth_feeHistory`: base fees, fullness, and tips at percentiles of the gas used, for the blocks up to `newest block`.
pub(crate) fn history(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Count(count) = args.required()?;
    let newest: BlockNumberOrTag = args.required()?;
    let percentiles: Option<Vec<f64>> = args.optional()?;
    let newest_number = at::number(context, newest)?.ok_or_else(|| {
        RpcError::param(2, "newest block", format!("{newest} is above the head; ask for \"latest\" or a lower block"))
    })?;
    let count = count.min(MAX_HISTORY).min(newest_number.saturating_add(1));
    if count == 0 {
        return json(&FeeHistory { oldest_block: newest_number, ..FeeHistory::default() });
    }
    let oldest = newest_number.saturating_sub(count - 1);
    let mut history =
        FeeHistory { oldest_block: oldest, reward: percentiles.as_ref().map(|_| Vec::new()), ..FeeHistory::default() };
    let mut last = None;
    for number in oldest..=newest_number {
        let Some(id) = context.chain.canonical(number)? else { break };
        let Some(header) = context.chain.header(id)? else { break };
        history.base_fee_per_gas.push(u128::from(header.base_fee_per_gas.unwrap_or(0)));
        history.gas_used_ratio.push(fullness(&header));
        if let (Some(rewards), Some(percentiles)) = (&mut history.reward, &percentiles) {
            rewards.push(at_percentiles(tips(context, id)?, percentiles));
        }
        last = Some(header);
    }
    history.base_fee_per_gas.extend(last.map(|header| u128::from(next_base_fee(&header))));
    json(&history)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people; gas is far below 2^52")]
fn fullness(header: &Header) -> f64 {
    if header.gas_limit == 0 { 0.0 } else { header.gas_used as f64 / header.gas_limit as f64 }
}

/// Returns, for each percentile of the block's gas, the tip of the transaction that stands there when sorted by tip.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "percentiles are floating point by specification; gas is far below 2^52"
)]
fn at_percentiles(mut paid: Vec<Paid>, percentiles: &[f64]) -> Vec<u128> {
    paid.sort_by_key(|paid| paid.tip);
    let total: u64 = paid.iter().map(|paid| paid.gas).sum();
    let mut reached = paid.iter().scan(0u64, |sum, paid| {
        *sum += paid.gas;
        Some((*sum, paid.tip))
    });
    let mut current = reached.next();
    let mut tip_at = |percentile: &f64| {
        let threshold = (total as f64 * percentile / 100.0) as u64;
        while let Some((sum, tip)) = current {
            if sum >= threshold {
                return tip;
            }
            current = reached.next().or(Some((u64::MAX, tip)));
        }
        0
    };
    percentiles.iter().map(&mut tip_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tips_are_taken_where_the_gas_stands() {
        let paid = || vec![Paid { tip: 30, gas: 10 }, Paid { tip: 10, gas: 80 }, Paid { tip: 20, gas: 10 }];
        assert_eq!(at_percentiles(paid(), &[0.0, 50.0, 80.0, 81.0, 90.0, 95.0, 100.0]), [10, 10, 10, 20, 20, 30, 30]);
        assert_eq!(at_percentiles(paid(), &[]), [0u128; 0]);
        assert_eq!(at_percentiles(Vec::new(), &[0.0, 100.0]), [0, 0]);
    }

    #[test]
    fn an_empty_gas_limit_is_not_divided_by() {
        assert!(fullness(&Header { gas_limit: 0, ..Header::default() }).abs() < f64::EPSILON);
        let half = fullness(&Header { gas_limit: 60, gas_used: 30, ..Header::default() });
        assert!((half - 0.5).abs() < f64::EPSILON);
    }
}
