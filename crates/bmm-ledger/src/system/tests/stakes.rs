//! Stakes: who can lose one, by what, and where it goes.

use super::{ask, bmm, people, reverts};
use crate::{
    store::Receipt as TxReceipt,
    testkit::{Person, Send, World, testimony},
};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use bmm_types::system::{
    FOOTSTONES, JOBS,
    Jobs::{
        AlreadyStaked, BadTerms, BadTestimony, NoContradiction, NoStakeAsked, NotJury, QuorumMissing, StakeLocked,
        StakeTaken, StakeTooSmall, TooEarly, TooLate, UnknownJob, WrongBond, WrongStakeState, accuseCall,
        contradictCall, objectCall, openStakedCall, refundCall, resolveCall, ruleCall, settleCall, stakeCall,
        stakeOfCall, termsOfCall, unstakeCall,
    },
    RESOURCES, Testimony, job_id, stake_state,
};

const SALT: B256 = B256::repeat_byte(1);
const TASK: u64 = 7;

/// A job of 10 BMM that asks for 4 BMM and a quorum of 2, with four who have staked.
struct Case {
    world: World,
    requester: Person,
    staked: [Person; 4],
    job: B256,
    deadline: u64,
}

impl Case {
    fn new() -> Self {
        let [requester, ..] = people();
        let staked = [4, 5, 6, 7].map(Person::new);
        let mut world = World::new(&[requester, staked[0], staked[1], staked[2], staked[3]]);
        let deadline = world.now + 500;
        let open = openStakedCall { salt: SALT, spec: B256::ZERO, deadline, stake: bmm(4), quorum: 2 };
        assert!(world.send(Send::new(requester.address, JOBS, bmm(10), open.abi_encode())).status());
        let job = job_id(world.params.chain_id, requester.address, SALT);
        for person in staked {
            assert!(world.send(Send::new(person.address, JOBS, bmm(4), stakeCall { job }.abi_encode())).status());
        }
        world.state.strip_code(FOOTSTONES);
        Self { world, requester, staked, job, deadline }
    }

    fn says(&self, who: usize, output: u8) -> Testimony {
        testimony(self.world.params.chain_id, self.staked[who], self.job, TASK, 100, output)
    }

    /// Returns the call by which `others`, who found `right`, accuse `who`, who found `wrong`.
    fn accusation(&self, who: usize, wrong: u8, others: &[usize], right: u8) -> accuseCall {
        let mut others: Vec<_> = others.iter().map(|other| self.says(*other, right)).collect();
        others.sort_by_key(|testimony| testimony.provider);
        accuseCall { job: self.job, task: TASK, accused: self.says(who, wrong), others }
    }

    fn send(&mut self, from: Address, value: U256, call: &impl SolCall) -> TxReceipt {
        self.world.send(Send::new(from, JOBS, value, call.abi_encode()))
    }

    #[track_caller]
    fn does(&mut self, from: Address, value: U256, call: &impl SolCall) -> TxReceipt {
        let receipt = self.send(from, value, call);
        assert!(receipt.status());
        receipt
    }

    #[track_caller]
    fn reverts(&self, from: Address, value: U256, call: &impl SolCall, error: &impl SolError) {
        reverts(&self.world, from, JOBS, value, call, error);
    }

    fn state(&self, who: usize) -> u8 {
        ask(&self.world, JOBS, &stakeOfCall { job: self.job, provider: self.staked[who].address }).state
    }

    fn address(&self, who: usize) -> Address {
        self.staked[who].address
    }

    fn free_at(&self) -> u64 {
        let rules = self.world.params.jobs.expect("has jobs");
        self.deadline + rules.claim_secs + rules.challenge_secs
    }
}

#[test]
fn a_stake_is_locked_and_comes_back() {
    let mut case = Case::new();
    let terms = ask(&case.world, JOBS, &termsOfCall { job: case.job });
    assert_eq!((terms.stake, terms.quorum), (bmm(4), 2));
    assert_eq!(case.world.state.balance(JOBS), bmm(10 + 16));
    let (job, provider, until) = (case.job, case.address(0), case.free_at());
    let view = ask(&case.world, JOBS, &stakeOfCall { job, provider });
    assert_eq!((view.state, view.amount, view.until, view.bond), (stake_state::HELD, bmm(4), until, bmm(1)));
    let back = unstakeCall { job, provider };
    case.world.now = until - 1;
    case.reverts(case.address(1), U256::ZERO, &back, &StakeLocked { until });
    case.world.now = until;
    let before = case.world.state.balance(provider);
    let anybody = case.address(1);
    case.does(anybody, U256::ZERO, &back);
    assert_eq!(case.world.state.balance(provider) - before, bmm(4));
    case.reverts(provider, U256::ZERO, &back, &WrongStakeState { provider, state: stake_state::GONE });
    case.reverts(provider, bmm(4), &stakeCall { job }, &NoStakeAsked { job });
}

#[test]
fn a_settlement_frees_stakes_sooner() {
    let mut case = Case::new();
    let settle = settleCall { job: case.job, root: B256::ZERO, providers: vec![], totals: vec![] };
    let (now, requester, job) = (case.world.now, case.requester.address, case.job);
    case.does(requester, U256::ZERO, &settle);
    case.world.now = now + 4;
    let refund = refundCall { job };
    case.does(requester, U256::ZERO, &refund);
    let provider = case.address(2);
    case.does(provider, U256::ZERO, &unstakeCall { job, provider });
    assert_eq!(case.state(2), stake_state::GONE);
}

#[test]
fn staking_keeps_its_rules() {
    let case = Case::new();
    let (job, from) = (case.job, case.requester.address);
    let provider = case.address(0);
    case.reverts(provider, bmm(4), &stakeCall { job }, &AlreadyStaked { job, provider });
    case.reverts(from, bmm(3), &stakeCall { job }, &StakeTooSmall { stake: bmm(3), least: bmm(4) });
    case.reverts(from, bmm(4), &stakeCall { job: SALT }, &UnknownJob { job: SALT });
    let deadline = case.deadline;
    let open = |stake, quorum| openStakedCall { salt: B256::ZERO, spec: B256::ZERO, deadline, stake, quorum };
    for (stake, quorum) in [(U256::ZERO, 2), (U256::MAX, 2), (bmm(1), 1), (bmm(1), 9)] {
        case.reverts(from, bmm(1), &open(stake, quorum), &BadTerms { stake, quorum });
    }
    let mut late = case;
    late.world.now = deadline;
    late.reverts(from, bmm(4), &stakeCall { job }, &NoStakeAsked { job });
}

#[test]
fn a_silent_accused_loses_its_stake_to_the_pot() {
    let mut case = Case::new();
    let call = case.accusation(0, 1, &[1, 2], 2);
    let anybody = case.requester.address;
    let now = case.world.now;
    case.does(anybody, U256::ZERO, &call);
    assert_eq!(case.state(0), stake_state::ACCUSED);
    let provider = case.address(0);
    case.reverts(anybody, U256::ZERO, &call, &WrongStakeState { provider, state: stake_state::ACCUSED });
    let resolve = resolveCall { job: case.job, provider };
    case.reverts(anybody, U256::ZERO, &resolve, &TooEarly { release: now + 60 });
    case.world.now = now + 60;
    let error = TooLate { end: now + 60 };
    case.reverts(provider, bmm(1), &objectCall { job: case.job }, &error);
    let before = case.world.state.balance(RESOURCES);
    let receipt = case.does(anybody, U256::ZERO, &resolve);
    let event = StakeTaken::decode_log(&receipt.logs()[0]).expect("taken").data;
    assert_eq!(event, StakeTaken { job: case.job, provider, amount: bmm(4), compensation: U256::ZERO });
    assert!(case.world.state.balance(RESOURCES) >= before + bmm(4));
    assert_eq!(case.world.state.balance(JOBS), bmm(10 + 12));
}

#[test]
fn without_a_verdict_who_objects_loses_nothing() {
    let mut case = Case::new();
    let call = case.accusation(0, 1, &[1, 2], 2);
    let (job, provider) = (case.job, case.address(0));
    case.does(provider, U256::ZERO, &call);
    case.reverts(provider, bmm(2), &objectCall { job }, &WrongBond { sent: bmm(2), bond: bmm(1) });
    case.does(provider, bmm(1), &objectCall { job });
    case.world.now += 60;
    let before = case.world.state.balance(provider);
    let anybody = case.requester.address;
    case.does(anybody, U256::ZERO, &resolveCall { job, provider });
    assert_eq!((case.state(0), case.world.state.balance(provider) - before), (stake_state::CLEARED, bmm(1)));
    // Nobody can begin it again.
    case.reverts(anybody, U256::ZERO, &call, &WrongStakeState { provider, state: stake_state::CLEARED });
    case.world.now = case.free_at() + 120;
    for who in 0..4 {
        let provider = case.address(who);
        case.does(anybody, U256::ZERO, &unstakeCall { job, provider });
    }
    assert_eq!(case.world.state.balance(JOBS), bmm(10));
}

#[test]
fn the_jury_takes_the_stake_of_the_one_or_the_others() {
    for wrong in [true, false] {
        let mut case = Case::new();
        // The jury's account has what blocks brought it.
        let (job, provider, requester) = (case.job, case.address(0), case.requester);
        let claim = super::jobs::signed(&case.world, requester, job, provider, bmm(3));
        case.does(provider, U256::ZERO, &claim);
        let call = case.accusation(0, 1, &[1, 2], 2);
        case.does(provider, U256::ZERO, &call);
        case.does(provider, bmm(1), &objectCall { job });
        let verdict = ruleCall { job, provider, wrong };
        case.reverts(requester.address, U256::ZERO, &verdict, &NotJury { caller: requester.address });
        let before = (case.world.state.balance(requester.address), case.world.state.balance(provider));
        case.does(FOOTSTONES, U256::ZERO, &verdict);
        let after = (case.world.state.balance(requester.address), case.world.state.balance(provider));
        let states: Vec<u8> = (0..4).map(|who| case.state(who)).collect();
        if wrong {
            assert_eq!(after.0 - before.0, bmm(3), "what it had paid");
            assert_eq!(states, [5, 1, 1, 1]);
            assert_eq!(case.world.state.balance(JOBS), bmm(7 + 12));
        } else {
            assert_eq!((after.0, after.1 - before.1), (before.0, bmm(1)));
            assert_eq!(states, [4, 5, 5, 1]);
            assert_eq!(case.world.state.balance(JOBS), bmm(7 + 8));
        }
        case.reverts(FOOTSTONES, U256::ZERO, &verdict, &WrongStakeState { provider, state: states[0] });
    }
}

#[test]
fn a_contradiction_takes_the_stake_at_once() {
    let mut case = Case::new();
    let (job, provider, anybody) = (case.job, case.address(0), case.requester.address);
    let call = |first, second| contradictCall { job, task: TASK, first, second };
    case.reverts(anybody, U256::ZERO, &call(case.says(0, 1), case.says(0, 1)), &NoContradiction {});
    case.reverts(anybody, U256::ZERO, &call(case.says(0, 1), case.says(1, 2)), &NoContradiction {});
    // No result at all, as a host's failure has none, contradicts nothing.
    case.reverts(anybody, U256::ZERO, &call(case.says(0, 1), case.says(0, 0)), &BadTestimony { provider });
    let two = call(case.says(0, 1), case.says(0, 2));
    case.does(anybody, U256::ZERO, &two);
    assert_eq!(case.state(0), stake_state::GONE);
    // Other fuel for the same result is a contradiction as well.
    let other = testimony(case.world.params.chain_id, case.staked[1], job, TASK, 101, 2);
    let fuel = call(case.says(1, 2), other);
    case.does(anybody, U256::ZERO, &fuel);
    assert_eq!((case.state(1), case.world.state.balance(JOBS)), (stake_state::GONE, bmm(10 + 8)));
}

#[test]
fn an_accusation_needs_what_was_signed() {
    let case = Case::new();
    let from = case.requester.address;
    let (good, provider) = (case.accusation(0, 1, &[1, 2], 2), case.address(0));
    let few = case.accusation(0, 1, &[1], 2);
    case.reverts(from, U256::ZERO, &few, &QuorumMissing { testimonies: U256::ONE, quorum: 2 });
    let same = case.accusation(0, 2, &[1, 2], 2);
    case.reverts(from, U256::ZERO, &same, &NoContradiction {});
    let itself = case.accusation(0, 1, &[0, 1], 2);
    case.reverts(from, U256::ZERO, &itself, &BadTestimony { provider });
    let mut doubled = good.clone();
    doubled.others[1] = doubled.others[0].clone();
    case.reverts(from, U256::ZERO, &doubled, &BadTestimony { provider });
    let mut split = good.clone();
    let other = (1..3).find(|who| case.address(*who) == split.others[1].provider).expect("one of them");
    split.others[1] = case.says(other, 3);
    case.reverts(from, U256::ZERO, &split, &NoContradiction {});
    // Another task, another job, another chain, a longer way, another's signature.
    let mut bad: Vec<accuseCall> = vec![good.clone(); 5];
    bad[0].task = TASK + 1;
    bad[1].accused = testimony(case.world.params.chain_id, case.staked[0], SALT, TASK, 100, 1);
    bad[2].accused = testimony(case.world.params.chain_id + 1, case.staked[0], case.job, TASK, 100, 1);
    bad[3].accused.proof = vec![B256::ZERO; 17];
    bad[4].accused.signature = case.says(1, 1).signature;
    for call in bad {
        case.reverts(from, U256::ZERO, &call, &BadTestimony { provider });
    }
    // Who has nothing at stake neither testifies nor is accused.
    let stranger = case.requester;
    let mut unstaked = good.clone();
    unstaked.others[1] = testimony(case.world.params.chain_id, stranger, case.job, TASK, 100, 2);
    unstaked.others.sort_by_key(|testimony| testimony.provider);
    case.reverts(from, U256::ZERO, &unstaked, &WrongStakeState { provider: stranger.address, state: 0 });
    let mut late = case;
    late.world.now = late.free_at();
    late.reverts(from, U256::ZERO, &good, &TooLate { end: late.free_at() });
}

#[test]
fn who_testifies_stays_locked_until_the_dispute_can_be_over() {
    let mut case = Case::new();
    let call = case.accusation(0, 1, &[1, 2], 2);
    let (job, from, end) = (case.job, case.requester.address, case.free_at());
    case.world.now = end - 1;
    case.does(from, U256::ZERO, &call);
    case.world.now = end;
    let (witness, free) = (case.address(1), case.address(3));
    case.reverts(from, U256::ZERO, &unstakeCall { job, provider: witness }, &StakeLocked { until: end - 1 + 120 });
    case.does(from, U256::ZERO, &unstakeCall { job, provider: free });
    case.world.now = end - 1 + 120;
    case.does(from, U256::ZERO, &unstakeCall { job, provider: witness });
}

/// What the largest accusation costs stays far below a transaction's gas.
#[test]
fn the_largest_accusation_is_cheap() {
    let mut case = Case::new();
    let call = case.accusation(0, 1, &[1, 2], 2);
    let from = case.requester.address;
    let receipt = case.does(from, U256::ZERO, &call);
    assert!(receipt.cumulative_gas_used() < 300_000, "{} gas with two testimonies", receipt.cumulative_gas_used());
}
