//! What the handle asks of the task.

use crate::{
    error::NetError,
    network::{Gossip, Verdict},
};
use libp2p::{Multiaddr, PeerId, gossipsub::MessageId, kad::RecordKey};
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, NetError>>;

/// Something to do.
pub(crate) enum Command {
    /// Connect with the node at an address.
    Dial(Multiaddr, Reply<PeerId>),
    /// Close all connections of a peer.
    Disconnect(PeerId),
    /// Send gossip.
    Publish { topic: String, data: Vec<u8>, reply: Reply<()> },
    /// Hear gossip.
    Subscribe { topic: String, to: mpsc::Sender<Gossip>, reply: Reply<()> },
    /// Say what gossip was worth.
    Judge { peer: PeerId, id: MessageId, verdict: Verdict },
    /// Say that this node has something.
    Provide(RecordKey, Reply<()>),
    /// Say so no more.
    StopProviding(RecordKey),
    /// Find who has something, up to so many.
    FindProviders(RecordKey, usize, Reply<Vec<PeerId>>),
    /// End.
    Shutdown(oneshot::Sender<()>),
}
