//! What a transaction offers.

use alloy_consensus::Transaction as _;
use alloy_primitives::U256;
use bmm_types::Transaction;

/// The two numbers that say what a transaction pays, in units per gas. The tip is not above the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    /// The most that the sender pays.
    pub fee: u128,
    /// The most that the producer gets; of the old types the whole gas price.
    pub tip: u128,
}

impl Fees {
    pub fn of(tx: &Transaction) -> Self {
        let fee = tx.max_fee_per_gas();
        Self { fee, tip: tx.max_priority_fee_per_gas().unwrap_or(fee).min(fee) }
    }

    /// Returns what the producer gets at a base fee; `None` if that is not paid.
    pub fn effective_tip(&self, base_fee: u128) -> Option<u128> {
        self.fee.checked_sub(base_fee).map(|left| left.min(self.tip))
    }

    /// Returns the highest base fee at which the producer gets the whole tip.
    pub const fn turn(&self) -> u128 {
        self.fee.saturating_sub(self.tip)
    }

    /// Returns the lesser of both numbers each.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self { fee: self.fee.min(other.fee), tip: self.tip.min(other.tip) }
    }

    /// Rule: both numbers are raised by 10 % or more; a tip of nothing need not be.
    pub fn replaces(&self, old: &Self) -> bool {
        let raised = |old: u128, new: u128| new > old && new.saturating_mul(10) >= old.saturating_mul(11);
        raised(old.fee, self.fee) && (old.tip == 0 || raised(old.tip, self.tip))
    }
}

/// Returns the most that a transaction may cost its sender, in units: gas and value.
pub(super) fn max_cost(tx: &Transaction) -> U256 {
    let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    gas.saturating_add(tx.value())
}
