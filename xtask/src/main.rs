//! For developers: benchmarks against peers. `cargo xtask bench NAME` prints a table, `--json` one object.
#![expect(clippy::print_stdout, reason = "a developers' tool prints its results")]

mod bench;

use clap::{Parser, Subcommand};

/// Developers' tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure something against a peer in the same run
    #[command(after_help = "Examples:\n  cargo xtask bench tasks\n  cargo xtask bench vm --json")]
    Bench {
        /// What to measure
        name: bench::Name,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Task::Bench { name, json } = Cli::parse().task;
    let report = bench::run(name)?;
    println!("{}", if json { serde_json::to_string_pretty(&report)? } else { report.table() });
    Ok(())
}
