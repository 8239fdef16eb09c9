//! A miner for one thread, which can be held to a share of a core.

use crate::{auxpow::AuxTree, difficulty::Target, synthetic::SyntheticParent};
use alloy_primitives::B256;
use bmm_scrypt::Hasher;
use bmm_types::AuxPow;
use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Longest rest at a stretch. On a busy machine a batch may have waited for its turn, and that is no work to rest from.
const MAX_REST: Duration = Duration::from_millis(250);

/// What to mine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MiningJob {
    /// The block to prove.
    pub block_id: B256,
    /// What the hash must not pass.
    pub target: Target,
    /// Time in the synthetic parent, in Unix seconds.
    pub time: u32,
    /// First extra nonce; threads that mine the same block take different ones, far apart.
    pub extra_nonce: u64,
}

/// How much of a core the miner may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    percent: u8,
}

impl Throttle {
    /// No limit.
    pub const NONE: Self = Self { percent: 100 };

    /// Limits the miner to `percent` of a core, 1 at least and 100 at most.
    pub fn percent_of_core(percent: u8) -> Self {
        Self { percent: percent.clamp(1, 100) }
    }

    /// How long to rest after having worked for `busy`.
    fn rest_after(self, busy: Duration) -> Duration {
        let percent = u32::from(self.percent);
        let idle = 100u32.saturating_sub(percent);
        busy.saturating_mul(idle).checked_div(percent).unwrap_or_default().min(MAX_REST)
    }
}

/// Hashes until a header meets the job's target or `stop` is set (then `None`).
///
/// Each extra nonce is tried with all of `nonces`; when they run out, the next extra nonce follows.
pub fn mine(job: &MiningJob, nonces: &RangeInclusive<u32>, stop: &AtomicBool, throttle: Throttle) -> Option<AuxPow> {
    let tree = AuxTree::new(&[(0, job.block_id)])?;
    mine_noting(job, &tree, nonces, stop, throttle, &mut |_, _, _| {})
}

/// As [`mine`], for a tree whose first leaf is the job's block. `note` is told of every hash, with the parent and the nonce that it is of.
pub fn mine_noting(
    job: &MiningJob,
    tree: &AuxTree,
    nonces: &RangeInclusive<u32>,
    stop: &AtomicBool,
    throttle: Throttle,
    note: &mut dyn FnMut(&SyntheticParent, u32, &[u8; 32]),
) -> Option<AuxPow> {
    if nonces.is_empty() {
        return None;
    }
    let mut kernel = Hasher::new();
    let (mut headers, mut hashes) = (Vec::new(), Vec::new());
    let mut extra_nonce = job.extra_nonce;
    let mut began = Instant::now();
    loop {
        let parent = SyntheticParent::of_tree(tree, extra_nonce, job.time);
        let mut rest = nonces.clone();
        while !rest.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(throttle.rest_after(began.elapsed()));
            began = Instant::now();
            // As many as the kernel computes at once, which takes about half a millisecond.
            let batch: Vec<u32> = rest.by_ref().take(kernel.lanes()).collect();
            headers.clear();
            headers.extend(batch.iter().map(|nonce| parent.header(*nonce)));
            hashes.resize(headers.len(), [0; 32]);
            kernel.hash(&headers, &mut hashes);
            batch.iter().zip(&hashes).for_each(|(nonce, hash)| note(&parent, *nonce, hash));
            let found = batch.iter().zip(&hashes).find(|(_, hash)| job.target.is_met_by(hash));
            if let Some((nonce, _)) = found {
                return Some(parent.assemble(*nonce));
            }
        }
        extra_nonce = extra_nonce.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_by_its_share() {
        let ms = Duration::from_millis;
        assert_eq!(Throttle::NONE.rest_after(ms(7)), ms(0));
        assert_eq!(Throttle::percent_of_core(50).rest_after(ms(7)), ms(7));
        assert_eq!(Throttle::percent_of_core(2).rest_after(ms(1)), ms(49));
        assert_eq!(Throttle::percent_of_core(0).rest_after(ms(1)), ms(99), "1 % is the least");
        assert_eq!(Throttle::percent_of_core(2).rest_after(ms(900)), MAX_REST);
    }
}
