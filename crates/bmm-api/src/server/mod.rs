//! The listener: one port for HTTP and WebSocket, with bounds on what a stranger can make it hold.
//!
//! Every connection begins in [`plain`], which serves what wallets and libraries send all day, a JSON POST of known length, with as
//! little work as possible. Whatever else comes (other methods, upgrades, transfer codings, errors) goes to [`http`], which knows all
//! of HTTP/1.1, and from there to [`ws`].

mod accept;
mod desk;
mod http;
mod plain;
mod pulse;
mod subscribe;
mod ws;

pub use desk::Desk;
pub(crate) use subscribe::Session;

use crate::{aux::Miners, config::ApiConfig, gate::Gate, methods::Context, network::NetworkView, news};
use accept::Acceptor;
use bmm_chain::Chain;
use std::{io, net::SocketAddr, sync::Arc, thread};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

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
    /// The server's threads cannot be started.
    #[error("cannot start the threads of JSON-RPC: {0}; raise the limit of threads for this user")]
    Threads(io::Error),
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct ApiHandle {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl ApiHandle {
    /// Returns the address that the server listens on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets open calls finish for at most five seconds, and closes every connection.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // An error says that it has stopped already.
            let _ = accepting.await;
        }
    }
}

impl Drop for ApiHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) gate: Gate,
    pub(crate) context: Arc<Context>,
    /// Becomes true when the server stops.
    stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Waits until the server stops.
    async fn stopped(&self) {
        // An error says that the handle is gone.
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }
}

/// Serves Ethereum's JSON-RPC over `chain` by HTTP and WebSocket, on threads of its own, until the handle is stopped or dropped.
///
/// Errors when the address cannot be listened on, or the threads cannot be started.
pub async fn serve(config: ApiConfig, chain: Arc<Chain>) -> Result<ApiHandle, ApiError> {
    serve_in(config, chain, Surroundings::default()).await
}

/// What a server has beside its chain.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The network that the node is in.
    pub network: Option<NetworkView>,
    /// Who may have blocks made for merged mining; nobody by default.
    pub miners: Miners,
}

/// Serves as [`serve`] does, with what the node has beside its chain.
pub async fn serve_in(config: ApiConfig, chain: Arc<Chain>, surroundings: Surroundings) -> Result<ApiHandle, ApiError> {
    let address = config.address;
    let listen_error = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ApiError::AddressInUse { address },
        _ => ApiError::Listen { address, source },
    };
    // One more than there are cores, for cheap calls while the others compute.
    let threads = thread::available_parallelism().map_or(1, usize::from) + 1;
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).thread_name("rpc").enable_all().build().map_err(ApiError::Threads)?;
    let (stop, stopped) = watch::channel(false);
    // Dropping the handle on an error ends the runtime in a way that is allowed here.
    let mut handle = ApiHandle { address, stop, accepting: None, runtime: Some(runtime) };
    let listener = async {
        let runtime = handle.runtime.as_ref().expect("just put there");
        runtime.spawn(TcpListener::bind(address)).await.map_err(io::Error::other)?
    };
    let listener = listener.await.map_err(listen_error)?;
    handle.address = listener.local_addr().map_err(listen_error)?;
    let connections =
        Semaphore::new(usize::try_from(config.max_connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS));
    let gate = Gate::new(&config);
    let context = Arc::new(Context::new(config, chain, surroundings, threads));
    news::start(&context).map_err(ApiError::Threads)?;
    let shared = Arc::new(Shared { gate, context, stopped });
    let acceptor = Acceptor::new(shared, Arc::new(connections));
    handle.accepting = handle.runtime.as_ref().map(|runtime| runtime.spawn(acceptor.run(listener)));
    tracing::info!(address = %handle.address, "JSON-RPC listens");
    Ok(handle)
}
