//! Components: what they are made of here, and programs both as modules and as components.

mod direct;
mod foreign;
mod hostile;
mod patch;
mod same;
mod structure;

use std::sync::Arc;

use bmm_vm::{Program, StopFlag, TaskInput};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{PRELUDE, VM};

/// Makes a component of a module for WASI preview 1; what it asks of others comes from the modules of `more`, by name.
fn componentize_with(module: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut encoder = ComponentEncoder::default().module(module).expect("the module can be wrapped");
    let first = (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
    for (name, adapter) in [first].iter().chain(more) {
        encoder = encoder.adapter(name, adapter).expect("the adapter fits");
    }
    encoder.encode().expect("the component can be written")
}

/// Makes a component of a module for WASI preview 1.
pub fn componentize(module: &[u8]) -> Vec<u8> {
    componentize_with(module, &[])
}

/// Makes a component of a module that imports preview 2 by itself, as `world` of `p2.wit` says.
fn component_of_world(world: &str, text: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("p2.wit", include_str!("p2.wit")).expect("the interfaces are well formed");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    let mut module = wat::parse_str(text).expect("the test's module is well formed");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world fits the module");
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.expect("the module fits the world").encode().expect("the component can be written")
}

/// Returns a program of the prelude as a module.
fn module(definitions: &str, start: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {PRELUDE} {definitions} (func (export \"_start\") {start}))")).expect("well formed")
}

/// Returns a program as a module and as a component.
fn both(module: &[u8]) -> [Arc<Program>; 2] {
    let component = componentize(module);
    [module, &component].map(|wasm| VM.prepare(wasm, false).expect("it is accepted"))
}

/// Makes a program ready that is a component.
fn ready(wasm: &[u8]) -> Arc<Program> {
    VM.prepare(wasm, false).expect("the component is accepted")
}

/// Tells that the sandbox is sound: an innocent component runs.
fn assert_sound() {
    static INNOCENT: std::sync::LazyLock<Arc<Program>> =
        std::sync::LazyLock::new(|| ready(&componentize(&module("", ""))));
    assert!(INNOCENT.run(&TaskInput::new(), &StopFlag::new()).expect("the host goes on").exit.is_ok());
}
