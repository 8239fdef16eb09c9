//! `bmm chain …`: chains as a whole: into a file, out of a file, from another node.

mod export;
mod import;
mod sync;

pub(super) use sync::checkpoint;

use super::{Context, Which};
use crate::failure::{Failure, IoContext, Outcome};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `bmm chain …`
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Write the chain's blocks into a file
    Export(export::Export),
    /// Check and take the blocks of files
    Import(import::Import),
    /// Take the chain from another node
    Sync(sync::Sync),
}

/// Where a private chain begins.
#[derive(Args, Debug)]
pub(super) struct Begin {
    /// Begin the dev chain of this data folder with these parameters: chains/dev/genesis.toml of the folder it comes from
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

impl Begin {
    /// Puts the parameters into the data folder, if it has none yet.
    pub(super) fn apply(&self, context: &Context, chain: &str) -> Outcome {
        let Some(file) = &self.genesis else { return Ok(()) };
        if chain != "dev" {
            return Err(Failure::user(format!("--genesis is for the chain dev; the parameters of {chain} are known")));
        }
        let offered = std::fs::read_to_string(file).doing("read", file)?;
        toml::from_str::<bmm_types::ChainParams>(&offered)
            .map_err(|error| Failure::user(format!("{}: {error}", file.display())))?;
        let place = context.data.chain("dev").join("genesis.toml");
        match std::fs::read_to_string(&place) {
            Ok(there) if there == offered => Ok(()),
            Ok(_) => {
                Err(Failure::user(format!("{} exists already and differs from {}", place.display(), file.display()))
                    .hint("this data folder has a chain of its own; choose another folder with --data"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                context.data.create(&context.data.chain("dev"))?;
                crate::paths::write_atomically(&place, offered.as_bytes())
            }
            Err(error) => Err(error).doing("read", &place),
        }
    }
}

/// Answers `bmm chain`.
pub fn run(context: &Context, command: &ChainCommand) -> Outcome {
    match command {
        ChainCommand::Export(args) => export::run(context, args),
        ChainCommand::Import(args) => import::run(context, args),
        ChainCommand::Sync(args) => sync::run(context, args),
    }
}

/// Turns gas into millions of it.
#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn mgas(gas: u64) -> f64 {
    gas as f64 / 1e6
}
