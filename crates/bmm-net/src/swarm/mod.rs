//! The parts of libp2p that a node is made of.

mod candidates;
mod commands;
mod events;
mod gate;
mod task;
mod ways;

pub(crate) use commands::Command;
pub(crate) use events::is_global;
pub(crate) use gate::unix_secs;
pub(crate) use task::Task;
pub(crate) use ways::is_relayed;

use crate::{
    config::{NetConfig, RelayLimits, protocol},
    error::NetError,
    peers::Book,
};
use candidates::Candidates;
use gate::Gate;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, autonat,
    connection_limits::{self, ConnectionLimits},
    dcutr, gossipsub, identify,
    identity::Keypair,
    kad, mdns, noise, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// Longest gossip message, in bytes.
pub const MAX_GOSSIP_BYTES: usize = 1 << 20;

/// How long a connection without streams lasts. Connections are bounded in number, and who is useless makes room by its score.
const IDLE: Duration = Duration::from_hours(1);

/// Keys that this node says it provides: pieces of content.
const MAX_PROVIDED: usize = 65_536;
/// Keys of others that this node remembers the providers of.
const MAX_PROVIDER_KEYS: usize = 65_536;

/// Streams of a connection that wait for their protocol to be agreed on.
const NEGOTIATING: usize = 64;

/// The parts.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    gate: Gate,
    limits: connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) streams: libp2p_stream::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    autonat: Toggle<autonat::Behaviour>,
    relay: Toggle<relay::Behaviour>,
    relay_client: relay::client::Behaviour,
    pub(crate) candidates: Candidates,
    dcutr: dcutr::Behaviour,
}

/// Puts the parts together.
pub(crate) fn build(config: &NetConfig, key: Keypair, book: Arc<Mutex<Book>>) -> Result<Swarm<Behaviour>, NetError> {
    let setup = |error: &dyn std::fmt::Display| NetError::Setup(error.to_string());
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| setup(&error))?
        .with_quic()
        .with_dns()
        .map_err(|error| setup(&error))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|error| setup(&error))?
        .with_behaviour(|key, relay_client| {
            behaviour(config, key, relay_client, book).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        })
        .map_err(|error| setup(&error))?
        .with_swarm_config(|swarm| {
            swarm.with_idle_connection_timeout(IDLE).with_max_negotiating_inbound_streams(NEGOTIATING)
        })
        .build();
    Ok(swarm)
}

fn behaviour(
    config: &NetConfig,
    key: &Keypair,
    relay_client: relay::client::Behaviour,
    book: Arc<Mutex<Book>>,
) -> Result<Behaviour, String> {
    let (me, limits) = (key.public().to_peer_id(), config.limits);
    let total = limits.incoming.saturating_add(limits.outgoing);
    let connections = ConnectionLimits::default()
        .with_max_pending_incoming(Some(32))
        .with_max_pending_outgoing(Some(32))
        .with_max_established_incoming(Some(limits.incoming))
        .with_max_established_outgoing(Some(limits.outgoing))
        .with_max_established(Some(total))
        .with_max_established_per_peer(Some(limits.per_peer));
    let identify = identify::Config::new(protocol(config.genesis, "1"), key.public())
        .with_agent_version(concat!("bmm/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true);
    let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me)).transpose();
    // Within one local network there is nothing to find out, and its nodes are reached as they are.
    let autonat = (!config.private).then(|| autonat::Behaviour::new(me, reachability()));
    Ok(Behaviour {
        gate: Gate::new(book, limits.per_ip),
        limits: connection_limits::Behaviour::new(connections),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        kad: kademlia(config, me)?,
        gossip: gossip(config)?,
        streams: libp2p_stream::Behaviour::new(),
        mdns: mdns.map_err(|error| format!("mDNS: {error}; switch it off with --no-mdns"))?.into(),
        autonat: autonat.into(),
        relay: relay(config, me).into(),
        relay_client,
        candidates: Candidates::default(),
        dcutr: dcutr::Behaviour::new(me),
    })
}

/// Whoever has just begun is asked soon how others reach it: until then a node behind a router has no address.
fn reachability() -> autonat::Config {
    autonat::Config {
        boot_delay: Duration::from_secs(3),
        retry_interval: Duration::from_secs(20),
        throttle_server_period: Duration::from_secs(15),
        ..autonat::Config::default()
    }
}

/// What this node relays for others; `None` for nothing.
fn relay(config: &NetConfig, me: libp2p::PeerId) -> Option<relay::Behaviour> {
    let RelayLimits { bytes, secs, circuits } = config.relay;
    let limits = relay::Config {
        max_circuits: circuits,
        max_circuit_bytes: bytes,
        max_circuit_duration: Duration::from_secs(secs.max(1).into()),
        ..relay::Config::default()
    };
    (bytes > 0 && circuits > 0).then(|| relay::Behaviour::new(me, limits))
}

fn kademlia(config: &NetConfig, me: libp2p::PeerId) -> Result<kad::Behaviour<kad::store::MemoryStore>, String> {
    let name = StreamProtocol::try_from_owned(protocol(config.genesis, "kad/1")).map_err(|error| error.to_string())?;
    let store = kad::store::MemoryStoreConfig {
        // Records are not used: only who provides what.
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 20,
        max_provided_keys: MAX_PROVIDED.max(MAX_PROVIDER_KEYS),
    };
    let mut settings = kad::Config::new(name);
    settings
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_query_timeout(Duration::from_secs(20))
        .disjoint_query_paths(true);
    let mut kad = kad::Behaviour::with_config(me, kad::store::MemoryStore::with_config(me, store), settings);
    if config.private || !config.external.is_empty() {
        kad.set_mode(Some(kad::Mode::Server));
    }
    Ok(kad)
}

fn gossip(config: &NetConfig) -> Result<gossipsub::Behaviour, String> {
    // Messages are not signed: blocks and transactions prove themselves, and who forwards one does not say who made it.
    let id = |message: &gossipsub::Message| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
        gossipsub::MessageId::from(hasher.finalize().as_bytes()[..20].to_vec())
    };
    let settings = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(protocol(config.genesis, "gossip/1"))
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(id)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .max_messages_per_rpc(Some(256))
        .heartbeat_initial_delay(Duration::from_millis(200))
        .heartbeat_interval(Duration::from_secs(1))
        .build()
        .map_err(|error| error.to_string())?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, settings)?;
    // Connections from one place are bounded by the gate.
    let scores =
        gossipsub::PeerScoreParams { ip_colocation_factor_weight: 0.0, ..gossipsub::PeerScoreParams::default() };
    gossip.with_peer_score(scores, gossipsub::PeerScoreThresholds::default())?;
    Ok(gossip)
}
