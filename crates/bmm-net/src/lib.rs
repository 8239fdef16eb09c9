//! Peers, gossip, block and state sync, content exchange, sessions and listings of the market.
//!
//! Layer: above `bmm-chain`, beside the RPC. It knows messages of the market, which it carries, but neither
//! jobs nor sandboxes nor JSON.
//!
//! [`Network`] is a node's place among others: connections (QUIC, or TCP with Noise and Yamux), who is connected and how they behave,
//! gossip, the table of who provides what (Kademlia), and streams. Protocols are plain asynchronous code over streams of bytes, in
//! messages of bounded length ([`frame`]), and so can be tested over pipes.
//!
//! ```text
//! Network::start ─► task (libp2p) ◄─► handle: dial, publish, subscribe, open_stream, accept, provide, find_providers
//! ```

mod bucket;
mod config;
pub mod content;
mod error;
pub mod frame;
mod identity;
pub mod market;
mod network;
mod node;
mod peers;
mod streams;
mod swarm;

pub use bucket::{Buckets, Rate};
pub use config::{NetConfig, NetLimits, RelayLimits};
pub use error::NetError;
pub use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
pub use network::{Gossip, Network, Verdict};
pub use node::{ChainNode, NodeConfig, PeerSource, PeerStanding, SyncProgress, wire};
pub use peers::{Ban, Offence, PeerEvent, PeerInfo};
pub use streams::{Incoming, Stream};
pub use swarm::MAX_GOSSIP_BYTES;
