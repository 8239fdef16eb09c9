//! Programs that use the system in ways for which it was not made: nothing overflows, piles up or comes for nothing.

use bmm_vm::{Exit, ModuleError, PrepareError, TaskInput};

use crate::{VM, limits, program, run, run_plain};

/// Makes a chain of directories of 60 letters each, 60 deep, one after the other.
const MAKE_CHAIN: &str = "(local $i i32)
    (local.set $i (i32.const 60))
    (loop $deeper
      (call $check (call $mkdir (i32.const 4) (i32.const 1024) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 61)))
      (br_if $deeper (i32.le_u (local.get $i) (i32.const 3659))))";

fn chain() -> String {
    format!("(data (i32.const 1024) \"{}\") (data (i32.const 8000) \"x\")", [&"d".repeat(60)[..]; 60].join("/"))
}

#[test]
fn a_listing_cannot_go_on_from_a_place_past_the_end_of_numbers() {
    let list = |cookie: &str| {
        format!("(call $fd_readdir (i32.const 4) (i32.const 2000) (i32.const 500) (i64.const {cookie}) (i32.const 16))")
    };
    let start = format!(
        "(call $same {last} (i32.const 28))
        (call $check {far})
        (call $check (call $open (i32.const 4) (i32.const 8000) (i32.const 1) (i32.const 1) (i64.const -1)))
        (call $same {last} (i32.const 28))
        (call $check {far})",
        last = list("-1"),
        far = list("0x7fffffffffffffff")
    );
    assert_eq!(run_plain(&program("(data (i32.const 8000) \"z\")", &start)).exit, Exit::Ok);
}

#[test]
fn trees_cannot_be_piled_on_one_another_beyond_the_longest_path() {
    // The chain becomes `x`; a second one is made, and `x` is to move to the bottom of it.
    let start = format!(
        "{MAKE_CHAIN}
        (call $check (call $rename (i32.const 4) (i32.const 1024) (i32.const 60) (i32.const 4) (i32.const 8000) (i32.const 1)))
        (local.set $i (i32.const 60))
        (loop $deeper
          (call $check (call $mkdir (i32.const 4) (i32.const 1024) (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 61)))
          (br_if $deeper (i32.le_u (local.get $i) (i32.const 3659))))
        (i32.store8 (i32.const 4683) (i32.const 47)) (i32.store8 (i32.const 4684) (i32.const 120))
        (call $same (i32.const 37)
          (call $rename (i32.const 4) (i32.const 8000) (i32.const 1) (i32.const 4) (i32.const 1024) (i32.const 3661)))
        (call $check (call $stat (i32.const 4) (i32.const 0) (i32.const 8000) (i32.const 1) (i32.const 20000)))"
    );
    assert_eq!(run_plain(&program(&chain(), &start)).exit, Exit::Ok);
}

#[test]
fn walking_up_and_down_long_paths_is_charged_for() {
    // 818 times into a directory and out again, each at the bottom of a path of 3,659 bytes.
    let start = format!(
        "{MAKE_CHAIN}
        (call $check (call $open (i32.const 4) (i32.const 1024) (i32.const 3659) (i32.const 2) (i64.const 0)))
        (call $check (call $mkdir (i32.load (i32.const 12)) (i32.const 8000) (i32.const 1)))
        (call $check (call $stat (i32.load (i32.const 12)) (i32.const 0) (i32.const 9000) (i32.const 4090) (i32.const 20000)))"
    );
    let walk = format!("{} (data (i32.const 9000) \"{}\")", chain(), "x/../".repeat(818));
    let without = run_plain(&program(&walk, start.rsplit_once("(call $check").unwrap().0)).fuel;
    let with = run_plain(&program(&walk, &start));
    assert_eq!(with.exit, Exit::Ok);
    assert!(with.fuel - without >= 818 * 3_659, "{} fuel", with.fuel - without);
}

#[test]
fn a_growth_past_the_bounds_of_the_memory_is_the_programs_own_affair() {
    let limits = limits(|l| l.memory_bytes = 4 << 30);
    let start = "(call $same (memory.grow (i32.const 65536)) (i32.const -1))
        (call $same (memory.grow (i32.const -1)) (i32.const -1))
        (call $same (memory.grow (i32.const 1)) (i32.const 4))";
    assert_eq!(run(&program("", start), &TaskInput { limits, ..TaskInput::new() }).exit, Exit::Ok);
    let bounded = crate::compile(
        "(module (memory 1 2) (func (export \"_start\")
          (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then unreachable))))",
    );
    assert_eq!(run(&bounded, &TaskInput { limits, ..TaskInput::new() }).exit, Exit::Ok);
}

/// Returns the reason for which a module is refused.
fn refusal(text: &str) -> ModuleError {
    let wasm = wat::parse_str(text).expect("the test's module is well formed");
    assert!(wasm.len() < 500_000, "a bomb is small: {} bytes", wasm.len());
    match VM.prepare(&wasm, false) {
        Err(PrepareError::Module(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn small_modules_that_would_keep_the_compiler_busy_for_minutes_are_refused() {
    let (start, many) = ("(func (export \"_start\")", ["i32"; 1_000].join(" "));
    let (zeros, drops) = ("(i32.const 0) ".repeat(1_000), "drop ".repeat(1_000));
    let reads = (0..2_000).map(|local| format!("(drop (local.get {local}))")).collect::<Vec<_>>().concat();
    let locals = "i32 ".repeat(2_000);
    let bombs = [
        ("loops", format!("(module {start} {}))", "(loop (br_if 0 (i32.const 0)))".repeat(40_000))),
        ("blocks", format!("(module {start} (local i32) {}))", "(block (br_if 0 (local.get 0)))".repeat(40_000))),
        (
            "variables alive across loops",
            format!("(module {start} (local {locals}) {} {reads}))", "(loop (br_if 0 (i32.const 0)))".repeat(8_000)),
        ),
        (
            "calls that take and give a thousand values",
            format!(
                "(module (type $t (func (param {many}) (result {many}))) (func $f (type $t) unreachable)
                {start} {zeros} {} {drops}))",
                "call $f ".repeat(3_000)
            ),
        ),
        (
            "branches that carry a thousand values",
            format!(
                "(module {start} (block (result {many}) {zeros} {}) {drops}))",
                "(br_if 0 (i32.const 0))".repeat(80_000)
            ),
        ),
    ];
    for (what, text) in bombs {
        let error = refusal(&text);
        assert!(
            matches!(error, ModuleError::TooMany { what, .. } if what.starts_with("units of work")),
            "{what}: {error}"
        );
    }
}

#[test]
fn many_middling_functions_are_too_much_together() {
    let body = "(loop (br_if 0 (i32.const 0)))".repeat(8_000);
    let text = format!("(module {} (func (export \"_start\")))", format!("(func {body})").repeat(8));
    assert!(matches!(refusal(&text), ModuleError::TooMany { what: "units of work for the compiler", .. }));
}
