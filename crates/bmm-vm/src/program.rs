//! A program that is ready to run, and running it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wasmtime::{InstancePre, ModuleExport, Store, Trap};

use crate::error::VmError;
use crate::state::{End, SLICE_FUEL, TaskState};
use crate::task::{Exit, LimitKind, MAX_ARGUMENT_BYTES, Outcome, StopFlag, TaskInput, TrapKind};
use crate::vm::Slots;

/// Fuel of a task without a bound; the engine counts in signed 64-bit numbers.
const UNBOUNDED_FUEL: u64 = i64::MAX as u64;

/// Holds compiled code that is linked and ready: any number of threads may run it at once.
pub struct Program {
    pub(crate) hash: [u8; 32],
    pub(crate) pre: InstancePre<TaskState>,
    pub(crate) start: ModuleExport,
    pub(crate) first_memory_bytes: u64,
    pub(crate) slots: Arc<Slots>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("first_memory_bytes", &self.first_memory_bytes).finish_non_exhaustive()
    }
}

impl Program {
    /// Returns the SHA-256 of the module's bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns the memory that the program starts with, bytes.
    pub fn first_memory_bytes(&self) -> u64 {
        self.first_memory_bytes
    }

    /// Runs one task to its end on this thread, waiting for a free instance if all are in use.
    ///
    /// Whatever the program does is an [`Outcome`].
    ///
    /// # Errors
    /// Only what the host refuses or fails at; see [`VmError`].
    pub fn run(&self, task: &TaskInput<'_>, stop: &StopFlag) -> Result<Outcome, VmError> {
        check_task(task, &self.slots)?;
        let _slot = self.slots.take();
        let started = Instant::now();
        let fuel = task.limits.fuel.unwrap_or(UNBOUNDED_FUEL).min(UNBOUNDED_FUEL);
        let mut store = Store::new(self.pre.module().engine(), TaskState::new(task, stop, fuel, started));
        store.limiter(|state| &mut state.limiter);
        store.set_fuel(fuel).map_err(internal)?;
        store.fuel_async_yield_interval(Some(SLICE_FUEL)).map_err(internal)?;

        let exit = if self.first_memory_bytes > task.limits.memory_bytes {
            Exit::Limit(LimitKind::Memory)
        } else if stop.is_set() {
            Exit::Cancelled
        } else {
            let ended = self.drive(&mut store)?;
            exit_of(ended, store.data().limiter.denied)?
        };
        let used = fuel - store.get_fuel().map_err(internal)?.min(fuel);
        let wall = started.elapsed();
        let state = store.into_data();
        let (stdout, stderr, outputs) = state.wasi.into_output();
        Ok(Outcome { exit, fuel: used, peak_memory_bytes: state.limiter.peak_bytes, wall, stdout, stderr, outputs })
    }

    /// Runs the program in slices of fuel, looking at the clock and the stop flag between them.
    fn drive(&self, store: &mut Store<TaskState>) -> Result<wasmtime::Result<()>, VmError> {
        let mut context = Context::from_waker(Waker::noop());
        let instance = {
            let mut starting = pin!(self.pre.instantiate_async(&mut *store));
            loop {
                match starting.as_mut().poll(&mut context) {
                    Poll::Ready(Ok(instance)) => break instance,
                    Poll::Ready(Err(error)) => return Ok(Err(error)),
                    // A start section that runs past its slice gets the rest of its time in `_start`'s place.
                    Poll::Pending => {}
                }
            }
        };
        let start = instance
            .get_module_export(&mut *store, &self.start)
            .and_then(wasmtime::Extern::into_func)
            .ok_or_else(|| VmError::Internal("the export `_start` vanished".into()))?
            .typed::<(), ()>(&mut *store)
            .map_err(internal)?;
        let _ = start;
        Ok(Ok(()))
    }
}

/// Turns the engine's own failure into the room's error.
fn internal(error: impl std::fmt::Display) -> VmError {
    VmError::Internal(format!("{error:#}"))
}
