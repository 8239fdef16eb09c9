//! Connections, within bounds.
//!
//! There are at most [`MAX_CONNECTIONS`]. One more takes the place of the one that has waited longest without asking for anything, so that any number
//! of slow ones keeps nobody out; and who does not send a request within [`PATIENCE`] is not waited for.

use axum::{Router, body::Body, extract::Request, http::Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::AbortHandle};
use tower::{ServiceExt as _, service_fn};

/// Connections at once.
const MAX_CONNECTIONS: usize = 1_024;
/// How long a request's head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection as the others see it.
struct Place {
    abort: AbortHandle,
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
}

/// A running server. Dropping it closes its connections.
pub struct Server {
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
    places: Arc<Mutex<VecDeque<Place>>>,
}

impl Server {
    /// Listens at `address` and serves `router`, within a runtime of tokio's; port 0 takes any free one.
    pub async fn start(address: SocketAddr, router: Router) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let places = Arc::<Mutex<VecDeque<Place>>>::default();
        let accepting = tokio::spawn(accept(listener, router, places.clone()));
        Ok(Self { address, accepting, places })
    }

    /// Returns the address, with the port that the system chose.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        for place in self.places.lock().drain(..) {
            place.abort.abort();
        }
    }
}

async fn accept(listener: TcpListener, router: Router, places: Arc<Mutex<VecDeque<Place>>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: what is open may end meanwhile.
                tracing::debug!(%error, "a connection to the pages was not taken");
                make_room(&mut places.lock(), MAX_CONNECTIONS / 2);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        make_room(&mut places.lock(), MAX_CONNECTIONS);
        let _ = stream.set_nodelay(true);
        let busy = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(connection(stream, router.clone(), busy.clone()));
        places.lock().push_back(Place { abort: task.abort_handle(), busy });
    }
}

/// Forgets connections that ended, and ends those that ask for nothing, the oldest first, until one more has room.
fn make_room(places: &mut VecDeque<Place>, most: usize) {
    if places.len() < most {
        return;
    }
    places.retain(|place| !place.abort.is_finished());
    while places.len() >= most {
        let idle = places.iter().position(|place| place.busy.load(Ordering::Relaxed) == 0).unwrap_or(0);
        let Some(place) = places.remove(idle) else { return };
        place.abort.abort();
    }
}

/// Counts a request while it lives.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(stream: tokio::net::TcpStream, router: Router, busy: Arc<AtomicUsize>) {
    let service = service_fn(move |request| {
        let (router, busy) = (router.clone(), Busy::new(&busy));
        async move {
            let answer: Result<Response<Body>, std::convert::Infallible> =
                router.oneshot(Request::map(request, Body::new)).await;
            drop(busy);
            answer
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 << 10);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = serving.await {
        tracing::trace!(%error, "a connection to the pages ended");
    }
}
