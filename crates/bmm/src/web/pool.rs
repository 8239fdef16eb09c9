//! The mining pool of this machine, as its own API tells of it.

use super::desk::Desk;
use axum::{extract::State, response::Html};
use bmm_web::{
    Frame, PageError, Visit, format,
    view::{self, PoolTable},
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

/// Most workers that are drawn.
const WORKERS: usize = 50;

fn fetch(agent: &ureq::Agent, base: &str, path: &str) -> Option<Value> {
    agent.get(format!("{base}{path}")).call().ok()?.body_mut().read_json().ok()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().take(100).collect(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

fn rows(value: &Value, list: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let rows = value[list].as_array().into_iter().flatten().take(WORKERS);
    rows.map(|row| columns.iter().map(|column| text(&row[*column])).collect()).collect()
}

/// `GET /pool`
pub(super) async fn page(State(desk): State<Desk>, visit: Visit) -> Result<Html<String>, PageError> {
    let read = desk.blocking(|desk| {
        let running = crate::pool::running(&desk.data);
        let Some(base) = running.as_ref().and_then(|running| running.api.first()).map(|api| format!("http://{api}"))
        else {
            return Ok(None);
        };
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
        let Some(pool) = fetch(&agent, &base, "/api/v1/pool") else { return Ok(None) };
        let read = |path| fetch(&agent, &base, path).unwrap_or_default();
        let stratum = running.map(|running| [running.stratum, running.solo].concat()).unwrap_or_default();
        Ok(Some((pool, stratum, read("/api/v1/workers"), read("/api/v1/blocks"), read("/api/v1/payments"))))
    });
    let found = read.await?;
    let mut page = view::Pool {
        f: Frame::new(&visit, visit.texts.s("pool.title")).live("/live"),
        is_there: found.is_some(),
        tiles: Vec::new(),
        addresses: Vec::new(),
        bars: Vec::new(),
        tables: Vec::new(),
    };
    if let Some((pool, stratum, workers, blocks, payments)) = found {
        let url = |address: SocketAddr| format!("stratum+tcp://{address}").replace("0.0.0.0", "127.0.0.1");
        page.addresses = stratum.into_iter().map(url).collect();
        let side = &pool["sides"][0];
        page.tiles = vec![
            ("pool.rate", format::hash_rate(side["rates"]["15m"].as_f64().unwrap_or(0.0))),
            ("pool.workers", text(&workers["total"])),
            ("pool.shares", text(&side["shares"]["accepted"])),
        ];
        let all = workers["workers"].as_array().cloned().unwrap_or_default();
        let rate = |worker: &Value| worker["rates"]["15m"].as_f64().unwrap_or(0.0);
        let most = all.iter().map(rate).fold(0.0, f64::max).max(1e-9);
        let bar = |worker: &Value| {
            let name = format!("{:.10}….{:.40}", text(&worker["account"]), text(&worker["worker"]));
            (name, format::hash_rate(rate(worker)), format!("{:.1}", 100.0 * rate(worker) / most))
        };
        page.bars = all.iter().take(WORKERS).map(bar).collect();
        page.tables = vec![
            PoolTable {
                title: "pool.blocks",
                heads: vec!["pool.height", "pool.chain", "pool.reward", "pool.state"],
                rows: rows(&blocks, "blocks", &["height", "chain", "reward", "state"]),
            },
            PoolTable {
                title: "pool.payments",
                heads: vec!["pool.chain", "pool.total", "pool.hash", "pool.state"],
                rows: rows(&payments, "rows", &["chain", "total", "hash", "state"]),
            },
        ];
    }
    view::show(&page)
}
