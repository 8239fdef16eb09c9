//! A large foreign program as a component: CPython, which was built as a reactor for WASI preview 1.
#![expect(clippy::print_stderr, reason = "it says why it is skipped, and how long a start takes")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bmm_vm::{Exit, InputSet, LimitKind, Limits, Outcome, Program, StopFlag, TaskInput, Vm, VmConfig};

use super::componentize_with;
use super::patch::{Addition, add, encoded, exported, imported};

/// Returns the folder with the module and its library, as `examples/python/fetch.sh` leaves it.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/fetched"));
    if folder.join("python.wasm").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: examples/python/fetched/python.wasm is not there; examples/python/fetch.sh fetches it");
    None
}

/// Makes a command of the reactor: `_start` calls `run` and exits with what it returns. Its one foreign import traps.
fn component(module: &[u8]) -> Vec<u8> {
    let run = exported(module, "run").expect("the reactor has its entry");
    let exit = imported(module, "proc_exit").1.expect("it can exit");
    let instructions = [vec![0x10], encoded(run), vec![0x10], encoded(exit)].concat();
    let start = Addition { params: 0, results: 0, locals: 0, instructions: &instructions, export: "_start" };
    let host = "(module (func (export \"call\") (param i32 i32 i32 i32) (result i32) unreachable))";
    let host = wat::parse_str(host).expect("well formed");
    componentize_with(&add(module, &start), &[("host", &host)])
}

fn run(program: &Program, folder: &Path, script: &str, memory_bytes: u64) -> Outcome {
    let library = std::fs::read(folder.join("python315.zip")).unwrap();
    let inputs = InputSet::builder().file("/usr/local/lib/python315.zip", library).unwrap().build();
    let args = ["-c".to_owned(), script.to_owned()];
    let env = [("HOME".to_owned(), "/out".to_owned()), ("TMPDIR".to_owned(), "/out".to_owned())];
    let limits = Limits { memory_bytes, time: Duration::from_mins(10), ..Limits::default() };
    let task = TaskInput { args: &args, env: &env, stdin: b"3 4\n", inputs: &inputs, limits, ..TaskInput::new() };
    let outcome = program.run(&task, &StopFlag::new()).unwrap();
    let errors = String::from_utf8_lossy(&outcome.stderr);
    eprintln!(
        "{} in {:?}, {} fuel, {} bytes\n{errors}",
        outcome.exit, outcome.wall, outcome.fuel, outcome.peak_memory_bytes
    );
    outcome
}

#[test]
fn cpython_gives_the_same_as_a_component() {
    let Some(folder) = folder() else { return };
    let config = VmConfig { cache_dir: Some(folder.join("cache")), ..VmConfig::default() };
    let vm = Vm::new(config.clone()).unwrap();
    let module = std::fs::read(folder.join("python.wasm")).unwrap();
    let wasm = component(&module);
    let begun = Instant::now();
    let program = vm.prepare(&wasm, false).unwrap();
    eprintln!("{} bytes ready in {:?}", wasm.len(), begun.elapsed());
    let script = "import random, time, os\na, b = map(int, input().split())\n\
                  print(a * b, random.random(), time.time(), hash('x'), sorted(os.listdir('/')))\n\
                  try:\n    open('/usr/local/lib/x', 'w')\nexcept OSError as e:\n    print(e.errno)\n\
                  os.mkdir('/out/d')\nopen('/out/d/a', 'w').write('b' * 100000)\nprint(os.listdir('/out/d'))";
    let first = run(&program, &folder, script, 1 << 30);
    assert_eq!(first.exit, Exit::Ok);
    let other = Vm::new(config).unwrap().prepare(&wasm, false).unwrap();
    let second = run(&other, &folder, script, 1 << 30);
    assert_eq!((&first.stdout, first.fuel, &first.outputs), (&second.stdout, second.fuel, &second.outputs));
    let as_module = run(&vm.prepare_entry(&module, false, "run").unwrap(), &folder, script, 1 << 30);
    assert_eq!(String::from_utf8_lossy(&first.stdout), String::from_utf8_lossy(&as_module.stdout));
    assert_eq!(first.outputs, as_module.outputs);

    assert_eq!(run(&program, &folder, "import sys; sys.exit(7)", 1 << 30).exit, Exit::Code(1));
    assert!(!run(&program, &folder, "x = bytearray(1 << 29)", 128 << 20).exit.is_ok());
    start_alone(&program);
}

/// Says how long a task takes that ends at its first instruction: the start, and cleaning up.
fn start_alone(program: &Program) {
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

/// Any command that a compiler of its own made for preview 2, such as `componentize-py` of PyPI: it gives the same twice.
#[test]
fn a_command_built_for_preview_2_gives_the_same_each_time() {
    let Some(path) = std::env::var_os("BMM_TEST_COMPONENT") else {
        eprintln!("skipped: BMM_TEST_COMPONENT names no component, for example one that componentize-py makes");
        return;
    };
    let wasm = std::fs::read(path).expect("the component can be read");
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        let program = Vm::new(VmConfig::default()).unwrap().prepare(&wasm, false).unwrap();
        eprintln!("{} bytes ready in {:?}", wasm.len(), begun.elapsed());
        let limits = Limits { memory_bytes: 1 << 30, time: Duration::from_mins(10), ..Limits::default() };
        let task = TaskInput { stdin: b"some input", limits, ..TaskInput::new() };
        let mut outcome = program.run(&task, &StopFlag::new()).unwrap();
        eprintln!("{} in {:?}, {} fuel, {} bytes", outcome.exit, outcome.wall, outcome.fuel, outcome.peak_memory_bytes);
        eprintln!("{}", String::from_utf8_lossy(&outcome.stdout));
        outcome.wall = Duration::ZERO;
        outcomes.push(outcome);
        start_alone(&program);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(!matches!(outcomes[0].exit, Exit::Limit(_)));
}
