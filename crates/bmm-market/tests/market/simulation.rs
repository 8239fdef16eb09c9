//! Random worlds by seed: whatever happens, each task counts once, the budget holds, wrong results lose, nothing is stuck.

use bmm_market::requester::{Ending, JobFailure, merkle_proof, merkle_verify};
use bmm_types::Amount;
use bmm_types::market::{Content, Verify};

use super::fixtures::{Manners, Program, Random};
use super::world::{Plan, World};

const SLOW: Program = Program { micros: 20_000, fails_on: None, large_outputs: false };

fn plan(seed: u64, verify: Verify, providers: usize) -> Plan {
    let manners = vec![Manners::default(); providers];
    let escrow = Amount::from_bmm(1_000);
    Plan {
        seed,
        tasks: 120,
        verify,
        escrow,
        manners,
        program: SLOW,
        disconnects: 0,
        pauses: 0,
        crashes: 0,
        own_checks: 0,
        stake: Amount::ZERO,
    }
}

/// Holds a finished world to what every complete job must satisfy.
fn check_complete(world: &World) {
    let (seed, tasks) = (world.plan.seed, world.plan.tasks);
    let mut paid = 0u64;
    for task in 0..tasks {
        let result = world.requester.result(task).unwrap_or_else(|| panic!("seed {seed}: task {task} has no result"));
        assert_eq!(result.content, Content::of(&world.plan.program.bytes(task)), "seed {seed}: task {task} is wrong");
        assert!(world.store.contains_key(&result.content.hash), "seed {seed}: the bytes of task {task} are missing");
        assert!((1..=world.plan.verify.copies()).contains(&result.paid), "seed {seed}: paid {} times", result.paid);
        assert_eq!(result.fuel, Program::fuel(task), "seed {seed}: task {task} is paid for more than its fuel");
        paid += u64::from(result.paid);
    }
    let accepted = world.requester.accepted();
    assert_eq!(accepted.iter().map(|accepted| accepted.tasks).sum::<u64>(), paid, "seed {seed}");
    let settlement = world.settlements.last().unwrap();
    assert!(settlement.providers.is_sorted_by(|a, b| a.provider < b.provider));
    for total in &settlement.providers {
        let own = accepted.iter().filter(|accepted| accepted.provider == total.provider);
        assert_eq!(own.clone().map(|accepted| accepted.amount).sum::<Amount>(), total.total, "seed {seed}");
        assert_eq!(own.map(|accepted| accepted.tasks).sum::<u64>(), total.tasks, "seed {seed}");
        let most = world.price(total.provider).mul_div(total.fuel.into(), 1_000_000_000).unwrap();
        assert!(total.total <= most, "seed {seed}: paid above the price");
        let voucher = world.vouchers.get(&total.provider).copied().unwrap_or_default();
        assert!(voucher <= total.total, "seed {seed}: settled below a voucher");
    }
    let leaves: Vec<_> = accepted.iter().map(|accepted| accepted.leaf(settlement.job)).collect();
    let proof = merkle_proof(&leaves, leaves.len() / 2).unwrap();
    assert!(merkle_verify(&proof, settlement.root, leaves[leaves.len() / 2]));
}

#[test]
fn honest_providers_finish_with_little_waste() {
    for seed in 0..10 {
        let mut world = World::new(plan(seed, Verify::None, 3));
        assert_eq!(world.run(), Ending::Complete);
        check_complete(&world);
        let waste = world.runs - world.plan.tasks;
        assert!(waste <= 2 * world.slots(), "seed {seed}: {waste} runs too many");
        let tasks: u64 = world.requester.accepted().iter().map(|accepted| accepted.tasks).sum();
        assert_eq!(tasks, world.plan.tasks);
    }
}

/// A world with losses, pauses, crashes, duplicates, a slow provider and one that fails now and then.
fn rough_world(seed: u64) {
    let mut random = Random(seed ^ 0xface);
    let verify = [Verify::None, Verify::Replicate(2), Verify::Replicate(3)][usize::try_from(seed % 3).unwrap()];
    let providers = 1 + usize::from(verify.copies()) + usize::try_from(random.below(3)).unwrap();
    let mut plan = plan(seed, verify, providers);
    plan.tasks = 1 + random.below(150);
    plan.disconnects = random.below(8);
    plan.pauses = random.below(8);
    plan.crashes = random.below(6);
    plan.program.large_outputs = random.percent(50);
    plan.program.micros = [300, 5_000, 100_000][usize::try_from(random.below(3)).unwrap()];
    plan.manners[0].slow = 1 + random.below(20);
    plan.manners[0].host_fails = random.below(20);
    let mut world = World::new(plan);
    assert_eq!(world.run(), Ending::Complete, "seed {seed}");
    check_complete(&world);
}

/// A world with one provider that lies in its results and one that lies about its fuel.
fn dishonest_world(seed: u64) {
    let mut random = Random(seed);
    let mut plan = plan(seed, Verify::Replicate(3), 6);
    plan.tasks = 1 + random.below(100);
    plan.crashes = random.below(3);
    plan.disconnects = random.below(4);
    plan.program.large_outputs = random.percent(30);
    plan.manners[0].wrong = 1 + random.below(100);
    plan.manners[1].greed = 1_000;
    let mut world = World::new(plan);
    assert_eq!(world.run(), Ending::Complete, "seed {seed}");
    check_complete(&world);
}

#[test]
fn losses_pauses_crashes_and_duplicates_change_nothing() {
    (0..60).for_each(rough_world);
}

#[test]
fn a_wrong_minority_never_wins_and_is_never_overpaid() {
    (100..140).for_each(dishonest_world);
}

#[test]
fn a_single_provider_that_is_paused_again_and_again_finishes() {
    for seed in 0..100 {
        let mut plan = plan(seed, Verify::None, 1);
        plan.pauses = 8;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        check_complete(&world);
    }
}

#[test]
#[ignore = "takes minutes: cargo test --release -p bmm-market -- --ignored thousands"]
fn thousands_of_worlds() {
    (1_000..4_000).for_each(rough_world);
    (4_000..5_000).for_each(dishonest_world);
}

#[test]
fn a_program_that_fails_stops_the_job_early_and_shows_its_stderr() {
    for (seed, providers) in [(1, 1), (2, 2), (3, 4)] {
        for fails_on in [0, 60, 119] {
            let mut plan = plan(seed, Verify::None, providers);
            plan.program.fails_on = Some(fails_on);
            let mut world = World::new(plan);
            let Ending::Failed(failure @ JobFailure::Program { .. }) = world.run() else { panic!("{:?}", world.over) };
            let text = failure.to_string();
            assert!(text.contains(&format!("task {fails_on} ")) && text.contains("panicked at line 7"), "{text}");
            if fails_on == 0 {
                assert!(world.runs <= 8 * world.slots() + 8, "{} runs of a doomed job", world.runs);
            }
            assert!(!world.settlements.is_empty(), "what was done is paid");
        }
    }
}

#[test]
fn the_budget_is_never_passed_and_says_so() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut plan = plan(seed, [Verify::None, Verify::Replicate(2)][usize::try_from(seed % 2).unwrap()], 3);
        // A task costs 1 to 5 µBMM.
        plan.escrow = Amount::from_units(u128::from(1 + random.below(100)) * 1_000_000_000_000);
        plan.crashes = random.below(3);
        let escrow = plan.escrow;
        let mut world = World::new(plan);
        let Ending::Failed(failure @ JobFailure::Budget { .. }) = world.run() else {
            panic!("seed {seed}: {:?}", world.over)
        };
        assert!(failure.to_string().contains("raise budget.max"));
        assert!(world.settlements.last().unwrap().total() <= escrow, "seed {seed}");
    }
}

#[test]
fn hosts_that_cannot_do_it_are_left_for_others() {
    for seed in 0..10 {
        let mut plan = plan(seed, Verify::None, 3);
        plan.manners[0].host_fails = 100;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        check_complete(&world);
    }
}

#[test]
fn too_few_operators_is_said_and_not_waited_for_for_ever() {
    let mut world = World::new(plan(5, Verify::Replicate(3), 1));
    let Ending::Failed(failure @ JobFailure::Stalled { .. }) = world.run() else { panic!("{:?}", world.over) };
    assert!(failure.to_string().contains("needs 3 operators"), "{failure}");
}

#[test]
fn a_program_that_is_not_deterministic_is_told_so() {
    let mut plan = plan(6, Verify::Replicate(2), 7);
    plan.manners.iter_mut().for_each(|manners| manners.wrong = 100);
    let mut world = World::new(plan);
    let Ending::Failed(failure @ JobFailure::Disagreement { .. }) = world.run() else { panic!("{:?}", world.over) };
    assert!(failure.to_string().contains("canonical_nans"), "{failure}");
}
