//! Appearing as more than one is.

use super::{BMM, Emitted, Row, bmm};
use crate::random::Random;
use alloy_primitives::U256;
use bmm_ledger::system::{Entitlement, entitlement};
use bmm_pow::resource::estimate;
use bmm_types::params::ResourceRules;

/// Hashes of one contributor in an epoch, and how often an epoch is played. More hashes change no share.
const HASHES: usize = 4_096;
const TRIALS: u64 = 3_000;

/// Draws what a contributor's proofs are estimated at in many epochs, in millionths of the truth, ascending. Its work is split among `people` of its own.
fn estimates(rules: &ResourceRules, people: usize) -> Vec<u128> {
    let count = usize::from(rules.proof_hashes);
    let mut random = Random::new(1, people.try_into().unwrap_or(0));
    let mut trial = |_| {
        let mut sum = U256::ZERO;
        for _ in 0..people {
            let mut hashes: Vec<U256> =
                (0..HASHES / people).map(|_| U256::from_limbs([0, 0, 0, random.bits()])).collect();
            let (_, largest, _) = hashes.select_nth_unstable(count - 1);
            sum += estimate(count, *largest);
        }
        (sum * U256::from(1_000_000) / U256::from(HASHES)).saturating_to()
    };
    let mut found: Vec<u128> = (0..TRIALS).map(&mut trial).collect();
    found.sort_unstable();
    found
}

fn mean(of: &[u128]) -> u128 {
    of.iter().sum::<u128>() / of.len().max(1) as u128
}

/// Proofs are estimates: what luck brings, and what one gets by proving under several names. Of a pot of a million BMM of which the truth would earn a thousandth; the cost is the truth's.
pub(super) fn lucky_proofs(rules: &ResourceRules) -> Vec<Row> {
    let worth = |ppm: u128| 1_000 * BMM / 1_000_000 * ppm;
    let row = |people: usize| {
        let found = estimates(rules, people);
        let top = found.get(found.len() * 999 / 1_000).copied().unwrap_or(0);
        let setting =
            format!("work that earns 1000 BMM, under {people} names; luckiest in 1000: {} BMM", bmm(worth(top)));
        // The mean of so many draws is good to a third of a hundredth.
        let noise = worth(10_000);
        Row {
            attack: "spoofed work",
            setting,
            cost: worth(1_000_000) + noise,
            gain: worth(mean(&found)),
            is_attack: true,
        }
    };
    [1, 4, 16].map(row).into()
}

/// Referring oneself: the referrer's part is taken from the reward of the one who was referred.
pub(super) fn referrals(rules: &ResourceRules, emitted: Emitted) -> Vec<Row> {
    let row = |names: u128| {
        let asked = |names| Entitlement { hash: (1_000 / names, 10_000), compute: (0, 0), fees: 0 };
        let alone = entitlement(rules, emitted.resources, asked(1)).0;
        let each = entitlement(rules, emitted.resources, asked(names)).0;
        let referred = each * u128::from(rules.referral_bps) / 10_000;
        let gain = ((each - referred) + referred) * names;
        let setting = format!("a tenth of the hash class under {names} names that the first referred");
        Row { attack: "referral farming", setting, cost: alone, gain, is_attack: true }
    };
    [2, 10, 100].map(row).into()
}

/// What an honest share of the hash class earns in a day, and how far luck moves it.
pub(super) fn pool_and_solo(rules: &ResourceRules, emitted: Emitted) -> Vec<Row> {
    let found = estimates(rules, 1);
    let at = |thousandth: usize| found.get(found.len() * thousandth / 1_000).copied().unwrap_or(0);
    let (low, high) = (at(25), at(975));
    let row = |ppm: u128| {
        let asked = Entitlement { hash: (ppm, 1_000_000), compute: (0, 0), fees: 0 };
        let gain = entitlement(rules, emitted.resources, asked).0;
        let [low, high] = [low, high].map(|luck| bmm(gain / 1_000_000 * luck));
        let setting = format!(
            "{}.{:04} % of the hash class alone: 95 of 100 days between {low} and {high} BMM",
            ppm / 10_000,
            ppm % 10_000
        );
        Row { attack: "pool or solo", setting, cost: 0, gain, is_attack: false }
    };
    [1, 100, 10_000, 300_000].map(row).into()
}
