//! What a benchmark says.

use serde::Serialize;
use std::fmt::Write as _;

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// The value that a ratio must reach.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// The ratio must be this or more.
    AtLeast(f64),
    /// The ratio must be this or less.
    AtMost(f64),
}

impl Bar {
    /// Whether `ratio` reaches the bar.
    pub fn met_by(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bar) => ratio >= bar,
            Self::AtMost(bar) => ratio <= bar,
        }
    }
}

/// The result of a benchmark; `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark's name.
    pub name: &'static str,
    /// What was measured of the project.
    pub figures: Vec<Figure>,
    /// What was measured of the peer in the same run, where there is one.
    pub reference: Option<Vec<Figure>>,
    /// The number that is held against the bar.
    pub ratio: f64,
    /// What it must reach.
    pub bar: Bar,
    /// Whether it does.
    pub met: bool,
}

impl Report {
    /// Renders a table for people.
    pub fn table(&self) -> String {
        let mut out = format!("{}\n", self.name);
        let rows = self.figures.iter().map(|figure| ("", figure));
        let reference = self.reference.iter().flatten().map(|figure| ("peer: ", figure));
        for (prefix, figure) in rows.chain(reference) {
            let label = format!("{prefix}{}", figure.name);
            let _ = writeln!(out, "  {label:<48} {:>16.3} {}", figure.value, figure.unit);
        }
        let (sign, bar) = match self.bar {
            Bar::AtLeast(bar) => ("≥", bar),
            Bar::AtMost(bar) => ("≤", bar),
        };
        let verdict = if self.met { "met" } else { "NOT MET" };
        let _ = write!(out, "  {:<48} {:>16.3} (bar {sign} {bar}: {verdict})", "ratio", self.ratio);
        out
    }
}
