//! How much of its weight a footstone bets.

use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::write_atomically,
};
use alloy_primitives::U256;
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, str::FromStr};

/// Name of the file in the chain's folder that holds the policy.
pub const POLICY_FILE: &str = "bet-policy.json";

/// How much is bet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BetPolicy {
    /// The whole weight at once.
    #[default]
    All,
    /// So many percent of it.
    Part(u8),
    /// A quarter at first, and another for each time that the checkpoint lies as deep again.
    More,
}

impl BetPolicy {
    /// Returns what is bet on a checkpoint `depth` blocks deep, of which `bet_depth` are asked for.
    pub fn amount(self, weight: U256, depth: u64, bet_depth: u64) -> U256 {
        let hundredths = match self {
            Self::All => 100,
            Self::Part(percent) => u64::from(percent.min(100)),
            Self::More => 25 * (depth / bet_depth.max(1)).clamp(1, 4),
        };
        weight.saturating_mul(U256::from(hundredths)) / U256::from(100)
    }
}

impl fmt::Display for BetPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Part(percent) => write!(f, "{percent}%"),
            Self::More => f.write_str("more"),
        }
    }
}

impl FromStr for BetPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |text: &str| text.parse().ok().filter(|percent| (1..=100).contains(percent));
        match text {
            "all" => Ok(Self::All),
            "more" => Ok(Self::More),
            _ => text
                .strip_suffix('%')
                .and_then(percent)
                .map(Self::Part)
                .ok_or_else(|| "a policy is all, more, or a part such as 50%".to_owned()),
        }
    }
}

/// Reads the policy of a chain's folder; the first one if none was written.
pub fn read_policy(folder: &Path) -> Outcome<BetPolicy> {
    let path = folder.join(POLICY_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| Failure::config(format!("{}: {error}", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BetPolicy::default()),
        Err(error) => Err(error).doing("read", &path),
    }
}

/// Writes the policy.
pub fn write_policy(folder: &Path, policy: BetPolicy) -> Outcome {
    write_atomically(&folder.join(POLICY_FILE), &serde_json::to_vec(&policy).expect("a plain value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_shown() {
        for policy in [BetPolicy::All, BetPolicy::More, BetPolicy::Part(1), BetPolicy::Part(100)] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        for text in ["", "0%", "101%", "50", "half"] {
            assert!(text.parse::<BetPolicy>().is_err(), "{text}");
        }
    }

    #[test]
    fn more_grows_with_the_depth_and_never_beyond_the_weight() {
        let weight = U256::from(1_000);
        let amount = |policy: BetPolicy, depth| policy.amount(weight, depth, 8).to::<u64>();
        assert_eq!(
            [8, 15, 16, 24, 32, 900].map(|depth| amount(BetPolicy::More, depth)),
            [250, 250, 500, 750, 1_000, 1_000]
        );
        assert_eq!((amount(BetPolicy::All, 8), amount(BetPolicy::Part(30), 900)), (1_000, 300));
    }
}
