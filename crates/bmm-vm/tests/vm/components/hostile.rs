//! Components that mean harm: each ends with the right reason, and the sandbox goes on.

use std::time::Duration;

use bmm_vm::{Exit, InputSet, LimitKind, Limits, Outcome, StopFlag, TaskInput, TrapKind, Vm, VmConfig};

use super::{assert_sound, componentize, module, ready};
use crate::limits;

/// Runs a program of preview 1 as a component, twice: what it does is the same, but for the time limit.
fn run(definitions: &str, start: &str, limits: Limits) -> Outcome {
    let program = ready(&componentize(&module(definitions, start)));
    let inputs = InputSet::builder().file("scene.txt", b"sphere".to_vec()).unwrap().build();
    let task = TaskInput { limits, inputs: &inputs, ..TaskInput::new() };
    let [first, second] = [(); 2].map(|()| program.run(&task, &StopFlag::new()).expect("the host does not fail"));
    assert_eq!(first.exit, second.exit);
    if first.exit.is_deterministic() {
        assert_eq!((first.fuel, first.peak_memory_bytes), (second.fuel, second.peak_memory_bytes));
        assert_eq!((&first.stdout, &first.outputs), (&second.stdout, &second.outputs));
    }
    assert_sound();
    first
}

const LOOP: &str = "(loop $forever (br $forever))";

#[test]
fn endless_loops_run_into_the_limits_of_time_and_fuel() {
    let clock = "(loop $l (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64))) (br $l))";
    for start in [LOOP, clock] {
        let outcome = run("", start, limits(|l| l.time = Duration::from_millis(30)));
        assert_eq!(outcome.exit, Exit::Limit(LimitKind::Time));
        assert!(outcome.wall >= Duration::from_millis(30) && outcome.wall < Duration::from_secs(2));
        let outcome = run("", start, limits(|l| l.fuel = Some(3_000_000)));
        assert_eq!((outcome.exit, outcome.fuel), (Exit::Limit(LimitKind::Fuel), 3_000_000));
    }
    let outcome = run("", "", limits(|l| l.fuel = Some(0)));
    assert_eq!((outcome.exit, outcome.fuel), (Exit::Limit(LimitKind::Fuel), 0));
}

#[test]
fn a_set_flag_stops_a_component() {
    let program = ready(&componentize(&module("", LOOP)));
    let stop = StopFlag::new();
    let exit = std::thread::scope(|scope| {
        let running = scope.spawn(|| program.run(&TaskInput { limits: limits(|_| ()), ..TaskInput::new() }, &stop));
        std::thread::sleep(Duration::from_millis(20));
        stop.stop();
        running.join().expect("it ends").expect("the host does not fail").exit
    });
    assert_eq!(exit, Exit::Cancelled);
}

#[test]
fn memory_is_limited_from_the_first_page_on() {
    let bomb = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let outcome = run("", bomb, limits(|l| l.memory_bytes = 8 << 20));
    assert_eq!(outcome.exit, Exit::Limit(LimitKind::Memory));
    assert!(outcome.peak_memory_bytes > 7 << 20 && outcome.peak_memory_bytes <= 8 << 20);
    for bytes in [1, 65_536, 4 * 65_536 - 1] {
        let outcome = run("", "", limits(|l| l.memory_bytes = bytes));
        assert_eq!((outcome.exit, outcome.fuel), (Exit::Limit(LimitKind::Memory), 0));
    }
    // Enough for the program, not for what it needs to be a component.
    assert_eq!(
        run("", "(call $put (i32.const 1) (i32.const 64) (i32.const 1))", limits(|l| l.memory_bytes = 4 * 65_536)).exit,
        Exit::Limit(LimitKind::Memory)
    );
}

#[test]
fn two_memories_count_together() {
    let text = "(component
        (core module $other (memory (export \"m\") 40))
        (core instance (instantiate $other))
        (core module $main (memory 40) (func (export \"run\") (result i32) (i32.const 0)))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main \"run\")))
        (instance $run (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.0\" (instance $run)))";
    let program = ready(&wat::parse_str(text).expect("well formed"));
    let run = |pages: u64| {
        let task = TaskInput { limits: limits(|l| l.memory_bytes = pages << 16), ..TaskInput::new() };
        program.run(&task, &StopFlag::new()).expect("the host does not fail")
    };
    assert_eq!((run(80).exit, run(80).peak_memory_bytes), (Exit::Ok, 80 << 16));
    assert_eq!((run(79).exit, run(39).exit), (Exit::Limit(LimitKind::Memory), Exit::Limit(LimitKind::Memory)));
}

#[test]
fn output_is_limited() {
    let open =
        "(call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const 0x600062)))";
    let fd = "(i32.load (i32.const 12))";
    for start in [
        "(loop $l (call $put (i32.const 1) (i32.const 64) (i32.const 60000)) (br $l))".to_owned(),
        format!("{open} (loop $l (call $put {fd} (i32.const 64) (i32.const 60000)) (br $l))"),
        format!(
            "{open} (call $check (call $fd_seek {fd} (i64.const 0x7ffffffffffffff0) (i32.const 0) (i32.const 16)))
            (call $put {fd} (i32.const 64) (i32.const 60000))"
        ),
        format!("{open} (call $check (call $set_size {fd} (i64.const -1)))"),
    ] {
        let outcome = run("(data (i32.const 64) \"bomb\")", &start, limits(|l| l.output_bytes = 1 << 20));
        assert_eq!(outcome.exit, Exit::Limit(LimitKind::Output), "{start}");
        assert!(outcome.stdout.len() + outcome.outputs.values().map(Vec::len).sum::<usize>() <= 1 << 20);
    }
    let files = "(local $i i32) (loop $l
        (i32.store (i32.const 64) (i32.add (i32.const 0x61616161) (local.get $i)))
        (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 4) (i32.const 1) (i64.const 0x600062)))
        (call $check (call $fd_close (i32.load (i32.const 12))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 26))))";
    assert_eq!(run("", files, limits(|l| l.files = 20)).exit, Exit::Limit(LimitKind::Files));
}

#[test]
fn nothing_outside_can_be_reached_and_inputs_cannot_be_changed() {
    let names = r#"(data (i32.const 64) "../../etc/passwd") (data (i32.const 96) "/etc/passwd") (data (i32.const 128) "scene.txt")
        (data (i32.const 160) "new") (data (i32.const 192) "..") (data (i32.const 224) "/out/x")"#;
    let open = |fd: u32, at: u32, len: u32, flags: u32, rights: &str| {
        format!(
            "(call $open (i32.const {fd}) (i32.const {at}) (i32.const {len}) (i32.const {flags}) (i64.const {rights}))"
        )
    };
    // Not permitted (63), read-only (69).
    for (call, errno) in [
        (open(3, 64, 16, 0, "2"), 63),
        (open(4, 64, 16, 1, "0x600062"), 63),
        (open(4, 96, 11, 0, "2"), 63),
        (open(4, 224, 6, 1, "0x600062"), 63),
        (open(4, 192, 2, 2, "0x4000"), 63),
        (open(3, 128, 9, 0, "0x600062"), 69),
        (open(3, 128, 9, 8, "0x600062"), 69),
        (open(3, 160, 3, 1, "0x600062"), 69),
        ("(call $mkdir (i32.const 3) (i32.const 160) (i32.const 3))".to_owned(), 69),
        ("(call $unlink (i32.const 3) (i32.const 128) (i32.const 9))".to_owned(), 69),
        ("(call $rename (i32.const 3) (i32.const 128) (i32.const 9) (i32.const 4) (i32.const 160) (i32.const 3))".to_owned(), 69),
        ("(call $rename (i32.const 4) (i32.const 64) (i32.const 16) (i32.const 4) (i32.const 160) (i32.const 3))".to_owned(), 63),
        ("(call $path_symlink (i32.const 64) (i32.const 16) (i32.const 4) (i32.const 160) (i32.const 3))".to_owned(), 58),
        ("(call $path_link (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 9) (i32.const 4) (i32.const 160) (i32.const 3))".to_owned(), 58),
    ] {
        let start = format!("(i32.store (i32.const 32) {call}) (call $put (i32.const 1) (i32.const 32) (i32.const 4))");
        let outcome = run(names, &start, limits(|_| ()));
        assert_eq!((outcome.exit, outcome.outputs.len()), (Exit::Ok, 0), "{call}");
        assert_eq!(outcome.stdout, u32::to_le_bytes(errno), "{call}");
    }
}

#[test]
fn too_many_open_files_are_an_error_and_not_the_end() {
    let start = "(local $i i32) (local $errno i32)
        (loop $l
          (local.set $errno (call $open (i32.const 4) (i32.const 64) (i32.const 1) (i32.const 1) (i64.const 0x600062)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.and (i32.eqz (local.get $errno)) (i32.lt_u (local.get $i) (i32.const 5000)))))
        (i32.store (i32.const 32) (local.get $i))
        (call $put (i32.const 1) (i32.const 32) (i32.const 4))
        (call $exit (local.get $errno))";
    let outcome = run("(data (i32.const 64) \"f\")", start, limits(|_| ()));
    assert!(matches!(outcome.exit, Exit::Code(_)), "{}", outcome.exit);
    let opened = u32::from_le_bytes(outcome.stdout[..4].try_into().unwrap());
    assert!(opened > 50 && opened < 300, "{opened}");
}

#[test]
fn recursion_runs_into_the_limit_of_the_stack() {
    let deep = "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
    let outcome = run(deep, "(drop (call $deep (i32.const 0)))", limits(|_| ()));
    assert_eq!(outcome.exit, Exit::Limit(LimitKind::Stack));
}

#[test]
fn one_place_holds_all_that_a_component_may_have() {
    let vm = Vm::new(VmConfig { max_instances: 1, ..VmConfig::default() }).expect("an engine");
    let throws = "(block $h (result i32) (try_table (result i32) (catch $e $h) (throw $e (i32.const 0))))";
    let others = "(core instance (instantiate $other))".repeat(126);
    let text = format!(
        "(component
        (core module $other)
        (core module $first (memory 3) (table 100000 funcref) (table 100000 funcref))
        (core instance (instantiate $first)) {others}
        (core module $main (memory 3) (table 100000 funcref) (table 100000 funcref) (tag $e (param i32))
            (func (export \"run\") (result i32) {throws}))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main \"run\")))
        (instance $run (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.0\" (instance $run)))"
    );
    let program = vm.prepare(&wat::parse_str(text).expect("well formed"), false).expect("it is within all bounds");
    for _ in 0..3 {
        let outcome = program.run(&TaskInput::new(), &StopFlag::new()).expect("there is room for it");
        assert_eq!(outcome.exit, Exit::Ok);
    }
}

/// Returns a component with a resource of its own, whose main function is `body`.
fn with_resource(body: &str) -> Vec<u8> {
    let text = format!(
        "(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core func $drop (canon resource.drop $r))
        (core module $main
          (import \"\" \"new\" (func $new (param i32) (result i32)))
          (import \"\" \"drop\" (func $drop (param i32)))
          (func (export \"run\") (result i32) (local $i i32) {body} (i32.const 0)))
        (core instance $main (instantiate $main
          (with \"\" (instance (export \"new\" (func $new)) (export \"drop\" (func $drop))))))
        (func $run (result (result)) (canon lift (core func $main \"run\")))
        (instance $run (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.0\" (instance $run)))"
    );
    wat::parse_str(text).expect("well formed")
}

#[test]
fn resources_of_its_own_are_bounded() {
    let run = |body: &str| {
        ready(&with_resource(body)).run(&TaskInput::new(), &StopFlag::new()).expect("the host does not fail").exit
    };
    assert_eq!(run("(loop $l (drop (call $new (i32.const 1))) (br $l))"), Exit::Trap(TrapKind::Other));
    assert_eq!(run("(call $drop (i32.const 7))"), Exit::Trap(TrapKind::Other));
    let many = "(loop $l (call $drop (call $new (i32.const 1)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200000))))";
    assert_eq!(run(many), Exit::Ok);
    assert_sound();
}
