//! The first page: what the network does now.

use crate::{
    Frame, PageError, Site, Visit,
    chart::{self, Columns, Series},
    format,
};
use alloy_primitives::U256;
use askama::Template;
use axum::{extract::State, response::Html};
use bmm_index::{BlockEntry, Summary};
use bmm_types::{Amount, system};
use std::sync::Arc;

/// Blocks of the list.
const BLOCKS: u32 = 10;

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    f: Frame<'a>,
    now: u64,
    chain: &'a str,
    head: u64,
    head_time: u64,
    facts: Facts,
    summary: &'a Summary,
    rate: Columns,
    producers: Vec<Series>,
    blocks: Vec<BlockEntry>,
}

/// Numbers that change with the head.
pub(crate) struct Facts {
    pub final_block: Option<u64>,
    pub justified: Option<u64>,
    pub footstones: usize,
    pub enabled: bool,
    pub base_fee: u64,
    pub pending: usize,
    pub peers: Option<usize>,
    pub supply: U256,
    pub emission: U256,
    pub compute: crate::Compute,
}

impl Facts {
    pub fn read(site: &Site) -> Self {
        let chain = &site.chain;
        let (head, params) = (chain.head(), chain.params());
        let finality = chain.finality();
        let number = |checkpoint| chain.checkpoint_number(checkpoint);
        let emitted = |emission| bmm_ledger::emission::emitted(emission, head.number());
        let minted = params.emission.as_ref().map_or(U256::ZERO, emitted);
        let next = |emission| bmm_ledger::emission::emission_of(emission, head.number().saturating_add(1));
        let pool = chain.pool_status();
        Self {
            final_block: finality.as_ref().map(|status| number(status.finalised)),
            justified: finality.as_ref().map(|status| number(status.justified)),
            footstones: finality.as_ref().map_or(0, |status| status.rights.current.members.len()),
            enabled: finality.as_ref().is_some_and(|status| status.rights.enabled),
            base_fee: chain.next_base_fee(),
            pending: pool.pending.saturating_add(pool.queued),
            peers: (site.peers)(),
            supply: params.genesis_supply().units().saturating_add(minted),
            emission: params.emission.as_ref().map_or(U256::ZERO, next),
            compute: (site.compute)(),
        }
    }

    /// Writes a fee of units per gas as what a plain transfer costs.
    pub fn transfer_fee(&self) -> String {
        let fee = U256::from(self.base_fee).saturating_mul(U256::from(21_000));
        // Less than a millionth of a coin says no more in digits.
        if fee < U256::from(1_000_000_000_000u64) { "< 0.000001".to_owned() } else { format::amount(fee, 6) }
    }

    /// Writes the median price of 10^9 units of fuel.
    pub fn price(&self) -> String {
        self.compute.prices.map_or_else(|| "–".to_owned(), |(_, median)| format::amount(median, 6))
    }

    /// Writes the part of all coins that exists.
    pub fn of_cap(&self) -> String {
        format::percent(f64::from(self.supply), f64::from(bmm_types::params::supply_cap().units()))
    }
}

/// Makes hashes a second of the hashes of each hour. Of a chain that is younger than a day, its first hour counts as far as there was one.
fn rates(summary: &Summary, work_by_hour: &[f64]) -> Vec<f64> {
    let hours = (0u64..).zip(work_by_hour.iter().rev());
    let mut rates: Vec<f64> = hours
        .map(|(hour, work)| {
            let secs = summary.seconds.saturating_sub(hour * 3_600).clamp(60, 3_600);
            work / f64::from(u32::try_from(secs).unwrap_or(u32::MAX))
        })
        .collect();
    rates.reverse();
    rates
}

/// Makes the series of the producers: the largest five by name, all others together.
pub(crate) fn producers(summary: &Summary, others: &str) -> Vec<Series> {
    let (named, rest) = summary.producers.split_at(summary.producers.len().min(chart::COLOURS - 1));
    let (all, most) = (summary.work(), named.first().map_or(0.0, |producer| producer.work));
    let share = |work: f64| if most > 0.0 { format!("{:.1}", 100.0 * (work / most).min(1.0)) } else { "0".to_owned() };
    let mut series: Vec<Series> = (0usize..)
        .zip(named)
        .map(|(colour, producer)| Series {
            label: format::who(&producer.address),
            link: format!("/address/{}", producer.address),
            colour,
            values: rates(summary, &producer.work_by_hour),
            total: format::grouped(producer.blocks),
            part: format::percent(producer.work, all),
            width: share(producer.work),
        })
        .collect();
    if !rest.is_empty() {
        let mut values = vec![0.0; 24];
        for producer in rest {
            for (value, rate) in values.iter_mut().zip(rates(summary, &producer.work_by_hour)) {
                *value += rate;
            }
        }
        let work: f64 = rest.iter().map(|producer| producer.work).sum();
        series.push(Series {
            label: format!("{others} ({})", rest.len()),
            link: String::new(),
            colour: chart::COLOURS - 1,
            values,
            total: format::grouped(rest.iter().map(|producer| producer.blocks).sum::<u64>()),
            part: format::percent(work, all),
            width: share(work),
        });
    }
    series
}

/// `GET /`
pub(crate) async fn page(State(site): State<Arc<Site>>, visit: Visit) -> Result<Html<String>, PageError> {
    let (t, summary, head) = (visit.texts, site.summary(), site.chain.head());
    let blocks = site.index.blocks(u64::MAX, BLOCKS).await?;
    let producers = producers(&summary, t.s("home.others"));
    let name = |column: usize, value: f64| format!("−{} h: {}", 24 - column, format::hash_rate(value));
    let rate = chart::columns(&producers, t.s("home.rate_chart"), name);
    let page = Home {
        f: Frame::new(&visit, t.s("home.title")).live("/live"),
        now: site.chain.now_secs(),
        chain: &site.chain.params().name,
        head: head.number(),
        head_time: head.header.timestamp,
        facts: Facts::read(&site),
        summary: &summary,
        rate,
        producers,
        blocks,
    };
    Ok(Html(page.render()?))
}

/// Returns the coins that nobody can spend yet or that belong to everybody, for the supply's page.
pub(crate) fn held(site: &Site) -> Result<Vec<(&'static str, Amount)>, PageError> {
    let state = site.chain.state(alloy_eips::BlockId::latest())?;
    let pots = [system::RESOURCES, system::FOOTSTONES, system::AIRDROP, system::VESTING, system::TREASURY];
    let read = |address| -> Result<_, PageError> {
        let balance = state.account(address)?.map_or(U256::ZERO, |account| account.balance);
        Ok((format::system_name(&address).unwrap_or_default(), Amount(balance)))
    };
    pots.into_iter().map(read).collect()
}
