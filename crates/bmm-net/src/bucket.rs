//! Token buckets: how often somebody may do something.

use libp2p::PeerId;
use std::{collections::HashMap, time::Instant};

/// Peers that are told apart; beyond that, those with full buckets are forgotten.
const MAX_PEERS: usize = 4_096;

/// A bucket fills by `per_sec` tokens a second up to `burst`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_sec: f64,
    /// The most that it holds.
    pub burst: f64,
}

impl Rate {
    /// So many a second, and four times as many at once.
    pub fn per_sec(tokens: u32) -> Self {
        Self { per_sec: f64::from(tokens), burst: 4.0 * f64::from(tokens) }
    }
}

/// A bucket for every peer.
#[derive(Debug)]
pub struct Buckets {
    rate: Rate,
    levels: HashMap<PeerId, (f64, Instant)>,
}

impl Buckets {
    /// Makes full buckets.
    pub fn new(rate: Rate) -> Self {
        Self { rate, levels: HashMap::new() }
    }

    /// Takes `tokens` out of a peer's bucket, if it has so many.
    pub fn take(&mut self, peer: PeerId, tokens: f64, now: Instant) -> bool {
        let Rate { per_sec, burst } = self.rate;
        let level = |(level, at): (f64, Instant)| {
            (level + now.saturating_duration_since(at).as_secs_f64() * per_sec).min(burst)
        };
        if self.levels.len() >= MAX_PEERS && !self.levels.contains_key(&peer) {
            self.levels.retain(|_, entry| level(*entry) < burst);
            if self.levels.len() >= MAX_PEERS {
                return false;
            }
        }
        let entry = self.levels.entry(peer).or_insert((burst, now));
        let there = level(*entry);
        let enough = there >= tokens;
        *entry = (if enough { there - tokens } else { there }, now);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_and_fills() {
        let (mut buckets, peer, begin) = (Buckets::new(Rate::per_sec(10)), PeerId::random(), Instant::now());
        let taken = (0..100).filter(|_| buckets.take(peer, 1.0, begin)).count();
        assert_eq!(taken, 40);
        assert!(buckets.take(PeerId::random(), 1.0, begin), "others have their own");
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| buckets.take(peer, 1.0, later)).count(), 10);
        assert!(!buckets.take(peer, 41.0, later + Duration::from_secs(1_000)), "it holds no more than the burst");
    }

    #[test]
    fn memory_is_bounded() {
        let (mut buckets, begin) = (Buckets::new(Rate::per_sec(1)), Instant::now());
        for _ in 0..2 * MAX_PEERS {
            buckets.take(PeerId::random(), 1.0, begin);
        }
        assert_eq!(buckets.levels.len(), MAX_PEERS);
        assert!(buckets.take(PeerId::random(), 1.0, begin + Duration::from_secs(9)), "old ones make room");
    }
}
