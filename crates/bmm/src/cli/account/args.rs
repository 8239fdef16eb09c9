//! What can be typed after `bmm account`.

use alloy_primitives::{B256, Bytes};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `bmm account …`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Register a handle; the wallet that sends this is its owner
    #[command(after_help = "Examples:
  bmm account register alice
  bmm account register bob --referrer alice --from savings --json

The referrer is fixed for ever; its owner gets a part of what this account's wallets earn as contributors.

--json prints account, transaction, block, fee_bmm.")]
    Register {
        /// The handle: 3 to 32 characters out of a to z, 0 to 9 and '-'
        handle: String,
        /// Handle of the account that referred this one
        #[arg(long, value_name = "HANDLE")]
        referrer: Option<String>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Bind a wallet to the account of the wallet that sends this, its owner
    Bind(Bind),
    /// Sign that a wallet belongs to an account, for an owner elsewhere who binds it
    Sign(Sign),
    /// Unbind a wallet: by the owner, or the wallet itself
    #[command(after_help = "Examples:
  bmm account unbind worker
  bmm account unbind worker --from worker

--json prints account, transaction, block, fee_bmm.")]
    Unbind {
        /// Name or address of the wallet
        wallet: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Make another wallet of the account its owner
    #[command(after_help = "Example:
  bmm account owner savings --from worker

--json prints account, transaction, block, fee_bmm.")]
    Owner {
        /// Name or address of the wallet
        wallet: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Name the content hash of the account's public profile
    #[command(after_help = "Example:
  bmm account profile 0x5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9

--json prints account, transaction, block, fee_bmm.")]
    Profile {
        /// The hash, 32 bytes
        hash: B256,
        #[command(flatten)]
        sending: Sending,
    },
    /// Show an account
    #[command(after_help = "Examples:
  bmm account show alice
  bmm account show 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
  bmm account show --json

--json prints account, handle, owner, wallets, referrer, profile, registered_at.")]
    Show {
        /// A handle, an account's id, or the address of a wallet bound to it [default: the default wallet's]
        #[arg(value_name = "HANDLE|ACCOUNT|ADDRESS")]
        account: Option<String>,
    },
}

/// Who sends a transaction.
#[derive(Debug, Args)]
pub struct Sending {
    /// Wallet that sends it, by name or address [default: the default wallet]
    #[arg(long, value_name = "WALLET")]
    pub from: Option<String>,
    /// File whose first line is its password (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `bmm account bind`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm account bind worker                              a wallet of this data folder, which signs here
  bmm account bind 0x7099…79C8 --deadline 1900000000 --signature 0x…

A wallet elsewhere signs with `bmm account sign`.

--json prints account, transaction, block, fee_bmm.")]
pub struct Bind {
    /// Name or address of the wallet
    pub wallet: String,
    /// The wallet's signature, made elsewhere
    #[arg(long, value_name = "HEX", requires = "deadline")]
    pub signature: Option<Bytes>,
    /// Until when that signature is good, in Unix seconds
    #[arg(long, value_name = "UNIX_SECONDS", requires = "signature")]
    pub deadline: Option<u64>,
    /// File whose first line is the password of the wallet to bind [default: that of the sender]
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    pub wallet_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub sending: Sending,
}

/// `bmm account sign`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  bmm account sign alice --wallet worker

--json prints account, wallet, nonce, deadline, signature.")]
pub struct Sign {
    /// Handle or id of the account
    pub account: String,
    /// Wallet that signs, by name or address [default: the default wallet]
    #[arg(long, value_name = "WALLET")]
    pub wallet: Option<String>,
    /// How long the signature is good, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub good_for: u64,
    /// File whose first line is the wallet's password (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
