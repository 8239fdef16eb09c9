//! Components: the same programs as components and as modules, with the same results.
#![expect(clippy::print_stderr, reason = "it tells what was measured")]

use std::sync::Arc;

use bmm_vm::{InputSet, Outcome, Program, StopFlag, TaskInput};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::{PRELUDE, VM, run};

/// Makes a component of a module for WASI preview 1.
pub fn componentize(module: &[u8]) -> Vec<u8> {
    let encoder = ComponentEncoder::default().module(module).expect("the module can be wrapped");
    let mut encoder = encoder
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        .expect("the adapter fits");
    encoder.encode().expect("the component can be written")
}

fn text(definitions: &str, start: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {PRELUDE} {definitions} (func (export \"_start\") {start}))")).expect("well formed")
}

/// Returns a program as a module and as a component.
fn both(module: &[u8]) -> [Arc<Program>; 2] {
    let component = componentize(module);
    [module, &component].map(|wasm| VM.prepare(wasm, false).expect("it is accepted"))
}

#[test]
fn hello() {
    let start = "(call $put (i32.const 1) (i32.const 1024) (i32.const 5))
        (call $check (call $random (i32.const 64) (i32.const 64)))
        (call $put (i32.const 1) (i32.const 64) (i32.const 64))";
    let [module, component] = both(&text("(data (i32.const 1024) \"hello\")", start));
    let task = TaskInput { seed: [3; 32], ..TaskInput::new() };
    let one = run(&module, &task);
    let two = run(&component, &task);
    eprintln!("{one:?}\n{two:?}");
    assert_eq!((one.exit, &one.stdout), (two.exit, &two.stdout));
}
