//! Difficulty as it stands on the wire, and the target that it means.

use alloy_primitives::U256;
use bmm_pow::difficulty::Target;
use std::fmt;

/// Parts of a unit of wire difficulty that are told apart.
const PARTS: u64 = 1 << 16;
/// Digits after the point that say any number of parts exactly: a part is 2^-16.
const DIGITS: usize = 16;
/// A part, in units of 10^-16: 5^16.
const PART_IN_DIGITS: u64 = 152_587_890_625;
/// Target of the least difficulty: 0xffff · 2^240. Bitcoin's difficulty 1 has the same digits before 208 zero bits.
const ONE_PART: U256 = U256::from_limbs([0, 0, 0, 0xffff << 48]);

/// How hard a share is, in wire difficulty as Scrypt miners understand it.
///
/// At difficulty d a share's hash, as a little-endian number, is at most floor(0xffff · 2^224 / d): Bitcoin's target of difficulty 1,
/// times 65,536, divided by d. So a share at d = 1 takes 2^32 / 65,535, about 65,537 hashes on average. Difficulties are multiples of
/// 2^-16, where about every hash is a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareDifficulty(u64);

impl ShareDifficulty {
    /// The least: 2^-16, at which 65,535 of 65,536 hashes are shares.
    pub const LEAST: Self = Self(1);
    /// The greatest: 2^40, some 7·10^16 hashes.
    pub const GREATEST: Self = Self(1 << 56);

    /// Makes a whole difficulty, at least 1 and at most the greatest.
    pub fn whole(difficulty: u32) -> Self {
        Self(u64::from(difficulty.max(1)).saturating_mul(PARTS))
    }

    /// Makes a difficulty of so many 65,536th parts, within the least and the greatest. About as many hashes make a share.
    pub fn parts(parts: u64) -> Self {
        Self(parts.clamp(Self::LEAST.0, Self::GREATEST.0))
    }

    /// Makes the nearest difficulty to a number that a miner or an operator wrote. `None` for what is not above zero.
    pub fn nearest(difficulty: f64) -> Option<Self> {
        if !difficulty.is_finite() || difficulty <= 0.0 {
            return None;
        }
        // Written out and read again, which is exact where a conversion might wrap.
        let parts = format!("{:.0}", (difficulty * 65_536.0).min(1e17)).parse().ok()?;
        Some(Self::parts(parts))
    }

    /// Returns the number of 65,536th parts.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the difficulty 2^`steps` times as great, or as small for negative steps, within `limits`.
    #[must_use]
    pub fn stepped(self, steps: i32, limits: &Limits) -> Self {
        let by = steps.unsigned_abs().min(63);
        let stepped = if steps < 0 {
            self.0.checked_shr(by).unwrap_or(0)
        } else {
            self.0.saturating_mul(1u64.checked_shl(by).unwrap_or(u64::MAX))
        };
        Self::parts(stepped).within(limits)
    }

    /// Returns the nearest difficulty within limits.
    #[must_use]
    pub fn within(self, limits: &Limits) -> Self {
        self.max(limits.least).min(limits.greatest.max(limits.least))
    }

    /// Returns the target: floor(0xffff · 2^224 / d).
    pub fn target(self) -> Target {
        let target = ONE_PART.checked_div(U256::from(self.0)).unwrap_or_default();
        Target::new(target).expect("the greatest difficulty is far below 0xffff · 2^240")
    }

    /// Returns how many hashes a share takes on average, rounded down.
    pub fn hashes(self) -> u64 {
        u64::try_from(self.target().difficulty().get()).unwrap_or(u64::MAX)
    }
}

impl Default for ShareDifficulty {
    fn default() -> Self {
        Self::whole(1)
    }
}

/// Writes the difficulty as an exact decimal number, which JSON takes.
impl fmt::Display for ShareDifficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(PARTS).unwrap_or_default();
        let part = self.0.checked_rem(PARTS).unwrap_or_default().saturating_mul(PART_IN_DIGITS);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:0DIGITS$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Between which difficulties a miner may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The least.
    pub least: ShareDifficulty,
    /// The greatest; where it is below the least, the least holds.
    pub greatest: ShareDifficulty,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_target_is_that_of_scrypt_miners() {
        // cpuminer: difficulty 65536 on the wire is Bitcoin's difficulty 1, whose target is 0xffff followed by 208 zero bits.
        assert_eq!(ShareDifficulty::whole(65_536).target().get(), U256::from(0xffff) << 208);
        assert_eq!(ShareDifficulty::whole(1).target().get(), U256::from(0xffff) << 224);
        assert_eq!(ShareDifficulty::whole(1).hashes(), 65_537);
        assert_eq!(ShareDifficulty::LEAST.hashes(), 1);
        assert_eq!(ShareDifficulty::nearest(0.5).expect("positive").target().get(), U256::from(0xffff) << 225);
        assert!(ShareDifficulty::GREATEST.hashes() > 1 << 56);
    }

    #[test]
    fn is_written_as_json_takes_it() {
        let text = |difficulty: f64| ShareDifficulty::nearest(difficulty).expect("positive").to_string();
        assert_eq!(
            ["1", "16384", "0.5", "0.0000152587890625", "3.25"].map(str::to_owned),
            [text(1.0), text(16_384.0), text(0.5), text(1e-9), text(3.25)]
        );
        assert_eq!(ShareDifficulty::nearest(1e300), Some(ShareDifficulty::GREATEST));
        assert_eq!([0.0, -1.0, f64::NAN, f64::INFINITY].map(ShareDifficulty::nearest), [None; 4]);
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { least: ShareDifficulty::whole(2), greatest: ShareDifficulty::whole(64) };
        let at = |steps| ShareDifficulty::whole(8).stepped(steps, &limits);
        assert_eq!([at(1), at(-1), at(0)], [16, 4, 8].map(ShareDifficulty::whole));
        assert_eq!([at(-40), at(-64), at(40), at(64)], [2, 2, 64, 64].map(ShareDifficulty::whole));
    }

    proptest! {
        #[test]
        fn text_is_read_as_it_was_written(parts in 1u64..1 << 52) {
            let difficulty = ShareDifficulty::parts(parts);
            let read: f64 = difficulty.to_string().parse().expect("a number");
            prop_assert_eq!(ShareDifficulty::nearest(read), Some(difficulty));
        }

        #[test]
        fn hashes_are_parts_within_one_in_65_535(parts in 1u64..1 << 56) {
            let hashes = u128::from(ShareDifficulty::parts(parts).hashes());
            let exact = u128::from(parts) * 65_536 / 65_535;
            prop_assert!(hashes.abs_diff(exact) <= 1);
        }
    }
}
