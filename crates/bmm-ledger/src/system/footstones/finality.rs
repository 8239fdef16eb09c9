//! What bets justify and make final.

use super::{
    Book,
    layout::{CHECKPOINTS, Electorate, LINKS, Progress, SetHead, at, part},
    pot,
};
use crate::system::{
    frame::{Frame, Stop},
    jobs::field,
};
use alloy_primitives::U256;
use bmm_types::{finality::is_quorum, system::Footstones::Justified};

/// Amounts by the two sets, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Counted with the weights in the present set.
    pub(super) current: u128,
    /// Counted with the weights in the set before.
    pub(super) previous: u128,
}

/// Whether a checkpoint is justified; genesis is.
pub(super) fn is_justified(frame: &mut Frame<'_>, checkpoint: u64) -> Result<bool, Stop> {
    if checkpoint == 0 {
        return Ok(true);
    }
    let slot = CHECKPOINTS.slot(frame, checkpoint)?;
    Ok(!frame.load(field(slot, 2))?.is_zero())
}

/// Adds to a link's count of this epoch, and ends what follows: the target is justified when the link has a quorum of the present set, and of the one before if
/// there is one; its source becomes final if the target is the next checkpoint after it.
pub(super) fn add_to_link(
    frame: &mut Frame<'_>,
    book: &Book<'_>,
    (source, target): (u64, u64),
    more: Tally,
    electorate: &Electorate,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let slot = LINKS.inner(frame, target)?.inner(frame, source)?.slot(frame, progress.since)?;
    let word = frame.load(slot)?;
    let current = part(word, 0, 128).saturating_add(more.current);
    let previous = part(word, 128, 128).saturating_add(more.previous);
    frame.store(slot, at(current, 0) | at(previous, 128))?;
    let quorum = |amount: u128, set: SetHead| is_quorum(U256::from(amount), U256::from(set.weight));
    if !quorum(current, electorate.current) || !electorate.previous.is_none_or(|before| quorum(previous, before)) {
        return Ok(());
    }
    if !is_justified(frame, target)? {
        let slot = CHECKPOINTS.slot(frame, target)?;
        frame.store(field(slot, 2), U256::ONE)?;
        progress.justified = progress.justified.max(target);
        let hash = frame.load(slot)?.into();
        frame.emit(&Justified { checkpoint: target, hash })?;
    }
    if source.checked_add(1) == Some(target) && source > progress.finalised {
        pot::finalise(frame, book, progress, source)?;
    }
    Ok(())
}
