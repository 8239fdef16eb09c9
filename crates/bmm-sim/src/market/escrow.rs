//! The escrow of one job, unit by unit, by the rules of the `Jobs` contract.
//!
//! Every rule that the contract refuses by is a panic here: the simulated parties are real state machines, and none of them may
//! ever send what the contract would not take.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use bmm_types::Amount;

/// Fee of each payment, basis points.
pub const FEE_BPS: u128 = 100;

/// What is locked for one job, and where it went. Amounts in units.
#[derive(Clone, Debug)]
pub struct Escrow {
    budget: u128,
    spent: u128,
    fees: u128,
    paid: BTreeMap<Address, u128>,
    settled: bool,
    refunded: Option<u128>,
    /// Transactions so far.
    pub transactions: u64,
}

fn units(amount: Amount) -> u128 {
    amount.units().try_into().expect("a budget below 2^128 bounds every payment")
}

impl Escrow {
    /// Locks a budget.
    pub fn open(budget: Amount) -> Self {
        let budget = units(budget);
        assert!(budget > 0, "NoBudget");
        Self { budget, spent: 0, fees: 0, paid: BTreeMap::new(), settled: false, refunded: None, transactions: 1 }
    }

    /// The rule of `spend`: never past the budget; the fee's basis points, rounded down, are kept back.
    fn spend(&mut self, provider: Address, amount: u128) {
        self.spent = self.spent.checked_add(amount).filter(|spent| *spent <= self.budget).expect("OverBudget");
        *self.paid.entry(provider).or_default() += amount;
        self.fees += amount * FEE_BPS / 10_000;
    }

    /// `claim`: pays what the voucher's total is above what was paid, as far as the budget reaches. Returns the payment.
    pub fn claim(&mut self, provider: Address, total: Amount) -> u128 {
        assert!(self.refunded.is_none(), "JobClosed");
        self.transactions += 1;
        let due = units(total).saturating_sub(self.paid_to(provider)).min(self.budget - self.spent);
        self.spend(provider, due);
        due
    }

    /// `settle`: once; every provider up to its total, addresses ascending.
    pub fn settle(&mut self, totals: &[(Address, Amount)]) {
        assert!(!self.settled && self.refunded.is_none(), "JobAlreadySettled");
        assert!(totals.windows(2).all(|pair| pair[0].0 < pair[1].0), "BadTotals");
        self.transactions += 1;
        for (provider, total) in totals {
            let due = units(*total).checked_sub(self.paid_to(*provider)).expect("TotalBelowPaid");
            self.spend(*provider, due);
        }
        self.settled = true;
    }

    /// `refund`: the rest goes back, and the job is closed with nothing left in it.
    pub fn refund(&mut self) {
        assert!(self.refunded.is_none(), "JobClosed");
        self.transactions += 1;
        self.refunded = Some(self.budget - self.spent);
        let paid: u128 = self.paid.values().sum();
        assert_eq!(paid, self.spent, "what providers were paid is what was spent");
        assert_eq!(paid + (self.budget - self.spent), self.budget, "nothing stays in the contract");
        assert!(self.fees <= self.spent);
    }

    /// Returns what a provider was paid, fee included.
    pub fn paid_to(&self, provider: Address) -> u128 {
        self.paid.get(&provider).copied().unwrap_or(0)
    }

    /// Returns whether the job was settled.
    pub fn is_settled(&self) -> bool {
        self.settled
    }
}
