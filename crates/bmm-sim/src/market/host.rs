//! A provider in the world: its state machine, machine and manners.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bmm_market::Micros;
use bmm_market::provider::{Provider, ProviderConfig};
use bmm_types::Amount;
use bmm_types::market::SignedVoucher;

use super::manners::Kind;
use super::plan::{CHAIN, Machine, Signer};

/// The line to one requester. What was sent over an earlier connection never arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    pub connected: bool,
    pub connection: u32,
    /// When the last message in each direction arrives: they stay in their order.
    pub up: Micros,
    pub down: Micros,
}

/// One provider.
pub struct Host {
    pub signer: Signer,
    pub kind: Kind,
    pub machine: Machine,
    pub provider: Provider,
    /// Grows when the process dies.
    pub life: u32,
    pub alive: bool,
    /// Whether it will never be back.
    pub gone: bool,
    pub links: Vec<Link>,
    /// Number of what each slot runs.
    pub runs: Vec<u32>,
    /// Whether a tick is on its way.
    pub ticks: bool,
    /// Results that it gave, and the wrong ones of them.
    pub results: u64,
    pub wrong: u64,
    pub caught_after: Option<u64>,
    /// Times that its owner has come back already.
    pub rebirths: u32,
    pub kept: BTreeMap<B256, SignedVoucher>,
    /// Worth of what it delivered, by job.
    pub delivered: BTreeMap<B256, Amount>,
    pub batches: u64,
}

impl Host {
    /// Makes a provider that talks to nobody yet.
    pub fn new(signer: Signer, kind: Kind, machine: Machine, requesters: usize, checks: bool) -> Self {
        let provider = Self::start(&signer, &machine, checks);
        Self {
            runs: vec![0; machine.slots.into()],
            signer,
            kind,
            machine,
            provider,
            life: 0,
            alive: true,
            gone: false,
            links: vec![Link::default(); requesters],
            ticks: false,
            results: 0,
            wrong: 0,
            caught_after: None,
            rebirths: 0,
            kept: BTreeMap::new(),
            delivered: BTreeMap::new(),
            batches: 0,
        }
    }

    fn start(signer: &Signer, machine: &Machine, checks: bool) -> Provider {
        let config = ProviderConfig::new(CHAIN, machine.offer(signer));
        Provider::new(ProviderConfig { check_signatures: checks, ..config })
    }

    /// The process starts anew, with nothing but the vouchers that it kept.
    pub fn restart(&mut self, checks: bool) {
        self.provider = Self::start(&self.signer, &self.machine, checks);
        self.alive = true;
        self.ticks = false;
    }
}
