//! Blocks: the list, and one.

use crate::{Frame, PageError, Site, Visit, decode, format};
use alloy_consensus::Transaction as _;
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, U256};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Html,
};
use bmm_chain::HeadBlock;
use bmm_index::BlockEntry;
use bmm_types::{BlockBody, Seal};
use serde::Deserialize;
use std::sync::Arc;

/// Blocks of a page.
const BLOCKS: u32 = 50;
/// Most transactions of a block that its page lists.
const TRANSACTIONS: usize = 500;

#[derive(Deserialize)]
pub(crate) struct Before {
    before: Option<u64>,
}

#[derive(Template)]
#[template(path = "blocks.html")]
struct List<'a> {
    f: Frame<'a>,
    now: u64,
    blocks: Vec<BlockEntry>,
    older: Option<u64>,
    is_first: bool,
}

/// `GET /blocks`
pub(crate) async fn list(
    State(site): State<Arc<Site>>,
    Query(query): Query<Before>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let blocks = site.index.blocks(query.before.unwrap_or(u64::MAX), BLOCKS).await?;
    let older = blocks.last().map(|block| block.number).filter(|number| *number > 0);
    let f = Frame::new(&visit, visit.texts.s("blocks.title"));
    let is_first = query.before.is_none();
    let f = if is_first { f.live("/live") } else { f };
    Ok(Html(List { f, now: site.chain.now_secs(), blocks, older, is_first }.render()?))
}

/// A transaction of a list.
pub(crate) struct Row {
    pub hash: B256,
    pub from: Address,
    pub to: Option<Address>,
    pub what: String,
    pub value: U256,
    pub ok: bool,
    pub fee: U256,
}

#[derive(Template)]
#[template(path = "block.html")]
struct One<'a> {
    f: Frame<'a>,
    now: u64,
    block: &'a HeadBlock,
    is_canonical: bool,
    is_final: bool,
    signer: Option<Address>,
    seal: &'a str,
    rows: Vec<Row>,
    more: usize,
    has_next: bool,
    reward: U256,
}

/// Finds a block by number or id.
pub(crate) fn find(site: &Site, id: &str) -> Result<Arc<HeadBlock>, PageError> {
    let at = match (id.parse::<u64>(), id.parse::<B256>()) {
        (Ok(number), _) => BlockId::number(number),
        (_, Ok(hash)) => BlockId::from(hash),
        _ => return Err(PageError::Missing("block")),
    };
    site.chain.resolve(at)?.ok_or(PageError::Missing("block"))
}

/// Makes the rows of a block's first transactions.
pub(crate) fn rows(site: &Site, block: &HeadBlock, body: &BlockBody, most: usize) -> Result<Vec<Row>, PageError> {
    rows_at(site, block, body, &(0..body.transactions.len().min(most)).collect::<Vec<_>>())
}

/// Makes the rows of those transactions of a block that are wanted. Who signed them is found out of the signatures, which is most of the
/// work: so only of these.
pub(crate) fn rows_at(
    site: &Site,
    block: &HeadBlock,
    body: &BlockBody,
    places: &[usize],
) -> Result<Vec<Row>, PageError> {
    let wanted = places.iter().filter_map(|place| body.transactions.get(*place).cloned());
    let wanted = BlockBody { transactions: wanted.collect(), ..BlockBody::default() };
    let senders = site.chain.senders(&wanted)?;
    let receipts = site.chain.receipts(block.id)?.unwrap_or_default();
    let base_fee = block.header.base_fee_per_gas;
    let used_up_to =
        |place: usize| receipts.get(place).map_or(0, alloy_consensus::ReceiptEnvelope::cumulative_gas_used);
    let there = places.iter().filter(|place| **place < body.transactions.len());
    let rows = there.zip(wanted.transactions.iter().zip(senders)).map(|(place, (transaction, from))| {
        let before = place.checked_sub(1).map_or(0, used_up_to);
        let gas = used_up_to(*place).saturating_sub(before);
        Row {
            hash: *transaction.tx_hash(),
            from,
            to: transaction.to(),
            what: what(transaction),
            value: transaction.value(),
            ok: receipts.get(*place).is_none_or(alloy_consensus::ReceiptEnvelope::is_success),
            fee: U256::from(gas).saturating_mul(U256::from(transaction.effective_gas_price(base_fee))),
        }
    });
    Ok(rows.collect())
}

/// Says in a word what a transaction does.
pub(crate) fn what(transaction: &bmm_types::Transaction) -> String {
    let Some(to) = transaction.to() else { return "create".to_owned() };
    if transaction.input().is_empty() {
        return "transfer".to_owned();
    }
    match decode::call(&to, transaction.input()) {
        Some(call) => format::system_name(&to).map_or(call.name.clone(), |name| format!("{name}.{}", call.name)),
        None => "call".to_owned(),
    }
}

/// `GET /block/{number or id}`
pub(crate) async fn block(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let block = find(&site, &id)?;
    let chain = &site.chain;
    let body = chain.body(block.id)?.unwrap_or_default();
    let seal = match chain.seal(block.id)? {
        Some(Seal::None) | None => "–",
        Some(_) => "AuxPoW (Scrypt)",
    };
    let is_canonical = chain.is_canonical(block.id)?;
    let final_block = chain.finality().map(|status| chain.checkpoint_number(status.finalised));
    let reward = bmm_ledger::emission::payments(chain.params(), &block.header);
    let title = visit.texts.put("blocks.one", format::grouped(block.number()));
    let page = One {
        f: Frame::new(&visit, &title),
        now: chain.now_secs(),
        is_canonical,
        is_final: is_canonical && final_block.is_some_and(|number| block.number() <= number),
        signer: bmm_chain::recover_signer(&block.header).ok().filter(|_| block.number() > 0),
        seal,
        rows: rows(&site, &block, &body, TRANSACTIONS)?,
        more: body.transactions.len().saturating_sub(TRANSACTIONS),
        has_next: chain.head().number() > block.number(),
        reward: reward.into_iter().fold(U256::ZERO, |sum, (_, units)| sum.saturating_add(units)),
        block: &block,
    };
    Ok(Html(page.render()?))
}
