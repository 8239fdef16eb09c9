//! Who is not let in: banned peers, and too many connections from one place.

use crate::peers::Book;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    #[error("the peer is banned")]
    Banned,
    #[error("too many connections from one address")]
    PerIp,
}

/// A behaviour that only says no.
pub struct Gate {
    book: Arc<Mutex<Book>>,
    per_ip: u32,
    places: HashMap<ConnectionId, IpAddr>,
    counts: HashMap<IpAddr, u32>,
}

impl Gate {
    pub(crate) fn new(book: Arc<Mutex<Book>>, per_ip: u32) -> Self {
        Self { book, per_ip, places: HashMap::new(), counts: HashMap::new() }
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        let banned = self.book.lock().is_banned(peer, unix_secs());
        if banned { Err(ConnectionDenied::new(Denied::Banned)) } else { Ok(()) }
    }
}

/// Returns the time, in Unix seconds. A clock before 1970 reads as 1970.
pub(crate) fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the IP address that an address begins with, if it does.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Returns the place that counts as one: an IPv4 address, or the first 64 bits of an IPv6 address, which one household has. None for
/// this machine, and where there is no address (relayed).
fn place(address: &Multiaddr) -> Option<IpAddr> {
    match ip_of(address).filter(|ip| !ip.is_loopback())? {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Some(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
        }
        ip @ IpAddr::V4(_) => Some(ip),
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let full = place(remote).is_some_and(|ip| self.counts.get(&ip).is_some_and(|count| *count >= self.per_ip));
        if full { Err(ConnectionDenied::new(Denied::PerIp)) } else { Ok(()) }
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        self.handle_pending_inbound_connection(id, local, remote)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.check_peer(&peer))?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) if made.endpoint.is_listener() => {
                if let Some(ip) = place(made.endpoint.get_remote_address()) {
                    self.places.insert(made.connection_id, ip);
                    *self.counts.entry(ip).or_default() += 1;
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                let Some(ip) = self.places.remove(&closed.connection_id) else { return };
                if let Some(count) = self.counts.get_mut(&ip) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.counts.remove(&ip);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_or_networks_of_households() {
        let place = |text: &str| place(&text.parse().expect("an address"));
        assert_eq!(place("/ip4/127.0.0.1/tcp/1"), None);
        assert_eq!(place("/ip4/192.0.2.7/tcp/1"), place("/ip4/192.0.2.7/udp/2/quic-v1"));
        assert_eq!(place("/ip6/2001:db8:0:1::7/tcp/1"), place("/ip6/2001:db8:0:1:9::/tcp/1"));
        assert_ne!(place("/ip6/2001:db8:0:1::7/tcp/1"), place("/ip6/2001:db8:0:2::7/tcp/1"));
    }
}
