//! `[pool]` of the configuration.

use crate::failure::{Failure, Outcome};
use bmm_pool::{
    books,
    payout::{MAX_WINDOW_BLOCKS, PayRule, WHOLE_BASIS_POINTS},
};
use bmm_types::Amount;
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// `[pool]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Where miners connect by Stratum.
    pub listen: Vec<SocketAddr>,
    /// Where large hardware connects: as `listen`, but shares begin at `large_difficulty`.
    pub large_listen: Vec<SocketAddr>,
    /// Where miners connect that want the whole of the blocks they find, and nothing of others'.
    pub solo_listen: Vec<SocketAddr>,
    /// Where Stratum is spoken over TLS; needs `certificate` and `certificate_key`.
    pub tls_listen: Vec<SocketAddr>,
    /// Certificate for `tls_listen`, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_key: Option<PathBuf>,
    /// Difficulty that shares begin with (65,536 hashes each at 1); it then follows the miner.
    pub difficulty: u32,
    /// As `difficulty`, at `large_listen`.
    pub large_difficulty: u32,
    /// How many shares a minute are wanted of a miner; difficulties follow.
    pub shares_per_minute: u32,
    /// Where the JSON API and the metrics are served; nowhere if empty.
    pub api_listen: Vec<SocketAddr>,
    /// The pool's name, as coinbases show it: at most 32 bytes.
    pub tag: String,
    /// The wallet that blocks pay and miners are paid from; the node must hand out blocks for it (`bmm node --mine-for`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// The books, such as "postgres://pool@localhost/pool"; by default SQLite in the data folder.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "perhaps_without_password")]
    pub database: Option<String>,
    /// The pool's fee in hundredths of a percent: 100 is 1 %.
    pub fee_basis_points: u16,
    /// How many blocks' work the window of shares holds that a block of BMM pays.
    pub window_blocks: u32,
    /// Blocks above a block of BMM until its pay is booked.
    pub maturity: u64,
    /// Least balance that is paid.
    pub min_payment: Amount,
    /// What a miner pays for a payment.
    pub payment_fee: Amount,
    /// Blocks until a payment is final.
    pub payment_confirmations: u64,
    /// Seconds between two looks whether somebody is to be paid.
    pub payment_secs: u64,
    /// Days for which shares are kept that no window needs; 0 keeps all.
    pub keep_shares_days: u64,
    /// Chains whose blocks carry those of BMM, the preferred first; without one BMM is mined alone.
    pub parents: Vec<ParentChain>,
}

/// `[[pool.parents]]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentChain {
    /// Its name, such as "litecoin".
    pub name: String,
    /// JSON-RPC of its node, such as "http://user:password@127.0.0.1:9332".
    #[serde(serialize_with = "without_password")]
    pub url: String,
    /// The node's cookie file, instead of user and password in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<PathBuf>,
    /// Address of the node's wallet that its blocks pay.
    pub address: String,
    /// How many blocks' work the window of shares holds.
    #[serde(default = "two")]
    pub window_blocks: u32,
    /// Blocks above a block until its pay is booked.
    #[serde(default = "hundred")]
    pub maturity: u64,
}

impl std::fmt::Debug for ParentChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentChain")
            .field("name", &self.name)
            .field("url", &books::shown(&self.url))
            .finish_non_exhaustive()
    }
}

const fn two() -> u32 {
    2
}

const fn hundred() -> u64 {
    100
}

fn without_password<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&books::shown(url))
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn perhaps_without_password<S: serde::Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(books::shown).serialize(serializer)
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 3333))],
            large_listen: Vec::new(),
            solo_listen: Vec::new(),
            tls_listen: Vec::new(),
            certificate: None,
            certificate_key: None,
            difficulty: 16,
            large_difficulty: 262_144,
            shares_per_minute: 17,
            api_listen: vec![SocketAddr::from(([127, 0, 0, 1], 8550))],
            tag: "bmm".into(),
            wallet: None,
            database: None,
            fee_basis_points: 100,
            window_blocks: 8,
            maturity: 100,
            min_payment: Amount::from_bmm(1),
            payment_fee: Amount::from_units(0),
            payment_confirmations: 30,
            payment_secs: 60,
            keep_shares_days: 0,
            parents: Vec::new(),
        }
    }
}

impl PoolConfig {
    /// Checks what TOML cannot.
    pub fn check(&self) -> Outcome {
        let bad = |what: String, hint: &str| Err(Failure::config(what).hint(hint));
        if self.fee_basis_points > WHOLE_BASIS_POINTS {
            return bad("pool.fee_basis_points must be at most 10000".into(), "100 is 1 %, the default");
        }
        let windows = self.parents.iter().map(|parent| (parent.name.as_str(), parent.window_blocks));
        for (name, window) in std::iter::once(("bmm", self.window_blocks)).chain(windows) {
            if !(1..=MAX_WINDOW_BLOCKS).contains(&window) {
                let what = format!("window_blocks of {name} in [pool] must be from 1 to {MAX_WINDOW_BLOCKS}");
                return bad(what, "8 is the default for BMM, 2 for a parent");
            }
        }
        if self.payment_fee >= self.min_payment {
            return bad("pool.payment_fee must be less than pool.min_payment".into(), "raise pool.min_payment");
        }
        if self.maturity == 0 || self.payment_confirmations == 0 || self.payment_secs == 0 {
            let what = "pool.maturity, pool.payment_confirmations and pool.payment_secs must be at least 1";
            return bad(what.into(), "100, 30 and 60 are the defaults");
        }
        if self.difficulty == 0 || self.large_difficulty == 0 || self.shares_per_minute == 0 {
            let what = "pool.difficulty, pool.large_difficulty and pool.shares_per_minute must be at least 1";
            return bad(what.into(), "16, 262144 and 17 are the defaults");
        }
        if !self.tls_listen.is_empty() && (self.certificate.is_none() || self.certificate_key.is_none()) {
            let what = "pool.tls_listen needs pool.certificate and pool.certificate_key";
            return bad(what.into(), "name both PEM files");
        }
        Ok(())
    }

    /// Returns the rule by which blocks of BMM are divided.
    pub fn rule(&self) -> PayRule {
        PayRule::new(self.window_blocks, self.fee_basis_points).expect("checked when the configuration was read")
    }

    /// Returns the address of the books, which are in `folder` unless configured elsewhere.
    pub fn database(&self, folder: &Path) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite://{}", folder.join("pool.db").display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_key() {
        let page = include_str!("../../../../docs/mining.md");
        let all = PoolConfig {
            certificate: Some("a".into()),
            certificate_key: Some("b".into()),
            wallet: Some("c".into()),
            database: Some("sqlite://d".into()),
            ..PoolConfig::default()
        };
        let table = toml::Table::try_from(all).expect("plain values");
        for key in table.keys() {
            assert!(page.contains(&format!("`{key}`")) || page.contains(&format!("[[pool.{key}]]")), "{key}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        PoolConfig::default().check().expect("the default is fine");
        let parent = ParentChain {
            name: "litecoin".into(),
            url: "http://me:secret@127.0.0.1:9332".into(),
            cookie: None,
            address: "ltc1q".into(),
            window_blocks: 0,
            maturity: 100,
        };
        assert!(!format!("{parent:?}").contains("secret"));
        let database = Some("postgres://me:secret@localhost/pool".into());
        let config = PoolConfig { database, ..PoolConfig::default() };
        assert!(!toml::to_string(&config).expect("plain values").contains("secret"));
        let printed = toml::to_string(&parent).expect("plain values");
        assert!(!printed.contains("secret"), "{printed}");
        let base = PoolConfig::default;
        for (config, named) in [
            (PoolConfig { fee_basis_points: 10_001, ..base() }, "fee_basis_points"),
            (PoolConfig { window_blocks: 0, ..base() }, "window_blocks of bmm"),
            (PoolConfig { parents: vec![parent], ..base() }, "window_blocks of litecoin"),
            (PoolConfig { payment_fee: Amount::from_bmm(1), ..base() }, "payment_fee"),
            (PoolConfig { payment_secs: 0, ..base() }, "payment_secs"),
            (PoolConfig { difficulty: 0, ..base() }, "difficulty"),
            (PoolConfig { tls_listen: vec![([0, 0, 0, 0], 3334).into()], ..base() }, "certificate"),
        ] {
            let failure = config.check().expect_err(named);
            assert!(failure.message.contains(named), "{}", failure.message);
            assert!(!failure.hints.is_empty());
        }
    }
}
