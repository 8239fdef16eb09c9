//! `bmm run`: from a job file, or from options, to a paid result.

use super::Context;
use crate::{
    config::Reach,
    failure::{Failure, IoContext, Outcome},
    jobs::{NetChoice, NewJob, RunOptions, fetch_image},
};
use bmm_market::job::{AxisSource, Job, JobError, JobFault, JobFile};
use bmm_types::{Amount, market::Verify};
use clap::Args;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Longest job file, as its parser has it.
const MAX_JOB_FILE_BYTES: u64 = 4 << 20;

/// `bmm run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm run examples/render/job.toml
  bmm run examples/render/job.toml --dry-run          check it and quote a price, open nothing
  bmm run job.toml --replicate 2 --budget '5 BMM'     run each task on two providers that must agree
  bmm run --app count.wasm --lines book.txt --chunk 500 -- --top 10

Ctrl-C leaves the job resumable: `bmm job resume ID` goes on where it stood, and nothing is paid twice.")]
pub struct RunArgs {
    /// The job file
    #[arg(value_name = "JOB", required_unless_present = "app", conflicts_with = "app")]
    file: Option<PathBuf>,
    /// Program of a job without a file
    #[arg(long, value_name = "WASM")]
    app: Option<String>,
    /// Split by lines of this file; each task reads its lines from the standard input
    #[arg(long, value_name = "FILE", requires = "app")]
    lines: Option<String>,
    /// Lines per task
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "lines", value_parser = clap::value_parser!(u64).range(1..))]
    chunk: u64,
    /// A file under /in of every task, as NAME=FILE (repeat for more)
    #[arg(long, value_name = "NAME=FILE", requires = "app")]
    input: Vec<String>,
    /// Arguments of the program, with placeholders such as {lines.start}
    #[arg(last = true, value_name = "ARGS", requires = "app")]
    args: Vec<String>,
    /// Check the job and quote its price; open nothing
    #[arg(long)]
    dry_run: bool,
    /// Where the outputs go [default: bmm-out/NAME in this folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Providers of this process, one core each [default: provide.providers of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    providers: Option<u16>,
    /// Let providers of the network do the work, found through the nodes of --bootstrap, else of the configuration, and on this local network
    #[arg(long)]
    network: bool,
    /// A node of the network to begin with, as `bmm provide` prints it (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Most that is spent, in place of the job file's
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<Amount>,
    /// Run each task on this many providers that must agree; 1 verifies nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    replicate: Option<u8>,
    /// Wallet that pays [default: the dev chain's own, or the default wallet]
    #[arg(long, value_name = "WALLET")]
    wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Answers `bmm run`.
pub fn run(context: &Context, args: &RunArgs) -> Outcome {
    let job = args.job(context)?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("bmm-out").join(safe_name(&job.spec.name)));
    let choose = || NetChoice::new(&context.config.network, &args.bootstrap, args.network, args.reach);
    let network = args.on_network().then(choose).transpose()?;
    // Strangers do the work, unless the user wants this machine to help them.
    let providers = if network.is_some() { 0 } else { default_providers(context, &job) };
    let options = RunOptions {
        out: std::path::absolute(&out).doing("resolve", &out)?,
        providers: args.providers.unwrap_or(providers),
        network,
        wallet: args.wallet.clone(),
        password_file: args.password_file.clone(),
    };
    NewJob { job, options }.run(context, args.dry_run)
}

/// As many as the configuration says; if it leaves that open, at least as many as have to agree.
fn default_providers(context: &Context, job: &Job) -> u16 {
    let configured = context.config.providers();
    if context.config.provide.providers == 0 { configured.max(job.spec.verify.copies().into()) } else { configured }
}

impl RunArgs {
    /// Whether providers of the network are to do the work.
    fn on_network(&self) -> bool {
        self.network || !self.bootstrap.is_empty()
    }

    fn job(&self, context: &Context) -> Outcome<Job> {
        let (mut file, base) = match &self.file {
            Some(path) => {
                let source = read_bounded(path).map_err(|error| unreadable(path, &error))?;
                let file = JobFile::parse(&source).map_err(|error| job_failure(Some(path), &error))?;
                (file, path.parent().unwrap_or(Path::new("")).to_owned())
            }
            None => (self.without_file()?, PathBuf::new()),
        };
        if let Some(budget) = self.budget {
            if budget.is_zero() {
                return Err(Failure::user("--budget is 0 BMM: nothing can be paid from it")
                    .hint("raise it, for example --budget '5 BMM'"));
            }
            file.budget.max = budget;
        }
        match self.replicate {
            Some(1) => file.verify = Some(Verify::None),
            Some(n) => file.verify = Some(Verify::Replicate(n)),
            None => file.verify = file.verify.or(Some(file.default_verify(self.on_network()))),
        }
        if let Some(name) = fetch_image(&context.data, &mut file.app, context.global.json)? {
            file.name = file.name.or(Some(name));
        }
        file.build(&base).map_err(|error| job_failure(self.file.as_deref(), &error))
    }

    fn without_file(&self) -> Outcome<JobFile> {
        let mut file = JobFile::new(self.app.clone().unwrap_or_default());
        file.args.clone_from(&self.args);
        if let Some(lines) = &self.lines {
            file.split.push(("lines".into(), AxisSource::Lines { path: lines.clone(), chunk: self.chunk }));
        }
        for input in &self.input {
            let (name, path) = input.split_once('=').ok_or_else(|| {
                Failure::user(format!("--input {input:?} is not NAME=FILE"))
                    .hint("for example --input scene.txt=scenes/a.txt")
            })?;
            file.inputs.push((name.to_owned(), path.to_owned()));
        }
        Ok(file)
    }
}

/// Reads a job file, but not more than one may hold and a byte, which its parser refuses.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut source = String::new();
    std::fs::File::open(path)?.take(MAX_JOB_FILE_BYTES + 1).read_to_string(&mut source)?;
    Ok(source)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::user(format!("cannot read the job file {}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::NotFound => failure.hint("check the path; examples/ has job files to start from"),
        std::io::ErrorKind::InvalidData => {
            failure.hint("a job file is TOML in UTF-8; to run a program without one use --app")
        }
        std::io::ErrorKind::IsADirectory => failure.hint("name the job file in it, for example job.toml"),
        _ => failure.hint("check the permissions of the file and of the folders above it"),
    }
}

/// Tells what is wrong with a job; `path` is its file, if it has one.
fn job_failure(path: Option<&Path>, error: &JobError) -> Failure {
    match (path, error.fault.as_ref()) {
        (Some(path), _) => Failure::user(format!("{}: {}", path.display(), error.cause())).hint(error.hint()),
        (None, JobFault::Unreadable { .. }) => Failure::user(error.cause())
            .hint("check the spelling and the rights; paths are relative to the current folder"),
        (None, _) => Failure::user(error.cause()).hint(error.hint()),
    }
}

/// Makes a folder's name of a job's name.
fn safe_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = name.chars().take(64).map(plain).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "job".to_owned() } else { name.to_owned() }
}
