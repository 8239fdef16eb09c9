//! The node's place in its network.

use crate::{
    failure::{Failure, Outcome},
    marketplace::Place,
    paths::DataDir,
};
use alloy_primitives::B256;
use bmm_api::{NetworkView, NodeView, PeerView, SyncView};
use bmm_chain::Chain;
use bmm_net::{ChainNode, Multiaddr, NetConfig, NetLimits, Network, NodeConfig, PeerId, RelayLimits};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::runtime::{Handle, Runtime};

/// How long leaving the network may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Peers with which a node is content.
const ENOUGH_PEERS: usize = 16;

/// How a node joins its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOptions {
    /// Addresses to listen at.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others reach it.
    pub external: Vec<Multiaddr>,
    /// Nodes to begin with.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether nodes of the local network are looked for.
    pub mdns: bool,
    /// Connections at most.
    pub max_peers: u32,
    /// Whether all nodes are within one local network.
    pub private: bool,
    /// What is relayed for others.
    pub relay: RelayLimits,
}

impl NetOptions {
    /// Returns the settings of the network of a chain. `folder` keeps key and peers; without one they are for this time only.
    pub fn config(&self, folder: Option<PathBuf>, genesis: B256) -> NetConfig {
        let outgoing = (self.max_peers / 3).max(1);
        let incoming = self.max_peers.saturating_sub(outgoing).max(1);
        let wanted_peers = usize::try_from(outgoing).unwrap_or(usize::MAX).min(ENOUGH_PEERS);
        NetConfig {
            folder,
            listen: self.listen.clone(),
            external: self.external.clone(),
            bootstrap: self.bootstrap.clone(),
            mdns: self.mdns,
            private: self.private,
            relay: self.relay,
            limits: NetLimits { incoming, outgoing, wanted_peers, ..NetLimits::DEFAULT },
            ..NetConfig::new(genesis)
        }
    }
}

/// A node that has joined. Dropping it leaves.
pub struct Joined {
    network: Network,
    node: Option<Arc<ChainNode>>,
    place: Place,
    runtime: Option<Runtime>,
}

impl Joined {
    /// Joins the network of a chain, and follows it.
    pub fn join(data: &DataDir, chain: &Arc<Chain>, options: &NetOptions) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bmm-net")
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("cannot start threads for the network: {error}")))?;
        let config = options.config(Some(data.network()), chain.genesis());
        let (network, node) = runtime
            .block_on(async {
                let network = Network::start(config).await?;
                let node = ChainNode::start(network.clone(), chain.clone(), NodeConfig::default()).await?;
                Ok((network, node))
            })
            .map_err(|error: bmm_net::NetError| {
                Failure::config(error).hint("choose addresses with --peer-listen, or stay alone with --no-network")
            })?;
        // The node buys and sells nothing, but those who do may have only it in common.
        let place = runtime.block_on(Place::attach(network.clone(), chain.params().chain_id))?;
        Ok(Self { network, node: Some(Arc::new(node)), place, runtime: Some(runtime) })
    }

    /// Returns the addresses at which others of the same network reach the node, each with its id.
    pub fn addresses(&self) -> Vec<String> {
        with_id(&self.network.listen_addrs(), self.network.peer_id())
    }

    /// Returns the network, and what runs it.
    pub fn handle(&self) -> Option<(Network, Handle)> {
        self.runtime.as_ref().map(|runtime| (self.network.clone(), runtime.handle().clone()))
    }

    /// Returns the node's place on the market.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Returns what JSON-RPC is told.
    pub fn view(&self) -> NetworkView {
        let (network, node) = (self.network.clone(), self.node.as_ref().map(Arc::downgrade).unwrap_or_default());
        let standing = node.clone();
        let peers = move || {
            let node = standing.upgrade();
            let view = |info: bmm_net::PeerInfo| PeerView {
                id: info.peer.to_string(),
                name: info.agent,
                protocols: info.protocols,
                address: info.address.to_string(),
                incoming: info.incoming,
                connected: info.connected,
                round_trip: info.round_trip,
                score: info.score,
                head: node
                    .as_ref()
                    .and_then(|node| node.standing(info.peer))
                    .map(|head| (head.number, head.head, head.work)),
            };
            network.peers().into_iter().map(view).collect()
        };
        let network = self.network.clone();
        let of_node = move || NodeView {
            id: network.peer_id().to_string(),
            listens: with_id(&network.listen_addrs(), network.peer_id()),
            external: with_id(&network.external_addrs(), network.peer_id()),
        };
        let syncing = move || {
            let progress = node.upgrade()?.syncing()?;
            let bmm_net::SyncProgress { starting, current, highest } = progress;
            Some(SyncView { starting, current, highest })
        };
        NetworkView { peers: Arc::new(peers), node: Arc::new(of_node), syncing: Arc::new(syncing) }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        drop(self.node.take());
        if let Some(runtime) = self.runtime.take() {
            let network = self.network.clone();
            // What is lost when it takes longer, the addresses of peers, is learnt anew.
            let _ = runtime.block_on(async { tokio::time::timeout(LEAVE_WITHIN, network.shutdown()).await });
            runtime.shutdown_timeout(LEAVE_WITHIN);
        }
    }
}

fn with_id(addresses: &[Multiaddr], peer: PeerId) -> Vec<String> {
    let end = format!("/p2p/{peer}");
    let whole = |address: &Multiaddr| {
        let text = address.to_string();
        if text.ends_with(&end) { text } else { text + &end }
    };
    addresses.iter().map(whole).collect()
}
