//! Resources: what was proven, what rights follow from it, and how the resource pot is shared.
//!
//! The contract's balance is what is reserved for the pots of ended epochs, and what came since. Nothing loops over contributors:
//! sums are kept as work comes in, and persistence is computed when a contributor next contributes. `ledger` says how all this lies in
//! the slots, and holds the rules of power; `proof` those of the hash class.

mod ledger;
mod proof;

use super::{
    Rules, accounts,
    frame::{Frame, Stop, ensure},
};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::{Address, B256, U256, aliases::U512};
use alloy_sol_types::{SolCall, SolInterface};
use bmm_types::{
    params::ResourceRules,
    system::{
        RESOURCES,
        Resources::{
            AlreadyClaimed, Claimed, NotClosed, NotSystem, NothingToClaim, ResourcesCalls, claimCall,
            contributionOfCall, contributionOfReturn, currentEpochCall, epochOfCall, epochOfReturn, proveCall,
        },
    },
};
pub(super) use ledger::credit;
use ledger::{Contribution, Epoch, persistence_of};

/// Basis points of the whole.
const WHOLE_BPS: u16 = 10_000;

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    let call = ResourcesCalls::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    match call {
        ResourcesCalls::prove(_) | ResourcesCalls::claim(_) | ResourcesCalls::onEpoch(_) => frame.writes()?,
        ResourcesCalls::currentEpoch(_) | ResourcesCalls::epochOf(_) | ResourcesCalls::contributionOf(_) => {
            frame.reads()?;
        }
    }
    let calendar = Calendar { epoch_blocks: rules.epoch_blocks };
    let book = Book { calendar, rules: resource_rules(rules)? };
    Ok(match call {
        ResourcesCalls::prove(c) => proveCall::abi_encode_returns(&proof::prove(frame, &book, &c)?),
        ResourcesCalls::claim(c) => claimCall::abi_encode_returns(&claim(frame, &book, c.epoch, c.contributor)?),
        ResourcesCalls::onEpoch(c) => {
            begin_epoch(frame, &book, c.parent)?;
            Vec::new()
        }
        ResourcesCalls::currentEpoch(_) => currentEpochCall::abi_encode_returns(&calendar.epoch_at(frame.height())),
        ResourcesCalls::epochOf(c) => epochOfCall::abi_encode_returns(&epoch_of(frame, &book, c.epoch)?),
        ResourcesCalls::contributionOf(c) => {
            let contribution = contribution_of(frame, &book, c.epoch, c.contributor)?;
            contributionOfCall::abi_encode_returns(&contribution)
        }
    })
}

fn resource_rules(rules: &Rules) -> Result<ResourceRules, Stop> {
    rules.resources.ok_or_else(|| Stop::reason("Resources: the chain has no resource ledger"))
}

/// When epochs begin and end, in block numbers.
#[derive(Clone, Copy)]
struct Calendar {
    epoch_blocks: u64,
}

impl Calendar {
    /// Returns the epoch of a block.
    fn epoch_at(self, height: u64) -> u64 {
        height.checked_div(self.epoch_blocks).unwrap_or(0)
    }

    /// Returns an epoch's first block.
    fn begins(self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.epoch_blocks)
    }

    /// Rule: the hash work of an epoch is proven in the first quarter of the next. Returns the first block in which it may be, and the first
    /// in which it may not, from which on the epoch is closed.
    fn proof_time(self, epoch: u64) -> (u64, u64) {
        let from = self.begins(epoch.saturating_add(1));
        (from, from.saturating_add(self.epoch_blocks.div_ceil(4)))
    }

    /// Whether nothing can be added to an epoch in the block `height`.
    fn is_closed(self, epoch: u64, height: u64) -> bool {
        height >= self.proof_time(epoch).1
    }
}

/// The rules that the ledger is kept by.
#[derive(Clone, Copy)]
struct Book {
    calendar: Calendar,
    rules: ResourceRules,
}

/// Returns the last epoch that is closed in the block `height`.
pub(super) fn last_closed(rules: &Rules, height: u64) -> Option<u64> {
    let calendar = Calendar { epoch_blocks: rules.epoch_blocks };
    let ended = calendar.epoch_at(height).checked_sub(1)?;
    if calendar.is_closed(ended, height) { Some(ended) } else { ended.checked_sub(1) }
}

/// Returns a contributor's PP in a closed epoch, in µRU; zero while it is not closed. Other contracts may ask.
pub(super) fn power_of(frame: &mut Frame<'_>, rules: &Rules, contributor: Address, epoch: u64) -> Result<U256, Stop> {
    let calendar = Calendar { epoch_blocks: rules.epoch_blocks };
    let book = Book { calendar, rules: resource_rules(rules)? };
    if !calendar.is_closed(epoch, frame.height()) {
        return Ok(U256::ZERO);
    }
    let contribution = Contribution::load(frame, epoch, contributor)?;
    Ok(U256::from(contribution.power(&book)))
}

/// Returns `value · factor / divisor`, rounded down; zero if `divisor` is.
pub(super) fn mul_div(value: u128, factor: u128, divisor: u128) -> u128 {
    let product = U512::from(value).saturating_mul(U512::from(factor));
    product.checked_div(U512::from(divisor)).unwrap_or_default().saturating_to()
}

pub(super) fn bps(value: u128, bps: u16) -> u128 {
    mul_div(value, bps.min(WHOLE_BPS).into(), WHOLE_BPS.into())
}

/// Rule: of a pot, the hash class has `hash_bps`, rounded down, and the compute class the rest.
fn split(pot: u128, rules: &ResourceRules) -> (u128, u128) {
    let hash = bps(pot, rules.hash_bps);
    (hash, pot.saturating_sub(hash))
}

/// Rule: at the first block of an epoch, what has come since the last such block becomes the pot of the epoch that ended. What nobody can claim of
/// the pot before it, as the class has no contributors, is part of that. Block 1 only names the seed of epoch 0.
fn begin_epoch(frame: &mut Frame<'_>, book: &Book, parent: B256) -> Result<(), Stop> {
    let caller = frame.caller();
    ensure(caller == SYSTEM_ADDRESS, NotSystem { caller })?;
    let epoch = book.calendar.epoch_at(frame.height());
    let mut begun = Epoch::load(frame, epoch)?;
    begun.seed = parent;
    begun.store(frame)?;
    let Some(ended) = epoch.checked_sub(1) else { return Ok(()) };
    let mut reserved = ledger::reserved(frame)?;
    if let Some(closed) = ended.checked_sub(1) {
        let mut closed = Epoch::load(frame, closed)?;
        let free = closed.release(closed.unclaimable(&book.rules));
        closed.store(frame)?;
        reserved = reserved.saturating_sub(free);
    }
    // Less than 2^128 units exist where these contracts do, and what is reserved is there.
    let balance: u128 = frame.balance(RESOURCES)?.saturating_to();
    let mut ended = Epoch::load(frame, ended)?;
    ended.pot = balance.saturating_sub(reserved);
    ended.left = ended.pot;
    ended.store(frame)?;
    ledger::set_reserved(frame, reserved.saturating_add(ended.pot))
}

/// What a contributor's PP entitles it to.
struct Share {
    /// Units that it earned.
    reward: u128,
    /// Units of the pot that are no longer kept for it, the reward among them.
    released: u128,
}

/// What a contributor has to show in an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Entitlement {
    /// Its PP of the hash class, and that of all.
    pub hash: (u128, u128),
    /// Its PP of the compute class, and that of all.
    pub compute: (u128, u128),
    /// Units of fees paid for its work.
    pub fees: u128,
}

/// Rule: a contributor has its part of each class's pot by PP. Of the compute class it gets at most `fee_return_bps` of the fees paid for its
/// work: buying one's own work loses money for whoever has not more than a sixth of the hash class. Returns the units that it earns of a pot, and those of its parts, uncapped.
pub fn entitlement(rules: &ResourceRules, pot: u128, of: Entitlement) -> (u128, u128) {
    let (hash_pot, compute_pot) = split(pot, rules);
    let hash = mul_div(hash_pot, of.hash.0, of.hash.1);
    let compute = mul_div(compute_pot, of.compute.0, of.compute.1);
    let capped = compute.min(bps(of.fees, rules.fee_return_bps));
    (hash.saturating_add(capped), hash.saturating_add(compute))
}

/// Returns what an epoch owes to a contributor, as far as it has it.
fn share(book: &Book, epoch: &Epoch, contribution: &Contribution) -> Share {
    let (hash, compute) = contribution.powers(book);
    let of = Entitlement {
        hash: (hash, epoch.hash_power),
        compute: (compute, epoch.compute_power),
        fees: contribution.fees,
    };
    let (reward, released) = entitlement(&book.rules, epoch.pot, of);
    let released = released.min(epoch.left);
    Share { reward: reward.min(released), released }
}

/// Rule: what an epoch earned is paid once it is closed, once, whoever asks. `referral_bps` of it go to the owner of the account that
/// referred the contributor's. The last to claim leaves nothing reserved.
fn claim(frame: &mut Frame<'_>, book: &Book, number: u64, contributor: Address) -> Result<U256, Stop> {
    ensure(book.calendar.is_closed(number, frame.height()), NotClosed { epoch: number })?;
    let mut contribution = Contribution::load(frame, number, contributor)?;
    ensure(contribution.counts(), NothingToClaim { epoch: number, contributor })?;
    ensure(!contribution.claimed, AlreadyClaimed { epoch: number, contributor })?;
    let mut epoch = Epoch::load(frame, number)?;
    let Share { reward, released } = share(book, &epoch, &contribution);
    contribution.claimed = true;
    contribution.store(frame)?;
    epoch.unclaimed = epoch.unclaimed.saturating_sub(1);
    let released = if epoch.unclaimed == 0 { epoch.left } else { released };
    let free = epoch.release(released);
    epoch.store(frame)?;
    let reserved = ledger::reserved(frame)?;
    ledger::set_reserved(frame, reserved.saturating_sub(free))?;

    let referrer = accounts::referrer_of(frame, contributor)?;
    let commission = referrer.map_or(0, |_| bps(reward, book.rules.referral_bps));
    let own = U256::from(reward.saturating_sub(commission));
    pay(frame, contributor, own)?;
    let (referrer, owner) = referrer.unwrap_or_default();
    pay(frame, owner, U256::from(commission))?;
    frame.emit(&Claimed { epoch: number, contributor, reward: own, referrer, referred: U256::from(commission) })?;
    Ok(own)
}

/// Pays out of the pot; what this contract earned itself stays in it and is part of the next.
fn pay(frame: &mut Frame<'_>, to: Address, amount: U256) -> Result<(), Stop> {
    if to == RESOURCES { Ok(()) } else { frame.pay(to, amount) }
}

fn epoch_of(frame: &mut Frame<'_>, book: &Book, number: u64) -> Result<epochOfReturn, Stop> {
    let epoch = Epoch::load(frame, number)?;
    let height = frame.height();
    let pot = if book.calendar.epoch_at(height) == number {
        let reserved = U256::from(ledger::reserved(frame)?);
        frame.balance(RESOURCES)?.saturating_sub(reserved)
    } else {
        U256::from(epoch.pot)
    };
    Ok(epochOfReturn {
        seed: epoch.seed,
        pot,
        hashPower: U256::from(epoch.hash_power),
        computePower: U256::from(epoch.compute_power),
        closed: book.calendar.is_closed(number, height),
    })
}

fn contribution_of(
    frame: &mut Frame<'_>,
    book: &Book,
    epoch: u64,
    contributor: Address,
) -> Result<contributionOfReturn, Stop> {
    let contribution = Contribution::load(frame, epoch, contributor)?;
    let persistence = match contribution.persistence {
        0 => persistence_of(frame, book, contributor, epoch)?,
        persistence => persistence,
    };
    Ok(contributionOfReturn {
        hashPower: U256::from(contribution.hash_power),
        computePower: U256::from(contribution.compute_power(&book.rules)),
        persistence: U256::from(persistence),
        power: U256::from(contribution.power(book)),
        fees: U256::from(contribution.fees),
        claimed: contribution.claimed,
    })
}
