//! Which components are programs: each other is refused with its reason.
#![expect(clippy::print_stderr, reason = "it tells what was measured")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bmm_vm::{ModuleError, PrepareError, Vm, VmConfig};

use super::{assert_sound, component_of_world, componentize, module};
use crate::VM;

const RUN: &str = "(func (export \"wasi:cli/run@0.2.0#run\") (result i32) (i32.const 0))";

fn refuse(wasm: &[u8]) -> ModuleError {
    let begun = Instant::now();
    let refused = VM.prepare(wasm, false);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    match refused {
        Err(PrepareError::Module(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Returns a component that ends at once, with definitions of its own before and behind.
fn command(definitions: &str) -> Vec<u8> {
    let text = format!(
        "(component {definitions}
          (core module $main (func (export \"run\") (result i32) (i32.const 0)))
          (core instance $main (instantiate $main))
          (func $run (result (result)) (canon lift (core func $main \"run\")))
          (instance $run (export \"run\" (func $run)))
          (export \"wasi:cli/run@0.2.0\" (instance $run)))"
    );
    wat::parse_str(text).expect("the test's component is well formed")
}

#[test]
fn a_command_is_told_from_a_library() {
    assert!(VM.prepare(&command(""), false).is_ok());
    let library = "(module (func (export \"greet\") (result i32) (i32.const 7)))";
    let error = refuse(&component_of_world("library", library));
    assert_eq!(error, ModuleError::NoRun { exports: "`greet`".into() });
    assert!(error.to_string().contains("wasi:cli/run") && error.to_string().contains("`greet`"), "{error}");
    assert_eq!(refuse(b"\0asm\x0d\0\x01\0"), ModuleError::NoRun { exports: "nothing".into() });
    // Other versions, and other types.
    for (from, to) in [("run@0.2.0", "run@0.3.0"), ("(result (result))", "(result u32)")] {
        let text = "(component
          (core module $main (func (export \"run\") (result i32) (i32.const 0)))
          (core instance $main (instantiate $main))
          (func $run (result (result)) (canon lift (core func $main \"run\")))
          (instance $run (export \"run\" (func $run)))
          (export \"wasi:cli/run@0.2.0\" (instance $run)))";
        let error = refuse(&wat::parse_str(text.replace(from, to)).unwrap());
        assert!(matches!(error, ModuleError::NoRun { .. }), "{error}");
    }
}

#[test]
fn entries_are_for_modules() {
    match VM.prepare_entry(&command(""), false, "main") {
        Err(PrepareError::Module(error)) => assert_eq!(error, ModuleError::ComponentEntry("main".into())),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn unknown_imports_are_named() {
    let import = |world, interface: &str, name: &str, ty: &str| {
        let text = format!("(module (import \"{interface}\" \"{name}\" (func {ty})) {RUN})");
        match refuse(&component_of_world(world, &text)) {
            ModuleError::ComponentImport(text) => text,
            other => panic!("expected an unknown import, got {other}"),
        }
    };
    let text = import("web", "wasi:http/outgoing-handler@0.2.0", "handle", "(result i32)");
    assert!(text.contains("wasi:http/outgoing-handler@0.2.0"), "{text}");
    let text = import("newer", "wasi:random/dice@0.2.0", "throw", "(result i32)");
    assert!(text.contains("wasi:random/dice"), "{text}");
    let text = import("unknown", "wasi:cli/exit@0.2.0", "exit-with-a-song", "(param i32)");
    assert!(text.contains("wasi:cli/exit") && text.contains("exit-with-a-song"), "{text}");
}

#[test]
fn damaged_components_are_refused() {
    let whole = componentize(&module("", ""));
    for cut in (8..whole.len()).step_by(97) {
        assert!(VM.prepare(&whole[..cut], false).is_err(), "cut at {cut}");
    }
    for at in (8..whole.len()).step_by(397) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        // Whatever it is now: it is refused or it is a program, and the host goes on.
        drop(VM.prepare(&changed, false));
    }
    assert_sound();
}

#[test]
fn components_are_bounded_in_what_they_are_made_of() {
    let many = |count: usize, text: &str| text.repeat(count);
    let too_many = |definitions: &str, what: &str| match refuse(&command(definitions)) {
        ModuleError::TooMany { what: found, .. } => assert_eq!(found, what),
        other => panic!("{what}: {other}"),
    };
    too_many(&many(129, "(core module)"), "modules");
    let instances = format!("(core module $m) {}", many(128, "(core instance (instantiate $m))"));
    too_many(&instances, "instances of modules");
    too_many(&many(129, "(component)"), "inner components");
    too_many("(component (component))", "levels of components");
    let mut twice = "(component $c0 (type $t u8))".to_owned();
    for level in 1..40 {
        let inner = level - 1;
        write!(
            twice,
            "(component $c{level} (alias outer 1 $c{inner} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"
        )
        .unwrap();
    }
    assert_eq!(refuse(&command(&twice)), ModuleError::Composed);
    assert_eq!(
        refuse(&command("(component (core module $m) (core instance (instantiate $m)))")),
        ModuleError::Composed
    );
    let large = many(1_000, "(type (func))");
    too_many(&format!("(component $c {large}) {}", many(200, "(instance (instantiate $c))")), "parts");
    too_many(&many(30_000, "(type u8)"), "parts");
}

#[test]
fn modules_within_components_obey_the_rules_of_modules() {
    let inner = |text: &str| refuse(&command(&format!("(core module {text})")));
    let loops = "(loop (br_if 0 (i32.const 0)))".repeat(40_000);
    assert!(matches!(
        inner(&format!("(func {loops})")),
        ModuleError::TooMany { what, .. } if what.starts_with("units of work")
    ));
    assert!(matches!(inner(&"(table 1 funcref)".repeat(5)), ModuleError::TooMany { what: "tables", .. }));
    assert!(matches!(inner("(table 1000000 funcref)"), ModuleError::TooMany { what: "table elements", .. }));
    for memory in ["(memory 1 2 shared)", "(memory i64 1)", "(memory 1) (memory 1)"] {
        assert!(matches!(inner(memory), ModuleError::Malformed(_)), "{memory}");
    }
    let vm = Vm::new(VmConfig { max_memory_bytes: 1 << 20, max_instances: 1, ..VmConfig::default() }).unwrap();
    let error = vm.prepare(&command("(core module (memory 17))"), false).unwrap_err();
    let expected = ModuleError::MemoryTooLarge { bytes: 17 << 16, max: 1 << 20 };
    assert!(matches!(error, PrepareError::Module(error) if error == expected));
    // Many that are within the bounds alone are not together.
    let each =
        format!("(core module $m (memory 1) (table 1 funcref)) {}", "(core instance (instantiate $m))".repeat(3));
    assert!(matches!(refuse(&command(&each)), ModuleError::Malformed(_)));
}

#[test]
fn small_components_do_not_keep_the_compiler_busy() {
    let doubling = |levels: u32, functions: usize| {
        let mut types = "(type $t0 (tuple u8 u8))".to_owned();
        for level in 1..levels {
            write!(types, "(type $t{level} (tuple $t{0} $t{0}))", level - 1).unwrap();
        }
        let last = levels - 1;
        let function =
            |number| format!("(import \"f{number}\" (func (param \"a\" $t{last}) (result (list $t{last}))))");
        types + &(0..functions).map(function).collect::<Vec<String>>().concat()
    };
    let lowered = |functions: usize, lowers: usize| {
        let import = |n| format!("(import \"f{n}\" (func $f{n} (param \"a\" (tuple u8 s64 f32))))");
        let lower = |n| format!("(core func (canon lower (func $f{})))", n % functions);
        let lists: [Vec<String>; 2] = [(0..functions).map(import).collect(), (0..lowers).map(lower).collect()];
        lists.concat().concat()
    };
    let cases = [
        ("a type too large", doubling(40, 1)),
        ("large types", doubling(10, 300)),
        ("many types of middling size", doubling(6, 3_000)),
        ("many imports", lowered(6_000, 12_000)),
        ("many uses of one import", lowered(1, 18_000)),
        ("many modules", "(core module (func))".repeat(120)),
        ("many resources", "(type (resource (rep i32)))".repeat(15_000)),
        (
            "many names",
            "(component $c (import \"a\" (func)) (export \"b\" (func 0))) (import \"f\" (func $f))".to_owned()
                + &"(instance (instantiate $c (with \"a\" (func $f))))".repeat(4_000),
        ),
    ];
    for (what, definitions) in cases {
        let begun = Instant::now();
        let wasm = command(&definitions);
        let prepared = VM.prepare(&wasm, false).map(drop);
        eprintln!("{what}: {} bytes, {:?}: {:.90}", wasm.len(), begun.elapsed(), format!("{prepared:?}"));
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
    }
    assert_sound();
}
