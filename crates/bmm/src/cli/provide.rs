//! `bmm provide`: earn with this machine.

use super::{Context, interrupts};
use crate::{
    config::Reach,
    failure::Outcome,
    provide::{self, ProvideOptions},
};
use bmm_types::Amount;
use bmm_vm::container::EngineAddress;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What is said to a provider that may be running.
#[derive(Clone, Copy, Debug, Subcommand)]
enum ProvideCommand {
    /// Take no more work: what is not started goes back, what runs is finished and paid
    Pause,
    /// Take work again
    Resume,
    /// Show whether a provider runs in this data folder, and what was earned
    Status,
}

/// `bmm provide`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  bmm provide                                      every core, at the price of the configuration
  bmm provide --slots 2 --price '0.002 BMM'
  bmm provide --engine unix:///run/podman/podman.sock
  bmm provide --bootstrap /ip4/192.0.2.7/tcp/20190/p2p/12D3KooW…
  bmm provide status                               what runs, and what it has earned
  bmm provide pause                                take no work, until `bmm provide resume`

The network is that of [network] in the configuration; what is typed goes before it. Behind a router that lets nobody in, a
provider is reached through a relay, which any node with a public address is.

Programs run in a sandbox: no file of yours, no network, and no more memory or time than you allow.
A provider works for jobs whose budget is locked on chain, keeps every voucher on disk before it goes on, and claims what
nobody has paid: also after a crash, when it is started again.")]
pub struct ProvideArgs {
    #[command(subcommand)]
    command: Option<ProvideCommand>,
    /// Show whether a provider runs in this data folder, and what was earned
    #[arg(long)]
    status: bool,
    /// Wallet that signs and is paid [default: a key of the data folder's own]
    #[arg(long, value_name = "WALLET")]
    wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE", requires = "wallet")]
    password_file: Option<PathBuf>,
    /// Tasks at once [default: provide.providers of the configuration, or as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: Option<u16>,
    /// Price of 10^9 units of fuel [default: provide.price_per_gfuel of the configuration]
    #[arg(long, value_name = "AMOUNT")]
    price: Option<Amount>,
    /// Run containers too, by the container engine (Docker, Podman) at this socket [default: provide.engine of the configuration]
    #[arg(long, value_name = "SOCKET")]
    engine: Option<EngineAddress>,
    /// Where to listen for others (repeat for more) [default: network.listen of the configuration where no node has that port, else any free one]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// An address at which others reach this provider, where a router leads to it (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    external: Vec<String>,
    /// A node of the network to begin with (repeat for more) [default: network.bootstrap of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Do not look for nodes of the same local network
    #[arg(long)]
    no_mdns: bool,
}

/// Answers `bmm provide`.
pub fn run(context: &Context, args: &ProvideArgs) -> Outcome {
    match args.command {
        Some(ProvideCommand::Pause) => return provide::set_paused(context, true),
        Some(ProvideCommand::Resume) => return provide::set_paused(context, false),
        Some(ProvideCommand::Status) => return provide::status(context),
        None if args.status => return provide::status(context),
        None => {}
    }
    let options = ProvideOptions {
        wallet: args.wallet.clone(),
        password_file: args.password_file.clone(),
        slots: args.slots,
        price: args.price,
        engine: args.engine.clone(),
        listen: args.listen.clone(),
        external: args.external.clone(),
        bootstrap: args.bootstrap.clone(),
        mdns: !args.no_mdns,
        reach: args.reach,
    };
    provide::run(context, &options, &interrupts()?)
}
