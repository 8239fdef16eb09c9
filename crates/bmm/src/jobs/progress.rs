//! How far a job is, for people: a bar on a terminal, a line now and then elsewhere, and a file for `bmm job watch`.

use super::{folder::JobFolder, quote::people_time, receipt::gfuel};
use crate::{cli::Context, output, paths::write_atomically};
use bmm_market::requester::Progress;
use bmm_types::market::JobSpec;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    fmt::Write as _,
    io::IsTerminal,
    time::{Duration, Instant},
};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Time between two versions of the file.
const FILE_EVERY: Duration = Duration::from_secs(1);

/// Shows one job's progress.
pub struct ProgressView {
    json: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
    last_file: Instant,
}

impl ProgressView {
    /// Begins to show a job.
    pub fn new(context: &Context, spec: &JobSpec) -> Self {
        let json = context.global.json;
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:32.cyan/dim} {pos}/{len}  {msg}")
                .expect("the template is right");
            let bar = ProgressBar::with_draw_target(spec.tasks().ok(), ProgressDrawTarget::stderr());
            bar.with_style(style.progress_chars("━╸─")).with_prefix(spec.name.clone())
        });
        let now = Instant::now();
        Self { json, bar, last_line: now, last_file: now }
    }

    /// Shows the state of now.
    pub fn show(&mut self, progress: &Progress, folder: &JobFolder) {
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
            bar.set_message(details(progress));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            output::note(self.json, line(progress));
        }
        if self.last_file.elapsed() >= FILE_EVERY {
            self.last_file = Instant::now();
            // Only `bmm job watch` reads it; a full disk shows elsewhere.
            let _ = write_atomically(&folder.path().join("progress"), line(progress).as_bytes());
        }
    }

    /// Shows that the results are put together.
    pub fn merging(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(bar.length().unwrap_or(0));
        }
        self.say("merging the results");
    }

    /// Shows that the providers are paid.
    pub fn settling(&self) {
        self.say("settling on chain");
    }

    fn say(&self, what: &'static str) {
        match &self.bar {
            Some(bar) => bar.set_message(what),
            None => output::note(self.json, what),
        }
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(progress: &Progress) -> String {
    format!("{}/{} tasks, {}", progress.done, progress.tasks, details(progress))
}

fn details(progress: &Progress) -> String {
    let mut text = format!("{}, {}", gfuel(progress.fuel), progress.spent);
    if let Some(micros) = progress.left_micros {
        let _ = write!(text, ", {} left", people_time(micros / 1_000));
    }
    text
}

/// Reads what the process that works on a job last wrote of its progress.
pub fn read_progress(folder: &JobFolder) -> Option<String> {
    std::fs::read_to_string(folder.path().join("progress")).ok()
}
