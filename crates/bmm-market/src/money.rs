//! What work costs: integers only, rounded down, one function a rule.

use bmm_types::Amount;
use bmm_types::market::{BYTES_PER_PRICE, FUEL_PER_PRICE, Offer};

/// Prices at which a provider works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// For 10^9 units of fuel.
    pub per_gfuel: Amount,
    /// For 1 GiB of collected output.
    pub per_gib: Amount,
}

impl Prices {
    /// Returns the prices of an offer.
    pub fn of(offer: &Offer) -> Self {
        Self { per_gfuel: offer.price_per_gfuel, per_gib: offer.price_per_gib }
    }

    /// Returns the pay for work: floor(price × fuel / 10^9) + floor(price × bytes / 2^30).
    ///
    /// Saturates; offers bound prices at 10^27 units, so that the products stay below 2^160.
    pub fn cost(self, fuel: u64, bytes: u64) -> Amount {
        let part = |price: Amount, amount: u64, unit: u64| {
            if price.is_zero() { Some(Amount::ZERO) } else { price.mul_div(amount.into(), unit.into()) }
        };
        let fuel = part(self.per_gfuel, fuel, FUEL_PER_PRICE);
        let bytes = part(self.per_gib, bytes, BYTES_PER_PRICE);
        fuel.zip(bytes).and_then(|(a, b)| a.checked_add(b)).unwrap_or(Amount(alloy_primitives::U256::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_is_for_gfuel_and_gib() {
        let prices = Prices { per_gfuel: Amount::from_bmm(2), per_gib: Amount::from_bmm(4) };
        assert_eq!(prices.cost(1_500_000_000, 0), Amount::from_bmm(3));
        assert_eq!(prices.cost(0, 1 << 29), Amount::from_bmm(2));
        assert_eq!(Prices::default().cost(u64::MAX, u64::MAX), Amount::ZERO);
    }

    proptest! {
        #[test]
        fn parts_never_cost_more_than_the_whole(price: u64, a in 0u64..1 << 60, b in 0u64..1 << 60) {
            let prices = Prices { per_gfuel: Amount::from_units(price.into()), per_gib: Amount::ZERO };
            let parts = prices.cost(a, 0).checked_add(prices.cost(b, 0)).unwrap();
            let whole = prices.cost(a + b, 0);
            prop_assert!(parts <= whole);
            prop_assert!(whole.checked_sub(parts).unwrap() <= Amount::from_units(1));
        }
    }
}
