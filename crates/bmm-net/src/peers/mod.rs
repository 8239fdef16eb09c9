//! What is known of other nodes: addresses, connections, conduct.

mod book;
mod file;
mod score;

pub(crate) use book::{Book, Connected};
pub(crate) use file::save;
pub use score::Offence;

use libp2p::{Multiaddr, PeerId};
use std::time::Duration;

/// A node that this one is connected with.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who it is: the hash of its key.
    pub peer: PeerId,
    /// The address of the connection.
    pub address: Multiaddr,
    /// Whether it came to us.
    pub incoming: bool,
    /// Name and version of its program, as it says.
    pub agent: String,
    /// Protocols that it speaks.
    pub protocols: Vec<String>,
    /// How long it has been connected.
    pub connected: Duration,
    /// Time of a round trip, as last measured.
    pub round_trip: Option<Duration>,
    /// Its conduct: 0 at first, −100 is a ban.
    pub score: i32,
}

impl PeerInfo {
    /// Whether its bytes go through a relay.
    pub fn is_relayed(&self) -> bool {
        crate::swarm::is_relayed(&self.address)
    }
}

/// A node that is not spoken to for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The node.
    pub peer: PeerId,
    /// Unix seconds at which the ban ends.
    pub until_secs: u64,
}

/// News of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A node of this network is connected, and has said what it speaks.
    Joined(PeerId),
    /// Its last connection is gone.
    Left(PeerId),
}
