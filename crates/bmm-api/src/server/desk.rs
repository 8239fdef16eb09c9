//! The server without its sockets.

use super::{ApiError, Shared, Surroundings, plain};
use crate::{config::ApiConfig, envelope, gate::Gate, methods::Context, news};
use bmm_chain::Chain;
use std::sync::Arc;
use tokio::sync::watch;

/// Reads and answers requests as a server does, but from bytes in memory: for tests and fuzzing, and for programs that carry JSON-RPC
/// in their own way.
pub struct Desk {
    shared: Shared,
    /// As long as it lives, the server is not stopped.
    _stop: watch::Sender<bool>,
}

impl Desk {
    /// Makes a desk over a chain; `config.address` is not used.
    ///
    /// # Errors
    /// [`ApiError::Threads`].
    pub fn new(config: ApiConfig, chain: Arc<Chain>) -> Result<Self, ApiError> {
        let (stop, stopped) = watch::channel(false);
        let gate = Gate::new(&config);
        let context = Arc::new(Context::new(config, chain, Surroundings::default(), 2));
        news::start(&context).map_err(ApiError::Threads)?;
        Ok(Self { shared: Shared { gate, context, stopped }, _stop: stop })
    }

    /// Reads the head of an HTTP request. Returns its length and that of the body which follows, in bytes; `None` for a head that is not
    /// whole, and for every request but a usual POST of JSON by somebody who may ask.
    pub fn read_head(&self, input: &[u8]) -> Option<(usize, usize)> {
        plain::usual(input, &self.shared)
    }

    /// Answers the body of a request: one call or a batch. The answer is JSON, and empty where there is nothing to answer. To be called
    /// within a tokio runtime.
    pub async fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        envelope::answer(&self.shared.context, None, request, &mut out).await;
        out
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
