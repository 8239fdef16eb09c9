//! Where the peers say they stand.

use super::wire::Status;
use alloy_primitives::{B256, U256};
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long a peer whose head did not come is not followed.
const DISTRUST: Duration = Duration::from_secs(30);

/// What a peer said.
#[derive(Clone, Debug)]
pub(super) struct PeerHead {
    pub number: u64,
    pub id: B256,
    pub work: U256,
    pub lowest_body: u64,
    pub told: Instant,
    /// Not followed before this time.
    distrusted_until: Option<Instant>,
}

/// A table of peers, bounded by the connections there are.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<HashMap<PeerId, PeerHead>>);

impl Heads {
    /// Notes what a peer says of itself.
    pub fn told(&self, peer: PeerId, status: &Status) {
        let mut heads = self.0.lock();
        let distrusted_until = heads.get(&peer).and_then(|head| head.distrusted_until);
        let Status { number, head: id, work, lowest_body, .. } = *status;
        let head = PeerHead { number, id, work, lowest_body, told: Instant::now(), distrusted_until };
        heads.insert(peer, head);
    }

    /// Notes that a peer has a block whose work is known.
    pub fn has(&self, peer: PeerId, number: u64, id: B256, work: U256) {
        if let Some(head) = self.0.lock().get_mut(&peer).filter(|head| head.work < work) {
            (head.number, head.id, head.work) = (number, id, work);
        }
    }

    /// Follows a peer no more for a while.
    pub fn distrust(&self, peer: PeerId) {
        if let Some(head) = self.0.lock().get_mut(&peer) {
            head.distrusted_until = Some(Instant::now() + DISTRUST);
        }
    }

    pub fn left(&self, peer: PeerId) {
        self.0.lock().remove(&peer);
    }

    pub fn get(&self, peer: PeerId) -> Option<PeerHead> {
        self.0.lock().get(&peer).cloned()
    }

    /// Returns whose head has the most work, if it is more than `work`.
    pub fn best_above(&self, work: U256) -> Option<(PeerId, PeerHead)> {
        let now = Instant::now();
        let heads = self.0.lock();
        let better =
            heads.iter().filter(|(_, head)| head.work > work && head.distrusted_until.is_none_or(|until| until <= now));
        better.max_by_key(|(_, head)| head.work).map(|(peer, head)| (*peer, head.clone()))
    }

    /// Returns those whose heads have at least that number.
    pub fn reaching(&self, number: u64) -> Vec<(PeerId, PeerHead)> {
        let now = Instant::now();
        let heads = self.0.lock();
        let reaching = heads
            .iter()
            .filter(|(_, head)| head.number >= number && head.distrusted_until.is_none_or(|until| until <= now));
        reaching.map(|(peer, head)| (*peer, head.clone())).collect()
    }

    /// Returns who says to have the bodies from `first` to `last`.
    pub fn having(&self, first: u64, last: u64) -> Vec<PeerId> {
        let now = Instant::now();
        let heads = self.0.lock();
        let having = heads.iter().filter(|(_, head)| {
            head.lowest_body <= first && head.number >= last && head.distrusted_until.is_none_or(|until| until <= now)
        });
        having.map(|(peer, _)| *peer).collect()
    }

    /// Returns the peers whose word is older than `age`.
    pub fn older_than(&self, age: Duration) -> Vec<PeerId> {
        self.0.lock().iter().filter(|(_, head)| head.told.elapsed() > age).map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_trusted_head_is_followed() {
        let (heads, light, heavy) = (Heads::default(), PeerId::random(), PeerId::random());
        let status = |work: u64, number: u64| Status {
            chain_id: 1,
            genesis: B256::ZERO,
            number,
            head: B256::ZERO,
            work: U256::from(work),
            lowest_body: 5,
        };
        heads.told(light, &status(10, 100));
        heads.told(heavy, &status(20, 50));
        assert_eq!(heads.best_above(U256::from(5)).map(|best| best.0), Some(heavy));
        heads.distrust(heavy);
        assert_eq!(heads.best_above(U256::from(5)).map(|best| best.0), Some(light));
        heads.told(heavy, &status(30, 200));
        assert_eq!(
            heads.best_above(U256::from(5)).map(|best| best.0),
            Some(light),
            "a new word does not bring trust back"
        );
        assert!(heads.best_above(U256::from(10)).is_none());
        assert_eq!(heads.having(5, 100), [light]);
        assert!(heads.having(4, 100).is_empty() && heads.having(5, 101).is_empty());
        heads.has(light, 101, B256::ZERO, U256::from(11));
        assert_eq!(heads.having(5, 101), [light]);
        assert!(heads.reaching(102).is_empty());
        assert_eq!(heads.reaching(101).into_iter().map(|(peer, _)| peer).collect::<Vec<_>>(), [light]);
        heads.left(light);
        assert!(heads.get(light).is_none());
    }
}
