//! Foreign test vectors through the project's own import: Ethereum's blockchain tests with the engine `no-seal`, each executed on one
//! thread and on two.

mod case;
mod files;

use bmm_ledger::ExecMode;
use case::Case;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Threads that run cases while another one reads files.
const THREADS: usize = 2;

/// Files that wait to be run.
const WAITING: usize = 64;

/// The ways in which each case is executed.
const MODES: [(&str, ExecMode); 2] =
    [("sequential", ExecMode::Sequential), ("parallel", ExecMode::Parallel { threads: 2 })];

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Folder of Ethereum's blockchain tests: JSON files at any depth, and `.tar.zst` archives of such
    pub folder: PathBuf,
    /// Run only the cases whose file or name contains this text
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// A case that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failure {
    /// File that holds it.
    pub file: String,
    /// Its name.
    pub name: String,
    /// `sequential` or `parallel`; absent where the case could not be read.
    pub mode: Option<&'static str>,
    /// What differs.
    pub reason: String,
}

/// What became of all cases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Cases that are right in every mode.
    pub passed: usize,
    /// Cases that are not, or that could not be read.
    pub failed: usize,
    /// Why; one entry for each mode in which a case failed.
    pub failures: Vec<Failure>,
    /// Cases for rules that the ledger does not have, by network.
    pub skipped: BTreeMap<String, usize>,
    /// JSON files that hold no blockchain tests.
    pub other_files: usize,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        for (network, count) in other.skipped {
            *self.skipped.entry(network).or_default() += count;
        }
        self.other_files += other.other_files;
    }

    /// Returns whether at least one case ran and none failed.
    pub fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// Returns the report in words, a line for each failure.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Failure { file, name, mode, reason } in &self.failures {
            let mode = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
            let _ = writeln!(text, "FAILED {file}, {name}{mode}: {reason}");
        }
        let _ = write!(text, "{} passed, {} failed", self.passed, self.failed);
        for (network, count) in &self.skipped {
            let _ = write!(text, ", {count} skipped (rules of {network})");
        }
        if self.other_files > 0 {
            let _ = write!(text, ", {} files without blockchain tests", self.other_files);
        }
        if self.passed + self.failed == 0 {
            text.push_str("\nno case was run: the folder holds no blockchain test of Cancun or Osaka that was wanted");
        }
        text
    }
}

/// Runs all cases below the folder, telling on stderr how far it is.
///
/// # Errors
/// When a folder, file or archive cannot be read.
pub fn run(options: &Options) -> io::Result<Report> {
    let (sender, files) = sync_channel(WAITING);
    let (files, report) = (Mutex::new(files), Mutex::new(Report::default()));
    let mut progress = Progress::new();
    let read = thread::scope(|scope| {
        let runners: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| run_files(&files, options.only.as_deref(), &report))).collect();
        let read = files::for_each(&options.folder, &mut |path, text| {
            // Runners end only when this end is dropped, or by a panic, which comes up when they are joined.
            let _ = sender.send((path, text));
            progress.show(&report);
        });
        drop(sender);
        for runner in runners {
            runner.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        read
    });
    progress.end();
    read?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort();
    Ok(report)
}

/// A line on stderr: rewritten on a terminal, a new one now and then elsewhere.
struct Progress {
    terminal: bool,
    shown: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), shown: Instant::now() }
    }

    fn show(&mut self, report: &Mutex<Report>) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let report = report.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, end) = if self.terminal { ("\r", "") } else { ("", "\n") };
        let _ = write!(io::stderr(), "{start}{} passed, {} failed{end}", report.passed, report.failed);
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r{:40}\r", "");
        }
    }
}

/// Runs the cases of the files that come in, until no more come.
fn run_files(files: &Mutex<Receiver<(PathBuf, Vec<u8>)>>, only: Option<&str>, report: &Mutex<Report>) {
    loop {
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((path, text)) = next else { return };
        let done = run_file(&path, &text, only);
        report.lock().unwrap_or_else(PoisonError::into_inner).add(done);
    }
}

fn run_file(path: &Path, text: &[u8], only: Option<&str>) -> Report {
    let file = path.display().to_string();
    let mut report = Report::default();
    let is_wanted = |name: &str| only.is_none_or(|only| file.contains(only) || name.contains(only));
    let fail = |report: &mut Report, name: &str, reason: String| {
        report.failed += 1;
        report.failures.push(Failure { file: file.clone(), name: name.into(), mode: None, reason });
    };
    let cases = match serde_json::from_slice::<BTreeMap<String, Value>>(text) {
        // An index, or whatever else lies there.
        Ok(cases) if !cases.values().any(|case| case.get("blocks").is_some()) => {
            report.other_files += 1;
            return report;
        }
        Ok(cases) => cases,
        Err(error) => {
            fail(&mut report, "the file", error.to_string());
            return report;
        }
    };
    for (name, value) in cases.into_iter().filter(|(name, _)| is_wanted(name)) {
        let network = value.get("network").and_then(Value::as_str).unwrap_or("no network").to_owned();
        let Some(fork) = case::fork(&network) else {
            *report.skipped.entry(network).or_default() += 1;
            continue;
        };
        let case = match Case::deserialize(value) {
            Ok(case) => case,
            Err(error) => {
                fail(&mut report, &name, format!("not readable as a blockchain test: {error}"));
                continue;
            }
        };
        let failures = MODES.iter().filter_map(|&(mode, exec)| {
            let outcome = catch_unwind(AssertUnwindSafe(|| case.run(fork, exec)));
            let reason = outcome.unwrap_or_else(|_| Err("panicked".into())).err()?;
            Some(Failure { file: file.clone(), name: name.clone(), mode: Some(mode), reason })
        });
        let failures: Vec<_> = failures.collect();
        if failures.is_empty() {
            report.passed += 1;
        } else {
            report.failed += 1;
            report.failures.extend(failures);
        }
    }
    report
}
