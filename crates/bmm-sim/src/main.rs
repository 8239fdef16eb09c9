//! `bmm-sim`: simulations by seed.
#![expect(clippy::print_stdout, reason = "the reports are what it is for")]

use bmm_sim::{consensus, economy, market};
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
        options: market::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Footstones over real chains, with partitions, crashes and cheats; the exit code is 1 where a bar is not met
    #[command(after_help = "Examples:
  cargo run --release -p bmm-sim -- consensus --seeds 10000
  cargo run --release -p bmm-sim -- consensus --byzantine 60% --trouble 150 --seeds 1000
  cargo run --release -p bmm-sim -- consensus --footstones 4 --byzantine 0% --first-seed 17 --seeds 1 --json")]
    Consensus {
        #[command(flatten)]
        options: consensus::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What attacks on the public chain's rewards cost and gain; the exit code is 1 where one pays
    #[command(after_help = "Examples:
  cargo run --release -p bmm-sim -- economy
  cargo run --release -p bmm-sim -- economy --fee-return 9000 --least-weight 100000
  cargo run --release -p bmm-sim -- economy --json")]
    Economy {
        #[command(flatten)]
        options: economy::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let (text, good) = match Cli::parse().what {
        What::Market { options, json } => {
            let report = market::run(&options);
            (if json { report.to_json() } else { report.to_text() }, report.met())
        }
        What::Consensus { options, json } => {
            let report = consensus::run(&options);
            (if json { report.to_json() } else { report.to_text() }, report.met())
        }
        What::Economy { options, json } => {
            let report = economy::run(options);
            (if json { report.to_json() } else { report.to_text() }, !report.rows.iter().any(economy::Row::pays))
        }
    };
    println!("{}", text.trim_end());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
