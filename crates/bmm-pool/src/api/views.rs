//! What the answers look like.

use super::{ApiState, Side};
use crate::{
    books::{Balance, BlockRecord, BooksError, Payment},
    job::ChainWork,
    payout::BLOCK_WEIGHT,
    server::{HashRates, WorkerSnapshot, stats::Counts},
    source::{BMM, ChainStatus},
    stratum::Reject,
};
use alloy_primitives::{Address, B256, U256};
use serde::Serialize;
use std::collections::BTreeMap;

/// Hashes a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Over a minute.
    #[serde(rename = "1m")]
    pub minute: f64,
    /// Over a quarter of an hour.
    #[serde(rename = "15m")]
    pub quarter: f64,
    /// Over a day.
    #[serde(rename = "24h")]
    pub day: f64,
}

impl From<HashRates> for Rates {
    fn from(rates: HashRates) -> Self {
        Self { minute: rates.minute, quarter: rates.quarter, day: rates.day }
    }
}

/// Shares since the server started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shares {
    /// Accepted ones.
    pub accepted: u64,
    /// Refused ones by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// When the last one was accepted, in Unix milliseconds; 0 if none was.
    pub last_millis: u64,
}

/// Returns the name of a reason for refusing a share.
pub(super) const fn reason(reject: Reject) -> &'static str {
    match reject {
        Reject::Other => "other",
        Reject::Stale => "stale",
        Reject::Duplicate => "duplicate",
        Reject::LowDifficulty => "low_difficulty",
        Reject::Unauthorised => "unauthorised",
        Reject::NotSubscribed => "not_subscribed",
    }
}

impl From<&Counts> for Shares {
    fn from(counts: &Counts) -> Self {
        let rejected = Reject::ALL.into_iter().map(reason).zip(counts.rejected).collect();
        Self { accepted: counts.accepted, rejected, last_millis: counts.last_share_millis }
    }
}

/// A chain that is worked on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChainView {
    /// How it stands.
    #[serde(flatten)]
    pub status: ChainStatus,
    /// Hashes that its block takes on average; none while it gives no work.
    pub difficulty: Option<String>,
    /// How long the miners take for its block at their rate of a quarter of an hour, in seconds.
    pub expected_secs: Option<f64>,
    /// Hashes a second of everybody who mines the chain, where they are known.
    pub network_rate: Option<f64>,
    /// The miners' part of them, by their rate of a quarter of an hour: 1 is all.
    pub network_share: Option<f64>,
    /// Mean work of the last blocks, as a part of what was to be expected: below 1 is luck.
    pub effort: Option<f64>,
    /// How many blocks that is the mean of, at most 100.
    pub blocks_counted: usize,
}

/// One side of the pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideView {
    /// `pool` or `solo`.
    pub name: &'static str,
    /// Connections.
    pub connections: usize,
    /// Workers that are connected.
    pub workers: usize,
    /// Hash rates.
    pub rates: Rates,
    /// Shares.
    pub shares: Shares,
    /// Shares in the log, ever.
    pub log_shares: u64,
    /// Root of the log after them.
    pub log_root: B256,
    /// Chains.
    pub chains: Vec<ChainView>,
}

/// The pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolView {
    /// Whom blocks pay.
    pub wallet: String,
    /// The fee in hundredths of a percent.
    pub fee_basis_points: u16,
    /// How many blocks' work the window of BMM holds.
    pub window_blocks: u32,
    /// Least balance that is paid.
    pub min_payment: String,
    /// What a miner pays for a payment.
    pub payment_fee: String,
    /// Its sides.
    pub sides: Vec<SideView>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for it.
    pub worker: String,
    /// The side that it mines at.
    pub side: &'static str,
    /// Connections that it has.
    pub connections: u32,
    /// Since when, in Unix milliseconds; 0 if it has none.
    pub connected_since_millis: u64,
    /// Difficulty of its shares, where 1 is 65,536 hashes.
    pub difficulty: Option<f64>,
    /// Its software, as it says.
    pub agent: String,
    /// Hash rates.
    pub rates: Rates,
    /// Shares.
    pub shares: Shares,
}

/// Workers, those with the highest rate first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerPage {
    /// Some of them.
    pub workers: Vec<WorkerView>,
    /// How many there are.
    pub total: usize,
    /// `offset` of the next page, if there is one.
    pub next: Option<usize>,
}

/// A block, with what is said of it in parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockView {
    /// As the books have it.
    #[serde(flatten)]
    pub record: BlockRecord,
    /// Work since the block before, as a part of what was to be expected: below 1 is luck.
    pub luck: f64,
}

/// Blocks, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockPage {
    /// Some of them.
    pub blocks: Vec<BlockView>,
    /// `before` of the next page, if there is one.
    pub next: Option<u64>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountView {
    /// The account.
    pub account: Address,
    /// What it has, by chain.
    pub balances: Vec<Balance>,
    /// What blocks that are not final are to bring it, by chain, in base units.
    pub immature: BTreeMap<String, String>,
    /// Its workers, at most 500.
    pub workers: Vec<WorkerView>,
    /// Its newest payments, at most 20.
    pub payments: Vec<Payment>,
}

/// A weight as a part of a block's work, for people.
pub(super) fn part(weight: u128) -> f64 {
    // Six digits, exact: below 2^53 for whatever a log can hold.
    let millionths = weight.checked_div(BLOCK_WEIGHT / 1_000_000).unwrap_or(0);
    f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 1e6
}

/// A large number, for people.
pub(super) fn float(number: U256) -> f64 {
    number.to_string().parse().unwrap_or(f64::MAX)
}

impl From<BlockRecord> for BlockView {
    fn from(record: BlockRecord) -> Self {
        Self { luck: part(record.effort), record }
    }
}

impl WorkerView {
    fn new(side: &'static str, worker: &WorkerSnapshot) -> Self {
        Self {
            account: worker.account,
            worker: worker.worker.to_string(),
            side,
            connections: worker.connections,
            connected_since_millis: worker.connected_since_millis,
            difficulty: worker.difficulty.map(|difficulty| float(U256::from(difficulty.get())) / 65_536.0),
            agent: worker.agent.to_string(),
            rates: worker.rates.into(),
            shares: Shares::from(&worker.counts),
        }
    }
}

/// Returns the workers of some sides, or those of one account, those with the highest rate of a quarter of an hour first.
pub(super) fn workers(sides: &[Side], account: Option<Address>, now: u64) -> Vec<WorkerView> {
    let of = |side: &Side| {
        let name = side.name;
        side.stats.workers(account, now).into_iter().map(move |worker| WorkerView::new(name, &worker))
    };
    let mut all: Vec<WorkerView> = sides.iter().flat_map(of).collect();
    all.sort_by(|a, b| {
        let by_rate = b.rates.quarter.total_cmp(&a.rates.quarter);
        by_rate.then_with(|| (a.account, &a.worker, a.side).cmp(&(b.account, &b.worker, b.side)))
    });
    all
}

impl SideView {
    pub(super) async fn new(side: &Side, state: &ApiState, now: u64) -> Result<Self, BooksError> {
        let pool = side.stats.pool(now);
        let workers = side.stats.workers(None, now).iter().filter(|worker| worker.connections > 0).count();
        let job = side.jobs.borrow().clone();
        let mut chains = Vec::new();
        for status in (side.chains)() {
            let work: Option<&ChainWork> = job.chains.iter().find(|work| *work.name == *status.name);
            let difficulty = work.map(|work| work.target.difficulty().get());
            let network_rate = (*status.name == *BMM).then(|| *state.network.borrow()).flatten();
            let recent = state.books.efforts(&status.name, side.name, 100).await?;
            let sum: f64 = recent.iter().map(|effort| part(*effort)).sum();
            let count = f64::from(u32::try_from(recent.len()).unwrap_or(u32::MAX));
            let rate = pool.rates.quarter;
            chains.push(ChainView {
                difficulty: difficulty.map(|difficulty| difficulty.to_string()),
                expected_secs: difficulty.map(float).filter(|_| rate > 0.0).map(|hashes| hashes / rate),
                network_rate,
                network_share: network_rate.filter(|network| *network > 0.0).map(|network| rate / network),
                effort: (!recent.is_empty()).then_some(sum / count),
                blocks_counted: recent.len(),
                status,
            });
        }
        Ok(Self {
            name: side.name,
            connections: pool.connections,
            workers,
            rates: pool.rates.into(),
            shares: Shares::from(&pool.counts),
            log_shares: side.log.next(),
            log_root: side.log.root(),
            chains,
        })
    }
}
