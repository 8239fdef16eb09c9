//! Runs one kernel and prints its checksum: `kernels NAME SIZE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (name, size) = (args.next(), args.next().and_then(|s| s.parse().ok()));
    let checksum = name.as_deref().zip(size).and_then(|(name, size)| kernels::run(name, size));
    let Some(sum) = checksum else {
        eprintln!("usage: kernels {} SIZE", kernels::NAMES.join("|"));
        return ExitCode::from(2);
    };
    println!("{sum:016x}");
    ExitCode::SUCCESS
}
