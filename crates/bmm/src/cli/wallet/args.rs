//! What can be typed after `bmm wallet`.

use clap::{Args, Subcommand, builder::PossibleValuesParser, builder::TypedValueParser};
use std::path::PathBuf;

/// `bmm wallet …`
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a wallet with a phrase to write down
    New(New),
    /// Bring in a wallet from its phrase, its private key or a keystore file
    Import(Import),
    /// List the wallets of the data folder
    #[command(after_help = "Examples:
  bmm wallet list
  bmm wallet list --json

--json prints {\"wallets\": [{name, address, file, default, password}]}.")]
    List,
    /// Show a wallet: address, file, and balance if a node answers
    #[command(after_help = "Examples:
  bmm wallet show
  bmm wallet show savings --json

--json prints name, address, file, default, password, balance_bmm (null if no node answers).")]
    Show {
        /// Name or address of a wallet [default: the default wallet]
        name: Option<String>,
    },
    /// Choose the wallet that commands take when none is named
    #[command(after_help = "Example:\n  bmm wallet default savings")]
    Default {
        /// Name of the wallet
        name: String,
    },
    /// Print the balance of a wallet or of any address
    #[command(after_help = "Examples:
  bmm wallet balance
  bmm wallet balance savings
  bmm wallet balance 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 --rpc http://127.0.0.1:8545

--json prints address, balance_bmm.")]
    Balance {
        /// Name of a wallet, or an address [default: the default wallet]
        #[arg(value_name = "NAME|ADDRESS")]
        account: Option<String>,
    },
    /// Send BMM
    Send(Send),
}

/// `bmm wallet new`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm wallet new savings
  bmm wallet new savings --words 24 --default
  bmm wallet new worker --password-file /run/secrets/worker --json

The password comes from --password-file, else from the environment variable BMM_PASSWORD, else from a prompt.
The phrase is shown once. The file is an Ethereum keystore (version 3) that geth, ethers and cast read too.

--json prints name, address, file, default, password, derivation, phrase.")]
pub struct New {
    /// Name of the wallet: lower-case letters, digits and dashes, at most 32
    pub name: String,
    /// Words of the phrase
    #[arg(long, default_value = "12", value_parser = PossibleValuesParser::new(["12", "24"]).map(|n| n.parse::<usize>().expect("a listed number")))]
    pub words: usize,
    /// Make it the wallet that commands take when none is named
    #[arg(long)]
    pub default: bool,
    /// File whose first line is the password (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `bmm wallet import`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm wallet import savings                            asks for the phrase or the private key
  bmm wallet import savings --phrase-file phrase.txt
  bmm wallet import second --phrase-file phrase.txt --index 1
  bmm wallet import old --keystore UTC--2026-01-01T00-00-00Z--f39f…

Secrets are never given on the command line, where other users could read them. Without a file they come from the
environment variables BMM_PHRASE or BMM_PRIVATE_KEY, else from a prompt. A phrase's key is the one at
m/44'/60'/0'/0/INDEX, as in other Ethereum wallets. A keystore file keeps its password.

--json prints name, address, file, default, password.")]
pub struct Import {
    /// Name of the wallet: lower-case letters, digits and dashes, at most 32
    pub name: String,
    /// File with the phrase (- is standard input)
    #[arg(long, value_name = "FILE", group = "source")]
    pub phrase_file: Option<PathBuf>,
    /// File with the private key in hexadecimal (- is standard input)
    #[arg(long, value_name = "FILE", group = "source")]
    pub key_file: Option<PathBuf>,
    /// Keystore file of another program (version 3)
    #[arg(long, value_name = "FILE", group = "source")]
    pub keystore: Option<PathBuf>,
    /// Which of the phrase's accounts
    #[arg(long, default_value_t = 0, conflicts_with_all = ["key_file", "keystore"])]
    pub index: u32,
    /// Make it the wallet that commands take when none is named
    #[arg(long)]
    pub default: bool,
    /// File whose first line is the password (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `bmm wallet send`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm wallet send savings 5
  bmm wallet send --from dev 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 \"0.25 BMM\" --wait
  BMM_PASSWORD=… bmm wallet send --from savings worker 1 --yes --json

At a terminal the transfer is shown and confirmed before it is sent; --yes skips that.

--json prints transaction, from, to, amount_bmm, max_fee_bmm, nonce, chain_id, status (\"sent\"), and after --wait
status (\"confirmed\"), block, fee_bmm.")]
pub struct Send {
    /// Receiver: an address or the name of a wallet
    pub to: String,
    /// Amount, such as 5 or \"0.25 BMM\"
    pub amount: bmm_types::Amount,
    /// Wallet to send from, by name or address [default: the default wallet]
    #[arg(long, value_name = "WALLET")]
    pub from: Option<String>,
    /// Wait until the transaction is in a block
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "wait")]
    pub timeout: u64,
    /// Send without asking
    #[arg(long)]
    pub yes: bool,
    /// File whose first line is the password (- is standard input)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
