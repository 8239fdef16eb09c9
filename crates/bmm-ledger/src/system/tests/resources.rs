//! Resources: which proofs count, what they are worth, and that nothing depends on how many contribute.

use super::{ask, people, reverts};
use crate::{
    store::Receipt,
    system::slots::Mapping,
    testkit::{Person, Send, World, work},
};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use bmm_pow::{AuxTree, SyntheticParent, resource::estimate};
use bmm_types::{
    AuxPow,
    system::{
        RESOURCES,
        Resources::{
            AlreadyClaimed, AlreadyProven, BadProof, NotClosed, NotSystem, NothingToClaim, ProofTime, claimCall,
            contributionOfCall, contributionOfReturn, currentEpochCall, epochOfCall, epochOfReturn, onEpochCall,
            proveCall,
        },
        resource_leaf,
    },
};

const EPOCH_BLOCKS: u64 = 8;
const COUNT: usize = 4;

struct Case {
    world: World,
    people: [Person; 4],
}

impl Case {
    fn new(proof_hashes: usize) -> Self {
        let people = people();
        let mut params = World::new(&people).params;
        params.epoch_blocks = EPOCH_BLOCKS;
        params.footstones = None;
        let rules = params.resources.as_mut().expect("has resources");
        rules.proof_hashes = u16::try_from(proof_hashes).expect("few");
        rules.sols_per_unit = 1_000;
        Self { world: World::with_params(params), people }
    }

    /// A chain whose next block is the first of epoch 1.
    fn before_epoch_1() -> Self {
        let mut case = Self::new(COUNT);
        case.go_before(EPOCH_BLOCKS);
        case
    }

    /// Makes blocks until the next one is `number`.
    fn go_before(&mut self, number: u64) {
        while self.world.head.number + 1 < number {
            self.world.block(&[]);
        }
    }

    fn epoch_of(&self, epoch: u64) -> epochOfReturn {
        ask(&self.world, RESOURCES, &epochOfCall { epoch })
    }

    fn contribution(&self, epoch: u64, who: usize) -> contributionOfReturn {
        ask(&self.world, RESOURCES, &contributionOfCall { epoch, contributor: self.people[who].address })
    }

    fn solutions(&self, epoch: u64, who: usize, count: usize, hashes: u32) -> Vec<AuxPow> {
        let leaf = resource_leaf(self.people[who].address, self.epoch_of(epoch).seed);
        work(leaf, count, hashes).solutions().cloned().collect()
    }

    fn proof(&self, epoch: u64, who: usize, hashes: u32) -> proveCall {
        prove(epoch, &self.solutions(epoch, who, COUNT, hashes))
    }

    fn sends(&mut self, who: usize, call: &impl SolCall) -> Receipt {
        let mut send = Send::new(self.people[who].address, RESOURCES, U256::ZERO, call.abi_encode());
        send.gas = 8_000_000;
        self.world.send(send)
    }

    #[track_caller]
    fn does(&mut self, who: usize, call: &impl SolCall) -> Receipt {
        let receipt = self.sends(who, call);
        assert!(receipt.status());
        receipt
    }

    #[track_caller]
    fn reverts(&self, who: usize, call: &impl SolCall, error: &impl SolError) {
        reverts(&self.world, self.people[who].address, RESOURCES, U256::ZERO, call, error);
    }

    #[track_caller]
    fn is_bad(&self, who: usize, call: &proveCall, index: usize, reason: &str) {
        let error = BadProof { index: U256::from(index), reason: reason.into() };
        self.reverts(who, call, &error);
    }
}

fn prove(epoch: u64, solutions: &[AuxPow]) -> proveCall {
    proveCall { epoch, proofs: solutions.iter().map(|aux| Bytes::from(alloy_rlp::encode(aux))).collect() }
}

#[test]
fn epochs_begin_with_the_parents_id_and_close_after_a_quarter() {
    let mut case = Case::new(COUNT);
    let genesis = case.world.head.hash_slow();
    case.world.block(&[]);
    assert_eq!(case.epoch_of(0).seed, genesis);
    case.go_before(EPOCH_BLOCKS);
    let (first_seed, balance) = (case.world.head.hash_slow(), case.world.state.balance(RESOURCES));
    assert_eq!(case.epoch_of(1).seed, B256::ZERO);
    case.world.block(&[]);
    let (ended, begun) = (case.epoch_of(0), case.epoch_of(1));
    assert_eq!((ended.pot, ended.closed, begun.seed, begun.closed), (balance, false, first_seed, false));
    assert_eq!(begun.pot, case.world.state.balance(RESOURCES) - balance, "what has come since");
    assert_eq!(ask(&case.world, RESOURCES, &currentEpochCall {}), 1);
    case.go_before(EPOCH_BLOCKS + 2);
    assert!(case.epoch_of(0).closed);
}

#[test]
fn an_epoch_without_contributors_leaves_its_pot_to_the_next_but_one() {
    let mut case = Case::new(COUNT);
    case.go_before(2 * EPOCH_BLOCKS);
    let all = case.world.state.balance(RESOURCES);
    case.world.block(&[]);
    assert_eq!(case.epoch_of(1).pot, all);
    assert_eq!(case.world.state.slot(RESOURCES, U256::ZERO), all);
}

#[test]
fn only_the_chain_begins_epochs() {
    let case = Case::before_epoch_1();
    let caller = case.people[0].address;
    case.reverts(0, &onEpochCall { parent: B256::repeat_byte(1) }, &NotSystem { caller });
}

#[test]
fn work_is_proven_in_the_first_quarter_of_the_next_epoch_once() {
    let mut case = Case::before_epoch_1();
    let proof = case.proof(0, 0, 20);
    let (from, until) = (EPOCH_BLOCKS, EPOCH_BLOCKS + 2);
    let mut early = Case::new(COUNT);
    early.go_before(EPOCH_BLOCKS - 1);
    early.reverts(0, &proof, &ProofTime { epoch: 0, from, until });
    case.world.block(&[]);
    case.does(0, &proof);
    let contributor = case.people[0].address;
    case.reverts(0, &proof, &ProofTime { epoch: 0, from, until });
    let mut again = Case::before_epoch_1();
    again.does(0, &proof);
    again.reverts(0, &proof, &AlreadyProven { epoch: 0, contributor });
    let future = prove(1, &case.solutions(0, 0, COUNT, 9));
    again.reverts(0, &future, &ProofTime { epoch: 1, from: 2 * EPOCH_BLOCKS, until: 2 * EPOCH_BLOCKS + 2 });
}

#[test]
fn a_proof_is_worth_the_estimate_of_its_largest_hash() {
    let mut case = Case::before_epoch_1();
    let solutions = case.solutions(0, 0, COUNT, 50);
    case.does(0, &prove(0, &solutions));
    let largest = bmm_pow::resource::solution_hash(&solutions[COUNT - 1]);
    let power = estimate(COUNT, largest) * U256::from(1_000_000) / U256::from(1_000);
    let view = case.contribution(0, 0);
    assert_eq!((view.hashPower, view.computePower, view.power), (power, U256::ZERO, power));
    assert_eq!((view.persistence, view.fees, view.claimed), (U256::from(1_000_000), U256::ZERO, false));
    assert_eq!(case.epoch_of(0).hashPower, power);
}

#[test]
fn what_is_no_proof_is_refused_with_its_reason() {
    let case = Case::before_epoch_1();
    let good = case.solutions(0, 0, COUNT, 20);
    let with = |at: usize, aux: AuxPow| {
        let mut solutions = good.clone();
        solutions[at] = aux;
        prove(0, &solutions)
    };
    let foreign = "the coinbase does not commit to this sender and this epoch's seed";
    case.is_bad(1, &prove(0, &good), 0, foreign);
    let other = resource_leaf(case.people[0].address, B256::repeat_byte(9));
    let stale: Vec<_> = work(other, COUNT, 9).solutions().cloned().collect();
    case.is_bad(0, &with(2, stale[0].clone()), 2, foreign);

    let count = "a proof has exactly as many hashes as the chain asks for";
    case.is_bad(0, &prove(0, &good[..COUNT - 1]), COUNT - 1, count);
    case.is_bad(0, &prove(0, &[&good[..], &good[..1]].concat()), COUNT + 1, count);

    let order = "its hash is not above the one before";
    case.is_bad(0, &with(1, good[0].clone()), 1, order);
    let backwards: Vec<_> = good.iter().rev().cloned().collect();
    case.is_bad(0, &prove(0, &backwards), 1, order);

    let mut forged = good[1].clone();
    forged.parent_header[40] ^= 1;
    case.is_bad(0, &with(1, forged), 1, "the coinbase is not in the parent");
    let slot = AuxPow { chain_index: good[3].chain_index ^ 1, ..good[3].clone() };
    let data = case.world.revert_of(case.people[0].address, RESOURCES, U256::ZERO, with(3, slot).abi_encode());
    assert_eq!(BadProof::abi_decode(&data).expect("refused").index, U256::from(3));

    let mut garbage = prove(0, &good);
    garbage.proofs[2] = Bytes::from_static(b"\xc1\x80");
    case.is_bad(0, &garbage, 2, "not the RLP of an AuxPoW");
    garbage.proofs[2] = [&alloy_rlp::encode(&good[2])[..], &[0]].concat().into();
    case.is_bad(0, &garbage, 2, "not the RLP of an AuxPoW");
}

#[test]
fn work_for_the_block_alone_is_no_proof() {
    let case = Case::before_epoch_1();
    let leaf = resource_leaf(case.people[0].address, case.epoch_of(0).seed);
    // Under the blocks' chain id, and without the magic.
    let tree = AuxTree::new(&[(0x0BB3, leaf)]).expect("one chain");
    let mut solutions: Vec<_> = (0..4).map(|nonce| SyntheticParent::of_tree(&tree, 1, 1).assemble(nonce)).collect();
    solutions.sort_by_key(bmm_pow::resource::solution_hash);
    // A tree of one has one slot, whoever's it is; but it is one that resource proofs have too.
    let other = AuxTree::new(&[(7, B256::ZERO), (0x0BB3, leaf), (9, B256::ZERO)]).expect("three chains");
    let other = SyntheticParent::of_tree(&other, 1, 1).assemble_leaf(1, 3).expect("a leaf");
    let mut proof = prove(0, &solutions);
    proof.proofs[0] = alloy_rlp::encode(&other).into();
    case.is_bad(0, &proof, 0, "the leaf is in another slot of the tree of merge-mined chains");
}

#[test]
fn persistence_grows_falls_and_is_weighed_anew_when_work_is_proven_late() {
    let mut case = Case::new(COUNT);
    let mut seen = Vec::new();
    for epoch in 0..7 {
        case.go_before((epoch + 1) * EPOCH_BLOCKS);
        if ![2, 3].contains(&epoch) {
            let proof = case.proof(epoch, 0, 9);
            case.does(0, &proof);
        }
        seen.push(case.contribution(epoch, 0).persistence.to::<u64>());
    }
    // Two epochs, two missed, three again: 1/30 is 33,334 millionths, and half of it is lost with each epoch missed.
    let after_gap = 1_000_000 + ((2 * 33_334) >> 2);
    assert_eq!(seen[..2], [1_000_000, 1_033_334]);
    assert_eq!(seen[4..], [after_gap, after_gap + 33_334, after_gap + 2 * 33_334]);
}

#[test]
fn three_times_the_work_earns_three_times_the_reward_within_the_estimates_error() {
    const HASHES: usize = 64;
    let mut case = Case::new(HASHES);
    case.go_before(EPOCH_BLOCKS);
    let before: Vec<_> = (0..2).map(|who| case.world.state.balance(case.people[who].address)).collect();
    for (who, hashes) in [(0, 600), (1, 1_800)] {
        let proof = prove(0, &case.solutions(0, who, HASHES, hashes));
        case.does(who, &proof);
    }
    let paid: Vec<f64> = (0..2)
        .map(|who| {
            let contributor = case.people[who].address;
            let before = case.world.state.balance(contributor);
            case.does(2, &claimCall { epoch: 0, contributor });
            f64::from(case.world.state.balance(contributor) - before)
        })
        .collect();
    assert_eq!(before.len(), paid.len());
    // Each estimate is off by 1/√62, their quotient by √2 times that: three standard deviations are 54 %.
    let quotient = paid[1] / paid[0] / 3.0;
    assert!((0.65..1.54).contains(&quotient), "{quotient}");
    let powers: Vec<_> = (0..2).map(|who| f64::from(case.contribution(0, who).power)).collect();
    assert!((paid[1] / paid[0] / (powers[1] / powers[0]) - 1.0).abs() < 1e-12, "by power exactly");
    let hash_pot = f64::from(case.epoch_of(0).pot) * 0.6;
    assert!(((paid[0] + paid[1]) / hash_pot - 1.0).abs() < 1e-12, "the whole pot of the class");
}

#[test]
fn claims_wait_for_the_close_and_are_paid_once() {
    let mut case = Case::before_epoch_1();
    let proof = case.proof(0, 0, 9);
    case.does(0, &proof);
    let contributor = case.people[0].address;
    let claim = claimCall { epoch: 0, contributor };
    case.reverts(1, &claim, &NotClosed { epoch: 0 });
    case.go_before(EPOCH_BLOCKS + 2);
    let other = case.people[1].address;
    case.reverts(1, &claimCall { epoch: 0, contributor: other }, &NothingToClaim { epoch: 0, contributor: other });
    case.does(1, &claim);
    case.reverts(1, &claim, &AlreadyClaimed { epoch: 0, contributor });
    assert!(case.contribution(0, 0).claimed);
    assert_eq!(case.world.state.slot(RESOURCES, U256::ZERO), U256::ZERO, "the last one leaves nothing reserved");
}

/// Writes `count` contributions of the hash class into the ledger, as proofs would.
fn write_contributors(world: &mut World, epoch: u64, count: u64) {
    let power = U256::from(5_000_000);
    for number in 0..count {
        let contributor = Address::from_word(U256::from(number + 1_000).into());
        let slot = Mapping::at(2).slot_of(epoch);
        let mut key = [0u8; 64];
        key[..32].copy_from_slice(contributor.into_word().as_slice());
        key[32..].copy_from_slice(&slot.to_be_bytes::<32>());
        let contribution = (power << 96) | (U256::from(1_000_000) << 192);
        world.state.set_slot(RESOURCES, alloy_primitives::keccak256(key).into(), contribution);
    }
    let sums = Mapping::at(1).slot_of(epoch) + U256::from(2);
    world.state.set_slot(RESOURCES, sums, (power * U256::from(count)) | (U256::from(count) << 192));
}

#[test]
fn closing_and_claiming_cost_the_same_however_many_contribute() {
    let costs = [10, 2_000, 100_000].map(|count| {
        let mut case = Case::before_epoch_1();
        write_contributors(&mut case.world, 0, count);
        case.go_before(2 * EPOCH_BLOCKS);
        let hook = onEpochCall { parent: B256::repeat_byte(3) }.abi_encode();
        let hook = case.world.call(SYSTEM_ADDRESS, RESOURCES, U256::ZERO, hook).expect("the chain's own").gas_used;
        let contributor = Address::from_word(U256::from(1_003).into());
        let reward = case.epoch_of(0).pot * U256::from(6_000) / U256::from(10_000) / U256::from(count);
        let claim = case.does(0, &claimCall { epoch: 0, contributor });
        assert_eq!(case.world.state.balance(contributor), reward);
        (hook, claim.cumulative_gas_used())
    });
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0], costs[2]);
    assert!(costs[0].0 < 200_000 && costs[0].1 < 150_000, "{:?}", costs[0]);
}
