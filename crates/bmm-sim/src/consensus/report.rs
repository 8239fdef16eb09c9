//! The report: integers only, so that it is the same text on every machine.

use super::{options::Options, outcome::Outcome};
use serde::Serialize;
use std::fmt::Write as _;

/// What all runs together came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// What was counted.
    pub outcome: Outcome,
    /// Whether nothing conflicting became final unless a third of the weight contradicted itself, every such third lost its bond, and finality
    /// came back in time wherever two thirds were honest.
    pub met: bool,
}

impl Report {
    /// Makes the report of some runs.
    pub fn new(options: Options, outcome: Outcome) -> Self {
        let met = outcome.violations == 0 && outcome.stalls == 0 && outcome.not_slashed == 0;
        Self { options, outcome, met }
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
        let Outcome { seeds, seeds_of_a_third, blocks, bets, partitions, crashes, .. } = &self.outcome;
        let sums = &self.outcome;
        writeln!(text, "consensus: {} footstones, {seeds} seeds", self.options.footstones)?;
        for (name, value) in [
            ("seeds with a third or more of the weight cheating", seeds_of_a_third),
            ("blocks found", blocks),
            ("bets signed", bets),
            ("partitions", partitions),
            ("crashes", crashes),
            ("most blocks taken back at once", &sums.deepest_reorg),
            ("checkpoints made final", &sums.final_checkpoints),
        ] {
            writeln!(text, "  {name:<66} {value:>10}")?;
        }
        for (name, value, seeds) in [
            ("conflicting final checkpoints without a third's evidence", sums.violations, &sums.violating_seeds[..]),
            ("conflicting final checkpoints with a third's evidence", sums.conflicts_with_evidence, &[]),
            ("footstones that lost their bond by that evidence", sums.slashed, &[]),
            ("footstones that kept it", sums.not_slashed, &[]),
            ("no finality in time though two thirds are honest", sums.stalls, &sums.stalled_seeds[..]),
        ] {
            write!(text, "  {name:<66} {value:>10}")?;
            writeln!(text, "{}", if seeds.is_empty() { String::new() } else { format!("   seeds {seeds:?}") })?;
        }
        writeln!(text, "  checkpoints after the trouble until all honest nodes had a new final one:")?;
        let most = sums.waits.iter().copied().max().unwrap_or(0).max(1);
        for (checkpoints, runs) in sums.waits.iter().enumerate().filter(|(_, runs)| **runs > 0) {
            let bar = "#".repeat(usize::try_from((runs * 40).div_ceil(most)).unwrap_or(0));
            writeln!(text, "    {checkpoints:>3}  {runs:>8}  {bar}")?;
        }
        writeln!(text, "{}", if self.met { "every bar is met" } else { "NOT every bar is met" })
    }
}
