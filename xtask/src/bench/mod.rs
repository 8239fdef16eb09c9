//! Benchmarks: each measures the project and a peer in one run and reports their ratio, since machines differ and are noisy.

mod report;

pub use report::{Bar, Figure, Report};

/// The benchmarks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
}

/// Runs one benchmark.
pub fn run(name: Name) -> Result<Report, Box<dyn std::error::Error>> {
    match name {
    }
}
