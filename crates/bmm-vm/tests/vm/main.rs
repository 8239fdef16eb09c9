//! Whole-room tests: programs written as text, run in the real sandbox.

mod abuse;
mod components;
mod containers;
mod determinism;
mod engine;
mod fuzz;
mod hostile;
mod modules;
mod python;
mod reactors;
mod service;
mod system;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bmm_vm::{Limits, Outcome, Program, StopFlag, TaskInput, Vm, VmConfig};

/// One sandbox for all tests: each test also shows that the ones before it left the sandbox sound.
static VM: LazyLock<Vm> = LazyLock::new(|| Vm::new(VmConfig::default()).expect("the sandbox starts"));

/// Imports, memory and helpers that most programs here use.
const PRELUDE: &str = r#"
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
(memory (export "memory") 4)
;; Ends the program with the code unless it is zero.
(func $check (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
;; Ends the program with code 200 unless both are the same.
(func $same (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then (call $exit (i32.const 200)))))
;; Writes bytes to a descriptor.
(func $put (param $fd i32) (param $at i32) (param $len i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
  (call $check (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
;; Reads once into a buffer; returns how many bytes.
(func $take (param $fd i32) (param $at i32) (param $len i32) (result i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
  (call $check (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (i32.load (i32.const 8)))
;; Opens a path for reading and writing; the errno is left, the descriptor is at address 12.
(func $open (param $dir i32) (param $at i32) (param $len i32) (param $oflags i32) (param $rights i64) (result i32)
  (call $path_open (local.get $dir) (i32.const 0) (local.get $at) (local.get $len) (local.get $oflags)
    (local.get $rights) (i64.const -1) (i32.const 0) (i32.const 12)))
"#;

/// Compiles a program of the prelude, further definitions, and the body of `_start`.
fn program(definitions: &str, start: &str) -> Arc<Program> {
    compile(&format!("(module {PRELUDE} {definitions} (func (export \"_start\") {start}))"))
}

/// Compiles a module given as text.
fn compile(text: &str) -> Arc<Program> {
    VM.prepare(&wat::parse_str(text).expect("the test's module is well formed"), false).expect("the module is accepted")
}

/// Runs a task, and then an innocent one, which must not notice.
fn run(program: &Program, task: &TaskInput<'_>) -> Outcome {
    let outcome = program.run(task, &StopFlag::new()).expect("the host does not fail");
    let innocent = compile("(module (func (export \"_start\")))").run(&TaskInput::new(), &StopFlag::new());
    assert!(innocent.expect("the host goes on").exit.is_ok());
    outcome
}

/// Runs a program without input under the default limits.
fn run_plain(program: &Program) -> Outcome {
    run(program, &TaskInput::new())
}

/// Returns limits that differ from the default in one field.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { time: Duration::from_mins(10), ..Limits::default() };
    change(&mut limits);
    limits
}
