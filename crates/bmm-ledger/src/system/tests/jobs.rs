//! Jobs.

use super::{ask, bmm, people, reverts, reverts_saying};
use crate::{
    store::Receipt,
    testkit::{Person, Send, World},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolStruct, SolValue};
use bmm_types::system::{
    JOBS,
    Jobs::{
        BadDeadline, BadProvider, BadTotals, BadVoucher, JobAlreadySettled, JobClosed, JobExists, NoBudget,
        NotRequester, NothingToClaim, Opened, OverBudget, Paid, Refunded, Settled, TooEarly, TooLate, TotalBelowPaid,
        UnknownJob, claimCall, jobIdCall, jobOfCall, openCall, paidToCall, refundCall, settleCall,
    },
    RESOURCES, TOKEN, Voucher, job_id, job_state, jobs_domain,
};

const SALT: B256 = B256::repeat_byte(1);
const SPEC: B256 = B256::repeat_byte(2);
const ROOT: B256 = B256::repeat_byte(3);

/// An open job of 10 BMM with a deadline 100 s ahead.
struct Case {
    world: World,
    requester: Person,
    provider: Person,
    other: Person,
    job: B256,
    deadline: u64,
}

impl Case {
    fn new() -> Self {
        let [requester, provider, other, _] = people();
        let mut world = World::new(&[requester, provider, other]);
        let deadline = world.now + 100;
        let open = openCall { salt: SALT, spec: SPEC, deadline };
        let receipt = world.send(Send::new(requester.address, JOBS, bmm(10), open.abi_encode()));
        assert!(receipt.status());
        let job = job_id(world.params.chain_id, requester.address, SALT);
        let event = Opened::decode_log(&receipt.logs()[0]).expect("opened").data;
        assert_eq!(event, Opened { job, requester: requester.address, budget: bmm(10), deadline, spec: SPEC });
        Self { world, requester, provider, other, job, deadline }
    }

    fn voucher(&self, total: U256) -> claimCall {
        signed(&self.world, self.requester, self.job, self.provider.address, total)
    }

    fn send(&mut self, from: Person, call: &impl SolCall) -> Receipt {
        self.world.send(Send::new(from.address, JOBS, U256::ZERO, call.abi_encode()))
    }

    fn settle(&self, pairs: &[(Address, U256)]) -> settleCall {
        let (providers, totals) = pairs.iter().copied().unzip();
        settleCall { job: self.job, root: ROOT, providers, totals }
    }

    #[track_caller]
    fn reverts(&self, from: Person, call: &impl SolCall, error: &impl alloy_sol_types::SolError) {
        reverts(&self.world, from.address, JOBS, U256::ZERO, call, error);
    }

    fn end_of_claims(&self) -> u64 {
        self.deadline + self.world.params.jobs.expect("has jobs").claim_secs
    }
}

pub(super) fn signed(world: &World, signer: Person, job: B256, provider: Address, total: U256) -> claimCall {
    let voucher = Voucher { job, provider, total };
    let digest = voucher.eip712_signing_hash(&jobs_domain(world.params.chain_id));
    claimCall { job, provider, total, signature: Bytes::from(signer.sign(digest).as_bytes().to_vec()) }
}

#[test]
fn opens_a_job() {
    let case = Case::new();
    let view = ask(&case.world, JOBS, &jobOfCall { job: case.job });
    assert_eq!((view.state, view.requester), (job_state::OPEN, case.requester.address));
    assert_eq!((view.budget, view.spent, view.deadline), (bmm(10), U256::ZERO, case.deadline));
    assert_eq!((view.releaseAt, view.spec, view.root), (case.end_of_claims(), SPEC, B256::ZERO));
    assert_eq!(case.world.state.balance(JOBS), bmm(10));
    assert_eq!(ask(&case.world, JOBS, &jobIdCall { requester: case.requester.address, salt: SALT }), case.job);
    // The struct lies in the slots that follow keccak(job ‖ 0), as Solidity lays it.
    let slot = U256::from_be_bytes(keccak256((case.job, U256::ZERO).abi_encode()).0);
    assert_eq!(case.world.state.slot(JOBS, slot + U256::from(2)), U256::from_be_bytes(SPEC.0));
    assert_eq!(case.world.state.slot(JOBS, slot + U256::from(1)), bmm(10));
}

#[test]
fn an_unknown_job_is_all_zero() {
    let world = World::new(&[]);
    let view = ask(&world, JOBS, &jobOfCall { job: SALT });
    assert_eq!((view.state, view.releaseAt, view.budget), (job_state::UNKNOWN, 0, U256::ZERO));
}

#[test]
fn open_keeps_its_rules() {
    let case = Case::new();
    let (world, from) = (&case.world, case.requester.address);
    let open = |salt, deadline| openCall { salt, spec: SPEC, deadline };
    let other = B256::repeat_byte(9);
    reverts(world, from, JOBS, U256::ZERO, &open(other, case.deadline), &NoBudget {});
    reverts(world, from, JOBS, bmm(1), &open(SALT, case.deadline), &JobExists { job: case.job });
    let (earliest, latest) = (world.now + 1, world.now + world.params.jobs.expect("has jobs").max_duration_secs);
    for deadline in [0, world.now, latest + 1, u64::MAX] {
        let error = BadDeadline { deadline, earliest, latest };
        reverts(world, from, JOBS, bmm(1), &open(other, deadline), &error);
    }
    for deadline in [earliest, latest] {
        assert!(world.call(from, JOBS, bmm(1), open(other, deadline).abi_encode()).is_ok());
    }
    // The same salt of somebody else is another job.
    assert!(world.call(case.other.address, JOBS, bmm(1), open(SALT, earliest).abi_encode()).is_ok());
}

#[test]
fn a_voucher_pays_what_is_new_in_it() {
    let mut case = Case::new();
    let (provider, resources) = (case.provider.address, case.world.state.balance(RESOURCES));
    let before = case.world.state.balance(provider);
    let first = case.voucher(bmm(4));
    // Anybody may send it.
    let receipt = case.send(case.other, &first);
    let event = Paid::decode_log(&receipt.logs()[0]).expect("paid").data;
    // 1 % fee.
    let fee = bmm(4) / U256::from(100);
    assert_eq!(event, Paid { job: case.job, provider, amount: bmm(4), fee });
    assert_eq!(case.world.state.balance(provider) - before, bmm(4) - fee);
    assert!(case.world.state.balance(RESOURCES) - resources > fee, "fee, base fee and emission");
    case.reverts(case.provider, &first, &NothingToClaim { total: bmm(4), paid: bmm(4) });
    let older = case.voucher(bmm(3));
    case.reverts(case.provider, &older, &NothingToClaim { total: bmm(3), paid: bmm(4) });
    let later = case.voucher(bmm(6));
    let outcome = case.world.call(provider, JOBS, U256::ZERO, later.abi_encode()).expect("pays");
    assert_eq!(claimCall::abi_decode_returns(&outcome.output), Ok(bmm(2)));
    assert_eq!(ask(&case.world, JOBS, &paidToCall { job: case.job, provider }), bmm(4));
    assert_eq!(case.world.state.balance(JOBS), bmm(6));
}

#[test]
fn the_fee_rounds_in_the_providers_favour() {
    let mut case = Case::new();
    let before = case.world.state.balance(case.provider.address);
    let tiny = case.voucher(U256::from(199));
    case.send(case.other, &tiny);
    assert_eq!(case.world.state.balance(case.provider.address) - before, U256::from(198));
}

#[test]
fn vouchers_reach_as_far_as_the_budget() {
    let mut case = Case::new();
    let much = case.voucher(bmm(1_000));
    case.send(case.provider, &much);
    assert_eq!(ask(&case.world, JOBS, &paidToCall { job: case.job, provider: case.provider.address }), bmm(10));
    assert_eq!(case.world.state.balance(JOBS), U256::ZERO);
    case.reverts(case.provider, &much, &OverBudget { needed: bmm(990), left: U256::ZERO });
    let highest = case.voucher(U256::MAX);
    case.reverts(case.provider, &highest, &OverBudget { needed: U256::MAX - bmm(10), left: U256::ZERO });
}

#[test]
fn vouchers_of_others_pay_nothing() {
    let case = Case::new();
    let (world, requester, provider) = (&case.world, case.requester.address, case.provider.address);
    let foreign = signed(world, case.other, case.job, provider, bmm(1));
    case.reverts(case.provider, &foreign, &BadVoucher { signer: case.other.address, requester });
    let good = case.voucher(bmm(1));
    let selector = <BadVoucher as alloy_sol_types::SolError>::SELECTOR;
    let mut elsewhere = world.clone();
    elsewhere.params.chain_id += 1;
    for changed in [
        claimCall { total: bmm(2), ..good.clone() },
        claimCall { provider: case.other.address, ..good.clone() },
        claimCall {
            signature: signed(&elsewhere, case.requester, case.job, provider, bmm(1)).signature,
            ..good.clone()
        },
        claimCall { signature: signed(world, case.requester, SALT, provider, bmm(1)).signature, ..good.clone() },
        claimCall { signature: good.signature[..64].to_vec().into(), ..good.clone() },
        claimCall { signature: [good.signature.as_ref(), &[0]].concat().into(), ..good.clone() },
        claimCall { signature: [&good.signature[..64], &[good.signature[64] - 27]].concat().into(), ..good.clone() },
        claimCall { signature: Bytes::new(), ..good.clone() },
    ] {
        let data = world.revert_of(provider, JOBS, U256::ZERO, changed.abi_encode());
        assert_eq!(data[..4], selector, "{changed:?}");
    }
    case.reverts(case.provider, &claimCall { job: SALT, ..good.clone() }, &UnknownJob { job: SALT });
    for provider in [Address::ZERO, TOKEN, JOBS] {
        let call = signed(world, case.requester, case.job, provider, bmm(1));
        case.reverts(case.provider, &call, &BadProvider { provider });
    }
}

#[test]
fn claims_end_with_the_lock() {
    let mut case = Case::new();
    let claim = case.voucher(bmm(1));
    let end = case.end_of_claims();
    case.world.now = end;
    case.reverts(case.provider, &claim, &TooLate { end });
    case.world.now = end - 1;
    assert!(case.send(case.provider, &claim).status());
}

#[test]
fn a_settlement_pays_everybody() {
    let mut case = Case::new();
    let early = case.voucher(bmm(1));
    case.send(case.provider, &early);
    let mut pairs =
        [(case.provider.address, bmm(3)), (case.other.address, bmm(5)), (Address::repeat_byte(0xee), bmm(0))];
    pairs.sort();
    let settle = case.settle(&pairs);
    let now = case.world.now;
    let receipt = case.send(case.requester, &settle);
    assert!(receipt.status());
    assert_eq!(receipt.logs().len(), 5, "two payments, each with the provider's credit, and the settlement");
    let release_at = now + case.world.params.jobs.expect("has jobs").challenge_secs;
    let event = Settled::decode_log(&receipt.logs()[4]).expect("settled").data;
    assert_eq!(event, Settled { job: case.job, root: ROOT, spent: bmm(8), releaseAt: release_at });
    let view = ask(&case.world, JOBS, &jobOfCall { job: case.job });
    assert_eq!((view.state, view.spent, view.root, view.releaseAt), (job_state::SETTLED, bmm(8), ROOT, release_at));
    assert_eq!(case.world.state.balance(JOBS), bmm(2));
    case.reverts(case.requester, &settle, &JobAlreadySettled { job: case.job });
    // Who was paid less than its voucher claims the rest while the challenge lasts, and not later.
    let late = case.voucher(bmm(4));
    let mut after = case.world.clone();
    after.now = release_at;
    let error = TooLate { end: release_at };
    reverts(&after, case.provider.address, JOBS, U256::ZERO, &late, &error);
    assert!(case.send(case.provider, &late).status());
    assert_eq!(case.world.state.balance(JOBS), bmm(1));
}

#[test]
fn settlement_keeps_its_rules() {
    let mut case = Case::new();
    let early = case.voucher(bmm(2));
    case.send(case.provider, &early);
    let (low, high) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let own = case.settle(&[]);
    let error = NotRequester { caller: case.other.address, requester: case.requester.address };
    case.reverts(case.other, &own, &error);
    let unknown = settleCall { job: SALT, ..own.clone() };
    case.reverts(case.requester, &unknown, &UnknownJob { job: SALT });
    for pairs in [[(high, bmm(1)), (low, bmm(1))], [(low, bmm(1)), (low, bmm(1))]] {
        case.reverts(case.requester, &case.settle(&pairs), &BadTotals {});
    }
    let uneven = settleCall { totals: vec![bmm(1)], ..own.clone() };
    case.reverts(case.requester, &uneven, &BadTotals {});
    let many: Vec<_> = (1u64..=1_025).map(|n| (Address::left_padding_from(&n.to_be_bytes()), U256::ZERO)).collect();
    case.reverts(case.requester, &case.settle(&many), &BadTotals {});
    let provider = case.provider.address;
    let below = case.settle(&[(provider, bmm(1))]);
    case.reverts(case.requester, &below, &TotalBelowPaid { provider, total: bmm(1), paid: bmm(2) });
    let over = case.settle(&[(low, bmm(5)), (high, bmm(4))]);
    case.reverts(case.requester, &over, &OverBudget { needed: bmm(9), left: bmm(8) });
    let wrapping = case.settle(&[(low, bmm(5)), (high, U256::MAX)]);
    case.reverts(case.requester, &wrapping, &OverBudget { needed: U256::MAX, left: bmm(8) });
    case.reverts(case.requester, &case.settle(&[(JOBS, bmm(1))]), &BadProvider { provider: JOBS });
}

#[test]
fn a_refund_closes_an_open_job_after_the_claims() {
    let mut case = Case::new();
    let early = case.voucher(bmm(3));
    case.send(case.provider, &early);
    let refund = refundCall { job: case.job };
    let release = case.end_of_claims();
    case.world.now = release - 1;
    case.reverts(case.other, &refund, &TooEarly { release });
    case.world.now = release;
    let before = case.world.state.balance(case.requester.address);
    let receipt = case.send(case.other, &refund);
    let event = Refunded::decode_log(&receipt.logs()[0]).expect("refunded").data;
    assert_eq!(event, Refunded { job: case.job, requester: case.requester.address, amount: bmm(7) });
    assert_eq!(case.world.state.balance(case.requester.address) - before, bmm(7));
    assert_eq!(case.world.state.balance(JOBS), U256::ZERO);
    case.reverts(case.other, &refund, &JobClosed { job: case.job });
    case.reverts(case.requester, &case.settle(&[]), &JobClosed { job: case.job });
    case.reverts(case.provider, &case.voucher(bmm(9)), &JobClosed { job: case.job });
    assert_eq!(ask(&case.world, JOBS, &jobOfCall { job: case.job }).state, job_state::CLOSED);
    let open = openCall { salt: SALT, spec: SPEC, deadline: case.world.now + 9 };
    let error = JobExists { job: case.job };
    reverts(&case.world, case.requester.address, JOBS, bmm(1), &open, &error);
    case.reverts(case.other, &refundCall { job: SALT }, &UnknownJob { job: SALT });
}

#[test]
fn a_refund_follows_the_challenge() {
    let mut case = Case::new();
    let settle = case.settle(&[(case.provider.address, bmm(10))]);
    let release = case.world.now + case.world.params.jobs.expect("has jobs").challenge_secs;
    case.send(case.requester, &settle);
    let refund = refundCall { job: case.job };
    case.reverts(case.other, &refund, &TooEarly { release });
    case.world.now = release;
    let receipt = case.send(case.other, &refund);
    assert_eq!(Refunded::decode_log(&receipt.logs()[0]).expect("refunded").amount, U256::ZERO);
}

#[test]
fn the_challenge_never_outlasts_the_lock() {
    let mut case = Case::new();
    let end = case.end_of_claims();
    case.world.now = end - 1;
    let settle = case.settle(&[]);
    case.send(case.requester, &settle);
    assert_eq!(ask(&case.world, JOBS, &jobOfCall { job: case.job }).releaseAt, end);
}

#[test]
fn coins_come_with_open_only() {
    let case = Case::new();
    let from = case.requester.address;
    for input in [
        refundCall { job: case.job }.abi_encode(),
        case.voucher(bmm(1)).abi_encode(),
        case.settle(&[]).abi_encode(),
        jobOfCall { job: case.job }.abi_encode(),
    ] {
        reverts_saying(&case.world, from, JOBS, U256::ONE, input, "takes no coins");
    }
    reverts_saying(&case.world, from, JOBS, U256::ONE, Vec::new(), "no function called");
    reverts_saying(&case.world, from, JOBS, U256::ZERO, vec![0xff; 36], "not a call of its ABI");
}
