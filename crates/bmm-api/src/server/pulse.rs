//! Which connections are alive: silence ends one, whether its caller sends nothing, half a request, or does not read.
//!
//! A connection notes its progress in an atomic cell, and one loop looks at all cells every second: no timers are set and cleared
//! for each request.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

/// Seconds without progress after which a connection is closed.
pub(super) const SILENCE_SECS: u64 = 120;

/// Waits for the first byte of a request: may be closed at any moment.
const RESTS: u8 = 0;
/// Reads or writes.
const MOVES: u8 = 1;
/// Works out an answer: the caller can do nothing.
const WORKS: u8 = 2;

/// Seconds since the server began, counted by its loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    /// Counts a second.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// One connection's cell.
#[derive(Debug)]
pub(super) struct Pulse {
    ticks: Ticks,
    last: AtomicU64,
    state: AtomicU8,
}

impl Pulse {
    pub(super) fn new(ticks: &Ticks) -> Self {
        Self { last: AtomicU64::new(ticks.0.load(Relaxed)), ticks: ticks.clone(), state: AtomicU8::new(RESTS) }
    }

    /// Notes progress.
    pub(super) fn beat(&self) {
        self.last.store(self.ticks.0.load(Relaxed), Relaxed);
    }

    /// Notes that the next request is waited for. Not progress by itself.
    pub(super) fn rest(&self) {
        self.state.store(RESTS, Relaxed);
    }

    /// Notes that bytes move.
    pub(super) fn move_on(&self) {
        self.state.store(MOVES, Relaxed);
    }

    /// Notes that an answer is worked out.
    pub(super) fn work(&self) {
        self.beat();
        self.state.store(WORKS, Relaxed);
    }

    /// Notes that the answer is there and goes out.
    pub(super) fn worked(&self) {
        self.beat();
        self.state.store(MOVES, Relaxed);
    }

    /// Whether nothing is lost when the connection is closed now.
    pub(super) fn rests(&self) -> bool {
        self.state.load(Relaxed) == RESTS
    }

    /// Whether the caller has been silent too long.
    pub(super) fn is_silent(&self) -> bool {
        let silent = self.ticks.0.load(Relaxed).saturating_sub(self.last.load(Relaxed));
        silent > SILENCE_SECS && self.state.load(Relaxed) != WORKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_unless_the_node_works() {
        let ticks = Ticks::default();
        let pulse = Pulse::new(&ticks);
        let pass = |secs| (0..secs).for_each(|_| ticks.count());
        pass(SILENCE_SECS);
        assert!(!pulse.is_silent() && pulse.rests());
        pass(1);
        assert!(pulse.is_silent());
        pulse.work();
        pass(SILENCE_SECS + 1);
        assert!(!pulse.is_silent() && !pulse.rests());
        pulse.worked();
        assert!(!pulse.is_silent());
        pass(SILENCE_SECS + 1);
        assert!(pulse.is_silent(), "the answer is not read");
    }
}
