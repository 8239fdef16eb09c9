//! What is kept of a service at its requester: everything that it takes to go on after a crash.

use crate::{
    jobs::NetChoice,
    kept::{Account, Kept, Record},
};
use alloy_primitives::Address;
use bmm_types::market::{Content, ServiceSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// What escrow and wallet know of it.
    #[serde(flatten)]
    pub account: Account,
    /// Healthy intervals that were paid, of all providers.
    pub intervals: u64,
    /// Who hosts it now.
    pub host: Option<Address>,
    /// Whether it is healthy, as far as is known.
    pub healthy: bool,
    /// How often it began at a provider.
    pub begun: u64,
    /// Chunks of the last copy of its volume.
    pub snapshot: Option<Vec<Content>>,
    /// Where its ports are reached on this machine, by name.
    pub ports: BTreeMap<String, std::net::SocketAddr>,
    /// How the network is found.
    pub network: NetChoice,
}

impl Record for ServiceRecord {
    type Spec = ServiceSpec;
    const FOLDER: &'static str = "services";
    const NOUN: &'static str = "service";
    const COMMAND: &'static str = "service";

    fn account(&self) -> &Account {
        &self.account
    }
}

/// The folder of one service.
pub type ServiceFolder = Kept<ServiceRecord>;
