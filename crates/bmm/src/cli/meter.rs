//! How far a long command is: a bar with rate and time left on a terminal, a line now and then elsewhere, nothing under `--json`.

use crate::output;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, named by the message.
    Count,
    /// Bytes.
    Bytes,
    /// A part of the whole, shown in percent.
    Share,
}

/// Shows how far a command is.
pub struct Meter {
    json: bool,
    unit: Unit,
    what: &'static str,
    whole: Option<u64>,
    begun: Instant,
    last: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Begins to show `what`, of which there is `whole` (`None`: not known).
    pub fn new(json: bool, what: &'static str, unit: Unit, whole: Option<u64>) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let template = match (unit, whole) {
                (Unit::Bytes, Some(_)) => "{prefix} {bar:32.cyan/dim} {bytes}/{total_bytes}  {msg}  {eta} left",
                (Unit::Bytes, None) => "{prefix} {spinner} {bytes}  {msg}",
                (Unit::Share, Some(_)) => "{prefix} {bar:32.cyan/dim} {percent_precise} %  {msg}  {eta} left",
                (Unit::Count, Some(_)) => "{prefix} {bar:32.cyan/dim} {pos}/{len}  {msg}  {eta} left",
                (Unit::Count | Unit::Share, None) => "{prefix} {spinner} {pos}  {msg}",
            };
            let style = ProgressStyle::with_template(template).expect("the template is right");
            let bar = ProgressBar::with_draw_target(whole, ProgressDrawTarget::stderr());
            bar.with_style(style.progress_chars("━╸─")).with_prefix(what)
        });
        let now = Instant::now();
        Self { json, unit, what, whole, begun: now, last: now, bar }
    }

    /// Returns the time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Shows that `done` is done; `details` makes what else there is to say, such as a rate.
    pub fn show(&mut self, done: u64, details: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(details());
        } else if !self.json && self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            let told = |count: u64| match self.unit {
                Unit::Count => count.to_string(),
                Unit::Share => format!("{:.1} %", share(count, self.whole)),
                Unit::Bytes => HumanBytes(count).to_string(),
            };
            let of = self
                .whole
                .filter(|_| self.unit != Unit::Share)
                .map(|whole| format!(" of {}", told(whole)))
                .unwrap_or_default();
            output::note(false, format!("{}: {}{of}, {}", self.what, told(done), details()));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns `count` in percent of `whole`.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(count: u64, whole: Option<u64>) -> f64 {
    count as f64 * 100.0 / whole.unwrap_or(1).max(1) as f64
}

/// Returns how many a second `count` in `time` are.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-3)
}
