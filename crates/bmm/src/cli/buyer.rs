//! Options of commands that buy from providers of the network, and the file that says what.

use super::Context;
use crate::{
    config::Reach,
    failure::{IoContext, Outcome},
    jobs::NetChoice,
};
use clap::Args;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Longest file that describes what is bought, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where providers are looked for, and who pays.
#[derive(Debug, Args)]
pub struct Buyer {
    /// Look for providers on this local network too
    #[arg(long)]
    network: bool,
    /// A node of the network to begin with (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Wallet that pays [default: the dev chain's own, or the default wallet]
    #[arg(long, value_name = "WALLET")]
    pub wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl Buyer {
    /// Returns how the network is found.
    pub fn network(&self, context: &Context) -> Outcome<NetChoice> {
        NetChoice::new(&context.config.network, &self.bootstrap, self.network, self.reach)
    }
}

/// Which of those that are bought already.
#[derive(Debug, Args)]
pub struct Which {
    /// Its id, or the first digits
    #[arg(value_name = "ID")]
    pub id: String,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Reads the file that describes what is bought.
pub fn read_file(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let file = File::open(path).doing("open", path)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).doing("read", path)?;
    Ok(text)
}
