//! Taking connections, watching over them, and closing them.

use super::{
    Shared, http,
    plain::{self, Left},
    pulse::{Pulse, Ticks},
};
use std::{collections::HashMap, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, Id, JoinSet},
    time,
};

/// Time that open calls get to finish when the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How often a server that stops looks for connections that rest.
const STOP_STEP: Duration = Duration::from_millis(20);

/// Pause after the operating system refused a connection (too many open files, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections, and serves each in a task of its own.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    ticks: Ticks,
    open: JoinSet<()>,
    pulses: HashMap<Id, (Arc<Pulse>, AbortHandle)>,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>, connections: Arc<Semaphore>) -> Self {
        Self { shared, connections, ticks: Ticks::default(), open: JoinSet::new(), pulses: HashMap::new() }
    }

    pub(super) async fn run(mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let mut stopped = pin!(shared.stopped());
        let mut second = time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                Some(ended) = self.open.join_next_with_id() => self.forget(&ended),
                _ = second.tick() => self.close_silent(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        if time::timeout(STOP_TIME, self.finish()).await.is_err() {
            tracing::warn!("JSON-RPC calls were cut off after {} s", STOP_TIME.as_secs());
        }
        self.open.shutdown().await;
    }

    /// Waits for open calls, closing connections that rest.
    async fn finish(&mut self) {
        while !self.open.is_empty() {
            self.pulses.values().filter(|(pulse, _)| pulse.rests()).for_each(|(_, task)| task.abort());
            let _ = time::timeout(STOP_STEP, async { while self.open.join_next().await.is_some() {} }).await;
        }
    }

    fn forget(&mut self, ended: &Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a connection's task failed");
                }
                error.id()
            }
        };
        self.pulses.remove(&id);
    }

    fn close_silent(&mut self) {
        self.ticks.count();
        self.pulses.values().filter(|(pulse, _)| pulse.is_silent()).for_each(|(_, task)| task.abort());
    }

    /// Serves `stream`, or closes it where too many are open.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            tracing::warn!(%peer, "connection closed: `max_connections` are open");
            return;
        };
        // Answers are small and awaited; waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        let (shared, pulse) = (Arc::clone(&self.shared), Arc::new(Pulse::new(&self.ticks)));
        let watched = Arc::clone(&pulse);
        let task = self.open.spawn(async move {
            if let Err(error) = connection(stream, shared, pulse).await {
                tracing::debug!(%peer, error, "connection ended");
            }
            drop(permit);
        });
        self.pulses.insert(task.id(), (watched, task));
    }
}

async fn connection(
    mut stream: TcpStream,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match plain::serve(&mut stream, &shared, &pulse).await? {
        Left::Nothing => Ok(()),
        Left::Request(read) => http::serve(stream, read, shared, pulse).await,
    }
}
