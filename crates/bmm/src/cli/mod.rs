//! The command line: what can be typed, and which function answers.

mod account;
mod bench;
mod buyer;
mod chain;
mod dashboard;
mod db;
mod footstone;
mod job;
mod market;
mod meter;
mod mine;
mod net;
mod node;
mod plain;
mod pool;
mod provide;
mod rent;
mod resource;
mod run;
mod service;
mod wallet;

pub use node::interrupts;

use crate::{config::Config, failure::Outcome, paths::DataDir};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Share computing power: run jobs on other people's machines, or earn with yours.
#[derive(Debug, Parser)]
#[command(name = "bmm", version, propagate_version = true, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Examples:
  bmm run examples/render/job.toml     render a picture on this machine, paid on its own chain
  bmm job list                         jobs of this data folder
  bmm up                               a node, a miner and a JSON-RPC server at 127.0.0.1:8545
  bmm wallet new savings               a new wallet with a phrase to write down")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Folder of everything that bmm keeps [default: the user's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "BMM_DATA")]
    pub data: Option<PathBuf>,
    /// Configuration file [default: config.toml in the data folder]
    #[arg(long, global = true, value_name = "FILE", env = "BMM_CONFIG")]
    pub config: Option<PathBuf>,
    /// JSON-RPC address of the node to use [default: the node of this data folder, or an embedded one]
    #[arg(long, global = true, value_name = "URL", env = "BMM_RPC")]
    pub rpc: Option<String>,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more (repeat for still more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job: split it, run its tasks in the sandbox, merge, and pay
    Run(Box<run::RunArgs>),
    /// See what became of jobs, and go on with them
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Have programs hosted that run on, and reach their ports
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Have other people's miners hash for a pool of yours
    #[command(subcommand)]
    Rent(rent::RentCommand),
    /// See what the providers of the network offer
    #[command(subcommand)]
    Market(market::MarketCommand),
    /// Earn with this machine: run tasks of others' jobs
    Provide(provide::ProvideArgs),
    /// Mine: hash for a pool, or alone for a node
    Mine(mine::MineArgs),
    /// Run everything on this machine: node, miner, JSON-RPC
    Up(node::Up),
    /// Run a node
    Node(node::NodeArgs),
    /// Print the link to the pages of this machine's node: network, explorer, jobs, wallets
    Dashboard(dashboard::Dashboard),
    /// Run a mining pool, and see what it does
    Pool(Box<pool::PoolArgs>),
    /// See what wallets contribute, prove hash work, claim rewards
    #[command(subcommand)]
    Resource(resource::ResourceCommand),
    /// Register a handle, and bind wallets to it
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Be a footstone: lock a bond, and see how it bets
    #[command(subcommand)]
    Footstone(footstone::FootstoneCommand),
    /// See the node among others: peers, its addresses, bans
    #[command(subcommand)]
    Net(net::NetCommand),
    /// Export and import chains, and take them from other nodes
    #[command(subcommand)]
    Chain(chain::ChainCommand),
    /// Look after the database: size, soundness, copies
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Find this machine's hardware and rate it
    Bench(bench::Bench),
    /// Make, import, list and use wallets
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Show the configuration in force
    #[command(subcommand)]
    Config(plain::ConfigCommand),
    /// Print a completion script for a shell
    Completions(plain::Completions),
    /// Print the manual page, or write all of them into a folder
    Man(plain::Man),
}

/// What every command is given.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// The data folder.
    pub data: DataDir,
    /// The configuration in force, command line included.
    pub config: Config,
}

impl Context {
    fn new(global: &Global) -> Outcome<Self> {
        let data = DataDir::open(global.data.as_deref())?;
        let mut config = Config::load(&data, global.config.as_deref())?;
        if let Some(url) = &global.rpc {
            config.rpc.url = Some(url.clone());
        }
        Ok(Self { global: global.clone(), data, config })
    }
}

/// Runs the command that was typed.
pub fn dispatch(cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Completions(args) => {
            plain::completions(args);
            Ok(())
        }
        Command::Man(args) => plain::man(args),
        command => {
            let mut context = Context::new(&cli.global)?;
            match command {
                Command::Run(args) => run::run(&context, args),
                Command::Job(command) => job::run(&context, command),
                Command::Service(command) => service::run(&context, command),
                Command::Rent(command) => rent::run(&context, command),
                Command::Market(command) => market::run(&context, command),
                Command::Provide(args) => provide::run(&context, args),
                Command::Mine(args) => mine::run(&context, args),
                Command::Up(args) => node::up(&context, args),
                Command::Node(args) => node::node(&context, args),
                Command::Dashboard(args) => dashboard::run(&context, args),
                Command::Pool(args) => pool::run(&mut context, args),
                Command::Resource(command) => resource::run(&context, command),
                Command::Account(command) => account::run(&context, command),
                Command::Footstone(command) => footstone::run(&context, command),
                Command::Net(command) => net::run(&context, command),
                Command::Chain(command) => chain::run(&context, command),
                Command::Db(command) => db::run(&context, command),
                Command::Bench(args) => bench::run(&context, args),
                Command::Wallet(command) => wallet::run(&context, command),
                Command::Config(command) => {
                    plain::config(&context, command);
                    Ok(())
                }
                Command::Completions(_) | Command::Man(_) => unreachable!("answered above"),
            }
        }
    }
}

/// Which chain of the data folder.
#[derive(Args, Debug)]
struct Which {
    /// The chain: dev or main [default: that of the configuration]
    #[arg(long, value_parser = ["dev", "main"])]
    chain: Option<String>,
}

impl Which {
    fn name<'a>(&'a self, context: &'a Context) -> &'a str {
        self.chain.as_deref().unwrap_or(&context.config.chain)
    }
}
