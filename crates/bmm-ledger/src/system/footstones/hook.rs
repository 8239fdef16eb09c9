//! What the chain itself has the contract do before a block's transactions.

use super::layout::{self, CHECKPOINTS, SetHead, Sets, member_slot};
use crate::system::{
    Rules,
    frame::{Frame, Stop, ensure},
};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::{B256, U256};
use bmm_types::{
    params::FootstoneRules,
    system::{Footstones::NotSystem, set_root},
};

/// The block after a checkpoint keeps the checkpoint's id. By the chain itself only.
pub(super) fn on_block(frame: &mut Frame<'_>, rules: &Rules, parent: B256) -> Result<B256, Stop> {
    let caller = frame.caller();
    ensure(caller == SYSTEM_ADDRESS, NotSystem { caller })?;
    let Some(footstones) = &rules.footstones else { return Err(Stop::not_of_the_abi()) };
    if let Some(checkpoint) = checkpoint_before(footstones, frame.height()) {
        let slot = CHECKPOINTS.slot(frame, checkpoint)?;
        frame.store(slot, parent.into())?;
    }
    root(frame)
}

/// Returns the checkpoint that the block before `height` is, if it is one.
fn checkpoint_before(rules: &FootstoneRules, height: u64) -> Option<u64> {
    let before = height.checked_sub(1)?;
    let whole = before.checked_rem(rules.checkpoint_blocks)? == 0;
    before.checked_div(rules.checkpoint_blocks).filter(|_| whole)
}

/// Returns the root of the present set.
fn root(frame: &mut Frame<'_>) -> Result<B256, Stop> {
    let sets = Sets::decode(frame.load(layout::SETS)?);
    let mut members = Vec::new();
    if sets.has(false) {
        let head = SetHead::decode(frame.load(SetHead::slot(sets.bank))?);
        for index in head.indices() {
            let (address, weight) = layout::member(frame.load(member_slot(sets.bank, index))?);
            members.push((address, U256::from(weight)));
        }
    }
    Ok(set_root(&members))
}
