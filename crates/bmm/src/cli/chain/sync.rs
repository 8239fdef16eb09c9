//! `bmm chain sync`: take the chain from another node.

use super::{Begin, Which, mgas};
use crate::{
    cli::{
        Context, interrupts,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, Outcome},
    node::open_chain,
    output,
    rpc::RpcSource,
};
use alloy_primitives::B256;
use bmm_chain::sync::{Following, SyncError};
use clap::Args;
use parking_lot::Mutex;
use serde::Serialize;

/// `bmm chain sync`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm chain sync --from http://10.0.0.7:8545
  bmm --data copy chain sync --from http://127.0.0.1:8545 --genesis ~/.local/share/bmm/chains/dev/genesis.toml

Every block is checked and executed here; the other node is not trusted. Run it again to go on where it stopped.")]
pub struct Sync {
    /// JSON-RPC address of the node to take the chain from
    #[arg(long, value_name = "URL")]
    from: String,
    #[command(flatten)]
    begin: Begin,
    #[command(flatten)]
    which: Which,
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
}

/// Answers `bmm chain sync`.
pub fn run(context: &Context, args: &Sync) -> Outcome {
    let json = context.global.json;
    let name = args.which.name(context);
    let source = RpcSource::new(&args.from)?;
    args.begin.apply(context, name)?;
    let chain = open_chain(&context.data, name, &context.config.storage)?;
    let stop = Mutex::new(interrupts()?);
    let mut meter = None;
    let followed = chain.follow(&source, &mut |following: Following| {
        let meter = meter.get_or_insert_with(|| Meter::new(json, "syncing", Unit::Count, Some(following.head)));
        let rate = rate(following.imported, meter.elapsed());
        meter.show(following.at, || format!("{rate:.0} blocks/s"));
        stop.lock().try_recv().is_err()
    });
    let seconds = meter.take().map_or(0.0, |meter| meter.elapsed().as_secs_f64());
    let followed = followed.map_err(|error| failure(&error))?;
    let head = chain.head();
    let done = Done {
        from: args.from.clone(),
        imported: followed.imported,
        gas: followed.gas,
        head: head.number(),
        head_id: head.id,
        seconds,
    };
    let told = format!(
        "{} blocks imported ({:.1} Mgas) in {seconds:.1} s; the head is block {} {}",
        done.imported,
        mgas(done.gas),
        done.head,
        done.head_id
    );
    output::print(json, &done, told);
    Ok(())
}

fn failure(error: &SyncError) -> Failure {
    let again = "what came is kept; run the command again and it goes on from there";
    match error {
        SyncError::Invalid { error: rule, .. } if rule.is_internal() => Failure::internal(error),
        SyncError::Invalid { .. } => Failure::user(error).hint("take the chain from another node"),
        SyncError::OtherChain { .. } => Failure::user(error)
            .hint("--data DIR --genesis FILE, the file being chains/dev/genesis.toml of the other node's data folder"),
        SyncError::Chain(_) => Failure::internal(error),
        SyncError::Source { .. } | SyncError::Interrupted => Failure::user(error).hint(again),
    }
}
