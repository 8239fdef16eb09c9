//! The file of a rental: TOML, read strictly.

use crate::form::{FormError, wrong};
use crate::job::units;
use bmm_types::{
    Amount,
    market::{RentalSpec, Wire},
};
use serde::Deserialize;

/// Most pools of a list, and most providers at once.
const MAX_POOLS: usize = 16;
const MAX_PROVIDERS: u16 = 1_024;

/// Where the hashes go: the own part of a rental, which no provider sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct RentedPool {
    /// Addresses of pools, the best first.
    pub pools: Vec<String>,
    /// Who one is there.
    pub user: String,
    /// The password; most pools take any.
    pub password: String,
    /// Providers that hash at once, at most.
    pub providers: u16,
}

/// A rental as it was written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RentalFile {
    #[serde(default)]
    name: String,
    mine: Section,
    budget: Budget,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    pools: Vec<String>,
    user: String,
    #[serde(default = "any_password")]
    password: String,
    price: String,
    #[serde(default = "few")]
    providers: u16,
    #[serde(default = "minute")]
    interval: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    max: String,
    #[serde(default = "hour")]
    duration: String,
}

fn any_password() -> String {
    "x".to_owned()
}

fn few() -> u16 {
    4
}

fn minute() -> String {
    "1 min".to_owned()
}

fn hour() -> String {
    "1 h".to_owned()
}

impl RentalFile {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        Ok(toml::from_str(text)?)
    }

    /// Returns what providers are told, what only the requester knows, and the budget.
    pub fn build(self, stem: &str) -> Result<(RentalSpec, RentedPool, Amount), FormError> {
        let time = |key, text: &str| units::millis(text).ok_or_else(|| wrong(key, text, "a time such as \"1 min\""));
        let amount = |key, text: &str| {
            let read = text.parse().ok().filter(|amount: &Amount| !amount.is_zero());
            read.ok_or_else(|| wrong(key, text, "an amount such as \"0.5 BMM\""))
        };
        let Section { pools, user, password, price, providers, interval } = self.mine;
        if pools.is_empty() || pools.len() > MAX_POOLS {
            return Err(wrong("mine.pools", &pools.join(", "), "1 to 16 such as \"stratum+tcp://pool.example:3333\""));
        }
        if user.trim().is_empty() {
            return Err(wrong("mine.user", &user, "your name at the pool, often an address"));
        }
        if !(1..=MAX_PROVIDERS).contains(&providers) {
            return Err(wrong("mine.providers", &providers.to_string(), "a number from 1 to 1024"));
        }
        let spec = RentalSpec {
            name: if self.name.is_empty() { stem.to_owned() } else { self.name },
            max_price: amount("mine.price", &price)?,
            interval_millis: time("mine.interval", &interval)?,
            duration_millis: time("budget.duration", &self.budget.duration)?,
        };
        spec.check()?;
        Ok((spec, RentedPool { pools, user, password, providers }, amount("budget.max", &self.budget.max)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[mine]
pools = ["stratum+tcp://127.0.0.1:3333"]
user = "me.rented"
price = "3 BMM"
[budget]
max = "2 BMM"
"#;

    #[test]
    fn a_rental_is_read() {
        let (spec, pool, budget) = RentalFile::parse(WHOLE).expect("sound").build("night").expect("built");
        assert_eq!((spec.name.as_str(), spec.interval_millis, spec.duration_millis), ("night", 60_000, 3_600_000));
        assert_eq!((pool.password.as_str(), pool.providers, budget), ("x", 4, Amount::from_bmm(2)));
        assert_eq!(RentalSpec::decode(&spec.encode()).as_ref(), Ok(&spec));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, to, told) in [
            ("[\"stratum+tcp://127.0.0.1:3333\"]", "[]", "mine.pools"),
            ("me.rented", " ", "mine.user"),
            ("\"3 BMM\"", "\"0 BMM\"", "mine.price"),
            ("\"2 BMM\"", "\"much\"", "budget.max"),
            ("user", "usr", "unknown field `usr`"),
            ("[budget]", "interval = \"2 h\"\n[budget]", "interval"),
            ("[budget]", "providers = 0\n[budget]", "mine.providers"),
            ("[budget]", "[budget]\nduration = \"1 s\"", "duration"),
        ] {
            let read = RentalFile::parse(&WHOLE.replace(from, to)).and_then(|file| file.build("r"));
            let error = read.expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
