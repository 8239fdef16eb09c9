//! Programs that begin at an export of their own, files at absolute paths, and exceptions.

use bmm_vm::{
    Exit, InputSet, LimitKind, Limits, ModuleError, Outcome, PrepareError, StopFlag, TaskInput, TrapKind, Vm, VmConfig,
};

use crate::VM;

fn run_with(text: &str, entry: &str, inputs: &InputSet, memory_bytes: u64) -> Outcome {
    let wasm = wat::parse_str(text).expect("the test's module is well formed");
    let program = VM.prepare_entry(&wasm, false, entry).expect("a program");
    let limits = Limits { memory_bytes, ..Limits::default() };
    program.run(&TaskInput { inputs, limits, ..TaskInput::new() }, &StopFlag::new()).expect("it runs")
}

fn run(text: &str, entry: &str) -> Exit {
    run_with(text, entry, &InputSet::empty(), 1 << 20).exit
}

#[test]
fn a_reactor_is_initialized_and_returns_its_code() {
    let text = "(module (global $g (mut i32) (i32.const 0))
        (func (export \"_initialize\") (global.set $g (i32.add (global.get $g) (i32.const 4))))
        (func (export \"run\") (result i32) (global.get $g))
        (func (export \"quiet\")))";
    assert_eq!(run(text, "run"), Exit::Code(4));
    assert_eq!(run(text, "quiet"), Exit::Ok);
    assert_eq!(run("(module (func (export \"run\") (result i32) (i32.const 0)))", "run"), Exit::Ok);
}

#[test]
fn unusable_entries_are_named() {
    for (text, entry, named) in [
        ("(module)", "run", "run"),
        ("(module (func (export \"run\") (param i32)))", "run", "run"),
        ("(module (func (export \"run\") (result i64) (i64.const 0)))", "run", "run"),
        ("(module (memory (export \"run\") 1))", "run", "run"),
        ("(module (func (export \"run\")) (func (export \"_initialize\") (param i32)))", "run", "_initialize"),
    ] {
        let wasm = wat::parse_str(text).unwrap();
        match VM.prepare_entry(&wasm, false, entry) {
            Err(PrepareError::Module(error)) => assert_eq!(error, ModuleError::Entry(named.into()), "{text}"),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

#[test]
fn a_function_that_nobody_has_traps_when_it_is_called() {
    let text = "(module (import \"host\" \"call\" (func $call (param i32 i64) (result f32)))
        (import \"host\" \"call\" (func (param i32 i64) (result f32)))
        (func (export \"unused\"))
        (func (export \"used\") (drop (call $call (i32.const 1) (i64.const 2)))))";
    assert_eq!(run(text, "unused"), Exit::Ok);
    assert_eq!(run(text, "used"), Exit::Trap(TrapKind::Unreachable));
    let memory = wat::parse_str("(module (import \"env\" \"memory\" (memory 1)) (func (export \"run\")))").unwrap();
    assert!(matches!(
        VM.prepare_entry(&memory, false, "run"),
        Err(PrepareError::Module(ModuleError::UnknownImport { .. }))
    ));
}

#[test]
fn files_lie_at_their_absolute_path_and_cannot_be_changed() {
    let text = "(module
        (import \"wasi_snapshot_preview1\" \"path_open\"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export \"memory\") 1)
        (data (i32.const 0) \"usr/lib/a.zip\") (data (i32.const 32) \"../in/b\") (data (i32.const 64) \"usr/new\")
        (func $try (param $fd i32) (param $at i32) (param $len i32) (param $flags i32) (param $rights i64) (result i32)
            (call $open (local.get $fd) (i32.const 0) (local.get $at) (local.get $len) (local.get $flags)
                (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 128)))
        (func (export \"read\") (result i32)
            (call $try (i32.const 5) (i32.const 0) (i32.const 13) (i32.const 0) (i64.const 2)))
        (func (export \"write\") (result i32)
            (call $try (i32.const 5) (i32.const 0) (i32.const 13) (i32.const 0) (i64.const 64)))
        (func (export \"create\") (result i32)
            (call $try (i32.const 5) (i32.const 64) (i32.const 7) (i32.const 1) (i64.const 64)))
        (func (export \"leave\") (result i32)
            (call $try (i32.const 5) (i32.const 32) (i32.const 7) (i32.const 0) (i64.const 2))))";
    let inputs = InputSet::builder().file("/usr/lib/a.zip", vec![1]).unwrap().file("b", vec![2]).unwrap().build();
    let exit = |entry, inputs: &InputSet| run_with(text, entry, inputs, 1 << 20).exit;
    assert_eq!(exit("read", &inputs), Exit::Ok);
    // Read-only file system, and not capable.
    assert_eq!([exit("write", &inputs), exit("create", &inputs)], [Exit::Code(69); 2]);
    assert_eq!(exit("leave", &inputs), Exit::Code(76));
    // Without such files there is no root to begin with: a bad descriptor.
    assert_eq!(exit("read", &InputSet::empty()), Exit::Code(8));
}

#[test]
fn exceptions_are_caught_and_bounded() {
    let text = "(module (tag $e (param i32))
        (func (export \"caught\") (result i32)
            (block $h (result i32) (try_table (result i32) (catch $e $h) (throw $e (i32.const 9)))))
        (func (export \"lost\") (throw $e (i32.const 9))))";
    assert_eq!(run(text, "caught"), Exit::Code(9));
    assert_eq!(run(text, "lost"), Exit::Trap(TrapKind::Other));
    // Keeps every exception that it throws: their memory is the task's.
    let values = "(i64.const 1) ".repeat(200);
    let bomb = format!(
        "(module (tag $e (param {})) (table $t 100000 exnref)
            (func (export \"run\") (local $i i32) (local $x exnref)
              (loop $again
                (block $h (result exnref) (try_table (catch_all_ref $h) (throw $e {values})) (unreachable))
                (local.set $x) (table.set $t (local.get $i) (local.get $x))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 100000))))))",
        "i64 ".repeat(200)
    );
    let first = run_with(&bomb, "run", &InputSet::empty(), 16 << 20);
    assert_eq!(first.exit, Exit::Limit(LimitKind::Memory));
    let again = run_with(&bomb, "run", &InputSet::empty(), 16 << 20);
    assert_eq!((first.exit, first.fuel, first.peak_memory_bytes), (again.exit, again.fuel, again.peak_memory_bytes));
}

#[test]
fn as_many_programs_with_exceptions_run_at_once_as_were_asked_for() {
    let vm = Vm::new(VmConfig { max_instances: 1, ..VmConfig::default() }).expect("an engine");
    let text = "(module (memory 1) (tag $e (param i32))
        (func (export \"run\") (result i32)
            (block $h (result i32) (try_table (result i32) (catch $e $h) (throw $e (i32.const 9))))))";
    let program = vm.prepare_entry(&wat::parse_str(text).expect("well formed"), false, "run").expect("a program");
    for _ in 0..3 {
        let outcome =
            program.run(&TaskInput::new(), &StopFlag::new()).expect("there is room for its memory and its heap");
        assert_eq!(outcome.exit, Exit::Code(9));
    }
}
