//! The provider's side: counts healthy time, and notices who does not pay.

use crate::{Micros, SECOND, voucher::is_good};
use alloy_primitives::Address;
use bmm_types::{
    Amount,
    market::{JobAnnouncement, ServiceSpec, SignedVoucher},
};

/// Longest that a voucher may be late.
const LATE: Micros = 10 * SECOND;

/// What follows from time that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// An interval is full: so many are due.
    Due(u64),
    /// The requester has not paid in time.
    Unpaid,
    /// Everything that was agreed on is done.
    Done,
}

/// Counts the time of one service at one provider.
#[derive(Clone, Debug)]
pub struct Meter {
    interval: Micros,
    price: Amount,
    most: u64,
    /// What was promised in earlier sessions of the job.
    before: Amount,
    promised: Amount,
    healthy: Micros,
    intervals: u64,
    due_at: Option<Micros>,
    seen: Option<Micros>,
}

impl Meter {
    /// Begins to count; `before` is what this provider was promised in this job already.
    pub fn new(spec: &ServiceSpec, before: Amount) -> Self {
        Self {
            interval: spec.interval_millis.saturating_mul(crate::MILLISECOND).max(1),
            price: spec.price,
            most: spec.intervals,
            before,
            promised: before,
            healthy: 0,
            intervals: 0,
            due_at: None,
            seen: None,
        }
    }

    /// Time has come to be `now`; the service was healthy since the last time or was not.
    pub fn tick(&mut self, now: Micros, healthy: bool) -> Step {
        let passed = now.saturating_sub(self.seen.unwrap_or(now));
        self.seen = Some(now);
        if self.due_at.is_some_and(|at| now > at.saturating_add(LATE.min(self.interval))) {
            return Step::Unpaid;
        }
        if self.due_at.is_none() && self.intervals >= self.most {
            return Step::Done;
        }
        if healthy {
            self.healthy = self.healthy.saturating_add(passed);
        }
        // One at a time: the next is counted when this one is paid.
        if self.healthy < self.interval || self.due_at.is_some() || self.intervals >= self.most {
            return Step::Nothing;
        }
        self.healthy = self.healthy.saturating_sub(self.interval);
        self.intervals = self.intervals.saturating_add(1);
        self.due_at = Some(now);
        Step::Due(self.intervals)
    }

    /// Returns what all intervals so far are worth, with what was promised before.
    fn worth(&self) -> Option<Amount> {
        self.before.checked_add(self.price.mul_div(self.intervals.into(), 1)?)
    }

    /// Takes a voucher, if it is signed for this provider and pays what is due out of what the escrow holds.
    pub fn pay(&mut self, voucher: &SignedVoucher, job: &JobAnnouncement, own: Address) -> bool {
        let good =
            self.worth().is_some_and(|worth| worth <= voucher.total) && is_good(voucher, job, own, self.promised);
        if good {
            self.promised = voucher.total;
            self.due_at = None;
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::payer::tests::spec;
    use crate::voucher::tests::{between, voucher};

    #[test]
    fn healthy_time_is_due_and_must_be_paid() {
        let (key, own, job) = between();
        let mut meter = Meter::new(&spec(), Amount::from_bmm(4));
        assert_eq!(meter.tick(0, true), Step::Nothing);
        assert_eq!(meter.tick(30 * SECOND, true), Step::Nothing);
        assert_eq!(meter.tick(60 * SECOND, false), Step::Nothing, "it was ill for half a minute");
        assert_eq!(meter.tick(90 * SECOND, true), Step::Due(1));
        assert!(!meter.pay(&voucher(&key, own, 5), &job, own), "the four of before, and two");
        assert!(!meter.pay(&voucher(&key, own, 101), &job, own), "more than the escrow holds");
        assert!(meter.pay(&voucher(&key, own, 6), &job, own));
        assert_eq!(meter.tick(150 * SECOND, true), Step::Due(2));
        assert_eq!(meter.tick(160 * SECOND, true), Step::Nothing);
        assert_eq!(meter.tick(161 * SECOND, true), Step::Unpaid);
    }

    #[test]
    fn it_ends_when_everything_is_paid() {
        let (key, own, job) = between();
        let mut meter = Meter::new(&ServiceSpec { intervals: 1, ..spec() }, Amount::ZERO);
        meter.tick(0, true);
        assert_eq!(meter.tick(60 * SECOND, true), Step::Due(1));
        assert!(meter.pay(&voucher(&key, own, 2), &job, own));
        assert_eq!(meter.tick(61 * SECOND, true), Step::Done);
    }
}
