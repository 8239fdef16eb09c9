//! How peers are reached that routers hide: relays that are listened at, and direct connections in place of relayed ones.

use super::{Behaviour, commands::Reply, task::Task};
use crate::network::peer_of;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    multiaddr::Protocol,
    swarm::ConnectionId,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Relays through which a node that cannot be reached is reached.
const WANTED_RELAYS: usize = 2;
/// The protocol of relays.
const RELAY: &str = "/libp2p/circuit/relay/0.2.0/hop";
/// Pause after a relay that did not take us, or left us; it doubles each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// How long a direct connection is waited for, once there is a relayed one: three tries of the other side.
const DIRECT_WITHIN: Duration = Duration::from_secs(10);

/// How long it is remembered that a peer could not be reached directly, and of how many peers.
const HOPELESS_FOR: Duration = Duration::from_mins(10);
const MAX_HOPELESS: usize = 256;

/// A relay that was asked.
struct Asked {
    failures: u32,
    not_before: Instant,
}

/// Somebody who waits for a direct connection in place of a relayed one.
struct Waiting {
    peer: PeerId,
    until: Instant,
    reply: Reply<PeerId>,
}

/// The connections of a peer, the oldest first; as many as the limits allow.
struct Reached {
    ways: Vec<Way>,
    /// Until when a direct connection may still come in place of a relayed one.
    undecided_until: Instant,
}

/// One connection of a peer.
#[derive(Clone, Debug)]
struct Way {
    id: ConnectionId,
    address: Multiaddr,
    incoming: bool,
}

/// The ways to peers.
#[derive(Default)]
pub(super) struct Ways {
    /// Whether others cannot reach this node.
    unreachable: bool,
    relays: HashMap<ListenerId, PeerId>,
    asked: HashMap<PeerId, Asked>,
    peers: HashMap<PeerId, Reached>,
    waiting: Vec<Waiting>,
    /// Peers whose direct connection was waited for in vain, and until when nobody waits for it again.
    hopeless: HashMap<PeerId, Instant>,
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

impl Ways {
    /// Notes a connection, and returns how its peer is reached now, if that has changed: the address, and whether the peer came.
    pub fn connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Option<(Multiaddr, bool)> {
        let (mut address, incoming) = (endpoint.get_remote_address().clone(), endpoint.is_listener());
        if incoming && endpoint.is_relayed() {
            // Of who comes through a relay nothing is known but its name.
            address = Multiaddr::empty().with(Protocol::P2pCircuit).with(Protocol::P2p(peer));
        }
        let now = Instant::now();
        let hopeless = self.hopeless.get(&peer).is_some_and(|until| *until > now);
        let undecided_until = if hopeless { now } else { now + DIRECT_WITHIN };
        let new = || Reached { ways: Vec::new(), undecided_until };
        let ways = &mut self.peers.entry(peer).or_insert_with(new).ways;
        let replaces = !is_relayed(&address) && !ways.is_empty() && ways.iter().all(|way| is_relayed(&way.address));
        ways.push(Way { id, address: address.clone(), incoming });
        (replaces || ways.len() == 1).then_some((address, incoming))
    }

    /// Notes the end of a connection, and returns how its peer is reached now, if it still is.
    pub fn closed(&mut self, peer: PeerId, id: ConnectionId) -> Option<(Multiaddr, bool)> {
        let ways = &mut self.peers.get_mut(&peer)?.ways;
        ways.retain(|way| way.id != id);
        let best = ways.iter().find(|way| !is_relayed(&way.address)).or_else(|| ways.first());
        let found = best.map(|way| (way.address.clone(), way.incoming));
        if found.is_none() {
            self.peers.remove(&peer);
        }
        found
    }

    /// Answers once a peer is reached directly, or it is known that it will not be: who dials wants the best way there is.
    pub fn wait(&mut self, peer: PeerId, reply: Reply<PeerId>) {
        let undecided = self.peers.get(&peer).filter(|reached| reached.ways.iter().all(|way| is_relayed(&way.address)));
        match undecided.map(|reached| reached.undecided_until).filter(|until| *until > Instant::now()) {
            Some(until) => self.waiting.push(Waiting { peer, until, reply }),
            None => drop(reply.send(Ok(peer))),
        }
    }

    /// Answers those who wait for a peer: it is reached directly, or it cannot be.
    pub fn decided(&mut self, peer: PeerId) {
        if let Some(reached) = self.peers.get_mut(&peer) {
            reached.undecided_until = Instant::now();
        }
        for waiting in self.waiting.extract_if(.., |waiting| waiting.peer == peer) {
            let _ = waiting.reply.send(Ok(peer));
        }
    }

    /// Answers those who waited long enough.
    pub fn look_after_waiting(&mut self, now: Instant) {
        for waiting in self.waiting.extract_if(.., |waiting| waiting.until <= now) {
            if self.hopeless.len() >= MAX_HOPELESS {
                self.hopeless.retain(|_, until| *until > now);
            }
            if self.hopeless.len() < MAX_HOPELESS {
                self.hopeless.insert(waiting.peer, now + HOPELESS_FOR);
            }
            let _ = waiting.reply.send(Ok(waiting.peer));
        }
    }

    /// A peer is reached directly: what was opened through a relay is closed by the side that opened it, so that nothing goes there any more.
    pub fn upgraded(&mut self, peer: PeerId, swarm: &mut Swarm<Behaviour>) {
        let ways = self.peers.get(&peer).map(|reached| reached.ways.as_slice()).unwrap_or_default();
        if ways.iter().any(|way| !is_relayed(&way.address)) {
            self.hopeless.remove(&peer);
            for way in ways.iter().filter(|way| is_relayed(&way.address) && !way.incoming) {
                swarm.close_connection(way.id);
            }
        }
        self.decided(peer);
    }

    /// A listener is gone; if it was one at a relay, the relay rests for a while.
    pub fn listener_closed(&mut self, listener: ListenerId) {
        let Some(relay) = self.relays.remove(&listener) else { return };
        let asked = self.asked.entry(relay).or_insert(Asked { failures: 0, not_before: Instant::now() });
        let pause = FIRST_PAUSE.saturating_mul(1 << asked.failures.min(16)).min(LONGEST_PAUSE);
        asked.failures = asked.failures.saturating_add(1);
        asked.not_before = Instant::now() + pause;
    }

    /// A listener has an address; if it is one at a relay, the relay has taken us.
    pub fn listener_opened(&mut self, listener: ListenerId) {
        if let Some(relay) = self.relays.get(&listener) {
            self.asked.remove(relay);
        }
    }
}

impl Task {
    /// Others can reach this node, or cannot: then relays are listened at.
    pub(super) fn reachable(&mut self, reachable: bool) {
        self.ways.unreachable = !reachable;
        if reachable {
            for listener in self.ways.relays.keys().copied().collect::<Vec<_>>() {
                self.swarm.remove_listener(listener);
            }
        }
    }

    /// Asks a peer that relays to be reached through it, if this node cannot be reached otherwise.
    pub(super) fn look_for_relays(&mut self) {
        let now = Instant::now();
        if !self.ways.unreachable || self.ways.relays.len() >= WANTED_RELAYS {
            return;
        }
        let resting = |peer: &PeerId| self.ways.asked.get(peer).is_some_and(|asked| asked.not_before > now);
        let fits = |info: &crate::peers::PeerInfo| {
            let speaks = info.protocols.iter().any(|name| name == RELAY);
            let taken = self.ways.relays.values().any(|relay| *relay == info.peer);
            speaks && !info.incoming && !is_relayed(&info.address) && !taken && !resting(&info.peer)
        };
        let Some(relay) = self.shared.book.lock().peers(now).into_iter().find(fits) else { return };
        let mut address = relay.address.clone();
        if peer_of(&address).is_none() {
            address.push(Protocol::P2p(relay.peer));
        }
        match self.swarm.listen_on(address.with(Protocol::P2pCircuit)) {
            Ok(listener) => {
                tracing::info!(relay = %relay.peer, "asking to be reached through a relay");
                self.ways.relays.insert(listener, relay.peer);
            }
            Err(error) => tracing::debug!(%error, "a relay cannot be listened at"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::{Endpoint, transport::PortUse};

    fn dialed(address: &str) -> ConnectedPoint {
        let address = address.parse().expect("an address");
        ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::Reuse }
    }

    #[test]
    fn the_direct_way_counts_as_long_as_it_is_there() {
        let (mut ways, peer, relay) = (Ways::default(), PeerId::random(), PeerId::random());
        let [first, second] = [1, 2].map(ConnectionId::new_unchecked);
        let through = format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}");
        assert!(ways.connected(peer, first, &dialed(&through)).is_some_and(|(address, _)| is_relayed(&address)));
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        ways.wait(peer, reply);
        assert!(answer.try_recv().is_err(), "a direct one may come");
        let direct = "/ip4/192.0.2.2/tcp/1";
        let (address, incoming) = ways.connected(peer, second, &dialed(direct)).expect("it is better");
        assert!(!is_relayed(&address) && !incoming);
        ways.decided(peer);
        assert!(answer.try_recv().is_ok());
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        ways.wait(peer, reply);
        assert!(answer.try_recv().is_ok(), "nothing better can come");
        ways.look_after_waiting(Instant::now() + DIRECT_WITHIN);
        assert!(ways.hopeless.is_empty(), "nobody waited in vain");
        let (address, _) = ways.closed(peer, second).expect("the relayed one is left");
        assert!(is_relayed(&address));
        assert_eq!(ways.closed(peer, first), None);
        assert!(ways.peers.is_empty());
    }

    #[test]
    fn a_relay_that_refuses_rests_ever_longer() {
        let (mut ways, relay) = (Ways::default(), PeerId::random());
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let listener = ListenerId::next();
            ways.relays.insert(listener, relay);
            let before = Instant::now();
            ways.listener_closed(listener);
            pauses.push(ways.asked[&relay].not_before - before);
        }
        assert!(pauses[0] >= FIRST_PAUSE && pauses.is_sorted() && pauses[2] > pauses[1] + FIRST_PAUSE);
        let listener = ListenerId::next();
        ways.relays.insert(listener, relay);
        ways.listener_opened(listener);
        assert!(ways.asked.is_empty(), "a relay that takes us is forgiven");
    }

    #[test]
    fn a_direct_way_that_did_not_come_is_not_waited_for_again() {
        let (mut ways, peer, relay) = (Ways::default(), PeerId::random(), PeerId::random());
        let through = dialed(&format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}"));
        for waits in [true, false] {
            let id = ConnectionId::new_unchecked(usize::from(waits));
            ways.connected(peer, id, &through);
            let (reply, mut answer) = tokio::sync::oneshot::channel();
            ways.wait(peer, reply);
            assert_eq!(answer.try_recv().is_err(), waits);
            ways.look_after_waiting(Instant::now() + DIRECT_WITHIN);
            assert!(!waits || answer.try_recv().is_ok(), "the relayed one has to do");
            ways.closed(peer, id);
        }
    }
}
