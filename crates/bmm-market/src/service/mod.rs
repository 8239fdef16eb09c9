//! Services: their files, and the two sides of paying for time.

mod file;
mod meter;
mod payer;

pub use file::ServiceFile;
pub use meter::{Meter, Step};
pub use payer::{Payer, Unpaid};

use bmm_types::{
    Amount,
    market::{FUEL_PER_PRICE, Offer, Runtime, ServiceSpec},
};

/// Returns the least that a provider takes for an interval: its price for one core at its rated speed; `None` if that is more than can be.
pub fn least_price(offer: &Offer, spec: &ServiceSpec) -> Option<Amount> {
    let fuel = u128::from(offer.rating_fuel_per_second).checked_mul(spec.interval_millis.into())?;
    offer.price_per_gfuel.mul_div(fuel, u128::from(FUEL_PER_PRICE).checked_mul(1_000)?)
}

/// Says why a provider cannot host a service; `None` if it can.
pub fn objection(offer: &Offer, spec: &ServiceSpec) -> Option<String> {
    let memory = spec.volume.as_ref().map_or(0, |volume| volume.size_bytes).saturating_add(spec.memory_bytes);
    if !offer.runtimes.contains(&Runtime::Container) {
        return Some("it runs no containers".to_owned());
    }
    if memory > offer.memory_bytes {
        return Some(format!("memory and volume are {memory} bytes, it offers {}", offer.memory_bytes));
    }
    match least_price(offer, spec) {
        Some(least) if least <= spec.price => None,
        Some(least) => Some(format!("an interval costs {least} there, the price is {}", spec.price)),
        None => Some("its price is beyond all amounts".to_owned()),
    }
}
