//! The same program as a module and as a component: the same bytes, files and exit.
#![expect(clippy::print_stderr, reason = "it tells what was measured")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bmm_vm::{Exit, InputSet, Limits, Outcome, StopFlag, TaskInput, Vm, VmConfig};
use proptest::prelude::*;

use super::patch::{Addition, add};
use super::{both, componentize, module};
use crate::run;

/// Where the added allocator keeps how much it gave away; below it is memory at address zero, above it the stack's far end.
const GIVEN_AT: u8 = 32;

/// Returns a program of the examples with the export `cabi_realloc`, by which an adapter gets its memory. Without it the adapter
/// grows the memory, and the allocator of these programs would take that for its own. This one gives away the far end of
/// the stack.
fn program(path: &str) -> Vec<u8> {
    let instructions = [
        // The size in front of a place that is a multiple of 16, from 1,024 on.
        vec![
            0x41, GIVEN_AT, 0x41, GIVEN_AT, 0x28, 2, 0, 0x22, 4, 0x20, 3, 0x41, 15, 0x6a, 0x41, 0x70, 0x71, 0x6a, 0x36,
            2, 0,
        ],
        vec![0x20, 4, 0x41, 0x80, 0x08, 0x6a],
    ]
    .concat();
    let allocator = Addition { params: 4, results: 1, locals: 1, instructions: &instructions, export: "cabi_realloc" };
    add(&example(path), &allocator)
}

fn example(path: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    std::fs::read(folder.join(path)).expect("the example is there")
}

/// Returns an outcome without its one field that may differ.
fn timeless(mut outcome: Outcome) -> Outcome {
    outcome.wall = Duration::ZERO;
    outcome
}

/// Returns what an outcome says on its standard streams.
fn lossy(outcome: &Outcome) -> [String; 2] {
    [&outcome.stdout, &outcome.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Runs a task with a module, and twice with the component made of it; returns what came out.
fn compare(what: &str, module: &[u8], task: &TaskInput<'_>) -> Outcome {
    let [module, component] = both(module);
    let [one, two, again] = [&module, &component, &component].map(|program| timeless(run(program, task)));
    assert_eq!(two, again, "{what}");
    // The adapter has one code for all failures.
    let exit = if matches!(one.exit, Exit::Code(_)) { Exit::Code(1) } else { one.exit };
    assert_eq!((exit, lossy(&one)), (two.exit, lossy(&two)), "{what}");
    assert_eq!(one.outputs, two.outputs, "{what}");
    eprintln!(
        "{what}: {} fuel as a module, {} as a component; {} and {} bytes at most",
        one.fuel, two.fuel, one.peak_memory_bytes, two.peak_memory_bytes
    );
    two
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_examples_give_the_same() {
    let book = example("text/moby-dick.txt");
    let chapter: Vec<u8> = book.split_inclusive(|byte| *byte == b'\n').take(600).flatten().copied().collect();
    let args = texts(&["count", "--lines", "0..600", "--out", "/out/counts.tsv"]);
    let task = TaskInput { args: &args, stdin: &chapter, ..TaskInput::new() };
    let counted = compare("counting words", &program("text/words.wasm"), &task);
    assert!(counted.exit.is_ok() && counted.outputs["counts.tsv"].len() > 1_000);

    let inputs = InputSet::builder().file("parts/00000000", counted.outputs["counts.tsv"].clone()).unwrap().build();
    let args = texts(&["report", "--parts", "/in/parts", "--out", "/out/words.svg"]);
    let task = TaskInput { args: &args, inputs: &inputs, ..TaskInput::new() };
    let report = compare("drawing a report", &program("text/words.wasm"), &task);
    assert!(report.exit.is_ok() && report.outputs["words.svg"].starts_with(b"<"));

    let scene = example("render/scenes/still-life.txt");
    let inputs = InputSet::builder().file("scene.txt", scene).unwrap().build();
    let args = texts(&[
        "--scene",
        "/in/scene.txt",
        "--size",
        "64x36",
        "--samples",
        "4",
        "--rows",
        "8..16",
        "--out",
        "/out/tile",
    ]);
    let limits = Limits { memory_bytes: 512 << 20, time: Duration::from_mins(10), ..Limits::default() };
    let task = TaskInput { args: &args, inputs: &inputs, limits, seed: [5; 32], ..TaskInput::new() };
    let tile = compare("tracing rays", &program("render/pathtrace.wasm"), &task);
    assert!(tile.exit.is_ok() && !tile.outputs["tile"].is_empty());

    let wrong = TaskInput { args: &texts(&["--no-such-option"]), ..task };
    let wrong = compare("a wrong argument", &program("render/pathtrace.wasm"), &wrong);
    assert!(matches!(wrong.exit, Exit::Code(_)) && !wrong.stderr.is_empty());
}

#[test]
fn exit_codes_are_the_same() {
    for code in [0, 1, 3, 255] {
        let start = format!("(call $exit (i32.const {code}))");
        compare("an exit", &module("", &start), &TaskInput::new());
    }
    let trap = compare("a trap", &module("", "unreachable"), &TaskInput::new());
    assert!(matches!(trap.exit, Exit::Trap(_)));
}

#[test]
fn arguments_time_and_chance_are_the_same() {
    let start = "(call $check (call $args_sizes (i32.const 16) (i32.const 20)))
        (call $check (call $args_get (i32.const 64) (i32.const 1024)))
        (call $put (i32.const 1) (i32.const 1024) (i32.load (i32.const 20)))
        (call $check (call $environ_sizes (i32.const 16) (i32.const 20)))
        (call $check (call $environ_get (i32.const 64) (i32.const 1024)))
        (call $put (i32.const 1) (i32.const 1024) (i32.load (i32.const 20)))
        (call $check (call $random (i32.const 2000) (i32.const 77)))
        (call $check (call $random (i32.const 2077) (i32.const 23)))
        (call $check (call $clock (i32.const 0) (i64.const 1) (i32.const 2104)))
        ;; A second passes.
        (i32.store (i32.const 3080) (i32.const 1)) (i64.store (i32.const 3088) (i64.const 1000000000))
        (call $check (call $poll (i32.const 3064) (i32.const 3256) (i32.const 1) (i32.const 3016)))
        (call $check (call $clock (i32.const 1) (i64.const 1) (i32.const 2112)))
        (call $check (call $clock (i32.const 0) (i64.const 1) (i32.const 2120)))
        (call $put (i32.const 1) (i32.const 2000) (i32.const 128))
        (call $put (i32.const 2) (i32.const 2000) (i32.const 8))";
    let (args, env) = (texts(&["--rows", "0..16", ""]), [("LANG".to_owned(), "C=D".to_owned())]);
    let task = TaskInput { args: &args, env: &env, seed: [9; 32], ..TaskInput::new() };
    let outcome = compare("a look around", &module("", start), &task);
    assert!(outcome.exit.is_ok() && outcome.stdout.len() > 140 && outcome.stderr.len() == 8);
}

/// Numbers of what [`operations`] does with one of four names.
const OPERATIONS: i32 = 7;

/// Returns a program that reads pairs of an operation and a name, does them, and prints an error or a byte of each.
fn operations() -> Vec<u8> {
    let names = r#"(data (i32.const 64) "a ") (data (i32.const 72) "b ") (data (i32.const 80) "d ") (data (i32.const 88) "d/e")"#;
    let path = "(i32.const 4) (local.get $name) (local.get $len)";
    let open = |flags: u32| format!("(call $open {path} (i32.const {flags}) (i64.const 0x600062))");
    let used = "(if (i32.eqz (local.get $errno)) (then";
    let fd = "(i32.load (i32.const 12))";
    let cases = [
        // Makes a file, and writes at its end.
        format!(
            "(local.set $errno {}) {used} (drop (call $fd_seek {fd} (i64.const 0) (i32.const 2) (i32.const 16)))
            (call $put {fd} (i32.const 64) (i32.const 30)) (drop (call $fd_close {fd}))))",
            open(1)
        ),
        // Makes it anew.
        format!("(local.set $errno {}) {used} (drop (call $fd_close {fd}))))", open(9)),
        // Cuts or lengthens it, and overwrites a part.
        format!(
            "(local.set $errno {}) {used} (drop (call $set_size {fd} (i64.const 17)))
            (drop (call $fd_seek {fd} (i64.const 9) (i32.const 0) (i32.const 16)))
            (call $put {fd} (i32.const 72) (i32.const 5)) (drop (call $fd_close {fd}))))",
            open(0)
        ),
        // Reads it twice.
        format!(
            "(local.set $errno {}) {used} (drop (call $take {fd} (i32.const 4096) (i32.const 10)))
            (call $put (i32.const 1) (i32.const 4096) (call $take {fd} (i32.const 4096) (i32.const 100)))
            (drop (call $fd_close {fd}))))",
            open(0)
        ),
        format!("(local.set $errno (call $mkdir {path}))"),
        format!(
            "(local.set $errno (call $unlink {path})) (if (i32.ne (local.get $errno) (i32.const 0)) (then (drop (call $rmdir {path}))))"
        ),
        format!("(local.set $errno (call $rename {path} (i32.const 4) (i32.const 72) (i32.const 1)))"),
    ];
    let cases: Vec<String> = (0..)
        .zip(cases)
        .map(|(number, case): (i32, _)| format!("(if (i32.eq (local.get $what) (i32.const {number})) (then {case}))"))
        .collect();
    let cases = cases.concat();
    let start = format!(
        "(local $at i32) (local $end i32) (local $what i32) (local $name i32) (local $len i32) (local $errno i32)
        (local.set $at (i32.const 8192))
        (local.set $end (i32.add (local.get $at) (call $take (i32.const 0) (i32.const 8192) (i32.const 4096))))
        (loop $next (if (i32.lt_u (local.get $at) (local.get $end)) (then
            (local.set $what (i32.load8_u (local.get $at)))
            (local.set $name (i32.add (i32.const 64) (i32.mul (i32.const 8) (i32.load8_u offset=1 (local.get $at)))))
            (local.set $len (select (i32.const 3) (i32.const 1) (i32.eq (local.get $name) (i32.const 88))))
            (local.set $errno (i32.const 0))
            {cases}
            (i32.store8 (i32.const 32) (local.get $errno))
            (call $put (i32.const 1) (i32.const 32) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 2)))
            (br $next))))"
    );
    module(names, &start)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_work_on_files_leaves_the_same(steps in prop::collection::vec((0..OPERATIONS, 0_u8..4), 0..60)) {
        static PROGRAMS: std::sync::LazyLock<[std::sync::Arc<bmm_vm::Program>; 2]> =
            std::sync::LazyLock::new(|| both(&operations()));
        let script: Vec<u8> = steps.iter().flat_map(|(what, name)| [u8::try_from(*what).unwrap(), *name]).collect();
        let task = TaskInput { stdin: &script, ..TaskInput::new() };
        let [one, two] = [0, 1].map(|at| PROGRAMS[at].run(&task, &StopFlag::new()).expect("it runs"));
        prop_assert!(one.exit.is_ok(), "{}", one.exit);
        prop_assert_eq!((one.exit, one.stdout, one.outputs), (two.exit, two.stdout, two.outputs));
    }
}

#[test]
fn stored_code_gives_the_same_and_starts_are_short() {
    let dir = tempfile::tempdir().unwrap();
    let config = || VmConfig { cache_dir: Some(dir.path().join("code")), ..VmConfig::default() };
    let module = module("(data (i32.const 64) \"x\")", "(call $put (i32.const 1) (i32.const 64) (i32.const 1))");
    let component = componentize(&module);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        let vm = Vm::new(config()).unwrap();
        eprintln!("an engine with 64 places in {:?}", begun.elapsed());
        for wasm in [&module, &component] {
            let begun = Instant::now();
            let program = vm.prepare(wasm, false).unwrap();
            let prepared = begun.elapsed();
            seen.push(timeless(program.run(&TaskInput::new(), &StopFlag::new()).unwrap()));
            let mut times: Vec<Duration> =
                (0..2_001).map(|_| program.run(&TaskInput::new(), &StopFlag::new()).unwrap().wall).collect();
            times.sort_unstable();
            eprintln!("ready in {prepared:?}, a task of one write: {:?} (fastest: {:?})", times[1_000], times[0]);
        }
    }
    let files = std::fs::read_dir(dir.path().join("code")).unwrap().count();
    assert_eq!((files, &seen[..2]), (2, &seen[2..]));
    assert!(seen.iter().all(|outcome| outcome.stdout == b"x"));
}
