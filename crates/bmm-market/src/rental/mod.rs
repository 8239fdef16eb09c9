//! Rented hash power: files, and the two sides of paying for accepted work.

mod file;
mod meter;
mod payer;

pub use file::{RentalFile, RentedPool};
pub use meter::{HashMeter, Verdict};
pub use payer::HashPayer;

use bmm_types::{
    Amount,
    market::{HASHES_PER_PRICE, Hashing, Offer, RentalSpec},
};

/// Returns the pay for hashes: floor(price × hashes / 10^9). Saturates; offers bound prices at 10^27 units.
pub fn worth(price: Amount, hashes: u64) -> Amount {
    price.mul_div(hashes.into(), HASHES_PER_PRICE.into()).unwrap_or(Amount(alloy_primitives::U256::MAX))
}

/// Returns the price of 10^9 hashes at which a core earns as much as by tasks: its price for fuel, times the fuel that it burns meanwhile;
/// `None` if that is more than can be.
pub fn price_like_tasks(price_per_gfuel: Amount, fuel_per_second: u64, hashes_per_second: u64) -> Option<Amount> {
    // Both units are 10^9, which cancel out.
    price_per_gfuel.mul_div(fuel_per_second.into(), hashes_per_second.max(1).into())
}

/// Returns at which price a provider works for a rental, or says why it does not.
pub fn agree(offer: &Offer, spec: &RentalSpec) -> Result<Amount, String> {
    match offer.hashing {
        None => Err("its miner is not for rent".to_owned()),
        Some(Hashing { price_per_ghash: price, .. }) if price > spec.max_price => {
            Err(format!("10^9 hashes cost {price} there, mine.price is {}", spec.max_price))
        }
        Some(hashing) => Ok(hashing.price_per_ghash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_earns_the_same_by_hashes_and_by_tasks() {
        let (per_gfuel, fuel, hashes) = (Amount::from_units(1_000_000), 2_000_000_000, 20_000);
        let price = price_like_tasks(per_gfuel, fuel, hashes).expect("small");
        // A second of tasks earns 2,000,000 units; so do 20,000 hashes.
        assert_eq!(worth(price, hashes), Amount::from_units(2_000_000));
        assert_eq!(worth(price, 0), Amount::ZERO);
        assert_eq!(worth(Amount::from_units(3), 500_000_000), Amount::from_units(1), "rounded down");
    }
}
