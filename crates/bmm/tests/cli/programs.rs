//! Small programs as text, and job files for them.

use crate::run::Bmm;
use std::path::PathBuf;

/// Imports, memory and helpers. `$n` is the program's first argument, a decimal number.
const PRELUDE: &str = r#"
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 4)
;; Writes bytes to a descriptor.
(func $put (param $fd i32) (param $at i32) (param $len i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
  (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
;; The first argument as a number.
(func $n (result i32) (local $at i32) (local $n i32) (local $digit i32)
  (drop (call $args_get (i32.const 1024) (i32.const 2048)))
  (local.set $at (i32.load (i32.const 1028)))
  (block $end (loop $next
    (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
    (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
    (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $digit)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br $next)))
  (local.get $n))
;; Mixes $n for so many rounds and writes the state: eight bytes.
(func $mix (param $rounds i32) (local $state i64)
  (local.set $state (i64.extend_i32_u (call $n)))
  (loop $round
    (local.set $state
      (i64.add (i64.mul (local.get $state) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
  (i64.store (i32.const 16) (local.get $state))
  (call $put (i32.const 1) (i32.const 16) (i32.const 8)))
"#;

/// Compiles a program of further definitions and the body of `_start`.
pub fn program(definitions: &str, start: &str) -> Vec<u8> {
    let text = format!("(module {PRELUDE} {definitions} (func (export \"_start\") {start}))");
    wat::parse_str(text).expect("the test's module is well formed")
}

/// Compiles a program of a further import and the body of `_start`.
pub fn with_imports(import: &str, start: &str) -> Vec<u8> {
    let text = format!("(module {import} {PRELUDE} (func (export \"_start\") {start}))");
    wat::parse_str(text).expect("the test's module is well formed")
}

/// A program that works on its number for so many rounds (about 10^9 are a second) and writes eight bytes.
pub fn worker(rounds: u32) -> Vec<u8> {
    program("", &format!("(call $mix (i32.const {rounds}))"))
}

/// What a job of [`worker`]s gives, joined: the same mixing, by squaring the step `x -> ax + c`.
pub fn worked(mut rounds: u32, tasks: u32) -> Vec<u8> {
    let (mut a, mut c) = (6_364_136_223_846_793_005u64, 1_442_695_040_888_963_407u64);
    let (mut all_a, mut all_c) = (1u64, 0u64);
    while rounds > 0 {
        if rounds & 1 == 1 {
            (all_a, all_c) = (all_a.wrapping_mul(a), all_c.wrapping_mul(a).wrapping_add(c));
        }
        (a, c, rounds) = (a.wrapping_mul(a), c.wrapping_mul(a).wrapping_add(c), rounds >> 1);
    }
    (0..u64::from(tasks)).flat_map(|n| all_a.wrapping_mul(n).wrapping_add(all_c).to_le_bytes()).collect()
}

/// A program that does `harm` for the number 0 and honest work for every other.
pub fn harmful_at_zero(definitions: &str, harm: &str) -> Vec<u8> {
    program(definitions, &format!("(if (i32.eqz (call $n)) (then {harm})) (call $mix (i32.const 1000))"))
}

/// Writes `app.wasm` and a job file of `tasks` tasks for it, with `more` lines at its end; returns the job file.
pub fn job(bmm: &Bmm, app: &[u8], tasks: u32, more: &str) -> PathBuf {
    bmm.bytes("app.wasm", app);
    let text = format!(
        "app = \"./app.wasm\"\nargs = [\"{{n}}\"]\n[split]\nn = {{ range = \"0..{tasks}\" }}\n[output]\nfile = \"out.bin\"\n{more}"
    );
    bmm.file("job.toml", &text)
}

/// A program that copies its standard input to its standard output.
pub fn copier() -> Vec<u8> {
    program(
        "",
        "(loop $more
           (i32.store (i32.const 0) (i32.const 40000)) (i32.store (i32.const 4) (i32.const 4096))
           (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
           (call $put (i32.const 1) (i32.const 40000) (i32.load (i32.const 8)))
           (br_if $more (i32.load (i32.const 8))))",
    )
}
