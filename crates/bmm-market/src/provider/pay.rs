//! The provider's side of money: vouchers are checked, and a requester that owes too much gets no more work.

use alloy_primitives::{Address, B256};
use bmm_types::Amount;
use bmm_types::market::{SignedVoucher, Standing};

use super::api::Effect;
use super::{Job, Provider, State};
use crate::SECOND;

/// Unpaid batches for each copy of a replicated job that a requester may have: one under way in each direction, one being
/// verified, one being worked on.
const BATCHES: u128 = 4;

/// What may be promised and not collected in one job, unless a provider is told otherwise: 5 BMM.
pub const MAX_UNCOLLECTED: Amount = Amount(alloy_primitives::U256::from_limbs([5_000_000_000_000_000_000, 0, 0, 0]));

/// The rule of cover: a requester can sign for more than the escrow holds, and who claims first is paid. So what is promised and not
/// collected must be at most half of what is `left` (others claim meanwhile), and at most `limit`.
pub fn is_covered(uncollected: Amount, left: Amount, limit: Amount) -> bool {
    let half = left.mul_div(1, 2).unwrap_or(Amount::ZERO);
    uncollected <= limit && uncollected <= half
}

/// What one job owes and has paid.
#[derive(Default)]
pub(super) struct Account {
    /// Worth of all results sent, at the offered price.
    pub delivered: Amount,
    /// Results sent.
    pub results: u64,
    /// Worth of the largest batch.
    pub largest_batch: Amount,
    /// The last good voucher.
    pub voucher: Option<SignedVoucher>,
    pub standing: Standing,
    /// What the escrow has paid, and what is left in it, when it was last looked at.
    pub collected: Amount,
    pub left: Option<Amount>,
}

/// What a provider has earned in one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEarnings {
    /// The job.
    pub job: B256,
    /// Promised by the last voucher.
    pub total: Amount,
    /// Worth of what was delivered, at the offered price.
    pub delivered: Amount,
    /// How the requester says that the results stand.
    pub standing: Standing,
}

impl Account {
    pub fn total(&self) -> Amount {
        self.voucher.as_ref().map_or(Amount::ZERO, |voucher| voucher.total)
    }

    pub fn deliver(&mut self, worth: Amount, results: u64) {
        self.delivered = self.delivered.checked_add(worth).unwrap_or(self.delivered);
        self.results = self.results.saturating_add(results);
        self.largest_batch = self.largest_batch.max(worth);
    }

    /// The rule of trust: what is delivered and not covered by a voucher, less what came too late or was refused (as much as
    /// `forgiven_percent` of all deliveries), may be as much as `credit` or four batches a copy.
    pub fn may_go_on(&self, credit: Amount, forgiven_percent: u8, copies: u8) -> bool {
        let unpaid = self.delivered.saturating_sub(self.total());
        let lost = u128::from(self.standing.superseded.saturating_add(self.standing.refused).min(self.results));
        let lost = self.delivered.mul_div(lost, self.results.max(1).into()).unwrap_or(Amount::ZERO);
        let forgivable = self.delivered.mul_div(forgiven_percent.into(), 100).unwrap_or(Amount::ZERO);
        let owed = unpaid.saturating_sub(lost.min(forgivable));
        let batches = self.largest_batch.mul_div(BATCHES * u128::from(copies.max(1)), 1).unwrap_or(Amount::ZERO);
        owed <= credit.max(batches)
    }

    /// Tells whether the requester has said of every result what it is worth.
    pub fn is_answered(&self) -> bool {
        let Standing { accepted, superseded, refused, .. } = self.standing;
        accepted.saturating_add(superseded).saturating_add(refused) >= self.results
    }

    /// What is promised and not collected.
    fn uncollected(&self) -> Amount {
        self.total().saturating_sub(self.collected)
    }

    /// Tells whether what is promised is covered; where nobody looks at the escrow, it is taken for that.
    pub fn is_covered(&self, limit: Amount) -> bool {
        self.left.is_none_or(|left| is_covered(self.uncollected(), left, limit))
    }

    pub fn earnings(&self, job: B256) -> JobEarnings {
        JobEarnings { job, total: self.total(), delivered: self.delivered, standing: self.standing }
    }
}

impl Provider {
    /// A voucher counts if the requester of the job signed it for this provider, and if it promises no less than the last one
    /// and no more than the escrow holds.
    pub(super) fn paid(&mut self, from: Address, voucher: SignedVoucher, standing: Standing) {
        let (chain_id, own) = (self.config.chain_id, self.config.offer.offer.provider);
        let check = self.config.check_signatures;
        let Some(job) = self.jobs.get_mut(&voucher.job).filter(|job| job.from == from) else { return };
        let good = voucher.provider == own
            && voucher.total >= job.account.total()
            && voucher.total <= job.announcement.budget
            && (!check || voucher.is_signed(chain_id, job.announcement.requester));
        if good {
            job.account.standing = standing;
            job.account.voucher = Some(voucher.clone());
            self.effects.push(Effect::KeepVoucher(voucher));
        }
    }

    /// Claims what the deadline has found unpaid.
    pub(super) fn claim_what_is_due(&mut self) {
        let now = self.now / SECOND;
        let due = |(id, job): (&B256, &Job)| (job.announcement.deadline <= now).then_some(*id);
        let due: Vec<B256> = self.jobs.iter().filter_map(due).collect();
        for id in due {
            if let Some(voucher) = self.jobs.get(&id).and_then(|job| job.account.voucher.clone()) {
                self.effects.push(Effect::Claim(voucher));
            }
            self.forget(id);
        }
    }

    /// The escrow was looked at: what is not covered is collected before any more work.
    pub(super) fn escrow_seen(&mut self, id: B256, left: Amount, paid: Amount) {
        let limit = self.config.max_uncollected;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.account.collected = paid;
        job.account.left = Some(left);
        let voucher = job.account.voucher.as_ref().filter(|voucher| voucher.total > paid && !left.is_zero());
        if let Some(voucher) = voucher.filter(|_| !job.account.is_covered(limit)) {
            self.effects.push(Effect::Claim(voucher.clone()));
        }
    }

    /// Tells whether more work is to be asked for.
    pub(super) fn trusts(config: &super::ProviderConfig, job: &Job) -> bool {
        job.state == State::Ready
            && job.account.is_covered(config.max_uncollected)
            && job.account.may_go_on(config.credit, config.max_unpaid_percent, job.copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(delivered: u64, paid: u64, largest: u64) -> Account {
        let voucher = SignedVoucher {
            job: B256::ZERO,
            provider: Address::ZERO,
            total: Amount::from_bmm(paid),
            signature: bmm_types::market::SignatureBytes::ZERO,
        };
        let (delivered, largest_batch) = (Amount::from_bmm(delivered), Amount::from_bmm(largest));
        Account { delivered, results: 100, largest_batch, voucher: Some(voucher), ..Account::default() }
    }

    #[test]
    fn four_batches_of_credit() {
        assert!(account(100, 96, 1).may_go_on(Amount::ZERO, 25, 1));
        assert!(!account(100, 95, 1).may_go_on(Amount::ZERO, 25, 1));
        assert!(account(100, 95, 1).may_go_on(Amount::ZERO, 25, 2));
        assert!(account(100, 95, 1).may_go_on(Amount::from_bmm(5), 25, 1));
    }

    #[test]
    fn a_quarter_may_be_lost_but_not_more() {
        let mut account = account(100, 76, 1);
        account.standing.superseded = 20;
        assert!(account.may_go_on(Amount::ZERO, 25, 1));
        account.standing.superseded = 90;
        assert!(account.may_go_on(Amount::ZERO, 25, 1));
        account.voucher = None;
        assert!(!account.may_go_on(Amount::ZERO, 25, 1), "nothing is paid, whatever the requester says");
    }

    #[test]
    fn promises_are_covered_by_what_the_escrow_still_holds() {
        let mut account = account(10, 10, 1);
        let limit = Amount::from_bmm(20);
        assert!(account.is_covered(Amount::ZERO), "nobody looks");
        account.left = Some(Amount::from_bmm(20));
        assert!(account.is_covered(limit) && !account.is_covered(Amount::from_bmm(9)));
        // Others were paid out of it meanwhile.
        account.left = Some(Amount::from_bmm(19));
        assert!(!account.is_covered(limit));
        account.collected = Amount::from_bmm(4);
        assert!(account.is_covered(limit));
        account.left = Some(Amount::ZERO);
        assert!(!account.is_covered(limit));
        account.collected = Amount::from_bmm(10);
        assert!(account.is_covered(limit), "everything is collected");
    }
}
