//! The report: integers and fractions of integers only, so that it is the same text on every machine.

use std::fmt::Write as _;

use bmm_types::market::Verify;
use serde::Serialize;

use super::manners::Kind;
use super::options::Options;
use super::outcome::{KindSums, Outcome};

/// What all runs together came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// What was counted.
    pub outcome: Outcome,
    /// Accepted results that are wrong, for 10^9 accepted ones.
    pub wrong_per_billion: u128,
    /// Runs for 1,000 accepted results.
    pub runs_per_thousand: u128,
    /// Whether the bars are met: fewer than 10^5 wrong results for 10^9 where results are verified, and with audits fewer than
    /// 1,100 runs for 1,000 results.
    pub met: bool,
}

/// Writes `a / b` with some decimals, rounded down; a dash where `b` is zero.
fn fraction(a: u128, b: u128, decimals: u32) -> String {
    let unit = 10u128.pow(decimals);
    let Some(whole) = a.saturating_mul(unit).checked_div(b) else { return "-".to_owned() };
    if decimals == 0 {
        return whole.to_string();
    }
    let width = decimals as usize;
    format!("{}.{:0width$}", whole / unit, whole % unit)
}

/// Draws up to `most` blocks for the share `a / b`.
fn blocks(a: u128, b: u128, most: u128) -> String {
    let count = a.saturating_mul(most).checked_div(b).unwrap_or(0).min(most);
    "#".repeat(usize::try_from(count).unwrap_or(0))
}

/// Most wrong results for 10^9 accepted ones.
const MAX_WRONG_PER_BILLION: u128 = 100_000;
/// Most runs for 1,000 accepted results in a job with audits.
const MAX_RUNS_PER_THOUSAND: u128 = 1_100;
/// Units in a BMM.
const BMM: u128 = 1_000_000_000_000_000_000;

impl Report {
    /// Makes the report of some runs.
    pub fn new(options: Options, outcome: Outcome) -> Self {
        let done = u128::from(outcome.done);
        let per = |count: u64, unit: u128| (u128::from(count) * unit).checked_div(done).unwrap_or(0);
        let wrong_per_billion = per(outcome.wrong_accepted, 1_000_000_000);
        let runs_per_thousand = per(outcome.runs, 1_000);
        let right = options.mode == Verify::None || wrong_per_billion < MAX_WRONG_PER_BILLION;
        let cheap = !matches!(options.mode, Verify::Audit(_)) || runs_per_thousand < MAX_RUNS_PER_THOUSAND;
        let met = right && cheap;
        Self { options, outcome, wrong_per_billion, runs_per_thousand, met }
    }

    /// Tells whether every bar is met.
    pub fn met(&self) -> bool {
        self.met
    }

    /// Returns one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain values")
    }

    /// Returns tables for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_all(&mut text).expect("a String takes all that is written");
        text
    }

    fn write_all(&self, text: &mut String) -> std::fmt::Result {
        let (options, sums) = (&self.options, &self.outcome);
        writeln!(
            text,
            "{} providers, {} % cheaters, {} % churn, {} % loss; {} requesters of {} tasks; {:?}; seeds {} to {}\n",
            options.providers,
            fraction(options.cheaters.0.into(), 10_000, 2),
            fraction(options.churn.0.into(), 10_000, 2),
            fraction(options.loss.0.into(), 10_000, 3),
            options.requesters,
            options.tasks(),
            options.mode,
            options.first_seed,
            options.first_seed.wrapping_add(u64::from(options.seeds) - 1),
        )?;
        let (done, seeds) = (u128::from(sums.done), u128::from(options.seeds));
        let mut row = |name: &str, value: String, note: &str| writeln!(text, "{name:<30} {value:>16}  {note}");
        row("tasks accepted", sums.done.to_string(), &format!("of {}", sums.tasks))?;
        let rate = format!("{} for a million; bar 100", fraction(self.wrong_per_billion, 1_000, 2));
        row("wrong results accepted", sums.wrong_accepted.to_string(), &rate)?;
        row(
            "runs of each task",
            fraction(sums.runs.into(), done, 4),
            "all that came to an end, whoever did them; bar 1.1 with audits",
        )?;
        if sums.own_checks > 0 {
            row("of these on own machines", fraction(sums.own_checks.into(), done, 4), "not counted above")?;
        }
        row("paid results of each task", fraction(sums.paid_results.into(), done, 4), "")?;
        let millis = |micros: u64| fraction(micros.into(), seeds * 1_000_000, 1);
        row("makespan, s", millis(sums.makespan_micros), &format!("mean; ideal {}", millis(sums.ideal_micros)))?;
        row("of the ideal", fraction(sums.makespan_micros.into(), sums.ideal_micros.into(), 3), "times")?;
        row("to requesters, B a task", fraction(sums.bytes_to_requesters.into(), done, 1), "")?;
        row("to providers, B a task", fraction(sums.bytes_to_providers.into(), done, 1), "")?;
        row("messages a task", fraction(sums.messages.into(), done, 3), "")?;
        row("connections broken", sums.breaks.to_string(), "")?;
        row("transactions a job", fraction(sums.transactions.into(), seeds * u128::from(options.requesters), 1), "")?;
        if sums.abandoned_worth > 0 {
            let unpaid = sums.abandoned_worth.saturating_sub(sums.abandoned_paid);
            let share = fraction(unpaid * 100, sums.abandoned_worth, 2);
            row("unpaid by vanished, %", share, "of what honest providers delivered to them")?;
        }
        self.write_kinds(text)?;
        for (why, count) in &sums.failures {
            writeln!(text, "\n{count} jobs {why}")?;
        }
        if !sums.seeds_to_look_at.is_empty() {
            writeln!(text, "\nseeds to look at: {:?}", sums.seeds_to_look_at)?;
        }
        writeln!(text, "\n{}", if self.met { "every bar is met" } else { "a bar is not met" })
    }

    fn write_kinds(&self, text: &mut String) -> std::fmt::Result {
        let kinds = &self.outcome.kinds;
        let mean = |sums: &KindSums| sums.earned.checked_div(sums.providers.into()).unwrap_or(0);
        let honest = kinds.get(&Kind::Honest).map_or(0, mean);
        writeln!(
            text,
            "\n{:<9} {:>9} {:>8} {:>12} {:>7} {:>10} {:>10} {:>12}  earned each, of what an honest one does",
            "kind", "providers", "caught", "after, mean", "most", "results", "wrong", "earned, BMM"
        )?;
        for (kind, sums) in kinds {
            writeln!(
                text,
                "{:<9} {:>9} {:>8} {:>12} {:>7} {:>10} {:>10} {:>12}  {:>6} {}",
                kind.name(),
                sums.providers,
                sums.caught,
                fraction(sums.results_until_caught.into(), sums.caught.into(), 1),
                sums.most_until_caught,
                sums.results,
                sums.wrong,
                fraction(sums.earned, BMM, 3),
                fraction(mean(sums), honest, 2),
                blocks(mean(sums), honest.saturating_mul(2), 40),
            )?;
        }
        Ok(())
    }
}
