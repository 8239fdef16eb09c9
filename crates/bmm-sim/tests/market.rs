//! Small markets: the same seed gives the same report, and trouble costs nobody what it must not.

use bmm_sim::market::{Kind, Options, Report, run};
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn market(line: &str) -> Report {
    run(&Cli::parse_from(format!("market {line}").split_whitespace()).options)
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let line = "--providers 40 --tasks 600 --seeds 3 --churn 30% --loss 0.5% --crashes 2 --requesters 2 --mode audit";
    let (one, two) = (market(&format!("{line} --threads 1")), market(&format!("{line} --threads 3")));
    assert_eq!(one.to_json(), two.to_json());
    assert_eq!(one.to_text(), two.to_text());
    let other = market(&format!("{line} --first-seed 9"));
    assert_ne!(one.outcome, other.outcome);
}

#[test]
fn real_signatures_change_nothing() {
    let line = "--providers 12 --tasks 100 --seeds 1 --mode replicate:3 --kinds wrong,sleeper";
    let (signed, unsigned) = (market(&format!("{line} --sign")), market(line));
    assert_eq!(signed.outcome, unsigned.outcome);
}

#[test]
fn honest_markets_finish_with_little_waste() {
    let report = market("--providers 50 --cheaters 0% --tasks 1000 --seeds 3 --mode none");
    let sums = &report.outcome;
    assert_eq!((sums.done, sums.wrong_accepted, sums.failures.len()), (sums.tasks, 0, 0));
    assert!(report.runs_per_thousand < 1_100, "{}", report.to_text());
    assert_eq!(sums.paid_results, sums.done);
}

#[test]
fn silent_providers_hold_nothing_up() {
    let report = market("--providers 30 --cheaters 60% --kinds silent --tasks 600 --seeds 3 --mode none --churn 0%");
    assert!(report.outcome.failures.is_empty(), "{}", report.to_text());
    assert_eq!(report.outcome.done, report.outcome.tasks);
}

#[test]
fn every_lone_liar_is_caught_by_replication_and_no_honest_provider() {
    let report = market(
        "--providers 50 --cheaters 20% --kinds wrong --tasks 1000 --seeds 4 --mode replicate:3 --churn 20% --loss 0.5%",
    );
    let (sums, text) = (&report.outcome, report.to_text());
    assert_eq!((sums.done, sums.wrong_accepted), (sums.tasks, 0), "{text}");
    assert_eq!(sums.kinds[&Kind::Honest].caught, 0, "{text}");
    assert!(sums.kinds[&Kind::Wrong].caught * 10 >= sums.kinds[&Kind::Wrong].providers * 9, "{text}");
}

#[test]
fn a_requester_that_vanishes_owes_little() {
    let report = market("--providers 20 --cheaters 0% --tasks 2000 --seeds 4 --mode none --vanish 100% --churn 0%");
    let sums = &report.outcome;
    assert!(sums.abandoned_worth > 0 && sums.abandoned_paid <= sums.abandoned_worth);
    // A batch or two of each provider, of the few that each had delivered.
    assert!(sums.abandoned_paid * 100 >= sums.abandoned_worth * 80, "{}", report.to_text());
}

#[test]
fn audits_find_every_kind_of_cheat_cheaply() {
    let report = market("--providers 50 --cheaters 10% --tasks 15000 --seeds 2 --kinds wrong,collude,copy,lazy");
    let (sums, text) = (&report.outcome, report.to_text());
    assert_eq!((sums.done, sums.wrong_accepted, sums.failures.len()), (sums.tasks, 0, 0), "{text}");
    let (honest, caught) = (&sums.kinds[&Kind::Honest], |kind| sums.kinds[&kind].caught);
    assert!(honest.caught * 20 < honest.providers, "{text}");
    assert!(caught(Kind::Wrong) > 0 && caught(Kind::Collude) > 0 && caught(Kind::Lazy) > 0, "{text}");
    assert!(report.runs_per_thousand < 1_150, "{text}");
}

#[test]
fn verifiers_find_what_is_wrong_without_second_runs() {
    let report = market(
        "--providers 30 --cheaters 20% --tasks 600 --seeds 2 --kinds collude,lazy --mode checker:100% --own-checks 4",
    );
    let (sums, text) = (&report.outcome, report.to_text());
    assert_eq!((sums.done, sums.wrong_accepted, sums.kinds[&Kind::Honest].caught), (sums.tasks, 0, 0), "{text}");
    assert!(sums.kinds[&Kind::Collude].earned == 0 && sums.kinds[&Kind::Lazy].earned == 0, "{text}");
}
