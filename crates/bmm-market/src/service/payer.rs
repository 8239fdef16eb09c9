//! The requester's side: pays for time that has really passed, and never more than the budget.

use crate::{Micros, SECOND};
use alloy_primitives::Address;
use bmm_types::{Amount, market::ServiceSpec};
use std::collections::BTreeMap;

/// How much earlier than by the own clock an interval may be full: messages do not travel evenly.
const AHEAD: Micros = 2 * SECOND;

/// Says why an interval is not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpaid {
    /// It is not the one that follows the last paid one.
    #[error("the provider does not count one interval after the other")]
    Miscounted,
    /// It cannot be full yet.
    #[error("the provider counts faster than the time passes")]
    TooEarly,
    /// Everything that was agreed on is paid.
    #[error("the budget is used up")]
    Budget,
}

/// Sums up what the providers of one service were paid.
#[derive(Clone, Debug)]
pub struct Payer {
    interval: Micros,
    price: Amount,
    most: u64,
    budget: Amount,
    totals: BTreeMap<Address, Amount>,
    intervals: u64,
    session: Option<(Micros, u64)>,
}

impl Payer {
    /// Goes on from what was promised: totals by provider, and the intervals of all.
    pub fn new(spec: &ServiceSpec, budget: Amount, totals: BTreeMap<Address, Amount>, intervals: u64) -> Self {
        let interval = spec.interval_millis.saturating_mul(crate::MILLISECOND);
        Self { interval, price: spec.price, most: spec.intervals, budget, totals, intervals, session: None }
    }

    /// A provider begins to count.
    pub fn begin(&mut self, now: Micros) {
        self.session = Some((now, 0));
    }

    /// A provider says that `intervals` of this session are full; returns what it is to be promised in all.
    pub fn due(&mut self, provider: Address, intervals: u64, now: Micros) -> Result<Amount, Unpaid> {
        let (began, paid) = self.session.ok_or(Unpaid::Miscounted)?;
        let next = paid.checked_add(1).filter(|next| *next == intervals).ok_or(Unpaid::Miscounted)?;
        if began.saturating_add(next.saturating_mul(self.interval)) > now.saturating_add(AHEAD.min(self.interval / 2)) {
            return Err(Unpaid::TooEarly);
        }
        let before = self.totals.get(&provider).copied().unwrap_or(Amount::ZERO);
        let total = before.checked_add(self.price).ok_or(Unpaid::Budget)?;
        let sum = self.spent().checked_add(self.price).filter(|sum| *sum <= self.budget);
        if sum.is_none() || self.is_over() {
            return Err(Unpaid::Budget);
        }
        self.session = Some((began, next));
        self.intervals = self.intervals.saturating_add(1);
        self.totals.insert(provider, total);
        Ok(total)
    }

    /// Returns what all providers were promised together.
    pub fn spent(&self) -> Amount {
        self.totals.values().copied().sum()
    }

    /// Returns what each provider was promised, by address.
    pub fn totals(&self) -> &BTreeMap<Address, Amount> {
        &self.totals
    }

    /// Returns the intervals that were paid.
    pub fn intervals(&self) -> u64 {
        self.intervals
    }

    /// Whether everything that was agreed on is paid.
    pub fn is_over(&self) -> bool {
        self.intervals >= self.most
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bmm_types::market::{Content, Probe};

    pub(in crate::service) fn spec() -> ServiceSpec {
        ServiceSpec {
            name: "s".into(),
            image: Content::default(),
            args: Vec::new(),
            env: Vec::new(),
            memory_bytes: 1 << 20,
            ports: Vec::new(),
            probe: Probe::Tcp(1),
            probe_millis: 1_000,
            volume: None,
            interval_millis: 60_000,
            price: Amount::from_bmm(2),
            intervals: 3,
        }
    }

    #[test]
    fn time_is_paid_once_and_not_ahead() {
        let (one, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut payer = Payer::new(&spec(), Amount::from_bmm(6), BTreeMap::new(), 0);
        assert_eq!(payer.due(one, 1, 100 * SECOND), Err(Unpaid::Miscounted), "it has not begun");
        payer.begin(0);
        assert_eq!(payer.due(one, 1, 57 * SECOND), Err(Unpaid::TooEarly));
        assert_eq!(payer.due(one, 1, 60 * SECOND), Ok(Amount::from_bmm(2)));
        assert_eq!(payer.due(one, 1, 120 * SECOND), Err(Unpaid::Miscounted), "twice");
        assert_eq!(payer.due(one, 3, 180 * SECOND), Err(Unpaid::Miscounted), "one is left out");
        payer.begin(200 * SECOND);
        assert_eq!(payer.due(other, 1, 260 * SECOND), Ok(Amount::from_bmm(2)));
        payer.begin(300 * SECOND);
        assert_eq!(payer.due(one, 1, 360 * SECOND), Ok(Amount::from_bmm(4)), "what it has is kept");
        assert!(payer.is_over());
        assert_eq!(payer.due(one, 2, 420 * SECOND), Err(Unpaid::Budget));
        assert_eq!((payer.spent(), payer.intervals()), (Amount::from_bmm(6), 3));
    }

    #[test]
    fn the_budget_holds() {
        let mut payer = Payer::new(&spec(), Amount::from_bmm(3), BTreeMap::new(), 0);
        payer.begin(0);
        let one = Address::repeat_byte(1);
        assert_eq!(payer.due(one, 1, 60 * SECOND), Ok(Amount::from_bmm(2)));
        assert_eq!(payer.due(one, 2, 120 * SECOND), Err(Unpaid::Budget));
    }
}
