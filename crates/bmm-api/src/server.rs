//! The listener: one port for HTTP and WebSocket, with bounds on what a stranger can make it hold.

use crate::{
    config::ApiConfig,
    gate::{self, Gate, Verdict},
    methods::{self, Context},
    pace::Paced,
};
use bmm_chain::Chain;
use jsonrpsee::{
    Methods,
    server::{
        BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder,
        serve_with_graceful_shutdown, stop_channel,
    },
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time,
};
use tower::{Service, layer::util::Identity};

/// Answers of one WebSocket that may wait for its reader.
const WS_BUFFERED_ANSWERS: u32 = 32;

/// Time between pings of a WebSocket, so that callers who have gone, or do not read, do not hold theirs for ever.
const WS_PING: Duration = Duration::from_secs(30);

/// Pings without an answer after which a WebSocket is closed.
const WS_MISSED_PINGS: usize = 3;

/// Time that open calls get to finish when the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Pause after the operating system refused a connection (too many open files, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The port is taken.
    #[error(
        "cannot listen on {address} for JSON-RPC: another program uses that port; stop it, or set another `address` (port 0 takes \
         any free one)"
    )]
    AddressInUse {
        /// The address of the configuration.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error(
        "cannot listen on {address} for JSON-RPC: {source}; set `address` to one of this machine's own, such as 127.0.0.1:8545"
    )]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct ApiHandle {
    address: SocketAddr,
    stop: ServerHandle,
    accepting: JoinHandle<()>,
}

impl ApiHandle {
    /// Returns the address that the server listens on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets open calls finish for at most five seconds, and closes every connection.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.stop.stop();
        let _ = self.accepting.await;
    }
}

/// Serves Ethereum's JSON-RPC over `chain` by HTTP and WebSocket until the handle is stopped or dropped.
///
/// Needs a Tokio runtime. Errors when the address cannot be listened on.
pub async fn serve(config: ApiConfig, chain: Arc<Chain>) -> Result<ApiHandle, ApiError> {
    let address = config.address;
    let listen_error = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ApiError::AddressInUse { address },
        _ => ApiError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let (stopped, stop) = stop_channel();
    let acceptor = Acceptor {
        gate: Arc::new(Gate::new(&config)),
        connections: Arc::new(Semaphore::new(usize::try_from(config.max_connections).unwrap_or(usize::MAX))),
        service: Server::builder().set_config(server_config(&config)).to_service_builder(),
        methods: methods::module(Context::new(config, chain)).into(),
        stopped,
    };
    let accepting = tokio::spawn(acceptor.run(listener));
    tracing::info!(%address, "JSON-RPC listens");
    Ok(ApiHandle { address, stop, accepting })
}

fn server_config(config: &ApiConfig) -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(config.max_request_bytes)
        .max_response_body_size(config.max_response_bytes)
        // jsonrpsee counts requests in flight here; the acceptor counts connections.
        .max_connections(config.max_connections)
        .set_batch_request_config(BatchRequestConfig::Limit(config.max_batch))
        .set_message_buffer_capacity(WS_BUFFERED_ANSWERS)
        .enable_ws_ping(PingConfig::new().ping_interval(WS_PING).inactive_limit(WS_PING).max_failures(WS_MISSED_PINGS))
        .build()
}

/// Takes connections, and serves each in a task of its own.
struct Acceptor {
    gate: Arc<Gate>,
    connections: Arc<Semaphore>,
    service: TowerServiceBuilder<Identity, Identity>,
    methods: Methods,
    stopped: StopHandle,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        let stopped = self.stopped.clone().shutdown();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut open),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let finish = async { while open.join_next().await.is_some() {} };
        if time::timeout(STOP_TIME, finish).await.is_err() {
            tracing::warn!("JSON-RPC calls were cut off after {} s", STOP_TIME.as_secs());
        }
        open.shutdown().await;
    }

    /// Serves `stream`, or closes it where too many are open.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, open: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            tracing::warn!(%peer, "connection closed: `max_connections` are open");
            return;
        };
        // Answers are small and awaited; waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        let (gate, stopped) = (Arc::clone(&self.gate), self.stopped.clone());
        let service = self.service.clone().build(self.methods.clone(), stopped.clone());
        let service = tower::service_fn(move |request| {
            let verdict = gate.check(&request);
            let mut service = service.clone();
            async move {
                let origin = match verdict {
                    Verdict::Done(response) => return Ok(response),
                    Verdict::Serve(origin) => origin,
                };
                let mut response = service.call(request).await.map_err(io::Error::other)?;
                if let Some(origin) = origin {
                    gate::allow_origin(&mut response, &origin);
                }
                Ok::<_, io::Error>(response)
            }
        });
        open.spawn(async move {
            if let Err(error) = serve_with_graceful_shutdown(Paced::new(stream), service, stopped.shutdown()).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(permit);
        });
    }
}
