//! What a component holds besides descriptors: streams, things to wait for, and listings of directories.

use crate::input::Blob;
use crate::state::End;
use crate::task::LimitKind;
use crate::wasi::Wasi;
use crate::wasi::errno::{Call, Errno, Fault};
use crate::wasi::path::Side;

/// Most things held at once.
const MAX_HELD: usize = 4_096;

/// Is where an input stream reads.
pub(super) enum Source {
    Stdin,
    InFile { blob: Blob, at: u64 },
    OutFile { id: usize, at: u64 },
}

/// Is where an output stream writes.
pub(super) enum Sink {
    Stdout,
    Stderr,
    /// Without a position, to the end.
    OutFile {
        id: usize,
        at: Option<u64>,
    },
}

/// Is one thing that a component holds.
pub(super) enum Thing {
    Source(Source),
    Sink(Sink),
    /// The time since the task's start for which a pollable waits, nanoseconds; without one it is always ready.
    Pollable(Option<u64>),
    /// A listing under way: its directory, and the key from which the next entry is found.
    Listing {
        side: Side,
        prefix: String,
        from: String,
    },
}

/// Holds things by the number that stands for them.
#[derive(Default)]
pub(in crate::wasi) struct Held {
    things: Vec<Option<Thing>>,
    free: Vec<u32>,
}

impl Held {
    /// Finds a thing.
    pub(super) fn get(&self, number: u32) -> Call<&Thing> {
        self.things.get(number as usize).and_then(Option::as_ref).ok_or(Errno::Badf.into())
    }

    /// Finds a thing to change.
    pub(super) fn get_mut(&mut self, number: u32) -> Call<&mut Thing> {
        self.things.get_mut(number as usize).and_then(Option::as_mut).ok_or(Errno::Badf.into())
    }
}

impl Wasi {
    /// Holds a thing from now on; returns its number. The program ends if it holds too many.
    pub(super) fn hold(&mut self, thing: Thing) -> Call<u32> {
        let held = &mut self.held;
        let number = match held.free.pop() {
            Some(number) => number,
            None if held.things.len() >= MAX_HELD => return Err(Fault::End(End::Limit(LimitKind::Handles))),
            None => {
                held.things.push(None);
                u32::try_from(held.things.len() - 1).map_err(|_| Errno::Mfile)?
            }
        };
        if let Thing::Source(Source::OutFile { id, .. }) | Thing::Sink(Sink::OutFile { id, .. }) = thing {
            self.out.open(id);
        }
        if let Some(place) = held.things.get_mut(number as usize) {
            *place = Some(thing);
        }
        Ok(number)
    }

    /// Lets go of a thing.
    pub(super) fn let_go(&mut self, number: u32) -> Call {
        let thing = self.held.things.get_mut(number as usize).and_then(Option::take).ok_or(Errno::Badf)?;
        if let Thing::Source(Source::OutFile { id, .. }) | Thing::Sink(Sink::OutFile { id, .. }) = thing {
            self.out.close(id);
        }
        self.held.free.push(number);
        Ok(())
    }
}
