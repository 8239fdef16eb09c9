//! `bmm chain sync`: take the chain from another node.

use super::{Begin, Which, mgas};
use crate::{
    cli::{
        Context, interrupts,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, Outcome},
    node::{chain_failure, chain_params, open_chain},
    output,
    rpc::RpcSource,
};
use alloy_primitives::B256;
use bmm_chain::{
    SystemClock,
    sync::{Checkpoint, Following, SnapshotOptions, SnapshotProgress, SnapshotStep, Source, SyncError, take_snapshot},
};
use clap::Args;
use indicatif::HumanBytes;
use parking_lot::Mutex;
use serde::Serialize;
use std::{sync::mpsc::Receiver, time::Instant};

/// `bmm chain sync`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm chain sync --from http://10.0.0.7:8545
  bmm chain sync --from http://10.0.0.7:8545 --snapshot
  bmm chain sync --from http://10.0.0.7:8545 --snapshot --checkpoint 120000:0x5d1c…
  bmm --data copy chain sync --from http://127.0.0.1:8545 --genesis ~/.local/share/bmm/chains/dev/genesis.toml

The other node is not trusted. Every block is checked and executed here; with --snapshot all headers with their proofs of work are
checked, the state of a block near the head is taken in ranges that are proven against its header, and every block after that is
executed. Older bodies, receipts and states are not there then. Run it again to go on where it stopped.")]
pub struct Sync {
    /// JSON-RPC address of the node to take the chain from; with --snapshot more than one may be given, each for when those before fail
    #[arg(long, value_name = "URL", required = true)]
    from: Vec<String>,
    /// Begin with the state of a block near the head instead of executing the past
    #[arg(long)]
    snapshot: bool,
    /// A block of the chain that you have from somebody you trust: proofs of work below it are not checked
    #[arg(long, value_name = "NUMBER:ID", requires = "snapshot", value_parser = checkpoint)]
    checkpoint: Option<Checkpoint>,
    #[command(flatten)]
    begin: Begin,
    #[command(flatten)]
    which: Which,
}

pub(in crate::cli) fn checkpoint(text: &str) -> Result<Checkpoint, String> {
    let wrong = || "expected a block's number and id, such as 120000:0x5d1c… (64 hex digits)".to_owned();
    let (number, id) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Checkpoint { number: number.parse().map_err(|_| wrong())?, id: id.parse().map_err(|_| wrong())? })
}

/// What came of it.
#[derive(Serialize)]
struct Done {
    from: String,
    imported: u64,
    gas: u64,
    head: u64,
    head_id: B256,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Taken>,
}

/// What came of the snapshot.
#[derive(Clone, Serialize)]
struct Taken {
    block: u64,
    block_id: B256,
    accounts: u64,
    slots: u64,
    bytes: u64,
    seconds: f64,
}

/// Answers `bmm chain sync`.
pub fn run(context: &Context, args: &Sync) -> Outcome {
    let json = context.global.json;
    let name = args.which.name(context);
    let sources = args.from.iter().map(|url| RpcSource::new(url)).collect::<Result<Vec<_>, _>>()?;
    args.begin.apply(context, name)?;
    let stop = Mutex::new(interrupts()?);
    let snapshot = if args.snapshot { snapshot(context, name, args, &sources, &stop)? } else { None };
    let chain = open_chain(&context.data, name, &context.config.storage)?;
    let mut meter = None;
    let mut tell = |following: Following| {
        let meter = meter.get_or_insert_with(|| Meter::new(json, "syncing", Unit::Count, Some(following.head)));
        let rate = rate(following.imported, meter.elapsed());
        meter.show(following.at, || format!("{rate:.0} blocks/s"));
        stop.lock().try_recv().is_err()
    };
    let (mut followed, mut from) = (Err(SyncError::NoSource), "");
    for (source, url) in sources.iter().zip(&args.from) {
        (followed, from) = (chain.follow(source, &mut tell), url);
        if !followed.as_ref().is_err_and(SyncError::is_of_source) {
            break;
        }
    }
    let seconds = meter.take().map_or(0.0, |meter| meter.elapsed().as_secs_f64());
    let followed = followed.map_err(|error| failure(&error))?;
    let head = chain.head();
    let (imported, gas) = (followed.imported, followed.gas);
    let begun = snapshot.as_ref().map(|taken| {
        let Taken { block, accounts, slots, bytes, seconds, .. } = taken;
        format!(
            "the state of block {block} taken in {seconds:.1} s: {accounts} accounts, {slots} slots, {}\n",
            HumanBytes(*bytes)
        )
    });
    let told = format!(
        "{}{imported} blocks imported ({:.1} Mgas) in {seconds:.1} s; the head is block {} {}",
        begun.unwrap_or_default(),
        mgas(gas),
        head.number(),
        head.id
    );
    let done = Done { from: from.to_owned(), imported, gas, head: head.number(), head_id: head.id, seconds, snapshot };
    output::print(json, &done, told);
    Ok(())
}

/// Begins the chain with the state of a block near the head of a node's. `None` if its chain is too short for that, or if there is
/// one here already.
fn snapshot(
    context: &Context,
    name: &str,
    args: &Sync,
    sources: &[RpcSource],
    stop: &Mutex<Receiver<()>>,
) -> Outcome<Option<Taken>> {
    let json = context.global.json;
    let params = chain_params(&context.data, name)?;
    let folder = context.data.chain_db(name);
    context.data.create(folder.parent().unwrap_or(&folder))?;
    let store = context.config.storage.options();
    let options = SnapshotOptions { store, checkpoint: args.checkpoint, ..SnapshotOptions::default() };
    let begun = Instant::now();
    let mut last = None;
    let mut meter: Option<(SnapshotStep, Meter)> = None;
    let mut tell = |told: SnapshotProgress| {
        if meter.as_ref().is_none_or(|(step, _)| *step != told.step) {
            let (what, unit, whole) = match told.step {
                SnapshotStep::Headers => ("headers", Unit::Count, told.head),
                SnapshotStep::State => ("state", Unit::Share, 1 << 16),
                SnapshotStep::Changes => ("changes", Unit::Count, told.head),
            };
            let whole = Some(whole).filter(|_| told.step != SnapshotStep::Changes);
            meter = Some((told.step, Meter::new(json, what, unit, whole)));
        }
        if let Some((step, meter)) = &mut meter {
            let SnapshotProgress { accounts, slots, bytes, pivot, .. } = told;
            let state = || format!("of block {pivot}: {accounts} accounts, {slots} slots, {}", HumanBytes(bytes));
            match step {
                SnapshotStep::Headers => meter.show(told.header, || format!("of {}", told.head)),
                SnapshotStep::State => meter.show(told.done.into(), state),
                SnapshotStep::Changes => meter.show(bytes, state),
            }
        }
        last = Some(told);
        stop.lock().try_recv().is_err()
    };
    let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
    let taken = take_snapshot(&params, &folder, &SystemClock, &sources, &options, &mut tell);
    drop(meter);
    let seconds = begun.elapsed().as_secs_f64();
    let taken = match taken {
        Err(error @ SyncError::NotNew { .. }) => {
            output::note(json, error);
            return Ok(None);
        }
        Err(SyncError::Chain(error)) => return Err(chain_failure(&context.data, name, &error)),
        taken => taken.map_err(|error| failure(&error))?,
    };
    Ok(taken.map(|head| {
        let (accounts, slots, bytes) = last.map_or((0, 0, 0), |told| (told.accounts, told.slots, told.bytes));
        Taken { block: head.number, block_id: head.id, accounts, slots, bytes, seconds }
    }))
}

fn failure(error: &SyncError) -> Failure {
    let again = "what came is kept; run the command again and it goes on from there";
    match error {
        SyncError::Invalid { error: rule, .. } if rule.is_internal() => Failure::internal(error),
        SyncError::Invalid { .. } => Failure::user(error).hint("take the chain from another node"),
        SyncError::OtherChain { .. } => Failure::user(error)
            .hint("--data DIR --genesis FILE, the file being chains/dev/genesis.toml of the other node's data folder"),
        SyncError::Checkpoint { .. } => Failure::user(error)
            .hint("either the node follows another branch, or the checkpoint is wrong: ask somebody else for both"),
        SyncError::Chain(_) => Failure::internal(error),
        SyncError::Source { .. } | SyncError::Interrupted | SyncError::NoSource | SyncError::NotNew { .. } => {
            Failure::user(error).hint(again)
        }
    }
}
