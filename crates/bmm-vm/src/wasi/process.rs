//! Arguments, environment, virtual clock, seeded randomness, polling and sockets (there are none).

use sha2::{Digest, Sha256};

use super::Wasi;
use super::descriptors::Handle;
use super::errno::{Call, Errno};
use super::guest::{Guest, MAX_CALL_BYTES, offset};

/// Time at which every task starts: 2020-01-01 00:00:00 UTC, nanoseconds since 1970.
const START_NS: u64 = 1_577_836_800_000_000_000;
/// How far the clock moves at each reading, nanoseconds, so that a program that waits for time to pass ends.
pub(super) const TICK_NS: u64 = 1_000;
/// Most subscriptions of one poll.
pub(super) const MAX_SUBSCRIPTIONS: u32 = 1_024;
/// Fuel for one random byte: what hashing costs compared with copying.
pub(super) const RANDOM_FUEL_PER_BYTE: u64 = 8;

/// Tells a time that depends on nothing but how often it was asked and how long the program meant to sleep.
#[derive(Default)]
pub(super) struct Clock {
    pub elapsed_ns: u64,
}

impl Clock {
    /// Reads one of the four clocks: real time, monotonic, and the two of processor time.
    pub fn read(&mut self, id: u32) -> Call<u64> {
        let base = Self::base(id)?;
        self.elapsed_ns = self.elapsed_ns.saturating_add(TICK_NS);
        Ok(base.saturating_add(self.elapsed_ns))
    }

    /// Returns what a clock showed when the task started.
    fn base(id: u32) -> Call<u64> {
        match id {
            0 => Ok(START_NS),
            1..=3 => Ok(0),
            _ => Err(Errno::Inval.into()),
        }
    }
}

/// Gives the random bytes of a task: SHA-256 of the seed and a counter.
pub(super) struct RandomStream {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    /// Bytes of the block that were given already.
    given: usize,
}

impl RandomStream {
    /// Starts the stream of a seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0, block: [0; 32], given: 32 }
    }

    /// Fills a buffer with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            if self.given == self.block.len() {
                self.block = Sha256::new()
                    .chain_update(b"bmm-vm random")
                    .chain_update(self.seed)
                    .chain_update(self.counter.to_le_bytes())
                    .finalize()
                    .into();
                self.counter = self.counter.wrapping_add(1);
                self.given = 0;
            }
            *byte = self.block[self.given];
            self.given += 1;
        }
    }
}

/// Writes a list of strings and the pointers to them.
fn put_strings(guest: &mut Guest<'_>, strings: &[u8], mut pointers: u32, mut at: u32) -> Call {
    for text in strings.split_inclusive(|byte| *byte == 0) {
        guest.put_u32(pointers, at)?;
        guest.write(at, text)?;
        pointers = offset(pointers, 4)?;
        at = offset(at, u32::try_from(text.len()).map_err(|_| Errno::Fault)?)?;
    }
    Ok(())
}

/// Writes the number of strings and of their bytes.
fn put_sizes(guest: &mut Guest<'_>, strings: &[u8], count_at: u32, bytes_at: u32) -> Call {
    let count = strings.split_inclusive(|byte| *byte == 0).count();
    guest.put_u32(count_at, u32::try_from(count).map_err(|_| Errno::Inval)?)?;
    guest.put_u32(bytes_at, u32::try_from(strings.len()).map_err(|_| Errno::Inval)?)
}

/// Is one thing that a program waits for.
#[derive(Clone, Copy)]
enum Awaited {
    /// Time since the task's start, nanoseconds.
    Clock(u64),
    /// A descriptor; all of them are always ready.
    Descriptor(u32),
    /// Nothing that exists.
    Unknown(Errno),
}

impl Wasi {
    pub(super) fn args_get(&mut self, guest: &mut Guest<'_>, argv: u32, buffer: u32) -> Call {
        self.owed_fuel += self.args.len() as u64;
        put_strings(guest, &self.args, argv, buffer)
    }

    pub(super) fn args_sizes_get(&mut self, guest: &mut Guest<'_>, count: u32, bytes: u32) -> Call {
        self.owed_fuel += self.args.len() as u64;
        put_sizes(guest, &self.args, count, bytes)
    }

    pub(super) fn environ_get(&mut self, guest: &mut Guest<'_>, environ: u32, buffer: u32) -> Call {
        self.owed_fuel += self.env.len() as u64;
        put_strings(guest, &self.env, environ, buffer)
    }

    pub(super) fn environ_sizes_get(&mut self, guest: &mut Guest<'_>, count: u32, bytes: u32) -> Call {
        self.owed_fuel += self.env.len() as u64;
        put_sizes(guest, &self.env, count, bytes)
    }

    pub(super) fn clock_res_get(guest: &mut Guest<'_>, id: u32, out: u32) -> Call {
        Clock::base(id)?;
        guest.put_u64(out, TICK_NS)
    }

    pub(super) fn clock_time_get(&mut self, guest: &mut Guest<'_>, id: u32, out: u32) -> Call {
        let now = self.clock.read(id)?;
        guest.put_u64(out, now)
    }

    pub(super) fn random_get(&mut self, guest: &mut Guest<'_>, buffer: u32, len: u32) -> Call {
        if len > MAX_CALL_BYTES {
            return Err(Errno::Inval.into());
        }
        let range = guest.range(buffer, len)?;
        self.owed_fuel += u64::from(len) * RANDOM_FUEL_PER_BYTE;
        self.random.fill(guest.get_mut(range));
        Ok(())
    }

    /// Waits for the first of several things, without waiting: descriptors are ready, and the clock is moved on.
    pub(super) fn poll_oneoff(&mut self, guest: &mut Guest<'_>, subs: u32, events: u32, n: u32, ready_at: u32) -> Call {
        if n == 0 || n > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        guest.range(ready_at, 4)?;
        guest.range(subs, n * 48)?;
        guest.range(events, n * 32)?;
        self.owed_fuel += u64::from(n) * 16;
        let mut awaited = Vec::with_capacity(n as usize);
        for i in 0..n {
            let sub = subs + i * 48;
            awaited.push((guest.u64(sub)?, guest.read(sub + 8, 1)?[0], self.awaited(guest, sub)?));
        }
        let at_once = awaited.iter().any(|(_, _, thing)| !matches!(thing, Awaited::Clock(_)));
        if !at_once {
            let first = awaited.iter().filter_map(|(_, _, thing)| match thing {
                Awaited::Clock(due) => Some(*due),
                _ => None,
            });
            self.clock.elapsed_ns = self.clock.elapsed_ns.max(first.min().unwrap_or(0));
        }
        let mut ready = 0;
        for (userdata, kind, thing) in awaited {
            let (errno, bytes) = match thing {
                Awaited::Clock(due) if due > self.clock.elapsed_ns => continue,
                Awaited::Clock(_) => (Errno::Success, 0),
                Awaited::Descriptor(fd) => self.readiness(fd, kind),
                Awaited::Unknown(errno) => (errno, 0),
            };
            let mut event = [0; 32];
            event[..8].copy_from_slice(&userdata.to_le_bytes());
            event[8..10].copy_from_slice(&(errno as u32).to_le_bytes()[..2]);
            event[10] = kind;
            event[16..24].copy_from_slice(&bytes.to_le_bytes());
            guest.write(events + ready * 32, &event)?;
            ready += 1;
        }
        guest.put_u32(ready_at, ready)
    }

    /// Reads what one subscription waits for.
    fn awaited(&self, guest: &Guest<'_>, sub: u32) -> Call<Awaited> {
        Ok(match guest.read(sub + 8, 1)?[0] {
            0 => {
                let (id, timeout) = (guest.u32(sub + 16)?, guest.u64(sub + 24)?);
                let absolute = guest.u16(sub + 40)? & 1 == 1;
                match Clock::base(id) {
                    Err(_) => Awaited::Unknown(Errno::Inval),
                    Ok(base) if absolute => Awaited::Clock(timeout.saturating_sub(base)),
                    Ok(_) => Awaited::Clock(self.clock.elapsed_ns.saturating_add(timeout)),
                }
            }
            1 | 2 => Awaited::Descriptor(guest.u32(sub + 16)?),
            _ => Awaited::Unknown(Errno::Inval),
        })
    }

    /// Returns how a descriptor answers a poll: always ready, with the bytes that are left to read.
    fn readiness(&self, fd: u32, kind: u8) -> (Errno, u64) {
        let Ok(descriptor) = self.descriptors.get(fd) else { return (Errno::Badf, 0) };
        let left = match &descriptor.handle {
            _ if kind == 2 => 1,
            Handle::Stdin { at } => (self.stdin.len() as u64).saturating_sub(*at),
            Handle::InFile { blob, at, .. } => (blob.len() as u64).saturating_sub(*at),
            Handle::OutFile { id, at } => (self.out.data(*id).len() as u64).saturating_sub(*at),
            Handle::Stdout | Handle::Stderr | Handle::Dir { .. } => 0,
        };
        (Errno::Success, left)
    }

    /// Answers every call on a socket: a descriptor is none.
    pub(super) fn socket(&self, fd: u32) -> Call {
        self.descriptors.get(fd)?;
        Err(Errno::Notsock.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_does_not_depend_on_how_it_is_cut() {
        let (mut whole, mut parts) = ([0; 100], [0; 100]);
        RandomStream::new([3; 32]).fill(&mut whole);
        let mut stream = RandomStream::new([3; 32]);
        for part in parts.chunks_mut(7) {
            stream.fill(part);
        }
        assert_eq!(whole, parts);
        let mut other = [0; 100];
        RandomStream::new([4; 32]).fill(&mut other);
        assert_ne!(whole, other);
    }
}
