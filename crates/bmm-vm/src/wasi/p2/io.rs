//! `wasi:io`: streams, and waiting without waiting.

use wasmtime::component::{Linker, Resource, ResourceType};

use super::held::{Sink, Source, Thing};
use super::types::{InputStream, IoError, OutputStream, Pollable, StreamError};
use super::{Instance, Task, interface, sure};
use crate::state::TaskState;
use crate::wasi::Wasi;
use crate::wasi::descriptors::Handle;
use crate::wasi::errno::{Call, Errno};
use crate::wasi::process::{MAX_SUBSCRIPTIONS, TICK_NS};

/// Most bytes that a stream takes or gives at once.
pub(super) const MAX_STREAM_BYTES: u64 = 1 << 20;
/// Fuel for one thing that a poll waits for.
const POLL_FUEL: u64 = 16;

type Input = Resource<InputStream>;
type Output = Resource<OutputStream>;
/// Is what a function of a stream answers.
type Answer<T> = wasmtime::Result<(Result<T, StreamError>,)>;

/// Runs the body of a function of a stream: streams over memory do not fail, but they end.
fn stream<R>(task: Task<'_>, body: impl FnOnce(&mut Wasi) -> Call<Option<R>>) -> Answer<R> {
    let (value,) = sure(task, body)?;
    Ok((value.ok_or(StreamError::Closed),))
}

/// Defines the package.
pub(super) fn link(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let mut l = interface(linker, "wasi:io/error")?;
    l.resource("error", ResourceType::host::<IoError>(), |_: Task<'_>, _| Ok(()))?;
    l.func_wrap("[method]error.to-debug-string", |t: Task<'_>, (_,): (Resource<IoError>,)| {
        sure(t, |_| Ok(String::new()))
    })?;
    let mut l = interface(linker, "wasi:io/poll")?;
    l.resource("pollable", ResourceType::host::<Pollable>(), drop_held)?;
    l.func_wrap("[method]pollable.ready", |t: Task<'_>, (it,): (Resource<Pollable>,)| {
        sure(t, |w| w.is_ready(it.rep()))
    })?;
    l.func_wrap("[method]pollable.block", |t: Task<'_>, (it,): (Resource<Pollable>,)| {
        sure(t, |w| w.poll(&[it.rep()]).map(drop)).map(|_| ())
    })?;
    l.func_wrap("poll", |t: Task<'_>, (list,): (Vec<Resource<Pollable>>,)| {
        let list: Vec<u32> = list.iter().map(Resource::rep).collect();
        sure(t, |w| w.poll(&list))
    })?;
    let mut l = interface(linker, "wasi:io/streams")?;
    l.resource("input-stream", ResourceType::host::<InputStream>(), drop_held)?;
    l.resource("output-stream", ResourceType::host::<OutputStream>(), drop_held)?;
    link_input(&mut l)?;
    link_output(&mut l)
}

/// Lets go of what a handle stood for.
pub(super) fn drop_held(task: Task<'_>, number: u32) -> wasmtime::Result<()> {
    sure(task, |w| w.let_go(number)).map(|_| ())
}

fn link_input(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    for name in ["read", "blocking-read"] {
        l.func_wrap(&format!("[method]input-stream.{name}"), |t: Task<'_>, (it, len): (Input, u64)| {
            stream(t, |w| w.stream_read(it.rep(), len))
        })?;
    }
    for name in ["skip", "blocking-skip"] {
        l.func_wrap(&format!("[method]input-stream.{name}"), |t: Task<'_>, (it, len): (Input, u64)| {
            stream(t, |w| Ok(w.stream_read(it.rep(), len)?.map(|bytes| bytes.len() as u64)))
        })?;
    }
    l.func_wrap("[method]input-stream.subscribe", |t: Task<'_>, (_,): (Input,)| {
        sure(t, |w| w.hold(Thing::Pollable(None)).map(Resource::<Pollable>::new_own))
    })
}

fn link_output(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    l.func_wrap("[method]output-stream.check-write", |t: Task<'_>, (_,): (Output,)| {
        stream(t, |_| Ok(Some(MAX_STREAM_BYTES)))
    })?;
    for name in ["write", "blocking-write-and-flush"] {
        l.func_wrap(&format!("[method]output-stream.{name}"), |t: Task<'_>, (it, bytes): (Output, Vec<u8>)| {
            stream(t, |w| w.stream_write(it.rep(), &bytes).map(Some))
        })?;
    }
    for name in ["flush", "blocking-flush"] {
        l.func_wrap(&format!("[method]output-stream.{name}"), |t: Task<'_>, (_,): (Output,)| {
            stream(t, |_| Ok(Some(())))
        })?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        l.func_wrap(&format!("[method]output-stream.{name}"), |t: Task<'_>, (it, len): (Output, u64)| {
            stream(t, |w| {
                let len = usize::try_from(len.min(MAX_STREAM_BYTES + 1)).map_err(|_| Errno::Inval)?;
                w.stream_write(it.rep(), &vec![0; len]).map(Some)
            })
        })?;
    }
    for name in ["splice", "blocking-splice"] {
        l.func_wrap(&format!("[method]output-stream.{name}"), |t: Task<'_>, (to, from, len): (Output, Input, u64)| {
            stream(t, |w| {
                let Some(bytes) = w.stream_read(from.rep(), len)? else { return Ok(None) };
                w.stream_write(to.rep(), &bytes)?;
                Ok(Some(bytes.len() as u64))
            })
        })?;
    }
    l.func_wrap("[method]output-stream.subscribe", |t: Task<'_>, (_,): (Output,)| {
        sure(t, |w| w.hold(Thing::Pollable(None)).map(Resource::<Pollable>::new_own))
    })
}

/// Returns at most `len` bytes of what lies behind a position.
pub(super) fn bytes_at(source: &[u8], at: u64, len: u64) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| source.get(at..)).unwrap_or(&[]);
    let len = usize::try_from(len.min(MAX_STREAM_BYTES)).unwrap_or(rest.len());
    &rest[..len.min(rest.len())]
}

impl Wasi {
    /// Reads on; nothing if the stream is at its end.
    fn stream_read(&mut self, number: u32, len: u64) -> Call<Option<Vec<u8>>> {
        let (source, at) = match self.held.get_mut(number)? {
            Thing::Source(Source::InFile { blob, at }) => (blob.as_slice(), at),
            Thing::Source(Source::OutFile { id, at }) => (self.out.data(*id), at),
            Thing::Source(Source::Stdin) => match &mut self.descriptors.get_mut(0)?.handle {
                Handle::Stdin { at } => (self.stdin.as_slice(), at),
                _ => return Err(Errno::Badf.into()),
            },
            _ => return Err(Errno::Badf.into()),
        };
        let bytes = bytes_at(source, *at, len).to_vec();
        *at += bytes.len() as u64;
        self.owed_fuel += bytes.len() as u64;
        Ok((!bytes.is_empty() || len == 0).then_some(bytes))
    }

    /// Writes on; more than what `check-write` allows is the program's fault.
    fn stream_write(&mut self, number: u32, bytes: &[u8]) -> Call {
        let len = bytes.len() as u64;
        self.owed_fuel += len;
        if len > MAX_STREAM_BYTES {
            return Err(Errno::Inval.into());
        }
        match self.held.get(number)? {
            Thing::Sink(Sink::Stdout) => {
                self.out.charge(len)?;
                self.stdout.extend_from_slice(bytes);
            }
            Thing::Sink(Sink::Stderr) => self.push_stderr(bytes),
            Thing::Sink(Sink::OutFile { id, at }) => {
                let (id, start) = (*id, at.unwrap_or(self.out.data(*id).len() as u64));
                let written = self.out.write_at(id, start, bytes)?;
                // What was copied is charged already; filling a gap is not.
                self.owed_fuel += written.saturating_sub(len);
                if let Thing::Sink(Sink::OutFile { at: Some(at), .. }) = self.held.get_mut(number)? {
                    *at += len;
                }
            }
            _ => return Err(Errno::Badf.into()),
        }
        Ok(())
    }

    /// Tells whether a thing is ready. Asking moves the clock, so that a program that only asks ends.
    fn is_ready(&mut self, number: u32) -> Call<bool> {
        match self.held.get(number)? {
            Thing::Pollable(Some(due)) => {
                let ready = *due <= self.clock.elapsed_ns;
                self.clock.elapsed_ns = self.clock.elapsed_ns.saturating_add(TICK_NS);
                Ok(ready)
            }
            Thing::Pollable(None) => Ok(true),
            _ => Err(Errno::Badf.into()),
        }
    }

    /// Waits for the first of several things, without waiting: the clock is moved on. Returns the places of those that are ready.
    fn poll(&mut self, list: &[u32]) -> Call<Vec<u32>> {
        self.owed_fuel += POLL_FUEL * list.len() as u64;
        if list.is_empty() || list.len() > MAX_SUBSCRIPTIONS as usize {
            return Err(Errno::Inval.into());
        }
        let mut due = Vec::with_capacity(list.len());
        for number in list {
            match self.held.get(*number)? {
                Thing::Pollable(when) => due.push(when.unwrap_or(0)),
                _ => return Err(Errno::Badf.into()),
            }
        }
        let first = due.iter().copied().min().unwrap_or(0);
        let now = self.clock.elapsed_ns.max(first);
        self.clock.elapsed_ns = now;
        Ok((0_u32..).zip(due).filter(|(_, due)| *due <= now).map(|(place, _)| place).collect())
    }
}
