//! Nodes for tests.

use alloy_primitives::B256;
use bmm_net::{Multiaddr, NetConfig, Network};
use std::time::Duration;

/// How long anything may take before a test gives up; nothing is expected to take so long.
pub const LONG: Duration = Duration::from_mins(4);

/// Runs a test on a runtime of its own.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG, work).await.expect("in time") })
}

/// Settings of a node on this machine.
pub fn config(genesis: B256) -> NetConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    NetConfig { listen, private: true, ..NetConfig::new(genesis) }
}

/// Starts a node.
pub async fn start(genesis: B256) -> Network {
    Network::start(config(genesis)).await.expect("a node")
}

/// Returns an address that ends in the peer.
pub fn address(network: &Network) -> Multiaddr {
    let listen = network.listen_addrs().into_iter().next().expect("it listens");
    format!("{listen}/p2p/{}", network.peer_id()).parse().expect("an address")
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// Connects two nodes, and waits until both know of it.
pub async fn connect(one: &Network, other: &Network) {
    one.dial(address(other)).await.expect("connected");
    let knows = |one: &Network, other: &Network| one.peers().iter().any(|info| info.peer == other.peer_id());
    until("both know of each other", || knows(one, other) && knows(other, one)).await;
}
