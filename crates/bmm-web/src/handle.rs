//! An account by its handle: its owner, the wallets bound to it, and what happened to it.

use crate::{
    Frame, PageError, Site, Visit,
    footstones::{Told, words},
    tokens::{ask, plain},
};
use alloy_primitives::{Address, B256, U256};
use askama::Template;
use axum::{
    Json,
    extract::{Path, State},
    response::Html,
};
use bmm_types::system::{self, Accounts, account_id};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// Events that are listed, and of which the wallets follow.
const EVENTS: u32 = 100;
/// Pages of events that are looked through for wallets.
const PAGES: usize = 10;

/// An account as its contract tells of it.
struct Account {
    id: B256,
    handle: String,
    owner: Address,
    referrer: Option<String>,
    profile: Option<B256>,
    registered: u64,
    /// How many wallets the contract counts.
    count: u64,
    /// Those that are known by its events.
    wallets: Vec<(Address, U256)>,
    told: Vec<Told>,
}

#[derive(Template)]
#[template(path = "handle.html")]
struct Page<'a> {
    f: Frame<'a>,
    account: Account,
}

/// Reads an account.
async fn read(site: &Site, handle: &str) -> Result<Account, PageError> {
    let handle = handle.trim_start_matches('@').to_ascii_lowercase();
    if !system::is_handle(&handle) {
        return Err(PageError::Missing("account"));
    }
    let id = account_id(&handle);
    let info = ask(site, system::ACCOUNTS, &Accounts::infoOfCall { account: id });
    let info = info.filter(|info| !info.owner.is_zero()).ok_or(PageError::Missing("account"))?;
    let name = |account| ask(site, system::ACCOUNTS, &Accounts::infoOfCall { account });
    let referrer = Some(info.referrer).filter(|referrer| !referrer.is_zero()).and_then(name);
    let (wallets, told) = history(site, id, info.owner).await?;
    Ok(Account {
        id,
        handle,
        owner: info.owner,
        referrer: referrer.map(|referrer| plain(&referrer.handle)),
        profile: Some(info.profile).filter(|profile| !profile.is_zero()),
        registered: info.registeredAt,
        count: info.wallets,
        wallets,
        told,
    })
}

/// Finds the wallets of an account by its events, each confirmed by the contract; and tells the latest events.
async fn history(site: &Site, account: B256, owner: Address) -> Result<(Vec<(Address, U256)>, Vec<Told>), PageError> {
    let (mut named, mut latest, mut before) = (BTreeSet::from([owner]), Vec::new(), (u64::MAX, u64::MAX));
    for page in 0..PAGES {
        let entries = site.index.events_about((system::ACCOUNTS, account), before, EVENTS).await?;
        let told = words(site, system::ACCOUNTS, &entries)?;
        let fields = told.iter().flat_map(|told| &told.what.fields);
        let wallets = fields.filter(|(name, _)| name == "wallet" || name == "owner");
        named.extend(wallets.filter_map(|(_, wallet)| wallet.parse::<Address>().ok()));
        if page == 0 {
            latest = told;
        }
        match entries.last() {
            Some(last) if entries.len() >= usize::try_from(EVENTS).unwrap_or(0) => before = (last.block, last.log),
            _ => break,
        }
    }
    let state = site.chain.state(alloy_eips::BlockId::latest())?;
    let mut wallets = Vec::new();
    for wallet in named {
        if ask(site, system::ACCOUNTS, &Accounts::accountOfCall { wallet }) == Some(account) {
            wallets.push((wallet, state.account(wallet)?.map_or(U256::ZERO, |account| account.balance)));
        }
    }
    // The owner first.
    wallets.sort_by_key(|(wallet, _)| *wallet != owner);
    Ok((wallets, latest))
}

/// `GET /account/{handle}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(handle): Path<String>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let account = read(&site, &handle).await?;
    let title = format!("@{}", account.handle);
    Ok(Html(Page { f: Frame::new(&visit, &title), account }.render()?))
}

/// `GET /api/v1/accounts/{handle}`
pub(crate) async fn json(State(site): State<Arc<Site>>, Path(handle): Path<String>) -> Result<Json<Value>, PageError> {
    let account = read(&site, &handle).await?;
    let wallets = account.wallets.iter();
    let wallets = wallets.map(|(wallet, balance)| json!({ "address": wallet, "balance": balance.to_string() }));
    Ok(Json(json!({
        "account": account.id, "handle": account.handle, "owner": account.owner, "referrer": account.referrer,
        "profile": account.profile, "registered": account.registered, "wallet_count": account.count,
        "wallets": wallets.collect::<Vec<_>>(),
    })))
}
