//! `bmm db verify`.

use super::{Which, open_store};
use crate::{
    cli::{
        Context, interrupts,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, Outcome},
    output,
};
use alloy_primitives::B256;
use bmm_ledger::store::{StoreError, VerifyProgress, VerifyStep};
use clap::Args;
use serde::Serialize;

/// `bmm db verify`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm db verify
  bmm db verify --quick           the state, and the last 1,024 blocks only
  bmm db verify --quick 50000

The node must be stopped; a backup can be verified while it runs. What is held against what: the journal's checksums; ids, links and work
of the canonical chain; transactions and receipts against the roots in the headers; the index of transactions both ways; every node of
the state's tries against its parent; accounts, slots and code, hashed up to the head's state root. The first damage ends it with exit
code 2.")]
pub struct Verify {
    /// Look at the last N blocks only, beside the state
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1024")]
    quick: Option<u64>,
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Done {
    head: u64,
    head_id: B256,
    oldest_body: u64,
    headers: u64,
    bodies: u64,
    transactions: u64,
    trie_nodes: u64,
    accounts: u64,
    slots: u64,
    codes: u64,
    seconds: f64,
}

/// Answers `bmm db verify`.
pub fn run(context: &Context, args: &Verify) -> Outcome {
    let json = context.global.json;
    let store = open_store(context, args.which.name(context))?;
    let head =
        store.head().ok_or_else(|| Failure::user("the database holds no blocks yet; there is nothing to verify"))?;
    let stop = interrupts()?;
    let begun = std::time::Instant::now();
    let mut meter: Option<(VerifyStep, Meter)> = None;
    let mut tell = |VerifyProgress { step, done, whole }: VerifyProgress| {
        if meter.as_ref().is_none_or(|(of, _)| *of != step) {
            meter = Some((step, Meter::new(json, name(step), Unit::Count, Some(whole))));
        }
        if let Some((_, meter)) = &mut meter {
            let rate = rate(done, meter.elapsed());
            meter.show(done, || format!("{rate:.0}/s"));
        }
        stop.try_recv().is_err()
    };
    let found = store.verify(args.quick, &mut tell);
    drop(meter);
    let found = found.map_err(|error| failure(&error))?;
    let found = found.ok_or_else(|| Failure::user("interrupted; nothing was changed"))?;
    let done = Done {
        head: head.number,
        head_id: head.id,
        oldest_body: found.oldest_body,
        headers: found.headers,
        bodies: found.bodies,
        transactions: found.transactions,
        trie_nodes: found.trie_nodes,
        accounts: found.accounts,
        slots: found.slots,
        codes: found.codes,
        seconds: begun.elapsed().as_secs_f64(),
    };
    let told = format!(
        "all is in order at block {} {}: {} headers, {} bodies, {} transactions, {} accounts, {} slots, {} codes, {} trie nodes ({:.1} s)",
        done.head,
        done.head_id,
        done.headers,
        done.bodies,
        done.transactions,
        done.accounts,
        done.slots,
        done.codes,
        done.trie_nodes,
        done.seconds
    );
    output::print(json, &done, told);
    Ok(())
}

fn name(step: VerifyStep) -> &'static str {
    match step {
        VerifyStep::Blocks => "blocks",
        VerifyStep::Trie => "trie nodes",
        VerifyStep::State => "state",
    }
}

fn failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Corrupt { .. } => Failure::config(error)
            .hint("go on from a backup: bmm --data BACKUP up, or take the chain anew: bmm chain sync"),
        _ => Failure::internal(error),
    }
}
