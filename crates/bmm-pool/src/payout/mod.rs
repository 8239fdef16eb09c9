//! What a block's reward is to whom: unit-PPLNS.
//!
//! A share of `h` hashes, of a job whose block takes `D` hashes on average, weighs `u = h / D`, as the target stood when the share was
//! handed out. From the share that found the block backwards, weights are added up until they make `X`; the last one is cut. Of the
//! reward `B` less the fee `f`, an account gets `B · (1 − f) · u / X`. On average a share earns `u · B · (1 − f)` whenever it comes and whatever
//! the difficulty does later, so that nothing is gained by coming and going ([`hopping`]).
//!
//! All numbers are integers. A weight is a fixed-point number: [`BLOCK_WEIGHT`] (10^18) is the work of one block, rounded down.
//! Amounts are base units of the chain, rounded down; what rounding leaves goes unit by unit to the accounts whose amounts lost most by
//! it, of equals to the lower address. So fee, reserve and pay of a block always add up to its reward. While a pool is young its shares
//! may not fill the window: the empty part's pay is the pool's reserve.

pub mod hopping;

#[cfg(test)]
mod tests;

use crate::log::LoggedShare;
use alloy_primitives::{Address, U256};
use std::collections::BTreeMap;

/// Weight of the work that one block takes on average.
pub const BLOCK_WEIGHT: u128 = 1_000_000_000_000_000_000;
/// Largest window, in blocks.
pub const MAX_WINDOW_BLOCKS: u32 = 1_000;
/// A fee of everything, in basis points.
pub const WHOLE_BASIS_POINTS: u16 = 10_000;

/// How a chain's rewards are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayRule {
    window_blocks: u32,
    fee_basis_points: u16,
}

impl PayRule {
    /// Makes a rule; `None` unless the window is 1 to [`MAX_WINDOW_BLOCKS`] blocks and the fee at most 10,000 basis points (1/100 of a percent).
    pub fn new(window_blocks: u32, fee_basis_points: u16) -> Option<Self> {
        let fine = (1..=MAX_WINDOW_BLOCKS).contains(&window_blocks) && fee_basis_points <= WHOLE_BASIS_POINTS;
        fine.then_some(Self { window_blocks, fee_basis_points })
    }

    /// Returns how many blocks' work the window holds: X.
    pub const fn window_blocks(self) -> u32 {
        self.window_blocks
    }

    /// Returns the pool's fee, in basis points.
    pub const fn fee_basis_points(self) -> u16 {
        self.fee_basis_points
    }

    /// Returns the weight that fills the window.
    pub fn window_weight(self) -> u128 {
        BLOCK_WEIGHT.saturating_mul(self.window_blocks.into())
    }

    /// Returns the pool's fee of a reward, rounded down.
    pub fn fee(self, reward: u128) -> u128 {
        mul_div(reward, self.fee_basis_points.into(), WHOLE_BASIS_POINTS.into()).0
    }
}

/// Returns the weight of a share of `hashes` when a block takes `difficulty` hashes: `floor(hashes · 10^18 / difficulty)`.
pub fn weight(hashes: u64, difficulty: U256) -> u128 {
    // Below 2^64 · 2^60, so it always fits.
    let scaled = u128::from(hashes).saturating_mul(BLOCK_WEIGHT);
    match u128::try_from(difficulty) {
        Ok(0) => scaled,
        Ok(difficulty) => scaled.checked_div(difficulty).unwrap_or(0),
        Err(_) => 0,
    }
}

/// The weights that a block's reward is divided by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Weight of each account, never zero.
    pub weights: BTreeMap<Address, u128>,
    /// Their sum: at most [`PayRule::window_weight`].
    pub filled: u128,
    /// Number of the oldest share that counts, if any does.
    pub oldest: Option<u64>,
}

impl Window {
    /// Adds up shares of a chain, newest first, until the window is full or they end. Shares of jobs that were no work for the chain weigh nothing.
    pub fn of<E>(
        rule: PayRule,
        chain: &str,
        shares: impl IntoIterator<Item = Result<LoggedShare, E>>,
    ) -> Result<Self, E> {
        let mut this = Self::default();
        // Neighbours mostly have the same job.
        let mut last: Option<(alloy_primitives::B256, Option<U256>)> = None;
        for share in shares {
            let share = share?;
            let difficulty = match last {
                Some((job, difficulty)) if job == share.job.digest => difficulty,
                _ => {
                    let work = share.job.chains.iter().find(|work| &*work.name == chain);
                    let difficulty = work.map(|work| work.target.difficulty().get());
                    last = Some((share.job.digest, difficulty));
                    difficulty
                }
            };
            let Some(difficulty) = difficulty else { continue };
            if this.add(rule, share.account, weight(share.hashes, difficulty), share.number) {
                break;
            }
        }
        Ok(this)
    }

    /// Adds a share's weight, cut to what the window has room for; returns whether the window is full.
    fn add(&mut self, rule: PayRule, account: Address, weight: u128, number: u64) -> bool {
        let room = rule.window_weight().saturating_sub(self.filled);
        let counted = weight.min(room);
        if counted > 0 {
            // Sums stay below the window's weight.
            self.filled = self.filled.saturating_add(counted);
            let entry = self.weights.entry(account).or_default();
            *entry = entry.saturating_add(counted);
            self.oldest = Some(number);
        }
        self.filled >= rule.window_weight()
    }
}

/// What becomes of a reward; all parts together are the reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// What the pool keeps as its fee.
    pub fee: u128,
    /// What the empty part of a window leaves to the pool's reserve.
    pub reserve: u128,
    /// Pay of each account; accounts that get nothing are left out.
    pub pay: BTreeMap<Address, u128>,
}

impl Division {
    /// Divides a reward by a window.
    pub fn of(rule: PayRule, reward: u128, window: &Window) -> Self {
        let fee = rule.fee(reward);
        let pot = reward.saturating_sub(fee);
        let whole = rule.window_weight();
        let (reserve, _) = mul_div(pot, whole.saturating_sub(window.filled), whole);
        let mut parts: Vec<(Address, u128, u128)> = window
            .weights
            .iter()
            .map(|(account, weight)| {
                let (amount, lost) = mul_div(pot, *weight, whole);
                (*account, amount, lost)
            })
            .collect();
        let given = parts.iter().fold(reserve, |sum, (_, amount, _)| sum.saturating_add(*amount));
        let mut left = pot.saturating_sub(given);
        if parts.is_empty() {
            return Self { fee, reserve: reserve.saturating_add(left), pay: BTreeMap::new() };
        }
        // Each part lost less than a unit, and so did the reserve: at most one unit a part is left.
        parts.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
        for (_, amount, _) in &mut parts {
            let Some(less) = left.checked_sub(1) else { break };
            left = less;
            *amount = amount.saturating_add(1);
        }
        let pay = parts.into_iter().filter(|(_, amount, _)| *amount > 0).map(|(account, amount, _)| (account, amount));
        Self { fee, reserve, pay: pay.collect() }
    }

    /// Gives a reward less the fee to who found the block.
    pub fn solo(rule: PayRule, reward: u128, finder: Address) -> Self {
        let fee = rule.fee(reward);
        let pay = BTreeMap::from([(finder, reward.saturating_sub(fee))]);
        Self { fee, reserve: 0, pay: pay.into_iter().filter(|(_, amount)| *amount > 0).collect() }
    }

    /// Returns the sum of fee, reserve and pay; `None` if it overflows.
    pub fn total(&self) -> Option<u128> {
        let parts = self.pay.values().chain([&self.fee, &self.reserve]);
        parts.copied().try_fold(0_u128, u128::checked_add)
    }
}

/// Returns quotient and remainder of `a · b / c`, for `b <= c` and `c > 0`; without rounding in between.
fn mul_div(a: u128, b: u128, c: u128) -> (u128, u128) {
    // Below 2^256.
    let product = U256::from(a).saturating_mul(U256::from(b));
    let divisor = U256::from(c.max(1));
    let (quotient, remainder) = product.div_rem(divisor);
    let narrow = |number: U256| u128::try_from(number).unwrap_or(u128::MAX);
    (narrow(quotient), narrow(remainder))
}
