//! What the contract answers.

use super::{
    Book, bets, bonds,
    finality::is_justified,
    layout::{BETS, CHECKPOINTS, Counted, SETS, Sets, Shares},
    progress, record, sets,
};
use crate::system::{
    frame::{Frame, Stop},
    jobs::field,
};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use bmm_types::system::Footstones::{
    FootstonesCalls, betOfCall, betOfReturn, candidatesCall, checkpointOfCall, checkpointOfReturn, finalityCall,
    finalityReturn, footstoneOfCall, footstoneOfReturn, setOfCall, setOfReturn,
};

/// Answers a call that reads.
pub(super) fn answer(frame: &mut Frame<'_>, book: &Book<'_>, call: FootstonesCalls) -> Result<Vec<u8>, Stop> {
    use FootstonesCalls as C;
    Ok(match call {
        C::footstoneOf(c) => footstoneOfCall::abi_encode_returns(&footstone_of(frame, c.footstone)?),
        C::candidates(_) => candidatesCall::abi_encode_returns(&candidates(frame)?),
        C::setOf(c) => setOfCall::abi_encode_returns(&set_of(frame, c.previous)?),
        C::finality(_) => finalityCall::abi_encode_returns(&finality(frame, book)?),
        C::checkpointOf(c) => checkpointOfCall::abi_encode_returns(&checkpoint_of(frame, c.checkpoint)?),
        C::betOf(c) => {
            let slot = BETS.inner(frame, c.footstone)?.slot(frame, c.target)?;
            let (bet, since) = (Counted::decode(frame.load(slot)?), progress(frame)?.since);
            let amount = if bets::counts_since(frame, slot, since)? { bet.amount } else { 0 };
            betOfCall::abi_encode_returns(&betOfReturn { source: bet.source, amount: U256::from(amount) })
        }
        _ => return Err(Stop::not_of_the_abi()),
    })
}

fn footstone_of(frame: &mut Frame<'_>, footstone: Address) -> Result<footstoneOfReturn, Stop> {
    let (slot, record) = record(frame, footstone)?;
    let sets = Sets::decode(frame.load(SETS)?);
    Ok(footstoneOfReturn {
        state: record.state,
        bond: U256::from(record.bond),
        freeAt: record.free_at,
        weight: U256::from(sets::seat(frame, slot, sets, false)?),
        lastTarget: record.last_target,
    })
}

fn candidates(frame: &mut Frame<'_>) -> Result<Vec<Address>, Stop> {
    let sets = Sets::decode(frame.load(SETS)?);
    (0..sets.candidates).map(|index| bonds::candidate(frame, index)).collect()
}

fn set_of(frame: &mut Frame<'_>, previous: bool) -> Result<setOfReturn, Stop> {
    let sets = Sets::decode(frame.load(SETS)?);
    let since = if previous { sets::head(frame, sets, true)?.made } else { sets::electorate(frame)?.since() };
    let (members, weights) = sets::members(frame, sets, previous)?.into_iter().unzip();
    Ok(setOfReturn { since, members, weights })
}

fn id(frame: &mut Frame<'_>, checkpoint: u64) -> Result<B256, Stop> {
    let slot = CHECKPOINTS.slot(frame, checkpoint)?;
    Ok(frame.load(slot)?.into())
}

fn finality(frame: &mut Frame<'_>, book: &Book<'_>) -> Result<finalityReturn, Stop> {
    let progress = progress(frame)?;
    let current = sets::electorate(frame)?.current;
    Ok(finalityReturn {
        justified: progress.justified,
        justifiedHash: id(frame, progress.justified)?,
        finalised: progress.finalised,
        finalisedHash: id(frame, progress.finalised)?,
        enabled: sets::is_enabled(book, current),
    })
}

fn checkpoint_of(frame: &mut Frame<'_>, checkpoint: u64) -> Result<checkpointOfReturn, Stop> {
    let slot = CHECKPOINTS.slot(frame, checkpoint)?;
    let hash: B256 = frame.load(slot)?.into();
    let shares = Shares::decode(frame.load(field(slot, 1))?);
    Ok(checkpointOfReturn {
        hash,
        justified: !hash.is_zero() && is_justified(frame, checkpoint)?,
        betAmount: U256::from(shares.amount),
        pot: U256::from(shares.pot),
    })
}
