//! Parameters that a chain can be built on.

use crate::error::ChainError;
use bmm_ledger::exec::header::{MAX_GAS_LIMIT, MIN_GAS_LIMIT};
use bmm_pow::{Asert, Difficulty};
use bmm_types::{Amount, ChainParams, system::MAX_PROOF_HASHES};

/// All basis points.
const WHOLE_BPS: u32 = 10_000;

/// Checks the parameters, and makes the schedule of difficulty that they describe.
///
/// # Errors
/// [`ChainError::Params`] with the first field that is out of range.
pub(crate) fn check(params: &ChainParams) -> Result<Asert, ChainError> {
    let must = |holds: bool, field, what| if holds { Ok(()) } else { Err(ChainError::Params { field, what }) };
    let min_difficulty = Difficulty::new(params.min_difficulty)
        .ok_or(ChainError::Params { field: "min_difficulty", what: "must be at least 1" })?;
    must(params.asert_half_life_secs > 0, "asert_half_life_secs", "must be at least 1")?;
    let gas = (MIN_GAS_LIMIT..=MAX_GAS_LIMIT).contains(&params.gas_limit);
    must(gas, "gas_limit", "must be at least 5000 and at most 2^63 - 1")?;
    if let Some(emission) = &params.emission {
        must(emission.blocks_per_era > 0, "emission.blocks_per_era", "must be at least 1")?;
        let shares = [emission.producer_bps, emission.resources_bps, emission.footstones_bps];
        let sum: u32 = shares.into_iter().map(u32::from).sum();
        must(sum == WHOLE_BPS, "emission", "producer_bps, resources_bps and footstones_bps must add up to 10000")?;
    }
    if let Some(jobs) = &params.jobs {
        must(u32::from(jobs.fee_bps) <= WHOLE_BPS, "jobs.fee_bps", "must be at most 10000")?;
        let kept = params.base_fee_to.is_some();
        must(
            kept,
            "base_fee_to",
            "must be set where `jobs` is: the Token says how many units exist, so no fee may destroy one",
        )?;
    }
    check_rights(params)?;
    let mined = params.emission.map_or(Amount::ZERO, |emission| emission.mined_total);
    let supply = params.alloc.iter().try_fold(mined, |sum, allocation| sum.checked_add(allocation.balance));
    // The escrow counts in 128 bits.
    let fits = supply.is_some_and(|supply| supply <= Amount::from_units(u128::MAX));
    must(fits, "alloc", "all allocations and `emission.mined_total` must stay below 2^128 units together")?;
    Ok(Asert::new(params.genesis_time, params.block_secs, params.asert_half_life_secs, min_difficulty))
}

/// Checks the rules of the resource ledger and of the footstones.
fn check_rights(params: &ChainParams) -> Result<(), ChainError> {
    let must = |holds: bool, field, what| if holds { Ok(()) } else { Err(ChainError::Params { field, what }) };
    let bps = |value: u16| u32::from(value) <= WHOLE_BPS;
    if let Some(rules) = &params.resources {
        must(params.jobs.is_some(), "resources", "must be absent where `jobs` is")?;
        must(params.epoch_blocks >= 4, "epoch_blocks", "must be at least 4 where there are `resources`")?;
        let hashes = (3..=MAX_PROOF_HASHES).contains(&rules.proof_hashes);
        must(hashes, "resources.proof_hashes", "must be 3 to 64")?;
        must(rules.sols_per_unit > 0, "resources.sols_per_unit", "must be at least 1")?;
        must(rules.fee_per_unit > Amount::ZERO, "resources.fee_per_unit", "must be at least 1 unit")?;
        must(rules.epochs_to_double > 0, "resources.epochs_to_double", "must be at least 1")?;
        must(bps(rules.hash_bps), "resources.hash_bps", "must be at most 10000")?;
        must(bps(rules.fee_return_bps), "resources.fee_return_bps", "must be at most 10000")?;
        must(bps(rules.referral_bps), "resources.referral_bps", "must be at most 10000")?;
    }
    if let Some(rules) = &params.footstones {
        must(params.resources.is_some(), "footstones", "must be absent where `resources` is")?;
        let divides = params.epoch_blocks.checked_rem(rules.checkpoint_blocks) == Some(0);
        must(divides, "footstones.checkpoint_blocks", "must divide `epoch_blocks`")?;
        must(rules.least_weight > Amount::ZERO, "footstones.least_weight", "must be at least 1 unit")?;
        must(rules.bond_per_unit > Amount::ZERO, "footstones.bond_per_unit", "must be at least 1 unit")?;
        must(bps(rules.bounty_bps), "footstones.bounty_bps", "must be at most 10000")?;
        must(bps(rules.lost_bet_bps), "footstones.lost_bet_bps", "must be at most 10000")?;
        must(bps(rules.leak_bps), "footstones.leak_bps", "must be at most 10000")?;
    }
    Ok(())
}
