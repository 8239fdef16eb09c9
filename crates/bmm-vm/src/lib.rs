//! The BMM VM: runs a stranger's program under limits and returns its output and the measured work.
//!
//! Layer: above `bmm-types`, below the binary. It knows programs, tasks, limits and fuel; it must not know jobs, chains,
//! money or the network.
//!
//! A program is a WASI preview 1 command (a core WebAssembly module that exports `_start`) or a WASI preview 2 command (a
//! component that exports `wasi:cli/run`). It sees its arguments, its standard input, a read-only `/in`, a writable `/out` and nothing else: the file system lives in this process's
//! memory, clocks are virtual and randomness is a stream of the task's seed. Two runs of one task therefore give the
//! same bytes and the same fuel, on any host.
//!
//! ```no_run
//! use bmm_vm::{InputSet, Limits, StopFlag, TaskInput, Vm, VmConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vm = Vm::new(VmConfig::default())?;
//! let program = vm.prepare(&std::fs::read("app.wasm")?, false)?;
//! let args = vec!["--rows".to_owned(), "0..16".to_owned()];
//! let inputs = InputSet::builder().file("scene.txt", b"sphere 0 0 1".to_vec())?.build();
//! let task = TaskInput { args: &args, inputs: &inputs, seed: [7; 32], limits: Limits::default(), ..TaskInput::new() };
//! let outcome = program.run(&task, &StopFlag::new())?;
//! println!("{}: {} fuel, {} files", outcome.exit, outcome.fuel, outcome.outputs.len());
//! # Ok(())
//! # }
//! ```

mod cache;
mod check;
mod compile;
pub mod container;
mod error;
pub mod hardware;
mod input;
mod program;
mod state;
mod task;
mod vm;
mod wasi;
mod weight;

pub use check::check_module;
pub use error::{ModuleError, VmError};
pub use input::{Blob, InputError, InputSet, InputSetBuilder, MAX_INPUT_FILES};
pub use program::Program;
pub use task::{
    Exit, LimitKind, Limits, MAX_ARGUMENT_BYTES, Outcome, PROGRAM_NAME, STDERR_KEPT_BYTES, StopFlag, TaskInput,
    TrapKind,
};
pub use vm::{COMMAND_ENTRY, PrepareError, Vm, VmConfig};
