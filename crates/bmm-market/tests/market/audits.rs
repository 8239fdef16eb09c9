//! Jobs with audits: cheats are caught and unpaid, what they did is done again, and honest work is hardly run twice.

use bmm_market::requester::{Ending, JobFailure};
use bmm_types::market::{Audit, Checker, Content, Verify};
use bmm_types::{Amount, market::MAX_TASKS};

use super::fixtures::{Manners, Program, Random};
use super::world::{Plan, World};

const AUDIT: Verify = Verify::Audit(Audit { floor_ppm: 20_000 });

fn plan(seed: u64, tasks: u64, providers: usize) -> Plan {
    assert!(tasks < MAX_TASKS);
    Plan {
        seed,
        tasks,
        verify: AUDIT,
        escrow: Amount::from_bmm(1_000),
        manners: vec![Manners::default(); providers],
        program: Program { micros: 5_000, fails_on: None, large_outputs: false },
        disconnects: 0,
        pauses: 0,
        crashes: 0,
        own_checks: 1,
        stake: Amount::ZERO,
    }
}

/// Counts the tasks whose result is not what the program gives, or that cost more fuel than it takes.
fn wrong(world: &World) -> u64 {
    let is_wrong = |task: &u64| {
        let result = world.requester.result(*task).expect("a complete job has every result");
        result.content != Content::of(&world.plan.program.bytes(*task)) || result.fuel != Program::fuel(*task)
    };
    (0..world.plan.tasks).filter(is_wrong).count() as u64
}

/// Whether a host was excluded as wrong; `None` if it never worked.
fn caught(world: &World, host: usize) -> bool {
    world.requester.progress(0).providers.iter().any(|provider| {
        provider.provider == world.address(host) && provider.refused.as_ref().is_some_and(|why| why.contains("others"))
    })
}

fn accepted(world: &World, host: usize) -> u64 {
    let found = world.requester.progress(0).providers.into_iter().find(|p| p.provider == world.address(host));
    found.map_or(0, |provider| provider.standing.accepted)
}

#[test]
fn honest_providers_run_little_twice() {
    for (seed, own_checks) in [(1, 0), (2, 1), (3, 4)] {
        let mut plan = plan(seed, 10_000, 5);
        plan.own_checks = own_checks;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete);
        assert_eq!(wrong(&world), 0);
        let all = world.runs + world.own_runs;
        assert!(all * 10 < world.plan.tasks * 11, "seed {seed}: {all} runs of {} tasks", world.plan.tasks);
        let checked = (0..10_000).filter(|task| world.requester.result(*task).unwrap().checked).count();
        assert!(checked > 200, "only {checked} results were looked at");
    }
}

/// A world with some that are wrong now and then, one that claims fuel, losses and crashes.
fn world_with_cheats(seed: u64) {
    let mut random = Random(seed);
    let mut plan = plan(seed, 100 + random.below(200), 6);
    plan.own_checks = u16::try_from(random.below(3)).unwrap();
    plan.crashes = random.below(4);
    plan.disconnects = random.below(4);
    plan.program.large_outputs = random.percent(50);
    plan.stake = Amount::from_units(u128::from(random.below(2)) * 5_000_000_000_000_000_000);
    plan.manners[0].wrong = 40 + random.below(61);
    plan.manners[1].greed = 2 + random.below(1_000);
    let mut world = World::new(plan);
    assert_eq!(world.run(), Ending::Complete, "seed {seed}");
    assert_eq!(wrong(&world), 0, "seed {seed}: wrong results were kept");
    // Who claims fuel in every result is caught by the first that anybody looks at.
    assert!(caught(&world, 1) || accepted(&world, 1) == 0, "seed {seed}: claims of fuel were paid");
    for host in 2..6 {
        assert!(!caught(&world, host), "seed {seed}: an honest host was excluded");
        assert!(!world.taken.contains_key(&world.address(host)), "seed {seed}: an honest host lost its stake");
    }
}

#[test]
fn cheats_are_caught_whatever_else_happens() {
    (0..60).for_each(world_with_cheats);
}

#[test]
#[ignore = "takes minutes: cargo test --release -p bmm-market -- --ignored audits_in_thousands"]
fn audits_in_thousands_of_worlds() {
    (100..3_000).for_each(world_with_cheats);
}

#[test]
fn stakes_are_taken_by_what_was_signed() {
    let mut taken = 0;
    for seed in 0..20 {
        let mut plan = plan(seed, 100, 6);
        plan.own_checks = 0;
        plan.crashes = seed % 3;
        plan.stake = Amount::from_bmm(5);
        plan.manners[0].wrong = 100;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        if caught(&world, 0) {
            assert!(world.taken.contains_key(&world.address(0)), "seed {seed}: caught, and the stake is still there");
            taken += 1;
        }
        assert!(world.taken.len() <= 1);
    }
    assert!(taken > 15, "{taken}");
}

#[test]
fn a_pair_that_belongs_together_is_found_out_by_the_others() {
    let (mut kept, mut found) = (0, 0);
    for seed in 0..20 {
        let mut plan = plan(seed, 400, 8);
        for cheat in &mut plan.manners[..2] {
            (cheat.wrong, cheat.colludes) = (100, true);
        }
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        kept += wrong(&world);
        found += u64::from(caught(&world, 0)) + u64::from(caught(&world, 1));
    }
    assert!(found >= 38, "{found} of 40 were caught");
    assert!(kept <= 8, "{kept} wrong results of 8000 were kept");
}

#[test]
fn a_verifier_says_of_each_result_whether_it_is_right() {
    for seed in 0..20 {
        let mut plan = plan(seed, 100, 3);
        let checker = Checker { app: Content::of(b"verifier"), floor_ppm: 1_000_000, listing: None };
        plan.verify = Verify::Checker(checker);
        plan.program.large_outputs = seed % 2 == 0;
        plan.crashes = seed % 4;
        plan.manners[0].wrong = 30;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        assert_eq!(wrong(&world), 0, "seed {seed}");
        assert!(caught(&world, 0) || accepted(&world, 0) < 20, "seed {seed}");
        assert!(world.own_runs >= 100, "seed {seed}: every result is judged");
    }
}

#[test]
fn two_who_say_that_the_program_fails_end_nothing_where_the_own_machine_can_look() {
    for (seed, verify) in [(0, AUDIT), (1, Verify::None), (2, Verify::Replicate(2))] {
        let mut plan = plan(seed, 60, 5);
        plan.verify = verify;
        plan.manners[0].breaks = true;
        plan.manners[1].breaks = true;
        let mut world = World::new(plan);
        assert_eq!(world.run(), Ending::Complete, "seed {seed}");
        assert_eq!(wrong(&world), 0, "seed {seed}");
        for host in 0..2 {
            assert_eq!(accepted(&world, host), 0, "seed {seed}");
        }
        // A program that does fail still ends the job.
        let mut plan = self::plan(seed, 60, 5);
        plan.verify = verify;
        plan.program.fails_on = Some(30);
        let mut world = World::new(plan);
        assert!(matches!(world.run(), Ending::Failed(JobFailure::Program { .. })), "seed {seed}");
    }
}
