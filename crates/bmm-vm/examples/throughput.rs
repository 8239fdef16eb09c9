//! Prints how many empty tasks a second the sandbox runs, on one thread and on more.
//!
//! `cargo run --release -p bmm-vm --example throughput`
#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a measurement for people")]

use std::time::{Duration, Instant};

use bmm_vm::{StopFlag, TaskInput, Vm, VmConfig};

/// An empty command; it has a memory, as every real program does.
const EMPTY: &str = r#"(module (memory (export "memory") 17) (data (i32.const 1024) "data") (func (export "_start")))"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vm = Vm::new(VmConfig::default())?;
    let program = vm.prepare(&wat::parse_str(EMPTY)?, false)?;
    for threads in [1, 2, 4] {
        let started = Instant::now();
        let tasks: u64 = std::thread::scope(|scope| {
            let work = || {
                let (mut tasks, stop) = (0, StopFlag::new());
                while started.elapsed() < Duration::from_secs(2) {
                    let outcome = program.run(&TaskInput::new(), &stop).expect("an empty task runs");
                    assert!(outcome.exit.is_ok());
                    tasks += 1;
                }
                tasks
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        println!("{threads} threads: {:.0} empty tasks/s", tasks as f64 / started.elapsed().as_secs_f64());
    }
    Ok(())
}
