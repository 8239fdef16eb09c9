//! `bmm-sim`: simulations by seed.
#![expect(clippy::print_stdout, reason = "the reports are what it is for")]

use bmm_sim::market::{self, Options};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Simulations of whole networks, by seed
#[derive(Debug, Parser)]
#[command(name = "bmm-sim")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A market for compute with cheaters, losses and churn; the exit code is 1 where a bar is not met
    #[command(after_help = "Examples:
  cargo run --release -p bmm-sim -- market --providers 1000 --cheaters 10% --seeds 100
  cargo run --release -p bmm-sim -- market --mode replicate:3 --kinds collude,sybil --churn 20% --loss 0.1%
  cargo run --release -p bmm-sim -- market --providers 10000 --tasks 1000000 --seeds 1 --json")]
    Market {
        #[command(flatten)]
        options: Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let What::Market { options, json } = Cli::parse().what;
    let report = market::run(&options);
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    if report.met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
