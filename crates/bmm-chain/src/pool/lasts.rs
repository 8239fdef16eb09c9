//! The last transaction of every sender, the worst first: taking a last one away leaves no gap.
//!
//! What a transaction is worth is the least of itself and of those that it waits for: who offers much behind a transaction that
//! nobody wants has nothing to offer. The least of min(T, F − b) over many is the lesser of the least T and the least F − b, so
//! that two orders which know nothing of the base fee give the worst one at every base fee.

use super::Fees;
use alloy_primitives::Address;
use std::{cmp::Reverse, collections::BTreeSet};

/// How good a transaction is to have.
///
/// What waits for an earlier nonce (0) may wait for ever, so that its tip costs nobody anything: it goes before all that could
/// be in a block. Then goes what does not pay the base fee (1), the lowest fee first, then the others (2) by their tip; of
/// equals the later one.
pub(super) type Rank = (u8, u128, Reverse<u64>);

type Key = (u128, Reverse<u64>, Address);

/// The last transaction of one sender, as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// Whether a nonce is missing before it.
    pub gapped: bool,
    /// The least fee and the least tip of it and, if no nonce is missing, of all before it.
    pub floor: Fees,
    /// Order of arrival.
    pub arrival: u64,
}

impl Last {
    /// Ranks it at a base fee.
    pub fn rank(&self, base_fee: u64) -> Rank {
        let arrival = Reverse(self.arrival);
        if self.gapped {
            return (0, self.floor.tip, arrival);
        }
        match self.floor.effective_tip(base_fee.into()) {
            None => (1, self.floor.fee, arrival),
            Some(tip) => (2, tip, arrival),
        }
    }
}

/// The set.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    gapped: BTreeSet<Key>,
    by_tip: BTreeSet<Key>,
    by_fee: BTreeSet<Key>,
}

impl Lasts {
    pub fn insert(&mut self, sender: Address, last: &Last) {
        let arrival = Reverse(last.arrival);
        if last.gapped {
            self.gapped.insert((last.floor.tip, arrival, sender));
        } else {
            self.by_tip.insert((last.floor.tip, arrival, sender));
            self.by_fee.insert((last.floor.fee, arrival, sender));
        }
    }

    pub fn remove(&mut self, sender: Address, last: &Last) {
        let arrival = Reverse(last.arrival);
        if last.gapped {
            self.gapped.remove(&(last.floor.tip, arrival, sender));
        } else {
            self.by_tip.remove(&(last.floor.tip, arrival, sender));
            self.by_fee.remove(&(last.floor.fee, arrival, sender));
        }
    }

    /// Returns the worst of all at a base fee, and whose it is.
    pub fn worst(&self, base_fee: u64) -> Option<(Rank, Address)> {
        if let Some((tip, arrival, sender)) = self.gapped.first() {
            return Some(((0, *tip, *arrival), *sender));
        }
        let (fee, by_fee) = self.by_fee.first().map(|(fee, arrival, sender)| (*fee, (*arrival, *sender)))?;
        let (tip, by_tip) = self.by_tip.first().map(|(tip, arrival, sender)| (*tip, (*arrival, *sender)))?;
        let Some(left) = fee.checked_sub(base_fee.into()) else {
            return Some(((1, fee, by_fee.0), by_fee.1));
        };
        let least = (left, by_fee.0).min((tip, by_tip.0));
        let sender = if least == (left, by_fee.0) { by_fee.1 } else { by_tip.1 };
        Some(((2, least.0, least.1), sender))
    }
}
