//! The pool's JSON API and its metrics, over HTTP.
//!
//! Read only, under `/api/v1`, and `/metrics` as Prometheus reads them. Every answer is bounded: lists come in pages, of which each names
//! the next. Amounts and weights are text, because they pass what JSON's numbers hold exactly. Requests beyond what the database answers at
//! once wait, and those that wait too long are refused.

mod metrics;
mod routes;
mod shares;
mod views;

#[cfg(test)]
mod tests;

use crate::{books::Books, job::Job, log::LogReader, server::Stats, source::ChainStatus};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Semaphore, watch};

pub use shares::{MAX_SHARES, ShareJob, SharePage, ShareView};
pub use views::{AccountView, BlockPage, BlockView, PoolView, SideView, WorkerPage, WorkerView};

/// Requests that are answered at once.
const AT_ONCE: usize = 32;
/// Longest time that a request takes.
const LONGEST: Duration = Duration::from_secs(10);

/// A log with what is known of its miners.
pub struct Side {
    /// Its name: `pool` or `solo`.
    pub name: &'static str,
    /// Its miners.
    pub stats: Arc<Stats>,
    /// Its shares.
    pub log: LogReader,
    /// What is worked on.
    pub jobs: watch::Receiver<Arc<Job>>,
    /// How its chains stand.
    pub chains: Box<dyn Fn() -> Vec<ChainStatus> + Send + Sync>,
}

/// What the API tells.
pub struct ApiState {
    /// The books.
    pub books: Books,
    /// The logs.
    pub sides: Vec<Side>,
    /// Whom blocks pay.
    pub wallet: String,
    /// The pool's fee in hundredths of a percent.
    pub fee_basis_points: u16,
    /// How many blocks' work the window of BMM holds.
    pub window_blocks: u32,
    /// Least balance that is paid, with its unit.
    pub min_payment: String,
    /// What a miner pays for a payment, with its unit.
    pub payment_fee: String,
    /// Hashes a second of everybody who mines BMM, where they are known.
    pub network: watch::Receiver<Option<f64>>,
}

/// State and bounds.
struct Api {
    state: ApiState,
    at_once: Semaphore,
}

/// Listens at these addresses, within a runtime of tokio's. Returns them, with the ports that the system chose, and what serves until it is dropped.
pub fn bind(
    addresses: &[SocketAddr],
    state: ApiState,
) -> Result<(Vec<SocketAddr>, impl Future<Output = ()> + Send + 'static), std::io::Error> {
    let app = router(state);
    let (mut bound, mut servers) = (Vec::new(), tokio::task::JoinSet::new());
    for address in addresses {
        let listen = || -> std::io::Result<TcpListener> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|error| {
            std::io::Error::new(error.kind(), format!("the pool's API cannot listen at {address}: {error}"))
        })?;
        bound.push(listener.local_addr()?);
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let app = app.clone();
        servers.spawn(async move { axum::serve(listener, app).await });
    }
    let serving = async move {
        while let Some(ended) = servers.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::error!(%error, "the pool's API ended");
            }
        }
    };
    Ok((bound, serving))
}

fn router(state: ApiState) -> Router {
    let api = Arc::new(Api { state, at_once: Semaphore::new(AT_ONCE) });
    Router::new()
        .route("/api/v1/pool", get(routes::pool))
        .route("/api/v1/workers", get(routes::workers))
        .route("/api/v1/blocks", get(routes::blocks))
        .route("/api/v1/blocks/{number}", get(routes::block))
        .route("/api/v1/blocks/{number}/credits", get(routes::credits))
        .route("/api/v1/payments", get(routes::payments))
        .route("/api/v1/payments/{id}/items", get(routes::items))
        .route("/api/v1/accounts/{account}", get(routes::account))
        .route("/api/v1/shares", get(shares::shares))
        .route("/metrics", get(metrics::metrics))
        .fallback(|| async {
            refuse(StatusCode::NOT_FOUND, "there is nothing at this path; /api/v1/pool is a beginning")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), bounded))
        .with_state(api)
}

async fn bounded(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let answer = async {
        let permit = api.at_once.acquire().await;
        let answer = next.run(request).await;
        drop(permit);
        answer
    };
    let busy = "the pool is busy; ask again in a few seconds";
    tokio::time::timeout(LONGEST, answer).await.unwrap_or_else(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, busy))
}

/// An answer that says what is wrong.
fn refuse(status: StatusCode, what: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": what }))).into_response()
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
