//! Buying one's own work: the fee is paid, the rest of the price comes back, and the compute class pays for the fee.

use super::{BMM, Emitted, Row};
use bmm_ledger::system::{Entitlement, entitlement};
use bmm_types::params::ResourceRules;

/// Epochs that are gone through; what is left in the pot has settled long before.
const EPOCHS: u32 = 300;

/// Powers that only ratios matter of: the whole hash class.
const HASH_CLASS: u128 = 1_000;

/// What one epoch brings to whom.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    /// Of the hash class, in thousandths.
    pub(super) hash: u128,
    /// Units of fees that the attacker pays for its own work in each epoch.
    pub(super) own_fees: u128,
    /// Units of fees that all others pay.
    pub(super) other_fees: u128,
}

/// Returns what the attacker is paid in all epochs by the rules, in units, if all claim. What nobody can claim goes into the next pot.
fn income(rules: &ResourceRules, emitted: Emitted, shares: Shares) -> u128 {
    let Shares { hash, own_fees, other_fees } = shares;
    let fees = own_fees + other_fees;
    let (mut left, mut sum) = (0u128, 0u128);
    for _ in 0..EPOCHS {
        let pot = emitted.resources + fees + left;
        let paid = |hash: u128, of_fees: u128| {
            let asked = Entitlement { hash: (hash, HASH_CLASS), compute: (of_fees, fees), fees: of_fees };
            entitlement(rules, pot, asked).0
        };
        let own = paid(hash, own_fees);
        left = pot - own - paid(HASH_CLASS - hash, other_fees);
        sum += own;
    }
    sum
}

/// The fee that pays best, for shares of the hash class and fees of others that range over what may be.
pub(super) fn self_dealing(rules: &ResourceRules, emitted: Emitted) -> Vec<Row> {
    let mut rows = Vec::new();
    for other_fees in [0, 100_000, 160_000, 200_000, 1_000_000] {
        for hash in [0, 300, 600] {
            let shares = |own: u128| Shares { hash, own_fees: own * BMM, other_fees: other_fees * BMM };
            let without = income(rules, emitted, shares(0));
            let outcome = |fees: u128| {
                let gain = income(rules, emitted, shares(fees)).saturating_sub(without) / u128::from(EPOCHS);
                (gain, fees * BMM)
            };
            // What is best to win, or least to lose.
            let tried = [1_000, 10_000, 50_000, 100_000, 300_000].map(outcome);
            let best = tried.into_iter().max_by_key(|(gain, cost)| gain.saturating_mul(1_000_000) / cost);
            let (gain, cost) = best.unwrap_or_default();
            let setting = format!("{} % of the hash class, others pay {other_fees} BMM of fees a day", hash / 10);
            rows.push(Row { attack: "own compute", setting, cost, gain, is_attack: true });
        }
    }
    rows
}
