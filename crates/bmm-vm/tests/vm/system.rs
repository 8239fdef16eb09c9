//! What a program sees of the system, and what it leaves behind.

use std::collections::BTreeMap;

use bmm_vm::{Exit, InputSet, StopFlag, TaskInput, VmError};

use crate::{program, run, run_plain};

#[test]
fn arguments_and_environment_arrive() {
    let start = "(call $check (call $args_sizes (i32.const 16) (i32.const 20)))
        (call $check (call $args_get (i32.const 64) (i32.const 1024)))
        (call $put (i32.const 1) (i32.const 16) (i32.const 8))
        (call $put (i32.const 1) (i32.load (i32.const 68)) (i32.const 7))
        (call $check (call $environ_sizes (i32.const 16) (i32.const 20)))
        (call $check (call $environ_get (i32.const 64) (i32.const 1024)))
        (call $put (i32.const 1) (i32.const 1024) (i32.load (i32.const 20)))";
    let (args, env) = (["--rows=".to_owned(), "0..16".to_owned()], [("LANG".to_owned(), "C".to_owned())]);
    let outcome = run(&program("", start), &TaskInput { args: &args, env: &env, ..TaskInput::new() });
    assert_eq!(outcome.exit, Exit::Ok);
    assert_eq!(outcome.stdout, b"\x03\0\0\0\x12\0\0\0--rows=LANG=C\0");
}

#[test]
fn unusable_arguments_are_refused() {
    let program = program("", "");
    for args in [["a\0b".to_owned()], ["x".repeat(bmm_vm::MAX_ARGUMENT_BYTES)]] {
        let refused = program.run(&TaskInput { args: &args, ..TaskInput::new() }, &StopFlag::new());
        assert!(matches!(refused, Err(VmError::Arguments(_))));
    }
    let env = [("A=B".to_owned(), "c".to_owned())];
    let refused = program.run(&TaskInput { env: &env, ..TaskInput::new() }, &StopFlag::new());
    assert!(matches!(refused, Err(VmError::Arguments(_))));
}

#[test]
fn exit_codes_are_reported() {
    assert_eq!(run_plain(&program("", "(call $exit (i32.const 0))")).exit, Exit::Ok);
    assert_eq!(run_plain(&program("", "(call $exit (i32.const 3))")).exit, Exit::Code(3));
    assert_eq!(run_plain(&program("", "(call $exit (i32.const -1))")).exit, Exit::Code(-1));
}

/// Copies a descriptor to the standard output until its end.
const COPY: &str = "(func $copy (param $fd i32) (local $n i32)
    (loop $l
      (local.set $n (call $take (local.get $fd) (i32.const 4096) (i32.const 1000)))
      (if (local.get $n) (then (call $put (i32.const 1) (i32.const 4096) (local.get $n)) (br $l)))))";

#[test]
fn stdin_is_read_to_its_end() {
    let stdin: Vec<u8> = (0..=255).cycle().take(12_345).collect();
    let outcome = run(&program(COPY, "(call $copy (i32.const 0))"), &TaskInput { stdin: &stdin, ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.stdout), (Exit::Ok, stdin));
}

#[test]
fn inputs_are_read_from_nested_directories() {
    let inputs = InputSet::builder().file("scenes/deep/a.txt", b"sphere".to_vec()).unwrap().build();
    let data = format!("{COPY} (data (i32.const 64) \"scenes/deep/a.txt\")");
    let start = "(call $check (call $open (i32.const 3) (i32.const 64) (i32.const 17) (i32.const 0) (i64.const 2)))
        (call $copy (i32.const 5))
        (call $check (call $open (i32.const 3) (i32.const 64) (i32.const 6) (i32.const 2) (i64.const 0x4000)))
        (call $check (call $open (i32.const 6) (i32.const 71) (i32.const 10) (i32.const 0) (i64.const 2)))
        (call $check (call $fd_seek (i32.const 7) (i64.const -3) (i32.const 2) (i32.const 16)))
        (call $copy (i32.const 7))";
    let outcome = run(&program(&data, start), &TaskInput { inputs: &inputs, ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.stdout.as_slice()), (Exit::Ok, &b"sphereere"[..]));
}

#[test]
fn files_are_written_renamed_and_removed() {
    let data = r#"(data (i32.const 64) "parts/one") (data (i32.const 96) "two") (data (i32.const 128) "gone")"#;
    let start = "(call $check (call $mkdir (i32.const 4) (i32.const 64) (i32.const 5)))
        (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 9) (i32.const 5) (i64.const -1)))
        (call $put (i32.const 5) (i32.const 96) (i32.const 3))
        (call $same (call $open (i32.const 4) (i32.const 64) (i32.const 9) (i32.const 5) (i64.const -1)) (i32.const 20))
        (call $same (call $rmdir (i32.const 4) (i32.const 64) (i32.const 5)) (i32.const 55))
        (call $check (call $rename (i32.const 4) (i32.const 64) (i32.const 5) (i32.const 4) (i32.const 96) (i32.const 3)))
        (call $same (call $stat (i32.const 4) (i32.const 0) (i32.const 64) (i32.const 9) (i32.const 256)) (i32.const 44))
        (call $put (i32.const 5) (i32.const 64) (i32.const 5))
        (call $check (call $open (i32.const 4) (i32.const 128) (i32.const 4) (i32.const 1) (i64.const -1)))
        (call $put (i32.const 6) (i32.const 128) (i32.const 4))
        (call $check (call $unlink (i32.const 4) (i32.const 128) (i32.const 4)))
        (call $put (i32.const 6) (i32.const 128) (i32.const 4))
        (call $check (call $fd_renumber (i32.const 6) (i32.const 5)))
        (call $same (call $fd_close (i32.const 6)) (i32.const 8))
        (call $check (call $fd_close (i32.const 5)))
        (call $check (call $mkdir (i32.const 4) (i32.const 128) (i32.const 4)))
        (call $check (call $rmdir (i32.const 4) (i32.const 128) (i32.const 4)))
        (call $same (call $rmdir (i32.const 4) (i32.const 69) (i32.const 0)) (i32.const 44))";
    let outcome = run_plain(&program(data, start));
    assert_eq!(outcome.exit, Exit::Ok);
    assert_eq!(outcome.outputs, BTreeMap::from([("two/one".to_owned(), b"twoparts".to_vec())]));
}

#[test]
fn truncating_gives_room_back() {
    let start = "(local $i i32)
        (loop $l
          (call $check (call $open (i32.const 4) (i32.const 64) (i32.const 1) (i32.const 9) (i64.const -1)))
          (call $put (i32.const 5) (i32.const 64) (i32.const 60000))
          (call $check (call $fd_close (i32.const 5)))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))";
    let limits = crate::limits(|l| l.output_bytes = 60_000);
    let outcome = run(&program(r#"(data (i32.const 64) "f")"#, start), &TaskInput { limits, ..TaskInput::new() });
    assert_eq!((outcome.exit, outcome.outputs["f"].len()), (Exit::Ok, 60_000));
}

/// Lists `/in` into a buffer of a size, continuing at the last cookie, and prints each name and a line break.
fn list(names: &[String], buffer: u32) -> Vec<String> {
    let mut inputs = InputSet::builder();
    for name in names {
        inputs.add(name, b"x".to_vec()).unwrap();
    }
    // $at walks over the entries; an entry that is cut is read again by the cookie of the one before it.
    let start = format!(
        "(local $cookie i64) (local $at i32) (local $end i32) (local $len i32)
        (i32.store8 (i32.const 32) (i32.const 10))
        (loop $again
          (call $check (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const {buffer}) (local.get $cookie) (i32.const 16)))
          (local.set $at (i32.const 4096))
          (local.set $end (i32.add (i32.const 4096) (i32.load (i32.const 16))))
          (block $cut
            (loop $entry
              (br_if $cut (i32.gt_u (i32.add (local.get $at) (i32.const 24)) (local.get $end)))
              (local.set $len (i32.load offset=16 (local.get $at)))
              (br_if $cut (i32.gt_u (i32.add (i32.add (local.get $at) (i32.const 24)) (local.get $len)) (local.get $end)))
              (local.set $cookie (i64.load (local.get $at)))
              (call $put (i32.const 1) (i32.add (local.get $at) (i32.const 24)) (local.get $len))
              (call $put (i32.const 1) (i32.const 32) (i32.const 1))
              (local.set $at (i32.add (i32.add (local.get $at) (i32.const 24)) (local.get $len)))
              (br $entry)))
          (br_if $again (i32.eq (i32.load (i32.const 16)) (i32.const {buffer}))))"
    );
    let outcome = run(&program("", &start), &TaskInput { inputs: &inputs.build(), ..TaskInput::new() });
    assert_eq!(outcome.exit, Exit::Ok);
    String::from_utf8(outcome.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_directory_is_listed_whole_whatever_the_buffer() {
    let names: Vec<String> =
        (0..200).map(|n| format!("file-{n:03}")).chain(["sub/one".into(), "sub/two".into()]).collect();
    let mut expected = vec![".".to_owned(), "..".to_owned()];
    expected.extend(names[..200].iter().cloned());
    expected.push("sub".into());
    for buffer in [64, 100, 1_000, 100_000] {
        assert_eq!(list(&names, buffer), expected, "buffer of {buffer}");
    }
}
