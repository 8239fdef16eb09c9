//! Programs that mean harm: each ends with the right reason, and the sandbox goes on.

use std::time::Duration;

use bmm_vm::{Exit, InputSet, LimitKind, StopFlag, TaskInput, TrapKind};

use crate::{limits, program, run, run_plain};

const LOOP: &str = "(loop $forever (br $forever))";

#[test]
fn an_endless_loop_runs_into_the_time_limit() {
    let limits = limits(|l| l.time = Duration::from_millis(30));
    let outcome = run(&program("", LOOP), &TaskInput { limits, ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.exit.name()), (Exit::Limit(LimitKind::Time), "limit:time"));
    assert!(outcome.fuel > 0 && outcome.wall >= Duration::from_millis(30));
}

#[test]
fn an_endless_loop_in_the_start_section_runs_into_the_time_limit() {
    let program = program(&format!("(func $begin {LOOP}) (start $begin)"), "");
    let limits = limits(|l| l.time = Duration::from_millis(30));
    assert_eq!(run(&program, &TaskInput { limits, ..TaskInput::new() }).exit, Exit::Limit(LimitKind::Time));
}

#[test]
fn an_endless_loop_of_system_calls_runs_into_the_time_limit() {
    let program = program("", "(loop $l (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64))) (br $l))");
    let limits = limits(|l| l.time = Duration::from_millis(30));
    assert_eq!(run(&program, &TaskInput { limits, ..TaskInput::new() }).exit, Exit::Limit(LimitKind::Time));
}

#[test]
fn sleeping_takes_no_time() {
    // A subscription to the monotonic clock, relative, of 2^60 ns.
    let start = "(i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 0x1000000000000000))
        (call $check (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 16)))
        (call $same (i32.load (i32.const 16)) (i32.const 1))
        (call $check (call $clock (i32.const 1) (i64.const 0) (i32.const 24)))
        (call $same (i32.wrap_i64 (i64.shr_u (i64.load (i32.const 24)) (i64.const 60))) (i32.const 1))";
    let limits = limits(|l| l.time = Duration::from_mins(1));
    assert_eq!(run(&program("", start), &TaskInput { limits, ..TaskInput::new() }).exit, Exit::Ok);
}

#[test]
fn a_fuel_limit_is_exact() {
    let program = program("", LOOP);
    let task = TaskInput { limits: limits(|l| l.fuel = Some(3_000_000)), ..TaskInput::new() };
    let outcome = run(&program, &task);
    assert_eq!((outcome.exit, outcome.exit.name()), (Exit::Limit(LimitKind::Fuel), "limit:fuel"));
    assert_eq!(outcome.fuel, 3_000_000);
    let none = TaskInput { limits: limits(|l| l.fuel = Some(0)), ..TaskInput::new() };
    assert_eq!(run(&program, &none).exit, Exit::Limit(LimitKind::Fuel));
}

#[test]
fn system_calls_count_against_the_fuel_limit() {
    let program = program("", "(loop $l (drop (call $random (i32.const 64) (i32.const 60000))) (br $l))");
    let outcome = run(&program, &TaskInput { limits: limits(|l| l.fuel = Some(10_000_000)), ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.fuel), (Exit::Limit(LimitKind::Fuel), 10_000_000));
}

#[test]
fn a_memory_bomb_is_named_when_the_program_fails_of_it() {
    let bomb =
        program("", "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable");
    let outcome = run(&bomb, &TaskInput { limits: limits(|l| l.memory_bytes = 8 << 20), ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.exit.name()), (Exit::Limit(LimitKind::Memory), "limit:memory"));
    assert_eq!(outcome.peak_memory_bytes, (4 + 7 * 16) * 65_536);
    let calm = program("", "(drop (memory.grow (i32.const 60000)))");
    let outcome = run(&calm, &TaskInput { limits: limits(|l| l.memory_bytes = 8 << 20), ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.peak_memory_bytes), (Exit::Ok, 4 * 65_536));
}

#[test]
fn a_first_memory_over_the_limit_is_named() {
    let outcome = run(&program("", ""), &TaskInput { limits: limits(|l| l.memory_bytes = 65_536), ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.fuel), (Exit::Limit(LimitKind::Memory), 0));
}

#[test]
fn every_page_of_a_large_memory_can_be_used_and_is_zero_again() {
    let fill = program(
        "",
        "(call $same (memory.grow (i32.const 1596)) (i32.const 4))
         (call $same (i32.load (i32.const 104857596)) (i32.const 0))
         (memory.fill (i32.const 0) (i32.const 255) (i32.const 104857600))",
    );
    for _ in 0..3 {
        let outcome = run_plain(&fill);
        assert_eq!((outcome.exit, outcome.peak_memory_bytes), (Exit::Ok, 100 << 20));
        assert!(outcome.fuel > 100 << 20);
    }
}

#[test]
fn an_output_bomb_ends_at_the_limit() {
    let stdout = program("", "(loop $l (call $put (i32.const 1) (i32.const 64) (i32.const 60000)) (br $l))");
    let file = program(
        r#"(data (i32.const 64) "bomb")"#,
        "(call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const -1)))
         (loop $l (call $put (i32.load (i32.const 12)) (i32.const 64) (i32.const 60000)) (br $l))",
    );
    let sparse = program(
        r#"(data (i32.const 64) "bomb")"#,
        "(call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const -1)))
         (call $check (call $fd_seek (i32.const 5) (i64.const 0x7ffffffffffffff0) (i32.const 0) (i32.const 16)))
         (call $put (i32.const 5) (i32.const 64) (i32.const 60000))",
    );
    let resize = program(
        r#"(data (i32.const 64) "bomb")"#,
        "(call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const -1)))
         (call $check (call $set_size (i32.const 5) (i64.const -1)))",
    );
    for bomb in [stdout, file, sparse, resize] {
        let outcome = run(&bomb, &TaskInput { limits: limits(|l| l.output_bytes = 1 << 20), ..TaskInput::new() });
        assert_eq!((outcome.exit, outcome.exit.name()), (Exit::Limit(LimitKind::Output), "limit:output"));
        assert!(outcome.stdout.len() + outcome.outputs.values().map(Vec::len).sum::<usize>() <= 1 << 20);
    }
}

#[test]
fn only_the_end_of_the_standard_error_is_kept() {
    let start = "(local $i i32)
        (loop $l
          (i32.store (i32.const 64) (local.get $i))
          (call $put (i32.const 2) (i32.const 64) (i32.const 4))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))";
    let outcome = run_plain(&program("", start));
    assert_eq!((outcome.exit, outcome.stderr.len()), (Exit::Ok, bmm_vm::STDERR_KEPT_BYTES));
    assert_eq!(outcome.stderr[outcome.stderr.len() - 4..], 99_999_u32.to_le_bytes());
}

#[test]
fn a_file_bomb_ends_at_the_limit() {
    let start = "(loop $l
          (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const -1)))
          (call $check (call $fd_close (i32.load (i32.const 12))))
          (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
          (br $l))";
    let program = program(r#"(data (i32.const 64) "Afil")"#, start);
    let outcome = run(&program, &TaskInput { limits: limits(|l| l.files = 50), ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.outputs.len()), (Exit::Limit(LimitKind::Files), 50));
}

/// Returns the exit code of opening a path of a directory for reading.
fn open_code(dir: u32, path: &str) -> Exit {
    let inputs =
        InputSet::builder().file("in.txt", b"x".to_vec()).unwrap().file("d/deep.txt", b"y".to_vec()).unwrap().build();
    let length = path.len();
    let program = program(
        &format!(r#"(data (i32.const 64) "{path}")"#),
        &format!(
            "(call $check (call $open (i32.const {dir}) (i32.const 64) (i32.const {length}) (i32.const 0) (i64.const 2)))"
        ),
    );
    run(&program, &TaskInput { inputs: &inputs, ..TaskInput::new() }).exit
}

#[test]
fn no_path_leaves_its_directory() {
    const NOTCAPABLE: Exit = Exit::Code(76);
    for dir in [3, 4] {
        for path in ["..", "../etc/passwd", "../in/in.txt", "./.././out", "/etc/passwd", "/in/in.txt", "/"] {
            assert_eq!(open_code(dir, path), NOTCAPABLE, "{dir} {path}");
        }
    }
    assert_eq!(open_code(3, "d/../../x"), NOTCAPABLE);
    assert_eq!(open_code(3, "d/../in.txt"), Exit::Ok);
    assert_eq!(open_code(3, "d//./deep.txt"), Exit::Ok);
    assert_eq!(open_code(3, "nowhere/../in.txt"), Exit::Code(44));
    assert_eq!(open_code(3, "in.txt/../in.txt"), Exit::Code(54));
    assert_eq!(open_code(3, "in.txt/"), Exit::Code(54));
    assert_eq!(open_code(3, "etc/passwd"), Exit::Code(44));
    assert_eq!(open_code(3, "\\ff\\fe"), Exit::Code(25));
    assert_eq!(open_code(3, &"x".repeat(300)), Exit::Code(37));
    assert_eq!(open_code(1, "in.txt"), Exit::Code(54));
}

#[test]
fn a_directory_descriptor_is_a_boundary_too() {
    let start = "(call $check (call $mkdir (i32.const 4) (i32.const 64) (i32.const 1)))
        (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 1) (i32.const 2) (i64.const 2)))
        (call $check (call $open (i32.const 5) (i32.const 65) (i32.const 4) (i32.const 1) (i64.const -1)))";
    let outcome = run_plain(&program(r#"(data (i32.const 64) "d../x")"#, start));
    assert_eq!(outcome.exit, Exit::Code(76));
}

#[test]
fn links_cannot_be_made() {
    let data = r#"(data (i32.const 64) "/etc/passwd") (data (i32.const 96) "link")"#;
    let symbolic =
        "(call $check (call $path_symlink (i32.const 64) (i32.const 11) (i32.const 4) (i32.const 96) (i32.const 4)))";
    let hard = "(call $check (call $path_link (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 11)
        (i32.const 4) (i32.const 96) (i32.const 4)))";
    for start in [symbolic, hard] {
        let outcome = run_plain(&program(data, start));
        assert_eq!((outcome.exit, outcome.outputs.len()), (Exit::Code(58), 0));
    }
}

#[test]
fn inputs_cannot_be_changed() {
    let inputs = InputSet::builder().file("a", b"x".to_vec()).unwrap().build();
    let data = r#"(data (i32.const 64) "ab")"#;
    for call in [
        "(call $open (i32.const 3) (i32.const 64) (i32.const 1) (i32.const 0) (i64.const 0x40))",
        "(call $open (i32.const 3) (i32.const 64) (i32.const 1) (i32.const 8) (i64.const 2))",
        "(call $open (i32.const 3) (i32.const 65) (i32.const 1) (i32.const 1) (i64.const 0x40))",
        "(call $unlink (i32.const 3) (i32.const 64) (i32.const 1))",
        "(call $mkdir (i32.const 3) (i32.const 65) (i32.const 1))",
        "(call $rename (i32.const 3) (i32.const 64) (i32.const 1) (i32.const 4) (i32.const 64) (i32.const 1))",
    ] {
        let outcome =
            run(&program(data, &format!("(call $check {call})")), &TaskInput { inputs: &inputs, ..TaskInput::new() });
        assert_eq!(outcome.exit, Exit::Code(69), "{call}");
    }
    assert_eq!(inputs.get("a").unwrap().as_slice(), b"x");
}

#[test]
fn deep_recursion_is_a_stack_overflow() {
    let program = program(
        "(func $deep (param i64) (call $deep (i64.add (local.get 0) (i64.const 1))))",
        "(call $deep (i64.const 0))",
    );
    let outcome = run_plain(&program);
    assert_eq!((outcome.exit, outcome.exit.name()), (Exit::Limit(LimitKind::Stack), "limit:stack_overflow"));
}

#[test]
fn broken_rules_are_named() {
    for (start, kind) in [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const -8)))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", TrapKind::DivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind::IntegerOverflow),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", TrapKind::BadConversion),
        ("(call_indirect (i32.const 0))", TrapKind::IndirectCall),
        ("(call_indirect (i32.const 7))", TrapKind::TableOutOfBounds),
    ] {
        assert_eq!(run_plain(&program("(table 1 funcref)", start)).exit, Exit::Trap(kind), "{start}");
    }
}

#[test]
fn buffers_outside_the_memory_are_faults() {
    for start in [
        "(call $check (call $fd_write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 8)))",
        "(i32.store (i32.const 0) (i32.const 262140)) (i32.store (i32.const 4) (i32.const 8))
         (call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
        "(i32.store (i32.const 4) (i32.const -1))
         (call $check (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))",
        "(call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 262141)))",
        "(call $check (call $random (i32.const 262143) (i32.const 2)))",
        "(call $check (call $stat (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 1) (i32.const 0)))",
    ] {
        assert_eq!(run_plain(&program("", start)).exit, Exit::Code(21), "{start}");
    }
    let many = "(call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8)))";
    assert_eq!(run_plain(&program("", many)).exit, Exit::Code(28));
}

#[test]
fn descriptors_run_out_without_harm() {
    let start = "(loop $l
        (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 1) (i32.const 1) (i64.const -1)))
        (br $l))";
    let outcome = run_plain(&program(r#"(data (i32.const 64) "f")"#, start));
    assert_eq!((outcome.exit, outcome.outputs.len()), (Exit::Code(33), 1));
}

#[test]
fn a_program_without_memory_gets_faults() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func (export "_start") (call $exit (call $random (i32.const 0) (i32.const 1)))))"#;
    assert_eq!(run_plain(&crate::compile(text)).exit, Exit::Code(21));
}

#[test]
fn a_running_program_can_be_stopped() {
    let program = program("", LOOP);
    let stop = StopFlag::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            program
                .run(&TaskInput { limits: limits(|_| ()), ..TaskInput::new() }, &stop)
                .expect("the host does not fail")
        });
        std::thread::sleep(Duration::from_millis(20));
        stop.stop();
        assert_eq!(running.join().unwrap().exit, Exit::Cancelled);
    });
    let before = program.run(&TaskInput::new(), &stop).unwrap();
    assert_eq!((before.exit, before.fuel), (Exit::Cancelled, 0));
}

#[test]
fn limits_beyond_the_host_are_refused() {
    let program = program("", "");
    for limits in [limits(|l| l.memory_bytes = u64::MAX), limits(|l| l.output_bytes = u64::MAX)] {
        let refused = program.run(&TaskInput { limits, ..TaskInput::new() }, &StopFlag::new());
        assert!(matches!(refused, Err(bmm_vm::VmError::LimitTooHigh { .. })));
    }
}
