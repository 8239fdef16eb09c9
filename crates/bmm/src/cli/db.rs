//! `bmm db …`: the database of a chain: what it holds, whether it is sound, a copy, a smaller file.

mod backup;
mod stats;
mod verify;

use super::{Context, Which};
use crate::{
    failure::{Failure, Outcome},
    node::{chain_failure, chain_params},
    output,
};
use bmm_chain::ChainError;
use bmm_ledger::store::Store;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde::Serialize;

/// `bmm db …`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Show what the database holds and how large it is
    Stats(stats::Stats),
    /// Hash everything again, and name the first thing that is damaged
    Verify(verify::Verify),
    /// Make the database file as small as it goes
    Compact(Compact),
    /// Copy the database, also while a node runs on it
    Backup(backup::Backup),
}

/// `bmm db compact`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  bmm db compact

The node must be stopped. A backup is as small: it is written anew, table by table.")]
pub struct Compact {
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Compacted {
    before_bytes: u64,
    after_bytes: u64,
}

/// Answers `bmm db`.
pub fn run(context: &Context, command: &DbCommand) -> Outcome {
    match command {
        DbCommand::Stats(args) => stats::run(context, args),
        DbCommand::Verify(args) => verify::run(context, args),
        DbCommand::Compact(args) => compact(context, args),
        DbCommand::Backup(args) => backup::run(context, args),
    }
}

/// Fails if the chain called `name` has no database here, so that nothing is made by looking.
fn must_exist(context: &Context, name: &str) -> Outcome {
    if context.data.chain_db(name).exists() {
        return Ok(());
    }
    Err(Failure::user(format!("the data folder {} has no database of the chain {name}", context.data.root().display()))
        .hint("choose another folder with --data, or another chain with --chain"))
}

/// Opens the store of a chain, without the chain around it.
fn open_store(context: &Context, name: &str) -> Outcome<Store> {
    must_exist(context, name)?;
    let params = chain_params(&context.data, name)?;
    Store::open(&context.data.chain_db(name), params.digest())
        .map_err(|error| chain_failure(&context.data, name, &ChainError::Store(error)))
}

fn compact(context: &Context, args: &Compact) -> Outcome {
    let name = args.which.name(context);
    // Holds that it is the database of this chain; the journal stays as it is.
    drop(open_store(context, name)?);
    let (before_bytes, after_bytes) = Store::compact(&context.data.chain_db(name))
        .map_err(|error| chain_failure(&context.data, name, &ChainError::Store(error)))?;
    let told = format!("{} before, {} after", HumanBytes(before_bytes), HumanBytes(after_bytes));
    output::print(context.global.json, &Compacted { before_bytes, after_bytes }, told);
    Ok(())
}
