//! The handle by which the rest of a node uses the network.

use crate::{
    bucket::{Buckets, Rate},
    config::{NetConfig, NetLimits, protocol},
    error::NetError,
    identity,
    peers::{Ban, Book, Offence, PeerEvent, PeerInfo},
    streams::{Incoming, Places, Stream},
    swarm::{self, Command, Task, unix_secs},
};
use alloy_primitives::B256;
use libp2p::{Multiaddr, PeerId, StreamProtocol, gossipsub::MessageId, identity::Keypair, kad::RecordKey};
use libp2p_stream::{Control, OpenStreamError};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Commands that wait for the task.
const MAX_COMMANDS: usize = 1_024;
/// News of peers that a slow reader may be behind.
const MAX_NEWS: usize = 1_024;
/// Gossip messages that wait for their reader; further ones are passed over.
const MAX_GOSSIP: usize = 256;
/// How long the opening of a stream may take, a new connection included.
const OPEN_WITHIN: Duration = Duration::from_secs(20);

/// A message that came by gossip. It goes no further before [`Network::judge`] accepts it.
#[derive(Clone, Debug)]
pub struct Gossip {
    /// Who handed it on, not who made it.
    pub from: PeerId,
    /// Its id: the hash of topic and bytes.
    pub id: MessageId,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What a message was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Others should have it.
    Accept,
    /// Nobody should have sent it; who did is also reported by [`Network::report`].
    Reject,
    /// Neither: known, late, or not for now.
    Ignore,
}

/// What the handle and the task share.
pub(crate) struct Shared {
    pub me: PeerId,
    pub genesis: B256,
    /// Whether all nodes are within one local network.
    pub private: bool,
    pub limits: NetLimits,
    pub book: Arc<Mutex<Book>>,
    pub listens: Mutex<Vec<Multiaddr>>,
    pub external: Mutex<Vec<Multiaddr>>,
    pub news: broadcast::Sender<PeerEvent>,
}

/// A node's place in its network. Clones are handles to the same one; when the last is dropped, it ends.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    control: Control,
}

impl Network {
    /// Joins the network. Must be called within a tokio runtime, which then runs it.
    ///
    /// # Errors
    /// [`NetError::Key`] and [`NetError::File`] for the folder, [`NetError::Listen`] for an address, [`NetError::NoPeer`] for a node to
    /// begin with.
    pub async fn start(config: NetConfig) -> Result<Self, NetError> {
        let key = config.folder.as_deref().map_or_else(|| Ok(Keypair::generate_ed25519()), identity::load_or_create)?;
        let me = key.public().to_peer_id();
        let mut book = Book::new(config.limits.known_peers);
        let file: Option<PathBuf> = config.folder.as_ref().map(|folder| folder.join("peers.bin"));
        let (now, now_secs) = (Instant::now(), unix_secs());
        if let Some(file) = &file {
            book.load(file, now, now_secs)?;
        }
        for address in &config.bootstrap {
            let peer = peer_of(address).ok_or_else(|| NetError::NoPeer(address.clone()))?;
            if peer != me {
                book.add_bootstrap(peer, address.clone(), now, now_secs);
            }
        }
        let shared = Arc::new(Shared {
            me,
            genesis: config.genesis,
            private: config.private,
            limits: config.limits,
            book: Arc::new(Mutex::new(book)),
            listens: Mutex::default(),
            external: Mutex::default(),
            news: broadcast::Sender::new(MAX_NEWS),
        });
        let swarm = swarm::build(&config, key, shared.book.clone())?;
        let control = swarm.behaviour().streams.new_control();
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let mut task = Box::new(Task::new(swarm, shared.clone(), receiver, &config, file));
        task.listen(&config.listen).await?;
        tokio::spawn(task.run());
        Ok(Self { shared, commands, control })
    }

    /// Returns who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.shared.me
    }

    /// Returns the id of the genesis block.
    pub fn genesis(&self) -> B256 {
        self.shared.genesis
    }

    /// Returns a protocol's name on this network, see [`NetConfig::protocol`].
    pub fn protocol(&self, name: &str) -> String {
        protocol(self.shared.genesis, name)
    }

    /// Whether an address of this node is worth telling others: in the internet those of local networks are not.
    pub fn is_told(&self, address: &Multiaddr) -> bool {
        self.shared.private || swarm::is_global(address)
    }

    /// Returns the addresses that this node listens at.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.shared.listens.lock().clone()
    }

    /// Returns the addresses at which others are known to reach this node.
    pub fn external_addrs(&self) -> Vec<Multiaddr> {
        self.shared.external.lock().clone()
    }

    /// Returns the peers that are connected and of this network.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.book.lock().peers(Instant::now())
    }

    /// Returns who is banned.
    pub fn bans(&self) -> Vec<Ban> {
        self.shared.book.lock().bans(unix_secs())
    }

    /// Opens a queue of news of peers. Who is behind gets `Lagged`, and should look at [`Self::peers`].
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.shared.news.subscribe()
    }

    /// Connects with the node at an address that ends in `/p2p/PEER`, and returns the peer once it is connected: directly, or through a
    /// relay where a direct connection did not come within ten seconds.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, NetError> {
        self.ask(|reply| Command::Dial(address, reply)).await
    }

    /// Closes all connections of a peer.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), NetError> {
        self.commands.send(Command::Disconnect(peer)).await.map_err(|_| NetError::Closed)
    }

    /// Notes what a peer did wrong. At −100 points it is banned and its connections are closed.
    pub fn report(&self, peer: PeerId, offence: Offence) {
        tracing::debug!(%peer, ?offence, "a peer is reported");
        if self.shared.book.lock().offended(peer, offence, Instant::now(), unix_secs()) {
            tracing::info!(%peer, ?offence, "a peer is banned");
            // When the queue is full, the task's next look at the bans closes the connections.
            let _ = self.commands.try_send(Command::Disconnect(peer));
        }
    }

    /// Notes that a peer was useful.
    pub fn praise(&self, peer: PeerId) {
        self.shared.book.lock().praised(peer, Instant::now());
    }

    /// Bans a peer for so many seconds and closes its connections.
    pub async fn ban(&self, peer: PeerId, secs: u64) -> Result<(), NetError> {
        self.shared.book.lock().ban(peer, secs, Instant::now(), unix_secs());
        self.disconnect(peer).await
    }

    /// Ends a ban. Returns whether there was one.
    pub fn lift_ban(&self, peer: PeerId) -> bool {
        self.shared.book.lock().lift(peer, unix_secs())
    }

    /// Leaves a node of another chain alone for an hour.
    pub async fn other_chain(&self, peer: PeerId) -> Result<(), NetError> {
        self.shared.book.lock().other_chain(peer, Instant::now());
        self.disconnect(peer).await
    }

    /// Opens a stream to a peer, connecting with it first if its addresses are known.
    pub async fn open_stream(&self, peer: PeerId, protocol: &str) -> Result<Stream, NetError> {
        if self.shared.book.lock().is_banned(&peer, unix_secs()) {
            return Err(NetError::Banned(peer));
        }
        let name = stream_name(protocol)?;
        let mut control = self.control.clone();
        match tokio::time::timeout(OPEN_WITHIN, control.open_stream(peer, name)).await {
            Ok(Ok(stream)) => Ok(Stream::new(stream)),
            Ok(Err(OpenStreamError::UnsupportedProtocol(_))) => {
                Err(NetError::Unsupported { peer, protocol: protocol.to_owned() })
            }
            Ok(Err(error)) => Err(NetError::Dial(peer.to_string(), error.to_string())),
            Err(_) => Err(NetError::Dial(peer.to_string(), format!("no stream within {OPEN_WITHIN:?}"))),
        }
    }

    /// Takes streams of a protocol, up to `per_peer` of one peer and `total` in all that are open at once; further ones are closed.
    /// Who begins more than [`NetLimits::streams_per_sec`] is reported.
    ///
    /// # Errors
    /// [`NetError::Taken`] when somebody takes them already.
    pub fn accept(&self, protocol: &str, per_peer: usize, total: usize) -> Result<Incoming, NetError> {
        let name = stream_name(protocol)?;
        let incoming = self.control.clone().accept(name).map_err(|_| NetError::Taken(protocol.to_owned()))?;
        let (network, rate) = (self.clone(), Rate::per_sec(self.shared.limits.streams_per_sec));
        let flood = move |peer| network.report(peer, Offence::Flood);
        Ok(Incoming::start(incoming, Places::new(per_peer, total), Buckets::new(rate), flood))
    }

    /// Sends a message to all who subscribe to the topic. There being nobody is no error.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> Result<(), NetError> {
        self.ask(|reply| Command::Publish { topic: topic.to_owned(), data, reply }).await
    }

    /// Hears a topic. Every message must be judged, see [`Self::judge`]; those that do not fit the queue are passed over.
    pub async fn subscribe(&self, topic: &str) -> Result<mpsc::Receiver<Gossip>, NetError> {
        let (to, receiver) = mpsc::channel(MAX_GOSSIP);
        self.ask(|reply| Command::Subscribe { topic: topic.to_owned(), to, reply }).await?;
        Ok(receiver)
    }

    /// Says what a message was worth: an accepted one is handed on.
    pub async fn judge(&self, gossip: &Gossip, verdict: Verdict) -> Result<(), NetError> {
        let command = Command::Judge { peer: gossip.from, id: gossip.id.clone(), verdict };
        self.commands.send(command).await.map_err(|_| NetError::Closed)
    }

    /// Tells the network that this node has what `key` names, and again from time to time.
    pub async fn provide(&self, key: &[u8]) -> Result<(), NetError> {
        self.ask(|reply| Command::Provide(RecordKey::new(&key), reply)).await
    }

    /// Tells it no more.
    pub async fn stop_providing(&self, key: &[u8]) -> Result<(), NetError> {
        self.commands.send(Command::StopProviding(RecordKey::new(&key))).await.map_err(|_| NetError::Closed)
    }

    /// Finds up to `limit` nodes that say they have what `key` names; this one is not among them.
    pub async fn find_providers(&self, key: &[u8], limit: usize) -> Result<Vec<PeerId>, NetError> {
        self.ask(|reply| Command::FindProviders(RecordKey::new(&key), limit, reply)).await
    }

    /// Writes down the known peers, closes all connections and ends. Other handles then get [`NetError::Closed`].
    pub async fn shutdown(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.commands.send(Command::Shutdown(sender)).await.is_ok() {
            let _ = receiver.await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, NetError>>) -> Command,
    ) -> Result<T, NetError> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(command(sender)).await.map_err(|_| NetError::Closed)?;
        receiver.await.unwrap_or(Err(NetError::Closed))
    }
}

/// Returns the peer that an address ends with.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

fn stream_name(protocol: &str) -> Result<StreamProtocol, NetError> {
    StreamProtocol::try_from_owned(protocol.to_owned()).map_err(|error| NetError::Setup(error.to_string()))
}
