//! What is kept of a rental at who rents: everything that it takes to go on after a crash.

use crate::{
    jobs::NetChoice,
    kept::{Account, Kept, Record},
};
use alloy_primitives::Address;
use bmm_types::market::RentalSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One rental.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RentalRecord {
    /// What escrow and wallet know of it.
    #[serde(flatten)]
    pub account: Account,
    /// When it ends, Unix seconds.
    pub ends: u64,
    /// Shares of each provider that the pool accepted.
    pub shares: BTreeMap<Address, u64>,
    /// Hashes that they stand for.
    pub hashes: BTreeMap<Address, u64>,
    /// Who hashes now.
    pub hosts: Vec<Address>,
    /// How the network is found.
    pub network: NetChoice,
}

impl Record for RentalRecord {
    type Spec = RentalSpec;
    const FOLDER: &'static str = "rentals";
    const NOUN: &'static str = "rental";
    const COMMAND: &'static str = "rent";

    fn account(&self) -> &Account {
        &self.account
    }
}

impl RentalRecord {
    /// Returns the hashes that all accepted shares stand for.
    pub fn all_hashes(&self) -> u64 {
        self.hashes.values().copied().fold(0, u64::saturating_add)
    }
}

/// The folder of one rental.
pub type RentalFolder = Kept<RentalRecord>;
