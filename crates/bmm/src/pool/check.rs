//! `bmm pool check`: works a block's pay out anew, from the shares that the pool publishes.

use super::reports::{api_of, ask};
use crate::{
    cli::Context,
    failure::{Failure, Outcome},
    output,
};
use alloy_primitives::{Address, B256};
use bmm_pool::{
    accountant::SOLO_LOG,
    api::{MAX_SHARES, SharePage},
    log::{LoggedShare, extend},
    payout::{Division, PayRule, Window},
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Most shares that a window is believed to have.
const MAX_WINDOW_SHARES: u64 = 20_000_000;

/// A block as the pool publishes it.
#[derive(Debug, Deserialize)]
struct Published {
    number: u64,
    chain: String,
    id: String,
    log: String,
    share: u64,
    oldest: u64,
    root: B256,
    finder: Address,
    reward: String,
    window_blocks: u32,
    fee_basis_points: u16,
}

#[derive(Debug, Deserialize)]
struct PublishedCredit {
    account: Address,
    amount: String,
}

#[derive(Debug, Deserialize)]
struct Rows<T> {
    rows: Vec<T>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    block: u64,
    chain: String,
    id: String,
    /// Shares that were read and hashed.
    shares: u64,
    account: Address,
    /// The account's shares among them.
    own_shares: u64,
    /// By the rule, in base units.
    right: String,
    /// As the pool has it.
    booked: String,
    ok: bool,
}

/// Answers `bmm pool check`: the block's root follows from the shares, and the account's pay from them.
pub fn check(context: &Context, named: Option<&str>, block: u64, account: Address) -> Outcome {
    let base = api_of(context, named)?;
    let published: Published = ask(&base, &format!("/api/v1/blocks/{block}"))?;
    let credits: Rows<PublishedCredit> = ask(&base, &format!("/api/v1/blocks/{block}/credits?account={account}"))?;
    let shares = download(&base, &published)?;
    let rule = PayRule::new(published.window_blocks, published.fee_basis_points)
        .ok_or_else(|| wrong(&published, "its window or its fee is none"))?;
    let reward: u128 = published.reward.parse().map_err(|_| wrong(&published, "its reward is no number"))?;
    let division = if published.log == SOLO_LOG {
        Division::solo(rule, reward, published.finder)
    } else {
        let window = Window::of(rule, &published.chain, shares.iter().cloned().map(Ok::<_, Failure>))?;
        if window.oldest.is_some_and(|oldest| oldest != published.oldest) {
            return Err(wrong(&published, "its window begins at another share"));
        }
        Division::of(rule, reward, &window)
    };
    let right = division.pay.get(&account).copied().unwrap_or(0).to_string();
    let booked =
        credits.rows.iter().find(|row| row.account == account).map_or("0", |row| row.amount.as_str()).to_owned();
    let own = shares.iter().filter(|share| share.account == account).count();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let finding = Finding {
        block: published.number,
        chain: published.chain.clone(),
        id: published.id.clone(),
        shares: count(shares.len()),
        account,
        own_shares: count(own),
        ok: right == booked,
        right,
        booked,
    };
    let mut text = format!(
        "block {} ({} {}): the published root follows from {} shares, {} of them yours",
        finding.block, finding.chain, finding.id, finding.shares, finding.own_shares
    );
    let _ = write!(text, "\npay by the rule: {}; as booked: {} (base units)", finding.right, finding.booked);
    output::print(context.global.json, &finding, text);
    if finding.ok { Ok(()) } else { Err(wrong(&published, "the pay is not what the rule says")) }
}

fn wrong(block: &Published, what: &str) -> Failure {
    Failure::user(format!("block {} of {} is not as it should be: {what}", block.id, block.chain))
        .hint("show the pool's operator what `bmm pool check --json` prints, and compare with other miners")
}

/// Reads the shares that count, newest first, and holds them against the published root.
fn download(base: &str, block: &Published) -> Outcome<Vec<LoggedShare>> {
    let mut shares: Vec<LoggedShare> = Vec::new();
    let oldest = if block.log == SOLO_LOG { block.share } else { block.oldest };
    let mut to = block.share;
    if block.share.saturating_sub(oldest) >= MAX_WINDOW_SHARES {
        return Err(wrong(block, "its window is said to have more than 20 million shares"));
    }
    // Pages go backwards, the chain forwards: each page's end must be what the page after it begins with.
    let mut root_after = block.root;
    loop {
        let limit = to.saturating_sub(oldest).saturating_add(1).min(MAX_SHARES);
        let page: SharePage = ask(base, &format!("/api/v1/shares?log={}&to={to}&limit={limit}", block.log))?;
        let logged = page.logged().filter(|logged| !logged.is_empty() && page.to == to);
        let logged = logged.ok_or_else(|| wrong(block, "the shares that the pool sends contradict themselves"))?;
        let made = logged.iter().rev().fold(page.root_before, extend);
        if made != root_after {
            return Err(wrong(block, "the root that was published does not follow from the shares"));
        }
        root_after = page.root_before;
        let last = logged.last().map_or(0, |share| share.number);
        shares.extend(logged);
        if last <= oldest {
            shares.retain(|share| share.number >= oldest);
            return Ok(shares);
        }
        to = last.saturating_sub(1);
    }
}
