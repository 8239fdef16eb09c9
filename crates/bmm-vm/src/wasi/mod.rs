//! WASI, preview 1 for modules and [preview 2](p2) for components, implemented on nothing but memory: what a program calls can reach no file, clock or network of the
//! host, because no code here could. Source: the witx files of WASI snapshot preview 1.

mod descriptors;
mod errno;
mod fd;
mod guest;
mod link;
mod out;
pub(crate) mod p2;
mod path;
mod path_calls;
mod process;
mod stat;
mod tree;

use std::collections::BTreeMap;

use descriptors::Descriptors;
pub(crate) use link::{linker, trap_unknown};
use out::OutFiles;
use process::{Clock, RandomStream};

use crate::input::InputSet;
use crate::task::{PROGRAM_NAME, STDERR_KEPT_BYTES, TaskInput};

/// Holds what one task sees of the system.
pub(crate) struct Wasi {
    /// Zero-terminated strings of `argv`.
    args: Vec<u8>,
    /// Zero-terminated strings of the environment.
    env: Vec<u8>,
    stdin: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    inputs: InputSet,
    out: OutFiles,
    descriptors: Descriptors,
    /// What a component holds besides descriptors.
    held: p2::Held,
    clock: Clock,
    random: RandomStream,
    /// Fuel that the call under way costs besides its fixed charge.
    owed_fuel: u64,
}

impl Wasi {
    /// Prepares the system of a task.
    pub fn new(task: &TaskInput<'_>) -> Self {
        let mut args = Vec::with_capacity(64);
        for text in std::iter::once(PROGRAM_NAME).chain(task.args.iter().map(String::as_str)) {
            args.extend_from_slice(text.as_bytes());
            args.push(0);
        }
        let mut env = Vec::new();
        for (name, value) in task.env {
            env.extend_from_slice(name.as_bytes());
            env.push(b'=');
            env.extend_from_slice(value.as_bytes());
            env.push(0);
        }
        Self {
            args,
            env,
            stdin: task.stdin.to_vec(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            inputs: task.inputs.clone(),
            out: OutFiles::new(task.limits.output_bytes, task.limits.files),
            descriptors: Descriptors::new(!task.inputs.root().is_empty()),
            held: p2::Held::default(),
            clock: Clock::default(),
            random: RandomStream::new(task.seed),
            owed_fuel: 0,
        }
    }

    /// Returns the standard output, the end of the standard error, and the files under `/out`.
    pub fn into_output(mut self) -> (Vec<u8>, Vec<u8>, BTreeMap<String, Vec<u8>>) {
        trim_to_end(&mut self.stderr);
        (self.stdout, self.stderr, self.out.into_files())
    }

    /// Appends to the standard error, of which only the end is kept.
    fn push_stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        if self.stderr.len() > 2 * STDERR_KEPT_BYTES {
            trim_to_end(&mut self.stderr);
        }
    }
}

/// Drops all but the last kept bytes of a standard error.
fn trim_to_end(stderr: &mut Vec<u8>) {
    let excess = stderr.len().saturating_sub(STDERR_KEPT_BYTES);
    stderr.drain(..excess);
}
