//! WASI preview 2, for components: the interfaces of `wasi:cli/command`, over the same files, clock and randomness as preview 1.
//! Source: the WIT packages `wasi:cli`, `wasi:io`, `wasi:filesystem`, `wasi:clocks`, `wasi:random` and `wasi:sockets`, version 0.2.
//!
//! A descriptor is the one of preview 1, with its number as its representation. Streams, pollables and listings under way are
//! held in a table of their own.

mod cli;
mod files;
mod held;
mod io;
mod sockets;
mod types;

use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{Engine, StoreContextMut};

pub(super) use held::Held;

use super::Wasi;
use super::errno::{Call, Errno, Fault};
use super::link::charge;
use crate::state::TaskState;

/// Version under which the interfaces are defined; the engine lets components import them by any version 0.2.
const VERSION: &str = "0.2.12";
/// Most bytes that a component hands over in one call; a call with more traps.
pub(crate) const MAX_HANDED_BYTES: usize = 64 << 20;
/// Most handles of resources that a component has at once, its own included; one more traps.
pub(crate) const MAX_COMPONENT_HANDLES: usize = 65_536;

type Task<'a> = StoreContextMut<'a, TaskState>;
type Instance<'a> = LinkerInstance<'a, TaskState>;

/// Runs the body of a call, then charges for it.
fn call<R>(mut task: Task<'_>, body: impl FnOnce(&mut Wasi) -> Call<R>) -> wasmtime::Result<Result<R, Errno>> {
    let answer = body(&mut task.data_mut().wasi);
    charge(task)?;
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Errno(errno)) => Ok(Err(errno)),
        Err(Fault::End(end)) => Err(end.into()),
    }
}

/// Runs the body of a call that has no way to say that it failed: the program ends then.
fn sure<R>(task: Task<'_>, body: impl FnOnce(&mut Wasi) -> Call<R>) -> wasmtime::Result<(R,)> {
    match call(task, body)? {
        Ok(value) => Ok((value,)),
        Err(errno) => Err(wasmtime::format_err!("a call was made that cannot be answered: {errno:?}")),
    }
}

/// Opens an interface, such as `wasi:io/poll`, for definitions.
fn interface<'a>(linker: &'a mut Linker<TaskState>, name: &str) -> wasmtime::Result<Instance<'a>> {
    linker.instance(&format!("{name}@{VERSION}"))
}

/// Returns the linker with every function of `wasi:cli/command`.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<TaskState>> {
    let mut linker = Linker::new(engine);
    cli::link(&mut linker)?;
    io::link(&mut linker)?;
    files::link(&mut linker)?;
    sockets::link(&mut linker)?;
    Ok(linker)
}
