//! Difficulty, target and work, each its own type.

use alloy_primitives::U256;

/// How many hashes a block takes on average; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(U256);

/// The largest hash, as a little-endian number, that proves the work; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// Work of a chain: the sum of its blocks' difficulties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

impl Difficulty {
    /// The least difficulty: every hash will do.
    pub const ONE: Self = Self(U256::ONE);

    /// Makes a difficulty, or `None` from zero.
    pub fn new(difficulty: U256) -> Option<Self> {
        (!difficulty.is_zero()).then_some(Self(difficulty))
    }

    /// Returns the number as it stands in a header.
    pub const fn get(self) -> U256 {
        self.0
    }

    /// Returns the target: floor(2^256 / difficulty), and 2^256 - 1 for difficulty 1, whose quotient does not fit.
    pub fn target(self) -> Target {
        Target(quotient_of_two_to_the_256(self.0))
    }
}

impl Target {
    /// The easiest target: every hash meets it.
    pub const MAX: Self = Self(U256::MAX);

    /// Makes a target, or `None` from zero, which no hash could be expected to meet.
    pub fn new(target: U256) -> Option<Self> {
        (!target.is_zero()).then_some(Self(target))
    }

    /// Returns the number.
    pub const fn get(self) -> U256 {
        self.0
    }

    /// Whether `hash`, read as a little-endian number, is at most the target.
    pub fn is_met_by(self, hash: &[u8; 32]) -> bool {
        U256::from_le_bytes(*hash) <= self.0
    }

    /// Expands Bitcoin's compact form: a byte of length and three of mantissa. `None` for zero, for what is marked negative, and for what is
    /// beyond 256 bits.
    pub fn from_compact(bits: u32) -> Option<Self> {
        let [high, middle, low, size] = [bits >> 16, bits >> 8, bits, bits >> 24].map(|part| part.to_le_bytes()[0]);
        if high & 0x80 != 0 {
            return None;
        }
        // Byte i of the mantissa has the weight 256^(size - 3 + i).
        let mut number = [0; 32];
        for (index, byte) in [low, middle, high].into_iter().enumerate().filter(|(_, byte)| *byte != 0) {
            if let Some(place) = usize::from(size).checked_add(index)?.checked_sub(3) {
                *number.get_mut(place)? = byte;
            }
        }
        Self::new(U256::from_le_bytes(number))
    }

    /// Shortens the target to Bitcoin's compact form, rounding down.
    pub fn to_compact(self) -> u32 {
        let bytes: [u8; 32] = self.0.to_le_bytes();
        let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        // A first byte of 0x80 or more would read as a sign.
        let negative = len.checked_sub(1).and_then(|last| bytes.get(last)).is_some_and(|byte| byte & 0x80 != 0);
        let size = len.saturating_add(usize::from(negative));
        let byte = |below: usize| size.checked_sub(below).and_then(|place| bytes.get(place)).copied().unwrap_or(0);
        u32::from_be_bytes([u8::try_from(size).unwrap_or(u8::MAX), byte(1), byte(2), byte(3)])
    }

    /// Returns the difficulty: floor(2^256 / target), and 2^256 - 1 for target 1, whose quotient does not fit.
    pub fn difficulty(self) -> Difficulty {
        Difficulty(quotient_of_two_to_the_256(self.0))
    }
}

impl Work {
    /// No work.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Makes work of a number that was stored.
    pub const fn from_stored(work: U256) -> Self {
        Self(work)
    }

    /// Returns the number.
    pub const fn get(self) -> U256 {
        self.0
    }

    /// Adds a block's difficulty. It saturates at 2^256 - 1, which no chain of honest proofs reaches.
    #[must_use]
    pub fn plus(self, difficulty: U256) -> Self {
        Self(self.0.saturating_add(difficulty))
    }
}

/// floor(2^256 / n) for n > 1; 2^256 - 1 for n = 1.
///
/// With q and r from 2^256 - 1 = q·n + r, 2^256 = q·n + (r + 1), so the quotient is q, or q + 1 when r + 1 = n.
fn quotient_of_two_to_the_256(n: U256) -> U256 {
    debug_assert!(!n.is_zero(), "the newtypes hold no zero");
    if n == U256::ONE {
        return U256::MAX;
    }
    let (quotient, remainder) = U256::MAX.div_rem(n);
    let whole = remainder.saturating_add(U256::ONE) == n;
    if whole { quotient.saturating_add(U256::ONE) } else { quotient }
}
