//! The same data for programs: JSON with an OpenAPI description, metrics for Prometheus, and whether the node is well.

use crate::{PageError, Site, account, blocks, footstones, handle, home::Facts};
use alloy_primitives::Address;
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write as _, sync::Arc};

/// A node whose head is older than so many times the wanted time between blocks is not well, if it has peers or mines.
const LATE: u64 = 200;

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/api/v1/network", get(network))
        .route("/api/v1/blocks", get(list))
        .route("/api/v1/blocks/{id}", get(block))
        .route("/api/v1/addresses/{address}", get(address))
        .route("/api/v1/tokens", get(tokens))
        .route("/api/v1/tokens/{address}/transfers", get(transfers))
        .route("/api/v1/producers", get(producers))
        .route("/api/v1/footstones", get(footstones::footstones_json))
        .route("/api/v1/epochs", get(footstones::epochs_json))
        .route("/api/v1/accounts/{handle}", get(handle::json))
        .route("/api/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    before: Option<u64>,
    position: Option<u64>,
    limit: Option<u32>,
}

async fn network(State(site): State<Arc<Site>>) -> Json<Value> {
    let (facts, summary, head) = (Facts::read(&site), site.summary(), site.chain.head());
    Json(json!({
        "chain": site.chain.params().name,
        "chain_id": site.chain.params().chain_id,
        "head": { "number": head.number(), "id": head.id, "time": head.header.timestamp },
        "indexed": summary.tip,
        "justified": facts.justified,
        "finalised": facts.final_block,
        "footstones": facts.footstones,
        "hash_rate": summary.hash_rate,
        "block_secs": summary.block_secs,
        "transactions": summary.transactions,
        "transactions_24h": summary.transactions_24h,
        "pending": facts.pending,
        "peers": facts.peers,
        "base_fee": facts.base_fee.to_string(),
        "supply": facts.supply.to_string(),
        "emission": facts.emission.to_string(),
        "compute": {
            "providers": facts.compute.providers, "slots": facts.compute.slots, "running": facts.compute.running,
            "jobs": facts.compute.jobs,
            "median_price_per_gfuel": facts.compute.prices.map(|(_, median)| median.to_string()),
        },
    }))
}

fn block_json(block: &bmm_index::BlockEntry) -> Value {
    json!({
        "number": block.number, "id": block.id, "time": block.time, "producer": block.producer,
        "transactions": block.transactions, "gas_used": block.gas,
    })
}

async fn list(State(site): State<Arc<Site>>, Query(page): Query<Page>) -> Result<Json<Value>, PageError> {
    let blocks = site.index.blocks(page.before.unwrap_or(u64::MAX), page.limit.unwrap_or(50)).await?;
    let next = blocks.last().map(|block| block.number).filter(|number| *number > 0);
    Ok(Json(json!({ "blocks": blocks.iter().map(block_json).collect::<Vec<_>>(), "before": next })))
}

fn row_json(row: &blocks::Row) -> Value {
    json!({
        "hash": row.hash, "from": row.from, "to": row.to, "what": row.what, "value": row.value.to_string(),
        "fee": row.fee.to_string(), "succeeded": row.ok,
    })
}

async fn block(State(site): State<Arc<Site>>, Path(id): Path<String>) -> Result<Json<Value>, PageError> {
    let block = blocks::find(&site, &id)?;
    let body = site.chain.body(block.id)?.unwrap_or_default();
    let rows = blocks::rows(&site, &block, &body, 1_000)?;
    Ok(Json(json!({
        "number": block.number(), "id": block.id, "parent": block.header.parent_hash, "time": block.header.timestamp,
        "producer": block.header.beneficiary, "difficulty": block.header.difficulty.to_string(),
        "gas_used": block.header.gas_used, "canonical": site.chain.is_canonical(block.id)?,
        "count": body.transactions.len(),
        "transactions": rows.iter().map(row_json).collect::<Vec<_>>(),
    })))
}

async fn address(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, PageError> {
    let address: Address = address.parse().map_err(|_| PageError::Missing("address"))?;
    let at = (page.before.unwrap_or(u64::MAX), page.position.unwrap_or(u64::MAX));
    let touches = site.index.history(address, at, page.limit.unwrap_or(25)).await?;
    let state = site.chain.state(alloy_eips::BlockId::latest())?.account(address)?.unwrap_or_default();
    let entries = account::entries(&site, &touches)?;
    let entries = entries.iter().map(|entry| {
        let mut row = row_json(&entry.row);
        row["block"] = json!(entry.block);
        row["time"] = json!(entry.time);
        row
    });
    Ok(Json(json!({
        "address": address, "balance": state.balance.to_string(), "nonce": state.nonce,
        "transactions": entries.collect::<Vec<_>>(),
        "next": touches.last().map(|touch| json!({ "before": touch.block, "position": touch.position })),
    })))
}

async fn tokens(State(site): State<Arc<Site>>) -> Result<Json<Value>, PageError> {
    let tokens = site.index.tokens(100).await?;
    let token = |token: &bmm_index::TokenEntry| {
        let meta = crate::tokens::meta(&site, token.address).unwrap_or_default();
        json!({
            "address": token.address, "first_block": token.first, "unique": token.unique, "name": meta.name,
            "symbol": meta.symbol, "decimals": meta.decimals, "supply": meta.supply.to_string(),
        })
    };
    Ok(Json(json!({ "tokens": tokens.iter().map(token).collect::<Vec<_>>() })))
}

async fn transfers(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, PageError> {
    let address: Address = address.parse().map_err(|_| PageError::Missing("token"))?;
    let at = (page.before.unwrap_or(u64::MAX), page.position.unwrap_or(u64::MAX));
    let found = site.index.transfers(address, at, page.limit.unwrap_or(50)).await?;
    let transfer = |transfer: &bmm_index::TransferEntry| {
        json!({
            "block": transfer.block, "log": transfer.log, "from": transfer.from, "to": transfer.to,
            "value": transfer.value.to_string(),
        })
    };
    Ok(Json(json!({
        "transfers": found.iter().map(transfer).collect::<Vec<_>>(),
        "next": found.last().map(|last| json!({ "before": last.block, "position": last.log })),
    })))
}

async fn producers(State(site): State<Arc<Site>>) -> Json<Value> {
    let summary = site.summary();
    let producer = |producer: &bmm_index::Producer| {
        json!({
            "address": producer.address, "blocks": producer.blocks, "hashes": producer.work,
            "blocks_by_hour": producer.by_hour, "hashes_by_hour": producer.work_by_hour,
        })
    };
    Json(json!({
        "until": summary.until, "seconds": summary.seconds,
        "producers": summary.producers.iter().map(producer).collect::<Vec<_>>(),
    }))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../assets/openapi.json")).into_response()
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let (facts, summary, head) = (Facts::read(&site), site.summary(), site.chain.head());
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: String| {
        let _ = write!(text, "# HELP bmm_{name} {help}\n# TYPE bmm_{name} gauge\nbmm_{name} {value}\n");
    };
    gauge("head_number", "Number of the head.", head.number().to_string());
    gauge("head_time_seconds", "Time of the head, Unix seconds.", head.header.timestamp.to_string());
    gauge("indexed_number", "Number of the last block of the index.", summary.tip.to_string());
    gauge("finalised_number", "Number of the last final block.", facts.final_block.unwrap_or(0).to_string());
    gauge("footstones", "Members of the present set.", facts.footstones.to_string());
    gauge("hash_rate", "Hashes a second over the last hundred blocks.", summary.hash_rate.to_string());
    gauge("transactions", "Transactions since genesis.", summary.transactions.to_string());
    gauge("pending_transactions", "Transactions that wait.", facts.pending.to_string());
    gauge("base_fee_units", "Base fee of the next block, units per gas.", facts.base_fee.to_string());
    gauge("peers", "Connected peers.", facts.peers.unwrap_or(0).to_string());
    gauge("market_providers", "Providers that are known.", facts.compute.providers.to_string());
    gauge("market_slots", "Tasks that they run at once.", facts.compute.slots.to_string());
    gauge("market_running", "Tasks that run.", facts.compute.running.to_string());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn health(State(site): State<Arc<Site>>) -> Response {
    let (head, now) = (site.chain.head(), site.chain.now_secs());
    let behind = head.number().saturating_sub(site.summary().tip);
    let age = now.saturating_sub(head.header.timestamp);
    let late = age > site.chain.params().block_secs.saturating_mul(LATE);
    let status = if late { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "ok": !late, "head": head.number(), "head_age_secs": age, "index_behind": behind,
        "reason": late.then_some("the head is old: the node mines nothing and hears of no blocks"),
    });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_is_described_and_no_other() {
        let described: Value = serde_json::from_str(include_str!("../assets/openapi.json")).expect("JSON");
        let described = described["paths"].as_object().expect("paths").keys().cloned();
        let described: BTreeSet<String> = described.filter(|path| path.starts_with("/api/")).collect();
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = ["src/api.rs", "../bmm/src/web/desk.rs"].map(|file| std::fs::read_to_string(here.join(file)));
        let mut served = BTreeSet::new();
        for source in sources {
            let source = source.expect("a file of the repository");
            let routes = source.split(".route(\"/api/v1").skip(1);
            served.extend(routes.filter_map(|route| Some(format!("/api/v1{}", route.split_once('"')?.0))));
        }
        assert_eq!(described, served);
        assert!(served.len() > 10, "{served:?}");
    }
}
