//! What can go wrong between nodes.

use crate::frame::FrameError;
use libp2p::{Multiaddr, PeerId};
use std::{io, path::PathBuf};

/// Why the network could not do something.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A file of the network's folder cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The node's key cannot be understood.
    #[error("{} is no key of a node; restore it, or delete it to be a new node", .0.display())]
    Key(PathBuf),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {what}; choose another address or port")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        what: String,
    },
    /// An address lacks the peer that is expected there.
    #[error("{0} does not end in /p2p/PEER; `bmm net id` of that node prints its addresses")]
    NoPeer(Multiaddr),
    /// A part of the network could not be set up.
    #[error("the network could not be set up: {0}")]
    Setup(String),
    /// A peer could not be reached.
    #[error("{0} cannot be reached: {1}")]
    Dial(String, String),
    /// The peer is banned.
    #[error("{0} is banned; `bmm net ban --lift` ends that")]
    Banned(PeerId),
    /// The peer does not speak the protocol.
    #[error("{peer} does not speak {protocol}")]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// The protocol.
        protocol: String,
    },
    /// A protocol has a listener already.
    #[error("{0} is listened for already")]
    Taken(String),
    /// A stream broke, or a message on it is too long or too late.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nobody listens to gossip yet, or the message is too long for it.
    #[error("the message was not sent: {0}")]
    Publish(String),
    /// Too much waits to be done already.
    #[error("the network is busy; try again later")]
    Busy,
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
}
