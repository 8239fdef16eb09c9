//! The book of providers: what each sells, holds, has delivered and is owed.

use std::collections::{HashMap, VecDeque};

use alloy_primitives::Address;
use bmm_types::Amount;
use bmm_types::market::{Offer, Standing};

use super::contest::Contest;
use super::sums::{List, Part, Sums, Terms};
use crate::Micros;
use crate::money::Prices;
use crate::trust::ONE;

/// Failures of a host in a row, without a result between them, after which it gets no more work in this job.
const MAX_FAILURES_IN_A_ROW: u32 = 8;

/// Tasks a slot that an unknown provider has at most, and that each [`ONE`] of trust adds, in a job with audits.
const UNPROVEN_TASKS: u64 = 8;

/// One provider in one job.
#[expect(clippy::struct_excessive_bools, reason = "each is one yes or no about the provider")]
pub(super) struct Peer {
    pub address: Address,
    /// The offer with which it joined; its prices hold for the whole job. `None` for one that is only known from the log.
    pub offer: Option<Offer>,
    pub prices: Prices,
    /// What the dearest task that is to be reckoned with costs at its prices, and what that was worked out from.
    pub dearest_cost: Amount,
    reckoned_with: (Prices, (u64, u64)),
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
    /// Whether it signed two results of one task.
    pub contradicted: bool,
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
            dearest_cost: Amount::ZERO,
            reckoned_with: (Prices::default(), (0, 0)),
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
            contradicted: false,
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

    /// Works out anew what the dearest task costs, if prices or tasks have changed.
    pub fn reckon(&mut self, (fuel, bytes): (u64, u64)) {
        let with = (self.prices, (fuel, bytes));
        if self.reckoned_with != with {
            self.reckoned_with = with;
            self.dearest_cost = self.prices.cost(fuel, bytes);
        }
    }

    /// The rule of the unknown, in jobs with audits: it has few tasks out or unverified at any time, since nearly all that it
    /// returns has to be run a second time, and all of it again if it turns out to be wrong. What it was drawn to
    /// check is compared at once, and comes besides. Returns how many more it may have.
    pub fn unproven_room(&self, slots: u16) -> u64 {
        let most = u64::from(slots.max(1)).saturating_mul(UNPROVEN_TASKS).saturating_mul(self.trust / ONE + 1);
        let drawn = u64::try_from(self.drawn.len()).unwrap_or(u64::MAX);
        most.saturating_sub(self.out + self.standing.pending).max(drawn)
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
    terms: Terms,
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
        self.list.settle(&mut self.sums, self.terms);
        &self.sums
    }

    /// Sets what the sums depend on from now on.
    pub fn reckon_with(&mut self, terms: Terms) {
        if self.terms != terms {
            self.terms = terms;
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
