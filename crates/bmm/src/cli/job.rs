//! `bmm job …`: what became of jobs, and going on with them.

use super::Context;
use crate::{
    failure::{Failure, IoContext, Outcome},
    jobs::{self, JobFolder, JobRecord, JobStatus},
    output,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{fmt::Write as _, path::PathBuf, time::Duration};

/// What to do about a job that failed for good.
const FAILED_HINT: &str =
    "what was verified is paid; mend the program or the job file and run the job anew with `bmm run`";

/// `bmm job …`
#[derive(Debug, Subcommand)]
#[command(after_help = "ID is the job's id or its first digits, as `bmm job list` shows it.")]
pub enum JobCommand {
    /// List the jobs of this data folder, newest first
    List,
    /// Show a job: its state, its money, its receipt
    Show(Id),
    /// Watch a job's progress until it is over
    Watch(Id),
    /// Copy a job's outputs into a folder
    #[command(after_help = "Example:\n  bmm job get 3fa9 --out pictures")]
    Get {
        #[command(flatten)]
        id: Id,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// End a job now: what is verified is paid, the rest of the budget comes back
    Cancel(Resume),
    /// Go on with a job that was interrupted
    Resume(Resume),
    /// Say, condition by condition, how many providers match a job, and why the others do not
    Explain(Id),
}

/// Which job.
#[derive(Debug, Args)]
pub struct Id {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
}

/// Which job, and who pays.
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    id: Id,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Answers `bmm job`.
pub fn run(context: &Context, command: &JobCommand) -> Outcome {
    let find = |id: &Id| JobFolder::find(&context.data, &id.id);
    match command {
        JobCommand::List => list(context),
        JobCommand::Show(id) => show(context, &find(id)?),
        JobCommand::Watch(id) => watch(context, &find(id)?),
        JobCommand::Get { id, out } => get(context, &find(id)?, out),
        JobCommand::Cancel(args) => cancel(context, &find(&args.id)?, args),
        JobCommand::Resume(args) => resume(context, &find(&args.id)?, args),
        JobCommand::Explain(id) => jobs::explain(context, &find(id)?),
    }
}

/// Ends a job: through the process that works on it, or here, where none does.
fn cancel(context: &Context, folder: &JobFolder, args: &Resume) -> Outcome {
    if folder.record()?.status.is_over() || !folder.is_locked() {
        return jobs::resume(context, folder, args.password_file.as_deref(), Some(jobs::CANCELLED.into()));
    }
    folder.ask_to_cancel(jobs::CANCELLED)?;
    while folder.is_locked() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let receipt = folder.receipt()?.ok_or_else(|| {
        Failure::job("the process that worked on the job ended before it could cancel it").hint("cancel it once more")
    })?;
    output::print(context.global.json, &receipt, receipt.to_string().trim_end());
    Ok(())
}

/// Goes on with a job; one that failed before fails again, so that scripts can tell.
fn resume(context: &Context, folder: &JobFolder, args: &Resume) -> Outcome {
    jobs::resume(context, folder, args.password_file.as_deref(), None)?;
    match folder.receipt()? {
        Some(receipt) if receipt.status == JobStatus::Failed => Err(Failure::job(receipt.ending).hint(FAILED_HINT)),
        _ => Ok(()),
    }
}

/// A job in the list.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    record: JobRecord,
    active: bool,
}

fn list(context: &Context) -> Outcome {
    let mut rows = Vec::new();
    for folder in JobFolder::all(&context.data)? {
        let record = folder.record()?;
        let active = !record.status.is_over() && folder.is_locked();
        rows.push(Row { record, active });
    }
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("no jobs yet; start one with `bmm run JOB`");
    } else {
        let _ = write!(text, "{:<10} {:<24} {:<12} {:>10}  {:>12}", "id", "name", "state", "tasks", "budget");
    }
    for Row { record, active } in &rows {
        let state = state_name(record.status, *active);
        let name: String = record.name.chars().take(24).collect();
        let _ = write!(
            text,
            "\n{:<10} {name:<24} {state:<12} {:>10}  {:>12}",
            record.short_id(),
            record.tasks,
            record.budget.to_string()
        );
    }
    output::print(context.global.json, &serde_json::json!({ "jobs": rows }), text);
    Ok(())
}

fn state_name(status: JobStatus, active: bool) -> &'static str {
    if status.is_over() || active { status.name() } else { "interrupted" }
}

/// What `bmm job show` says.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    record: JobRecord,
    active: bool,
    folder: PathBuf,
    receipt: Option<jobs::Receipt>,
}

fn show(context: &Context, folder: &JobFolder) -> Outcome {
    let record = folder.record()?;
    let active = !record.status.is_over() && folder.is_locked();
    let receipt = folder.receipt()?;
    let mut text = match &receipt {
        Some(receipt) => receipt.to_string(),
        None => format!(
            "{}: {}\n  job          {}\n  tasks        {}\n",
            record.name,
            state_name(record.status, active),
            record.id,
            record.tasks
        ),
    };
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    row("requester", record.requester.to_string());
    row("budget", record.budget.to_string());
    if let Some(transaction) = record.open_transaction {
        row("opened by", transaction.to_string());
    }
    if let Some(transaction) = record.refund_transaction {
        row("refunded by", transaction.to_string());
    }
    row("folder", folder.path().display().to_string());
    if !record.status.is_over() && !active {
        row("next", format!("bmm job resume {}", record.short_id()));
    }
    let shown = Shown { record, active, folder: folder.path().to_owned(), receipt };
    output::print(context.global.json, &shown, text.trim_end());
    Ok(())
}

fn watch(context: &Context, folder: &JobFolder) -> Outcome {
    let mut shown = String::new();
    loop {
        let record = folder.record()?;
        if record.status.is_over() {
            return show(context, folder);
        }
        if !folder.is_locked() {
            return Err(Failure::job("no process works on this job")
                .hint(format!("go on with it: bmm job resume {}", record.short_id())));
        }
        let progress = jobs::read_progress(folder).unwrap_or_default();
        if progress != shown {
            output::note(context.global.json, &progress);
            shown = progress;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn get(context: &Context, folder: &JobFolder, out: &std::path::Path) -> Outcome {
    let receipt = folder.receipt()?.ok_or_else(|| {
        Failure::user("the job has no outputs yet")
            .hint("`bmm job show ID` tells how far it is; `bmm job resume ID` goes on with it")
    })?;
    std::fs::create_dir_all(out).doing("create", out)?;
    let base = folder.record()?.out;
    let mut copied = Vec::new();
    for source in &receipt.outputs {
        let target = out.join(source.strip_prefix(&base).unwrap_or(source));
        if let Some(dir) = target.parent() {
            std::fs::create_dir_all(dir).doing("create", dir)?;
        }
        std::fs::copy(source, &target).doing("copy", source)?;
        copied.push(target);
    }
    let text = copied.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n");
    output::print(context.global.json, &serde_json::json!({ "job": receipt.job, "outputs": copied }), text);
    Ok(())
}
