//! `bmm pool`: run a mining pool, and see what it does.

use super::{Context, interrupts};
use crate::{
    failure::Outcome,
    pool::{self, PaymentsQuery, PoolOptions},
};
use alloy_primitives::Address;
use bmm_types::Amount;
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// `bmm pool`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  bmm up                                             in another terminal: a node that hands out blocks
  bmm pool --wallet dev                              miners connect to stratum+tcp://HOST:3333, user name: their 0x address
  bmm pool --listen 0.0.0.0:3333 --solo-listen 0.0.0.0:3335 --fee 50
  bmm pool --database postgres://pool@localhost/pool
  bmm pool status                                    hash rate, blocks and luck of the pool that runs here
  bmm pool payments                                  what was paid, and what is owed
  bmm pool check 12 0x…                              work out what block 12 is to pay that account, from the published shares

All settings stand under [pool] of the configuration; `bmm config show` prints them. docs/mining.md tells how pay is worked out.")]
pub struct PoolArgs {
    #[command(subcommand)]
    command: Option<PoolCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Where miners connect by Stratum (repeat for more) [default: pool.listen of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Where miners connect that want the whole of the blocks they find (repeat for more) [default: pool.solo_listen]
    #[arg(long, value_name = "ADDRESS")]
    solo_listen: Vec<SocketAddr>,
    /// Where the JSON API and the metrics are served (repeat for more) [default: pool.api_listen]
    #[arg(long, value_name = "ADDRESS")]
    api: Vec<SocketAddr>,
    /// Wallet that blocks pay and miners are paid from [default: pool.wallet, or the default wallet]
    #[arg(long, value_name = "WALLET")]
    wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The books: postgres://USER@HOST/NAME or sqlite://FILE [default: pool.database, or a file in the data folder]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The pool's fee in hundredths of a percent [default: pool.fee_basis_points]
    #[arg(long, value_name = "BASIS_POINTS", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    fee: Option<u16>,
    /// Least balance that is paid [default: pool.min_payment]
    #[arg(long, value_name = "AMOUNT")]
    min_payment: Option<Amount>,
}

/// What is to be seen.
#[derive(Debug, Subcommand)]
enum PoolCommand {
    /// See hash rate, chains, blocks and luck
    Status {
        /// The pool's API [default: that of the pool which runs in this data folder]
        #[arg(long, value_name = "URL")]
        pool: Option<String>,
    },
    /// See who mines, and how fast
    Workers {
        /// The pool's API [default: that of the pool which runs in this data folder]
        #[arg(long, value_name = "URL")]
        pool: Option<String>,
        /// Only this account's
        #[arg(long, value_name = "ADDRESS")]
        account: Option<Address>,
    },
    /// See what was paid and what is owed, from this data folder's books
    #[command(after_help = "Examples:
  bmm pool payments
  bmm pool payments --account 0x… --json
  bmm pool payments --give-back 7       payment 7 can never happen: its money goes back to the balances

An account is held when paying it failed; --release lets it be paid again.")]
    Payments {
        /// Only this account's
        #[arg(long, value_name = "ADDRESS")]
        account: Option<Address>,
        /// How many rows
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Give the money of an open payment back, after its nonce was used for something else
        #[arg(long, value_name = "ID")]
        give_back: Option<u64>,
        /// Pay an account again that is held
        #[arg(long, value_name = "ADDRESS")]
        release: Option<Address>,
    },
    /// Work out an account's pay for a block from the shares that the pool publishes, and compare
    #[command(after_help = "Examples:
  bmm pool check 12 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed
  bmm pool check 12 0x… --pool http://pool.example.org:8550

It reads the shares of the block's window, checks that the root which was published with the block follows from them, adds up
their weights, and fails if the account's pay is not what the rule says.")]
    Check {
        /// Number of the block, as the pool lists it
        block: u64,
        /// The account
        account: Address,
        /// The pool's API [default: that of the pool which runs in this data folder]
        #[arg(long, value_name = "URL")]
        pool: Option<String>,
    },
}

/// Answers `bmm pool`.
pub fn run(context: &mut Context, args: &PoolArgs) -> Outcome {
    match &args.command {
        Some(PoolCommand::Status { pool }) => pool::status(context, pool.as_deref()),
        Some(PoolCommand::Workers { pool, account }) => pool::workers(context, pool.as_deref(), *account),
        Some(PoolCommand::Payments { account, limit, give_back, release }) => {
            let query = PaymentsQuery { account: *account, limit: *limit, give_back: *give_back, release: *release };
            pool::payments(context, &query)
        }
        Some(PoolCommand::Check { block, account, pool }) => pool::check(context, pool.as_deref(), *block, *account),
        None => {
            let typed = &args.run;
            let config = &mut context.config.pool;
            for (typed, configured) in [
                (&typed.listen, &mut config.listen),
                (&typed.solo_listen, &mut config.solo_listen),
                (&typed.api, &mut config.api_listen),
            ] {
                if !typed.is_empty() {
                    configured.clone_from(typed);
                }
            }
            config.wallet = typed.wallet.clone().or(config.wallet.take());
            config.database = typed.database.clone().or(config.database.take());
            config.fee_basis_points = typed.fee.unwrap_or(config.fee_basis_points);
            config.min_payment = typed.min_payment.unwrap_or(config.min_payment);
            let options = PoolOptions { password_file: typed.password_file.clone() };
            pool::run(context, &options, &interrupts()?)
        }
    }
}
