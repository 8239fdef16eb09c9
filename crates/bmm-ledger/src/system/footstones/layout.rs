//! Where the contract keeps what: the slots, and what words hold.
//!
//! | slots | what |
//! | --- | --- |
//! | 0 | highest justified checkpoint (64 bits), last final one (64), block from which on bets count (64), block at which a checkpoint last became final (64) |
//! | 1 | sum of bonds (128), rewards that are owed (128) |
//! | 2 | number of the present set (64), of the one before (64; 0: none), bank of the present one (8), candidates (16) |
//! | 3, 4 | for each bank its set: weight (96), weight when made (96), block at which it was made (48), members (16) |
//! | 5 | footstones by address, 4 slots each |
//! | 6 | checkpoints by number, 3 slots each |
//! | 7 | amounts on links by target and source: of the present set (128), of the one before (128) |
//! | 8 | bets that count, by footstone and target: amount (96), amount that is rewarded (96), source (64) |
//! | 9 | reported amounts that lost, by target |
//! | 10 | lost bets by target and footstone: amount (96), final checkpoint at which it is taken (64), whether it was (8) |
//! | 16–143, 144–271 | members of the set of each bank: address (160), weight (96) |
//! | 272–527 | candidates |

use crate::system::{jobs::field, slots::Mapping};
use alloy_primitives::{Address, U256, aliases::U160};
use bmm_types::system::MAX_MEMBERS;

pub(crate) const PROGRESS: U256 = U256::from_limbs([0, 0, 0, 0]);
pub(super) const SUMS: U256 = U256::from_limbs([1, 0, 0, 0]);
pub(crate) const SETS: U256 = U256::from_limbs([2, 0, 0, 0]);
pub(crate) const RECORDS: Mapping = Mapping::at(5);
pub(crate) const CHECKPOINTS: Mapping = Mapping::at(6);
pub(super) const LINKS: Mapping = Mapping::at(7);
pub(super) const BETS: Mapping = Mapping::at(8);
pub(super) const LOST: Mapping = Mapping::at(9);
pub(super) const LOST_BETS: Mapping = Mapping::at(10);

/// The greatest amount of units that a word has room for beside others: 2^96 − 1. More do not exist where this contract does.
pub(super) const MOST: u128 = (1 << 96) - 1;

/// Returns the bits of `word` from bit `from` on, `bits` of them, at most 128.
pub(crate) fn part(word: U256, from: usize, bits: usize) -> u128 {
    let all: u128 = word.wrapping_shr(from).wrapping_to();
    all & (u128::MAX.wrapping_shr(u32::try_from(128usize.saturating_sub(bits)).unwrap_or(0)))
}

/// Returns 64 bits of `word` from bit `from` on.
pub(crate) fn part64(word: U256, from: usize) -> u64 {
    word.wrapping_shr(from).wrapping_to()
}

/// Returns `value` moved to the bits from `from` on.
pub(crate) fn at(value: impl Into<u128>, from: usize) -> U256 {
    U256::from(value.into()).wrapping_shl(from)
}

/// How far things have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Highest justified checkpoint.
    pub(crate) justified: u64,
    /// Last final checkpoint.
    pub(crate) finalised: u64,
    /// First block of the epoch in which the sets became what they are: links are counted from then on.
    pub(crate) since: u64,
    /// Block up to which the pot was shared out.
    pub(crate) shared: u64,
}

impl Progress {
    pub(crate) fn decode(word: U256) -> Self {
        Self {
            justified: part64(word, 0),
            finalised: part64(word, 64),
            since: part64(word, 128),
            shared: part64(word, 192),
        }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.justified, 0) | at(self.finalised, 64) | at(self.since, 128) | at(self.shared, 192)
    }
}

/// What the contract's balance is made of beside the pot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// All bonds, in units.
    pub(super) bonds: u128,
    /// Rewards that became due and were not claimed, in units.
    pub(super) owed: u128,
}

impl Sums {
    pub(super) fn decode(word: U256) -> Self {
        Self { bonds: part(word, 0, 128), owed: part(word, 128, 128) }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.bonds, 0) | at(self.owed, 128)
    }
}

/// Which sets there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    /// Number of the present set, from 1; 0 before the first.
    pub(crate) current: u64,
    /// Number of the set before it whose bets count as well; 0 if there is none.
    pub(crate) previous: u64,
    /// Bank of the present set, 0 or 1; the one before lies in the other.
    pub(crate) bank: u8,
    pub(crate) candidates: u16,
}

impl Sets {
    pub(crate) fn decode(word: U256) -> Self {
        Self {
            current: part64(word, 0),
            previous: part64(word, 64),
            bank: word.wrapping_shr(128).byte(0) & 1,
            candidates: word.wrapping_shr(136).wrapping_to(),
        }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.current, 0) | at(self.previous, 64) | at(self.bank, 128) | at(self.candidates, 136)
    }

    /// Returns the bank of the present set, or of the one before.
    pub(crate) fn bank_of(self, previous: bool) -> u8 {
        self.bank ^ u8::from(previous)
    }

    /// Whether there is a present set, or one before.
    pub(crate) fn has(self, previous: bool) -> bool {
        (if previous { self.previous } else { self.current }) != 0
    }
}

/// A set but for its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetHead {
    /// Sum of the members' weights, in units.
    pub(crate) weight: u128,
    /// What the weight was when the set was made.
    pub(crate) made_weight: u128,
    /// Number of the block at which it was made.
    pub(crate) made: u64,
    pub(crate) members: u16,
}

impl SetHead {
    pub(crate) fn decode(word: U256) -> Self {
        Self {
            weight: part(word, 0, 96),
            made_weight: part(word, 96, 96),
            made: part64(word, 192) & 0xffff_ffff_ffff,
            members: word.wrapping_shr(240).wrapping_to(),
        }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.weight.min(MOST), 0) | at(self.made_weight.min(MOST), 96) | at(self.made, 192) | at(self.members, 240)
    }

    /// Slot of the set in `bank`.
    pub(crate) fn slot(bank: u8) -> U256 {
        U256::from(u64::from(bank).saturating_add(3))
    }

    /// Returns the members that are there, for loops that cannot be longer than the bank.
    pub(crate) fn indices(self) -> std::ops::Range<u64> {
        0..u64::from(self.members).min(MEMBERS)
    }
}

/// Members that a bank has room for.
const MEMBERS: u64 = 128;
const _: () = assert!(MAX_MEMBERS == 128, "a bank holds a set");

/// Slot of a member.
pub(crate) fn member_slot(bank: u8, index: u64) -> U256 {
    let first = u64::from(bank).saturating_mul(MEMBERS).saturating_add(16);
    U256::from(first.saturating_add(index))
}

/// Reads a member: address and weight.
pub(crate) fn member(word: U256) -> (Address, u128) {
    (Address::from(word.wrapping_to::<U160>()), part(word, 160, 96))
}

/// The sets by whose weights bets count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Electorate {
    pub(super) sets: Sets,
    pub(super) current: SetHead,
    /// The set before, if there is one.
    pub(super) previous: Option<SetHead>,
}

impl Electorate {
    /// Returns the block from which on checkpoints can be bet on.
    pub(super) fn since(&self) -> u64 {
        self.previous.unwrap_or(self.current).made
    }
}

/// Writes a member.
pub(super) fn member_word(address: Address, weight: u128) -> U256 {
    let address = U256::from_be_bytes(address.into_word().0);
    address | at(weight.min(MOST), 160)
}

/// Slot of a candidate.
pub(super) fn candidate_slot(index: u16) -> U256 {
    U256::from(u64::from(index).saturating_add(272))
}

/// What is known of a footstone, as the first two of its slots hold it: bond (96), state (8), when the bond is free (64), highest target (64), place
/// among the candidates (16) | what reported bets may cost (96). The other two are its seats in the sets of the two banks: the set's number
/// (64), weight (96).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// In units.
    pub(super) bond: u128,
    /// See [`bmm_types::system::footstone_state`].
    pub(super) state: u8,
    /// Unix seconds, while leaving.
    pub(super) free_at: u64,
    /// Highest target of a bet that counted.
    pub(super) last_target: u64,
    /// Place among the candidates.
    pub(super) index: u16,
    /// The most that reported bets can cost, in units; stays locked until they were taken.
    pub(super) held: u128,
}

impl Record {
    pub(super) fn decode(first: U256, second: U256) -> Self {
        Self {
            bond: part(first, 0, 96),
            state: first.wrapping_shr(96).byte(0),
            free_at: part64(first, 104),
            last_target: part64(first, 168),
            index: first.wrapping_shr(232).wrapping_to(),
            held: part(second, 0, 96),
        }
    }

    pub(super) fn encode(self) -> (U256, U256) {
        let who = at(self.bond.min(MOST), 0) | at(self.state, 96) | at(self.free_at, 104);
        (who | at(self.last_target, 168) | at(self.index, 232), at(self.held.min(MOST), 0))
    }
}

/// A bet that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// In units; zero if there is none.
    pub(super) amount: u128,
    /// What of it is rewarded, in units; zero once it was.
    pub(super) rewarded: u128,
    pub(super) source: u64,
}

impl Counted {
    pub(super) fn decode(word: U256) -> Self {
        Self { amount: part(word, 0, 96), rewarded: part(word, 96, 96), source: part64(word, 192) }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.amount.min(MOST), 0) | at(self.rewarded.min(MOST), 96) | at(self.source, 192)
    }
}

/// A checkpoint's second and third slots: amounts of the bets on it (128), what they share (128) | whether it is justified (8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Sum of what is rewarded of the bets on it, in units.
    pub(super) amount: u128,
    /// In units; zero until it is final.
    pub(super) pot: u128,
}

impl Shares {
    pub(super) fn decode(word: U256) -> Self {
        Self { amount: part(word, 0, 128), pot: part(word, 128, 128) }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.amount, 0) | at(self.pot, 128)
    }
}

/// A reported bet that lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LostBet {
    /// In units; zero if none was reported.
    pub(super) amount: u128,
    /// Final checkpoint from which on the loss is taken.
    pub(super) due: u64,
    pub(super) taken: bool,
}

impl LostBet {
    pub(super) fn decode(word: U256) -> Self {
        Self { amount: part(word, 0, 96), due: part64(word, 96), taken: word.bit(160) }
    }

    pub(super) fn encode(self) -> U256 {
        at(self.amount.min(MOST), 0) | at(self.due, 96) | at(self.taken, 160)
    }
}

/// Slot of a footstone's seat in the set of a bank. The set's number stands beside the weight, so that nobody has to clear the seats of sets that
/// are gone.
pub(crate) fn seat_slot(record: U256, bank: u8) -> U256 {
    field(record, u64::from(bank).saturating_add(2))
}
