//! What a node chooses about its network.

use alloy_primitives::B256;
use libp2p::Multiaddr;
use std::path::PathBuf;

/// How a node joins its network.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Folder of the node's key (`node.key`, readable by its owner only) and of the peers it knows (`peers.bin`). `None` takes a new
    /// key and forgets at the end.
    pub folder: Option<PathBuf>,
    /// Id of the genesis block: nodes of other chains are not spoken to.
    pub genesis: B256,
    /// Addresses to listen at, such as `/ip4/0.0.0.0/tcp/20190` or `/ip4/0.0.0.0/udp/20190/quic-v1`. None: only connections that go out.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others reach this node, where a router or operator knows better than this machine.
    pub external: Vec<Multiaddr>,
    /// Nodes to begin with, each ending in `/p2p/PEER`.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether nodes of the same local network are looked for.
    pub mdns: bool,
    /// Whether all nodes are within one machine or one local network, so that local addresses are worth telling.
    pub private: bool,
    /// What is relayed for nodes that cannot be reached otherwise.
    pub relay: RelayLimits,
    /// Bounds.
    pub limits: NetLimits,
}

impl NetConfig {
    /// A node that lives in memory, listens nowhere and looks for nobody.
    pub const fn new(genesis: B256) -> Self {
        Self {
            folder: None,
            genesis,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            private: false,
            relay: RelayLimits::DEFAULT,
            limits: NetLimits::DEFAULT,
        }
    }

    /// Returns a protocol's name on this network: `/bmm/<first 8 hexadecimal digits of genesis>/NAME`.
    pub fn protocol(&self, name: &str) -> String {
        protocol(self.genesis, name)
    }
}

/// Returns a protocol's name on the network of a chain.
pub(crate) fn protocol(genesis: B256, name: &str) -> String {
    let [a, b, c, d, ..] = genesis.0;
    format!("/bmm/{a:02x}{b:02x}{c:02x}{d:02x}/{name}")
}

/// Bounds of what a node relays. Traffic of others costs its bandwidth twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Bytes of one relayed connection, both ways together; 0 relays nothing.
    pub bytes: u64,
    /// How long one relayed connection may last, in seconds.
    pub secs: u32,
    /// Relayed connections at once.
    pub circuits: usize,
}

impl RelayLimits {
    /// A job of moderate size: 256 MiB within two hours, 32 connections at once.
    pub const DEFAULT: Self = Self { bytes: 256 << 20, secs: 7_200, circuits: 32 };
}

/// Bounds of what others can make this node hold or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Connections that come in.
    pub incoming: u32,
    /// Connections that go out.
    pub outgoing: u32,
    /// Connections of one peer.
    pub per_peer: u32,
    /// Connections from one address, other than this machine's own.
    pub per_ip: u32,
    /// Peers below which the node looks for more.
    pub wanted_peers: usize,
    /// Peers that are remembered.
    pub known_peers: usize,
    /// Gossip messages of one peer a second; four times as many at once.
    pub gossip_per_sec: u32,
    /// Streams that one peer may begin a second; four times as many at once.
    pub streams_per_sec: u32,
}

impl NetLimits {
    /// Some 100 connections, half of them for who comes. Of one peer there may be a relayed one and the direct ones that are tried in its
    /// place, one of which stays.
    pub const DEFAULT: Self = Self {
        incoming: 96,
        outgoing: 64,
        per_peer: 4,
        per_ip: 16,
        wanted_peers: 16,
        known_peers: 1_024,
        gossip_per_sec: 200,
        streams_per_sec: 100,
    };
}

impl Default for NetLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
