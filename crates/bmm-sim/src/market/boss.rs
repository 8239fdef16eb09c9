//! A requester in the world: its state machine, escrow and log.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use bmm_market::Micros;
use bmm_market::requester::{Ending, Event, Requester, RequesterConfig};
use bmm_types::Amount;
use bmm_types::market::JobSpec;

use super::escrow::Escrow;
use super::plan::{CHAIN, Signer};

/// Providers that one settlement pays; the requester claims for the others with the vouchers that it signs itself.
pub const PAID_BY_SETTLEMENT: usize = 270;

/// One requester with its job.
pub struct Boss {
    pub signer: Signer,
    pub job: B256,
    pub machine: Requester,
    pub config: RequesterConfig,
    pub spec: JobSpec,
    pub budget: Amount,
    /// Unix seconds.
    pub deadline: u64,
    pub escrow: Escrow,
    /// What was recorded, if this requester is going to die and come back.
    pub log: Option<Vec<u8>>,
    /// Totals promised by vouchers.
    pub vouchers: BTreeMap<Address, Amount>,
    pub promised: Amount,
    /// Whether it dies before it carries out the next effects.
    pub crash_next: bool,
    /// Grows when it dies; checks of an earlier life are not heard of again.
    pub life: u32,
    /// Who lost its stake.
    pub accused: BTreeSet<Address>,
    pub vanished: bool,
    pub over: Option<(Ending, Micros)>,
}

/// What a requester needs to be made.
pub struct BossPlan {
    pub spec: JobSpec,
    pub budget: Amount,
    pub deadline: u64,
    pub keeps_log: bool,
    pub checks: bool,
    pub own_checks: u16,
    pub secret: B256,
}

impl Boss {
    /// Makes a requester with its budget locked.
    pub fn new(signer: Signer, number: u8, plan: BossPlan) -> Self {
        let BossPlan { spec, budget, deadline, keeps_log, checks, own_checks, secret } = plan;
        let config = RequesterConfig {
            check_signatures: checks,
            max_paid_providers: usize::MAX,
            own_checks,
            secret,
            counts_stakes: !spec.stake.is_zero(),
            ..RequesterConfig::new(CHAIN, signer.address())
        };
        let machine = Requester::new(config.clone(), spec.clone()).expect("a plan has tasks");
        Self {
            job: B256::repeat_byte(number),
            log: keeps_log.then(|| machine.start_log()),
            escrow: Escrow::open(budget),
            vouchers: BTreeMap::new(),
            promised: Amount::ZERO,
            crash_next: false,
            life: 0,
            accused: BTreeSet::new(),
            vanished: false,
            over: None,
            signer,
            machine,
            config,
            spec,
            budget,
            deadline,
        }
    }

    /// Returns the event with which the work begins or goes on.
    pub fn opened(&self) -> Event {
        Event::Opened { job: self.job, escrow: self.budget, deadline: self.deadline }
    }

    /// Tells whether it is there and has something to do.
    pub fn is_busy(&self) -> bool {
        self.over.is_none() && !self.vanished
    }

    /// Goes on from the log, whose end is torn.
    pub fn restart(&mut self) {
        let kept = self.log.as_ref().expect("only who keeps a log dies");
        let mut log = kept.clone();
        log.extend([9, 0, 0, 0, 1, 2]);
        let (machine, sound) =
            Requester::restore(self.config.clone(), self.spec.clone(), &log).expect("a log can be gone on from");
        assert_eq!(sound, kept.len(), "the log is sound up to where it was torn");
        self.machine = machine;
        self.life += 1;
    }

    /// Notes a voucher's total: never less than before, and all together never more than the budget.
    pub fn promise(&mut self, provider: Address, total: Amount) {
        let before = self.vouchers.insert(provider, total).unwrap_or_default();
        let more = total.checked_sub(before).expect("a voucher never falls");
        self.promised = self.promised.checked_add(more).filter(|all| *all <= self.budget).expect("promised is locked");
    }
}
