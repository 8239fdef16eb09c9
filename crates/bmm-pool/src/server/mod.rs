//! The server that miners connect to.

mod accept;
mod client;
pub mod config;
pub(crate) mod conn;
pub mod guard;
mod noise;
mod serve;
mod session;
pub mod stats;
mod tls;
mod v2;
pub(crate) mod work;

pub use config::{DifficultyConfig, Listen, ListenV2, ServerConfig, ServerLimits, TlsFiles};
pub use noise::AuthorityKey;
pub use stats::{HashRates, PoolSnapshot, Stats, WorkerSnapshot};

use crate::{
    job::{Job, Solution},
    share::Share,
    validate::Pipeline,
};
use accept::Way;
use conn::{Conn, Talk};
use guard::{Guard, millis};
use parking_lot::Mutex;
use session::{Session, Sessions};
use std::{
    collections::HashMap,
    error::Error,
    hash::{BuildHasher, Hash, RandomState},
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, yield_now},
    time,
};
use work::Works;

/// Connections that are told of a job before others get their turn.
const TOLD_AT_ONCE: usize = 256;
/// How often a server that stops looks whether all is done.
const DRAIN_STEP: Duration = Duration::from_millis(5);
/// Seconds between forgivings; see [`guard::Fault`].
const FORGIVE_SECS: u64 = 60;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody could connect.
    #[error("the pool has no address to listen at; name at least one")]
    NoAddress,
    /// An address is taken, not this machine's, or not allowed.
    #[error("the pool cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An address wants TLS.
    #[error("the pool is to speak TLS at {0}, but has no certificate and key; name them, or turn TLS off there")]
    NoCertificate(SocketAddr),
    /// An address is for Stratum V2.
    #[error("the pool is to speak Stratum V2 at {0}, but has no authority key; name one, or leave the address out")]
    NoAuthority(SocketAddr),
    /// Certificate or key cannot be used.
    #[error("TLS cannot use {}: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system gives no thread.
    #[error("the pool's threads cannot be started: {0}")]
    Thread(std::io::Error),
}

/// What all parts of a server know.
pub(crate) struct Shared {
    config: ServerConfig,
    began: Instant,
    works: Works,
    sessions: Sessions,
    guard: Guard,
    stats: Arc<Stats>,
    pipeline: Pipeline,
    registry: Mutex<HashMap<u64, Arc<Conn>>>,
    /// Connections, those in their TLS handshake too.
    open: AtomicUsize,
    numbers: AtomicU64,
    random: RandomState,
    /// Seconds that a share's time may be after its job's.
    max_ahead: u32,
    draining: watch::Sender<bool>,
}

/// Returns the time in Unix milliseconds.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

impl Shared {
    /// Milliseconds on the server's clock, which never goes back. It begins at 1, so that 0 is never.
    fn now(&self) -> u64 {
        millis(self.began.elapsed()).saturating_add(1)
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A digest that strangers cannot make collide.
    fn digest(&self, value: &impl Hash) -> u64 {
        self.random.hash_one(value)
    }

    fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    fn connections(&self) -> Vec<Arc<Conn>> {
        self.registry.lock().values().cloned().collect()
    }

    /// Finds a session that a miner asks for: one that waits, or one of a connection from the same address, which may be dead without
    /// anybody having noticed.
    fn resume(&self, id: u64, conn: &Arc<Conn>, now: u64) -> Option<Session> {
        if let Some(session) = self.sessions.resume(id, conn.number(), now) {
            return Some(session);
        }
        let other = self.sessions.connection(id)?;
        let other = self.registry.lock().get(&other).filter(|other| other.peer == conn.peer).cloned()?;
        // Two that ask for each other's session must not wait for each other.
        let mut talk = other.talk.try_lock()?;
        let Talk::V1(client) = &mut *talk else { return None };
        let mut out = String::new();
        let (session, goes_on) = client.give_up(self, other.number(), now, &mut out);
        other.send(out.as_bytes());
        drop(talk);
        if !goes_on {
            other.close();
        }
        self.sessions.moved(id, conn.number());
        session
    }
}

/// A server of Stratum V1 and V2.
///
/// ```no_run
/// # async fn start(jobs: tokio::sync::watch::Receiver<std::sync::Arc<bmm_pool::Job>>) -> Result<(), bmm_pool::server::ServerError> {
/// use bmm_pool::{Share, difficulty::ShareDifficulty, server::{Listen, Server, ServerConfig}};
///
/// let listen = Listen { address: "0.0.0.0:3333".parse().expect("an address"), start: ShareDifficulty::whole(16), tls: false };
/// let (solutions, _blocks) = tokio::sync::mpsc::channel(64);
/// let mut numbers = 0..0;
/// let log = move |shares: &[Share]| {
///     numbers = numbers.end..numbers.end + shares.len() as u64; // a real log makes them durable first
///     Ok::<_, std::io::Error>(numbers.clone())
/// };
/// let server = Server::start(ServerConfig::new(vec![listen]), jobs, log, solutions)?;
/// println!("miners connect to {:?}", server.addresses());
/// server.drain().await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server, within a runtime of tokio's.
    ///
    /// `jobs` holds what miners work on, `log` keeps accepted shares: it returns the numbers that it gave them when they are durable,
    /// and is called from one thread of the server's. Shares that it cannot keep are refused. Blocks that are found go to `solutions`,
    /// once their shares are kept.
    pub fn start<L, E>(
        config: ServerConfig,
        jobs: watch::Receiver<Arc<Job>>,
        mut log: L,
        solutions: mpsc::Sender<Solution>,
    ) -> Result<Self, ServerError>
    where
        L: FnMut(&[Share]) -> Result<Range<u64>, E> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let places = places(&config)?;
        if places.is_empty() {
            return Err(ServerError::NoAddress);
        }
        let mut listeners = Vec::new();
        for (address, way) in places {
            let listener = accept::bind(address)?;
            let address = listener.local_addr().map_err(|source| ServerError::Listen { address, source })?;
            listeners.push((listener, address, way));
        }
        let limits = config.limits;
        let stats = Arc::new(Stats::new(limits.workers));
        let hashing = (config.hash_threads, config.gather, limits.queued_shares);
        let log = Box::new(move |shares: &[Share]| log(shares).map_err(Into::into));
        let pipeline = Pipeline::start(hashing, log, solutions, Arc::clone(&stats)).map_err(ServerError::Thread)?;
        let job = Arc::clone(&jobs.borrow());
        let shared = Arc::new(Shared {
            began: Instant::now(),
            works: Works::new(job),
            sessions: Sessions::new(limits.connections, millis(limits.resume)),
            guard: Guard::new(limits),
            stats,
            pipeline,
            registry: Mutex::default(),
            open: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            random: RandomState::new(),
            max_ahead: u32::try_from(client::MAX_AHEAD.as_secs()).unwrap_or(u32::MAX),
            draining: watch::Sender::new(false),
            config,
        });
        let addresses = listeners.iter().map(|(_, address, ..)| *address).collect();
        let mut tasks =
            vec![tokio::spawn(publish(Arc::clone(&shared), jobs)), tokio::spawn(keep_time(Arc::clone(&shared)))];
        for (listener, _, way) in listeners {
            tasks.push(tokio::spawn(accept::run(Arc::clone(&shared), listener, way)));
        }
        Ok(Self { shared, addresses, tasks })
    }

    /// Returns where it listens, in the order of the configuration, Stratum V1 first, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the statistics, which go on changing.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Shows every miner a message, where its software can.
    pub fn show_message(&self, text: &str) {
        self.shared.connections().iter().for_each(|conn| conn.show_message(text));
    }

    /// Stops: lets nobody in, asks miners to connect again, finishes the shares that came, and closes the connections. Nothing that was
    /// acknowledged is lost.
    pub async fn drain(self) {
        let Self { shared, tasks, .. } = self;
        shared.draining.send_replace(true);
        let connections = shared.connections();
        for conn in &connections {
            conn.ask_to_reconnect();
        }
        let done = || shared.pipeline.open() == 0 && !connections.iter().any(|conn| conn.has_more());
        let _ = time::timeout(shared.config.limits.drain, until(done)).await;
        for conn in &connections {
            conn.close();
        }
        drop(connections);
        let _ = time::timeout(shared.config.limits.drain, until(|| shared.open.load(Ordering::Acquire) == 0)).await;
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        let stop = Arc::clone(&shared);
        if tokio::task::spawn_blocking(move || stop.pipeline.stop()).await.is_err() {
            tracing::error!("the pool's threads could not be ended");
        }
    }
}

/// Where to listen, and how miners are spoken to there.
fn places(config: &ServerConfig) -> Result<Vec<(SocketAddr, Way)>, ServerError> {
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let v1 = config.listen.iter().map(|listen| {
        let way = if listen.tls {
            Way::Tls(*listen, tls.clone().ok_or(ServerError::NoCertificate(listen.address))?)
        } else {
            Way::Plain(*listen)
        };
        Ok((listen.address, way))
    });
    let v2 = config.listen_v2.iter().map(|listen| {
        let key = config.authority.clone().ok_or(ServerError::NoAuthority(listen.address))?;
        Ok((listen.address, Way::V2(*listen, key)))
    });
    v1.chain(v2).collect()
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        time::sleep(DRAIN_STEP).await;
    }
}

/// Tells miners of jobs.
async fn publish(shared: Arc<Shared>, mut jobs: watch::Receiver<Arc<Job>>) {
    loop {
        let job = Arc::clone(&jobs.borrow_and_update());
        if let Some(clean) = shared.works.take(job, shared.now()) {
            let work = shared.works.current();
            for some in shared.connections().chunks(TOLD_AT_ONCE) {
                for conn in some {
                    conn.hand(&work, clean);
                }
                yield_now().await;
            }
        }
        if jobs.changed().await.is_err() {
            tracing::error!("no more jobs will come: miners go on with the last one");
            return;
        }
    }
}

/// Does what is to be done every second.
async fn keep_time(shared: Arc<Shared>) {
    let mut second = time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    for count in 1u64.. {
        second.tick().await;
        let (now, minute) = (shared.now(), count.is_multiple_of(FORGIVE_SECS));
        for some in shared.connections().chunks(TOLD_AT_ONCE) {
            for conn in some {
                conn.tick(now);
                if minute {
                    conn.forgive();
                }
            }
            yield_now().await;
        }
        shared.sessions.sweep(now);
        if minute {
            shared.guard.sweep(now);
            shared.stats.sweep(unix_millis());
        }
    }
}
