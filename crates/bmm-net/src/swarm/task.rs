//! The task that drives the connections. It decides nothing about blocks or content: those who do are behind channels.

use super::{Behaviour, Command, commands::Reply, events, gate::ip_of, unix_secs, ways::Ways};
use crate::{
    bucket::{Buckets, Rate},
    config::NetConfig,
    error::NetError,
    network::{Gossip, Shared, Verdict, peer_of},
    peers::{Offence, PeerEvent, save},
};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub::{IdentTopic, MessageAcceptance, PublishError, TopicHash},
    kad::QueryId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often peers are looked after.
const TICK: Duration = Duration::from_secs(1);
/// How often the known peers are written down.
const SAVE_EVERY: Duration = Duration::from_mins(1);
/// Connections that are tried at one tick.
const DIALS_AT_ONCE: usize = 4;
/// How long the system may take to open a port.
const LISTEN_WITHIN: Duration = Duration::from_secs(10);
/// Connections that somebody waits for at most.
const MAX_DIALS: usize = 256;
/// Questions to the table of providers at most.
const MAX_QUERIES: usize = 256;
/// Announcements of one peer that it provides something, a second.
const PROVIDES_PER_SEC: u32 = 256;

/// A search for providers.
pub(super) struct Find {
    pub found: HashSet<PeerId>,
    pub limit: usize,
    pub reply: Reply<Vec<PeerId>>,
}

/// The task.
pub(crate) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    file: Option<PathBuf>,
    pub(super) private: bool,
    pub(super) dials: HashMap<ConnectionId, (PeerId, Reply<PeerId>)>,
    pub(super) topics: HashMap<TopicHash, mpsc::Sender<Gossip>>,
    pub(super) provides: HashMap<QueryId, Reply<()>>,
    pub(super) finds: HashMap<QueryId, Find>,
    pub(super) gossip: Buckets,
    pub(super) announcements: Buckets,
    /// Listeners that wait for their first address.
    pub(super) opening: HashSet<ListenerId>,
    pub(super) failed: Option<String>,
    pub(super) ways: Ways,
    random: RandomState,
    ticks: u64,
    saved: Instant,
}

impl Task {
    pub fn new(
        mut swarm: Swarm<Behaviour>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        config: &NetConfig,
        file: Option<PathBuf>,
    ) -> Self {
        for address in &config.external {
            swarm.add_external_address(address.clone());
        }
        Self {
            swarm,
            commands,
            file,
            private: config.private,
            dials: HashMap::new(),
            topics: HashMap::new(),
            provides: HashMap::new(),
            finds: HashMap::new(),
            gossip: Buckets::new(Rate::per_sec(shared.limits.gossip_per_sec)),
            announcements: Buckets::new(Rate::per_sec(PROVIDES_PER_SEC)),
            opening: HashSet::new(),
            failed: None,
            ways: Ways::default(),
            random: RandomState::new(),
            ticks: 0,
            saved: Instant::now(),
            shared,
        }
    }

    /// Opens the ports, and waits until they are open.
    pub async fn listen(&mut self, addresses: &[Multiaddr]) -> Result<(), NetError> {
        for address in addresses {
            let failed = |what: String| NetError::Listen { address: address.clone(), what };
            probe(address).map_err(|error| failed(error.to_string()))?;
            let listener = self.swarm.listen_on(address.clone()).map_err(|error| failed(error.to_string()))?;
            self.opening.insert(listener);
            let deadline = tokio::time::Instant::now() + LISTEN_WITHIN;
            while self.opening.contains(&listener) {
                let event = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await;
                let event = event.map_err(|_| failed(format!("no address within {LISTEN_WITHIN:?}")))?;
                events::handle(self, event);
                if let Some(what) = self.failed.take() {
                    return Err(failed(what));
                }
            }
        }
        Ok(())
    }

    /// Runs until the network is shut down or its last handle is gone.
    pub async fn run(mut self: Box<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let told = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => events::handle(&mut self, event),
                command = self.commands.recv() => match command {
                    None => break None,
                    Some(Command::Shutdown(told)) => break Some(told),
                    Some(command) => self.execute(command),
                },
                _ = tick.tick() => self.look_after_peers(),
            }
        };
        self.save().await;
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        drop(self);
        if let Some(told) = told {
            let _ = told.send(());
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Dial(address, reply) => self.dial(address, reply),
            Command::Disconnect(peer) => {
                // It may be gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Publish { topic, data, reply } => {
                let sent = match self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), data) {
                    Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => Ok(()),
                    Err(error) => Err(NetError::Publish(error.to_string())),
                };
                let _ = reply.send(sent);
            }
            Command::Subscribe { topic, to, reply } => {
                let topic = IdentTopic::new(topic);
                let done = self.swarm.behaviour_mut().gossip.subscribe(&topic);
                self.topics.insert(topic.hash(), to);
                let _ = reply.send(done.map(|_| ()).map_err(|error| NetError::Publish(error.to_string())));
            }
            Command::Judge { peer, id, verdict } => {
                let acceptance = match verdict {
                    Verdict::Accept => MessageAcceptance::Accept,
                    Verdict::Reject => MessageAcceptance::Reject,
                    Verdict::Ignore => MessageAcceptance::Ignore,
                };
                self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &peer, acceptance);
            }
            Command::Provide(key, reply) => match self.swarm.behaviour_mut().kad.start_providing(key) {
                // Whoever asks this node learns of it at once; that others are told too need not be waited for by many.
                Ok(query) if self.provides.len() < MAX_QUERIES => {
                    self.provides.insert(query, reply);
                }
                Ok(_) => {
                    let _ = reply.send(Ok(()));
                }
                Err(error) => {
                    let _ = reply.send(Err(NetError::Setup(error.to_string())));
                }
            },
            Command::StopProviding(key) => self.swarm.behaviour_mut().kad.stop_providing(&key),
            Command::FindProviders(_, _, reply) if self.finds.len() >= MAX_QUERIES => {
                let _ = reply.send(Err(NetError::Busy));
            }
            Command::FindProviders(key, limit, reply) => {
                let query = self.swarm.behaviour_mut().kad.get_providers(key);
                self.finds.insert(query, Find { found: HashSet::new(), limit: limit.max(1), reply });
            }
            Command::Shutdown(_) => unreachable!("answered where commands are taken"),
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: Reply<PeerId>) {
        let answer = match peer_of(&address) {
            None => Err(NetError::NoPeer(address)),
            Some(peer) if self.swarm.is_connected(&peer) => return self.ways.wait(peer, reply),
            Some(_) if self.dials.len() >= MAX_DIALS => Err(NetError::Busy),
            Some(peer) => {
                let options = DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build();
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => {
                        self.dials.insert(id, (peer, reply));
                        return;
                    }
                    Err(error) => Err(NetError::Dial(peer.to_string(), error.to_string())),
                }
            }
        };
        let _ = reply.send(answer);
    }

    /// Takes points off a peer, and leaves it when that is a ban.
    pub(super) fn offend(&mut self, peer: PeerId, offence: Offence) {
        let banned = self.shared.book.lock().offended(peer, offence, Instant::now(), unix_secs());
        if banned {
            tracing::info!(%peer, ?offence, "a peer is banned");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Something else each time.
    pub(super) fn jitter(&mut self) -> u64 {
        self.ticks = self.ticks.wrapping_add(1);
        self.random.hash_one(self.ticks)
    }

    /// Leaves who is banned, looks for more peers when there are few, writes down who is known.
    fn look_after_peers(&mut self) {
        let now_secs = unix_secs();
        let banned: Vec<PeerId> = {
            let book = self.shared.book.lock();
            self.swarm.connected_peers().filter(|peer| book.is_banned(peer, now_secs)).copied().collect()
        };
        for peer in banned {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.look_for_peers();
        self.look_for_relays();
        self.ways.look_after_waiting(Instant::now());
        *self.shared.external.lock() = self.swarm.external_addresses().cloned().collect();
        if self.saved.elapsed() >= SAVE_EVERY {
            self.saved = Instant::now();
            if let Some(path) = self.file.clone() {
                let bytes = self.shared.book.lock().encode();
                tokio::task::spawn_blocking(move || report_failure(save(&path, &bytes)));
            }
        }
    }

    /// Connects with more peers when there are few.
    pub(super) fn look_for_peers(&mut self) {
        let jitter = self.jitter();
        let found = {
            let mut book = self.shared.book.lock();
            let missing = self.shared.limits.wanted_peers.saturating_sub(book.count());
            book.pick_to_dial(missing.min(DIALS_AT_ONCE), jitter, Instant::now(), unix_secs())
        };
        for (peer, addresses) in found {
            let options = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "a peer is not dialed");
            }
        }
    }

    async fn save(&mut self) {
        let Some(path) = self.file.take() else { return };
        let bytes = self.shared.book.lock().encode();
        let saved = tokio::task::spawn_blocking(move || save(&path, &bytes)).await;
        report_failure(saved.unwrap_or(Ok(())));
    }

    pub(super) fn tell(&self, event: PeerEvent) {
        // Nobody listening is fine.
        let _ = self.shared.news.send(event);
    }
}

/// Fails where another process, or node of this one, has the TCP port. libp2p shares ports (`SO_REUSEPORT`, so that connections can go
/// out from the port that is listened at), and would silently take half of the other's connections.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let Some(ip) = ip_of(address) else { return Ok(()) };
    match address.iter().nth(1) {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

fn report_failure(result: Result<(), NetError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the known peers are not kept");
    }
}
