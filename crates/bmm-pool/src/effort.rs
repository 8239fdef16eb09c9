//! The work of an epoch: hashes of a job are, beside what they are for blocks, work of the contributor who is paid, and the smallest of an
//! epoch prove how much.

use alloy_primitives::{B256, U256};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

/// Most hashes that are kept of one work.
pub const MAX_COUNT: usize = 64;

/// What hashes commit to for an epoch's work, and which of them are of use so far.
#[derive(Debug)]
pub struct EpochWork {
    /// What they commit to.
    pub leaf: B256,
    /// Under which id in the tree of merge-mined chains.
    pub chain_id: u32,
    /// How many of the smallest are of use.
    pub count: usize,
    smallest: Mutex<BTreeSet<U256>>,
    /// The upper 64 bits of the largest of them; all ones while there are too few.
    limit: AtomicU64,
}

impl EpochWork {
    /// Begins without hashes; at most [`MAX_COUNT`] are kept.
    pub fn new(leaf: B256, chain_id: u32, count: usize) -> Self {
        let count = count.clamp(1, MAX_COUNT);
        Self { leaf, chain_id, count, smallest: Mutex::default(), limit: AtomicU64::new(u64::MAX) }
    }

    /// Takes a hash, the bytes of a little-endian number, if it is among the smallest and new, and returns whether it is.
    pub fn take(&self, hash: &[u8; 32]) -> bool {
        let hash = U256::from_le_bytes(*hash);
        // Nearly all end here.
        if upper(hash) > self.limit.load(Ordering::Relaxed) {
            return false;
        }
        let mut smallest = self.smallest.lock();
        let full = smallest.len() >= self.count;
        if full && smallest.last().is_some_and(|last| hash >= *last) || !smallest.insert(hash) {
            return false;
        }
        if full {
            smallest.pop_last();
        }
        if smallest.len() >= self.count {
            self.limit.store(smallest.last().map_or(u64::MAX, |last| upper(*last)), Ordering::Relaxed);
        }
        true
    }
}

const fn upper(hash: U256) -> u64 {
    hash.as_limbs()[3]
}

/// The same work, whatever was found so far.
impl PartialEq for EpochWork {
    fn eq(&self, other: &Self) -> bool {
        (self.leaf, self.chain_id, self.count) == (other.leaf, other.chain_id, other.count)
    }
}

impl Eq for EpochWork {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes in whatever order: what was taken contains the smallest, and nothing is taken that was not among them then.
        #[test]
        fn the_smallest_are_taken(hashes in proptest::collection::vec((0u64..9, 0u64..9), 0..200), count in 1usize..9) {
            let work = EpochWork::new(B256::ZERO, 1, count);
            let (mut seen, mut taken) = (BTreeSet::new(), BTreeSet::new());
            for (high, low) in hashes {
                let hash = U256::from_limbs([low, 0, 0, high]);
                let is_among = seen.iter().take(count).collect::<Vec<_>>().get(count - 1).is_none_or(|last| hash < **last);
                let is_new = seen.insert(hash);
                let was_taken = work.take(&hash.to_le_bytes());
                prop_assert_eq!(was_taken, is_new && is_among);
                if was_taken {
                    taken.insert(hash);
                }
            }
            prop_assert!(seen.iter().take(count).all(|hash| taken.contains(hash)));
        }
    }

    #[test]
    fn few_of_many_are_taken() {
        let work = EpochWork::new(B256::ZERO, 1, 32);
        let taken = (0u64..20_000).filter(|n| work.take(&alloy_primitives::keccak256(n.to_be_bytes()).0)).count();
        // 32 · (1 + ln(20,000 / 32)) = 238 on average.
        assert!((150..350).contains(&taken), "{taken}");
    }
}
