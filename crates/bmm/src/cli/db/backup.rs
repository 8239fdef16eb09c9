//! `bmm db backup`: by the running node if there is one, else by this process.

use super::{Which, must_exist, open_store};
use crate::{
    cli::{
        Context, interrupts,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, IoContext, Outcome},
    node::{BackupReport, ControlRequest, ask_node, running_node},
    output,
    paths::{DataDir, write_atomically},
};
use alloy_primitives::B256;
use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::PathBuf;

/// `bmm db backup`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm db backup /mnt/disk/bmm-monday          also while the node runs; it does not stop for it
  bmm --data /mnt/disk/bmm-monday db verify   hold the copy against itself
  bmm --data /mnt/disk/bmm-monday up          go on from the copy

The copy is a data folder with the chain's parameters and database: one moment of the chain, whole or not there at all. Keys and wallets
are not copied.")]
pub struct Backup {
    /// Folder of the copy; it must be new or have no database of this chain
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Done {
    folder: PathBuf,
    by_node: bool,
    head: u64,
    head_id: B256,
    entries: u64,
    bytes: u64,
    seconds: f64,
}

/// Answers `bmm db backup`.
pub fn run(context: &Context, args: &Backup) -> Outcome {
    let name = args.which.name(context);
    must_exist(context, name)?;
    let copy = DataDir::open(Some(&args.to))?;
    if copy == context.data {
        return Err(Failure::user("a copy cannot lie in the data folder that is copied"));
    }
    let place = copy.chain_db(name);
    copy.create(&place)?;
    let stop = interrupts()?;
    let mut meter = None;
    let mut progress = |done: u64, whole: u64| {
        if whole > 0 {
            let meter =
                meter.get_or_insert_with(|| Meter::new(context.global.json, "copying", Unit::Count, Some(whole)));
            let rate = rate(done, meter.elapsed());
            meter.show(done, || format!("{rate:.0} entries/s"));
        }
        stop.try_recv().is_err()
    };
    let begun = std::time::Instant::now();
    let by_node = running_node(&context.data, name)?.is_some();
    let report: BackupReport = if by_node {
        ask_node(&context.data, &ControlRequest::Backup(place), &mut progress)?
    } else {
        let store = open_store(context, name)?;
        BackupReport::from(&store.backup(&place, &mut progress).map_err(Failure::user)?)
    };
    drop(meter);
    // The public chain's parameters are known to every bmm.
    let genesis = context.data.chain(name).join("genesis.toml");
    if genesis.exists() {
        let text = std::fs::read(&genesis).doing("read", &genesis)?;
        write_atomically(&copy.chain(name).join("genesis.toml"), &text)?;
    }
    let done = Done {
        folder: copy.root().to_owned(),
        by_node,
        head: report.head,
        head_id: report.head_id,
        entries: report.entries,
        bytes: report.bytes,
        seconds: begun.elapsed().as_secs_f64(),
    };
    let told = format!(
        "block {} {} is the head of the copy in {} ({}, {:.1} s)",
        done.head,
        done.head_id,
        done.folder.display(),
        HumanBytes(done.bytes),
        done.seconds
    );
    output::print(context.global.json, &done, told);
    Ok(())
}
