//! Footstones: who may produce blocks, what they bet on, and what has become final. The rules are those of `docs/footstones.md`.
//!
//! The contract's balance is at all times the bonds, the rewards that are owed, and the pot: what came since a checkpoint last became final.

mod bets;
mod bonds;
mod finality;
mod hook;
pub(crate) mod layout;
mod offences;
mod pot;
mod sets;
mod views;

use super::{
    Rules,
    frame::{Frame, Stop},
    gas,
    jobs::{field, split_signature},
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolInterface, SolStruct};
use bmm_types::{
    params::FootstoneRules,
    system::{
        Bet,
        Footstones::{FootstonesCalls, onBlockCall, rewardCall, takeLostCall, withdrawCall},
    },
};
use layout::{PROGRESS, Progress, RECORDS, Record, SUMS, Sums};

/// What the contract needs to know of the chain.
struct Book<'a> {
    rules: FootstoneRules,
    chain: &'a Rules,
}

impl Book<'_> {
    /// Returns the number of a checkpoint's block; none past 2^64.
    fn block_of(&self, checkpoint: u64) -> Option<u64> {
        checkpoint.checked_mul(self.rules.checkpoint_blocks)
    }
}

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    use FootstonesCalls as C;
    let call = C::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    let Some(footstones) = rules.footstones else { return Err(Stop::reason("Footstones: the chain has none")) };
    let book = &Book { rules: footstones, chain: rules };
    match call {
        C::join(_) | C::topUp(_) => frame.pays()?,
        C::leave(_)
        | C::withdraw(_)
        | C::bet(_)
        | C::reward(_)
        | C::reportLost(_)
        | C::takeLost(_)
        | C::slash(_)
        | C::onBlock(_) => frame.writes()?,
        C::footstoneOf(_) | C::candidates(_) | C::setOf(_) | C::finality(_) | C::checkpointOf(_) | C::betOf(_) => {
            frame.reads()?;
            return views::answer(frame, book, call);
        }
    }
    match call {
        C::join(_) => bonds::join(frame, book)?,
        C::topUp(_) => bonds::top_up(frame)?,
        C::leave(_) => bonds::leave(frame, book)?,
        C::withdraw(c) => return Ok(withdrawCall::abi_encode_returns(&bonds::withdraw(frame, c.footstone)?)),
        C::bet(c) => bets::bet(frame, book, &c)?,
        C::reward(c) => return Ok(rewardCall::abi_encode_returns(&pot::reward(frame, c.footstone, c.from, c.to)?)),
        C::reportLost(c) => offences::report_lost(frame, book, &c.bet, &c.signature)?,
        C::takeLost(c) => {
            let loss = offences::take_lost(frame, book, c.footstone, c.target)?;
            return Ok(takeLostCall::abi_encode_returns(&loss));
        }
        C::slash(c) => offences::slash(frame, book, &c)?,
        C::onBlock(c) => return Ok(onBlockCall::abi_encode_returns(&hook::on_block(frame, book, c.parent)?)),
        _ => return Err(Stop::not_of_the_abi()),
    }
    Ok(Vec::new())
}

fn progress(frame: &mut Frame<'_>) -> Result<Progress, Stop> {
    Ok(Progress::decode(frame.load(PROGRESS)?))
}

fn sums(frame: &mut Frame<'_>) -> Result<Sums, Stop> {
    Ok(Sums::decode(frame.load(SUMS)?))
}

/// Reads a footstone's record; also returns the first of its slots.
fn record(frame: &mut Frame<'_>, footstone: Address) -> Result<(U256, Record), Stop> {
    let slot = RECORDS.slot(frame, footstone)?;
    let (first, second) = (frame.load(slot)?, frame.load(field(slot, 1))?);
    Ok((slot, Record::decode(first, second)))
}

fn store_record(frame: &mut Frame<'_>, slot: U256, record: Record) -> Result<(), Stop> {
    let (first, second) = record.encode();
    frame.store(slot, first)?;
    frame.store(field(slot, 1), second)
}

/// Whether a bet is signed by its footstone (EIP-712, 65 bytes r ‖ s ‖ v).
fn is_signed(frame: &mut Frame<'_>, book: &Book<'_>, bet: &Bet, signature: &Bytes) -> Result<bool, Stop> {
    // Type hash and six words.
    frame.charge(gas::KECCAK.saturating_add(gas::words(7 * 32, gas::KECCAK_WORD)))?;
    let hash = bet.eip712_hash_struct();
    let signer = match split_signature(signature) {
        Some((r, s, v)) => frame.signer(book.chain.footstones_separator(), hash, v, r, s)?,
        None => None,
    };
    Ok(signer == Some(bet.footstone))
}
