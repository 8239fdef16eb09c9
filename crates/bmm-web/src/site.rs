//! What all pages share.

use crate::session::{Sessions, secret};
use bmm_chain::Chain;
use bmm_index::{Follower, Index, Summary};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Streams of news that are open at once.
const MAX_STREAMS: usize = 256;

/// Settings of the pages.
#[derive(Clone, Debug, Default)]
pub struct SiteConfig {
    /// Names beside `localhost` and plain addresses by which the pages may be called, as in a request's `Host`; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// JSON-RPC of this node, told to browser wallets.
    pub rpc_url: String,
    /// Whether this machine's own things (jobs, wallets, settings) have pages: only where nobody else reaches the server.
    pub own: bool,
    /// The key of the owner's link; a random one where empty.
    pub key: String,
}

/// What is offered and in use on the market, as the node knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compute {
    /// Providers that are known.
    pub providers: u64,
    /// Tasks that they run at once.
    pub slots: u64,
    /// Tasks that run now.
    pub running: u64,
    /// Jobs of this machine that are worked on now.
    pub jobs: u64,
    /// Least and median price of 10^9 units of fuel, in units of BMM.
    pub prices: Option<(alloy_primitives::U256, alloy_primitives::U256)>,
}

/// Tells what is offered; asked once for each page that shows it.
pub type AskCompute = Box<dyn Fn() -> Compute + Send + Sync>;
/// Tells how many peers are connected; `None` in no network.
pub type AskPeers = Box<dyn Fn() -> Option<usize> + Send + Sync>;

/// The chain, its index, and who may do what.
pub struct Site {
    /// The chain.
    pub chain: Arc<Chain>,
    /// Its index.
    pub index: Index,
    /// Settings.
    pub config: SiteConfig,
    pub(crate) follower: Follower,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) compute: AskCompute,
    pub(crate) peers: AskPeers,
}

impl Site {
    /// Puts a site together.
    pub fn new(
        chain: Arc<Chain>,
        index: Index,
        follower: Follower,
        mut config: SiteConfig,
        (compute, peers): (AskCompute, AskPeers),
    ) -> Arc<Self> {
        if config.key.is_empty() {
            config.key = secret();
        }
        let (sessions, streams) = (Sessions::default(), Arc::new(Semaphore::new(MAX_STREAMS)));
        Arc::new(Self { chain, index, config, follower, sessions, streams, compute, peers })
    }

    /// Returns the last 24 hours.
    pub fn summary(&self) -> Arc<Summary> {
        self.follower.summary()
    }

    /// Returns the part of the owner's link after the address.
    pub fn owner_path(&self) -> String {
        format!("/open?key={}", self.config.key)
    }
}
