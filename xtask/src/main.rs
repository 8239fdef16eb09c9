//! For developers: benchmarks against peers, and foreign test vectors. `cargo xtask bench NAME` and `cargo xtask vectors DIR` print
//! words, with `--json` one object.
#![expect(clippy::print_stdout, reason = "a developers' tool prints its results")]

mod bench;
mod vectors;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

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
  cargo xtask bench scrypt
  cargo xtask bench pool
  cargo xtask bench tasks --tasks 1000000
  cargo xtask bench million
  cargo xtask bench efficiency --json
  cargo xtask bench transfers --rounds 5
  cargo xtask bench erc20 --transactions 50000
  cargo xtask bench rpc
  cargo xtask bench pages --transfers 10
  cargo xtask bench import --large")]
    Bench {
        /// What to measure
        name: bench::Name,
        #[command(flatten)]
        options: bench::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run Ethereum's blockchain tests through the project's own import, on one thread and on several; the exit code is 1 when any fails
    #[command(after_help = "Examples:
  cargo xtask vectors ../shared/vectors
  cargo xtask vectors ~/ethereum/tests/BlockchainTests --only stCreate2
  cargo xtask vectors fixtures/blockchain_tests --json > report.json

Cases for the rules of Cancun and Osaka run; those for other networks are counted as skipped.")]
    Vectors {
        #[command(flatten)]
        options: vectors::Options,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Imports the blocks that `bench import` has prepared: the process that it measures
    #[command(hide = true)]
    ImportBlocks {
        /// Where the blocks are
        #[arg(long)]
        prepared: PathBuf,
        /// The database
        #[arg(long)]
        database: PathBuf,
        /// Who takes them
        #[arg(long)]
        side: bench::Side,
    },
    /// The measured process of `bench pool`: serves miners until its input ends
    #[command(hide = true)]
    PoolServer {
        /// Where the share log is
        #[arg(long)]
        folder: PathBuf,
    },
    /// The measured process of `bench million`
    #[command(hide = true)]
    MillionCase { tasks: u64, case: bench::Case },
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (text, good) = match Cli::parse().task {
        Task::Bench { name, options, json } => {
            let report = bench::run(name, &options)?;
            (if json { serde_json::to_string_pretty(&report)? } else { report.table() }, report.met)
        }
        Task::ImportBlocks { prepared, database, side } => {
            (serde_json::to_string(&bench::measured(&prepared, &database, side)?)?, true)
        }
        Task::MillionCase { tasks, case } => (serde_json::to_string(&bench::million_measured(tasks, case)?)?, true),
        Task::PoolServer { folder } => {
            bench::serve_pool(&folder)?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::Vectors { options, json } => {
            let report = vectors::run(&options)?;
            (if json { serde_json::to_string_pretty(&report)? } else { report.text() }, report.is_good())
        }
    };
    println!("{text}");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
