//! `bmm account`: a handle and the wallets bound to it.

mod args;

pub use args::AccountCommand;
use args::{Bind, Sending, Sign};

use super::{
    Context,
    wallet::{account as address_of, open_store},
};
use crate::{
    failure::{Failure, Outcome},
    jobs::now_secs,
    output,
    rpc::{self, RpcClient},
    wallet::{Passwords, is_address},
};
use alloy_primitives::{Address, B256, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolStruct};
use bmm_types::{
    Amount,
    system::{ACCOUNTS, Accounts, Binding, account_id, accounts_domain, is_handle},
};
use serde::Serialize;
use std::time::Duration;

/// How long a transaction may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a signature made here is good, in seconds.
const GOOD_FOR_SECS: u64 = 3_600;

/// What a transaction did.
#[derive(Serialize)]
struct Done {
    account: B256,
    transaction: B256,
    block: u64,
    fee_bmm: Amount,
}

#[derive(Serialize)]
struct Signed {
    account: B256,
    wallet: Address,
    nonce: u64,
    /// Unix seconds.
    deadline: u64,
    signature: Bytes,
}

#[derive(Serialize)]
struct Shown {
    account: B256,
    handle: String,
    owner: Address,
    wallets: u64,
    referrer: Option<String>,
    profile: Option<B256>,
    /// Unix seconds.
    registered_at: u64,
}

/// Answers `bmm account`.
pub fn run(context: &Context, command: &AccountCommand) -> Outcome {
    match command {
        AccountCommand::Register { handle, referrer, sending } => {
            handle_is_one("HANDLE", handle)?;
            let referrer = referrer.as_deref().map_or(Ok(B256::ZERO), |text| id_of("--referrer", text))?;
            let call = Accounts::registerCall { handle: handle.clone(), referrer };
            send(context, sending, account_id(handle), &call, format_args!("registered {handle}"))
        }
        AccountCommand::Bind(args) => bind(context, args),
        AccountCommand::Sign(args) => sign(context, args),
        AccountCommand::Unbind { wallet, sending } => {
            let wallet = address_of(&open_store(context), wallet)?;
            let account = account_of(&rpc::connect(context)?, wallet)?;
            send(context, sending, account, &Accounts::unbindCall { wallet }, format_args!("unbound {wallet}"))
        }
        AccountCommand::Owner { wallet, sending } => {
            let wallet = address_of(&open_store(context), wallet)?;
            let account = account_of(&rpc::connect(context)?, wallet)?;
            send(context, sending, account, &Accounts::setOwnerCall { wallet }, format_args!("{wallet} is the owner"))
        }
        AccountCommand::Profile { hash, sending } => {
            let account = account_of(&rpc::connect(context)?, sender(context, sending)?)?;
            let call = Accounts::setProfileCall { profile: *hash };
            send(context, sending, account, &call, format_args!("the profile is {hash}"))
        }
        AccountCommand::Show { account } => show(context, account.as_deref()),
    }
}

/// Fails where a text is no handle.
fn handle_is_one(field: &str, handle: &str) -> Outcome {
    if is_handle(handle) {
        return Ok(());
    }
    Err(Failure::user(format!("{field} {handle:?} is no handle"))
        .hint("a handle has 3 to 32 characters out of a to z, 0 to 9 and '-', neither first nor last a '-'"))
}

/// Returns the account that a handle, or an account's id, means.
fn id_of(field: &str, text: &str) -> Outcome<B256> {
    if text.starts_with("0x") {
        return text.parse().map_err(|_| {
            Failure::user(format!("{field} {text:?} is no account")).hint("give its handle, or its id of 32 bytes")
        });
    }
    handle_is_one(field, text)?;
    Ok(account_id(text))
}

/// Returns the account that a wallet is bound to.
fn account_of(node: &RpcClient, wallet: Address) -> Outcome<B256> {
    let account = node.contract(ACCOUNTS, &Accounts::accountOfCall { wallet })?;
    if account.is_zero() {
        return Err(Failure::user(format!("{wallet} is bound to no account")).hint(
            "register a handle for it with `bmm account register HANDLE`, or bind it with `bmm account bind WALLET`",
        ));
    }
    Ok(account)
}

fn sender(context: &Context, sending: &Sending) -> Outcome<Address> {
    Ok(open_store(context).choose(sending.from.as_deref())?.address)
}

/// Sends a call from the chosen wallet, waits for its block and says what was done.
fn send(
    context: &Context,
    sending: &Sending,
    account: B256,
    call: &impl SolCall,
    what: impl std::fmt::Display,
) -> Outcome {
    let store = open_store(context);
    let node = rpc::connect(context)?;
    let wallet = store.choose(sending.from.as_deref())?;
    let key = store.unlock_wallet(&wallet, &Passwords::choose(sending.password_file.as_deref()))?;
    let receipt = node.transact(&key, ACCOUNTS, Amount::ZERO, call, PATIENCE)?;
    let done = Done { account, transaction: receipt.transaction, block: receipt.block, fee_bmm: receipt.fee() };
    let text = format!(
        "{what}\naccount     {account}\ntransaction {}\nblock       {}\nfee         {}",
        done.transaction, done.block, done.fee_bmm
    );
    output::print(context.global.json, &done, text);
    Ok(())
}

/// Has a wallet say that it belongs to an account.
fn word_of(node: &RpcClient, key: &PrivateKeySigner, account: B256, deadline: u64) -> Outcome<Signed> {
    let wallet = key.address();
    let nonce = node.contract(ACCOUNTS, &Accounts::nonceOfCall { wallet })?;
    let binding = Binding { account, wallet, nonce, deadline };
    let digest = binding.eip712_signing_hash(&accounts_domain(node.chain_id()?));
    let signature = key.sign_hash_sync(&digest).map_err(Failure::internal)?.as_bytes().to_vec().into();
    Ok(Signed { account, wallet, nonce, deadline, signature })
}

fn bind(context: &Context, args: &Bind) -> Outcome {
    let store = open_store(context);
    let node = rpc::connect(context)?;
    let account = account_of(&node, sender(context, &args.sending)?)?;
    let (wallet, deadline, signature) = if let (Some(signature), Some(deadline)) = (&args.signature, args.deadline) {
        (address_of(&store, &args.wallet)?, deadline, signature.clone())
    } else {
        let password = args.wallet_password_file.as_deref().or(args.sending.password_file.as_deref());
        let key = store.unlock(&args.wallet, &Passwords::choose(password))?;
        let signed = word_of(&node, &key, account, now_secs().saturating_add(GOOD_FOR_SECS))?;
        (signed.wallet, signed.deadline, signed.signature)
    };
    let call = Accounts::bindCall { wallet, deadline, signature };
    send(context, &args.sending, account, &call, format_args!("bound {wallet}"))
}

fn sign(context: &Context, args: &Sign) -> Outcome {
    let account = id_of("ACCOUNT", &args.account)?;
    let store = open_store(context);
    let node = rpc::connect(context)?;
    let wallet = store.choose(args.wallet.as_deref())?;
    let key = store.unlock_wallet(&wallet, &Passwords::choose(args.password_file.as_deref()))?;
    let signed = word_of(&node, &key, account, now_secs().saturating_add(args.good_for))?;
    let text = format!(
        "account     {account}\nwallet      {}\nsignature   {}\n\nThe owner of the account runs, within {} seconds:\n  \
         bmm account bind {} --deadline {} --signature {}",
        signed.wallet, signed.signature, args.good_for, signed.wallet, signed.deadline, signed.signature
    );
    output::print(context.global.json, &signed, text);
    Ok(())
}

fn show(context: &Context, text: Option<&str>) -> Outcome {
    let node = rpc::connect(context)?;
    let store = open_store(context);
    let account = match text {
        // Handles and names of wallets look alike; a handle comes first.
        Some(text) if is_address(text) => account_of(&node, address_of(&store, text)?)?,
        Some(text) => id_of("ACCOUNT", text)?,
        None => account_of(&node, store.default_wallet()?.address)?,
    };
    let info = node.contract(ACCOUNTS, &Accounts::infoOfCall { account })?;
    if info.owner.is_zero() {
        let name = text.unwrap_or_default();
        return Err(Failure::user(format!("there is no account {name:?}"))
            .hint(format!("register it with `bmm account register {name}`")));
    }
    let referrer = match info.referrer {
        B256::ZERO => None,
        account => Some(node.contract(ACCOUNTS, &Accounts::infoOfCall { account })?.handle),
    };
    let shown = Shown {
        account,
        handle: info.handle,
        owner: info.owner,
        wallets: info.wallets,
        referrer,
        profile: (!info.profile.is_zero()).then_some(info.profile),
        registered_at: info.registeredAt,
    };
    let no_such = || "none".to_owned();
    let text = format!(
        "handle      {}\naccount     {account}\nowner       {}\nwallets     {}\nreferrer    {}\nprofile     {}\nregistered  {} \
         (Unix seconds)",
        shown.handle,
        shown.owner,
        shown.wallets,
        shown.referrer.clone().unwrap_or_else(no_such),
        shown.profile.map_or_else(no_such, |profile| profile.to_string()),
        shown.registered_at
    );
    output::print(context.global.json, &shown, text);
    Ok(())
}
