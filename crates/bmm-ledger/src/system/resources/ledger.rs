//! The ledger's slots, and the rules of power.
//!
//! Slot 0: units reserved for the pots of ended epochs. Slot 1: epochs by number, each three slots: seed | pot (128 bits), what of it is
//! reserved (128) | sum of PP of the hash class (96), of the compute class (96), contributors that have not claimed (64). Slot 2:
//! contributions by epoch and contributor: fees (96), DPP of the hash class (96), persistence (32), claimed (8). Slot 3: the last two
//! epochs with a contribution, by contributor: epoch (64) and persistence (32) of the last, the same of the one before.

use super::{
    super::{
        Rules,
        frame::{Frame, Stop},
        jobs::field,
        slots::Mapping,
    },
    Book, Calendar, mul_div, split,
};
use alloy_primitives::{Address, B256, U256, aliases::U96};
use bmm_types::{
    params::ResourceRules,
    system::{MICRO, RESOURCES, Resources::Credited},
};

const RESERVED: U256 = U256::ZERO;
const EPOCHS: Mapping = Mapping::at(1);
const CONTRIBUTIONS: Mapping = Mapping::at(2);
const PASTS: Mapping = Mapping::at(3);

/// The most that a power or a sum of fees is counted as: 2^96 − 1, which is more hashes in µRU than can be done, and more units than
/// exist.
const MOST: u128 = (1 << 96) - 1;

/// A persistence of 1, in millionths.
const LEAST_PERSISTENCE: u32 = 1_000_000;
/// A persistence of 2, in millionths.
const MOST_PERSISTENCE: u32 = 2_000_000;

/// Returns the units reserved for the pots of ended epochs.
pub(super) fn reserved(frame: &mut Frame<'_>) -> Result<u128, Stop> {
    Ok(frame.load_at(RESOURCES, RESERVED)?.wrapping_to())
}

pub(super) fn set_reserved(frame: &mut Frame<'_>, units: u128) -> Result<(), Stop> {
    frame.store_at(RESOURCES, RESERVED, U256::from(units))
}

/// Takes the 96 bits from `shift` on.
fn bits96(word: U256, shift: usize) -> u128 {
    word.wrapping_shr(shift).wrapping_to::<U96>().to()
}

/// One epoch.
pub(super) struct Epoch {
    slot: U256,
    pub(super) seed: B256,
    /// Units that its contributors share.
    pub(super) pot: u128,
    /// Units of the pot that are still reserved.
    pub(super) left: u128,
    /// Sum of PP of the hash class, in µRU.
    pub(super) hash_power: u128,
    /// Sum of PP of the compute class, in µRU.
    pub(super) compute_power: u128,
    /// Contributors that have not claimed.
    pub(super) unclaimed: u64,
}

impl Epoch {
    pub(super) fn load(frame: &mut Frame<'_>, number: u64) -> Result<Self, Stop> {
        let slot = EPOCHS.slot(frame, number)?;
        let seed = frame.load_at(RESOURCES, slot)?.into();
        let pot = frame.load_at(RESOURCES, field(slot, 1))?;
        let sums = frame.load_at(RESOURCES, field(slot, 2))?;
        Ok(Self {
            slot,
            seed,
            pot: pot.wrapping_to(),
            left: pot.wrapping_shr(128).wrapping_to(),
            hash_power: bits96(sums, 0),
            compute_power: bits96(sums, 96),
            unclaimed: sums.wrapping_shr(192).wrapping_to(),
        })
    }

    pub(super) fn store(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let pot = U256::from(self.pot) | U256::from(self.left).wrapping_shl(128);
        frame.store_at(RESOURCES, self.slot, self.seed.into())?;
        frame.store_at(RESOURCES, field(self.slot, 1), pot)?;
        self.store_sums(frame)
    }

    fn store_sums(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let (hash, compute) = (self.hash_power.min(MOST), self.compute_power.min(MOST));
        let sums = U256::from(hash) | U256::from(compute).wrapping_shl(96);
        frame.store_at(RESOURCES, field(self.slot, 2), sums | U256::from(self.unclaimed).wrapping_shl(192))
    }

    /// Returns the parts of the pot whose classes have no contributors.
    pub(super) fn unclaimable(&self, rules: &ResourceRules) -> u128 {
        let (hash, compute) = split(self.pot, rules);
        let hash = if self.hash_power == 0 { hash } else { 0 };
        hash.saturating_add(if self.compute_power == 0 { compute } else { 0 })
    }

    /// Reserves `units` less, as far as there are so many, and returns how many it were.
    pub(super) fn release(&mut self, units: u128) -> u128 {
        let free = units.min(self.left);
        self.left = self.left.saturating_sub(free);
        free
    }
}

/// What one contributor contributed in one epoch.
pub(super) struct Contribution {
    slot: U256,
    /// Units of fees paid for its work.
    pub(super) fees: u128,
    /// DPP of the hash class, in µRU.
    pub(super) hash_power: u128,
    /// In millionths; zero while there is no power.
    pub(super) persistence: u32,
    pub(super) claimed: bool,
}

impl Contribution {
    pub(super) fn load(frame: &mut Frame<'_>, epoch: u64, contributor: Address) -> Result<Self, Stop> {
        let slot = CONTRIBUTIONS.inner(frame, epoch)?.slot(frame, contributor)?;
        let word = frame.load_at(RESOURCES, slot)?;
        Ok(Self {
            slot,
            fees: bits96(word, 0),
            hash_power: bits96(word, 96),
            persistence: word.wrapping_shr(192).wrapping_to(),
            claimed: word.bit(224),
        })
    }

    pub(super) fn store(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let powers = U256::from(self.fees.min(MOST)) | U256::from(self.hash_power.min(MOST)).wrapping_shl(96);
        let rest = U256::from(self.persistence) | U256::from(u8::from(self.claimed)).wrapping_shl(32);
        frame.store_at(RESOURCES, self.slot, powers | rest.wrapping_shl(192))
    }

    /// Whether there is any power.
    pub(super) const fn counts(&self) -> bool {
        self.persistence != 0
    }

    /// Rule: `fee_per_unit` units of protocol fee are one resource unit. Returns the DPP of the compute class, in µRU.
    pub(super) fn compute_power(&self, rules: &ResourceRules) -> u128 {
        let each: u128 = rules.fee_per_unit.units().saturating_to();
        mul_div(self.fees, MICRO.into(), each).min(MOST)
    }

    /// Returns the PP of the hash class and of the compute class, in µRU.
    pub(super) fn powers(&self, book: &Book) -> (u128, u128) {
        let compute = self.compute_power(&book.rules);
        (weighed(self.hash_power, self.persistence), weighed(compute, self.persistence))
    }

    /// Returns the PP, in µRU.
    pub(super) fn power(&self, book: &Book) -> u128 {
        let (hash, compute) = self.powers(book);
        hash.saturating_add(compute)
    }
}

/// Rule: PP = DPP · e, rounded down.
pub(super) fn weighed(power: u128, persistence: u32) -> u128 {
    mul_div(power, persistence.into(), LEAST_PERSISTENCE.into()).min(MOST)
}

/// An epoch with a contribution, and its persistence; none if that is zero.
#[derive(Clone, Copy, Default)]
struct Past {
    epoch: u64,
    persistence: u32,
}

impl Past {
    fn read(word: U256) -> Self {
        Self { epoch: word.wrapping_to(), persistence: word.wrapping_shr(64).wrapping_to() }
    }

    fn word(self) -> U256 {
        U256::from(self.epoch) | U256::from(self.persistence).wrapping_shl(64)
    }

    /// Rule: e is 1 at first, grows by 1/`epochs_to_double` (rounded up) for each epoch with a contribution, to at most 2, and loses half of what it
    /// has above 1 for each epoch without. Returns the e of a later epoch, if the contributor does nothing in between.
    fn persistence_in(self, epoch: u64, rules: &ResourceRules) -> u32 {
        if self.persistence == 0 {
            return LEAST_PERSISTENCE;
        }
        let step = LEAST_PERSISTENCE.div_ceil(u32::from(rules.epochs_to_double).max(1));
        let grown = self.persistence.saturating_add(step).min(MOST_PERSISTENCE);
        let missed = epoch.saturating_sub(self.epoch).saturating_sub(1);
        let above = grown.saturating_sub(LEAST_PERSISTENCE);
        let kept = u32::try_from(missed).ok().and_then(|missed| above.checked_shr(missed)).unwrap_or(0);
        LEAST_PERSISTENCE.saturating_add(kept)
    }
}

fn pasts(frame: &mut Frame<'_>, contributor: Address) -> Result<(U256, Past, Past), Stop> {
    let slot = PASTS.slot(frame, contributor)?;
    let word = frame.load_at(RESOURCES, slot)?;
    Ok((slot, Past::read(word), Past::read(word.wrapping_shr(96))))
}

/// Returns the persistence of a contributor in an epoch in which it did not contribute, or has not yet: 1 in epochs before its last two.
pub(super) fn persistence_of(
    frame: &mut Frame<'_>,
    book: &Book,
    contributor: Address,
    epoch: u64,
) -> Result<u32, Stop> {
    let (_, last, before) = pasts(frame, contributor)?;
    let of = [last, before].into_iter().find(|past| past.epoch < epoch).unwrap_or_default();
    Ok(of.persistence_in(epoch, &book.rules))
}

/// Begins a contributor's contribution of `epoch` and returns its persistence.
///
/// Hash work is proven when the next epoch has begun and the contributor may already have been credited there. That credit was weighed as
/// if `epoch` had been missed, and is weighed anew.
fn begin(frame: &mut Frame<'_>, book: &Book, contributor: Address, epoch: u64) -> Result<u32, Stop> {
    let (slot, last, before) = pasts(frame, contributor)?;
    let is_late = last.persistence != 0 && last.epoch > epoch;
    let persistence = if is_late { before } else { last }.persistence_in(epoch, &book.rules);
    let this = Past { epoch, persistence };
    let (newest, older) = if is_late {
        let weight = this.persistence_in(last.epoch, &book.rules);
        let mut credited = Contribution::load(frame, last.epoch, contributor)?;
        let mut sums = Epoch::load(frame, last.epoch)?;
        sums.compute_power = sums.compute_power.saturating_sub(credited.powers(book).1);
        credited.persistence = weight;
        sums.compute_power = sums.compute_power.saturating_add(credited.powers(book).1);
        credited.store(frame)?;
        sums.store_sums(frame)?;
        (Past { persistence: weight, ..last }, this)
    } else {
        (this, last)
    };
    frame.store_at(RESOURCES, slot, newest.word() | older.word().wrapping_shl(96))?;
    Ok(persistence)
}

/// Enters hash work of `power` µRU that a contributor proved for an epoch.
pub(super) fn enter_hash_power(
    frame: &mut Frame<'_>,
    book: &Book,
    epoch: u64,
    contributor: Address,
    power: u128,
) -> Result<(), Stop> {
    let mut contribution = Contribution::load(frame, epoch, contributor)?;
    let is_new = !contribution.counts();
    if is_new {
        contribution.persistence = begin(frame, book, contributor, epoch)?;
    }
    contribution.hash_power = power;
    contribution.store(frame)?;
    let mut sums = Epoch::load(frame, epoch)?;
    sums.hash_power = sums.hash_power.saturating_add(contribution.powers(book).0);
    sums.unclaimed = sums.unclaimed.saturating_add(u64::from(is_new));
    sums.store_sums(frame)
}

/// Credits a contributor for work that was settled and paid `fee` units of protocol fee. The escrow calls it.
pub(in super::super) fn credit(
    frame: &mut Frame<'_>,
    rules: &Rules,
    contributor: Address,
    fee: U256,
) -> Result<(), Stop> {
    let Some(resources) = rules.resources.filter(|_| !fee.is_zero()) else { return Ok(()) };
    let book = Book { calendar: Calendar { epoch_blocks: rules.epoch_blocks }, rules: resources };
    let epoch = book.calendar.epoch_at(frame.height());
    let mut contribution = Contribution::load(frame, epoch, contributor)?;
    let (power, weight) = (contribution.compute_power(&resources), contribution.powers(&book).1);
    contribution.fees = contribution.fees.saturating_add(fee.saturating_to()).min(MOST);
    let now = contribution.compute_power(&resources);
    let is_new = !contribution.counts() && now > 0;
    if is_new {
        contribution.persistence = begin(frame, &book, contributor, epoch)?;
    }
    contribution.store(frame)?;
    if now > power {
        let mut sums = Epoch::load(frame, epoch)?;
        let more = contribution.powers(&book).1.saturating_sub(weight);
        sums.compute_power = sums.compute_power.saturating_add(more);
        sums.unclaimed = sums.unclaimed.saturating_add(u64::from(is_new));
        sums.store_sums(frame)?;
    }
    let power = U256::from(now.saturating_sub(power));
    frame.emit_at(RESOURCES, &Credited { epoch, contributor, fee, power })
}
