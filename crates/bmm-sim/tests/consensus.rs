//! Small networks of footstones: nothing conflicting becomes final, and the same seed gives the same report.

use bmm_sim::consensus::{Options, Report, run};
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn consensus(line: &str) -> Report {
    run(&Cli::parse_from(format!("consensus {line}").split_whitespace()).options)
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let (one, two) = (consensus("--seeds 4 --threads 1"), consensus("--seeds 4 --threads 3"));
    assert_eq!(one.to_text(), two.to_text());
    assert_ne!(one.outcome, consensus("--seeds 4 --first-seed 9").outcome);
}

/// CI's part of the long run that docs/footstones.md tells of.
#[test]
fn less_than_a_third_makes_nothing_conflicting_final_and_finality_comes_back() {
    let report = consensus("--seeds 60 --first-seed 100000");
    assert!(report.met(), "{}", report.to_text());
    assert_eq!(report.outcome.seeds_of_a_third, 0);
    assert!(report.outcome.final_checkpoints > 60 * 9, "{}", report.to_text());
    assert!(report.outcome.partitions > 10 && report.outcome.crashes > 10);
}

#[test]
fn more_than_a_third_can_and_loses_its_bonds() {
    let report = consensus("--seeds 24 --first-seed 1 --byzantine 60% --trouble 150");
    assert!(report.met(), "{}", report.to_text());
    let sums = &report.outcome;
    assert_eq!(sums.seeds_of_a_third, sums.seeds);
    assert!(sums.conflicts_with_evidence > 0 && sums.slashed > 0, "{}", report.to_text());
}
