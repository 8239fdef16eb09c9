//! `bmm wallet`: make, bring in, list and use wallets.

mod args;
mod send;

pub use args::WalletCommand;
use args::{Import, New};

use super::Context;
use crate::{
    failure::{Failure, Outcome},
    output, rpc,
    wallet::{self, Passwords, Phrase, Secret, Wallet, WalletStore},
};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use bmm_types::Amount;
use serde::Serialize;
use std::path::PathBuf;

/// A wallet as commands print it.
#[derive(Serialize)]
struct WalletView {
    name: String,
    /// With the checksum of EIP-55.
    address: String,
    file: PathBuf,
    default: bool,
    /// Whether opening it takes a password.
    password: bool,
}

#[derive(Serialize)]
struct NewView<'a> {
    #[serde(flatten)]
    wallet: WalletView,
    derivation: String,
    phrase: &'a str,
}

#[derive(Serialize)]
struct ListView {
    wallets: Vec<WalletView>,
}

#[derive(Serialize)]
struct ShowView {
    #[serde(flatten)]
    wallet: WalletView,
    /// Absent if no node answers.
    balance_bmm: Option<Amount>,
}

#[derive(Serialize)]
struct BalanceView {
    address: String,
    balance_bmm: Amount,
}

impl From<Wallet> for WalletView {
    fn from(wallet: Wallet) -> Self {
        Self {
            name: wallet.name,
            address: wallet.address.to_checksum(None),
            file: wallet.file,
            default: wallet.is_default,
            password: !wallet.is_plain,
        }
    }
}

impl WalletView {
    fn text(&self) -> String {
        let default = if self.default { "yes" } else { "no" };
        format!(
            "name      {}\naddress   {}\nfile      {}\ndefault   {default}",
            self.name,
            self.address,
            self.file.display()
        )
    }
}

/// Answers `bmm wallet`.
pub fn run(context: &Context, command: &WalletCommand) -> Outcome {
    let store = open_store(context);
    match command {
        WalletCommand::New(args) => new(context, &store, args),
        WalletCommand::Import(args) => import(context, &store, args),
        WalletCommand::List => list(context, &store),
        WalletCommand::Show { name } => show(context, &store, name.as_deref()),
        WalletCommand::Default { name } => set_default(context, &store, name),
        WalletCommand::Balance { account } => balance(context, &store, account.as_deref()),
        WalletCommand::Send(args) => send::run(context, &store, args),
    }
}

/// Opens the wallets of the data folder; on the dev chain that chain's own wallet is among them.
pub fn open_store(context: &Context) -> WalletStore {
    let store = WalletStore::new(context.data.wallets());
    if context.config.chain == "dev" { store.with_dev_key(context.data.dev_key()) } else { store }
}

/// Finds the account that a text means: an address, or the name of a wallet.
pub fn account(store: &WalletStore, text: &str) -> Outcome<Address> {
    if wallet::is_address(text) { wallet::parse_address(text) } else { Ok(store.find(text)?.address) }
}

fn new(context: &Context, store: &WalletStore, args: &New) -> Outcome {
    store.check_free(&args.name)?;
    let password = Passwords::choose(args.password_file.as_deref()).new_for(&format!("wallet {}", args.name))?;
    let phrase = Phrase::random(args.words)?;
    let wallet = store_key(store, &args.name, &phrase.key(0)?, &password, args.default)?;
    let view = NewView { wallet: wallet.into(), derivation: wallet::derivation_path(0), phrase: phrase.words() };
    let text = format!(
        "{}\n\nphrase    {}\n\nWrite the phrase down on paper, now: it is not shown again. Whoever has it has the wallet's coins, and\n\
         without it nobody can restore the wallet when its file or its password is lost.",
        view.wallet.text(),
        view.phrase
    );
    output::print(context.global.json, &view, text);
    Ok(())
}

fn import(context: &Context, store: &WalletStore, args: &Import) -> Outcome {
    store.check_free(&args.name)?;
    let passwords = Passwords::choose(args.password_file.as_deref());
    let (key, password) = if let Some(file) = &args.keystore {
        let password = passwords.existing(&file.display().to_string())?;
        (wallet::open_keystore_file(file, &password)?, password)
    } else {
        let key = read_key(args)?;
        (key, passwords.new_for(&format!("wallet {}", args.name))?)
    };
    let known = store.list()?.into_iter().find(|wallet| wallet.address == key.address());
    if let Some(known) = known {
        return Err(Failure::user(format!("wallet {} holds this key already", known.name))
            .hint(format!("use it: bmm wallet show {}", known.name)));
    }
    let view = WalletView::from(store_key(store, &args.name, &key, &password, args.default)?);
    output::print(context.global.json, &view, view.text());
    Ok(())
}

/// Reads the phrase or the private key to import from a file, the environment or the terminal.
fn read_key(args: &Import) -> Outcome<PrivateKeySigner> {
    if let Some(file) = &args.phrase_file {
        return Phrase::parse(&wallet::read_secret_file(file)?)?.key(args.index);
    }
    if let Some(file) = &args.key_file {
        return wallet::parse_private_key(&wallet::read_secret_file(file)?);
    }
    if let Some(phrase) = wallet::read_variable("BMM_PHRASE") {
        return Phrase::parse(&phrase)?.key(args.index);
    }
    let text = match wallet::read_variable("BMM_PRIVATE_KEY") {
        Some(key) => key,
        None => ask_key()?,
    };
    // Only phrases have spaces.
    if text.trim().contains(char::is_whitespace) {
        return Phrase::parse(&text)?.key(args.index);
    }
    if args.index != 0 {
        return Err(Failure::user("--index belongs to a phrase, and this is a private key").hint("leave --index out"));
    }
    wallet::parse_private_key(&text)
}

fn ask_key() -> Outcome<Secret> {
    let options = [
        "give it with --phrase-file FILE, --key-file FILE or --keystore FILE (- is standard input)".to_owned(),
        "or in the environment variable BMM_PHRASE or BMM_PRIVATE_KEY".to_owned(),
    ];
    wallet::ask("Phrase or private key (not shown): ", "a phrase or a private key", &options)
}

fn store_key(
    store: &WalletStore,
    name: &str,
    key: &PrivateKeySigner,
    password: &Secret,
    default: bool,
) -> Outcome<Wallet> {
    let mut wallet = store.create(name, key, password)?;
    if default {
        store.set_default(name)?;
        wallet.is_default = true;
    }
    Ok(wallet)
}

fn list(context: &Context, store: &WalletStore) -> Outcome {
    let view = ListView { wallets: store.list()?.into_iter().map(WalletView::from).collect() };
    let width = view.wallets.iter().map(|wallet| wallet.name.len()).max().unwrap_or_default();
    let lines = view.wallets.iter().map(|wallet| {
        let default = if wallet.default { "  (default)" } else { "" };
        format!("{:width$}  {}{default}", wallet.name, wallet.address)
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if view.wallets.is_empty() {
        text.push_str("no wallets yet; `bmm wallet new NAME` makes one");
    }
    output::print(context.global.json, &view, text);
    Ok(())
}

fn show(context: &Context, store: &WalletStore, name: Option<&str>) -> Outcome {
    let wallet = store.choose(name)?;
    // A wallet can be shown without a node.
    let balance_bmm = rpc::connect(context).ok().and_then(|node| node.balance(wallet.address).ok());
    let view = ShowView { wallet: wallet.into(), balance_bmm };
    let balance =
        view.balance_bmm.map_or_else(|| "unknown (no node answers)".to_owned(), |balance| balance.to_string());
    output::print(context.global.json, &view, format!("{}\nbalance   {balance}", view.wallet.text()));
    Ok(())
}

fn set_default(context: &Context, store: &WalletStore, name: &str) -> Outcome {
    store.set_default(name)?;
    let view = WalletView::from(store.find(name)?);
    output::print(context.global.json, &view, view.text());
    Ok(())
}

fn balance(context: &Context, store: &WalletStore, text: Option<&str>) -> Outcome {
    let address = match text {
        Some(text) => account(store, text)?,
        None => store.default_wallet()?.address,
    };
    let balance_bmm = rpc::connect(context)?.balance(address)?;
    let view = BalanceView { address: address.to_checksum(None), balance_bmm };
    output::print(context.global.json, &view, balance_bmm);
    Ok(())
}
