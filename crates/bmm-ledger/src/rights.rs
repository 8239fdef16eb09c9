//! Who may produce, and what is justified and final, read from a state as the contract of the footstones left it. No machine runs.

use crate::{
    exec::StateRead,
    system::footstones::layout::{
        CHECKPOINTS, PROGRESS, Progress, RECORDS, SETS, SetHead, Sets, member, member_slot, part64, seat_slot,
    },
};
use alloy_primitives::{Address, B256, Signature, U256};
use alloy_sol_types::{SolCall, SolStruct};
use bmm_types::{
    ChainParams, Header,
    system::{Bet, FOOTSTONES, Footstones::betCall, MAX_BETS, MAX_INPUT_BYTES, footstone_state, footstones_domain},
};

/// A checkpoint: the block of number `number` · `checkpoint_blocks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Its number among the checkpoints; genesis is 0.
    pub number: u64,
    /// Its block's id. Zero for genesis in the state of genesis itself, which does not know it.
    pub id: B256,
}

/// A set of footstones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Of the present set, the number of the block from which on checkpoints may be bet on; of the one before, that of the block at which it
    /// was made. They are the same if there is one before.
    pub since: u64,
    /// Address and weight in units, in the set's order. A member that was slashed or has left keeps its weight until the next epoch.
    pub members: Vec<(Address, U256)>,
}

impl Members {
    /// Sum of the weights, in units.
    pub fn weight(&self) -> U256 {
        self.members.iter().fold(U256::ZERO, |sum, (_, weight)| sum.saturating_add(*weight))
    }

    /// Returns the weight of a footstone, in units; `None` if it is no member.
    pub fn weight_of(&self, footstone: Address) -> Option<U256> {
        self.members.iter().find(|(address, _)| *address == footstone).map(|(_, weight)| *weight)
    }
}

/// What a state says of the footstones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The present set; empty before the first.
    pub current: Members,
    /// The set before it, 2/3 of which must bet as well; empty if there is none.
    pub previous: Members,
    /// Highest justified checkpoint; genesis while there is none.
    pub justified: Checkpoint,
    /// Last final checkpoint; genesis while there is none.
    pub finalised: Checkpoint,
    /// Whether the present set was made with the least weight, so that something can become final and only members produce.
    pub enabled: bool,
}

/// Reads the rights in `state`; `None` on chains without footstones.
///
/// # Errors
/// When the state cannot be read.
pub fn rights<DB: StateRead>(params: &ChainParams, state: &DB) -> Result<Option<Rights>, DB::Error> {
    let Some(rules) = params.footstones.filter(|_| params.jobs.is_some()) else { return Ok(None) };
    let progress = Progress::decode(read(state, PROGRESS)?);
    let sets = Sets::decode(read(state, SETS)?);
    let (current, head) = members(state, sets, false)?;
    let (previous, _) = members(state, sets, true)?;
    Ok(Some(Rights {
        current: Members { since: if sets.has(true) { previous.since } else { current.since }, ..current },
        previous,
        justified: checkpoint(state, progress.justified)?,
        finalised: checkpoint(state, progress.finalised)?,
        enabled: sets.has(false) && U256::from(head.made_weight) >= rules.least_weight.units(),
    }))
}

/// Rule: a block is produced by a member of the set that is not slashed; by anybody while the set is below its least weight, and at
/// `open_door_intervals` or more intervals after its parent. `state` is that after `parent`.
///
/// # Errors
/// When the state cannot be read.
pub fn may_produce<DB: StateRead>(
    params: &ChainParams,
    state: &DB,
    parent: &Header,
    beneficiary: Address,
    timestamp: u64,
) -> Result<bool, DB::Error> {
    let Some(rules) = params.footstones.filter(|_| params.jobs.is_some()) else { return Ok(true) };
    let open_at = parent.timestamp.saturating_add(rules.open_door_intervals.saturating_mul(params.block_secs));
    if timestamp >= open_at {
        return Ok(true);
    }
    let sets = Sets::decode(read(state, SETS)?);
    let head = SetHead::decode(read(state, SetHead::slot(sets.bank))?);
    if !sets.has(false) || U256::from(head.made_weight) < rules.least_weight.units() {
        return Ok(true);
    }
    let seat = read(state, seat_slot(RECORDS.slot_of(beneficiary), sets.bank))?;
    Ok(part64(seat, 0) == sets.current && !is_slashed(state, beneficiary)?)
}

/// Returns whether blocks have justified a checkpoint of the branch; genesis is justified.
///
/// # Errors
/// When the state cannot be read.
pub fn is_justified<DB: StateRead>(state: &DB, checkpoint: u64) -> Result<bool, DB::Error> {
    let flag = CHECKPOINTS.slot_of(checkpoint).wrapping_add(U256::from(2));
    Ok(checkpoint == 0 || !read(state, flag)?.is_zero())
}

/// Returns whether a footstone lost its bond by bets that contradict each other.
///
/// # Errors
/// When the state cannot be read.
pub fn is_slashed<DB: StateRead>(state: &DB, footstone: Address) -> Result<bool, DB::Error> {
    let record = read(state, RECORDS.slot_of(footstone))?;
    Ok(record.wrapping_shr(96).byte(0) == footstone_state::SLASHED)
}

/// Returns the bets that a transaction to `receiver` brings, with their signatures: those of a `Footstones.bet` call, at most
/// [`MAX_BETS`]. Nothing of them is checked.
pub fn bets_in(receiver: Option<Address>, input: &[u8]) -> Vec<(Bet, Vec<u8>)> {
    if receiver != Some(FOOTSTONES) || input.len() > MAX_INPUT_BYTES || !input.starts_with(&betCall::SELECTOR) {
        return Vec::new();
    }
    let Ok(call) = betCall::abi_decode_validate(input) else { return Vec::new() };
    if call.bets.len() != call.signatures.len() || call.bets.len() > MAX_BETS {
        return Vec::new();
    }
    call.bets.into_iter().zip(call.signatures).map(|(bet, signature)| (bet, signature.to_vec())).collect()
}

/// Returns who signed a bet, if `signature` is one: r ‖ s ‖ v, v being 27 or 28 and s in the lower half (EIP-2).
pub fn bet_signer(chain_id: u64, bet: &Bet, signature: &[u8]) -> Option<Address> {
    let (scalars, v) = signature.split_first_chunk::<64>()?;
    let odd = match v {
        [27] => false,
        [28] => true,
        _ => return None,
    };
    let signature = Signature::from_bytes_and_parity(scalars, odd);
    if signature.normalize_s().is_some() {
        return None;
    }
    let digest = bet.eip712_signing_hash(&footstones_domain(chain_id));
    signature.recover_address_from_prehash(&digest).ok().filter(|signer| !signer.is_zero())
}

fn read<DB: StateRead>(state: &DB, slot: U256) -> Result<U256, DB::Error> {
    state.storage_ref(FOOTSTONES, slot)
}

/// Reads the present set or the one before.
fn members<DB: StateRead>(state: &DB, sets: Sets, previous: bool) -> Result<(Members, SetHead), DB::Error> {
    if !sets.has(previous) {
        return Ok(Default::default());
    }
    let bank = sets.bank_of(previous);
    let head = SetHead::decode(read(state, SetHead::slot(bank))?);
    let mut members = Vec::with_capacity(usize::from(head.members));
    for index in head.indices() {
        let (address, weight) = member(read(state, member_slot(bank, index))?);
        members.push((address, U256::from(weight)));
    }
    Ok((Members { since: head.made, members }, head))
}

fn checkpoint<DB: StateRead>(state: &DB, number: u64) -> Result<Checkpoint, DB::Error> {
    let id = read(state, CHECKPOINTS.slot_of(number))?.into();
    Ok(Checkpoint { number, id })
}
