//! Bonds: who is a candidate, and when a bond is free.

use super::{
    Book,
    layout::{MOST, Record, SETS, SUMS, Sets, candidate_slot},
    record, sets, store_record, sums,
};
use crate::system::{
    frame::{Frame, Stop, ensure},
    resources::{last_closed, mul_div, power_of},
};
use alloy_primitives::{Address, U256, aliases::U160};
use bmm_types::system::{
    Footstones::{
        AlreadyJoined, BondLocked, Full, Joined, Left, NotCandidate, TooLittleBond, TooLittlePower, ToppedUp, Withdrawn,
    },
    MAX_CANDIDATES, MICRO, footstone_state,
};

/// Returns a contributor's PP in the last closed epoch, in µRU; zero before there is one.
pub(super) fn power(frame: &mut Frame<'_>, book: &Book<'_>, contributor: Address) -> Result<u128, Stop> {
    let Some(epoch) = last_closed(book.chain, frame.height()) else { return Ok(0) };
    Ok(power_of(frame, book.chain, contributor, epoch)?.saturating_to())
}

/// Returns the units that a PP stands for.
fn worth(book: &Book<'_>, power: u128) -> u128 {
    mul_div(power, book.rules.bond_per_unit.units().saturating_to(), MICRO.into())
}

/// Rule: a candidate weighs the smaller of its bond and its PP at `bond_per_unit`; nothing while its PP is below the least.
pub(super) fn weight(book: &Book<'_>, bond: u128, power: u128) -> u128 {
    if power < book.rules.least_power.into() { 0 } else { bond.min(worth(book, power)).min(MOST) }
}

/// Reads the address of a candidate.
pub(super) fn candidate(frame: &mut Frame<'_>, index: u16) -> Result<Address, Stop> {
    Ok(Address::from(frame.load(candidate_slot(index))?.wrapping_to::<U160>()))
}

/// Takes the sent coins in as part of a bond. All bonds together stay below 2^96 units, of which not so many exist.
fn take_in(frame: &mut Frame<'_>) -> Result<u128, Stop> {
    let value = u128::try_from(frame.value()).unwrap_or(u128::MAX);
    let mut sums = sums(frame)?;
    sums.bonds = sums.bonds.saturating_add(value);
    if sums.bonds > MOST {
        return Err(Stop::reason("Footstones: bonds of 2^96 units or more"));
    }
    frame.store(SUMS, sums.encode())?;
    Ok(value)
}

/// Takes units that leave the contract, or that become part of the pot, out of the sum of bonds.
pub(super) fn let_out(frame: &mut Frame<'_>, units: u128) -> Result<(), Stop> {
    let mut sums = sums(frame)?;
    sums.bonds = sums.bonds.saturating_sub(units);
    frame.store(SUMS, sums.encode())
}

/// Who has the least PP joins with a bond that is worth as much, once. When all seats are taken, it takes that of the lightest, if it
/// weighs more; that one leaves.
pub(super) fn join(frame: &mut Frame<'_>, book: &Book<'_>) -> Result<(), Stop> {
    let footstone = frame.caller();
    let (slot, old) = record(frame, footstone)?;
    ensure(old.state == footstone_state::NONE, AlreadyJoined { footstone })?;
    let least = worth(book, book.rules.least_power.into());
    let bond = take_in(frame)?;
    ensure(bond >= least, TooLittleBond { bond: U256::from(bond), least: U256::from(least) })?;
    let (power, least) = (power(frame, book, footstone)?, u128::from(book.rules.least_power));
    ensure(power >= least, TooLittlePower { power: U256::from(power), least: U256::from(least) })?;
    let mut sets = Sets::decode(frame.load(SETS)?);
    if usize::from(sets.candidates) >= MAX_CANDIDATES {
        give_way(frame, book, sets, weight(book, bond, power))?;
        sets = Sets::decode(frame.load(SETS)?);
    }
    let index = sets.candidates;
    frame.store(candidate_slot(index), U256::from_be_bytes(footstone.into_word().0))?;
    sets.candidates = index.saturating_add(1);
    frame.store(SETS, sets.encode())?;
    store_record(frame, slot, Record { bond, state: footstone_state::CANDIDATE, index, free_at: 0, ..old })?;
    frame.emit(&Joined { footstone, bond: U256::from(bond) })
}

/// Has the lightest candidate leave for one of `weight`.
fn give_way(frame: &mut Frame<'_>, book: &Book<'_>, sets: Sets, weight: u128) -> Result<(), Stop> {
    let candidates = sets::candidates(frame, book, sets)?;
    let lightest = candidates.into_iter().min_by_key(|(address, weight)| (*weight, *address));
    let (footstone, least) = lightest.ok_or_else(|| Stop::error(&Full {}))?;
    ensure(weight > least, Full {})?;
    depart(frame, book, footstone)
}

/// Only a candidate adds to its bond.
pub(super) fn top_up(frame: &mut Frame<'_>) -> Result<(), Stop> {
    let footstone = frame.caller();
    let (slot, mut record) = record(frame, footstone)?;
    ensure(record.state == footstone_state::CANDIDATE, NotCandidate { footstone })?;
    record.bond = record.bond.saturating_add(take_in(frame)?);
    store_record(frame, slot, record)?;
    frame.emit(&ToppedUp { footstone, bond: U256::from(record.bond) })
}

/// A candidate that leaves is in no set that is made from then on. In those that are made it stays, and its bets there count.
pub(super) fn leave(frame: &mut Frame<'_>, book: &Book<'_>) -> Result<(), Stop> {
    let footstone = frame.caller();
    depart(frame, book, footstone)
}

fn depart(frame: &mut Frame<'_>, book: &Book<'_>, footstone: Address) -> Result<(), Stop> {
    let (slot, mut leaving) = record(frame, footstone)?;
    ensure(leaving.state == footstone_state::CANDIDATE, NotCandidate { footstone })?;
    unseat(frame, leaving.index)?;
    leaving.state = footstone_state::LEAVING;
    leaving.free_at = frame.now().saturating_add(book.rules.unbonding_secs);
    store_record(frame, slot, leaving)?;
    frame.emit(&Left { footstone, freeAt: leaving.free_at })
}

/// Takes a candidate from the list; the last one takes its place.
pub(super) fn unseat(frame: &mut Frame<'_>, index: u16) -> Result<(), Stop> {
    let mut sets = Sets::decode(frame.load(SETS)?);
    sets.candidates = sets.candidates.saturating_sub(1);
    let last = sets.candidates;
    if index != last {
        let moved = candidate(frame, last)?;
        frame.store(candidate_slot(index), U256::from_be_bytes(moved.into_word().0))?;
        let (slot, other) = record(frame, moved)?;
        store_record(frame, slot, Record { index, ..other })?;
    }
    frame.store(candidate_slot(last), U256::ZERO)?;
    frame.store(SETS, sets.encode())
}

/// A bond is free at the unbonding time after its footstone left, and after its last bet that counted since. What reported bets may cost
/// stays until that is taken.
pub(super) fn withdraw(frame: &mut Frame<'_>, footstone: Address) -> Result<U256, Stop> {
    let (slot, mut leaving) = record(frame, footstone)?;
    ensure(leaving.state == footstone_state::LEAVING, NotCandidate { footstone })?;
    let until = leaving.free_at;
    ensure(frame.now() >= until, BondLocked { until })?;
    let free = leaving.bond.saturating_sub(leaving.held);
    ensure(free > 0 || leaving.bond == 0, BondLocked { until })?;
    leaving.bond = leaving.bond.saturating_sub(free);
    if leaving.bond == 0 {
        leaving = Record { last_target: leaving.last_target, held: leaving.held, ..Record::default() };
    }
    store_record(frame, slot, leaving)?;
    let_out(frame, free)?;
    frame.pay(footstone, U256::from(free))?;
    frame.emit(&Withdrawn { footstone, amount: U256::from(free) })?;
    Ok(U256::from(free))
}
