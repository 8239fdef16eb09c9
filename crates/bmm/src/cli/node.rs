//! `bmm up` and `bmm node`: run until Ctrl-C.

use super::{
    Context, Which,
    chain::{Begin, checkpoint},
};
use crate::{
    config::{NetworkConfig, Reach},
    failure::{Failure, Outcome},
    node::{Mine, NetOptions, Node, NodeOptions, dev_key},
    output,
    wallet::{Passwords, WalletStore},
    web::{Pages, Served},
};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::sync::Checkpoint;
use bmm_net::Multiaddr;
use clap::Args;
use serde::Serialize;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::Duration,
};

/// `bmm up`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm up
  bmm up --listen 127.0.0.1:9000 --mine-percent 10
  cast balance --rpc-url http://127.0.0.1:8545 0x000000000000000000000000000000000000b001")]
pub struct Up {
    #[command(flatten)]
    serve: Serve,
}

/// `bmm node`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm node                           follow the chain of the configuration, mine nothing
  bmm node --genesis FILE --bootstrap /ip4/192.0.2.7/tcp/20190/p2p/12D3KooW…
                                     join a dev chain of another folder or machine
  bmm node --mine savings            mine for the wallet called savings
  bmm node --mine-for savings        hand out blocks for that wallet to pools and miners (createauxblock)
  bmm node --footstone savings       bet for that wallet, which has joined: bmm footstone join
  bmm node --chain main              the public chain")]
pub struct NodeArgs {
    #[command(flatten)]
    serve: Serve,
    #[command(flatten)]
    which: Which,
    /// Mine for this wallet
    #[arg(long, value_name = "WALLET")]
    mine: Option<String>,
    /// Hand out blocks of this wallet to pools and miners, by createauxblock (repeat for more)
    #[arg(long, value_name = "WALLET")]
    mine_for: Vec<String>,
    /// Bet for this wallet, which is a footstone
    #[arg(long, value_name = "WALLET")]
    footstone: Option<String>,
    /// A block that the chain must contain, from somebody you trust: for a node that is new, or was away for longer than bonds are locked
    #[arg(long, value_name = "NUMBER:ID", value_parser = checkpoint)]
    checkpoint: Option<Checkpoint>,
    /// File that holds the wallets' password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where JSON-RPC listens [default: rpc.listen of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where the pages are served [default: pages.listen of the configuration; any free port beside --listen with port 0]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_pages")]
    pages: Option<SocketAddr>,
    /// Serve no pages
    #[arg(long)]
    no_pages: bool,
    #[command(flatten)]
    begin: Begin,
    #[command(flatten)]
    peers: Peers,
    /// Percent of one core that mining may use [default: mine.share_percent of the configuration]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    mine_percent: Option<u8>,
}

#[derive(Debug, Args)]
struct Peers {
    /// Where to listen for other nodes, such as /ip4/0.0.0.0/tcp/20190 (repeat for more) [default: network.listen of the configuration]
    #[arg(long, value_name = "MULTIADDR")]
    peer_listen: Vec<Multiaddr>,
    /// A node to begin with, as `bmm net id` prints it there (repeat for more) [default: network.bootstrap of the configuration]
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<Multiaddr>,
    /// Do not look for nodes of the local network
    #[arg(long)]
    no_mdns: bool,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Stay alone
    #[arg(long)]
    no_network: bool,
}

impl Peers {
    /// Puts what was typed in place of what is configured.
    fn options(&self, config: &NetworkConfig, chain: &str) -> Outcome<Option<NetOptions>> {
        let mut config = config.clone();
        let texts = |addresses: &[Multiaddr]| addresses.iter().map(ToString::to_string).collect();
        if !self.peer_listen.is_empty() {
            config.listen = texts(&self.peer_listen);
        }
        if !self.bootstrap.is_empty() {
            config.bootstrap = texts(&self.bootstrap);
        }
        config.mdns &= !self.no_mdns;
        config.enable &= !self.no_network;
        config.reach = self.reach.unwrap_or(config.reach);
        config.options(chain)
    }
}

/// What is printed when the node listens.
#[derive(Serialize)]
struct Listening<'a> {
    rpc: &'a str,
    chain: &'a str,
    chain_id: u64,
    block: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<&'a str>,
    peer_addresses: Vec<String>,
}

/// Answers `bmm up`.
pub fn up(context: &Context, args: &Up) -> Outcome {
    let percent = args.serve.mine_percent.unwrap_or(context.config.mine.share_percent);
    let mine =
        (context.config.chain == "dev").then(|| dev_key(&context.data).map(|key| Mine { key, percent })).transpose()?;
    serve(context, &args.serve, &context.config.chain, Tasks { mine, ..Tasks::default() })
}

/// Answers `bmm node`.
pub fn node(context: &Context, args: &NodeArgs) -> Outcome {
    let percent = args.serve.mine_percent.unwrap_or(context.config.mine.share_percent);
    let store = WalletStore::new(context.data.wallets()).with_dev_key(context.data.dev_key());
    let unlock = |wallet: &String| store.unlock(wallet, &Passwords::choose(args.password_file.as_deref()));
    let mine = args.mine.as_ref().map(unlock).transpose()?.map(|key| Mine { key, percent });
    let mine_for = args.mine_for.iter().map(unlock).collect::<Outcome<Vec<_>>>()?;
    let footstone = args.footstone.as_ref().map(unlock).transpose()?;
    let checkpoint = args.checkpoint.map(|checkpoint| (checkpoint.number, checkpoint.id));
    serve(context, &args.serve, args.which.name(context), Tasks { mine, mine_for, footstone, checkpoint })
}

/// What a node does beside following the chain.
#[derive(Default)]
struct Tasks {
    mine: Option<Mine>,
    mine_for: Vec<PrivateKeySigner>,
    footstone: Option<PrivateKeySigner>,
    checkpoint: Option<(u64, B256)>,
}

fn serve(
    context: &Context,
    serve: &Serve,
    chain: &str,
    Tasks { mine, mine_for, footstone, checkpoint }: Tasks,
) -> Outcome {
    let json = context.global.json;
    let mut rpc = context.config.rpc.server();
    rpc.address = serve.listen.unwrap_or(rpc.address);
    let mines = mine.is_some();
    let stop = interrupts()?;
    let storage = context.config.storage.clone();
    serve.begin.apply(context, chain)?;
    let network = serve.peers.options(&context.config.network, chain)?;
    let alone = network.is_none();
    let contribute = mines || !mine_for.is_empty();
    let options = NodeOptions {
        chain: chain.to_owned(),
        rpc,
        mine,
        mine_for,
        contribute,
        storage,
        network,
        footstone,
        checkpoint,
    };
    let node = Node::start(&context.data, &options)?;
    let pages = pages(context, serve, chain, &node)?;
    let head = node.chain().head();
    let chain_id = node.chain().params().chain_id;
    let peer_addresses = node.addresses();
    let listening = Listening {
        rpc: node.url(),
        chain,
        chain_id,
        block: head.number(),
        pages: pages.as_ref().map(Pages::url),
        peer_addresses,
    };
    let mining = if mines { "mining" } else { "not mining" };
    let text =
        format!("{chain} (chain id {chain_id}) at block {}, {mining}, JSON-RPC at {}", head.number(), node.url());
    output::print(json, &listening, text);
    if let Some(pages) = &pages {
        output::note(json, format!("pages at {}", pages.owner_url()));
    }
    for address in &listening.peer_addresses {
        output::note(json, format!("other nodes begin with --bootstrap {address}"));
    }
    if alone && chain != "dev" {
        output::note(json, "in no network: its blocks and transactions reach nobody");
    }
    output::note(json, "Ctrl-C stops it.");
    let mut seen = head.number();
    while stop.recv_timeout(Duration::from_secs(10)) == Err(RecvTimeoutError::Timeout) {
        let head = node.chain().head();
        if head.number() > seen {
            output::note(json, format!("block {} {}", head.number(), head.id));
            seen = head.number();
        }
    }
    output::note(json, "stopping");
    drop(pages);
    Ok(())
}

/// Serves the pages. A port that another program has is no reason to do without a node, unless it was named.
fn pages(context: &Context, serve: &Serve, chain: &str, node: &Node) -> Outcome<Option<Pages>> {
    let config = &context.config.pages;
    if serve.no_pages || (!config.enable && serve.pages.is_none()) {
        return Ok(None);
    }
    let mut address = serve.pages.unwrap_or(config.listen);
    if serve.pages.is_none() && serve.listen.is_some_and(|listen| listen.port() == 0) {
        address.set_port(0);
    }
    let config_file = context.global.config.as_deref();
    let served = Served { data: &context.data, chain, config: &context.config, config_file };
    match Pages::start(&served, node, address) {
        Ok(pages) => Ok(Some(pages)),
        Err(failure) if serve.pages.is_some() => Err(failure),
        Err(failure) => {
            output::note(context.global.json, format!("no pages: {}", failure.message));
            Ok(None)
        }
    }
}

/// Returns a queue that gets an element for each Ctrl-C (and SIGTERM, where there is one). A third one ends the process at once, which is
/// safe at any moment.
#[expect(clippy::exit, reason = "somebody who asks three times does not want to wait")]
pub fn interrupts() -> Outcome<Receiver<()>> {
    let (sender, receiver) = sync_channel(8);
    let failure = |error: ctrlc::Error| Failure::internal(format!("cannot listen for Ctrl-C: {error}"));
    let asked = AtomicU8::new(0);
    ctrlc::set_handler(move || {
        if asked.fetch_add(1, Ordering::Relaxed) >= 2 {
            std::process::exit(130);
        }
        let _ = sender.try_send(());
    })
    .map_err(failure)?;
    Ok(receiver)
}
