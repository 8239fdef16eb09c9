//! Runs one program in the sandbox and prints what it used.
//!
//! `cargo run --release -p bmm-vm --example run -- APP.wasm|APP.wat [-i NAME=FILE]... [-o DIR] [-n] [ARGUMENT]...`: `-i` puts a
//! file under `/in`, `-o` saves `/out` to a directory, `-n` asks for canonical NaNs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for people")]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bmm_vm::{InputSet, Limits, StopFlag, TaskInput, Vm, VmConfig};

const USAGE: &str = "usage: run APP.wasm|APP.wat [-i NAME=FILE]... [-o DIR] [-n] [ARGUMENT]...";

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).peekable();
    let wasm = std::fs::read(words.next().ok_or(USAGE)?)?;
    let (mut inputs, mut out_dir, mut canonical_nans) = (InputSet::builder(), None, false);
    while let Some(option) = words.next_if(|word| matches!(word.as_str(), "-i" | "-o" | "-n")) {
        if option == "-n" {
            canonical_nans = true;
            continue;
        }
        let value = words.next().ok_or(USAGE)?;
        if option == "-o" {
            out_dir = Some(PathBuf::from(value));
        } else {
            let (name, file) = value.split_once('=').ok_or(USAGE)?;
            inputs.add(name, std::fs::read(file)?)?;
        }
    }
    let (args, inputs): (Vec<String>, _) = (words.collect(), inputs.build());
    let vm = Vm::new(VmConfig { max_instances: 1, ..VmConfig::default() })?;
    let started = std::time::Instant::now();
    let program = vm.prepare(&wat::parse_bytes(&wasm)?, canonical_nans)?;
    println!("compiled in {:?}", started.elapsed());
    let limits = Limits { memory_bytes: 4 << 30, time: Duration::from_hours(1), ..Limits::default() };
    let task = TaskInput { args: &args, inputs: &inputs, limits, ..TaskInput::new() };
    let outcome = program.run(&task, &StopFlag::new())?;
    std::io::stdout().write_all(&outcome.stdout)?;
    std::io::stderr().write_all(&outcome.stderr)?;
    println!("{}: {}", outcome.exit.name(), outcome.exit);
    println!("{} fuel, {} bytes of memory, {:?}", outcome.fuel, outcome.peak_memory_bytes, outcome.wall);
    for (path, bytes) in &outcome.outputs {
        println!("/out/{path}: {} bytes", bytes.len());
        if let Some(dir) = &out_dir {
            let file = dir.join(path);
            std::fs::create_dir_all(file.parent().unwrap_or(dir))?;
            std::fs::write(file, bytes)?;
        }
    }
    if !outcome.exit.is_ok() {
        eprintln!("the program did not succeed");
    }
    Ok(())
}
