//! The node that a job is paid on: the configured one, the running one of the data folder, or one embedded in this process.

use crate::{
    cli::Context,
    failure::Outcome,
    node::{Mine, Node, NodeOptions, dev_key},
    output,
    rpc::{NodeFile, RpcClient},
};
use bmm_api::ApiConfig;
use std::net::SocketAddr;

/// A way to a chain.
pub struct Network {
    /// Talks to the node.
    pub rpc: RpcClient,
    /// The node, if it lives in this process.
    _embedded: Option<Node>,
}

impl Network {
    /// Connects, or starts an embedded development node and says so.
    pub fn join(context: &Context) -> Outcome<Self> {
        if let Some(url) = &context.config.rpc.url {
            return Ok(Self { rpc: RpcClient::new(url)?, _embedded: None });
        }
        // The file may be that of a node that was killed.
        let node = NodeFile::read(&context.data.node_file())?;
        match node.map(|node| node.client()).transpose()?.flatten() {
            Some(rpc) => Ok(Self { rpc, _embedded: None }),
            None => Self::embed(context),
        }
    }

    fn embed(context: &Context) -> Outcome<Self> {
        let mine = match context.config.chain.as_str() {
            "dev" => Some(Mine { key: dev_key(&context.data)?, percent: context.config.mine.share_percent }),
            _ => None,
        };
        let rpc = ApiConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ApiConfig::default() };
        let (chain, storage) = (context.config.chain.clone(), context.config.storage.clone());
        let network = context.config.network.options(&chain)?;
        // It is there for a job, and the wallet's nonces are the job's.
        let (mine_for, contribute) = (Vec::new(), false);
        let options =
            NodeOptions { chain, rpc, mine, mine_for, contribute, storage, network, footstone: None, checkpoint: None };
        let node = Node::start(&context.data, &options)?;
        let head = node.chain().head();
        output::note(
            context.global.json,
            format!(
                "no node is running: using an embedded one, its own chain at block {} (data in {})",
                head.number(),
                context.data.root().display()
            ),
        );
        Ok(Self { rpc: node.client()?, _embedded: Some(node) })
    }
}
