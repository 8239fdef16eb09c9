//! `wasi:cli`, `wasi:clocks` and `wasi:random`: arguments, environment, exit, standard streams, time and chance.

use wasmtime::component::{Linker, Resource, ResourceType};

use super::held::{Sink, Source, Thing};
use super::types::{Datetime, InputStream, OutputStream, Pollable, TerminalInput, TerminalOutput};
use super::{Task, interface, sure};
use crate::state::{End, TaskState};
use crate::wasi::Wasi;
use crate::wasi::errno::{Call, Errno};
use crate::wasi::guest::MAX_CALL_BYTES;
use crate::wasi::process::{RANDOM_FUEL_PER_BYTE, TICK_NS};

/// Numbers of the clocks in preview 1.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// Defines the three packages.
pub(super) fn link(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    link_environment(linker)?;
    link_standard_streams(linker)?;
    link_terminals(linker)?;
    link_clocks(linker)?;
    link_random(linker)
}

fn link_environment(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let mut l = interface(linker, "wasi:cli/environment")?;
    l.func_wrap("get-environment", |t: Task<'_>, (): ()| sure(t, |w| Ok(w.environment())))?;
    l.func_wrap("get-arguments", |t: Task<'_>, (): ()| sure(t, |w| Ok(w.arguments())))?;
    l.func_wrap("initial-cwd", |t: Task<'_>, (): ()| sure(t, |_| Ok(None::<String>)))?;
    let mut l = interface(linker, "wasi:cli/exit")?;
    l.func_wrap("exit", |_: Task<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(End::Exit(u32::from(status.is_err())).into())
    })?;
    l.func_wrap("exit-with-code", |_: Task<'_>, (code,): (u8,)| -> wasmtime::Result<()> {
        Err(End::Exit(code.into()).into())
    })
}

fn link_standard_streams(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    interface(linker, "wasi:cli/stdin")?.func_wrap("get-stdin", |t: Task<'_>, (): ()| {
        sure(t, |w| w.hold(Thing::Source(Source::Stdin)).map(Resource::<InputStream>::new_own))
    })?;
    interface(linker, "wasi:cli/stdout")?.func_wrap("get-stdout", |t: Task<'_>, (): ()| {
        sure(t, |w| w.hold(Thing::Sink(Sink::Stdout)).map(Resource::<OutputStream>::new_own))
    })?;
    interface(linker, "wasi:cli/stderr")?.func_wrap("get-stderr", |t: Task<'_>, (): ()| {
        sure(t, |w| w.hold(Thing::Sink(Sink::Stderr)).map(Resource::<OutputStream>::new_own))
    })
}

/// Defines terminals, of which there are none.
fn link_terminals(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let none = |_: Task<'_>, _: u32| Ok(());
    let mut l = interface(linker, "wasi:cli/terminal-input")?;
    l.resource("terminal-input", ResourceType::host::<TerminalInput>(), none)?;
    let mut l = interface(linker, "wasi:cli/terminal-output")?;
    l.resource("terminal-output", ResourceType::host::<TerminalOutput>(), none)?;
    let mut l = interface(linker, "wasi:cli/terminal-stdin")?;
    l.func_wrap("get-terminal-stdin", |t: Task<'_>, (): ()| sure(t, |_| Ok(None::<Resource<TerminalInput>>)))?;
    for name in ["stdout", "stderr"] {
        let mut l = interface(linker, &format!("wasi:cli/terminal-{name}"))?;
        l.func_wrap(&format!("get-terminal-{name}"), |t: Task<'_>, (): ()| {
            sure(t, |_| Ok(None::<Resource<TerminalOutput>>))
        })?;
    }
    Ok(())
}

fn link_clocks(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let mut l = interface(linker, "wasi:clocks/monotonic-clock")?;
    l.func_wrap("now", |t: Task<'_>, (): ()| sure(t, |w| w.clock.read(MONOTONIC)))?;
    l.func_wrap("resolution", |t: Task<'_>, (): ()| sure(t, |_| Ok(TICK_NS)))?;
    l.func_wrap("subscribe-instant", |t: Task<'_>, (when,): (u64,)| {
        sure(t, |w| w.hold(Thing::Pollable(Some(when))).map(Resource::<Pollable>::new_own))
    })?;
    l.func_wrap("subscribe-duration", |t: Task<'_>, (by,): (u64,)| {
        sure(t, |w| {
            let due = w.clock.elapsed_ns.saturating_add(by);
            w.hold(Thing::Pollable(Some(due))).map(Resource::<Pollable>::new_own)
        })
    })?;
    let mut l = interface(linker, "wasi:clocks/wall-clock")?;
    l.func_wrap("now", |t: Task<'_>, (): ()| sure(t, |w| w.clock.read(REALTIME).map(datetime)))?;
    l.func_wrap("resolution", |t: Task<'_>, (): ()| sure(t, |_| Ok(datetime(TICK_NS))))
}

/// Splits nanoseconds into seconds and what is left.
fn datetime(ns: u64) -> Datetime {
    let rest = u32::try_from(ns % 1_000_000_000).unwrap_or(0);
    Datetime { seconds: ns / 1_000_000_000, nanoseconds: rest }
}

fn link_random(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    for (name, word) in [("random", ""), ("insecure", "insecure-")] {
        let mut l = interface(linker, &format!("wasi:random/{name}"))?;
        l.func_wrap(&format!("get-{word}random-bytes"), |t: Task<'_>, (len,): (u64,)| {
            sure(t, |w| w.random_bytes(len))
        })?;
        l.func_wrap(&format!("get-{word}random-u64"), |t: Task<'_>, (): ()| sure(t, |w| Ok(w.random_u64())))?;
    }
    let mut l = interface(linker, "wasi:random/insecure-seed")?;
    l.func_wrap("insecure-seed", |t: Task<'_>, (): ()| sure(t, |w| Ok((w.random_u64(), w.random_u64()))))
}

/// Reads zero-terminated strings, which were texts when they were written.
fn strings(bytes: &[u8]) -> Vec<String> {
    let texts = bytes.split_inclusive(|byte| *byte == 0);
    texts.map(|text| String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()).collect()
}

impl Wasi {
    fn arguments(&mut self) -> Vec<String> {
        self.owed_fuel += self.args.len() as u64;
        strings(&self.args)
    }

    fn environment(&mut self) -> Vec<(String, String)> {
        self.owed_fuel += self.env.len() as u64;
        let pairs = strings(&self.env).into_iter();
        pairs.filter_map(|text| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    }

    fn random_bytes(&mut self, len: u64) -> Call<Vec<u8>> {
        if len > MAX_CALL_BYTES.into() {
            return Err(Errno::Inval.into());
        }
        self.owed_fuel += len * RANDOM_FUEL_PER_BYTE;
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Errno::Inval)?];
        self.random.fill(&mut bytes);
        Ok(bytes)
    }

    fn random_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.owed_fuel += 8 * RANDOM_FUEL_PER_BYTE;
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
