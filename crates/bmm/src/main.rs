//! The program: reads the command line, runs the command, reports a failure.

use bmm::{cli, output};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = cli::Cli::parse();
    init_logging(args.global.verbose);
    match cli::dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure, args.global.json);
            failure.exit_code()
        }
    }
}

/// Logs go to stderr; `-v` shows more, and `RUST_LOG` overrules it.
fn init_logging(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "error",
        1 => "warn,bmm=info",
        2 => "info,bmm=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
