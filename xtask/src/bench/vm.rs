//! What the sandbox costs: the same two kernels native and in the VM, with fuel counted.
//!
//! Both sides run on this thread, in turns, and the fastest run of each counts: neighbours on the same machine only ever slow a run
//! down. Time is the processor time of the thread, so that waiting for a core does not count at all. In three repetitions on two
//! shared cores the compressor's ratio of fastest runs was 1.344, 1.351 and 1.347, that of medians 1.350, 1.432 and 1.345.

use super::{
    Outcome, Report,
    report::{BarIs, Figure},
};
use bmm_vm::{Exit, Program, StopFlag, TaskInput, Vm, VmConfig};
use cpu_time::ThreadTime;
use std::{hint::black_box, time::Duration};

const KERNELS_WASM: &[u8] = include_bytes!("../../../examples/kernels/kernels.wasm");
/// Runs of each side.
const RUNS: usize = 11;

/// A kernel, how much of it is one run, and how many times native it may take. A run is about a second, as tasks are: then it is the
/// programs' code that is measured, and not the fresh memory that each run in the VM begins with.
struct Kernel {
    name: &'static str,
    what: &'static str,
    size: u32,
    bar: f64,
}

const KERNELS: [Kernel; 2] = [
    Kernel { name: "trace", what: "ray tracer (floats)", size: 8, bar: 1.9 },
    Kernel { name: "pack", what: "compressor (integers)", size: 8, bar: 1.4 },
];

/// Measures both kernels.
pub fn run() -> Outcome {
    let vm = Vm::new(VmConfig { max_instances: 1, ..VmConfig::default() })?;
    let program = vm.prepare(KERNELS_WASM, false)?;
    let (mut figures, mut reference) = (Vec::new(), Vec::new());
    for kernel in &KERNELS {
        let (native, sandboxed) = kernel.measure(&program)?;
        let what = kernel.what;
        figures.push(Figure::new(format!("{what} in the VM"), sandboxed.as_secs_f64(), "s"));
        let ratio = sandboxed.as_secs_f64() / native.as_secs_f64();
        figures.push(Figure::new(format!("{what}, times native"), ratio, "x").held_against(BarIs::AtMost, kernel.bar));
        reference.push(Figure::new(format!("{what} native"), native.as_secs_f64(), "s"));
    }
    let notes = [
        "Processor time, the fastest of 11 runs of each side in turns; both sides compute the same checksum.",
        "Native is an ordinary release build (opt-level 3, the target's least processor); the VM compiles for this one.",
    ];
    Ok(Report::new("vm", figures, Some(reference), &notes))
}

impl Kernel {
    /// Returns the time of the fastest run, native and in the VM.
    fn measure(&self, program: &Program) -> Outcome<(Duration, Duration)> {
        let (mut natives, mut sandboxeds) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (native, expected) = self.native()?;
            let (sandboxed, found) = self.sandboxed(program)?;
            if expected != found {
                let name = self.name;
                return Err(
                    format!("{name}: native gives {expected}, kernels.wasm {found}; compile the module anew").into()
                );
            }
            natives.push(native);
            sandboxeds.push(sandboxed);
        }
        let fastest = |times: Vec<Duration>| times.into_iter().min().ok_or("nothing was measured");
        Ok((fastest(natives)?, fastest(sandboxeds)?))
    }

    fn native(&self) -> Outcome<(Duration, String)> {
        let started = ThreadTime::now();
        let sum = kernels::run(black_box(self.name), black_box(self.size)).ok_or("the kernel is unknown")?;
        Ok((started.elapsed(), format!("{sum:016x}")))
    }

    fn sandboxed(&self, program: &Program) -> Outcome<(Duration, String)> {
        let args = [self.name.to_owned(), self.size.to_string()];
        let task = TaskInput { args: &args, ..TaskInput::new() };
        let started = ThreadTime::now();
        let outcome = program.run(&task, &StopFlag::new())?;
        let time = started.elapsed();
        if outcome.exit != Exit::Ok {
            return Err(
                format!("{}: {} ({})", self.name, outcome.exit, String::from_utf8_lossy(&outcome.stderr)).into()
            );
        }
        Ok((time, String::from_utf8_lossy(&outcome.stdout).trim().to_owned()))
    }
}
