//! What the connections tell the task.

use super::{BehaviourEvent, gate::ip_of, is_relayed, unix_secs};
use crate::{
    config::protocol,
    error::NetError,
    network::Gossip,
    peers::{Connected, Offence, PeerEvent},
    swarm::task::Task,
};
use libp2p::{
    Multiaddr, PeerId, autonat,
    core::ConnectedPoint,
    dcutr, gossipsub, identify,
    kad::{self, store::RecordStore as _},
    mdns,
    multiaddr::Protocol,
    ping,
    swarm::{ConnectionId, SwarmEvent},
};
use std::{net::IpAddr, time::Instant};

/// Addresses that are taken of what a peer says of itself.
const MAX_TOLD_ADDRESSES: usize = 8;
/// Longest name of a program that is kept, in bytes.
const MAX_AGENT_BYTES: usize = 100;
/// Protocols that are kept of what a peer says it speaks.
const MAX_PROTOCOLS: usize = 64;

/// Handles one event.
pub(super) fn handle(task: &mut Task, event: SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::Behaviour(event) => behaviour(task, event),
        SwarmEvent::NewListenAddr { listener_id, address } => {
            tracing::info!(%address, "listening");
            task.opening.remove(&listener_id);
            task.ways.listener_opened(listener_id);
            if task.private {
                task.swarm.add_external_address(address.clone());
            }
            task.shared.listens.lock().push(address);
        }
        SwarmEvent::ExpiredListenAddr { address, .. } => {
            task.swarm.remove_external_address(&address);
            task.shared.listens.lock().retain(|other| *other != address);
        }
        SwarmEvent::ListenerClosed { listener_id, reason, addresses } => {
            task.shared.listens.lock().retain(|address| !addresses.contains(address));
            task.ways.listener_closed(listener_id);
            if task.opening.remove(&listener_id) {
                task.failed = Some(reason.err().map_or_else(|| "closed".into(), |error| error.to_string()));
            }
        }
        SwarmEvent::ListenerError { listener_id, error } if task.opening.remove(&listener_id) => {
            task.failed = Some(error.to_string());
        }
        SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
            connected(task, peer_id, connection_id, &endpoint);
        }
        SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
            let left = task.ways.closed(peer_id, connection_id);
            if let (Some((address, incoming)), true) = (left, num_established > 0) {
                task.shared.book.lock().moved(peer_id, address, incoming);
                return;
            }
            let jitter = task.jitter();
            let joined = task.shared.book.lock().left(peer_id, jitter, Instant::now(), unix_secs());
            task.ways.decided(peer_id);
            if joined {
                task.tell(PeerEvent::Left(peer_id));
            }
        }
        SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
            if let Some(peer) = peer_id {
                let jitter = task.jitter();
                task.shared.book.lock().unreachable(peer, jitter, Instant::now());
            }
            if let Some((peer, reply)) = task.dials.remove(&connection_id) {
                let _ = reply.send(Err(NetError::Dial(peer.to_string(), error.to_string())));
            }
        }
        _ => {}
    }
}

/// A peer is connected, perhaps not for the first time.
fn connected(task: &mut Task, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
    let connected = Connected {
        address: endpoint.get_remote_address().clone(),
        incoming: endpoint.is_listener(),
        agent: String::new(),
        protocols: Vec::new(),
        since: Instant::now(),
        round_trip: None,
        joined: false,
    };
    task.shared.book.lock().connected(peer, connected, unix_secs());
    if let Some((address, incoming)) = task.ways.connected(peer, id, endpoint) {
        task.shared.book.lock().moved(peer, address, incoming);
    }
    if !endpoint.is_relayed() {
        task.ways.upgraded(peer, &mut task.swarm);
    }
    if let Some((_, reply)) = task.dials.remove(&id) {
        task.ways.wait(peer, reply);
    }
}

fn behaviour(task: &mut Task, event: BehaviourEvent) {
    match event {
        BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => identified(task, peer_id, info),
        BehaviourEvent::Ping(ping::Event { peer, result: Ok(time), .. }) => {
            task.shared.book.lock().update(peer, |connected| connected.round_trip = Some(time));
        }
        BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
            gossip(task, Gossip { from: propagation_source, id: message_id, data: message.data }, &message.topic);
        }
        BehaviourEvent::Kad(event) => kademlia(task, event),
        BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
            let (now, now_secs) = (Instant::now(), unix_secs());
            for (peer, address) in found {
                task.shared.book.lock().add_address(peer, address, now, now_secs);
            }
            task.look_for_peers();
        }
        BehaviourEvent::Autonat(autonat::Event::StatusChanged { new, .. }) => {
            tracing::info!(status = ?new, "how others reach this node");
            match new {
                autonat::NatStatus::Private => task.reachable(false),
                autonat::NatStatus::Public(_) => task.reachable(true),
                autonat::NatStatus::Unknown => {}
            }
        }
        BehaviourEvent::Dcutr(dcutr::Event { remote_peer_id, result }) => match result {
            Ok(_) => tracing::debug!(peer = %remote_peer_id, "reached directly in place of a relay"),
            Err(error) => {
                tracing::debug!(peer = %remote_peer_id, %error, "reached through a relay only");
                task.ways.decided(remote_peer_id);
            }
        },
        BehaviourEvent::Relay(event) => tracing::debug!(?event, "relaying"),
        _ => {}
    }
}

/// A peer said who it is.
fn identified(task: &mut Task, peer: PeerId, info: identify::Info) {
    if info.protocol_version != protocol(task.shared.genesis, "1") {
        tracing::debug!(%peer, speaks = info.protocol_version, "a node of another network");
        task.shared.book.lock().other_chain(peer, Instant::now());
        let _ = task.swarm.disconnect_peer_id(peer);
        return;
    }
    if !task.private && is_global(&info.observed_addr) && !is_relayed(&info.observed_addr) {
        let listens = task.shared.listens.lock().clone();
        task.swarm.behaviour_mut().candidates.seen(&info.observed_addr, &listens);
    }
    let (now, now_secs) = (Instant::now(), unix_secs());
    let told = info.listen_addrs.into_iter().filter(|address| task.private || is_global(address));
    let told: Vec<Multiaddr> = told.take(MAX_TOLD_ADDRESSES).collect();
    let protocols: Vec<String> = info.protocols.iter().take(MAX_PROTOCOLS).map(ToString::to_string).collect();
    let serves_table = protocols.contains(&protocol(task.shared.genesis, "kad/1"));
    for address in told {
        if serves_table {
            task.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        task.shared.book.lock().add_address(peer, address, now, now_secs);
    }
    let new = {
        let mut book = task.shared.book.lock();
        book.update(peer, |connected| {
            connected.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(MAX_AGENT_BYTES).collect();
            connected.protocols = protocols;
        });
        book.joined(peer)
    };
    if new {
        task.tell(PeerEvent::Joined(peer));
    }
}

fn gossip(task: &mut Task, gossip: Gossip, topic: &gossipsub::TopicHash) {
    let ignore = |task: &mut Task, peer: PeerId, id: &gossipsub::MessageId| {
        let acceptance = gossipsub::MessageAcceptance::Ignore;
        task.swarm.behaviour_mut().gossip.report_message_validation_result(id, &peer, acceptance);
    };
    let (from, id) = (gossip.from, gossip.id.clone());
    if !task.gossip.take(from, 1.0, Instant::now()) {
        ignore(task, from, &id);
        task.offend(from, Offence::Flood);
        return;
    }
    let heard = task.topics.get(topic).is_some_and(|to| to.try_send(gossip).is_ok());
    if !heard {
        ignore(task, from, &id);
    }
}

fn kademlia(task: &mut Task, event: kad::Event) {
    match event {
        kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
            let calm = task.announcements.take(record.provider, 1.0, Instant::now());
            // The table being full is no fault of anybody.
            let _ = calm.then(|| task.swarm.behaviour_mut().kad.store_mut().add_provider(record));
        }
        kad::Event::OutboundQueryProgressed { id, result: kad::QueryResult::StartProviding(_), .. } => {
            if let Some(reply) = task.provides.remove(&id) {
                let _ = reply.send(Ok(()));
            }
        }
        kad::Event::OutboundQueryProgressed { id, result: kad::QueryResult::GetProviders(result), step, .. } => {
            let Some(find) = task.finds.get_mut(&id) else { return };
            if let Ok(kad::GetProvidersOk::FoundProviders { providers, .. }) = result {
                let me = task.shared.me;
                find.found.extend(providers.into_iter().filter(|peer| *peer != me));
            }
            if !step.last && find.found.len() < find.limit {
                return;
            }
            if let Some(mut query) = task.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
            if let Some(find) = task.finds.remove(&id) {
                let _ = find.reply.send(Ok(find.found.into_iter().take(find.limit).collect()));
            }
        }
        _ => {}
    }
}

/// Whether an address means the same everywhere.
pub(crate) fn is_global(address: &Multiaddr) -> bool {
    let Some(ip) = ip_of(address) else {
        return matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)));
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            let local = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
            !(shared || local || ip.is_broadcast() || ip.is_multicast() || ip.is_documentation())
        }
        IpAddr::V6(ip) => {
            let local = ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified();
            !(local || ip.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_told_from_global_ones() {
        let global = |text: &str| is_global(&text.parse().expect("an address"));
        for local in ["/ip4/10.1.2.3/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/fe80::1/tcp/1"] {
            assert!(!global(local), "{local}");
        }
        assert!(!global("/ip6/::ffff:10.0.0.1/tcp/1"), "an IPv4 address in disguise");
        for far in ["/ip4/198.41.0.4/tcp/1", "/ip6/2001:503:ba3e::2:30/tcp/1", "/dns/bmm.example/tcp/1"] {
            assert!(global(far), "{far}");
        }
    }
}
