//! The same task gives the same result: twice, on many threads, from fresh and from stored code.

use bmm_vm::{InputSet, Limits, Outcome, StopFlag, TaskInput, Vm, VmConfig};

use crate::{PRELUDE, program};

/// Prints 64 random bytes and two times, and computes with floats for a while.
const BUSY: &str = "(local $i i32) (local $x f64)
    (call $check (call $random (i32.const 64) (i32.const 64)))
    (call $put (i32.const 1) (i32.const 64) (i32.const 64))
    (loop $l
      (local.set $x (f64.sqrt (f64.add (f64.mul (local.get $x) (f64.const 1.25)) (f64.convert_i32_u (local.get $i)))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))
    (f64.store (i32.const 64) (local.get $x))
    (call $check (call $clock (i32.const 0) (i64.const 1) (i32.const 72)))
    (call $check (call $clock (i32.const 1) (i64.const 1) (i32.const 80)))
    (call $put (i32.const 1) (i32.const 64) (i32.const 24))";

/// Returns an outcome without its one field that may differ.
fn timeless(mut outcome: Outcome) -> Outcome {
    outcome.wall = std::time::Duration::ZERO;
    outcome
}

#[test]
fn a_task_gives_the_same_on_every_thread() {
    let program = program("", BUSY);
    let inputs = InputSet::empty();
    let run = || {
        let task = TaskInput { inputs: &inputs, seed: [9; 32], limits: Limits::default(), ..TaskInput::new() };
        timeless(program.run(&task, &StopFlag::new()).unwrap())
    };
    let first = run();
    assert!(first.exit.is_ok() && first.stdout.len() == 88 && first.fuel > 300_000 * 10);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..5).map(|_| run()).collect::<Vec<_>>())).collect();
        for thread in threads {
            for outcome in thread.join().unwrap() {
                assert_eq!(outcome, first);
            }
        }
    });
}

#[test]
fn the_seed_alone_changes_the_random_bytes() {
    let program = program("", BUSY);
    let run = |seed| program.run(&TaskInput { seed, ..TaskInput::new() }, &StopFlag::new()).unwrap();
    let (one, two) = (run([1; 32]), run([2; 32]));
    assert_ne!(one.stdout[..64], two.stdout[..64]);
    assert_eq!(one.stdout[64..], two.stdout[64..]);
    assert_eq!(one.fuel, two.fuel);
}

#[test]
fn stored_code_gives_the_same_as_fresh_code() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(format!("(module {PRELUDE} (func (export \"_start\") {BUSY}))")).unwrap();
    let config = || VmConfig { cache_dir: Some(dir.path().join("code")), max_instances: 2, ..VmConfig::default() };
    let run = |canonical_nans| {
        let vm = Vm::new(config()).unwrap();
        let program = vm.prepare(&wasm, canonical_nans).unwrap();
        timeless(program.run(&TaskInput::new(), &StopFlag::new()).unwrap())
    };
    let fresh = run(false);
    let files = || std::fs::read_dir(dir.path().join("code")).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    let stored = files();
    assert_eq!(stored.len(), 1);
    let written = stored[0].metadata().unwrap().modified().unwrap();
    assert_eq!(run(false), fresh);
    assert_eq!(stored[0].metadata().unwrap().modified().unwrap(), written, "the code was loaded, not compiled again");
    assert_eq!(run(true), fresh, "this program makes no NaN");
    assert_eq!(files().len(), 2, "each class of code has its own file");

    // A damaged file is noticed, and replaced.
    let mut code = std::fs::read(&stored[0]).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 0x40;
    std::fs::write(&stored[0], &code).unwrap();
    assert_eq!(run(false), fresh);
    code[middle] ^= 0x40;
    assert_eq!(std::fs::read(&stored[0]).unwrap(), code);
}

#[test]
fn stored_code_stays_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let config = VmConfig {
        cache_dir: Some(dir.path().join("code")),
        cache_bytes: 100_000,
        max_instances: 2,
        ..VmConfig::default()
    };
    let vm = Vm::new(config).unwrap();
    for number in 0..20 {
        let text = format!("(module {PRELUDE} (func (export \"_start\") (drop (i32.const {number}))))");
        vm.prepare(&wat::parse_str(text).unwrap(), false).unwrap();
    }
    let sizes: Vec<u64> =
        std::fs::read_dir(dir.path().join("code")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).collect();
    assert!(!sizes.is_empty() && sizes.len() < 20 && sizes.iter().sum::<u64>() <= 100_000, "{sizes:?}");
}

#[test]
fn a_prepared_program_is_found_again() {
    let wasm = wat::parse_str("(module (func (export \"_start\") nop nop nop))").unwrap();
    let program = crate::VM.prepare(&wasm, false).unwrap();
    let found = crate::VM.prepared(&program.hash(), false).unwrap();
    assert!(std::sync::Arc::ptr_eq(&program, &found));
    assert!(crate::VM.prepared(&program.hash(), true).is_none());
}

#[test]
fn canonical_nans_have_one_pattern() {
    let text = format!(
        "(module {PRELUDE} (func (export \"_start\")
          (f64.store (i32.const 64) (f64.add (f64.load (i32.const 80)) (f64.const 1)))
          (call $put (i32.const 1) (i32.const 64) (i32.const 8)))
          (data (i32.const 80) \"\\01\\02\\03\\04\\05\\06\\fc\\ff\"))"
    );
    let program = crate::VM.prepare(&wat::parse_str(text).unwrap(), true).unwrap();
    let outcome = crate::run_plain(&program);
    assert_eq!(outcome.stdout, 0x7ff8_0000_0000_0000_u64.to_le_bytes());
}
