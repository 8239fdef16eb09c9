//! Tasks that need a run: ranges in the order in which they are handed out, and how many tasks they are.

use std::collections::VecDeque;

use bmm_types::market::TaskRange;

/// Ranges of tasks that wait for a provider.
#[derive(Default)]
pub(super) struct Queue {
    ranges: VecDeque<TaskRange>,
    tasks: u64,
    /// Whether something came since it was last asked: those who wait in vain are looked at again only then.
    news: bool,
}

impl Queue {
    /// Returns the number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the number of tasks.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    pub fn push_front(&mut self, range: TaskRange) {
        self.tasks += u64::from(range.count);
        self.news = true;
        self.ranges.push_front(range);
    }

    pub fn extend(&mut self, ranges: Vec<TaskRange>) {
        self.news |= !ranges.is_empty();
        self.put_back(ranges);
    }

    /// Puts ranges to the end that were looked at and not taken.
    pub fn put_back(&mut self, ranges: Vec<TaskRange>) {
        self.tasks += ranges.iter().map(|range| u64::from(range.count)).sum::<u64>();
        self.ranges.extend(ranges);
    }

    /// Puts ranges to where they were, at the front, that were looked at and not taken.
    pub fn put_front(&mut self, ranges: Vec<TaskRange>) {
        self.tasks += ranges.iter().map(|range| u64::from(range.count)).sum::<u64>();
        for range in ranges.into_iter().rev() {
            self.ranges.push_front(range);
        }
    }

    pub fn pop_front(&mut self) -> Option<TaskRange> {
        let range = self.ranges.pop_front()?;
        self.tasks -= u64::from(range.count);
        Some(range)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells whether something came since this was last asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }
}

impl From<Vec<TaskRange>> for Queue {
    fn from(ranges: Vec<TaskRange>) -> Self {
        let mut queue = Self::default();
        queue.extend(ranges);
        queue
    }
}
