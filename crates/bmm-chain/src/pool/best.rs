//! Waiting transactions in the order in which a producer wants them.

use super::{
    PoolTransaction,
    heads::{Heads, Walk},
};
use alloy_primitives::Address;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

/// Goes through the transactions that could be in a block: the highest tip first, the earlier of equals, and those of one
/// sender by nonce.
///
/// It sees the first of every sender as they were when it was made, without copying or locking anything; those that follow are
/// brought by [`Best::included`].
pub(crate) struct Best {
    base_fee: u64,
    heads: Walk,
    followers: BinaryHeap<Follower>,
    /// What comes after the follower that is listed, by sender.
    runs: HashMap<Address, VecDeque<Arc<PoolTransaction>>>,
}

struct Follower {
    tip: u128,
    tx: Arc<PoolTransaction>,
}

impl Follower {
    fn value(&self) -> (u128, Reverse<u64>) {
        (self.tip, Reverse(self.tx.arrival))
    }
}

impl Ord for Follower {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().cmp(&other.value())
    }
}

impl PartialOrd for Follower {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Follower {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for Follower {}

impl Best {
    pub(super) fn new(base_fee: u64, heads: &Heads) -> Self {
        let heads = Walk::new(heads, base_fee);
        Self { base_fee, heads, followers: BinaryHeap::new(), runs: HashMap::new() }
    }

    /// Returns the next transaction. The sender's following ones come only after [`Self::included`].
    pub fn next(&mut self) -> Option<Arc<PoolTransaction>> {
        let (head, follower) = (self.heads.peek(), self.followers.peek().map(Follower::value));
        if follower > head { self.followers.pop().map(|follower| follower.tx) } else { self.heads.next() }
    }

    /// Says that a transaction is in the block, so that its sender's next may follow. `more` is asked for those after a transaction,
    /// some at a time.
    pub fn included(&mut self, tx: &PoolTransaction, more: impl FnOnce() -> VecDeque<Arc<PoolTransaction>>) {
        let run = self.runs.entry(tx.sender).or_default();
        if run.is_empty() {
            *run = more();
        }
        if let Some(next) = run.pop_front()
            && let Some(tip) = next.fees().effective_tip(self.base_fee.into())
        {
            self.followers.push(Follower { tip, tx: next });
        }
    }
}
