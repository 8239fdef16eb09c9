//! The book of providers: what each sells, holds, has delivered and is owed.

use std::collections::{HashMap, VecDeque};

use alloy_primitives::Address;
use bmm_types::Amount;
use bmm_types::market::{Offer, Standing};

use super::contest::Contest;
use super::sums::{List, Part, Sums};
use crate::Micros;
use crate::money::Prices;

/// Failures of a host in a row, without a result between them, after which it gets no more work in this job.
const MAX_FAILURES_IN_A_ROW: u32 = 8;

/// One provider in one job.
#[expect(clippy::struct_excessive_bools, reason = "each is one yes or no about the provider")]
pub(super) struct Peer {
    pub address: Address,
    /// The offer with which it joined; its prices hold for the whole job. `None` for one that is only known from the log.
    pub offer: Option<Offer>,
    pub prices: Prices,
    pub connected: bool,
    /// Why it gets no work, if it does not.
    pub refused: Option<String>,
    /// Slots of a lease request that is not answered yet.
    pub waiting: Option<u16>,
    /// When it may be asked for tasks back: not while it has not answered, nor soon after it had none.
    pub recall_from: Micros,
    pub leases: Vec<u64>,
    /// Tasks leased and not reported.
    pub out: u64,
    /// Measured time of a task, nanoseconds; 0 until measured.
    pub task_nanos: u64,
    /// Tasks of its largest lease so far; leases grow step by step.
    pub largest: u32,
    pub standing: Standing,
    pub fuel: u64,
    /// Earned in the whole job.
    pub total: Amount,
    pub failures_in_a_row: u32,
    /// Something about its standing changed since it was last told.
    pub news: bool,
    /// Its total grew since its last voucher.
    pub owed: bool,
    /// What it adds to the sums over all providers, and whether that may have changed.
    pub part: Part,
    pub touched: bool,
    /// It was found wrong in this job; for good.
    pub wrong: bool,
    /// The task that showed it.
    pub wrong_in: Option<u64>,
    /// What is known of its stake.
    pub stake: StakeKnown,
    /// Trust in it, of [`crate::trust::TrustBook::trust`].
    pub trust: u64,
    /// Tasks that it was drawn for.
    pub drawn: VecDeque<u64>,
    /// Tasks whose results rest on its word and one other's; kept where audits are drawn.
    pub vouched: Vec<u64>,
    /// Results of it that were checked, and those that nobody looked at.
    pub checked: u64,
    pub unchecked: u64,
}

/// What is known of a provider's stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StakeKnown {
    /// To be looked up, not before this time.
    From(Micros),
    /// Being looked up.
    Asked,
    /// It is there.
    Enough,
}

impl Peer {
    pub fn new(address: Address) -> Self {
        Self {
            address,
            offer: None,
            prices: Prices::default(),
            connected: false,
            refused: None,
            waiting: None,
            recall_from: 0,
            leases: Vec::new(),
            out: 0,
            task_nanos: 0,
            largest: 0,
            standing: Standing::default(),
            fuel: 0,
            total: Amount::ZERO,
            failures_in_a_row: 0,
            news: false,
            owed: false,
            part: Part::default(),
            touched: false,
            wrong: false,
            wrong_in: None,
            stake: StakeKnown::From(0),
            trust: 0,
            drawn: VecDeque::new(),
            vouched: Vec::new(),
            checked: 0,
            unchecked: 0,
        }
    }

    /// Tells whether it may get work.
    pub fn is_usable(&self) -> bool {
        self.connected && self.refused.is_none() && self.offer.is_some() && !self.wrong
    }

    /// Tells whether it is to be paid, or may have to be for what it has out.
    pub fn is_engaged(&self) -> bool {
        !self.total.is_zero() || !self.leases.is_empty() || self.standing.pending > 0
    }

    /// Notes a run's measured time; the average follows slowly.
    pub fn measure(&mut self, busy_nanos: u64, tasks: u64) {
        if tasks == 0 {
            return;
        }
        let measured = (busy_nanos / tasks).clamp(1, u64::MAX / 8);
        self.task_nanos = if self.task_nanos == 0 { measured } else { (self.task_nanos * 3 + measured) / 4 };
    }

    /// Notes a failure by the host's fault. Returns whether it is one too many.
    pub fn host_failed(&mut self) -> bool {
        self.failures_in_a_row += 1;
        self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW
    }
}

/// All providers of a job, by a small stable number.
#[derive(Default)]
pub(super) struct Peers {
    pub list: List,
    numbers: HashMap<Address, usize>,
    sums: Sums,
    /// Fuel and bytes of the dearest task that is to be reckoned with.
    dearest: (u64, u64),
}

impl Peers {
    pub fn number(&self, address: Address) -> Option<usize> {
        self.numbers.get(&address).copied()
    }

    /// Returns the number of a provider, entering it if it is new.
    pub fn enter(&mut self, address: Address) -> usize {
        *self.numbers.entry(address).or_insert_with(|| {
            self.list.push(Peer::new(address));
            self.list.len() - 1
        })
    }

    pub fn usable(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.list.iter().enumerate().filter(|(_, peer)| peer.is_usable())
    }

    /// Returns the sums over all providers as they are now.
    pub fn sums(&mut self) -> &Sums {
        self.list.settle(&mut self.sums, self.dearest);
        &self.sums
    }

    /// Sets the fuel and bytes that a task may cost from now on.
    pub fn reckon_with(&mut self, dearest: (u64, u64)) {
        if self.dearest != dearest {
            self.dearest = dearest;
            self.list.touch_all();
        }
    }

    /// Tells whether every provider that could get work has had a task.
    pub fn have_all_had(&self, contest: &Contest) -> bool {
        // Each that changed since the sums were made up may count for one.
        let at_least = self.sums.usable.saturating_sub(self.list.touched());
        at_least <= contest.attempts.len() && self.usable().all(|(peer, _)| contest.has(peer))
    }
}
