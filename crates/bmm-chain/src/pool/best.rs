//! Waiting transactions in the order in which a producer wants them.

use super::PoolTransaction;
use alloy_consensus::Transaction as _;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

/// Goes through the transactions that could be in a block: the highest tip first, the earlier of equals, and those of one
/// sender by nonce.
pub(crate) struct Best {
    base_fee: u64,
    queues: Vec<VecDeque<Arc<PoolTransaction>>>,
    /// Tip, arrival and index in `queues` of each sender's next.
    heap: BinaryHeap<(u128, Reverse<u64>, usize)>,
}

impl Best {
    /// Orders queues of transactions with consecutive nonces.
    pub fn new(base_fee: u64, queues: impl Iterator<Item = VecDeque<Arc<PoolTransaction>>>) -> Self {
        let mut best = Self { base_fee, queues: queues.collect(), heap: BinaryHeap::new() };
        (0..best.queues.len()).for_each(|index| best.offer(index));
        best
    }

    /// Returns the next transaction and the number of its sender's queue. The sender's following ones come only after [`Self::included`].
    pub fn next(&mut self) -> Option<(Arc<PoolTransaction>, usize)> {
        let (_, _, index) = self.heap.pop()?;
        let tx = self.queues.get_mut(index)?.pop_front()?;
        Some((tx, index))
    }

    /// Says that the transaction of that queue is in the block, so that its sender's next may follow.
    pub fn included(&mut self, queue: usize) {
        self.offer(queue);
    }

    /// Lists a sender's next transaction, if it pays the base fee.
    fn offer(&mut self, index: usize) {
        let next = self.queues.get(index).and_then(VecDeque::front);
        if let Some((tip, arrival)) =
            next.and_then(|tx| Some((tx.transaction.effective_tip_per_gas(self.base_fee)?, tx.arrival)))
        {
            self.heap.push((tip, Reverse(arrival), index));
        }
    }
}
