//! Buying rights: fees for one's own work are PP, and PP is weight.

use super::{BMM, Emitted, Row, least_weight};
use bmm_ledger::system::{Entitlement, entitlement};
use bmm_types::params::{FootstoneRules, ResourceRules};

/// A footstone that buys its PP with fees, a tenth of the whole weight: what a day costs it after what the pot returns, with a persistence of 2,
/// and what its bets bring. The bond comes back and is not counted.
pub(super) fn bought(rules: &ResourceRules, footstones: &FootstoneRules, emitted: Emitted) -> Vec<Row> {
    let row = |weight: u128| {
        let own = weight * BMM / 10;
        // PP that the weight needs, and the fees of one day for it at twice the DPP.
        let units = own.div_ceil(footstones.bond_per_unit.units().saturating_to());
        let fees = units * rules.fee_per_unit.units().saturating_to::<u128>() / 2;
        let asked = Entitlement { hash: (0, 1), compute: (fees, fees * 10), fees };
        let back = entitlement(rules, emitted.resources + fees * 10, asked).0;
        let setting = format!("a tenth of a weight of {weight} BMM, all of it bought");
        Row {
            attack: "rights by own compute",
            setting,
            cost: fees - back,
            gain: emitted.footstones / 10,
            is_attack: true,
        }
    };
    [1, 3, 10, 100].map(|times| row(least_weight(footstones) * times)).into()
}
