//! For developers: benchmarks against peers. `cargo xtask bench NAME` prints a table, `--json` one object.
#![expect(clippy::print_stdout, reason = "a developers' tool prints its results")]

mod bench;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Developers' tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure something against a peer in the same run; the exit code is 1 where a bar is not met
    #[command(after_help = "Examples:
  cargo xtask bench vm
  cargo xtask bench tasks --tasks 1000000
  cargo xtask bench efficiency --json
  cargo xtask bench transfers --rounds 5
  cargo xtask bench erc20 --transactions 50000")]
    Bench {
        /// What to measure
        name: bench::Name,
        #[command(flatten)]
        options: bench::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Task::Bench { name, options, json } = Cli::parse().task;
    let report = bench::run(name, &options)?;
    println!("{}", if json { serde_json::to_string_pretty(&report)? } else { report.table() });
    Ok(if report.met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
