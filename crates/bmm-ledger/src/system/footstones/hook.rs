//! What the chain itself has the contract do before a block's transactions.

use super::{
    Book,
    layout::{CHECKPOINTS, PROGRESS},
    pot, progress, sets,
};
use crate::system::frame::{Frame, Stop, ensure};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::B256;
use bmm_types::system::Footstones::NotSystem;

/// The block after a checkpoint keeps the checkpoint's id. An epoch's first block brings what a stall has gathered to the resource pot and turns the
/// sets. By the chain itself only.
pub(super) fn on_block(frame: &mut Frame<'_>, book: &Book<'_>, parent: B256) -> Result<B256, Stop> {
    let (caller, height) = (frame.caller(), frame.height());
    ensure(caller == SYSTEM_ADDRESS, NotSystem { caller })?;
    let before = height.saturating_sub(1);
    if before.checked_rem(book.rules.checkpoint_blocks) == Some(0) {
        let checkpoint = before.checked_div(book.rules.checkpoint_blocks).unwrap_or(0);
        let slot = CHECKPOINTS.slot(frame, checkpoint)?;
        frame.store(slot, parent.into())?;
    }
    if height.checked_rem(book.chain.epoch_blocks) == Some(0) {
        let mut progress = progress(frame)?;
        pot::gather(frame, book, &mut progress)?;
        sets::turn(frame, book, &mut progress)?;
        frame.store(PROGRESS, progress.encode())?;
    }
    sets::root(frame)
}
