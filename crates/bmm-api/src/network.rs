//! What the API is told of the network, which is another room's.

use alloy_primitives::{B256, U256};
use std::{sync::Arc, time::Duration};

/// Where the API asks for the network. Without it, a node is in none.
#[derive(Clone)]
pub struct NetworkView {
    /// The connected peers.
    pub peers: Arc<dyn Fn() -> Vec<PeerView> + Send + Sync>,
    /// This node among them.
    pub node: Arc<dyn Fn() -> NodeView + Send + Sync>,
    /// How far it is in catching up; `None` when it is behind nobody.
    pub syncing: Arc<dyn Fn() -> Option<SyncView> + Send + Sync>,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its id on the network.
    pub id: String,
    /// Name and version of its program, as it says.
    pub name: String,
    /// Protocols that it speaks.
    pub protocols: Vec<String>,
    /// The address of the connection.
    pub address: String,
    /// Whether it came to us.
    pub incoming: bool,
    /// How long it has been connected.
    pub connected: Duration,
    /// Time of a round trip, as last measured.
    pub round_trip: Option<Duration>,
    /// Its conduct: 0 at first, −100 is a ban.
    pub score: i32,
    /// Number, id and work of its head, as it says.
    pub head: Option<(u64, B256, U256)>,
}

/// This node on the network.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Addresses that it listens at, each with its id.
    pub listens: Vec<String>,
    /// Addresses at which others are known to reach it, each with its id.
    pub external: Vec<String>,
}

/// How far a node is in catching up, in numbers of blocks.
#[derive(Clone, Copy, Debug)]
pub struct SyncView {
    /// Where it began.
    pub starting: u64,
    /// Where it is.
    pub current: u64,
    /// The head that it follows.
    pub highest: u64,
}
