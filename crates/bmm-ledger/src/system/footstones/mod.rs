//! Footstones: who may produce blocks, what they bet on, and what has become final. The rules are those of `docs/footstones.md`.

mod hook;
pub(crate) mod layout;

use super::{
    Rules,
    frame::{Frame, Stop},
};
use alloy_sol_types::{SolCall, SolInterface};
use bmm_types::system::Footstones::{FootstonesCalls, onBlockCall};

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    let call = FootstonesCalls::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    Ok(match call {
        FootstonesCalls::onBlock(c) => {
            frame.writes()?;
            onBlockCall::abi_encode_returns(&hook::on_block(frame, rules, c.parent)?)
        }
        _ => return Err(Stop::not_of_the_abi()),
    })
}
