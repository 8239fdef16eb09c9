//! Files that are no programs: each is refused with its reason.

use bmm_vm::{ModuleError, PrepareError, Vm, VmConfig};

use crate::VM;

fn refuse(wasm: &[u8]) -> ModuleError {
    match VM.prepare(wasm, false) {
        Err(PrepareError::Module(error)) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn refuse_text(text: &str) -> ModuleError {
    refuse(&wat::parse_str(text).expect("the test's module is well formed"))
}

#[test]
fn what_is_not_wasm_is_refused() {
    for bytes in [&b""[..], b"\0as", b"#!/bin/sh\n", b"\x7fELF", b"(module)"] {
        assert_eq!(refuse(bytes), ModuleError::NotWasm);
    }
}

#[test]
fn malformed_modules_are_refused() {
    for bytes in [&b"\0asm"[..], b"\0asm\x01\0\0\0\x01", b"\0asm\x02\0\0\0", b"\0asm\x01\0\0\0\x0a\x04\x01\xff\xff\xff"]
    {
        assert!(matches!(refuse(bytes), ModuleError::Malformed(_)), "{bytes:?}");
    }
    let whole =
        wat::parse_str("(module (memory 1) (func (export \"_start\") (drop (i32.load (i32.const 0)))))").unwrap();
    for cut in 8..whole.len() {
        assert!(VM.prepare(&whole[..cut], false).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_huge_module_is_refused() {
    let vm = Vm::new(VmConfig { max_module_bytes: 1_000, max_instances: 1, ..VmConfig::default() }).unwrap();
    let error = vm.prepare(&[0; 1_001], false).unwrap_err();
    assert!(matches!(error, PrepareError::Module(ModuleError::TooLarge { bytes: 1_001, max: 1_000 })));
}

#[test]
fn a_program_must_have_a_start() {
    assert_eq!(refuse_text("(module)"), ModuleError::NoStart);
    assert_eq!(refuse_text("(module (func (export \"_initialize\")))"), ModuleError::NoStart);
    assert_eq!(refuse_text("(module (func (export \"_start\") (param i32)))"), ModuleError::StartType);
    assert_eq!(refuse_text("(module (memory (export \"_start\") 1))"), ModuleError::StartType);
}

#[test]
fn unknown_imports_are_named() {
    for (module, name) in [("env", "system"), ("wasi_unstable", "fd_write"), ("wasi_snapshot_preview1", "exec")] {
        let text = format!("(module (import \"{module}\" \"{name}\" (func)) (func (export \"_start\")))");
        assert_eq!(refuse_text(&text), ModuleError::UnknownImport { module: module.into(), name: name.into() });
    }
    let memory = "(module (import \"env\" \"memory\" (memory 1)) (func (export \"_start\")))";
    assert_eq!(refuse_text(memory), ModuleError::UnknownImport { module: "env".into(), name: "memory".into() });
}

#[test]
fn imports_of_another_type_are_named() {
    for declared in ["(func (param i32))", "(func (param i64 i32) (result i32))", "(global i32)", "(memory 1)"] {
        let text = format!(
            "(module (import \"wasi_snapshot_preview1\" \"random_get\" {declared}) (func (export \"_start\")))"
        );
        let (module, name) = ("wasi_snapshot_preview1".into(), "random_get".into());
        assert_eq!(refuse_text(&text), ModuleError::ImportType { module, name }, "{declared}");
    }
}

#[test]
fn modules_that_need_too_much_are_refused() {
    let vm = Vm::new(VmConfig { max_memory_bytes: 1 << 20, max_instances: 1, ..VmConfig::default() }).unwrap();
    let wasm = wat::parse_str("(module (memory 17) (func (export \"_start\")))").unwrap();
    let error = vm.prepare(&wasm, false).unwrap_err();
    let expected = ModuleError::MemoryTooLarge { bytes: 17 << 16, max: 1 << 20 };
    assert!(matches!(error, PrepareError::Module(error) if error == expected));

    let tables = "(table 1 funcref)".repeat(5);
    assert!(matches!(
        refuse_text(&format!("(module {tables} (func (export \"_start\")))")),
        ModuleError::TooMany { what: "tables", .. }
    ));
    assert!(matches!(
        refuse_text("(module (table 1000000 funcref) (func (export \"_start\")))"),
        ModuleError::TooMany { what: "table elements", .. }
    ));
}

#[test]
fn threads_large_memories_and_several_memories_are_switched_off() {
    for memory in ["(memory 1 2 shared)", "(memory i64 1)", "(memory 1) (memory 1)"] {
        let text = format!("(module {memory} (func (export \"_start\")))");
        assert!(matches!(refuse_text(&text), ModuleError::Malformed(_)), "{memory}");
    }
}

#[test]
fn modules_that_keep_the_compiler_busy_are_refused() {
    // Every function declares 50,000 local variables in four bytes.
    let functions = format!("(func (local {}))", "i64 ".repeat(50_000)).repeat(81);
    let text = format!("(module (func (export \"_start\")) {functions})");
    assert!(matches!(refuse_text(&text), ModuleError::TooMany { what: "local variables", .. }));
    let globals = "(global i32 (i32.const 0))".repeat(10_001);
    let text = format!("(module {globals} (func (export \"_start\")))");
    assert!(matches!(refuse_text(&text), ModuleError::TooMany { what: "globals", .. }));
}
