//! One account: balance, what it is, its history.

use crate::{
    Frame, PageError, Site, Visit,
    blocks::{self, Row},
    format, tokens,
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, U256};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Html,
};
use bmm_index::{BlockEntry, TouchEntry};
use serde::Deserialize;
use std::sync::Arc;

/// Transactions of a page.
const ROWS: u32 = 25;
/// Blocks that are listed of a producer.
const BLOCKS: u32 = 5;

#[derive(Deserialize)]
pub(crate) struct Before {
    block: Option<u64>,
    position: Option<u64>,
}

/// A transaction of the account's history.
pub(crate) struct Entry {
    pub block: u64,
    pub time: u64,
    pub out: bool,
    pub row: Row,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Page<'a> {
    f: Frame<'a>,
    now: u64,
    address: Address,
    name: Option<&'static str>,
    balance: U256,
    nonce: u64,
    code: usize,
    handle: Option<String>,
    token: Option<tokens::Meta>,
    qr: String,
    entries: Vec<Entry>,
    older: Option<(u64, u64)>,
    blocks: Vec<BlockEntry>,
}

/// Reads the transactions that touched an account.
pub(crate) fn entries(site: &Site, touches: &[TouchEntry]) -> Result<Vec<Entry>, PageError> {
    let mut entries = Vec::with_capacity(touches.len());
    for of_block in touches.chunk_by(|a, b| a.block == b.block) {
        // A branch may be taken while the page is made: what is not there any more is left out.
        let Some(block) = site.chain.resolve(BlockId::number(of_block[0].block))? else { continue };
        let Some(body) = site.chain.body(block.id)? else { continue };
        let place = |touch: &TouchEntry| usize::try_from(touch.position).unwrap_or(usize::MAX);
        let there: Vec<&TouchEntry> = of_block.iter().filter(|touch| place(touch) < body.transactions.len()).collect();
        let places: Vec<usize> = there.iter().map(|touch| place(touch)).collect();
        for (touch, row) in there.into_iter().zip(blocks::rows_at(site, &block, &body, &places)?) {
            let (block, time) = (block.number(), block.header.timestamp);
            entries.push(Entry { block, time, out: touch.role.is_sender(), row });
        }
    }
    Ok(entries)
}

/// `GET /address/{address}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    Query(before): Query<Before>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let address: Address = address.parse().map_err(|_| PageError::Missing("address"))?;
    let at = (before.block.unwrap_or(u64::MAX), before.position.unwrap_or(u64::MAX));
    let touches = site.index.history(address, at, ROWS).await?;
    let full = touches.len() >= usize::try_from(ROWS).unwrap_or(usize::MAX);
    let older = touches.last().filter(|_| full).map(|touch| (touch.block, touch.position));
    let blocks = site.index.blocks_of(address, u64::MAX, BLOCKS).await?;
    let account = site.chain.state(BlockId::latest())?.account(address)?.unwrap_or_default();
    let code = site.chain.state(BlockId::latest())?.code(account.code_hash)?.map_or(0, |code| code.len());
    let token = (code > 0).then(|| tokens::meta(&site, address)).flatten();
    let title = format!("{} {}", visit.texts.s("account.title"), format::who(&address));
    let page = Page {
        f: Frame::new(&visit, &title),
        now: site.chain.now_secs(),
        address,
        name: format::system_name(&address),
        balance: account.balance,
        nonce: account.nonce,
        code,
        handle: tokens::handle(&site, address),
        token,
        qr: format::qr(&address.to_checksum(None)),
        entries: entries(&site, &touches)?,
        older,
        blocks,
    };
    Ok(Html(page.render()?))
}
