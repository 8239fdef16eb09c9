//! Components that import preview 2 by themselves, without an adapter.

use bmm_vm::{Exit, InputSet, LimitKind, Outcome, StopFlag, TaskInput, TrapKind};

use super::{assert_sound, component_of_world, ready};
use crate::limits;

/// Imports, memory and helpers of these components. An answer is written at address 16.
const DIRECT: &str = r#"
(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
(import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes" (func $zeroes (param i32 i64 i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.splice" (func $splice (param i32 i32 i64 i32)))
(import "wasi:io/streams@0.2.0" "[method]input-stream.read" (func $read (param i32 i64 i32)))
(import "wasi:io/streams@0.2.0" "[resource-drop]input-stream" (func $drop_input (param i32)))
(import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.ready" (func $ready (param i32) (result i32)))
(import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
(import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
(import "wasi:filesystem/types@0.2.0" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
(import "wasi:filesystem/types@0.2.0" "[method]descriptor.read-via-stream" (func $reader (param i32 i64 i32)))
(import "wasi:filesystem/types@0.2.0" "[method]descriptor.append-via-stream" (func $appender (param i32 i32)))
(import "wasi:filesystem/types@0.2.0" "[method]descriptor.write" (func $write_at (param i32 i32 i32 i64 i32)))
(import "wasi:filesystem/types@0.2.0" "[resource-drop]descriptor" (func $close (param i32)))
(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
(import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $tcp (param i32 i32)))
(import "wasi:sockets/udp-create-socket@0.2.0" "create-udp-socket" (func $udp (param i32 i32)))
(import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $lookup (param i32 i32 i32 i32)))
(memory (export "memory") 64)
(global $free (mut i32) (i32.const 1048576))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $at) (local.get 3)))
  (local.get $at))
;; Ends the program with the code unless it is zero.
(func $check (param $code i32) (if (local.get $code) (then (call $exit (local.get $code)))))
;; Ends the program with 100 and the error of the answer, if it is one whose error is `offset` further.
(func $good (param $offset i32)
  (if (i32.load8_u (i32.const 16)) (then
    (call $exit (i32.add (i32.const 100) (i32.load8_u (i32.add (i32.const 16) (local.get $offset))))))))
;; Prints bytes.
(func $put (param $at i32) (param $len i32)
  (call $write (call $stdout) (local.get $at) (local.get $len) (i32.const 16)) (call $good (i32.const 4)))
;; Returns the descriptor number `n` of those that it begins with.
(func $dir (param $n i32) (result i32)
  (call $directories (i32.const 16))
  (i32.load (i32.add (i32.load (i32.const 16)) (i32.mul (i32.const 12) (local.get $n)))))
"#;

/// Runs a component of the helpers and the body of `run`, twice, with the same result.
fn run(data: &str, body: &str) -> Outcome {
    let text = format!(
        "(module {DIRECT} {data} (func (export \"wasi:cli/run@0.2.0#run\") (result i32) (local $i i32) {body} (i32.const 0)))"
    );
    let program = ready(&component_of_world("direct", &text));
    let inputs = InputSet::builder().file("a.txt", b"sphere".to_vec()).unwrap().build();
    let limits = limits(|l| l.fuel = Some(500_000_000));
    let task = TaskInput { inputs: &inputs, limits, seed: [1; 32], ..TaskInput::new() };
    let [first, mut second] = [(); 2].map(|()| program.run(&task, &StopFlag::new()).expect("the host does not fail"));
    second.wall = first.wall;
    assert_eq!(first, second);
    assert_sound();
    first
}

fn exit(data: &str, body: &str) -> Exit {
    run(data, body).exit
}

const NAMES: &str = r#"(data (i32.const 64) "a.txt") (data (i32.const 80) "copy") (data (i32.const 96) "\ff\fe")"#;

#[test]
fn files_are_copied_from_in_to_out() {
    let body = "(call $open (call $dir (i32.const 0)) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 16))
        (call $good (i32.const 4))
        (call $reader (i32.load (i32.const 20)) (i64.const 2) (i32.const 16)) (call $good (i32.const 4))
        (local.set $i (i32.load (i32.const 20)))
        (call $open (call $dir (i32.const 1)) (i32.const 0) (i32.const 80) (i32.const 4) (i32.const 1) (i32.const 2) (i32.const 16))
        (call $good (i32.const 4))
        (call $appender (i32.load (i32.const 20)) (i32.const 16)) (call $good (i32.const 4))
        (i32.store (i32.const 48) (i32.load (i32.const 20)))
        (call $splice (i32.load (i32.const 48)) (local.get $i) (i64.const 3) (i32.const 16)) (call $good (i32.const 8))
        (call $zeroes (i32.load (i32.const 48)) (i64.const 2) (i32.const 16)) (call $good (i32.const 4))
        (call $splice (i32.load (i32.const 48)) (local.get $i) (i64.const 99) (i32.const 16)) (call $good (i32.const 8))
        (call $read (local.get $i) (i64.const 1) (i32.const 16))
        (call $put (i32.const 16) (i32.const 1)) (call $put (i32.const 64) (i32.const 5))";
    let outcome = run(NAMES, body);
    assert_eq!((outcome.exit, outcome.outputs["copy"].as_slice()), (Exit::Ok, &b"her\0\0e"[..]));
    // The stream was at its end.
    assert_eq!(outcome.stdout, b"\x01a.txt");
}

#[test]
fn sockets_and_names_are_denied() {
    // Access denied is number 1.
    assert_eq!(exit("", "(call $tcp (i32.const 0) (i32.const 16)) (call $good (i32.const 4))"), Exit::Code(101));
    assert_eq!(exit("", "(call $udp (i32.const 1) (i32.const 16)) (call $good (i32.const 4))"), Exit::Code(101));
    let lookup =
        "(call $lookup (call $network) (i32.const 64) (i32.const 5) (i32.const 16)) (call $good (i32.const 4))";
    assert_eq!(exit(NAMES, lookup), Exit::Code(101));
}

#[test]
fn time_passes_by_waiting_only() {
    let body = "(local.set $i (call $subscribe (i64.const 0x1000000000000000)))
        (call $check (call $ready (local.get $i)))
        (call $block (local.get $i))
        (call $check (i32.eqz (call $ready (local.get $i))))
        (call $check (i64.lt_u (call $now) (i64.const 0x1000000000000000)))
        (call $drop_pollable (local.get $i))
        (local.set $i (call $subscribe (i64.const 1000000)))
        (loop $wait (br_if $wait (i32.eqz (call $ready (local.get $i)))))
        (i32.store (i32.const 64) (local.get $i)) (i32.store (i32.const 68) (call $subscribe (i64.const 0)))
        (call $poll (i32.const 64) (i32.const 2) (i32.const 16))
        (call $check (i32.ne (i32.load (i32.const 20)) (i32.const 2)))";
    assert_eq!(exit("", body), Exit::Ok);
}

#[test]
fn handles_are_bounded() {
    let start = "(loop $l (drop (call $subscribe (i64.const 0))) (br $l))";
    assert_eq!(exit("", start), Exit::Limit(LimitKind::Handles));
    assert_eq!(exit("", "(loop $l (drop (call $stdout)) (br $l))"), Exit::Limit(LimitKind::Handles));
    assert_eq!(exit("", "(loop $l (drop (call $network)) (br $l))"), Exit::Trap(TrapKind::Other));
    assert_eq!(exit("", "(loop $l (call $directories (i32.const 16)) (br $l))"), Exit::Trap(TrapKind::Other));
    let reuse = "(loop $l (call $drop_pollable (call $subscribe (i64.const 0)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000))))";
    assert_eq!(exit("", reuse), Exit::Ok);
    // Thousands of open files: an error (insufficient memory is number 22), and then there is room again.
    let open = "(call $open (call $dir (i32.const 1)) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 1) (i32.const 3) (i32.const 16))";
    let open_again = open.replace("(call $dir (i32.const 1))", "(local.get $i)");
    let files = format!(
        "(local.set $i (call $dir (i32.const 1)))
        (loop $l {open_again} (br_if $l (i32.eqz (i32.load8_u (i32.const 16)))))
        (call $check (i32.ne (i32.load8_u (i32.const 20)) (i32.const 22)))
        (call $close (i32.const 9)) {open_again} (call $good (i32.const 4))"
    );
    assert_eq!(exit(NAMES, &files), Exit::Ok);
}

#[test]
fn faults_are_the_programs_own() {
    for (what, body) in [
        ("a handle that does not exist", "(call $block (i32.const 77))"),
        ("a handle of another kind", "(call $block (call $stdout))"),
        (
            "a handle that is gone",
            "(local.set $i (call $subscribe (i64.const 0))) (call $drop_pollable (local.get $i)) (call $block (local.get $i))",
        ),
        ("random bytes without end", "(call $random (i64.const -1) (i32.const 16))"),
        ("a poll of nothing", "(call $poll (i32.const 64) (i32.const 0) (i32.const 16))"),
        ("a list outside the memory", "(call $poll (i32.const 64) (i32.const 0x3fffffff) (i32.const 16))"),
        ("more than was allowed", "(call $write (call $stdout) (i32.const 0) (i32.const 2000000) (i32.const 16))"),
        ("zeros without end", "(call $zeroes (call $stdout) (i64.const -1) (i32.const 16))"),
        ("an answer outside the memory", "(call $directories (i32.const 0x7ffffff0))"),
        (
            "a name that is no text",
            "(call $open (call $dir (i32.const 1)) (i32.const 0) (i32.const 96) (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16))",
        ),
        ("a stream that is in use", "(call $drop_input (call $stdout))"),
    ] {
        let found = exit(NAMES, body);
        assert!(matches!(found, Exit::Trap(_)), "{what}: {found}");
    }
    let outcome = run(
        "",
        "(call $random (i64.const 1000) (i32.const 16)) (call $put (i32.load (i32.const 16)) (i32.load (i32.const 20)))",
    );
    assert_eq!((outcome.exit, outcome.stdout.len()), (Exit::Ok, 1000));
}

#[test]
fn what_is_handed_over_is_charged_for() {
    let write = |len: u32| {
        let body = format!("(call $write (call $stdout) (i32.const 0) (i32.const {len}) (i32.const 16))");
        run("", &body).fuel
    };
    assert_eq!(write(500_000) - write(0), 500_000);
    let far = "(call $open (call $dir (i32.const 1)) (i32.const 0) (i32.const 80) (i32.const 4) (i32.const 1) (i32.const 2) (i32.const 16))
        (call $good (i32.const 4))
        (call $write_at (i32.load (i32.const 20)) (i32.const 0) (i32.const 1) (i64.const 999999) (i32.const 16)) (call $good (i32.const 8))";
    let outcome = run(NAMES, far);
    assert_eq!((outcome.exit, outcome.outputs["copy"].len()), (Exit::Ok, 1_000_000));
    assert!(outcome.fuel > 1_000_000);
}

#[test]
fn memory_cannot_be_asked_for_by_calling_the_host_again() {
    // The host asks for room for its answer, and is called instead.
    let text = DIRECT
        .replace("(local.set $at (i32.and", "(call $random (i64.const 9) (i32.const 16)) (local.set $at (i32.and");
    assert_ne!(text, DIRECT);
    let body = "(call $random (i64.const 9) (i32.const 16)) (i32.const 0)";
    let text = format!("(module {text} (func (export \"wasi:cli/run@0.2.0#run\") (result i32) {body}))");
    let outcome = ready(&component_of_world("direct", &text)).run(&TaskInput::new(), &StopFlag::new());
    assert!(matches!(outcome.expect("the host does not fail").exit, Exit::Trap(TrapKind::Other)));
    assert_sound();
}

#[test]
fn canonical_nans_have_one_pattern() {
    let body = "(f64.store (i32.const 64) (f64.add (f64.load (i32.const 80)) (f64.const 1))) (call $put (i32.const 64) (i32.const 8))";
    let data = "(data (i32.const 80) \"\\01\\02\\03\\04\\05\\06\\fc\\ff\")";
    let text = format!(
        "(module {DIRECT} {data} (func (export \"wasi:cli/run@0.2.0#run\") (result i32) {body} (i32.const 0)))"
    );
    let program = crate::VM.prepare(&component_of_world("direct", &text), true).expect("it is accepted");
    let outcome = program.run(&TaskInput::new(), &StopFlag::new()).expect("the host does not fail");
    assert_eq!(outcome.stdout, 0x7ff8_0000_0000_0000_u64.to_le_bytes());
}
