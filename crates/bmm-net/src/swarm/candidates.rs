//! Addresses at which this node may be reached from outside: guessed, so that both sides of a hole punch know one of the same kind.
//!
//! A peer sees from where a connection comes: the router's address, over TCP or over QUIC. Most routers keep the port, so the same address
//! with the port that this node listens at over the other transport is a good guess. DCUtR tries it, AutoNAT looks whether it holds.

use super::gate::ip_of;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};
use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

/// Guesses at most; a node behind one router makes two.
const MOST: usize = 16;

/// A behaviour that only tells the others of guessed addresses.
#[derive(Default)]
pub struct Candidates {
    known: HashSet<Multiaddr>,
    untold: VecDeque<Multiaddr>,
    waker: Option<Waker>,
}

/// Returns the address that `seen` has, with the ports of `listen`; `None` where that says nothing new.
fn guess(seen: &Multiaddr, listen: &Multiaddr) -> Option<Multiaddr> {
    let (outside, inside) = (ip_of(seen)?, ip_of(listen)?);
    let kind = |address: &Multiaddr| address.iter().any(|part| matches!(part, Protocol::Udp(_)));
    if inside.is_loopback() || inside.is_ipv4() != outside.is_ipv4() || kind(seen) == kind(listen) {
        return None;
    }
    Some(Multiaddr::from(outside).into_iter().chain(listen.iter().skip(1)).collect())
}

impl Candidates {
    /// A peer sees this node at an address: guesses others from those that it listens at.
    pub fn seen(&mut self, seen: &Multiaddr, listens: &[Multiaddr]) {
        for address in
            listens.iter().filter(|listen| !super::is_relayed(listen)).filter_map(|listen| guess(seen, listen))
        {
            if self.known.len() < MOST && self.known.insert(address.clone()) {
                self.untold.push_back(address);
            }
        }
        if let Some(waker) = self.waker.take().filter(|_| !self.untold.is_empty()) {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Candidates {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(address) = self.untold.pop_front() {
            return Poll::Ready(ToSwarm::NewExternalAddrCandidate(address));
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_transport_is_guessed_once() {
        let address = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let listens =
            ["/ip4/127.0.0.1/udp/9/quic-v1", "/ip4/10.0.0.2/udp/7/quic-v1", "/ip4/10.0.0.2/tcp/8"].map(address);
        let mut candidates = Candidates::default();
        for _ in 0..2 {
            candidates.seen(&address("/ip4/198.41.0.4/tcp/8"), &listens);
        }
        assert_eq!(candidates.untold, [address("/ip4/198.41.0.4/udp/7/quic-v1")]);
        candidates.seen(&address("/ip6/2001:503:ba3e::2:30/tcp/8"), &listens);
        assert_eq!(candidates.untold.len(), 1, "it does not listen there");
        for port in 0..100 {
            candidates
                .seen(&address("/ip4/198.41.0.4/tcp/8"), &[address(&format!("/ip4/10.0.0.2/udp/{port}/quic-v1"))]);
        }
        assert_eq!(candidates.known.len(), MOST);
    }
}
