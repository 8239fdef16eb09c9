//! What a benchmark says.

use serde::Serialize;
use std::fmt::Write as _;

/// The side of a bar on which a number must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BarIs {
    /// The number must be the bar or more.
    AtLeast,
    /// The number must be the bar or less.
    AtMost,
}

/// A bar, and whether a number reaches it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verdict {
    /// What the number must reach.
    pub bar: f64,
    /// From which side.
    pub bar_is: BarIs,
    /// Whether it does.
    pub met: bool,
}

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// Its bar, where it has one.
    #[serde(flatten)]
    pub verdict: Option<Verdict>,
    /// The number in every run, where the best of several counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<f64>,
}

impl Figure {
    /// Makes a figure without a bar.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, verdict: None, runs: Vec::new() }
    }

    /// Makes a figure of the greatest of several runs.
    pub fn most(name: impl Into<String>, runs: Vec<f64>, unit: &'static str) -> Self {
        Self { value: runs.iter().copied().fold(f64::NEG_INFINITY, f64::max), runs, ..Self::new(name, 0.0, unit) }
    }

    /// Makes a figure of the least of several runs.
    pub fn least(name: impl Into<String>, runs: Vec<f64>, unit: &'static str) -> Self {
        Self { value: runs.iter().copied().fold(f64::INFINITY, f64::min), runs, ..Self::new(name, 0.0, unit) }
    }

    /// Holds the figure against `bar`.
    #[must_use]
    pub fn held_against(mut self, bar_is: BarIs, bar: f64) -> Self {
        let met = match bar_is {
            BarIs::AtLeast => self.value >= bar,
            BarIs::AtMost => self.value <= bar,
        };
        self.verdict = Some(Verdict { bar, bar_is, met });
        self
    }

    /// How many times better than its bar the figure is; below 1 it is worse.
    fn margin(&self) -> Option<f64> {
        self.verdict.map(|verdict| match verdict.bar_is {
            BarIs::AtLeast => self.value / verdict.bar,
            BarIs::AtMost => verdict.bar / self.value,
        })
    }
}

/// The result of a benchmark; `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark's name.
    pub name: &'static str,
    /// Processor and cores.
    pub machine: String,
    /// What was measured of the project; each number with a bar carries it.
    pub figures: Vec<Figure>,
    /// What was measured of the peer in the same run, where there is one.
    pub reference: Option<Vec<Figure>>,
    /// Which figure the ratio is: of those with a bar, the one with the least margin.
    pub ratio_of: String,
    /// Its value.
    pub ratio: f64,
    /// What it must reach.
    pub bar: f64,
    /// From which side.
    pub bar_is: BarIs,
    /// Whether every figure reaches its bar.
    pub met: bool,
    /// What the numbers include and leave out.
    pub notes: Vec<&'static str>,
}

impl Report {
    /// Puts a report together; at least one figure has a bar.
    pub fn new(
        name: &'static str,
        figures: Vec<Figure>,
        reference: Option<Vec<Figure>>,
        notes: &[&'static str],
    ) -> Self {
        let margins = figures.iter().filter_map(|figure| Some((figure.margin()?, figure)));
        let (_, worst) =
            margins.min_by(|a, b| a.0.total_cmp(&b.0)).expect("every benchmark holds a figure against a bar");
        let verdict = worst.verdict.expect("a figure with a margin has a bar");
        let machine = bmm_vm::hardware::detect();
        Self {
            name,
            machine: format!("{}, {} cores", machine.cpu_model, machine.logical_cores),
            ratio_of: worst.name.clone(),
            ratio: worst.value,
            bar: verdict.bar,
            bar_is: verdict.bar_is,
            met: figures.iter().all(|figure| figure.verdict.is_none_or(|verdict| verdict.met)),
            figures,
            reference,
            notes: notes.to_vec(),
        }
    }

    /// Renders a table for people.
    pub fn table(&self) -> String {
        let mut out = format!("{} ({})\n", self.name, self.machine);
        let rows = self.figures.iter().map(|figure| ("", figure));
        let reference = self.reference.iter().flatten().map(|figure| ("peer: ", figure));
        for (prefix, figure) in rows.chain(reference) {
            let label = format!("{prefix}{}", figure.name);
            let _ = write!(out, "  {label:<56} {:>14} {:<8}", number(figure.value), figure.unit);
            if let Some(Verdict { bar, bar_is, met }) = figure.verdict {
                let sign = if bar_is == BarIs::AtLeast { '≥' } else { '≤' };
                let _ = write!(out, " bar {sign} {}: {}", number(bar), if met { "met" } else { "NOT MET" });
            }
            if figure.runs.len() > 1 {
                let runs: Vec<String> = figure.runs.iter().map(|run| number(*run)).collect();
                let _ = write!(out, " of {}", runs.join(", "));
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(out, "  {note}");
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// Writes a number with as many digits as people read.
fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_with_the_least_margin_is_the_ratio() {
        let near = Figure::new("near", 1.35, "x").held_against(BarIs::AtMost, 1.4);
        let far = Figure::new("far", 30_000.0, "1/s").held_against(BarIs::AtLeast, 20_000.0);
        let report = Report::new("test", vec![far.clone(), near, Figure::new("plain", 0.1, "s")], None, &[]);
        assert!(report.ratio_of == "near" && report.met && report.bar_is == BarIs::AtMost);
        let missed = Figure::new("missed", 1.5, "x").held_against(BarIs::AtMost, 1.4);
        let report = Report::new("test", vec![far, missed], None, &[]);
        assert!(report.ratio_of == "missed" && !report.met);
        assert!(report.table().contains("NOT MET"));
    }

    #[test]
    fn the_object_has_plain_names() {
        let figure = Figure::new("speed", 2.0, "1/s").held_against(BarIs::AtLeast, 1.0);
        let report = Report::new("test", vec![figure, Figure::new("plain", 3.0, "s")], None, &["a note"]);
        let object = serde_json::to_value(&report).expect("a report is plain values");
        assert_eq!((&object["ratio"], &object["bar"], &object["met"]), (&2.0.into(), &1.0.into(), &true.into()));
        assert_eq!(object["bar_is"], "at_least");
        assert!(object["reference"].is_null() && object["figures"][1].get("bar").is_none());
        assert_eq!(object["figures"][0]["bar"], 1.0);
    }
}
