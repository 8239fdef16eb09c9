//! Bets: which count, and by how much.

use super::{
    Book,
    finality::{Tally, add_to_link, is_justified},
    is_signed,
    layout::{BETS, CHECKPOINTS, Counted, Electorate, PROGRESS, Progress, Record, Shares},
    progress, record, sets, store_record,
};
use crate::system::{
    frame::{Frame, Stop},
    jobs::field,
};
use alloy_primitives::{Bytes, U256};
use bmm_types::system::{
    Bet,
    Footstones::{BadBet, BetPlaced, betCall},
    MAX_BETS, footstone_state,
};

/// Counts bets, at most 128, in the order given. One that cannot count is passed over, so that a reorganisation or somebody faster does not spoil the
/// others; the call ends with the reason of the first of them only if no bet counts, by it or already.
pub(super) fn bet(frame: &mut Frame<'_>, book: &Book<'_>, call: &betCall) -> Result<(), Stop> {
    if call.bets.len() != call.signatures.len() || call.bets.len() > MAX_BETS {
        return Err(Stop::reason("Footstones: more than 128 bets, or not as many signatures"));
    }
    let electorate = sets::electorate(frame)?;
    let mut count = Count { book, electorate, progress: progress(frame)? };
    let (mut some_count, mut refused) = (false, None);
    for (index, (bet, signature)) in call.bets.iter().zip(&call.signatures).enumerate() {
        match count.take(frame, bet, signature)? {
            None => some_count = true,
            Some(reason) => refused = refused.or(Some(BadBet { index: U256::from(index), reason: reason.to_owned() })),
        }
    }
    match refused {
        Some(refused) if !some_count => Err(Stop::error(&refused)),
        _ => frame.store(PROGRESS, count.progress.encode()),
    }
}

/// A bet that counts, but for its signature.
#[derive(Clone, Copy)]
struct Standing {
    /// In units; at most the bond.
    amount: u128,
    /// First slot of the footstone's record.
    slot: U256,
    record: Record,
    /// Its weights in the two sets.
    seats: Tally,
}

/// A footstone's bet on a target as it was brought before.
#[derive(Clone, Copy)]
struct Old {
    bet: Counted,
    /// What of it counts in this epoch: all of it, or nothing if it was brought in another.
    counts: u128,
}

/// Whether the bet that lies at `slot` was brought in the epoch that begins at block `since`.
pub(super) fn counts_since(frame: &mut Frame<'_>, slot: U256, since: u64) -> Result<bool, Stop> {
    Ok(frame.load(field(slot, 1))? == U256::from(since))
}

/// Counting the bets of one call.
struct Count<'a> {
    book: &'a Book<'a>,
    electorate: Electorate,
    progress: Progress,
}

impl Count<'_> {
    /// Counts a bet, unless it counts already with as much. Returns the rule that is broken if it cannot.
    fn take(&mut self, frame: &mut Frame<'_>, bet: &Bet, signature: &Bytes) -> Result<Option<&'static str>, Stop> {
        let slot = BETS.inner(frame, bet.footstone)?.slot(frame, bet.target)?;
        let old = self.old(frame, slot)?;
        Ok(match self.stands(frame, bet, old)? {
            Err(reason) => Some(reason),
            Ok(None) => None,
            Ok(Some(_)) if !is_signed(frame, self.book, bet, signature)? => Some("it is not signed by its footstone"),
            Ok(Some(standing)) => {
                self.enter(frame, bet, standing, slot, old)?;
                None
            }
        })
    }

    /// Rule: links are counted anew in each epoch, so that all of a count is by the same weights; a bet of another epoch may be brought again.
    fn old(&self, frame: &mut Frame<'_>, slot: U256) -> Result<Old, Stop> {
        let bet = Counted::decode(frame.load(slot)?);
        let is_of_now = bet.amount > 0 && counts_since(frame, slot, self.progress.since)?;
        Ok(Old { bet, counts: if is_of_now { bet.amount } else { 0 } })
    }

    /// Rule: a bet counts if the present set has the least weight; both checkpoints lie on this branch, the source below the target; the source is justified and not below the
    /// last final one; the target is not older than the set before, or than the set if there is none before; the footstone has a seat in one of them and is not slashed; 0 < amount ≤ bond; and it has no bet
    /// on another link to the target. `None` for a bet that counts already with as much; the inner error is the rule that is broken.
    fn stands(
        &self,
        frame: &mut Frame<'_>,
        bet: &Bet,
        old: Old,
    ) -> Result<Result<Option<Standing>, &'static str>, Stop> {
        for (checkpoint, id) in [(bet.source, bet.sourceHash), (bet.target, bet.targetHash)] {
            let slot = CHECKPOINTS.slot(frame, checkpoint)?;
            let known = frame.load(slot)?;
            if known.is_zero() || known != U256::from_be_bytes(id.0) {
                return Ok(Err("not a checkpoint of this branch"));
            }
        }
        if old.bet.amount > 0 && old.bet.source != bet.source {
            return Ok(Err("it has a bet on another link to this target"));
        }
        if old.counts > 0 && U256::from(old.counts) >= bet.amount {
            return Ok(Ok(None));
        }
        if !sets::is_enabled(self.book, self.electorate.current) {
            return Ok(Err("the set is below its least weight"));
        }
        if bet.source >= bet.target || bet.source < self.progress.finalised {
            return Ok(Err("the source is not below the target, or below the last final checkpoint"));
        }
        if self.book.block_of(bet.target).is_none_or(|block| block < self.electorate.since()) {
            return Ok(Err("the target is older than the set"));
        }
        if !is_justified(frame, bet.source)? {
            return Ok(Err("the source is not justified"));
        }
        let (slot, record) = record(frame, bet.footstone)?;
        if !matches!(record.state, footstone_state::CANDIDATE | footstone_state::LEAVING) {
            return Ok(Err("it has no bond"));
        }
        let of = self.electorate.sets;
        let (current, previous) = (sets::seat(frame, slot, of, false)?, sets::seat(frame, slot, of, true)?);
        let amount = u128::try_from(bet.amount).ok().filter(|amount| (1..=record.bond).contains(amount));
        let seats = Tally { current, previous };
        match amount {
            _ if current == 0 && previous == 0 => Ok(Err("it is not in the set")),
            None => Ok(Err("its amount is zero or above the bond")),
            Some(amount) => Ok(Ok(Some(Standing { amount, slot, record, seats }))),
        }
    }

    /// Enters a bet: it adds to its link what it counts more than before, with at most the weight in each of the sets; it is rewarded with at most
    /// the larger of them. Who is leaving has its bond locked anew.
    fn enter(
        &mut self,
        frame: &mut Frame<'_>,
        bet: &Bet,
        standing: Standing,
        slot: U256,
        old: Old,
    ) -> Result<(), Stop> {
        let Standing { amount, slot: record_slot, mut record, seats } = standing;
        let rewarded = amount.min(seats.current.max(seats.previous)).max(old.bet.rewarded);
        frame.store(slot, Counted { amount, rewarded, source: bet.source }.encode())?;
        if old.counts == 0 {
            frame.store(field(slot, 1), U256::from(self.progress.since))?;
        }
        let target = field(CHECKPOINTS.slot(frame, bet.target)?, 1);
        let mut shares = Shares::decode(frame.load(target)?);
        shares.amount = shares.amount.saturating_add(rewarded.saturating_sub(old.bet.rewarded));
        frame.store(target, shares.encode())?;

        record.last_target = record.last_target.max(bet.target);
        if record.state == footstone_state::LEAVING {
            let free_at = frame.now().saturating_add(self.book.rules.unbonding_secs);
            record.free_at = record.free_at.max(free_at);
        }
        store_record(frame, record_slot, record)?;
        frame.emit(&BetPlaced {
            footstone: bet.footstone,
            target: bet.target,
            source: bet.source,
            amount: U256::from(amount),
        })?;

        let more = |weight: u128| amount.min(weight).saturating_sub(old.counts.min(weight));
        let more = Tally { current: more(seats.current), previous: more(seats.previous) };
        add_to_link(frame, self.book, (bet.source, bet.target), more, &self.electorate, &mut self.progress)
    }
}
