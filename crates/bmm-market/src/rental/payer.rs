//! Who rents: pays each provider for what the pool accepted of it, and never more than the budget.

use super::worth;
use alloy_primitives::Address;
use bmm_types::Amount;
use std::collections::BTreeMap;

/// Sums up what the providers of one rental earned and were promised.
#[derive(Clone, Debug)]
pub struct HashPayer {
    budget: Amount,
    promised: BTreeMap<Address, Amount>,
    /// Of sessions that go on: earned by accepted work beside what was promised before them.
    earned: BTreeMap<Address, Amount>,
}

impl HashPayer {
    /// Goes on from what was promised.
    pub fn new(budget: Amount, promised: BTreeMap<Address, Amount>) -> Self {
        Self { budget, promised: promised.clone(), earned: promised }
    }

    /// So many hashes were accepted of a provider since its session began, at a price of 10^9 of them; it was promised `before` then.
    pub fn accepted(&mut self, provider: Address, before: Amount, price: Amount, hashes: u64) {
        let earned = before.checked_add(worth(price, hashes)).unwrap_or(before);
        self.earned.insert(provider, earned);
    }

    /// Returns what a provider was promised.
    pub fn promised_to(&self, provider: Address) -> Amount {
        self.promised.get(&provider).copied().unwrap_or(Amount::ZERO)
    }

    /// Promises a provider what it has earned, as far as the budget goes; returns its new total if that is more than before.
    pub fn pay(&mut self, provider: Address) -> Option<Amount> {
        let (before, earned) = (self.promised_to(provider), self.earned.get(&provider).copied()?);
        let owed = earned.saturating_sub(before).min(self.budget.saturating_sub(self.spent()));
        if owed.is_zero() {
            return None;
        }
        let total = before.checked_add(owed)?;
        self.promised.insert(provider, total);
        Some(total)
    }

    /// Returns what all providers were promised together.
    pub fn spent(&self) -> Amount {
        self.promised.values().copied().sum()
    }

    /// Returns what each provider was promised, by address.
    pub fn totals(&self) -> &BTreeMap<Address, Amount> {
        &self.promised
    }

    /// Whether the budget is earned, paid or not.
    pub fn is_over(&self) -> bool {
        self.earned.values().copied().sum::<Amount>() >= self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GHASH: u64 = 1_000_000_000;

    #[test]
    fn accepted_work_is_paid_once() {
        let (one, price) = (Address::repeat_byte(1), Amount::from_bmm(2));
        let mut payer = HashPayer::new(Amount::from_bmm(10), BTreeMap::new());
        assert_eq!(payer.pay(one), None);
        payer.accepted(one, Amount::ZERO, price, GHASH);
        assert_eq!(payer.pay(one), Some(Amount::from_bmm(2)));
        assert_eq!(payer.pay(one), None);
        payer.accepted(one, Amount::ZERO, price, 3 * GHASH);
        assert_eq!(payer.pay(one), Some(Amount::from_bmm(6)));
        // A second session begins at what was promised.
        payer.accepted(one, payer.promised_to(one), price, 3 * GHASH);
        assert!(payer.is_over());
        assert_eq!(payer.pay(one), Some(Amount::from_bmm(10)), "the budget holds");
        assert_eq!(payer.spent(), Amount::from_bmm(10));
    }

    proptest! {
        #[test]
        fn the_budget_is_never_passed(budget in 0u64..50, steps in prop::collection::vec((0u8..4, 0u64..20, any::<bool>()), 0..60)) {
            let mut payer = HashPayer::new(Amount::from_bmm(budget), BTreeMap::new());
            let mut hashes = [0u64; 4];
            for (who, more, pays) in steps {
                let provider = Address::repeat_byte(who);
                hashes[usize::from(who)] += more * GHASH / 3;
                let before = payer.promised_to(provider);
                payer.accepted(provider, Amount::ZERO, Amount::from_bmm(1), hashes[usize::from(who)]);
                if pays && let Some(total) = payer.pay(provider) {
                    prop_assert!(total > before);
                }
                prop_assert!(payer.promised_to(provider) <= worth(Amount::from_bmm(1), hashes[usize::from(who)]));
                prop_assert!(payer.spent() <= Amount::from_bmm(budget));
            }
        }
    }
}
