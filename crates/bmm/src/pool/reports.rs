//! What is told of a pool: of a running one by its API, of its payments by its books.

use super::{
    run::{Running, running_file},
    setup::books_failure,
};
use crate::{
    cli::Context,
    failure::{Failure, Outcome},
    output,
    paths::DataDir,
};
use alloy_primitives::Address;
use bmm_pool::books::{Audit, Balance, Books, Payment};
use bmm_types::Amount;
use serde::Serialize;
use serde_json::Value;
use std::{fmt::Write as _, time::Duration};
use ureq::Agent;

/// Largest answer of a pool that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Reads what the pool of a data folder told of itself when it started; `None` while none runs.
pub fn running(data: &DataDir) -> Option<Running> {
    serde_json::from_slice(&std::fs::read(running_file(&data.pool())).ok()?).ok()
}

/// Returns the address of the pool's API: the one that was named, or that of the pool which runs in the data folder.
pub fn api_of(context: &Context, named: Option<&str>) -> Outcome<String> {
    if let Some(url) = named {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let running = running(&context.data).ok_or_else(|| {
        Failure::user(format!("no pool runs in the data folder {}", context.data.root().display()))
            .hint("start one with `bmm pool`, or name one with --pool URL")
    })?;
    let address = running.api.first().ok_or_else(|| {
        Failure::user("the pool that runs here serves no API").hint("set pool.api_listen in the configuration")
    })?;
    Ok(format!("http://{address}"))
}

/// Asks a pool.
pub fn ask<T: serde::de::DeserializeOwned>(base: &str, path: &str) -> Outcome<T> {
    let config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .max_redirects(0)
        .build();
    let url = format!("{base}{path}");
    let unreachable = |error: ureq::Error| {
        Failure::user(format!("no pool answers at {base}: {error}"))
            .hint("does it run? name another one with --pool URL")
    };
    let mut answer = Agent::from(config).get(&url).call().map_err(unreachable)?;
    let text = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().map_err(unreachable)?;
    if !answer.status().is_success() {
        let said = serde_json::from_str::<Value>(&text).ok();
        let said = said.as_ref().and_then(|value| value["error"].as_str()).unwrap_or("no reason is given");
        let said: String = said.chars().filter(|letter| !letter.is_control()).take(300).collect();
        return Err(Failure::user(format!("the pool at {base} refuses {path}: {said}")));
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::config(format!("what answers at {url} is no pool: {error}"))
            .hint("name the pool's API with --pool URL")
    })
}

/// Answers `bmm pool status`.
pub fn status(context: &Context, named: Option<&str>) -> Outcome {
    let base = api_of(context, named)?;
    let pool: Value = ask(&base, "/api/v1/pool")?;
    let mut text = format!("pool of {} at {base}", pool["wallet"].as_str().unwrap_or("?"));
    for side in pool["sides"].as_array().into_iter().flatten() {
        let _ = write!(
            text,
            "\n{}: {} of {} workers, {} shares, {} in the log",
            side["name"].as_str().unwrap_or("?"),
            rate(&side["rates"]["15m"]),
            side["workers"],
            side["shares"]["accepted"],
            side["log_shares"]
        );
        for chain in side["chains"].as_array().into_iter().flatten() {
            let effort =
                chain["effort"].as_f64().map_or(String::new(), |effort| format!(", effort {:.0} %", effort * 100.0));
            let error = chain["error"].as_str().map_or(String::new(), |error| format!(", {}", shown(error)));
            let name = shown(chain["name"].as_str().unwrap_or("?"));
            let _ = write!(text, "\n  {name} at height {}: {} blocks{effort}{error}", chain["height"], chain["taken"]);
        }
    }
    output::print(context.global.json, &pool, text);
    Ok(())
}

/// Answers `bmm pool workers`.
pub fn workers(context: &Context, named: Option<&str>, account: Option<Address>) -> Outcome {
    let base = api_of(context, named)?;
    let account = account.map_or(String::new(), |account| format!("&account={account}"));
    let page: Value = ask(&base, &format!("/api/v1/workers?limit=500{account}"))?;
    let mut text = format!(
        "{:<42} {:<16} {:>12} {:>12} {:>12} {:>9} {:>9}",
        "account", "worker", "1 m", "15 m", "24 h", "accepted", "refused"
    );
    for worker in page["workers"].as_array().into_iter().flatten() {
        let refused: u64 = worker["shares"]["rejected"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        let rates = &worker["rates"];
        let _ = write!(
            text,
            "\n{:<42} {:<16} {:>12} {:>12} {:>12} {:>9} {refused:>9}",
            shown(worker["account"].as_str().unwrap_or("?")),
            shown(worker["worker"].as_str().unwrap_or("")),
            rate(&rates["1m"]),
            rate(&rates["15m"]),
            rate(&rates["24h"]),
            worker["shares"]["accepted"].to_string(),
        );
    }
    output::print(context.global.json, &page, text);
    Ok(())
}

/// What `bmm pool payments` is asked.
#[derive(Debug, Default)]
pub struct PaymentsQuery {
    /// Of one account.
    pub account: Option<Address>,
    /// How many.
    pub limit: u32,
    /// A payment that never happened, whose money is given back.
    pub give_back: Option<u64>,
    /// An account that is paid again.
    pub release: Option<Address>,
}

/// What `bmm pool payments` prints.
#[derive(Debug, Serialize)]
struct Report {
    payments: Vec<Payment>,
    balances: Vec<Balance>,
    audit: Audit,
    balanced: bool,
}

/// Answers `bmm pool payments`.
pub fn payments(context: &Context, query: &PaymentsQuery) -> Outcome {
    let url = context.config.pool.database(&context.data.pool());
    if let Some(file) = url.strip_prefix("sqlite://")
        && !std::path::Path::new(file.split('?').next().unwrap_or(file)).exists()
    {
        return Err(Failure::user(format!("there are no books at {file}")).hint("a pool makes them: `bmm pool`"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start the database's runtime: {error}")))?;
    let report = runtime.block_on(async {
        let books = Books::open(&url).await?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        if let Some(payment) = query.give_back {
            books.failed(payment, 0, now).await?;
        }
        if let Some(account) = query.release {
            books.hold(super::payer::CHAIN, account, false).await?;
        }
        let balances = match query.account {
            Some(account) => books.account(account).await?,
            None => books.balances(super::payer::CHAIN, "", query.limit).await?,
        };
        let audit = books.audit(super::payer::CHAIN).await?;
        let payments = books.payments(query.account, None, query.limit).await?;
        books.close().await;
        Ok(Report { payments, balances, audit, balanced: audit.is_balanced() })
    });
    let report = report.map_err(|error| books_failure(&url, &error))?;
    let text = text_of(&report);
    output::print(context.global.json, &report, text);
    if report.balanced {
        Ok(())
    } else {
        Err(Failure::internal("the books do not add up: rewards are not balances and payments together")
            .hint("stop the pool, keep a copy of its books, and compare them with the chain"))
    }
}

fn text_of(report: &Report) -> String {
    let amount = |units: u128| Amount::from_units(units).to_string();
    let mut text =
        format!("{:>4} {:<7} {:>28} {:>20} {:>8}  {}", "id", "state", "total", "fees", "block", "transaction");
    for payment in &report.payments {
        let state = format!("{:?}", payment.state).to_lowercase();
        let (total, fees) = match payment.chain.as_str() {
            super::payer::CHAIN => (amount(payment.total), amount(payment.fees)),
            _ => (payment.total.to_string(), payment.fees.to_string()),
        };
        let _ = write!(
            text,
            "\n{:>4} {state:<7} {total:>28} {fees:>20} {:>8}  {}",
            payment.id, payment.block, payment.hash
        );
    }
    let _ = write!(text, "\n\n{:<42} {:>28} {:>28} {:>28}", "account", "balance", "earned", "paid");
    for row in &report.balances {
        let held = if row.held { "  held" } else { "" };
        let [balance, earned, paid] = [row.balance, row.earned, row.paid].map(|units| match row.chain.as_str() {
            super::payer::CHAIN => amount(units),
            _ => format!("{units} ({})", row.chain),
        });
        let _ = write!(text, "\n{:<42} {balance:>28} {earned:>28} {paid:>28}{held}", row.account);
    }
    let Audit { rewards, balances, under_way, paid } = report.audit;
    let _ = write!(
        text,
        "\n\nrewards {} = balances {} + under way {} + paid {}",
        amount(rewards),
        amount(balances),
        amount(under_way),
        amount(paid)
    );
    text
}

/// A hash rate, for people.
fn rate(value: &Value) -> String {
    let mut rate = value.as_f64().unwrap_or(0.0);
    for unit in ["H/s", "kH/s", "MH/s", "GH/s", "TH/s"] {
        if rate < 1_000.0 {
            return format!("{rate:.1} {unit}");
        }
        rate /= 1_000.0;
    }
    format!("{rate:.1} PH/s")
}

/// Text of a stranger's, without what would disturb a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}
