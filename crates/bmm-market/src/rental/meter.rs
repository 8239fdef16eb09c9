//! The provider's side: counts what the pool accepted, and notices who does not pay, refuses good work, or has none.

use super::worth;
use crate::{MILLISECOND, Micros, SECOND, voucher::is_good};
use alloy_primitives::Address;
use bmm_types::{
    Amount,
    market::{JobAnnouncement, RentalSpec, SignedVoucher},
};

/// Longest that a voucher may be late beside its interval.
const LATE: Micros = 10 * SECOND;
/// Answers after which the share of refusals says something, and the most that may be refused, percent.
const ENOUGH_ANSWERS: u64 = 20;
const MOST_REFUSED_PERCENT: u64 = 25;
/// Times the work of a share that may be done in a row without one accepted: honest luck passes it once in 160,000.
const DROUGHT: u64 = 12;
/// Longest that a share may take on average, in intervals.
const LONGEST_SHARE: u64 = 10;

/// Why a provider works no longer for who rents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// Accepted work was not paid in time.
    #[error("accepted work was not paid")]
    Unpaid,
    /// Much of what was found was refused.
    #[error("over {MOST_REFUSED_PERCENT} % of the shares are refused")]
    Refused,
    /// Much was hashed, and nothing accepted.
    #[error("{DROUGHT} times the work of a share was done, and none was accepted")]
    Drought,
    /// Shares are too hard for the machine's speed.
    #[error("a share would take this machine more than {LONGEST_SHARE} intervals")]
    TooHard,
}

/// Counts the work of one session.
#[derive(Clone, Debug)]
pub struct HashMeter {
    interval: Micros,
    price: Amount,
    /// What was promised in earlier sessions of the job.
    before: Amount,
    promised: Amount,
    /// Hashes that accepted shares stand for.
    hashes: u64,
    accepted: u64,
    refused: u64,
    /// What was earned at some time, and is to be promised an interval later.
    mark: (Micros, Amount),
    /// Hashes computed when a share was last accepted.
    last_accepted_at: u64,
}

impl HashMeter {
    /// Begins to count; `before` is what this provider was promised in this job already.
    pub fn new(spec: &RentalSpec, price: Amount, before: Amount, now: Micros) -> Self {
        Self {
            interval: spec.interval_millis.saturating_mul(MILLISECOND).max(1),
            price,
            before,
            promised: before,
            hashes: 0,
            accepted: 0,
            refused: 0,
            mark: (now, before),
            last_accepted_at: 0,
        }
    }

    /// The pool accepted a share of so many hashes; `computed` were computed in this session so far.
    pub fn accept(&mut self, hashes: u64, computed: u64) {
        self.hashes = self.hashes.saturating_add(hashes);
        self.accepted = self.accepted.saturating_add(1);
        self.last_accepted_at = computed;
    }

    /// The pool refused a share.
    pub fn refuse(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// Returns the hashes that accepted shares stand for.
    pub fn hashes(&self) -> u64 {
        self.hashes
    }

    /// Returns what this provider has earned in the job.
    pub fn earned(&self) -> Amount {
        self.before.checked_add(worth(self.price, self.hashes)).unwrap_or(self.before)
    }

    /// Says whether work whose shares stand for so many hashes is worth beginning, at so many hashes per second.
    pub fn take(&self, share_hashes: u64, hashes_per_second: u64) -> Result<(), Verdict> {
        let most = u128::from(hashes_per_second).saturating_mul(u128::from(self.interval / SECOND).max(1));
        let most = most.saturating_mul(LONGEST_SHARE.into());
        if u128::from(share_hashes) > most { Err(Verdict::TooHard) } else { Ok(()) }
    }

    /// Time has come to be `now`; `computed` hashes were computed in this session, for shares of `share_hashes`.
    pub fn tick(&mut self, now: Micros, computed: u64, share_hashes: u64) -> Result<(), Verdict> {
        let (since, due) = self.mark;
        if self.promised >= due {
            // What was earned meanwhile is due next.
            if now.saturating_sub(since) >= self.interval {
                self.mark = (now, self.earned());
            }
        } else if now.saturating_sub(since) > self.interval.saturating_add(LATE.min(self.interval)) {
            return Err(Verdict::Unpaid);
        }
        let answers = self.accepted.saturating_add(self.refused);
        if answers >= ENOUGH_ANSWERS && self.refused.saturating_mul(100) > answers.saturating_mul(MOST_REFUSED_PERCENT)
        {
            return Err(Verdict::Refused);
        }
        if computed.saturating_sub(self.last_accepted_at) / DROUGHT > share_hashes {
            return Err(Verdict::Drought);
        }
        Ok(())
    }

    /// Takes a voucher, if it is signed for this provider, promises no less than the last one and no more than the escrow holds.
    pub fn pay(&mut self, voucher: &SignedVoucher, job: &JobAnnouncement, own: Address) -> bool {
        let good = is_good(voucher, job, own, self.promised);
        if good {
            self.promised = voucher.total;
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voucher::tests::{between, voucher};

    const GHASH: u64 = 1_000_000_000;

    fn meter() -> HashMeter {
        let spec = RentalSpec {
            name: "r".into(),
            max_price: Amount::from_bmm(9),
            interval_millis: 60_000,
            duration_millis: 3_600_000,
        };
        HashMeter::new(&spec, Amount::from_bmm(2), Amount::from_bmm(4), 0)
    }

    #[test]
    fn accepted_work_must_be_paid() {
        let (key, own, job) = between();
        let mut meter = meter();
        meter.accept(3 * GHASH, 3 * GHASH);
        assert_eq!(meter.earned(), Amount::from_bmm(10), "the four of before, and six");
        assert_eq!(meter.tick(60 * SECOND, 3 * GHASH, GHASH), Ok(()), "now the ten are due");
        assert!(!meter.pay(&voucher(&key, own, 101), &job, own), "more than the escrow holds");
        assert!(!meter.pay(&voucher(&key, own, 3), &job, own), "less than before");
        assert!(meter.pay(&voucher(&key, own, 9), &job, own), "it is something");
        assert_eq!(meter.tick(130 * SECOND, 3 * GHASH, GHASH), Ok(()));
        assert_eq!(meter.clone().tick(131 * SECOND, 3 * GHASH, GHASH), Err(Verdict::Unpaid));
        assert!(meter.pay(&voucher(&key, own, 10), &job, own));
        assert_eq!(meter.tick(131 * SECOND, 3 * GHASH, GHASH), Ok(()));
        assert_eq!(meter.tick(900 * SECOND, 3 * GHASH, GHASH), Ok(()), "nothing more was earned");
    }

    #[test]
    fn who_refuses_good_work_or_has_none_is_left() {
        let mut meter = meter();
        (0..15).for_each(|_| meter.accept(GHASH, GHASH));
        (0..5).for_each(|_| meter.refuse());
        assert_eq!(meter.tick(1, GHASH, GHASH), Ok(()), "a quarter");
        meter.refuse();
        assert_eq!(meter.tick(2, GHASH, GHASH), Err(Verdict::Refused));
        let mut meter = super::tests::meter();
        assert_eq!(meter.tick(1, 12 * GHASH, GHASH), Ok(()));
        assert_eq!(meter.tick(2, 13 * GHASH, GHASH - 1), Err(Verdict::Drought));
        meter.accept(GHASH, 13 * GHASH);
        assert_eq!(meter.tick(3, 14 * GHASH, GHASH), Ok(()));
        assert_eq!(meter.take(600_000, 1_000), Ok(()));
        assert_eq!(meter.take(600_001, 1_000), Err(Verdict::TooHard));
    }
}
