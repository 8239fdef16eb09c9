//! One transaction: what it asked, what it did, what it cost.

use crate::{
    Frame, PageError, Site, Visit, blocks,
    decode::{self, Decoded},
    format,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Html,
};
use std::sync::Arc;

/// Most events that are listed.
const EVENTS: usize = 200;
/// Most bytes of data that are shown.
const DATA: usize = 2_048;

struct Event {
    contract: Address,
    decoded: Option<Decoded>,
    topics: Vec<B256>,
    data: String,
}

#[derive(Template)]
#[template(path = "transaction.html")]
struct Page<'a> {
    f: Frame<'a>,
    now: u64,
    hash: B256,
    from: Address,
    to: Option<Address>,
    created: Option<Address>,
    what: String,
    value: U256,
    nonce: u64,
    /// Number and time of the block; `None` while it waits.
    block: Option<(u64, u64)>,
    confirmations: u64,
    is_final: bool,
    ok: bool,
    gas_used: u64,
    gas_limit: u64,
    fee: U256,
    call: Option<Decoded>,
    input: String,
    events: Vec<Event>,
    more_events: usize,
}

/// Writes data in hexadecimal, not all of what is long.
fn shown(data: &Bytes) -> String {
    if data.len() > DATA { format!("{}…", data.slice(..DATA)) } else { data.to_string() }
}

/// `GET /tx/{hash}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(hash): Path<String>,
    visit: Visit,
) -> Result<Html<String>, PageError> {
    let hash: B256 = hash.parse().map_err(|_| PageError::Missing("transaction"))?;
    let title = visit.texts.put("tx.title", format::hash(&hash));
    let f = Frame::new(&visit, &title);
    let Some(found) = site.chain.transaction(hash)? else {
        let waiting = site.chain.pending_transaction(hash).ok_or(PageError::Missing("transaction"))?;
        let page = draft(&site, f.live("/live"), hash, &waiting.transaction, waiting.sender);
        return Ok(Html(page.render()?));
    };
    let receipts = site.chain.receipts(found.block)?.unwrap_or_default();
    let receipt = receipts.get(found.index);
    let before = found.index.checked_sub(1).and_then(|index| receipts.get(index));
    let gas = |receipt: Option<&bmm_ledger::store::Receipt>| {
        receipt.map_or(0, alloy_consensus::ReceiptEnvelope::cumulative_gas_used)
    };
    let mut page = draft(&site, f, hash, &found.transaction, found.sender);
    let number = found.header.number;
    page.block = Some((number, found.header.timestamp));
    page.confirmations = site.chain.head().number().saturating_sub(number).saturating_add(1);
    let finality = site.chain.finality();
    page.is_final = finality.is_some_and(|status| site.chain.checkpoint_number(status.finalised) >= number);
    page.ok = receipt.is_none_or(alloy_consensus::ReceiptEnvelope::is_success);
    page.gas_used = gas(receipt).saturating_sub(gas(before));
    let price = found.transaction.effective_gas_price(found.header.base_fee_per_gas);
    page.fee = U256::from(page.gas_used).saturating_mul(U256::from(price));
    let logs = receipt.map(alloy_consensus::ReceiptEnvelope::logs).unwrap_or_default();
    page.more_events = logs.len().saturating_sub(EVENTS);
    page.events = logs
        .iter()
        .take(EVENTS)
        .map(|log| Event {
            contract: log.address,
            decoded: decode::event(&log.address, log.topics(), &log.data.data),
            topics: log.topics().to_vec(),
            data: shown(&log.data.data),
        })
        .collect();
    Ok(Html(page.render()?))
}

/// What is known of a transaction before it is in a block.
fn draft<'a>(site: &Site, f: Frame<'a>, hash: B256, transaction: &bmm_types::Transaction, from: Address) -> Page<'a> {
    let to = transaction.to();
    Page {
        f,
        now: site.chain.now_secs(),
        hash,
        from,
        to,
        created: to.is_none().then(|| from.create(transaction.nonce())),
        what: blocks::what(transaction),
        value: transaction.value(),
        nonce: transaction.nonce(),
        block: None,
        confirmations: 0,
        is_final: false,
        ok: true,
        gas_used: 0,
        gas_limit: transaction.gas_limit(),
        fee: U256::ZERO,
        call: to.and_then(|to| decode::call(&to, transaction.input())),
        input: shown(transaction.input()),
        events: Vec::new(),
        more_events: 0,
    }
}
