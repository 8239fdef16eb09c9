//! A program that is ready to run, and running it.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wasmtime::component::{self, ComponentExportIndex};
use wasmtime::{Engine, InstancePre, ModuleExport, Store, Trap};

use crate::error::VmError;
use crate::state::{End, MemoryLimiter, SLICE_FUEL, TaskState};
use crate::task::{Exit, LimitKind, MAX_ARGUMENT_BYTES, Outcome, StopFlag, TaskInput, TrapKind};
use crate::vm::Slots;
use crate::wasi::p2::{MAX_COMPONENT_HANDLES, MAX_HANDED_BYTES};

/// Fuel of a task without a bound; the engine counts in signed 64-bit numbers.
const UNBOUNDED_FUEL: u64 = i64::MAX as u64;

/// Holds code that is linked, and where it begins.
pub(crate) enum Ready {
    /// A core module.
    Module {
        pre: InstancePre<TaskState>,
        /// Function that a reactor wants to be called first.
        initialize: Option<ModuleExport>,
        start: ModuleExport,
        /// Whether the entry returns its exit code.
        returns_code: bool,
    },
    /// A component.
    Component {
        pre: component::InstancePre<TaskState>,
        /// The function `run` of `wasi:cli/run`.
        run: ComponentExportIndex,
    },
}

/// Holds compiled code that is linked and ready: any number of threads may run it at once.
pub struct Program {
    pub(crate) hash: [u8; 32],
    pub(crate) ready: Ready,
    pub(crate) first_memory_bytes: u64,
    pub(crate) slots: Arc<Slots>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("first_memory_bytes", &self.first_memory_bytes).finish_non_exhaustive()
    }
}

impl Program {
    /// Returns the SHA-256 of the bytes of the module or component.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns the memory that the program starts with, bytes; of a component with several the largest.
    pub fn first_memory_bytes(&self) -> u64 {
        self.first_memory_bytes
    }

    /// Returns the size of the machine code with its tables, bytes.
    pub(crate) fn code_bytes(&self) -> usize {
        let image = match &self.ready {
            Ready::Module { pre, .. } => pre.module().image_range(),
            Ready::Component { pre, .. } => pre.component().image_range(),
        };
        (image.end as usize).saturating_sub(image.start as usize)
    }

    /// Says what a fault without a name is, if it is the program's. Of modules none is. The engine has no names for what a component
    /// does with handles that do not exist, or with texts that are none; before its first instruction such a fault is the host's.
    fn unnamed_fault(&self, memory: &MemoryLimiter, ran: bool) -> Option<Exit> {
        match self.ready {
            Ready::Module { .. } => None,
            Ready::Component { .. } if memory.host_failed => None,
            // Its memories are counted one by one when they are made.
            Ready::Component { .. } if memory.denied => Some(Exit::Limit(LimitKind::Memory)),
            Ready::Component { .. } => ran.then_some(Exit::Trap(TrapKind::Other)),
        }
    }

    fn engine(&self) -> &Engine {
        match &self.ready {
            Ready::Module { pre, .. } => pre.module().engine(),
            Ready::Component { pre, .. } => pre.engine(),
        }
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
        let mut store = Store::new(self.engine(), TaskState::new(task, stop, fuel, started));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(MAX_HANDED_BYTES);
        store.set_max_component_handles(MAX_COMPONENT_HANDLES);
        store.set_fuel(fuel).map_err(internal)?;
        store.fuel_async_yield_interval(Some(SLICE_FUEL)).map_err(internal)?;

        let exit = if self.first_memory_bytes > task.limits.memory_bytes {
            Exit::Limit(LimitKind::Memory)
        } else if stop.is_set() {
            Exit::Cancelled
        } else {
            // A fault in the sandbox's own code must not take the host's thread along; the store is thrown away then.
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| self.drive(&mut store)));
            let ended = ended.map_err(|_| internal("a system call panicked"))?;
            let left = store.get_fuel().map_err(internal)?;
            let limiter = &store.data().limiter;
            exit_of(ended, limiter.denied, self.unnamed_fault(limiter, left < fuel))?
        };
        let used = fuel - store.get_fuel().map_err(internal)?.min(fuel);
        let wall = started.elapsed();
        let state = store.into_data();
        let (stdout, stderr, outputs) = state.wasi.into_output();
        Ok(Outcome { exit, fuel: used, peak_memory_bytes: state.limiter.peak_bytes, wall, stdout, stderr, outputs })
    }

    /// Runs the program in slices of fuel, looking at the clock and the stop flag between them.
    ///
    /// The slices cost nothing in the compiled code, which compares its fuel with zero anyway; an epoch counter besides
    /// was measured to cost 11 % more time on an integer kernel.
    fn drive(&self, store: &mut Store<TaskState>) -> wasmtime::Result<()> {
        let watch = store.data().watch.clone();
        let mut running = pin!(self.begin(store));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(ended) = running.as_mut().poll(&mut context) {
                return ended;
            }
            if let Some(end) = watch.look() {
                // Dropping the future unwinds the program's stack.
                return Err(end.into());
            }
        }
    }

    /// Creates the instances, and calls what the program begins with.
    async fn begin(&self, store: &mut Store<TaskState>) -> wasmtime::Result<()> {
        match &self.ready {
            Ready::Module { pre, initialize, start, returns_code } => {
                let instance = pre.instantiate_async(&mut *store).await?;
                for export in initialize.iter().chain([start]) {
                    let function =
                        instance.get_module_export(&mut *store, export).and_then(wasmtime::Extern::into_func);
                    let function = function.ok_or_else(|| wasmtime::format_err!("an export vanished"))?;
                    if std::ptr::eq(export, start) && *returns_code {
                        let code = function.typed::<(), u32>(&mut *store)?.call_async(&mut *store, ()).await?;
                        return Err(End::Exit(code).into());
                    }
                    function.typed::<(), ()>(&mut *store)?.call_async(&mut *store, ()).await?;
                }
                Ok(())
            }
            Ready::Component { pre, run } => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run)?;
                let (status,) = run.call_async(&mut *store, ()).await?;
                status.map_err(|()| End::Exit(1).into())
            }
        }
    }
}

/// Refuses tasks that this host cannot run, whatever the program.
fn check_task(task: &TaskInput<'_>, slots: &Slots) -> Result<(), VmError> {
    for (field, asked, max) in [
        ("memory_bytes", task.limits.memory_bytes, slots.max_memory_bytes),
        ("output_bytes", task.limits.output_bytes, slots.max_output_bytes),
    ] {
        if asked > max {
            return Err(VmError::LimitTooHigh { field, asked, max });
        }
    }
    let strings = || task.args.iter().chain(task.env.iter().flat_map(|(name, value)| [name, value]));
    let bytes: usize = strings().map(|text| text.len() + 1).sum();
    if bytes > MAX_ARGUMENT_BYTES {
        return Err(VmError::Arguments(format!(
            "they have {bytes} bytes, more than {MAX_ARGUMENT_BYTES}; use an input file"
        )));
    }
    if let Some(text) = strings().find(|text| text.contains('\0')) {
        return Err(VmError::Arguments(format!("{text:?} contains a zero byte")));
    }
    if let Some((name, _)) = task.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        return Err(VmError::Arguments(format!("{name:?} is not a name of an environment variable")));
    }
    Ok(())
}

/// Reads the end of a program from what the engine returned; a fault without a name is `unnamed`, or the host's.
fn exit_of(ended: wasmtime::Result<()>, memory_denied: bool, unnamed: Option<Exit>) -> Result<Exit, VmError> {
    let Err(error) = ended else { return Ok(Exit::Ok) };
    let exit = match (error.downcast_ref::<End>(), error.downcast_ref::<Trap>()) {
        (Some(End::Exit(0)), _) => Exit::Ok,
        (Some(End::Exit(code)), _) => Exit::Code(code.cast_signed()),
        (Some(End::Limit(kind)), _) => Exit::Limit(*kind),
        (Some(End::Cancelled), _) => Exit::Cancelled,
        (None, Some(trap)) => trap_exit(*trap),
        (None, None) if error.is::<wasmtime::GcHeapOutOfMemory<()>>() => Exit::Limit(LimitKind::Memory),
        (None, None) if error.is::<wasmtime::ThrownException>() => Exit::Trap(TrapKind::Other),
        (None, None) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
            return Err(VmError::Instance(format!("{error:#}")));
        }
        (None, None) => {
            tracing::debug!(error = format!("{error:#}"), "a fault without a name");
            unnamed.ok_or_else(|| internal(error))?
        }
    };
    // A refused allocation usually ends in an abort or a failure code: name the cause, not the symptom.
    let failed = matches!(exit, Exit::Code(_) | Exit::Trap(_));
    Ok(if memory_denied && failed { Exit::Limit(LimitKind::Memory) } else { exit })
}

/// Names a trap.
fn trap_exit(trap: Trap) -> Exit {
    Exit::Trap(match trap {
        Trap::StackOverflow => return Exit::Limit(LimitKind::Stack),
        Trap::OutOfFuel => return Exit::Limit(LimitKind::Fuel),
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull | Trap::BadSignature => TrapKind::IndirectCall,
        Trap::IntegerDivisionByZero => TrapKind::DivisionByZero,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        _ => TrapKind::Other,
    })
}

/// Turns the engine's own failure into the room's error.
fn internal(error: impl std::fmt::Display) -> VmError {
    VmError::Internal(format!("{error:#}"))
}
