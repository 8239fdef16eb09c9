//! A Stratum proxy: many miners of a farm behind one connection to a pool.
//!
//! The pool's room for extra nonces is split: each miner has a prefix of its own, and the pool sees one miner. Shares are checked here
//! before they are handed on, and a miner is answered when the pool has answered. Both are counted: what was a share by its hash, and what
//! the pool accepted.

mod conn;
mod desk;

pub use desk::{ProxySnapshot, WorkerCount};

use crate::upstream::{LinkConfig, LinkEvent, link};
use desk::Desk;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Shares that wait for being sent to the pool.
const MAX_SHARES: usize = 4_096;
/// Events of the pool that wait.
const MAX_EVENTS: usize = 4_096;

/// A proxy that listens.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where miners connect.
    pub listen: SocketAddr,
    /// The pools, and who one is there: all miners' shares are handed in under this name.
    pub link: LinkConfig,
    /// Connections at most.
    pub max_connections: usize,
}

/// Something that is told of a proxy while it runs.
#[derive(Debug)]
pub enum ProxyEvent {
    /// A pool works.
    Connected(String),
    /// A pool does not work any more.
    Lost(String),
    /// A pool's words.
    Words(String),
}

/// A running proxy. Dropping it ends it.
pub struct Proxy {
    desk: Arc<Desk>,
    address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one that listens, within a runtime of tokio's. What happens with the pools goes to `events`; what does not fit is not told.
    pub async fn start(config: ProxyConfig, events: mpsc::Sender<ProxyEvent>) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let mut proxy = Self::without_listener(config.link, events);
        proxy.address = Some(address);
        let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        proxy.tasks.push(tokio::spawn(accept(listener, Arc::clone(&proxy.desk), places)));
        Ok(proxy)
    }

    /// Starts one whose miners come by [`Self::serve`] alone.
    pub fn without_listener(link: LinkConfig, events: mpsc::Sender<ProxyEvent>) -> Self {
        let (sender, from_pool) = mpsc::channel(MAX_EVENTS);
        let (shares, queue) = mpsc::channel(MAX_SHARES);
        let desk = Arc::new(Desk::new(shares));
        let tasks = vec![
            tokio::spawn(link::run(link, sender, queue)),
            tokio::spawn(listen_to_pool(Arc::clone(&desk), from_pool, events)),
        ];
        Self { desk, address: None, tasks }
    }

    /// Serves a miner at the other end of a stream until it leaves or must, and counts it as `name`, whatever it calls itself.
    pub fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        name: &str,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (desk, name) = (Arc::clone(&self.desk), Arc::from(name));
        async move { conn::serve(stream, Some(name), &desk).await }
    }

    /// Returns where miners connect, with the real port where 0 was asked for; `None` if it does not listen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether a pool gives work.
    pub fn has_work(&self) -> bool {
        self.desk.has_work()
    }

    /// Returns what was counted of one miner.
    pub fn worker(&self, name: &str) -> WorkerCount {
        self.desk.worker(name)
    }

    /// Returns what was counted.
    pub fn snapshot(&self) -> ProxySnapshot {
        self.desk.snapshot()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.desk.end();
    }
}

async fn listen_to_pool(desk: Arc<Desk>, mut from_pool: mpsc::Receiver<LinkEvent>, told: mpsc::Sender<ProxyEvent>) {
    while let Some(event) = from_pool.recv().await {
        let tell = match event {
            LinkEvent::Work(work) => {
                desk.take_work(work);
                continue;
            }
            LinkEvent::Verdict(share, verdict) => {
                desk.judged(share.tag, verdict);
                continue;
            }
            LinkEvent::Connected(url) => ProxyEvent::Connected(url.to_string()),
            LinkEvent::Words(words) => ProxyEvent::Words(words),
            LinkEvent::Lost(url, error) => {
                desk.lost();
                ProxyEvent::Lost(format!("{url}: {error}"))
            }
        };
        let _ = told.try_send(tell);
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, places: Arc<Semaphore>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for one: it gets better when somebody leaves.
                tracing::warn!(%error, "a miner could not be let in");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        // Beyond the limit the connection is closed.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            conn::serve(stream, None, &desk).await;
            drop(place);
        });
    }
}
