//! Amounts of BMM: whole units of 10^-18 BMM, never floating point.

use alloy_primitives::{U256, utils::parse_units};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, iter::Sum, str::FromStr};

/// Decimals of the native coin: 1 BMM is 10^18 units.
pub const DECIMALS: u8 = 18;

/// An amount of BMM in units of 10^-18 BMM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

/// Says why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an amount of BMM: {reason}; write for example \"5 BMM\" or \"0.25 BMM\"")]
pub struct ParseAmountError {
    text: String,
    reason: &'static str,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// One BMM, 10^18 units.
    pub const ONE_BMM: Self = Self(U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]));

    /// Makes an amount of whole BMM.
    pub fn from_bmm(bmm: u64) -> Self {
        // Below 2^64 × 2^60, so the product stays far below 2^256.
        Self(U256::from(bmm).saturating_mul(Self::ONE_BMM.0))
    }

    /// Makes an amount of units (10^-18 BMM).
    pub fn from_units(units: u128) -> Self {
        Self(U256::from(units))
    }

    /// Returns the units (10^-18 BMM).
    pub const fn units(self) -> U256 {
        self.0
    }

    /// Adds, or `None` past 2^256 - 1 units.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Subtracts, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Subtracts down to zero at least.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Multiplies by `factor` and divides by `divisor`, rounding down; `None` on overflow or a zero divisor.
    pub fn mul_div(self, factor: u128, divisor: u128) -> Option<Self> {
        self.0.checked_mul(U256::from(factor))?.checked_div(U256::from(divisor)).map(Self)
    }

    /// Whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Writes the number of BMM without its unit, all significant decimals kept: `0.25`.
    pub fn to_decimal(self) -> String {
        let digits = format!("{:0>19}", self.0.to_string());
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(usize::from(DECIMALS)));
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} BMM", self.to_decimal())
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    /// Reads `5 BMM`, `0.25 BMM` or `0.25`.
    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let fail = |reason| ParseAmountError { text: text.chars().take(80).collect(), reason };
        let number = text.trim();
        let number = number.strip_suffix("BMM").unwrap_or(number).trim_end();
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(fail("it is not a plain decimal number"));
        }
        if fraction.len() > usize::from(DECIMALS) {
            return Err(fail("it has more than 18 decimals"));
        }
        if whole.len() > 40 {
            return Err(fail("it is too large"));
        }
        let units = parse_units(number, DECIMALS).map_err(|_| fail("it is too large"))?;
        Ok(Self(units.get_absolute()))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_decimal())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            U256::deserialize(deserializer).map(Self)
        }
    }
}

impl Sum for Amount {
    /// Adds amounts, saturating: a sum of amounts that exist never comes near 2^256 units.
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |a, b| Self(a.0.saturating_add(b.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!("5 BMM".parse(), Ok(Amount::from_bmm(5)));
        assert_eq!(" 0.25BMM ".parse(), Ok(Amount::from_units(250_000_000_000_000_000)));
        assert_eq!("0.000000000000000001".parse(), Ok(Amount::from_units(1)));
        assert_eq!(Amount::from_bmm(1_390_000_000).to_string(), "1390000000 BMM");
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in ["", "BMM", "-1", "+1", "1e3", "1.", ".5", "1.2.3", "5 EUR", "0x10", "1.0000000000000000001"] {
            let error = text.parse::<Amount>().expect_err(text);
            assert!(error.to_string().contains("5 BMM"), "{error}");
        }
        assert!("9".repeat(41).parse::<Amount>().is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(units: u128) {
            let amount = Amount::from_units(units);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,60}") {
            let _ = text.parse::<Amount>();
        }
    }
}
