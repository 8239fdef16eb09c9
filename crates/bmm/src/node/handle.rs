//! A running node.

use super::{
    contribute::Contributor,
    control::Control,
    net::{Joined, NetOptions},
    open::open_chain_at,
};
use crate::{
    config::StorageConfig,
    failure::{Failure, Outcome},
    footstone::Keeper,
    paths::DataDir,
    rpc::{NodeFile, RpcClient},
};
use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_api::{ApiConfig, ApiHandle, Miners, Surroundings};
use bmm_chain::{BlockSigner, Chain, Producer, ProducerConfig, Solutions, TemplateRequest};
use bmm_pow::Throttle;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How long a template may lack a waiting transaction before it is built anew.
const REFRESH_AFTER: Duration = Duration::from_millis(200);

/// What a node does.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The chain: "dev" or "main".
    pub chain: String,
    /// The JSON-RPC server; port 0 takes any free one.
    pub rpc: ApiConfig,
    /// The built-in miner; `None` mines nothing.
    pub mine: Option<Mine>,
    /// Whose blocks are handed out for merged mining; they sign them. The miner's own comes last.
    pub mine_for: Vec<PrivateKeySigner>,
    /// Whether it proves its miner's hash work and claims what its wallets earned, by transactions of these wallets.
    pub contribute: bool,
    /// The chain's database.
    pub storage: StorageConfig,
    /// The network to join; `None` stays alone.
    pub network: Option<NetOptions>,
    /// The footstone for which it bets.
    pub footstone: Option<PrivateKeySigner>,
    /// Number and id of a block that the chain must contain.
    pub checkpoint: Option<(u64, B256)>,
}

/// How a node mines.
#[derive(Clone, Debug)]
pub struct Mine {
    /// Whose blocks they are; signs them.
    pub key: PrivateKeySigner,
    /// Percent of a core.
    pub percent: u8,
}

/// A running node. Dropping it stops it.
pub struct Node {
    chain: Arc<Chain>,
    joined: Option<Joined>,
    producer: Option<Producer>,
    contributor: Option<Contributor>,
    api: Option<ApiHandle>,
    runtime: tokio::runtime::Runtime,
    url: String,
    file: PathBuf,
    control: Option<Control>,
    keeper: Option<Keeper>,
}

impl Node {
    /// Opens the chain of `data` and serves it.
    pub fn start(data: &DataDir, options: &NodeOptions) -> Outcome<Self> {
        let chain = open_chain_at(data, &options.chain, &options.storage, options.checkpoint)?;
        let solutions = solutions(data, &chain, options)?;
        let producer = options.mine.clone().map(|mine| produce(&chain, mine, solutions.clone())).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bmm-rpc")
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("cannot start threads for JSON-RPC: {error}")))?;
        let joined = options.network.as_ref().map(|network| Joined::join(data, &chain, network)).transpose()?;
        let surroundings = Surroundings {
            network: joined.as_ref().map(Joined::view),
            miners: miners(&options.mine_for, options.mine.as_ref(), solutions.as_ref()),
        };
        let serve = bmm_api::serve_in(options.rpc.clone(), chain.clone(), surroundings);
        let api = runtime.block_on(serve).map_err(|error| {
            Failure::config(error).hint("choose another port with --listen, for example --listen 127.0.0.1:8546")
        })?;
        let url = format!("http://{}", api.address());
        let keeper = options
            .footstone
            .clone()
            .map(|key| Keeper::start(chain.clone(), &data.chain(&options.chain), key, RpcClient::new(&url)?));
        let keeper = keeper.transpose()?;
        let handle = joined.as_ref().and_then(Joined::handle);
        let control = Some(Control::start(data, chain.clone(), handle, keeper.as_ref().map(Keeper::bettor))?);
        let file = data.node_file();
        NodeFile { pid: std::process::id(), rpc: url.clone(), chain: options.chain.clone(), genesis: chain.genesis() }
            .write(&file)?;
        let contributor = solutions.map(|solutions| {
            let keys = options.mine_for.iter().chain(options.mine.as_ref().map(|mine| &mine.key)).cloned().collect();
            Contributor::start(RpcClient::new(&url)?, chain.params(), keys, solutions)
        });
        let contributor = contributor.transpose()?;
        Ok(Self { chain, joined, producer, contributor, api: Some(api), runtime, url, file, control, keeper })
    }

    /// Returns the chain.
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Returns the addresses at which others of the same network reach the node.
    pub fn addresses(&self) -> Vec<String> {
        self.joined.as_ref().map(Joined::addresses).unwrap_or_default()
    }

    /// Returns the network that the node is in.
    pub fn network(&self) -> Option<bmm_net::Network> {
        self.joined.as_ref().and_then(Joined::handle).map(|(network, _)| network)
    }

    /// Returns the node's place on the market of its network.
    pub fn place(&self) -> Option<crate::marketplace::Place> {
        self.joined.as_ref().map(Joined::place)
    }

    /// Returns the JSON-RPC address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client of this node.
    pub fn client(&self) -> Outcome<RpcClient> {
        Ok(RpcClient::new(&self.url)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
        drop(self.control.take());
        drop(self.keeper.take());
        if let Some(producer) = self.producer.take() {
            producer.stop();
        }
        // After the miner, so that what it found last is kept, and before the API, which it asks.
        drop(self.contributor.take());
        drop(self.joined.take());
        if let Some(api) = self.api.take() {
            self.runtime.block_on(api.stop());
        }
    }
}

/// Opens what the miner found so far, where the node is to make use of it.
fn solutions(data: &DataDir, chain: &Chain, options: &NodeOptions) -> Outcome<Option<Arc<Solutions>>> {
    let Some(rules) = chain.params().resources.filter(|_| options.contribute) else { return Ok(None) };
    let file = data.solutions(&options.chain);
    let solutions = Solutions::open(&file, rules.proof_hashes.into()).map_err(|error| {
        Failure::config(format!("{}: {error}", file.display()))
            .hint("it holds the hashes that the miner found for its proofs; without it, those of this epoch are lost")
    })?;
    Ok(Some(Arc::new(solutions)))
}

fn produce(chain: &Arc<Chain>, mine: Mine, solutions: Option<Arc<Solutions>>) -> Outcome<Producer> {
    let config = ProducerConfig {
        request: TemplateRequest { beneficiary: mine.key.address(), ..TemplateRequest::default() },
        throttle: Throttle::percent_of_core(mine.percent),
        refresh_after: REFRESH_AFTER,
    };
    Producer::start_noting(chain.clone(), config, signer(mine.key), solutions).map_err(Failure::internal)
}

fn signer(key: PrivateKeySigner) -> BlockSigner {
    Arc::new(move |hash| key.sign_hash_sync(&hash).expect("a local key signs every hash"))
}

/// Collects for whom blocks are handed out.
fn miners(mine_for: &[PrivateKeySigner], mine: Option<&Mine>, solutions: Option<&Arc<Solutions>>) -> Miners {
    let mut miners = Miners::default();
    if let Some(solutions) = solutions {
        miners.collect(Arc::clone(solutions));
    }
    for key in mine_for.iter().chain(mine.map(|mine| &mine.key)) {
        miners.add(key.address(), signer(key.clone()));
    }
    miners
}
