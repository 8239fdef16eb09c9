//! The wallets of the keystore: balances, receiving, sending.
//!
//! A wallet is open for one signature: the password comes with the transfer and is forgotten. Nothing is signed without the form of the
//! preview, which holds the token of the owner's session.

use super::desk::{Desk, bad, told};
use crate::{
    failure::Failure,
    rpc::RpcClient,
    wallet::{Passwords, parse_address},
};
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256};
use axum::{
    Form,
    extract::State,
    response::{Html, IntoResponse as _, Redirect, Response},
};
use bmm_types::Amount;
use bmm_web::{
    Frame, Owner, PageError,
    format::qr,
    view::{self, WalletRow},
};
use serde::Deserialize;

/// `GET /wallet`
pub(super) async fn page(State(desk): State<Desk>, Owner(visit): Owner) -> Result<Html<String>, PageError> {
    let wallets = desk.blocking(|desk| {
        let wallets = desk.wallets().list().map_err(|failure| bad(&failure))?;
        let state = desk.site.chain.state(latest())?;
        let row = |wallet: crate::wallet::Wallet| -> Result<WalletRow, PageError> {
            let balance = state.account(wallet.address)?.map_or(U256::ZERO, |account| account.balance);
            Ok(WalletRow {
                qr: qr(&wallet.address.to_checksum(None)),
                name: wallet.name,
                address: wallet.address,
                balance,
                is_default: wallet.is_default,
                locked: !wallet.is_plain,
            })
        };
        wallets.into_iter().map(row).collect::<Result<Vec<_>, _>>()
    });
    let wallets = wallets.await?;
    let params = desk.site.chain.params();
    view::show(&view::Wallet {
        f: Frame::new(&visit, visit.texts.s("wallet.title")),
        wallets,
        chain_id: params.chain_id,
        chain: params.name.clone(),
        rpc_url: desk.site.config.rpc_url.clone(),
    })
}

fn latest() -> alloy_eips::BlockId {
    alloy_eips::BlockId::latest()
}

/// A transfer as it was typed.
#[derive(Clone, Deserialize)]
pub(super) struct Transfer {
    csrf: String,
    wallet: String,
    to: String,
    amount: String,
    /// The highest fee that the preview showed, units.
    #[serde(default)]
    fee: String,
    #[serde(default)]
    password: String,
}

/// `POST /wallet/preview`: shows what a transfer would do.
pub(super) async fn preview(
    State(desk): State<Desk>,
    owner: Owner,
    Form(form): Form<Transfer>,
) -> Result<Html<String>, PageError> {
    owner.check(&form.csrf)?;
    ask(&desk, &owner, form, String::new()).await
}

async fn ask(desk: &Desk, owner: &Owner, form: Transfer, problem: String) -> Result<Html<String>, PageError> {
    let (visit, typed) = (&owner.0, form.clone());
    let looked = desk.blocking(move |desk| look(desk, &typed));
    let looked = looked.await?;
    let page = view::Send {
        f: Frame::new(visit, visit.texts.s("wallet.confirm")),
        wallet: looked.wallet.name,
        locked: !looked.wallet.is_plain,
        from: looked.wallet.address,
        to: looked.to,
        amount: form.amount,
        value: looked.value.units(),
        fee: looked.fee,
        left: looked.left,
        warning: looked.warning,
        problem,
    };
    view::show(&page)
}

struct Looked {
    wallet: crate::wallet::Wallet,
    to: Address,
    value: Amount,
    fee: U256,
    left: Option<U256>,
    warning: &'static str,
}

/// Finds out what a transfer would cost.
fn look(desk: &Desk, form: &Transfer) -> Result<Looked, PageError> {
    let failed = |failure: Failure| PageError::Bad(told(&failure));
    let wallet = desk.wallets().find(&form.wallet).map_err(failed)?;
    let to = parse_address(form.to.trim()).map_err(failed)?;
    let value: Amount = form.amount.parse().map_err(|error| PageError::Bad(format!("{error}")))?;
    let chain = &desk.site.chain;
    let state = chain.state(latest())?;
    let receiver = state.account(to)?;
    let balance = state.account(wallet.address)?.map_or(U256::ZERO, |account| account.balance);
    let client = RpcClient::new(&desk.site.config.rpc_url).map_err(|error| PageError::Bad(error.to_string()))?;
    let fee = match client.draft(wallet.address, to, value, Bytes::new()) {
        Ok(draft) => draft.max_cost().units(),
        // What it would cost at least, so that the page can say how much is missing.
        Err(_) => U256::from(chain.next_base_fee()).saturating_mul(U256::from(21_000)),
    };
    let left = value.units().checked_add(fee).and_then(|all| balance.checked_sub(all));
    let warning = match receiver {
        Some(account) if account.code_hash != KECCAK256_EMPTY => "wallet.to_contract",
        None => "wallet.to_unknown",
        _ => "",
    };
    Ok(Looked { wallet, to, value, fee, left, warning })
}

/// `POST /wallet/send`: signs and sends what the preview showed.
pub(super) async fn send(
    State(desk): State<Desk>,
    owner: Owner,
    Form(form): Form<Transfer>,
) -> Result<Response, PageError> {
    owner.check(&form.csrf)?;
    let typed = form.clone();
    let sent = desk.blocking(move |desk| {
        let looked = look(desk, &typed)?;
        let passwords = Passwords::Given(crate::wallet::Secret::new(typed.password));
        let sent = desk.wallets().unlock_wallet(&looked.wallet, &passwords).and_then(|key| {
            let client = RpcClient::new(&desk.site.config.rpc_url)?;
            let draft = client.draft(key.address(), looked.to, looked.value, Bytes::new())?;
            // No more than what the person saw, and some room for the next block.
            let seen: U256 = typed.fee.parse().unwrap_or_default();
            if draft.max_cost().units() > seen.saturating_mul(U256::from(2)) {
                return Err(Failure::user("the fee has risen since the preview").hint("look at it again"));
            }
            Ok(client.send(&key, draft)?.transaction)
        });
        Ok(sent.map_err(|failure| told(&failure)))
    });
    match sent.await? {
        Ok(hash) => Ok(Redirect::to(&format!("/tx/{hash}")).into_response()),
        Err(problem) => Ok(ask(&desk, &owner, form, problem).await?.into_response()),
    }
}
