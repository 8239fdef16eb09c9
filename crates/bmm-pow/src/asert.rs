//! Difficulty adjustment: ASERT as `aserti3-2d` (Bitcoin Cash, 2020-11-15), anchored at genesis.

use crate::difficulty::{Difficulty, Target};
use alloy_primitives::{U256, U512};

/// Fraction bits of the exponent.
const RADIX_BITS: usize = 16;
/// Coefficients of aserti3-2d's cubic for 2^x - 1 on [0, 1), scaled by 2^48 / 2^16, 2^48 / 2^32 and 2^48 / 2^48 · 2^16.
const CUBIC: [u128; 3] = [195_766_423_245_049, 971_821_376, 5_127];

/// The schedule that a chain's difficulty follows.
///
/// The target of the block after the one at height h and time t is
/// `anchor · 2^((t - t0 - T·h) / half-life)`: late blocks make the next one easier, early ones harder, and nothing but
/// the last block's height and time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asert {
    /// Unix seconds of genesis.
    pub genesis_time: u64,
    /// Wanted seconds between blocks (T).
    pub block_secs: u64,
    /// Seconds late that double the target.
    pub half_life_secs: u64,
    /// Target of genesis, from which the schedule counts.
    pub anchor: Target,
    /// The easiest target there is.
    pub limit: Target,
}

impl Asert {
    /// Returns the schedule of a chain whose genesis has the least difficulty there is.
    pub fn new(genesis_time: u64, block_secs: u64, half_life_secs: u64, min_difficulty: Difficulty) -> Self {
        let limit = min_difficulty.target();
        Self { genesis_time, block_secs, half_life_secs, anchor: limit, limit }
    }

    /// Returns the target of the block after the one at `height` (genesis is 0) with the timestamp `time` (Unix seconds).
    pub fn next_target(&self, height: u64, time: u64) -> Target {
        let exponent = self.exponent(height, time);
        // Arithmetic shift and mask: exponent = shifts · 2^16 + fraction with 0 ≤ fraction < 2^16.
        let shifts = exponent >> RADIX_BITS;
        let fraction = u128::try_from(exponent & 0xffff).expect("masked to 16 bits");
        self.clamp(scale(self.anchor.get(), two_to_the(fraction), shifts))
    }

    /// Returns the difficulty of the block after the one at `height` with the timestamp `time`.
    pub fn next_difficulty(&self, height: u64, time: u64) -> Difficulty {
        self.next_target(height, time).difficulty()
    }

    /// The time by which the chain is late, in half-lives, as a fixed-point number with 16 fraction bits (towards zero,
    /// as the reference divides). Saturation only touches values whose target is clamped anyway.
    fn exponent(&self, height: u64, time: u64) -> i128 {
        let elapsed = i128::from(time).saturating_sub(i128::from(self.genesis_time));
        let ideal = i128::from(self.block_secs).saturating_mul(i128::from(height));
        let late = elapsed.saturating_sub(ideal);
        late.saturating_mul(1 << RADIX_BITS).checked_div(i128::from(self.half_life_secs.max(1))).unwrap_or(0)
    }

    /// Brings a target into [1, limit]; `None` stands for one beyond 256 bits.
    fn clamp(&self, target: Option<U256>) -> Target {
        let target = target.unwrap_or(U256::MAX).clamp(U256::ONE, self.limit.get());
        Target::new(target).expect("clamped to at least 1")
    }
}

/// Approximates 2^(fraction / 2^16) by a cubic, scaled by 2^16: the result is in [2^16, 2^17). Error below 0.013 %.
fn two_to_the(fraction: u128) -> u128 {
    // fraction < 2^16, so the sum stays below 2^64 (its largest value is 18,446,563,080,438,344,768).
    let [a, b, c] = CUBIC;
    let powers = [fraction, fraction.saturating_pow(2), fraction.saturating_pow(3)];
    let sum = a
        .saturating_mul(powers[0])
        .saturating_add(b.saturating_mul(powers[1]))
        .saturating_add(c.saturating_mul(powers[2]))
        .saturating_add(1 << 47);
    (1u128 << RADIX_BITS).saturating_add(sum >> 48)
}

/// floor(target · factor · 2^shifts / 2^16), or `None` when that passes 256 bits. The product has at most 273 bits.
fn scale(target: U256, factor: u128, shifts: i128) -> Option<U256> {
    let product: U512 = target.widening_mul(U256::from(factor));
    let shift_bits = usize::try_from(shifts.unsigned_abs()).unwrap_or(usize::MAX);
    let scaled = if shifts < 0 {
        // Every bit may fall out; then nothing is left.
        product.wrapping_shr(shift_bits)
    } else {
        // The top bit must not fall out: a product that large is beyond 256 bits after the last shift as well.
        product.checked_shl(shift_bits)?
    };
    U256::checked_from_limbs_slice(scaled.wrapping_shr(RADIX_BITS).as_limbs())
}
