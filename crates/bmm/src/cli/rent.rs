//! `bmm rent …`: other people's miners, for a pool of one's own.

use super::{
    Context,
    buyer::{Buyer, Which, read_file},
};
use crate::{
    failure::{Failure, Outcome},
    output,
    rental::{NewRental, RentalFolder, RentalRecord, resume, stop},
};
use bmm_market::rental::RentalFile;
use clap::{Args, Subcommand};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

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

/// `bmm rent run`
#[derive(Debug, Args)]
pub struct Run {
    /// The file of the rental: see docs/rental.md
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    buyer: Buyer,
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
    let text = read_file(&args.file)?;
    let stem = args.file.file_stem().unwrap_or(Path::new("rental").as_os_str()).to_string_lossy().into_owned();
    let built = RentalFile::parse(&text).and_then(|file| file.build(&stem));
    let (spec, pool, budget) = built.map_err(|error| {
        Failure::user(format!("{}: {error}", args.file.display())).hint("docs/rental.md has a whole example")
    })?;
    let network = args.buyer.network(context)?;
    let rental = NewRental { spec, pool, budget, network, wallet: args.buyer.wallet.clone() };
    rental.run(context, args.buyer.password_file.as_deref())
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
