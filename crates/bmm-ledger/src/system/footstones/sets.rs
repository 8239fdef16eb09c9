//! The sets: how they are made, and how they change while nothing becomes final.

use super::{
    Book, bonds,
    layout::{
        Electorate, Progress, RECORDS, SETS, SetHead, Sets, at, member, member_slot, member_word, part, part64,
        seat_slot,
    },
    record,
};
use crate::system::{
    frame::{Frame, Stop},
    resources::bps,
};
use alloy_primitives::{Address, B256, U256};
use bmm_types::system::{MAX_CANDIDATES, MAX_MEMBERS, footstone_state, set_root};

/// Returns the weight of a footstone, whose record begins at `slot`, in the present set or in the one before; zero if it is no member.
pub(super) fn seat(frame: &mut Frame<'_>, slot: U256, sets: Sets, previous: bool) -> Result<u128, Stop> {
    if !sets.has(previous) {
        return Ok(0);
    }
    let number = if previous { sets.previous } else { sets.current };
    let word = frame.load(seat_slot(slot, sets.bank_of(previous)))?;
    Ok(if part64(word, 0) == number { part(word, 64, 96) } else { 0 })
}

/// Reads the present set or the one before; all zero if there is none.
pub(super) fn head(frame: &mut Frame<'_>, sets: Sets, previous: bool) -> Result<SetHead, Stop> {
    if !sets.has(previous) {
        return Ok(SetHead::default());
    }
    Ok(SetHead::decode(frame.load(SetHead::slot(sets.bank_of(previous)))?))
}

/// Reads the sets by whose weights bets count.
pub(super) fn electorate(frame: &mut Frame<'_>) -> Result<Electorate, Stop> {
    let sets = Sets::decode(frame.load(SETS)?);
    let current = head(frame, sets, false)?;
    let previous = if sets.has(true) { Some(head(frame, sets, true)?) } else { None };
    Ok(Electorate { sets, current, previous })
}

/// Reads the members of the present set or of the one before.
pub(super) fn members(frame: &mut Frame<'_>, sets: Sets, previous: bool) -> Result<Vec<(Address, U256)>, Stop> {
    let (head, bank) = (head(frame, sets, previous)?, sets.bank_of(previous));
    let read = |index| {
        let (address, weight) = member(frame.load(member_slot(bank, index))?);
        Ok((address, U256::from(weight)))
    };
    head.indices().map(read).collect()
}

/// Returns the root of the present set.
pub(super) fn root(frame: &mut Frame<'_>) -> Result<B256, Stop> {
    let sets = Sets::decode(frame.load(SETS)?);
    Ok(set_root(&members(frame, sets, false)?))
}

/// Rule: a set makes something final if it was made with the least weight.
pub(super) fn is_enabled(book: &Book<'_>, head: SetHead) -> bool {
    head.members > 0 && U256::from(head.made_weight) >= book.rules.least_weight.units()
}

/// Rule: a set is worn out once leaks and slashes have taken half of the weight that it was made with.
fn is_worn_out(head: SetHead) -> bool {
    head.weight.saturating_mul(2) <= head.made_weight
}

/// Returns the candidates with their weights.
pub(super) fn candidates(frame: &mut Frame<'_>, book: &Book<'_>, sets: Sets) -> Result<Vec<(Address, u128)>, Stop> {
    let count = usize::from(sets.candidates).min(MAX_CANDIDATES);
    let mut found = Vec::with_capacity(count);
    for index in (0..sets.candidates).take(count) {
        let address = bonds::candidate(frame, index)?;
        let bond = record(frame, address)?.1.bond;
        let power = bonds::power(frame, book, address)?;
        found.push((address, bonds::weight(book, bond, power)));
    }
    Ok(found)
}

/// Rule: the set is made of the heaviest candidates that weigh anything, ties by address, and lies in `bank` under `number`.
fn make(frame: &mut Frame<'_>, book: &Book<'_>, sets: Sets) -> Result<(), Stop> {
    let mut chosen = candidates(frame, book, sets)?;
    chosen.retain(|(_, weight)| *weight > 0);
    chosen.sort_unstable_by_key(|(address, weight)| (std::cmp::Reverse(*weight), *address));
    chosen.truncate(MAX_MEMBERS);
    let mut sum = 0u128;
    for (index, (address, weight)) in (0u64..).zip(&chosen) {
        frame.store(member_slot(sets.bank, index), member_word(*address, *weight))?;
        let slot = RECORDS.slot(frame, *address)?;
        frame.store(seat_slot(slot, sets.bank), at(sets.current, 0) | at(*weight, 64))?;
        sum = sum.saturating_add(*weight);
    }
    let members = u16::try_from(chosen.len()).unwrap_or(u16::MAX);
    let head = SetHead { weight: sum, made_weight: sum, made: frame.height(), members };
    frame.store(SetHead::slot(sets.bank), head.encode())?;
    frame.store(SETS, sets.encode())
}

/// What a turn of the epoch does to the members of a set that stays.
#[derive(Clone, Copy)]
struct Wear {
    /// Basis points that those lose whose last target's block is before `since`.
    leak_bps: u16,
    since: u64,
}

/// Rule: at the turn of an epoch the slashed lose their weight, and if nothing became final in it, those who placed no bet in it lose `leak_bps` of theirs,
/// rounded up.
fn wear(frame: &mut Frame<'_>, book: &Book<'_>, sets: Sets, previous: bool, wear: Wear) -> Result<SetHead, Stop> {
    let (mut head, bank) = (head(frame, sets, previous)?, sets.bank_of(previous));
    let number = if previous { sets.previous } else { sets.current };
    let mut sum = 0u128;
    for index in head.indices() {
        let (address, weight) = member(frame.load(member_slot(bank, index))?);
        let (slot, record) = record(frame, address)?;
        let silent = book.block_of(record.last_target).is_none_or(|block| block < wear.since);
        let kept = if record.state == footstone_state::SLASHED {
            0
        } else if silent {
            bps(weight, 10_000u16.saturating_sub(wear.leak_bps))
        } else {
            weight
        };
        if kept != weight {
            frame.store(member_slot(bank, index), member_word(address, kept))?;
            frame.store(seat_slot(slot, bank), at(number, 0) | at(kept, 64))?;
        }
        sum = sum.saturating_add(kept);
    }
    if sum != head.weight {
        head.weight = sum;
        frame.store(SetHead::slot(bank), head.encode())?;
    }
    Ok(head)
}

/// Rule: at an epoch's first block the set is made anew if a checkpoint that is not older than it is final, and the old one is the set before
/// then. Otherwise it stays and wears, unless it was made with less than the least weight or is worn out: then it is made anew, and the set before stays what it
/// is. A set before that is worn out counts no more. Bets count on targets from this block on.
pub(super) fn turn(frame: &mut Frame<'_>, book: &Book<'_>, progress: &mut Progress) -> Result<(), Stop> {
    let mut sets = Sets::decode(frame.load(SETS)?);
    let is_final =
        progress.finalised > 0 && book.block_of(progress.finalised).is_some_and(|block| block >= progress.since);
    let leak_bps = if is_final { 0 } else { book.rules.leak_bps };
    let how = Wear { leak_bps, since: progress.since };
    let current = wear(frame, book, sets, false, how)?;
    if is_final && is_enabled(book, current) {
        sets.previous = sets.current;
        sets.bank = sets.bank_of(true);
    } else if is_worn_out(wear(frame, book, sets, true, how)?) {
        sets.previous = 0;
    }
    progress.since = frame.height();
    if is_final || !is_enabled(book, current) || is_worn_out(current) {
        sets.current = sets.current.saturating_add(1);
        return make(frame, book, sets);
    }
    frame.store(SETS, sets.encode())
}
