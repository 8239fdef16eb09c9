//! How far a job is, for people: a bar on a terminal, a line now and then elsewhere, and a file for `bmm job watch`.

use super::{folder::JobFolder, link::now_micros, quote::people_time, receipt::gfuel};
use crate::{cli::Context, output, paths::write_atomically};
use alloy_primitives::Address;
use bmm_market::requester::{Progress, Requester, TaskState};
use bmm_types::{Amount, ContentHash, market::JobSpec};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
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

    /// Shows the state of now; the last one, before the process ends or begins to wait for the chain, reaches the files in any case.
    pub fn show(&mut self, requester: &Requester, folder: &JobFolder, last: bool) {
        let progress = &requester.progress(now_micros());
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
            bar.set_message(details(progress));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            output::note(self.json, line(progress));
        }
        if last || self.last_file.elapsed() >= FILE_EVERY {
            self.last_file = Instant::now();
            // Only `bmm job watch` reads it; a full disk shows elsewhere.
            let _ = write_atomically(&folder.path().join("progress"), line(progress).as_bytes());
            let live = serde_json::to_vec(&Live::new(progress, requester, last)).expect("plain values");
            let _ = write_atomically(&folder.path().join("live.json"), &live);
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

/// Most tasks that are told of one by one.
const TOLD_TASKS: u64 = 4_096;
/// Most results that are named.
const TOLD_RESULTS: u64 = 256;

/// How far a job is, for pages and programs: `live.json` in the job's folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// Whether the process that wrote it works on no more tasks.
    pub last: bool,
    /// What it does now.
    pub phase: String,
    /// Tasks with a verified result.
    pub done: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Runs that are out.
    pub running: u64,
    /// Verified results a second.
    pub tasks_per_second: u64,
    /// Accepted pay.
    pub spent: Amount,
    /// What the whole job will cost, if that is known.
    pub projected: Option<Amount>,
    /// Seconds left, if that is known.
    pub left_secs: Option<u64>,
    /// The providers.
    pub providers: Vec<LiveProvider>,
    /// A digit for each of the first tasks: 0 waits, 1 runs, 2 is done, 3 failed, 4 is verified.
    pub states: String,
    /// Hashes of the first tasks' results.
    pub results: Vec<Option<ContentHash>>,
}

/// What one provider does for a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveProvider {
    /// Who.
    pub address: Address,
    /// Tasks that it has out.
    pub running: u64,
    /// Why it gets no work, if it does not.
    pub refused: Option<String>,
    /// Earned so far.
    pub total: Amount,
}

impl Live {
    fn new(progress: &Progress, requester: &Requester, last: bool) -> Self {
        let provider = |provider: &bmm_market::requester::ProviderProgress| LiveProvider {
            address: provider.provider,
            running: provider.running,
            refused: provider.refused.clone(),
            total: provider.total,
        };
        let digit = |state| match state {
            TaskState::Waiting => '0',
            TaskState::Running => '1',
            TaskState::Done => '2',
            TaskState::Failed => '3',
            TaskState::Checking => '4',
        };
        let result = |task| requester.result(task).map(|result| result.content.hash);
        Self {
            last,
            phase: format!("{:?}", progress.phase).to_lowercase(),
            done: progress.done,
            failures: progress.failures,
            running: progress.running,
            tasks_per_second: progress.tasks_per_second,
            spent: progress.spent,
            projected: progress.projected,
            left_secs: progress.left_micros.map(|micros| micros / 1_000_000),
            providers: progress.providers.iter().map(provider).collect(),
            states: requester.task_states(TOLD_TASKS).into_iter().map(digit).collect(),
            results: (0..progress.tasks.min(TOLD_RESULTS)).map(result).collect(),
        }
    }
}

/// Reads what the process that works on a job last wrote for pages.
pub fn read_live(folder: &JobFolder) -> Option<Live> {
    serde_json::from_slice(&std::fs::read(folder.path().join("live.json")).ok()?).ok()
}

/// Reads what the process that works on a job last wrote of its progress.
pub fn read_progress(folder: &JobFolder) -> Option<String> {
    std::fs::read_to_string(folder.path().join("progress")).ok()
}
