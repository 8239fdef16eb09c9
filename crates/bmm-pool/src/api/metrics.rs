//! Numbers for Prometheus, in its text format.

use super::{
    Api, now_millis,
    views::{SideView, reason},
};
use crate::stratum::Reject;
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use std::{fmt::Write as _, sync::Arc};

/// One metric: name, type, help.
type Head = (&'static str, &'static str, &'static str);

const CONNECTIONS: Head = ("bmm_pool_connections", "gauge", "Open connections of miners.");
const WORKERS: Head = ("bmm_pool_workers", "gauge", "Workers that are connected.");
const RATE: Head = ("bmm_pool_hashes_per_second", "gauge", "Hash rate by accepted shares, averaged over the span.");
const ACCEPTED: Head = ("bmm_pool_shares_accepted_total", "counter", "Accepted shares since the start.");
const REJECTED: Head = ("bmm_pool_shares_rejected_total", "counter", "Refused shares since the start, by reason.");
const LOST: Head =
    ("bmm_pool_shares_lost_total", "counter", "Shares that the log could not keep, and that were refused.");
const LOGGED: Head = ("bmm_pool_log_shares_total", "counter", "Shares in the log, ever.");
const HEIGHT: Head = ("bmm_pool_chain_height", "gauge", "Height that is worked on; 0 while the chain gives no work.");
const NETWORK: Head = ("bmm_pool_network_hashes_per_second", "gauge", "Hash rate of everybody who mines the chain.");
const BLOCKS: Head = ("bmm_pool_blocks_total", "counter", "Blocks since the start, by what the chain said.");
const EFFORT: Head = ("bmm_pool_effort", "gauge", "Mean work of the last 100 blocks, where 1 is to be expected.");
const BALANCES: Head =
    ("bmm_pool_balances", "gauge", "What is owed and not paid, with fee and reserve, in base units.");
const PAID: Head = ("bmm_pool_paid_total", "counter", "What was paid, in base units.");
const BALANCED: Head = ("bmm_pool_books_balanced", "gauge", "1 while every unit of every reward is accounted for.");

/// Text that grows a metric at a time.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, (name, kind, help): Head) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, (name, ..): Head, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, super::routes::Refusal> {
    let state = &api.state;
    let mut sides = Vec::new();
    for side in &state.sides {
        let lost = side.stats.pool(now_millis()).lost_to_log;
        sides.push((SideView::new(side, state, now_millis()).await?, lost));
    }
    let mut page = Page::default();
    miners(&mut page, &sides);
    chains(&mut page, &sides);
    let mut names: Vec<String> =
        sides.iter().flat_map(|(side, _)| side.chains.iter().map(|chain| chain.status.name.clone())).collect();
    names.sort();
    names.dedup();
    let mut audits = Vec::new();
    for name in &names {
        audits.push((name, state.books.audit(name).await?));
    }
    page.head(BALANCES);
    for (chain, audit) in &audits {
        page.line(BALANCES, &[("chain", chain)], audit.balances);
    }
    page.head(PAID);
    for (chain, audit) in &audits {
        page.line(PAID, &[("chain", chain)], audit.paid);
    }
    page.head(BALANCED);
    for (chain, audit) in &audits {
        page.line(BALANCED, &[("chain", chain)], u8::from(audit.is_balanced()));
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], page.0).into_response())
}

fn miners(page: &mut Page, sides: &[(SideView, u64)]) {
    page.head(CONNECTIONS);
    for (side, _) in sides {
        page.line(CONNECTIONS, &[("side", side.name)], side.connections);
    }
    page.head(WORKERS);
    for (side, _) in sides {
        page.line(WORKERS, &[("side", side.name)], side.workers);
    }
    page.head(RATE);
    for (side, _) in sides {
        for (span, rate) in [("1m", side.rates.minute), ("15m", side.rates.quarter), ("24h", side.rates.day)] {
            page.line(RATE, &[("side", side.name), ("span", span)], rate);
        }
    }
    page.head(ACCEPTED);
    for (side, _) in sides {
        page.line(ACCEPTED, &[("side", side.name)], side.shares.accepted);
    }
    page.head(REJECTED);
    for (side, _) in sides {
        for name in Reject::ALL.map(reason) {
            let count = side.shares.rejected.get(name).copied().unwrap_or(0);
            page.line(REJECTED, &[("side", side.name), ("reason", name)], count);
        }
    }
    page.head(LOST);
    for (side, lost) in sides {
        page.line(LOST, &[("side", side.name)], lost);
    }
    page.head(LOGGED);
    for (side, _) in sides {
        page.line(LOGGED, &[("side", side.name)], side.log_shares);
    }
}

fn chains(page: &mut Page, sides: &[(SideView, u64)]) {
    let each = || sides.iter().flat_map(|(side, _)| side.chains.iter().map(move |chain| (side.name, chain)));
    page.head(HEIGHT);
    for (side, chain) in each() {
        page.line(HEIGHT, &[("side", side), ("chain", &chain.status.name)], chain.status.height);
    }
    page.head(BLOCKS);
    for (side, chain) in each() {
        let fates = [("taken", chain.status.taken), ("stale", chain.status.stale), ("refused", chain.status.refused)];
        for (fate, count) in fates {
            page.line(BLOCKS, &[("side", side), ("chain", &chain.status.name), ("fate", fate)], count);
        }
    }
    page.head(NETWORK);
    for (side, chain) in each() {
        if let Some(rate) = chain.network_rate {
            page.line(NETWORK, &[("side", side), ("chain", &chain.status.name)], rate);
        }
    }
    page.head(EFFORT);
    for (side, chain) in each() {
        if let Some(effort) = chain.effort {
            page.line(EFFORT, &[("side", side), ("chain", &chain.status.name)], effort);
        }
    }
}
