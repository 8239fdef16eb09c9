//! The book of peers. It knows no sockets and reads no clock.

use super::{
    Ban, PeerInfo,
    score::{BAN_AT, BEST, Offence},
};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Addresses that are kept of one peer.
const MAX_ADDRESSES: usize = 8;
/// The first ban, in seconds; each further one is four times as long, up to the longest.
const FIRST_BAN_SECS: u64 = 600;
const LONGEST_BAN_SECS: u64 = 7 * 86_400;
/// Pause after the first failure to connect; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Nodes to begin with are tried more often.
const LONGEST_BOOTSTRAP_PAUSE: Duration = Duration::from_secs(30);
/// How long a node of another chain is left alone.
const OTHER_CHAIN_PAUSE: Duration = Duration::from_hours(1);
/// A score moves one point towards 0 in this time.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

/// A connected peer.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub address: Multiaddr,
    pub incoming: bool,
    pub agent: String,
    pub protocols: Vec<String>,
    pub since: Instant,
    pub round_trip: Option<Duration>,
    /// Whether it has said that it is of this network.
    pub joined: bool,
}

/// What is known of one peer.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub addresses: Vec<Multiaddr>,
    /// Unix seconds at which it was connected last; 0 for never.
    pub seen_secs: u64,
    pub score: i32,
    /// Unix seconds.
    pub banned_until_secs: u64,
    pub bans: u32,
    forgiven: Instant,
    failures: u32,
    dial_after: Instant,
    connected: Option<Connected>,
    bootstrap: bool,
}

impl Record {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            addresses: Vec::new(),
            seen_secs: 0,
            score: 0,
            banned_until_secs: 0,
            bans: 0,
            forgiven: now,
            failures: 0,
            dial_after: now,
            connected: None,
            bootstrap: false,
        }
    }

    /// Who is kept rather when there is no room: who is in use, is banned, was seen, behaved.
    fn worth(&self, now_secs: u64) -> (bool, bool, u64, i32) {
        let kept = self.connected.is_some() || self.bootstrap;
        (kept, self.banned_until_secs > now_secs, self.seen_secs, self.score)
    }

    fn pause(&mut self, longest: Duration, jitter: u64, now: Instant) {
        let whole = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        // Half of it is chance, so that nodes that failed together do not come back together.
        self.dial_after =
            now + whole / 2 + whole.mul_f64(f64::from(u16::try_from(jitter & 0xffff).unwrap_or(0)) / 131_072.0);
    }
}

/// All that is known. Bounded in peers and in addresses of each.
#[derive(Debug)]
pub(crate) struct Book {
    pub(super) records: HashMap<PeerId, Record>,
    most: usize,
}

impl Book {
    pub fn new(most: usize) -> Self {
        Self { records: HashMap::new(), most: most.max(16) }
    }

    /// Returns a peer's record, making room for it; `None` if all others are worth more.
    pub(super) fn record(&mut self, peer: PeerId, now: Instant, now_secs: u64) -> Option<&mut Record> {
        if !self.records.contains_key(&peer) && self.records.len() >= self.most {
            let least = self.records.iter().min_by_key(|(_, record)| record.worth(now_secs));
            let (least, worth) = least.map(|(peer, record)| (*peer, record.worth(now_secs)))?;
            if worth.0 {
                return None;
            }
            self.records.remove(&least);
        }
        Some(self.records.entry(peer).or_insert_with(|| Record::new(now)))
    }

    /// Adds an address at which a peer may be.
    pub fn add_address(&mut self, peer: PeerId, address: Multiaddr, now: Instant, now_secs: u64) {
        let Some(record) = self.record(peer, now, now_secs) else { return };
        if !record.addresses.contains(&address) {
            // The newest first: old ones go when there are too many.
            record.addresses.insert(0, address);
            record.addresses.truncate(MAX_ADDRESSES);
        }
    }

    /// Adds a node to begin with; it is never forgotten.
    pub fn add_bootstrap(&mut self, peer: PeerId, address: Multiaddr, now: Instant, now_secs: u64) {
        self.add_address(peer, address, now, now_secs);
        if let Some(record) = self.records.get_mut(&peer) {
            record.bootstrap = true;
        }
    }

    /// Notes a connection.
    pub fn connected(&mut self, peer: PeerId, connected: Connected, now_secs: u64) {
        let now = connected.since;
        // What is connected is always in the book: connections are bounded elsewhere.
        let record = self.records.entry(peer).or_insert_with(|| Record::new(now));
        if !connected.incoming && !record.addresses.contains(&connected.address) {
            record.addresses.insert(0, connected.address.clone());
            record.addresses.truncate(MAX_ADDRESSES);
        }
        record.seen_secs = now_secs;
        record.connected.get_or_insert(connected);
    }

    /// Notes that a peer is reached by another connection now.
    pub fn moved(&mut self, peer: PeerId, address: Multiaddr, incoming: bool) {
        self.update(peer, |connected| (connected.address, connected.incoming) = (address, incoming));
    }

    /// Changes what is known of a connection.
    pub fn update(&mut self, peer: PeerId, change: impl FnOnce(&mut Connected)) {
        if let Some(connected) = self.records.get_mut(&peer).and_then(|record| record.connected.as_mut()) {
            change(connected);
        }
    }

    /// Notes that a peer is of this network. Returns whether that is new.
    pub fn joined(&mut self, peer: PeerId) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
        record.failures = 0;
        record.connected.as_mut().is_some_and(|connected| !std::mem::replace(&mut connected.joined, true))
    }

    /// Notes the end of the last connection. Returns whether the peer was of this network.
    pub fn left(&mut self, peer: PeerId, jitter: u64, now: Instant, now_secs: u64) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
        record.seen_secs = now_secs;
        let joined = record.connected.take().is_some_and(|connected| connected.joined);
        record.pause(LONGEST_PAUSE, jitter, now);
        joined
    }

    /// Notes that a peer could not be reached.
    pub fn unreachable(&mut self, peer: PeerId, jitter: u64, now: Instant) {
        if let Some(record) = self.records.get_mut(&peer).filter(|record| record.connected.is_none()) {
            let longest = if record.bootstrap { LONGEST_BOOTSTRAP_PAUSE } else { LONGEST_PAUSE };
            record.pause(longest, jitter, now);
        }
    }

    /// Notes that a peer follows another chain.
    pub fn other_chain(&mut self, peer: PeerId, now: Instant) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.dial_after = now + OTHER_CHAIN_PAUSE;
            record.failures = record.failures.max(12);
        }
    }

    /// Returns up to `count` peers to connect with, and marks them as tried.
    pub fn pick_to_dial(
        &mut self,
        count: usize,
        jitter: u64,
        now: Instant,
        now_secs: u64,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let free = |record: &Record| {
            record.connected.is_none()
                && !record.addresses.is_empty()
                && record.dial_after <= now
                && record.banned_until_secs <= now_secs
        };
        let mut found: Vec<_> = self.records.iter_mut().filter(|(_, record)| free(record)).collect();
        found.sort_by_key(|(_, record)| std::cmp::Reverse((record.bootstrap, record.score, record.seen_secs)));
        let dialed = found.into_iter().take(count);
        dialed
            .map(|(peer, record)| {
                let longest = if record.bootstrap { LONGEST_BOOTSTRAP_PAUSE } else { LONGEST_PAUSE };
                record.pause(longest, jitter, now);
                (*peer, record.addresses.clone())
            })
            .collect()
    }

    /// Takes an offence off a peer's score. Returns whether the peer is banned by it.
    pub fn offended(&mut self, peer: PeerId, offence: Offence, now: Instant, now_secs: u64) -> bool {
        let Some(record) = self.record(peer, now, now_secs) else { return false };
        forgive(record, now);
        record.score = record.score.saturating_sub(offence.cost());
        if record.score > BAN_AT {
            return false;
        }
        let secs = FIRST_BAN_SECS.saturating_mul(1 << (2 * record.bans.min(16))).min(LONGEST_BAN_SECS);
        record.bans = record.bans.saturating_add(1);
        record.score = BAN_AT / 2;
        record.banned_until_secs = now_secs.saturating_add(secs);
        true
    }

    /// Adds a point for something useful.
    pub fn praised(&mut self, peer: PeerId, now: Instant) {
        if let Some(record) = self.records.get_mut(&peer) {
            forgive(record, now);
            record.score = record.score.saturating_add(1).min(BEST);
        }
    }

    /// Bans a peer for so long.
    pub fn ban(&mut self, peer: PeerId, secs: u64, now: Instant, now_secs: u64) {
        if let Some(record) = self.record(peer, now, now_secs) {
            record.banned_until_secs = now_secs.saturating_add(secs);
        }
    }

    /// Ends a ban. Returns whether there was one.
    pub fn lift(&mut self, peer: PeerId, now_secs: u64) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
        let was = record.banned_until_secs > now_secs;
        record.banned_until_secs = 0;
        record.score = record.score.max(0);
        was
    }

    pub fn is_banned(&self, peer: &PeerId, now_secs: u64) -> bool {
        self.records.get(peer).is_some_and(|record| record.banned_until_secs > now_secs)
    }

    /// Returns the bans that last.
    pub fn bans(&self, now_secs: u64) -> Vec<Ban> {
        let banned = self.records.iter().filter(|(_, record)| record.banned_until_secs > now_secs);
        banned.map(|(peer, record)| Ban { peer: *peer, until_secs: record.banned_until_secs }).collect()
    }

    /// Returns the peers that are connected and of this network.
    pub fn peers(&self, now: Instant) -> Vec<PeerInfo> {
        let joined = self.records.iter().filter_map(|(peer, record)| {
            let connected = record.connected.as_ref().filter(|connected| connected.joined)?;
            Some(PeerInfo {
                peer: *peer,
                address: connected.address.clone(),
                incoming: connected.incoming,
                agent: connected.agent.clone(),
                protocols: connected.protocols.clone(),
                connected: now.saturating_duration_since(connected.since),
                round_trip: connected.round_trip,
                score: record.score,
            })
        });
        joined.collect()
    }

    /// Counts connected peers, of this network or not known yet.
    pub fn count(&self) -> usize {
        self.records.values().filter(|record| record.connected.is_some()).count()
    }

    /// Returns the addresses of a peer.
    #[cfg(test)]
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.records.get(peer).map(|record| record.addresses.clone()).unwrap_or_default()
    }
}

/// Moves a score towards 0 for the time that has passed.
fn forgive(record: &mut Record, now: Instant) {
    let points = now.saturating_duration_since(record.forgiven).as_secs() / FORGIVEN_AFTER.as_secs();
    let points = i32::try_from(points).unwrap_or(i32::MAX);
    if points > 0 {
        record.forgiven = now;
        record.score =
            if record.score < 0 { record.score.saturating_add(points).min(0) } else { (record.score - points).max(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
    }

    fn connection(now: Instant) -> Connected {
        Connected {
            address: address(1),
            incoming: true,
            agent: String::new(),
            protocols: Vec::new(),
            since: now,
            round_trip: None,
            joined: false,
        }
    }

    #[test]
    fn offences_add_up_to_a_ban_that_ends_and_grows() {
        let (mut book, peer, now) = (Book::new(100), PeerId::random(), Instant::now());
        assert!(!book.offended(peer, Offence::Lie, now, 0));
        assert!(!book.is_banned(&peer, 0));
        assert!(book.offended(peer, Offence::Lie, now, 0));
        assert!(book.is_banned(&peer, FIRST_BAN_SECS - 1) && !book.is_banned(&peer, FIRST_BAN_SECS));
        assert_eq!(book.bans(0), vec![Ban { peer, until_secs: FIRST_BAN_SECS }]);
        assert!(book.offended(peer, Offence::Invalid, now, 1_000));
        assert!(book.is_banned(&peer, 1_000 + 4 * FIRST_BAN_SECS - 1));
        assert!(book.lift(peer, 1_000) && !book.is_banned(&peer, 1_000));
    }

    #[test]
    fn time_forgives() {
        let (mut book, peer, now) = (Book::new(100), PeerId::random(), Instant::now());
        let mut later = now;
        for _ in 0..100 {
            assert!(!book.offended(peer, Offence::Stall, later, 0), "one stall in ten minutes is no ban");
            later += Duration::from_mins(10);
        }
    }

    #[test]
    fn praise_does_not_pay_for_a_lie_and_a_ban() {
        let (mut book, peer, now) = (Book::new(100), PeerId::random(), Instant::now());
        book.connected(peer, connection(now), 0);
        for _ in 0..1_000 {
            book.praised(peer, now);
        }
        assert!(book.offended(peer, Offence::Invalid, now, 0));
    }

    #[test]
    fn peers_that_fail_are_tried_less_and_less() {
        let (mut book, peer, begin) = (Book::new(100), PeerId::random(), Instant::now());
        book.add_address(peer, address(1), begin, 0);
        let tries = (0..3_600).filter(|sec| {
            let now = begin + Duration::from_secs(*sec);
            let found = !book.pick_to_dial(4, 7, now, 0).is_empty();
            if found {
                book.unreachable(peer, 7, now);
            }
            found
        });
        assert!((4..20).contains(&tries.count()));
    }

    #[test]
    fn the_book_is_bounded_and_keeps_who_is_in_use() {
        let (mut book, kept, now) = (Book::new(20), PeerId::random(), Instant::now());
        book.connected(kept, connection(now), 5);
        for port in 0..1_000 {
            book.add_address(PeerId::random(), address(port), now, 6);
            book.add_address(kept, address(port), now, 6);
        }
        assert_eq!(book.records.len(), 20);
        assert_eq!(book.addresses(&kept).len(), MAX_ADDRESSES);
        assert!(book.joined(kept) && !book.joined(kept));
        assert_eq!(book.peers(now).len(), 1);
        assert!(book.left(kept, 0, now, 9));
        assert!(book.peers(now).is_empty());
    }
}
