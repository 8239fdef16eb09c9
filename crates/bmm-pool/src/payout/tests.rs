//! Sums to the unit over random histories, and the rule by hand.

use super::*;
use crate::{
    job::ChainWork,
    log::{LogError, LoggedJob, job_digest},
};
use bmm_pow::difficulty::Difficulty;
use proptest::prelude::*;
use std::sync::Arc;

fn rule(window: u32, fee: u16) -> PayRule {
    PayRule::new(window, fee).expect("in bounds")
}

fn share(number: u64, account: u8, hashes: u64, difficulty: u64) -> LoggedShare {
    let target = Difficulty::new(U256::from(difficulty)).expect("not zero").target();
    let chains = vec![ChainWork { name: "bmm".into(), height: 1, target }];
    let job = LoggedJob { number: difficulty, digest: job_digest(difficulty, &chains), chains };
    LoggedShare {
        number,
        at_millis: 0,
        account: Address::with_last_byte(account),
        worker: "".into(),
        hashes,
        job: Arc::new(job),
    }
}

fn window(rule: PayRule, newest_last: &[LoggedShare]) -> Window {
    Window::of(rule, "bmm", newest_last.iter().rev().cloned().map(Ok::<_, LogError>)).expect("no error")
}

#[test]
fn the_example_of_the_manual() {
    // X = 2, fee 1 %, D = 1,000. From the newest: C 500, B 1,000, A 1,000 of which 500 count.
    let rule = rule(2, 100);
    let shares = [share(0, 3, 400, 1000), share(1, 1, 1000, 1000), share(2, 2, 1000, 1000), share(3, 3, 500, 1000)];
    let window = window(rule, &shares);
    assert_eq!(window.filled, 2 * BLOCK_WEIGHT);
    assert_eq!(window.oldest, Some(1));
    let division = Division::of(rule, 10_000, &window);
    let paid: Vec<u128> = division.pay.values().copied().collect();
    assert_eq!((division.fee, division.reserve, paid), (100, 0, vec![2_475, 4_950, 2_475]));
}

#[test]
fn what_no_share_fills_is_the_reserve() {
    let rule = rule(8, 0);
    let window = window(rule, &[share(0, 1, 1000, 1000), share(1, 2, 1000, 1000)]);
    let division = Division::of(rule, 800, &window);
    assert_eq!((division.reserve, division.pay.values().sum::<u128>()), (600, 200));
    let nobody = Division::of(rule, 801, &Window::default());
    assert_eq!((nobody.reserve, nobody.pay.len()), (801, 0));
}

#[test]
fn what_rounding_leaves_goes_to_who_lost_most() {
    // Thirds of 100: 33.33 each; the lowest address gets the unit.
    let rule = rule(3, 0);
    let shares = [share(0, 7, 10, 10), share(1, 5, 10, 10), share(2, 6, 10, 10)];
    let division = Division::of(rule, 100, &window(rule, &shares));
    assert_eq!(division.pay.values().copied().collect::<Vec<_>>(), [34, 33, 33]);
    // 100/6, 200/6, 300/6: 16.67, 33.33, 50; the first lost most.
    let rule = self::rule(6, 0);
    let shares = [share(0, 7, 10, 10), share(1, 5, 20, 10), share(2, 6, 30, 10)];
    let division = Division::of(rule, 100, &window(rule, &shares));
    assert_eq!(division.pay.into_iter().map(|(a, n)| (a.0[19], n)).collect::<Vec<_>>(), [(5, 33), (6, 50), (7, 17)]);
}

#[test]
fn work_for_other_chains_weighs_nothing() {
    let rule = rule(2, 0);
    let mut other = share(1, 2, 1_000_000, 10);
    let chains = vec![ChainWork { name: "litecoin".into(), ..other.job.chains[0].clone() }];
    other.job = Arc::new(LoggedJob { number: 99, digest: job_digest(99, &chains), chains });
    let window = window(rule, &[share(0, 1, 5, 10), other, share(2, 3, 5, 10)]);
    assert_eq!(window.weights.len(), 2);
    assert_eq!(window.filled, BLOCK_WEIGHT);
}

#[test]
fn rules_and_weights_at_their_ends() {
    assert!(PayRule::new(0, 0).is_none() && PayRule::new(1_001, 0).is_none() && PayRule::new(1, 10_001).is_none());
    assert_eq!(weight(u64::MAX, U256::ONE), u128::from(u64::MAX) * BLOCK_WEIGHT);
    assert_eq!(weight(u64::MAX, U256::MAX), 0);
    assert_eq!(weight(1, U256::from(3)), BLOCK_WEIGHT / 3);
    let solo = Division::solo(rule(8, 200), 10_001, Address::ZERO);
    assert_eq!((solo.fee, solo.pay[&Address::ZERO]), (200, 9_801));
    assert!(Division::solo(rule(8, 10_000), 1, Address::ZERO).pay.is_empty());
}

/// A share of a history: account, hashes, difficulty, and the reward of the block that it found, if it did.
fn history() -> impl Strategy<Value = Vec<(u8, u64, u64, Option<u128>)>> {
    let hashes = prop_oneof![1_u64..50, 1_u64..100_000, Just(u64::MAX)];
    let difficulty = prop_oneof![1_u64..50, 1_u64..1_000_000, Just(u64::MAX)];
    let reward = proptest::option::weighted(0.2, prop_oneof![0_u128..100, 0..10_u128.pow(27), Just(u128::MAX)]);
    proptest::collection::vec((0_u8..12, hashes, difficulty, reward), 1..150)
}

proptest! {
    #[test]
    fn every_unit_of_every_history_goes_somewhere(
        history in history(), window_blocks in 1_u32..12, fee in 0_u16..=10_000,
    ) {
        let rule = rule(window_blocks, fee);
        let shares: Vec<LoggedShare> =
            (0..).zip(&history).map(|(n, &(account, hashes, difficulty, _))| share(n, account, hashes, difficulty)).collect();
        for (end, (.., reward)) in (1..).zip(&history) {
            let Some(reward) = *reward else { continue };
            let window = window(rule, &shares[..end]);
            prop_assert_eq!(window.weights.values().sum::<u128>(), window.filled);
            prop_assert!(window.filled <= rule.window_weight());
            let division = Division::of(rule, reward, &window);
            prop_assert_eq!(division.total(), Some(reward));
            let pot = reward - division.fee;
            prop_assert_eq!(division.fee, U256::from(reward).saturating_mul(U256::from(fee)).wrapping_div(U256::from(10_000)).to::<u128>());
            if window.filled == rule.window_weight() {
                prop_assert_eq!(division.reserve, 0);
                prop_assert_eq!(division.pay.values().sum::<u128>(), pot);
            }
            for (account, weight) in &window.weights {
                let (exact, _) = mul_div(pot, *weight, rule.window_weight());
                let paid = division.pay.get(account).copied().unwrap_or(0);
                prop_assert!(paid == exact || paid == exact + 1, "{account} gets {paid}, its part is {exact}");
            }
            prop_assert!(division.pay.keys().all(|account| window.weights.contains_key(account)));
        }
    }
}
