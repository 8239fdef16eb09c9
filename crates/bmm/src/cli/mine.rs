//! `bmm mine`: hash for a pool, or alone.

use super::{Context, interrupts};
use crate::{
    failure::{Failure, Outcome},
    mine::{Cores, Effort, NodeChoice, PoolChoice, mine_alone, mine_for_pool, serve_proxy},
};
use alloy_primitives::Address;
use bmm_pool::{
    source::NodeUrl,
    upstream::{PoolAccount, PoolUrl},
};
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `bmm mine`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  bmm mine --pool stratum+tcp://pool.example:3333 --user 0x52908400098527886E0F7030069857D2E4169EE7.desk
  bmm mine --pool stratum+ssl://one.example:443 --pool stratum+tcp://two.example:3333 --user NAME --idle-only
  bmm mine --node http://127.0.0.1:8545 --address 0x52908400098527886E0F7030069857D2E4169EE7
                                     alone; the node is started with `bmm node --mine-for WALLET`
  bmm mine --pool stratum+tcp://ltc.example:3333 --user NAME.desk --threads 4 --affinity 0,2,4,6
  bmm mine proxy --listen 0.0.0.0:3333 --pool stratum+tcp://pool.example:3333 --user NAME.farm

Any pool of Litecoin's hash, Scrypt, will do. Of several pools the first that works is used, and the first of all once it is back.
Whether mining earns more than the power that it takes depends on the machine, the price of power and that of the coin.")]
pub struct MineArgs {
    #[command(subcommand)]
    command: Option<MineCommand>,
    #[command(flatten)]
    pools: Pools,
    /// Mine alone for this node (repeat for nodes to turn to when it fails)
    #[arg(long, value_name = "URL", requires = "address", conflicts_with = "pool", value_parser = clap::value_parser!(NodeUrl))]
    node: Vec<NodeUrl>,
    /// Who gets the blocks: an address whose key the node has
    #[arg(long, value_name = "ADDRESS", requires = "node")]
    address: Option<Address>,
    /// Threads [default: mine.threads of the configuration, or one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Cores that the threads stay on, such as 0,2,4-7 [default: mine.affinity of the configuration]
    #[arg(long, value_name = "CORES")]
    affinity: Option<Cores>,
    /// Work only while others use less than 15 % of the machine's cores
    #[arg(long)]
    idle_only: bool,
    /// Stop after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// What else there is to do about mining.
#[derive(Debug, Subcommand)]
pub enum MineCommand {
    /// Let many miners work behind one connection to a pool
    Proxy(ProxyArgs),
}

/// `bmm mine proxy`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm mine proxy --listen 0.0.0.0:3333 --pool stratum+tcp://pool.example:3333 --user NAME.farm
  bmm mine proxy --pool stratum+ssl://one.example:443 --pool stratum+tcp://two.example:3333 --user NAME

The pool sees one miner. Every miner behind the proxy gets a part of the extra nonce of its own; its shares are checked before they
are handed on, and it is answered when the pool has answered.")]
pub struct ProxyArgs {
    #[command(flatten)]
    pools: Pools,
    /// Where miners connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3333")]
    listen: SocketAddr,
    /// Miners at most
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u16).range(1..))]
    max_miners: u16,
}

/// Pools, and who one is there.
#[derive(Args, Debug)]
struct Pools {
    /// A pool (repeat for pools to turn to when it fails) [default: mine.pools of the configuration]
    #[arg(long, value_name = "URL")]
    pool: Vec<PoolUrl>,
    /// The user's name at the pools: often an address, a point, and a name for this machine [default: mine.user of the configuration]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The password at the pools
    #[arg(long, value_name = "WORDS", default_value = "x")]
    password: String,
    /// PEM file of certificates to trust in place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl MineArgs {
    fn effort(&self, context: &Context) -> Effort {
        let config = &context.config.mine;
        let threads = usize::from(self.threads.unwrap_or(config.threads));
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        Effort {
            threads: if threads == 0 { all() } else { threads },
            cores: self.affinity.clone().unwrap_or_else(|| config.affinity.clone()),
            idle_only: self.idle_only || config.idle_only,
            limit: self.seconds.map(Duration::from_secs),
            json: context.global.json,
        }
    }
}

impl Pools {
    fn choose(&self, context: &Context) -> Outcome<PoolChoice> {
        let config = &context.config.mine;
        let urls = if self.pool.is_empty() {
            let read = |text: &String| {
                text.parse::<PoolUrl>().map_err(|error| Failure::config(format!("mine.pools: {error}")))
            };
            config.pools.iter().map(read).collect::<Outcome<Vec<_>>>()?
        } else {
            self.pool.clone()
        };
        if urls.is_empty() {
            return Err(Failure::user("neither a pool nor a node is named").hint("name one with --pool or --node"));
        }
        let user = self.user.as_ref().or(config.user.as_ref()).ok_or_else(|| {
            Failure::user("the user's name at the pool is missing")
                .hint("give it with --user; pools of BMM take your address, a point, and a name for this machine")
        })?;
        let account = |url| PoolAccount { url, user: user.clone(), password: self.password.clone() };
        Ok(PoolChoice { pools: urls.into_iter().map(account).collect(), trusted: self.ca.clone() })
    }
}

/// Answers `bmm mine`.
pub fn run(context: &Context, args: &MineArgs) -> Outcome {
    if let Some(MineCommand::Proxy(args)) = &args.command {
        let choice = args.pools.choose(context)?;
        return serve_proxy(&choice, args.listen, args.max_miners.into(), context.global.json, &interrupts()?);
    }
    let effort = args.effort(context);
    if let Some(address) = args.address {
        return mine_alone(&NodeChoice { nodes: args.node.clone(), address }, &effort, &interrupts()?);
    }
    mine_for_pool(&args.pools.choose(context)?, &effort, &interrupts()?)
}
