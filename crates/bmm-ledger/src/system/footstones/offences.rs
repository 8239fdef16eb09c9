//! What wrong bets cost.

use super::{
    Book, bonds, is_signed,
    layout::{CHECKPOINTS, LOST, LOST_BETS, LostBet, Record},
    progress, record, sets, store_record,
};
use crate::system::{
    frame::{Frame, Stop, ensure},
    resources::{bps, mul_div},
};
use alloy_primitives::{Address, Bytes, U256};
use bmm_types::{
    finality::offence,
    system::{
        Bet,
        Footstones::{
            BadSignature, LostBetReported, LostBetTaken, NoOffence, NotCandidate, NotLost, Slashed, TooEarly, slashCall,
        },
        LOST_BET_WAIT, RESOURCES, footstone_state,
    },
};

/// Rule: two bets of one footstone that contradict each other cost its whole bond, while it has one. The reporter gets `bounty_bps` of it, the
/// resource pot the rest, and the seat is gone for ever.
pub(super) fn slash(frame: &mut Frame<'_>, book: &Book<'_>, call: &slashCall) -> Result<(), Stop> {
    let footstone = call.first.footstone;
    ensure(offence(&call.first, &call.second).is_some(), NoOffence {})?;
    let (slot, old) = bonded(frame, footstone)?;
    for (index, (bet, signature)) in
        (0u8..).zip([(&call.first, &call.firstSignature), (&call.second, &call.secondSignature)])
    {
        ensure(is_signed(frame, book, bet, signature)?, BadSignature { index: U256::from(index) })?;
    }
    if old.state == footstone_state::CANDIDATE {
        bonds::unseat(frame, old.index)?;
    }
    let bounty = bps(old.bond, book.rules.bounty_bps);
    store_record(frame, slot, Record { state: footstone_state::SLASHED, ..Record::default() })?;
    bonds::let_out(frame, old.bond)?;
    let (reporter, bond, bounty) = (frame.caller(), U256::from(old.bond), U256::from(bounty));
    frame.pay(reporter, bounty)?;
    frame.pay(RESOURCES, bond.saturating_sub(bounty))?;
    frame.emit(&Slashed { footstone, reporter, bond, bounty })
}

/// Reads the record of a footstone that has a bond.
fn bonded(frame: &mut Frame<'_>, footstone: Address) -> Result<(U256, Record), Stop> {
    let (slot, record) = record(frame, footstone)?;
    let has_bond = matches!(record.state, footstone_state::CANDIDATE | footstone_state::LEAVING);
    ensure(has_bond, NotCandidate { footstone })?;
    Ok((slot, record))
}

fn lost_bet(frame: &mut Frame<'_>, footstone: Address, target: u64) -> Result<(U256, LostBet), Stop> {
    let slot = LOST_BETS.inner(frame, target)?.slot(frame, footstone)?;
    Ok((slot, LostBet::decode(frame.load(slot)?)))
}

/// The most that a lost bet costs, in units.
fn most(book: &Book<'_>, amount: u128) -> u128 {
    bps(amount, book.rules.lost_bet_bps)
}

/// Rule: a bet is lost if its target is another block than the final one of that number. It can be reported, and again with a larger amount,
/// until its loss was taken; an amount counts up to the bond.
pub(super) fn report_lost(frame: &mut Frame<'_>, book: &Book<'_>, bet: &Bet, signature: &Bytes) -> Result<(), Stop> {
    let finalised = progress(frame)?.finalised;
    let slot = CHECKPOINTS.slot(frame, bet.target)?;
    let id = frame.load(slot)?;
    ensure(bet.target <= finalised && id != U256::from_be_bytes(bet.targetHash.0), NotLost {})?;
    let (slot, mut record) = bonded(frame, bet.footstone)?;
    ensure(is_signed(frame, book, bet, signature)?, BadSignature { index: U256::ZERO })?;
    let (lost_slot, old) = lost_bet(frame, bet.footstone, bet.target)?;
    let amount = bet.amount.min(U256::from(record.bond)).saturating_to::<u128>();
    ensure(amount > old.amount && !old.taken, NotLost {})?;
    let new = LostBet { amount, due: finalised.saturating_add(LOST_BET_WAIT), taken: false };
    frame.store(lost_slot, new.encode())?;
    let sum = LOST.slot(frame, bet.target)?;
    let lost = frame.load(sum)?.saturating_add(U256::from(amount.saturating_sub(old.amount)));
    frame.store(sum, lost)?;
    record.held = record.held.saturating_add(most(book, amount).saturating_sub(most(book, old.amount)));
    store_record(frame, slot, record)?;
    frame.emit(&LostBetReported { footstone: bet.footstone, target: bet.target, amount: U256::from(amount) })
}

/// Rule: a reported bet costs, once 16 further checkpoints are final, of its amount `lost_bet_bps` · min(1, 3 · L / W), L being all reported amounts
/// on lost targets of the number, and W the weight of the present set. It goes to the resource pot.
pub(super) fn take_lost(frame: &mut Frame<'_>, book: &Book<'_>, footstone: Address, target: u64) -> Result<U256, Stop> {
    let (bet_slot, bet) = lost_bet(frame, footstone, target)?;
    ensure(bet.amount > 0 && !bet.taken, NotLost {})?;
    ensure(progress(frame)?.finalised >= bet.due, TooEarly { checkpoint: bet.due })?;
    frame.store(bet_slot, LostBet { taken: true, ..bet }.encode())?;
    let weight = sets::electorate(frame)?.current.weight;
    let sum = LOST.slot(frame, target)?;
    let thrice: u128 = frame.load(sum)?.saturating_mul(U256::from(3)).saturating_to();
    let most = most(book, bet.amount);
    let loss = if thrice >= weight { most } else { mul_div(most, thrice, weight) };
    let (slot, mut record) = record(frame, footstone)?;
    let loss = loss.min(record.bond);
    record.bond = record.bond.saturating_sub(loss);
    record.held = record.held.saturating_sub(most);
    store_record(frame, slot, record)?;
    bonds::let_out(frame, loss)?;
    let loss = U256::from(loss);
    frame.pay(RESOURCES, loss)?;
    frame.emit(&LostBetTaken { footstone, target, loss })?;
    Ok(loss)
}
