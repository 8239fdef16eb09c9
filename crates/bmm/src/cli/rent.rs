//! `bmm rent …`: other people's miners, for a pool of one's own.

use super::Context;
use crate::{
    config::Reach,
    failure::{Failure, IoContext, Outcome},
    jobs::NetChoice,
    output,
    rental::{NewRental, RentalFolder, RentalRecord, resume, stop},
};
use bmm_market::rental::RentalFile;
use clap::{Args, Subcommand};
use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Longest file of a rental, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// `bmm rent …`
#[derive(Debug, Subcommand)]
#[command(after_help = "ID is the rental's id or its first digits, as `bmm rent list` shows it.

Examples:
  bmm rent run night.toml --network    have providers hash for the pool that the file names
  bmm rent show 3fa9
  bmm rent stop 3fa9")]
pub enum RentCommand {
    /// Have providers hash for a pool, until time or budget is used up or it is stopped
    Run(Box<Run>),
    /// Go on with a rental whose process has ended
    Resume(Which),
    /// List the rentals of this data folder, newest first
    List,
    /// Show a rental: who hashes, what the pool accepted, what it has cost
    Show(Which),
    /// Stop a rental, pay its providers, and take back the rest
    Stop(Which),
}

/// Which rental.
#[derive(Debug, Args)]
pub struct Which {
    /// The rental
    #[arg(value_name = "ID")]
    id: String,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// `bmm rent run`
#[derive(Debug, Args)]
pub struct Run {
    /// The file of the rental: see docs/rental.md
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Look for providers on this local network too
    #[arg(long)]
    network: bool,
    /// A node of the network to begin with (repeat for more)
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Wallet that pays [default: the dev chain's own, or the default wallet]
    #[arg(long, value_name = "WALLET")]
    wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Answers `bmm rent`.
pub fn run(context: &Context, command: &RentCommand) -> Outcome {
    match command {
        RentCommand::Run(args) => begin(context, args),
        RentCommand::Resume(which) => resume(context, &which.id, which.password_file.as_deref()),
        RentCommand::Stop(which) => stop(context, &which.id, which.password_file.as_deref()),
        RentCommand::List => list(context),
        RentCommand::Show(which) => show(context, which),
    }
}

fn begin(context: &Context, args: &Run) -> Outcome {
    let mut text = String::new();
    let file = File::open(&args.file).doing("open", &args.file)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).doing("read", &args.file)?;
    let stem = args.file.file_stem().unwrap_or(Path::new("rental").as_os_str()).to_string_lossy().into_owned();
    let built = RentalFile::parse(&text).and_then(|file| file.build(&stem));
    let (spec, pool, budget) = built.map_err(|error| {
        Failure::user(format!("{}: {error}", args.file.display())).hint("docs/rental.md has a whole example")
    })?;
    let network = NetChoice::new(&context.config.network, &args.bootstrap, args.network, args.reach)?;
    let rental = NewRental { spec, pool, budget, network, wallet: args.wallet.clone() };
    rental.run(context, args.password_file.as_deref())
}

fn list(context: &Context) -> Outcome {
    let all = RentalFolder::all(&context.data)?;
    let records: Vec<_> = all.into_iter().map(|(_, record)| record).collect();
    let line = |record: &RentalRecord| {
        let account = &record.account;
        format!(
            "{}  {}  {:?}  {} accepted hashes, {} of {}",
            account.short_id(),
            account.name,
            account.state,
            record.all_hashes(),
            account.spent(),
            account.budget_bmm
        )
    };
    let text: Vec<String> = records.iter().map(line).collect();
    let text =
        if text.is_empty() { "no rentals; begin one with `bmm rent run FILE`".to_owned() } else { text.join("\n") };
    output::print(context.global.json, &records, text);
    Ok(())
}

fn show(context: &Context, which: &Which) -> Outcome {
    let (folder, mut record) = RentalFolder::find(context, &which.id)?;
    let kept = folder.lock()?.is_none();
    if !kept {
        record.hosts.clear();
    }
    let account = &record.account;
    let mut text = format!(
        "rental {:x} ({}), {:?}\n  {} at work, {} accepted hashes, {} of {}",
        account.id,
        account.name,
        account.state,
        record.hosts.len(),
        record.all_hashes(),
        account.spent(),
        account.budget_bmm
    );
    for (provider, hashes) in &record.hashes {
        let shares = record.shares.get(provider).copied().unwrap_or(0);
        let promised = account.promised_bmm.get(provider).copied().unwrap_or_default();
        let _ = write!(text, "\n  {provider}  {shares} shares, {hashes} hashes, {promised}");
    }
    if !kept && account.settle_transaction.is_none() {
        text.push_str("\n  no process keeps it: `bmm rent resume` goes on, `bmm rent stop` ends it");
    }
    output::print(context.global.json, &record, text);
    Ok(())
}
