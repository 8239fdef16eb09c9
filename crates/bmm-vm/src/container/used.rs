//! The time on cores that the containers of this process have used, as far as it was seen: it is not others' use of the machine.

use std::sync::atomic::{AtomicU64, Ordering};

static NANOS: AtomicU64 = AtomicU64::new(0);

/// Returns the time on cores that containers of this process have used since it began, nanoseconds.
pub fn used_nanos() -> u64 {
    NANOS.load(Ordering::Relaxed)
}

/// What was counted of one container.
#[derive(Debug, Default)]
pub(super) struct Used(u64);

impl Used {
    /// Counts what has come since the last look at a counter that never goes back while its container lives.
    pub(super) fn see(&mut self, nanos: u64) -> u64 {
        NANOS.fetch_add(nanos.saturating_sub(self.0), Ordering::Relaxed);
        self.0 = self.0.max(nanos);
        nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_once() {
        let (before, mut one, mut other) = (used_nanos(), Used::default(), Used::default());
        for nanos in [100, 250, 250, 0] {
            one.see(nanos);
        }
        other.see(50);
        // Tests of containers beside this one count too.
        assert!(used_nanos() - before >= 300);
        assert_eq!((one.0, other.0), (250, 50));
    }
}
