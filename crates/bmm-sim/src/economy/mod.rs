//! What attacks on the chain's rewards cost and gain, by the rules themselves: the emission, the shares of the resource pot, the estimate of hash
//! work, the price of bets. Integers only; nothing is random but the hashes that are drawn by a seed.

mod bribes;
mod pot;
mod report;
mod rights;
mod spoofs;

use bmm_ledger::emission;
use bmm_types::{Amount, ChainParams, params::FootstoneRules};
use clap::Args;
use serde::Serialize;

pub use report::Report;

/// Units in a BMM.
const BMM: u128 = 1_000_000_000_000_000_000;

/// One attack at one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What is done.
    pub attack: &'static str,
    /// The setting.
    pub setting: String,
    /// Units that it costs.
    pub cost: u128,
    /// Units that it brings beyond what the attacker has without it.
    pub gain: u128,
    /// Whether it is an attack; otherwise the row shows what is earned in the plain way.
    pub is_attack: bool,
}

impl Row {
    /// Whether the attack brings more than it costs.
    pub fn pays(&self) -> bool {
        self.is_attack && self.gain > self.cost
    }
}

/// Emission of a chain's first epoch, in units.
#[derive(Clone, Copy, Debug)]
struct Emitted {
    /// For producers, of one block.
    producer: u128,
    /// For the resource pot, of an epoch.
    resources: u128,
    /// For the footstones, of an epoch.
    footstones: u128,
}

impl Emitted {
    fn of(params: &ChainParams) -> Self {
        let emission = params.emission.as_ref();
        let blocks = u128::from(params.epoch_blocks);
        let reward = emission.map(|emission| emission::reward(emission, 1)).unwrap_or_default();
        Self {
            producer: reward.producer.saturating_to(),
            resources: reward.resources.saturating_to::<u128>() * blocks,
            footstones: reward.footstones.saturating_to::<u128>() * blocks,
        }
    }
}

/// Parameters that can be tried instead of the public chain's.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Options {
    /// Most that the compute class earns, in basis points of the fees paid for its work
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub fee_return: Option<u16>,
    /// Weight in BMM below which the set makes nothing final
    #[arg(long, value_name = "BMM", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub least_weight: Option<u64>,
}

/// Goes through all attacks at the parameters of the public chain, but for those of `options`.
pub fn run(options: Options) -> Report {
    let mut params = ChainParams::main();
    if let (Some(rules), Some(bps)) = (&mut params.resources, options.fee_return) {
        rules.fee_return_bps = bps;
    }
    if let (Some(rules), Some(weight)) = (&mut params.footstones, options.least_weight) {
        rules.least_weight = Amount::from_bmm(weight);
    }
    let emitted = Emitted::of(&params);
    let mut rows = Vec::new();
    if let (Some(resources), Some(footstones)) = (&params.resources, &params.footstones) {
        rows.extend(pot::self_dealing(resources, emitted));
        rows.extend(rights::bought(resources, footstones, emitted));
        rows.extend(spoofs::lucky_proofs(resources));
        rows.extend(spoofs::referrals(resources, emitted));
        rows.extend(bribes::rows(footstones, &params, emitted));
        rows.extend(spoofs::pool_and_solo(resources, emitted));
    }
    Report { chain: params.name, rows }
}

/// The least weight of a set, in BMM.
fn least_weight(rules: &FootstoneRules) -> u128 {
    rules.least_weight.units().saturating_to::<u128>() / BMM
}

/// Writes units as BMM with one decimal, rounded down.
fn bmm(units: u128) -> String {
    format!("{}.{}", units / BMM, units % BMM * 10 / BMM)
}
