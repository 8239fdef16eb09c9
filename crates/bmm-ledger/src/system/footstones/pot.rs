//! The pot: what comes between two checkpoints that become final, and who gets it.

use super::{
    Book,
    layout::{BETS, CHECKPOINTS, Counted, Progress, SUMS, Shares},
    progress, sums,
};
use crate::system::{
    frame::{Frame, Stop, ensure},
    jobs::field,
    resources::mul_div,
};
use alloy_primitives::{Address, U256};
use bmm_types::system::{
    FOOTSTONES,
    Footstones::{Finalised, NothingOwed, Rewarded},
    MAX_REWARDED, RESOURCES,
};

/// Checkpoint intervals of which the pot keeps what came, if nothing becomes final for longer.
const KEPT_INTERVALS: u64 = 4;

/// Rule: of what came in more than four intervals without anything becoming final, the resource pot gets all but the part of four of
/// them. Returns the units that the pot holds then.
pub(super) fn gather(frame: &mut Frame<'_>, book: &Book<'_>, progress: &mut Progress) -> Result<u128, Stop> {
    let sums = sums(frame)?;
    let balance: u128 = frame.balance(FOOTSTONES)?.saturating_to();
    let pot = balance.saturating_sub(sums.bonds).saturating_sub(sums.owed);
    let blocks = frame.height().saturating_sub(progress.shared);
    let kept_blocks = book.rules.checkpoint_blocks.saturating_mul(KEPT_INTERVALS);
    if blocks <= kept_blocks {
        return Ok(pot);
    }
    let kept = mul_div(pot, kept_blocks.into(), blocks.into());
    progress.shared = frame.height().saturating_sub(kept_blocks);
    frame.pay(RESOURCES, U256::from(pot.saturating_sub(kept)))?;
    Ok(kept)
}

/// Makes a justified checkpoint final: its bettors share the pot.
pub(super) fn finalise(
    frame: &mut Frame<'_>,
    book: &Book<'_>,
    progress: &mut Progress,
    checkpoint: u64,
) -> Result<(), Stop> {
    let pot = gather(frame, book, progress)?;
    (progress.shared, progress.finalised) = (frame.height(), checkpoint);
    let slot = CHECKPOINTS.slot(frame, checkpoint)?;
    let hash = frame.load(slot)?.into();
    let shares = Shares::decode(frame.load(field(slot, 1))?);
    frame.store(field(slot, 1), Shares { pot, ..shares }.encode())?;
    let mut sums = sums(frame)?;
    sums.owed = sums.owed.saturating_add(pot);
    frame.store(SUMS, sums.encode())?;
    frame.emit(&Finalised { checkpoint, hash, pot: U256::from(pot) })
}

/// Rule: of the pot of a final checkpoint, each bet that counted gets the part that its rewarded amount is of all, rounded down, once.
pub(super) fn reward(frame: &mut Frame<'_>, footstone: Address, from: u64, to: u64) -> Result<U256, Stop> {
    if to.saturating_sub(from) >= MAX_REWARDED {
        return Err(Stop::reason("Footstones: more than 512 checkpoints"));
    }
    let last = progress(frame)?.finalised.min(to);
    let bets = BETS.inner(frame, footstone)?;
    let mut due = 0u128;
    for checkpoint in from..=last {
        let slot = bets.slot(frame, checkpoint)?;
        let bet = Counted::decode(frame.load(slot)?);
        if bet.rewarded == 0 {
            continue;
        }
        let target = CHECKPOINTS.slot(frame, checkpoint)?;
        let shares = Shares::decode(frame.load(field(target, 1))?);
        due = due.saturating_add(mul_div(shares.pot, bet.rewarded, shares.amount));
        frame.store(slot, Counted { rewarded: 0, ..bet }.encode())?;
    }
    ensure(due > 0, NothingOwed {})?;
    let mut sums = sums(frame)?;
    sums.owed = sums.owed.saturating_sub(due);
    frame.store(SUMS, sums.encode())?;
    let amount = U256::from(due);
    frame.pay(footstone, amount)?;
    frame.emit(&Rewarded { footstone, from, to, amount })?;
    Ok(amount)
}
