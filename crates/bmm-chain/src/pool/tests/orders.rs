//! The orders, against sorting all.

use super::{address, transaction};
use crate::pool::{
    Fees, PoolTransaction,
    heads::{Heads, Walk},
    lasts::{Last, Lasts},
};
use proptest::prelude::*;
use std::{cmp::Reverse, sync::Arc};

fn head(arrival: u64, fees: Fees) -> Arc<PoolTransaction> {
    let sender = address(arrival);
    let transaction = transaction(sender, 0, fees.fee, fees.tip, 0);
    Arc::new(PoolTransaction { hash: *transaction.tx_hash(), transaction, sender, bytes: 0, arrival })
}

fn fees() -> impl Strategy<Value = Fees> {
    (0u128..30, 0u128..30).prop_map(|(one, other)| Fees { fee: one.max(other), tip: one.min(other) })
}

/// What should come, sorted.
fn sorted(of: &[Arc<PoolTransaction>], base_fee: u64) -> Vec<u64> {
    let paying = of.iter().filter_map(|tx| Some((tx.fees().effective_tip(base_fee.into())?, Reverse(tx.arrival))));
    let mut paying: Vec<_> = paying.collect();
    paying.sort_unstable_by(|one, other| other.cmp(one));
    paying.into_iter().map(|(_, Reverse(arrival))| arrival).collect()
}

fn walked(heads: &Heads, base_fee: u64) -> Vec<u64> {
    let mut walk = Walk::new(heads, base_fee);
    std::iter::from_fn(|| walk.next()).map(|tx| tx.arrival).collect()
}

proptest! {
    #[test]
    fn heads_come_as_if_sorted(
        changes in prop::collection::vec((fees(), any::<bool>(), any::<prop::sample::Index>()), 1..120),
        base_fees in prop::collection::vec(0u64..32, 4),
        copied in any::<prop::sample::Index>(),
    ) {
        let (mut heads, mut all) = (Heads::default(), Vec::new());
        let (mut copy, copied) = (None, copied.index(changes.len()));
        for (arrival, (fees, out, which)) in changes.into_iter().enumerate() {
            if arrival == copied {
                copy = Some((heads.clone(), all.clone()));
            }
            if out && !all.is_empty() {
                let gone: Arc<PoolTransaction> = all.swap_remove(which.index(all.len()));
                heads.remove(&gone);
            } else {
                let new = head(arrival as u64, fees);
                heads.insert(new.clone());
                all.push(new);
            }
        }
        for base_fee in base_fees {
            prop_assert_eq!(walked(&heads, base_fee), sorted(&all, base_fee));
            prop_assert_eq!(heads.any_pays(base_fee), !sorted(&all, base_fee).is_empty());
            // What was copied stays as it was.
            let (heads, all) = copy.as_ref().expect("copied on the way");
            prop_assert_eq!(walked(heads, base_fee), sorted(all, base_fee));
        }
    }

    #[test]
    fn the_worst_is_the_worst(
        lasts in prop::collection::vec((fees(), any::<bool>()), 1..40),
        base_fee in 0u64..32,
    ) {
        let mut set = Lasts::default();
        let all: Vec<_> = lasts
            .into_iter()
            .zip(0u64..)
            .map(|((floor, gapped), arrival)| (address(arrival), Last { gapped, floor, arrival }))
            .collect();
        for (sender, last) in &all {
            set.insert(*sender, last);
        }
        let mut left = all;
        while !left.is_empty() {
            let worst = left.iter().enumerate().min_by_key(|(_, (_, last))| last.rank(base_fee)).expect("some");
            let (index, (sender, last)) = (worst.0, *worst.1);
            prop_assert_eq!(set.worst(base_fee), Some((last.rank(base_fee), sender)));
            set.remove(sender, &last);
            left.remove(index);
        }
        prop_assert_eq!(set.worst(base_fee), None);
    }
}
