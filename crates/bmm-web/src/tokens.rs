//! Tokens: what their contracts say of themselves, and their transfers.

use crate::{Frame, PageError, Site, Visit, format};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, sol};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Html,
};
use bmm_index::{TokenEntry, TransferEntry};
use bmm_ledger::{CallRequest, exec};
use bmm_types::system::{self, Accounts};
use serde::Deserialize;
use std::sync::Arc;

/// Rows of a page.
const ROWS: u32 = 50;
/// Gas that a contract may take to say its name.
const NAME_GAS: u64 = 100_000;
/// Longest name, in characters.
const NAME_CHARS: usize = 40;

sol! {
    interface Erc20 {
        function name() external view returns (string memory);
        function symbol() external view returns (string memory);
        function decimals() external view returns (uint8);
        function totalSupply() external view returns (uint256);
    }
}

/// What a token says of itself. It may say anything: it is shown as text beside the address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    pub name: String,
    pub symbol: String,
    pub decimals: u8,
    pub supply: U256,
}

/// Asks a contract.
pub(crate) fn ask<C: SolCall>(site: &Site, contract: Address, call: &C) -> Option<C::Return> {
    let (state, head) = (site.chain.state(BlockId::latest()).ok()?, site.chain.head());
    let request = CallRequest { to: Some(contract), input: call.abi_encode().into(), ..CallRequest::default() };
    let outcome = exec::call(site.chain.params(), &head.header, &state, &request, NAME_GAS.max(500_000)).ok()?;
    C::abi_decode_returns(&outcome.output).ok()
}

/// Takes what can be shown of a name: no control characters and nothing that turns the direction of text.
pub(crate) fn plain(name: &str) -> String {
    let shown = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars().filter(shown).take(NAME_CHARS).collect()
}

/// Asks a token for what it is; `None` for a contract that says nothing.
pub(crate) fn meta(site: &Site, token: Address) -> Option<Meta> {
    let symbol = ask(site, token, &Erc20::symbolCall {})?;
    Some(Meta {
        name: ask(site, token, &Erc20::nameCall {}).map(|name| plain(&name)).unwrap_or_default(),
        symbol: plain(&symbol),
        decimals: ask(site, token, &Erc20::decimalsCall {}).unwrap_or(0),
        supply: ask(site, token, &Erc20::totalSupplyCall {}).unwrap_or_default(),
    })
}

/// Returns the handle of the account that a wallet is bound to.
pub(crate) fn handle(site: &Site, wallet: Address) -> Option<String> {
    let account = ask(site, system::ACCOUNTS, &Accounts::accountOfCall { wallet })?;
    if account == B256::ZERO {
        return None;
    }
    let info = ask(site, system::ACCOUNTS, &Accounts::infoOfCall { account })?;
    Some(plain(&info.handle)).filter(|handle| !handle.is_empty())
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct List<'a> {
    f: Frame<'a>,
    tokens: Vec<(TokenEntry, Meta)>,
}

/// `GET /tokens`
pub(crate) async fn list(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let found = site.index.tokens(ROWS).await?;
    let tokens = found.into_iter().map(|token| (token, meta(&site, token.address).unwrap_or_default())).collect();
    Ok(Html(List { f: Frame::new(&visit, visit.texts.s("tokens.title")), tokens }.render()?))
}

#[derive(Deserialize)]
pub(crate) struct Before {
    block: Option<u64>,
    log: Option<u64>,
}

#[derive(Template)]
#[template(path = "token.html")]
struct One<'a> {
    f: Frame<'a>,
    address: Address,
    meta: Meta,
    transfers: Vec<TransferEntry>,
    older: Option<(u64, u64)>,
}

/// `GET /token/{address}`
pub(crate) async fn token(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    Query(before): Query<Before>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let address: Address = address.parse().map_err(|_| PageError::Missing("token"))?;
    let at = (before.block.unwrap_or(u64::MAX), before.log.unwrap_or(u64::MAX));
    let transfers = site.index.transfers(address, at, ROWS).await?;
    let meta = meta(&site, address);
    if meta.is_none() && transfers.is_empty() {
        return Err(PageError::Missing("token"));
    }
    let meta = meta.unwrap_or_default();
    let title = if meta.symbol.is_empty() { format::address(&address) } else { meta.symbol.clone() };
    let full = transfers.len() >= usize::try_from(ROWS).unwrap_or(usize::MAX);
    let older = transfers.last().filter(|_| full).map(|transfer| (transfer.block, transfer.log));
    Ok(Html(One { f: Frame::new(&visit, &title), address, meta, transfers, older }.render()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_turn_the_text_around_it() {
        assert_eq!(plain("\u{202e}U\u{200b}SD\u{2066}\0\n"), "USD");
        assert_eq!(plain(&"x".repeat(1_000)).len(), NAME_CHARS);
    }
}
