//! A large foreign program unchanged: CPython as a reactor, with its library at the absolute path where it looks for it.
#![expect(clippy::print_stderr, reason = "it says why it is skipped, and how long a start takes")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bmm_vm::{Exit, InputSet, LimitKind, Limits, Outcome, StopFlag, TaskInput, Vm, VmConfig};

/// Returns the folder with the module and its library, as `examples/python/fetch.sh` leaves it.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/fetched"));
    if folder.join("python.wasm").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: examples/python/fetched/python.wasm is not there; examples/python/fetch.sh fetches it");
    None
}

/// Runs `python -c script` with `stdin`.
fn run(vm: &Vm, folder: &std::path::Path, script: &str, memory_bytes: u64) -> Outcome {
    let read = |name| std::fs::read(folder.join(name)).unwrap();
    let program = vm.prepare_entry(&read("python.wasm"), false, "run").unwrap();
    let inputs = InputSet::builder().file("/usr/local/lib/python315.zip", read("python315.zip")).unwrap().build();
    let args = ["-c".to_owned(), script.to_owned()];
    let env = [("HOME".to_owned(), "/out".to_owned()), ("TMPDIR".to_owned(), "/out".to_owned())];
    let limits = Limits { memory_bytes, time: Duration::from_mins(10), ..Limits::default() };
    let task = TaskInput { args: &args, env: &env, stdin: b"3 4\n", inputs: &inputs, limits, ..TaskInput::new() };
    let begun = Instant::now();
    let outcome = program.run(&task, &StopFlag::new()).unwrap();
    eprintln!(
        "{} in {:?} ({:?} inside), {} fuel, {} bytes\n{}",
        outcome.exit,
        begun.elapsed(),
        outcome.wall,
        outcome.fuel,
        outcome.peak_memory_bytes,
        String::from_utf8_lossy(&outcome.stderr)
    );
    outcome
}

#[test]
fn cpython_runs_unchanged_and_the_same_each_time() {
    let Some(folder) = folder() else { return };
    // Of the program's own folder, as the code takes a minute to compile and lasts.
    let config = VmConfig { cache_dir: Some(folder.join("cache")), ..VmConfig::default() };
    let vm = Vm::new(config).unwrap();
    let script = "import random, time, numpy\na, b = map(int, input().split())\n\
                  print(a * b, random.random(), time.time(), numpy.linalg.norm([a, b]), hash('x'))\n\
                  try:\n    open('/usr/local/lib/x', 'w')\nexcept OSError as e:\n    print(e.errno)\n\
                  open('/out/a', 'w').write('b')";
    let first = run(&vm, &folder, script, 1 << 30);
    assert_eq!(first.exit, Exit::Ok);
    let second = run(&Vm::new(vm.config().clone()).unwrap(), &folder, script, 1 << 30);
    assert_eq!((&first.stdout, first.fuel, &first.outputs), (&second.stdout, second.fuel, &second.outputs));
    let text = String::from_utf8(first.stdout).unwrap();
    assert!(text.starts_with("12 0.") && text.contains(" 5.0 "), "{text}");
    assert_eq!(first.outputs["a"], b"b");

    assert_eq!(run(&vm, &folder, "import sys; sys.exit(7)", 1 << 30).exit, Exit::Code(7));
    let hungry = run(&vm, &folder, "x = bytearray(1 << 29)", 128 << 20).exit;
    assert!(!hungry.is_ok(), "{hungry}");
    let deep = run(&vm, &folder, "def f(): f()\ntry:\n    f()\nexcept RecursionError:\n    print(1)", 1 << 30);
    assert_eq!((deep.exit, deep.stdout.as_slice()), (Exit::Ok, &b"1\n"[..]));
    start_alone(&vm, &folder);
}

/// Says how long a task takes that ends at its first instruction: the start, and cleaning up.
fn start_alone(vm: &Vm, folder: &std::path::Path) {
    let module = std::fs::read(folder.join("python.wasm")).unwrap();
    let program = vm.prepare_entry(&module, false, "run").unwrap();
    let limits = Limits { memory_bytes: 1 << 30, fuel: Some(1), ..Limits::default() };
    let task = TaskInput { limits, ..TaskInput::new() };
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            let exit = program.run(&task, &StopFlag::new()).unwrap().exit;
            assert_eq!(exit, Exit::Limit(LimitKind::Fuel));
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("a start alone: {:?} (fastest of 21: {:?})", times[10], times[0]);
}
