//! Random system calls with random arguments: nothing that a program says to the host may shake it.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use bmm_vm::{Exit, InputSet, Program, TaskInput};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::components::componentize;
use crate::{VM, limits, run};

/// Every function of WASI preview 1 but `proc_exit`, with its parameters: `i` 32 bits, `l` 64 bits.
const FUNCTIONS: [(&str, &str); 45] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("sched_yield", ""),
    ("random_get", "ii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Bytes of one call in the script: the function's number and nine arguments.
const RECORD_BYTES: usize = 80;
/// Where the script lies in the program's memory; below it is the playground of the calls.
const SCRIPT_AT: usize = 131_072;

/// Returns a program that reads a script of calls from its standard input and makes them, as a module.
fn driver() -> Vec<u8> {
    let (mut imports, mut cases) = (String::new(), String::new());
    for (number, (name, params)) in FUNCTIONS.iter().enumerate() {
        let types = params.replace('i', "i32 ").replace('l', "i64 ");
        writeln!(
            imports,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func $f{number} (param {types}) (result i32)))"
        )
        .unwrap();
        let mut call = String::new();
        for (at, kind) in params.chars().enumerate() {
            let load = if kind == 'i' { "i32.load" } else { "i64.load" };
            write!(call, "({load} offset={} (local.get $at)) ", 8 + at * 8).unwrap();
        }
        writeln!(
            cases,
            "(if (i32.eq (i32.load (local.get $at)) (i32.const {number})) (then (drop (call $f{number} {call}))))"
        )
        .unwrap();
    }
    let text = format!(
        "(module {imports} (memory (export \"memory\") 8)
        (data (i32.const 256) \"a/../b/c\") (data (i32.const 512) \"../..//etc\") (data (i32.const 768) \"x\")
        (func (export \"_start\") (local $at i32) (local $end i32)
          (i32.store (i32.const 0) (i32.const {SCRIPT_AT})) (i32.store (i32.const 4) (i32.const 65536))
          (drop (call $f20 (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $at (i32.const {SCRIPT_AT}))
          (local.set $end (i32.add (local.get $at) (i32.load (i32.const 8))))
          (loop $next
            (if (i32.lt_u (local.get $at) (local.get $end)) (then
              {cases}
              (local.set $at (i32.add (local.get $at) (i32.const {RECORD_BYTES})))
              (br $next))))))"
    );
    wat::parse_str(text).expect("the driver is well formed")
}

/// Gives arguments that are often plausible: small numbers, addresses of paths and buffers, edges of the memory.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0_u64..8,
        3 => prop::sample::select(vec![0_u64, 16, 256, 512, 768, 1_024, 4_096, 65_536]),
        2 => 0_u64..300,
        1 => prop::sample::select(vec![524_280_u64, 524_288, 0x7fff_ffff, 0xffff_fff8, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX]),
        1 => any::<u64>(),
    ]
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    let record = (0..FUNCTIONS.len() as u64, prop::collection::vec(argument(), 9));
    prop::collection::vec(record, 1..60).prop_map(|records| {
        let words = records.into_iter().flat_map(|(number, arguments)| std::iter::once(number).chain(arguments));
        words.flat_map(u64::to_le_bytes).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_system_calls_leave_the_host_unshaken(script in script()) {
        static DRIVER: LazyLock<Arc<Program>> = LazyLock::new(|| ready(&driver()));
        unshaken(&DRIVER, &script)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_system_calls_of_a_component_leave_the_host_unshaken(script in script()) {
        static DRIVER: LazyLock<Arc<Program>> = LazyLock::new(|| ready(&componentize(&driver())));
        unshaken(&DRIVER, &script)?;
    }

    #[test]
    fn changed_components_leave_the_host_unshaken(at in any::<prop::sample::Index>(), new in prop::collection::vec(any::<u8>(), 1..4)) {
        // Small ones, as the bytes between the code are what tells components from modules.
        let mut wasm = wat::parse_str(COMMAND).expect("well formed");
        let at = 8 + at.index(wasm.len() - 8 - new.len());
        wasm[at..at + new.len()].copy_from_slice(&new);
        if let Ok(program) = VM.prepare(&wasm, false) {
            let task = TaskInput { limits: limits(|l| l.fuel = Some(1_000_000)), ..TaskInput::new() };
            let [first, mut second] = [run(&program, &task), run(&program, &task)];
            second.wall = first.wall;
            prop_assert_eq!(first, second);
        }
    }
}

/// A component with something of everything: types, resources, imports, aliases, an inner component, instances, a table.
const COMMAND: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $p)) (export "pollable" (type $q (eq $p)))
        (export "now" (func (result u64))) (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))
    (import "wasi:random/random@0.2.0" (instance $random (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
    (type $mine (resource (rep i32)))
    (core func $new (canon resource.new $mine))
    (core func $drop (canon resource.drop $pollable))
    (core func $now (canon lower (func $clock "now")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core module $memory (memory (export "m") 2) (global $free (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get 3)))))
    (core instance $memory (instantiate $memory))
    (core func $bytes (canon lower (func $random "get-random-bytes") (memory (core memory $memory "m")) (realloc (core func $memory "realloc"))))
    (core module $main
        (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
        (import "" "now" (func $now (result i64))) (import "" "subscribe" (func $subscribe (param i64) (result i32)))
        (import "" "bytes" (func $bytes (param i64 i32)))
        (table 2 funcref) (elem (i32.const 0) $new) (global (mut i32) (i32.const 7))
        (func (export "run") (result i32)
            (drop (call $new (i32.const 3))) (drop (call $now)) (call $drop (call $subscribe (i64.const 9)))
            (call $bytes (i64.const 40) (i32.const 16)) (i32.const 0)))
    (core instance $main (instantiate $main (with "" (instance
        (export "new" (func $new)) (export "drop" (func $drop)) (export "now" (func $now))
        (export "subscribe" (func $subscribe)) (export "bytes" (func $bytes))))))
    (func $run (result (result)) (canon lift (core func $main "run")))
    (component $inner (import "f" (func $f (result (result)))) (export "run" (func $f)))
    (instance $run (instantiate $inner (with "f" (func $run))))
    (export "wasi:cli/run@0.2.0" (instance $run)))"#;

#[test]
fn the_component_that_is_changed_runs_unchanged() {
    let program = ready(&wat::parse_str(COMMAND).expect("well formed"));
    assert_eq!(run(&program, &TaskInput::new()).exit, Exit::Ok);
}

/// Makes a program ready.
fn ready(wasm: &[u8]) -> Arc<Program> {
    VM.prepare(wasm, false).expect("the program is accepted")
}

/// Runs a script twice: whatever happens is the program's affair, within its limits, and the same each time.
fn unshaken(driver: &Program, script: &[u8]) -> Result<(), TestCaseError> {
    let inputs = InputSet::builder().file("x", b"input".to_vec()).unwrap().file("a/y", vec![]).unwrap().build();
    let limits = limits(|l| {
        l.output_bytes = 1 << 20;
        l.files = 16;
        l.fuel = Some(200_000_000);
    });
    let task = TaskInput { stdin: script, inputs: &inputs, limits, ..TaskInput::new() };
    let first = run(driver, &task);
    prop_assert!(matches!(first.exit, Exit::Ok | Exit::Limit(_) | Exit::Trap(_)), "{:?}", first.exit);
    prop_assert!(first.stdout.len() + first.outputs.values().map(Vec::len).sum::<usize>() <= 1 << 20);
    prop_assert!(first.outputs.keys().all(|path| !path.starts_with('/') && !path.split('/').any(|name| name == "..")));
    let mut second = run(driver, &task);
    second.wall = first.wall;
    prop_assert_eq!(second, first);
    Ok(())
}
