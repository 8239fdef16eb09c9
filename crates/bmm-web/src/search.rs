//! Search by anything: number, hash, address, handle, symbol of a token.

use crate::{
    PageError, Site,
    tokens::{ask, meta},
};
use alloy_primitives::{Address, B256};
use axum::{
    extract::{Query, State},
    response::Redirect,
};
use bmm_types::system::{self, Accounts, account_id};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
}

/// `GET /search?q=…`: leads to what was meant.
pub(crate) async fn search(State(site): State<Arc<Site>>, Query(asked): Query<Asked>) -> Result<Redirect, PageError> {
    let q = asked.q.trim();
    if q.is_empty() {
        return Ok(Redirect::to("/blocks"));
    }
    let digits: String = q.chars().filter(|c| !matches!(c, ' ' | ',' | '\u{202f}')).collect();
    if let Ok(number) = digits.trim_start_matches('#').parse::<u64>() {
        return Ok(Redirect::to(&format!("/block/{number}")));
    }
    if let Ok(address) = q.parse::<Address>() {
        return Ok(Redirect::to(&format!("/address/{address}")));
    }
    if let Ok(hash) = q.parse::<B256>() {
        let is_block = site.chain.header(hash)?.is_some();
        return Ok(Redirect::to(&format!("/{}/{hash}", if is_block { "block" } else { "tx" })));
    }
    let handle = q.trim_start_matches('@').to_ascii_lowercase();
    if system::is_handle(&handle)
        && let Some(info) = ask(&site, system::ACCOUNTS, &Accounts::infoOfCall { account: account_id(&handle) })
        && info.owner != Address::ZERO
    {
        return Ok(Redirect::to(&format!("/account/{handle}")));
    }
    for token in site.index.tokens(50).await? {
        if meta(&site, token.address).is_some_and(|meta| meta.symbol.eq_ignore_ascii_case(q)) {
            return Ok(Redirect::to(&format!("/token/{}", token.address)));
        }
    }
    Err(PageError::Missing("block, transaction, address, handle or token"))
}
