//! Footstones with bonds and bets, and epochs with what was proven.

use crate::{Frame, PageError, Site, Visit, decode, tokens::ask};
use alloy_primitives::{Address, B256, U256};
use askama::Template;
use axum::{extract::State, response::Html};
use bmm_chain::SignedBet;
use bmm_types::system::{self, Footstones, Resources};
use std::sync::Arc;

/// Bets, events and epochs that are listed.
const ROWS: usize = 40;

struct Stone {
    address: Address,
    state: u8,
    bond: U256,
    weight: U256,
    last_target: u64,
}

/// An event of a system contract, in words.
pub(crate) struct Told {
    pub block: u64,
    pub hash: Option<B256>,
    pub what: decode::Decoded,
}

#[derive(Template)]
#[template(path = "footstones.html")]
struct Page<'a> {
    f: Frame<'a>,
    justified: u64,
    finalised: u64,
    enabled: bool,
    weight: U256,
    stones: Vec<Stone>,
    bets: Vec<SignedBet>,
    events: Vec<Told>,
}

/// Reads what a system contract told last.
pub(crate) async fn told(site: &Site, contract: Address) -> Result<Vec<Told>, PageError> {
    let rows = u32::try_from(ROWS).unwrap_or(u32::MAX);
    let mut told = Vec::new();
    for entry in site.index.events(contract, (u64::MAX, u64::MAX), rows).await? {
        let Some(id) = site.chain.canonical(entry.block)? else { continue };
        let receipts = site.chain.receipts(id)?.unwrap_or_default();
        let logs = receipts.iter().flat_map(alloy_consensus::ReceiptEnvelope::logs);
        let Some(log) = logs.into_iter().nth(usize::try_from(entry.log).unwrap_or(usize::MAX)) else { continue };
        let body = site.chain.body(id)?.unwrap_or_default();
        let at = usize::try_from(entry.position).unwrap_or(usize::MAX);
        let hash = body.transactions.get(at).map(|transaction| *transaction.tx_hash());
        if let Some(what) = decode::event(&contract, log.topics(), &log.data.data) {
            told.push(Told { block: entry.block, hash, what });
        }
    }
    Ok(told)
}

/// `GET /footstones`
pub(crate) async fn page(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let chain = &site.chain;
    let status = chain.finality();
    let candidates = ask(&site, system::FOOTSTONES, &Footstones::candidatesCall {}).unwrap_or_default();
    let stones = candidates.into_iter().take(256).filter_map(|address| {
        let stone = ask(&site, system::FOOTSTONES, &Footstones::footstoneOfCall { footstone: address })?;
        let (state, bond, weight, last_target) = (stone.state, stone.bond, stone.weight, stone.lastTarget);
        Some(Stone { address, state, bond, weight, last_target })
    });
    let mut stones: Vec<Stone> = stones.collect();
    stones.sort_by_key(|stone| std::cmp::Reverse((stone.weight, stone.bond)));
    let first = status.as_ref().map_or(0, |status| status.justified.number.saturating_sub(8));
    let mut bets = chain.bets_from(first, ROWS);
    bets.reverse();
    let number = |checkpoint| chain.checkpoint_number(checkpoint);
    let page = Page {
        f: Frame::new(&visit, visit.texts.s("footstones.title")).live("/live"),
        justified: status.as_ref().map_or(0, |status| number(status.justified)),
        finalised: status.as_ref().map_or(0, |status| number(status.finalised)),
        enabled: status.as_ref().is_some_and(|status| status.rights.enabled),
        weight: status.as_ref().map_or(U256::ZERO, |status| status.rights.current.weight()),
        stones,
        bets,
        events: told(&site, system::FOOTSTONES).await?,
    };
    Ok(Html(page.render()?))
}

struct Epoch {
    number: u64,
    first: u64,
    pot: U256,
    hash_power: U256,
    compute_power: U256,
    closed: bool,
}

#[derive(Template)]
#[template(path = "epochs.html")]
struct EpochsPage<'a> {
    f: Frame<'a>,
    current: u64,
    into: u64,
    length: u64,
    epochs: Vec<Epoch>,
    pots: Vec<(&'static str, bmm_types::Amount)>,
    events: Vec<Told>,
}

/// `GET /epochs`
pub(crate) async fn epochs(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let length = site.chain.params().epoch_blocks.max(1);
    let head = site.chain.head().number();
    let current = head / length;
    let first = current.saturating_sub(19);
    let epochs = (first..=current).rev().filter_map(|number| {
        let epoch = ask(&site, system::RESOURCES, &Resources::epochOfCall { epoch: number })?;
        let (pot, closed) = (epoch.pot, epoch.closed);
        let (hash_power, compute_power) = (epoch.hashPower, epoch.computePower);
        Some(Epoch { number, first: number.saturating_mul(length), pot, hash_power, compute_power, closed })
    });
    let page = EpochsPage {
        f: Frame::new(&visit, visit.texts.s("epochs.title")).live("/live"),
        current,
        into: head % length,
        length,
        epochs: epochs.collect(),
        pots: crate::home::held(&site)?,
        events: told(&site, system::RESOURCES).await?,
    };
    Ok(Html(page.render()?))
}
