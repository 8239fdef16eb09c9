//! What the sandbox keeps for one running task, and the ways in which the host ends it.

use std::time::Instant;

use wasmtime::{Memory, ResourceLimiter};

use crate::check::MAX_TABLE_ELEMENTS;
use crate::task::{LimitKind, StopFlag, TaskInput};
use crate::wasi::Wasi;

/// Fuel between two looks at the clock and the stop flag: about a third of a millisecond, and the look costs 0.1 % of it.
pub(crate) const SLICE_FUEL: u64 = 1_000_000;

/// What the engine says of a memory that would pass the bounds of its type or of its module.
const OWN_BOUNDS: [&str; 2] = ["Memory maximum size exceeded", "memory growth exceeds memory type's limits"];

/// Ends a program from the host's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The program called `proc_exit`.
    #[error("exit {0}")]
    Exit(u32),
    /// The program went over a limit.
    #[error("limit")]
    Limit(LimitKind),
    /// The host wants its processor back.
    #[error("cancelled")]
    Cancelled,
}

/// Holds everything that belongs to one running task.
pub(crate) struct TaskState {
    /// The program's memory, looked up at the first system call.
    pub memory: Option<Memory>,
    /// Counts and bounds the linear memory.
    pub limiter: MemoryLimiter,
    /// Ends the task from outside.
    pub watch: Watch,
    /// The task's files, descriptors, clock and randomness.
    pub wasi: Wasi,
}

impl TaskState {
    /// Prepares a task that starts now.
    pub fn new(task: &TaskInput<'_>, stop: &StopFlag, fuel: u64, started: Instant) -> Self {
        Self {
            memory: None,
            limiter: MemoryLimiter {
                limit_bytes: task.limits.memory_bytes,
                total_bytes: 0,
                peak_bytes: 0,
                denied: false,
                host_failed: false,
            },
            // A time limit too long for the clock is none.
            watch: Watch { deadline: started.checked_add(task.limits.time), stop: stop.clone(), looked_at: fuel },
            wasi: Wasi::new(task),
        }
    }
}

/// Watches the wall clock and the stop flag.
#[derive(Clone)]
pub(crate) struct Watch {
    deadline: Option<Instant>,
    stop: StopFlag,
    /// Fuel that was left at the last look.
    looked_at: u64,
}

impl Watch {
    /// Looks at the flag and the clock.
    pub fn look(&self) -> Option<End> {
        if self.stop.is_set() {
            return Some(End::Cancelled);
        }
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline).then_some(End::Limit(LimitKind::Time))
    }

    /// Looks if a slice of fuel was used since the last look. System calls need this of their own: they set the fuel
    /// anew, which starts a new slice, so that a program of many calls would never come to the end of one.
    pub fn look_after_slice(&mut self, fuel_left: u64) -> Option<End> {
        if self.looked_at.saturating_sub(fuel_left) < SLICE_FUEL {
            return None;
        }
        self.looked_at = fuel_left;
        self.look()
    }
}

/// Bounds the linear memory, with what exceptions take, and remembers whether the program was refused.
pub(crate) struct MemoryLimiter {
    limit_bytes: u64,
    /// The linear memory and the room for exceptions together, bytes.
    total_bytes: u64,
    /// Largest size so far, bytes.
    pub peak_bytes: u64,
    /// Whether the program asked for more than the limit.
    pub denied: bool,
    /// Whether the host had no memory for what the limit allows.
    pub host_failed: bool,
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.total_bytes.saturating_add(desired.saturating_sub(current) as u64);
        if total > self.limit_bytes {
            // A program that passes the bound which it set itself is refused for its own reason.
            self.denied |= maximum.is_none_or(|maximum| desired <= maximum);
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.total_bytes = total;
            self.peak_bytes = self.peak_bytes.max(total);
        }
        Ok(true)
    }

    /// A growth that was permitted fails for want of the host's memory: answering -1 would make the result depend on the
    /// host, so the task ends as the host's failure. Passing the program's own bounds stays the program's affair.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if OWN_BOUNDS.contains(&error.to_string().as_str()) {
            return Ok(());
        }
        self.host_failed = true;
        Err(error)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}
