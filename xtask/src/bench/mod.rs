//! Benchmarks: each measures the project and a peer in one run and reports their ratio, since machines differ and are noisy.

mod efficiency;
mod report;
mod tasks;
mod vm;

pub use report::Report;

/// What a benchmark returns: its report, or why it could not measure.
pub type Outcome<T = Report> = Result<T, Box<dyn std::error::Error>>;

/// The benchmarks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// Tasks that do nothing, per second, through the whole path in one process
    Tasks,
    /// A float and an integer kernel in the sandbox and native
    Vm,
    /// The share of two cores that a real render's programs get from `bmm run`
    Efficiency,
}

/// What can be chosen.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Tasks of `bench tasks`
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    tasks: u64,
    /// Providers of one slot each in `bench tasks` and `bench efficiency`
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    providers: u16,
}

/// Runs one benchmark.
pub fn run(name: Name, options: &Options) -> Outcome {
    match name {
        Name::Tasks => tasks::run(options.tasks, options.providers),
        Name::Vm => vm::run(),
        Name::Efficiency => efficiency::run(options.providers),
    }
}
