//! A lease as the requester sees it: which of its tasks are still out.

use bmm_types::market::TaskRange;

use crate::Micros;

/// Tasks that one provider holds.
pub(super) struct LeaseState {
    /// Number of the holder in the book of providers.
    pub peer: usize,
    /// When it was given.
    pub issued: Micros,
    /// Tasks still out.
    pub left: u32,
    /// Tasks at the beginning.
    pub size: u32,
    ranges: Vec<TaskRange>,
    /// Number of the first task of each range within the lease.
    starts: Vec<u32>,
    /// One bit a task: still out.
    out: Vec<u64>,
}

impl LeaseState {
    /// Makes a lease of ascending ranges.
    pub fn new(peer: usize, issued: Micros, ranges: Vec<TaskRange>) -> Self {
        let mut size = 0u32;
        let starts = ranges
            .iter()
            .map(|range| {
                let start = size;
                size += range.count;
                start
            })
            .collect();
        let words = usize::try_from(size.div_ceil(64)).unwrap_or(0);
        Self { peer, issued, left: size, size, ranges, starts, out: vec![u64::MAX; words] }
    }

    /// Returns word and bit of a task of the lease.
    fn bit(&self, task: u64) -> Option<(usize, u64)> {
        let number = self.ranges.partition_point(|range| range.first <= task).checked_sub(1)?;
        let range = self.ranges[number];
        let offset = u32::try_from(task - range.first).ok().filter(|offset| *offset < range.count)?;
        let at = self.starts[number] + offset;
        Some((usize::try_from(at / 64).ok()?, 1 << (at % 64)))
    }

    /// Tells whether a task is still out.
    pub fn holds(&self, task: u64) -> bool {
        self.bit(task).is_some_and(|(word, bit)| self.out[word] & bit != 0)
    }

    /// Takes a task out; false if it is not in the lease or was taken before.
    pub fn take(&mut self, task: u64) -> bool {
        let Some((word, bit)) = self.bit(task) else { return false };
        let out = self.out[word] & bit != 0;
        self.out[word] &= !bit;
        self.left -= u32::from(out);
        out
    }

    /// Returns the tasks still out, in their order.
    pub fn remaining(&self) -> impl Iterator<Item = u64> + '_ {
        let tasks = self.ranges.iter().flat_map(|range| range.first..range.end());
        tasks.filter(|&task| self.holds(task))
    }
}

/// Puts ascending tasks into ranges.
pub(super) fn into_ranges(tasks: impl IntoIterator<Item = u64>) -> Vec<TaskRange> {
    let mut ranges: Vec<TaskRange> = Vec::new();
    for task in tasks {
        match ranges.last_mut() {
            Some(last) if last.end() == task && last.count < u32::MAX => last.count += 1,
            _ => ranges.push(TaskRange { first: task, count: 1 }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_task_is_taken_once(tasks in prop::collection::btree_set(0u64..300, 1..200), taken in prop::collection::vec(0u64..310, 0..200)) {
            let ranges = into_ranges(tasks.iter().copied());
            let mut lease = LeaseState::new(0, 0, ranges);
            let mut left: BTreeSet<u64> = tasks;
            for task in taken {
                prop_assert_eq!(lease.take(task), left.remove(&task));
            }
            prop_assert_eq!(lease.left as usize, left.len());
            prop_assert_eq!(lease.remaining().collect::<BTreeSet<_>>(), left);
        }
    }
}
