//! Benchmarks: each measures the project and a peer in one run and reports their ratio, since machines differ and are noisy.

mod blob;
mod efficiency;
mod epoch;
mod ledger;
mod million;
mod pages;
mod pool;
mod report;
mod scrypt;
mod tasks;
mod town;
mod vm;

pub use ledger::{Side, measured};
pub use million::{Case, measured as million_measured};
pub use pool::serve as serve_pool;
pub use report::Report;

use std::{path::PathBuf, process::Command};

/// What a benchmark returns: its report, or why it could not measure.
pub type Outcome<T = Report> = Result<T, Box<dyn std::error::Error>>;

/// The benchmarks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Tasks that do nothing, per second, through the whole path in one process
    Tasks,
    /// The same between processes, over the network on loopback
    NetworkTasks,
    /// A job of 1,000,000 tasks through the requester's state machine: memory a task, and its rate from beginning to end
    Million,
    /// A float and an integer kernel in the sandbox and native
    Vm,
    /// Scrypt(1024,1,1) by every kernel this processor has, against the crate `scrypt`
    Scrypt,
    /// Shares of a mining pool over TCP, from the line to the log; memory of connections that rest; time of a share
    Pool,
    /// A large file between two nodes, against a plain copy over TCP
    Blob,
    /// The share of two cores that a real render's programs get from `bmm run`
    Efficiency,
    /// The same with a provider process for each core, over the network on loopback
    NetworkEfficiency,
    /// Signed transfers from JSON-RPC to a durable block, against anvil in memory
    Transfers,
    /// The same with transfers of an ERC-20 token
    Erc20,
    /// Reads over JSON-RPC, against anvil
    Rpc,
    /// Import of blocks into a durable database, against revm alone
    Import,
    /// The explorer's index over 100,000 blocks, and the pages over it
    Pages,
    /// Taking a chain from a node: with a snapshot, against executing every block
    Sync,
    /// The end of an epoch and a claim with 100,000 contributors, against 100
    Epoch,
}

/// What can be chosen.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Tasks of `bench tasks` and `bench network-tasks`
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    tasks: u64,
    /// Tasks of `bench million`
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    million_tasks: u64,
    /// Providers of one slot each in `bench tasks`, `bench efficiency` and their like on the network
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: u16,
    /// Transactions of `bench transfers` and `bench erc20`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(2_000..=2_000_000))]
    transactions: u32,
    /// MiB of `bench blob`
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mib: u32,
    /// Runs of each side in `bench scrypt`, `bench pool`, `bench blob`, `bench transfers`, `bench erc20`, `bench rpc` and `bench import`, in turns
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Accounts in the state of `bench import` and `bench sync`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    accounts: u32,
    /// Contributors of `bench epoch`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    contributors: u32,
    /// Blocks of `bench pages`
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    blocks: u64,
    /// Transfers in each block of `bench pages`
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    transfers: u64,
    /// Also import with 10,000,000 accounts in `bench import`, which takes minutes and some 20 GB of disk
    #[arg(long)]
    large: bool,
}

/// Runs one benchmark.
pub fn run(name: Name, options: &Options) -> Outcome {
    match name {
        Name::Tasks => tasks::run(options.tasks, options.providers),
        Name::NetworkTasks => town::run(options.tasks, options.providers),
        Name::Blob => blob::run(options.mib, options.rounds),
        Name::Million => million::run(options.million_tasks),
        Name::Vm => vm::run(),
        Name::Scrypt => scrypt::run(options.rounds),
        Name::Pool => pool::run(options.rounds),
        Name::Efficiency => efficiency::run(options.providers, false),
        Name::NetworkEfficiency => efficiency::run(options.providers, true),
        Name::Transfers => ledger::transfers(options.transactions, options.rounds),
        Name::Import => ledger::import(options.accounts, options.large, options.rounds),
        Name::Pages => pages::run(options.blocks, options.transfers),
        Name::Sync => ledger::sync(options.accounts),
        Name::Epoch => epoch::run(options.contributors),
        Name::Rpc => ledger::rpc(options.rounds),
        Name::Erc20 => ledger::erc20(options.transactions, options.rounds),
    }
}

/// Numbers of tasks, transactions and bytes are far below 2^52, from where a float would round.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Builds the binary that a user would run, and returns its path.
fn build() -> Outcome<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // With this package, so that both are built with the same features of what they share.
    let status =
        Command::new(cargo).args(["build", "--release", "--quiet", "-p", "xtask", "-p", "bmm", "--bins"]).status()?;
    if !status.success() {
        return Err("the binary `bmm` could not be built".into());
    }
    let name = format!("bmm{}", std::env::consts::EXE_SUFFIX);
    Ok(std::env::current_exe()?.with_file_name(name))
}
