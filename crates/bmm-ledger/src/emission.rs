//! The schedule of new coins: eras of equal length, each releasing half of what the one before released.

use alloy_primitives::{Address, U256};
use bmm_types::{ChainParams, Emission, Header, system};

/// How the emission of one block is split; the parts add up to the block's emission exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reward {
    /// Units for the producer.
    pub producer: U256,
    /// Units for the resource pot.
    pub resources: U256,
    /// Units for the footstones' pot.
    pub footstones: U256,
}

impl Reward {
    /// Returns the sum of the parts, in units.
    pub fn total(&self) -> U256 {
        // Parts of a total that never passes `mined_total`.
        self.producer.saturating_add(self.resources).saturating_add(self.footstones)
    }
}

/// Returns the units that mining has released up to and with block `height`.
///
/// With T_m the mined total and H blocks per era:
/// emitted(h) = T_m − (T_m >> i) + ((T_m >> (i+1)) · f) / H, where i = h / H and f = h mod H.
pub fn emitted(emission: &Emission, height: u64) -> U256 {
    let total = emission.mined_total.units();
    // An era of no blocks would release everything at once.
    let (Some(era), Some(into_era)) =
        (height.checked_div(emission.blocks_per_era), height.checked_rem(emission.blocks_per_era))
    else {
        return total;
    };
    let (left, next) = (halved(total, era), halved(total, era.saturating_add(1)));
    let of_this_era = mul_div(next, into_era, emission.blocks_per_era);
    total.saturating_sub(left).saturating_add(of_this_era)
}

/// Returns the units that block `height` releases: emitted(h) − emitted(h−1), and nothing at genesis.
pub fn emission_of(emission: &Emission, height: u64) -> U256 {
    height.checked_sub(1).map_or(U256::ZERO, |before| {
        // `emitted` never falls, so that nothing saturates here; a property test holds it to that.
        emitted(emission, height).saturating_sub(emitted(emission, before))
    })
}

/// Returns the split of the units that block `height` releases.
///
/// Producer and footstones get their basis points rounded down; the resource pot gets the rest.
pub fn reward(emission: &Emission, height: u64) -> Reward {
    let total = emission_of(emission, height);
    let producer = mul_div(total, emission.producer_bps.into(), 10_000);
    let footstones = mul_div(total, emission.footstones_bps.into(), 10_000).min(total.saturating_sub(producer));
    let resources = total.saturating_sub(producer).saturating_sub(footstones);
    Reward { producer, resources, footstones }
}

/// Returns who gets how many new units for the block of `header`: producer, resource pot, footstones' pot. Nobody at genesis and
/// on chains without emission.
pub fn payments(params: &ChainParams, header: &Header) -> Vec<(Address, U256)> {
    let Some(emission) = params.emission.as_ref().filter(|_| header.number > 0) else { return Vec::new() };
    let reward = reward(emission, header.number);
    vec![
        (header.beneficiary, reward.producer),
        (system::RESOURCES, reward.resources),
        (system::FOOTSTONES, reward.footstones),
    ]
}

/// Halves `total` `times` times, rounding down once at the end.
fn halved(total: U256, times: u64) -> U256 {
    usize::try_from(times).map_or(U256::ZERO, |shift| total.wrapping_shr(shift))
}

/// Returns `value · factor / divisor`, rounded down, and never more than `value` for a `factor` within `divisor`.
fn mul_div(value: U256, factor: u64, divisor: u64) -> U256 {
    let product = value.widening_mul::<64, 1, 320, 5>(alloy_primitives::Uint::<64, 1>::from(factor));
    let quotient = product.checked_div(alloy_primitives::Uint::<320, 5>::from(divisor)).unwrap_or_default();
    U256::saturating_from(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_types::{Amount, ChainParams};
    use proptest::prelude::*;

    fn emission_with(mined_total: U256, blocks_per_era: u64) -> Emission {
        let emission = ChainParams::main().emission.expect("the public chain emits");
        Emission { mined_total: Amount(mined_total), blocks_per_era, ..emission }
    }

    #[test]
    fn the_public_chain_releases_half_in_the_first_era() {
        let emission = ChainParams::main().emission.expect("the public chain emits");
        let half = emission.mined_total.units() / U256::from(2);
        assert_eq!(emitted(&emission, 0), U256::ZERO);
        assert_eq!(emitted(&emission, emission.blocks_per_era), half);
        assert_eq!(emitted(&emission, u64::MAX), emission.mined_total.units());
        // 625.5M BMM over 21,038,400 blocks are 29.73 BMM a block.
        assert_eq!(emission_of(&emission, 1), half / U256::from(21_038_400));
        assert_eq!(reward(&emission, 0), Reward::default());
    }

    #[test]
    fn an_empty_era_releases_all_at_once() {
        assert_eq!(emitted(&emission_with(U256::from(7), 0), 0), U256::from(7));
    }

    fn totals() -> impl Strategy<Value = U256> {
        prop_oneof![any::<u64>().prop_map(U256::from), any::<[u8; 32]>().prop_map(U256::from_be_bytes)]
    }

    proptest! {
        #[test]
        fn never_falls_and_never_passes_the_total(total in totals(), era in 1u64..=u64::MAX, height in 1u64..) {
            let emission = emission_with(total, era);
            prop_assert!(emitted(&emission, height) >= emitted(&emission, height - 1));
            prop_assert!(emitted(&emission, height) <= total);
        }

        #[test]
        fn short_eras_sum_to_the_total(total in totals(), era in 1u64..4) {
            let emission = emission_with(total, era);
            let sum = (0..era * 257).fold(U256::ZERO, |sum, h| sum + emission_of(&emission, h));
            prop_assert_eq!(sum, emitted(&emission, era * 257 - 1));
            // After 256 eras nothing is left to halve.
            prop_assert_eq!(sum, total);
        }

        /// At an era's edge the next era's formula agrees with the old one's end to the one unit that a halving rounds off.
        #[test]
        fn continuous_at_the_edges(total in totals(), blocks in 1u64..1_000_000, i in 0u64..260) {
            let emission = emission_with(total, blocks);
            let edge = (i + 1) * blocks;
            let end_of_old = total - halved(total, i) + halved(total, i + 1);
            let start_of_new = emitted(&emission, edge);
            prop_assert!(start_of_new - end_of_old <= U256::from(1));
            let step = halved(total, i + 1) / U256::from(blocks) + U256::from(2);
            prop_assert!(emission_of(&emission, edge) <= step);
        }

        #[test]
        fn the_split_is_exact(height in 1u64..500_000_000, producer in 0u16..=10_000, footstones in 0u16..=10_000) {
            let emission = Emission {
                producer_bps: producer,
                footstones_bps: footstones,
                ..ChainParams::main().emission.expect("the public chain emits")
            };
            prop_assert_eq!(reward(&emission, height).total(), emission_of(&emission, height));
        }
    }
}
