//! Footstones with bonds and bets, and epochs with what was proven; as pages and as JSON.

use crate::{Frame, PageError, Site, Visit, decode, tokens::ask};
use alloy_primitives::{Address, B256, U256};
use askama::Template;
use axum::{Json, extract::State, response::Html};
use bmm_chain::{FinalityStatus, SignedBet};
use bmm_index::EventEntry;
use bmm_types::system::{self, Footstones, Resources};
use serde_json::{Value, json};
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
    words(site, contract, &site.index.events(contract, (u64::MAX, u64::MAX), rows).await?)
}

/// Puts events of a system contract into words.
pub(crate) fn words(site: &Site, contract: Address, entries: &[EventEntry]) -> Result<Vec<Told>, PageError> {
    let mut told = Vec::new();
    for entry in entries {
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

/// Lists the footstones, those with the most weight first.
fn stones(site: &Site) -> Vec<Stone> {
    let candidates = ask(site, system::FOOTSTONES, &Footstones::candidatesCall {}).unwrap_or_default();
    let stones = candidates.into_iter().take(256).filter_map(|address| {
        let stone = ask(site, system::FOOTSTONES, &Footstones::footstoneOfCall { footstone: address })?;
        let (state, bond, weight, last_target) = (stone.state, stone.bond, stone.weight, stone.lastTarget);
        Some(Stone { address, state, bond, weight, last_target })
    });
    let mut stones: Vec<Stone> = stones.collect();
    stones.sort_by_key(|stone| std::cmp::Reverse((stone.weight, stone.bond)));
    stones
}

/// Lists the latest bets, the newest first.
fn bets(site: &Site, status: Option<&FinalityStatus>) -> Vec<SignedBet> {
    let first = status.map_or(0, |status| status.justified.number.saturating_sub(8));
    let mut bets = site.chain.bets_from(first, ROWS);
    bets.reverse();
    bets
}

/// `GET /api/v1/footstones`
pub(crate) async fn footstones_json(State(site): State<Arc<Site>>) -> Json<Value> {
    let status = site.chain.finality();
    let block = |checkpoint| site.chain.checkpoint_number(checkpoint);
    let state = |state: u8| match state {
        1 => "candidate",
        2 => "leaving",
        3 => "slashed",
        _ => "none",
    };
    let stones = stones(&site);
    let stones = stones.iter().map(|stone| {
        json!({
            "address": stone.address, "state": state(stone.state), "bond": stone.bond.to_string(),
            "weight": stone.weight.to_string(), "last_bet": stone.last_target,
        })
    });
    let bets = bets(&site, status.as_ref());
    let bets = bets.iter().map(|signed| {
        json!({
            "footstone": signed.bet.footstone, "source": signed.bet.source, "target": signed.bet.target,
            "target_block": signed.bet.targetHash, "amount": signed.bet.amount.to_string(),
        })
    });
    Json(json!({
        "enabled": status.as_ref().is_some_and(|status| status.rights.enabled),
        "finalised": status.as_ref().map(|status| block(status.finalised)),
        "justified": status.as_ref().map(|status| block(status.justified)),
        "weight": status.as_ref().map_or(U256::ZERO, |status| status.rights.current.weight()).to_string(),
        "footstones": stones.collect::<Vec<_>>(), "bets": bets.collect::<Vec<_>>(),
    }))
}

/// `GET /footstones`
pub(crate) async fn page(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let chain = &site.chain;
    let status = chain.finality();
    let number = |checkpoint| chain.checkpoint_number(checkpoint);
    let page = Page {
        f: Frame::new(&visit, visit.texts.s("footstones.title")).live("/live"),
        justified: status.as_ref().map_or(0, |status| number(status.justified)),
        finalised: status.as_ref().map_or(0, |status| number(status.finalised)),
        enabled: status.as_ref().is_some_and(|status| status.rights.enabled),
        weight: status.as_ref().map_or(U256::ZERO, |status| status.rights.current.weight()),
        stones: stones(&site),
        bets: bets(&site, status.as_ref()),
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

/// Lists the last twenty epochs, the present one first.
fn latest(site: &Site) -> Vec<Epoch> {
    let length = site.chain.params().epoch_blocks.max(1);
    let current = site.chain.head().number() / length;
    let epochs = (current.saturating_sub(19)..=current).rev().filter_map(|number| {
        let epoch = ask(site, system::RESOURCES, &Resources::epochOfCall { epoch: number })?;
        let (pot, closed) = (epoch.pot, epoch.closed);
        let (hash_power, compute_power) = (epoch.hashPower, epoch.computePower);
        Some(Epoch { number, first: number.saturating_mul(length), pot, hash_power, compute_power, closed })
    });
    epochs.collect()
}

/// `GET /api/v1/epochs`
pub(crate) async fn epochs_json(State(site): State<Arc<Site>>) -> Json<Value> {
    let epochs = latest(&site);
    let epochs = epochs.iter().map(|epoch| {
        json!({
            "number": epoch.number, "first_block": epoch.first, "pot": epoch.pot.to_string(), "closed": epoch.closed,
            "hash_power": epoch.hash_power.to_string(), "compute_power": epoch.compute_power.to_string(),
        })
    });
    Json(json!({ "blocks_per_epoch": site.chain.params().epoch_blocks, "epochs": epochs.collect::<Vec<_>>() }))
}

/// `GET /epochs`
pub(crate) async fn epochs(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let length = site.chain.params().epoch_blocks.max(1);
    let head = site.chain.head().number();
    let page = EpochsPage {
        f: Frame::new(&visit, visit.texts.s("epochs.title")).live("/live"),
        current: head / length,
        into: head % length,
        length,
        epochs: latest(&site),
        pots: crate::home::held(&site)?,
        events: told(&site, system::RESOURCES).await?,
    };
    Ok(Html(page.render()?))
}
