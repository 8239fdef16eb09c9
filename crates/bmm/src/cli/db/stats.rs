//! `bmm db stats`.

use super::{Which, must_exist, open_store};
use crate::{
    cli::Context,
    failure::{Failure, Outcome},
    node::{ControlRequest, StatsReport, TableReport, ask_node, running_node},
    output,
};
use bmm_ledger::store::Store;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use std::fmt::Write as _;

/// Characters of the longest bar.
const BAR: u64 = 36;

/// `bmm db stats`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm db stats
  bmm --json db stats

While a node runs on the data folder, it is asked. A bar shows a table's keys and values (█), the tree around them (▓), and what its pages
have unused (░).")]
pub struct Stats {
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Shown {
    chain: String,
    database_bytes: u64,
    journal_bytes: u64,
    journal_segments: u64,
    /// Bytes of the file that no table uses.
    free_bytes: u64,
    #[serde(flatten)]
    stats: StatsReport,
}

/// Answers `bmm db stats`.
pub fn run(context: &Context, args: &Stats) -> Outcome {
    let name = args.which.name(context);
    must_exist(context, name)?;
    let stats: StatsReport = if running_node(&context.data, name)?.is_some() {
        ask_node(&context.data, &ControlRequest::Stats, &mut |_, _| true)?
    } else {
        StatsReport::from(&open_store(context, name)?.stats().map_err(Failure::internal)?)
    };
    let files = Store::file_sizes(&context.data.chain_db(name));
    let used: u64 = stats.tables.iter().map(size).sum();
    let shown = Shown {
        chain: name.to_owned(),
        database_bytes: files.database,
        journal_bytes: files.journal,
        journal_segments: files.segments,
        free_bytes: files.database.saturating_sub(used),
        stats,
    };
    output::print(context.global.json, &shown, picture(&shown).trim_end());
    Ok(())
}

fn size(table: &TableReport) -> u64 {
    table.stored_bytes + table.overhead_bytes + table.unused_bytes
}

fn picture(shown: &Shown) -> String {
    let stats = &shown.stats;
    let sum = |part: fn(&TableReport) -> u64| HumanBytes(stats.tables.iter().map(part).sum());
    let mut text = format!("chain     {} at block {} {}\n", shown.chain, HumanCount(stats.head), stats.head_id);
    let _ = writeln!(
        text,
        "database  {}: keys and values {}, trees {}, unused in pages {}, free {}",
        HumanBytes(shown.database_bytes),
        sum(|table| table.stored_bytes),
        sum(|table| table.overhead_bytes),
        sum(|table| table.unused_bytes),
        HumanBytes(shown.free_bytes),
    );
    let _ = writeln!(
        text,
        "journal   {} in {} segments; {} changes ({}) are not in the tables yet",
        HumanBytes(shown.journal_bytes),
        shown.journal_segments,
        HumanCount(stats.unflushed_entries),
        HumanBytes(stats.unflushed_bytes),
    );
    let _ = writeln!(
        text,
        "history   bodies from block {}, state diffs from block {}",
        stats.oldest_body, stats.oldest_diff
    );
    if let Some(first) = stats.archive_from {
        let _ = writeln!(text, "archive   states from block {first}");
    }
    let mut tables: Vec<&TableReport> = stats.tables.iter().filter(|table| table.entries > 0).collect();
    tables.sort_by_key(|table| std::cmp::Reverse(size(table)));
    let longest = tables.first().map_or(1, |table| size(table)).max(1);
    let _ = writeln!(text, "\n{:<16} {:>14} {:>12}  levels", "table", "entries", "size");
    for table in tables {
        let _ = writeln!(
            text,
            "{:<16} {:>14} {:>12}  {:>6}  {}",
            table.name,
            HumanCount(table.entries).to_string(),
            HumanBytes(size(table)).to_string(),
            table.height,
            bar(table, longest),
        );
    }
    text
}

/// A table's bar, in parts of the longest table's.
fn bar(table: &TableReport, longest: u64) -> String {
    let cells = |bytes: u64| usize::try_from((bytes * BAR).div_ceil(longest)).unwrap_or(0);
    let stored = cells(table.stored_bytes);
    let tree = cells(table.stored_bytes + table.overhead_bytes).saturating_sub(stored);
    let unused = cells(size(table)).saturating_sub(stored + tree);
    ["█".repeat(stored), "▓".repeat(tree), "░".repeat(unused)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_parts() {
        let table = TableReport {
            name: "accounts".into(),
            entries: 5,
            stored_bytes: 50,
            overhead_bytes: 25,
            unused_bytes: 25,
            height: 1,
        };
        assert_eq!(bar(&table, 100), format!("{}{}{}", "█".repeat(18), "▓".repeat(9), "░".repeat(9)));
        assert_eq!(bar(&table, 400).chars().count(), 9);
    }
}
