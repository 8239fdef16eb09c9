//! What a provider holds a voucher to.

use alloy_primitives::Address;
use bmm_types::{
    Amount,
    market::{JobAnnouncement, SignedVoucher},
};

/// The rule of vouchers: signed by the requester of the job for this provider, no less than was promised before, no more than the escrow holds.
pub(crate) fn is_good(voucher: &SignedVoucher, job: &JobAnnouncement, own: Address, promised: Amount) -> bool {
    voucher.job == job.job
        && voucher.provider == own
        && voucher.total >= promised
        && voucher.total <= job.budget
        && voucher.is_signed(job.chain_id, job.requester)
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy_primitives::{Address, B256};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use bmm_types::market::{JobAnnouncement, SignatureBytes, SignedVoucher, voucher_hash};
    use bmm_types::{Amount, system::Voucher};

    /// A requester's key, a provider, and a job of 100 BMM between them.
    pub fn between() -> (PrivateKeySigner, Address, JobAnnouncement) {
        let (key, budget) = (PrivateKeySigner::random(), Amount::from_bmm(100));
        let requester = key.address();
        let job = JobAnnouncement { job: B256::ZERO, requester, chain_id: 7, budget, deadline: 9, spec: Vec::new() };
        (key, Address::repeat_byte(5), job)
    }

    pub fn voucher(key: &PrivateKeySigner, provider: Address, bmm: u64) -> SignedVoucher {
        let total = Amount::from_bmm(bmm);
        let hash = voucher_hash(7, &Voucher { job: B256::ZERO, provider, total: total.units() });
        let signature = SignatureBytes::from(key.sign_hash_sync(&hash).expect("signed").as_bytes());
        SignedVoucher { job: B256::ZERO, provider, total, signature }
    }

    #[test]
    fn each_condition_counts() {
        let (key, own, job) = between();
        let good = |voucher: &SignedVoucher| super::is_good(voucher, &job, own, Amount::from_bmm(4));
        assert!(good(&voucher(&key, own, 4)) && good(&voucher(&key, own, 100)));
        assert!(!good(&voucher(&key, own, 3)), "less than before");
        assert!(!good(&voucher(&key, own, 101)), "more than the escrow holds");
        assert!(!good(&voucher(&key, job.requester, 10)), "another provider's");
        assert!(!good(&voucher(&PrivateKeySigner::random(), own, 10)), "a stranger's");
        assert!(!good(&SignedVoucher { job: B256::repeat_byte(1), ..voucher(&key, own, 10) }), "another job's");
    }
}
