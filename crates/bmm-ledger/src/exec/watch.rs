//! The bounds of a trace: an inspector around another that ends the execution when the time is up or what is recorded grows
//! too large.

use alloy_primitives::{Address, Log, U256, map::HashSet};
use revm::{
    Inspector,
    bytecode::opcode,
    context_interface::{ContextTr, context::ContextError},
    inspector::JournalExt,
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter,
        interpreter_types::{InputsTr, Jumps, LoopControl, MemoryTr, ReturnData},
    },
};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1_024;

/// Bytes that a recorded call takes beside its data.
const CALL_BYTES: usize = 1_024;

/// Bytes that a recorded step takes beside stack, memory and storage.
const STEP_BYTES: usize = 200;

/// Bytes that a recorded log takes beside its data.
const LOG_BYTES: usize = 256;

/// Bytes that a slot takes in a recorded storage.
const SLOT_BYTES: usize = 96;

/// How long a trace may run, and how much it may record.
#[derive(Clone, Copy)]
pub struct TraceLimits<'a> {
    /// Says whether the time is up.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
    /// Bytes that may be recorded, roughly counted.
    pub max_bytes: usize,
}

/// Why a trace was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Time,
    Bytes,
}

/// What a tracer records of each step.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the struct logs")]
pub(super) struct StepCost {
    pub(super) stack: bool,
    pub(super) memory: bool,
    pub(super) storage: bool,
    pub(super) return_data: bool,
    /// Steps that are recorded at most.
    pub(super) limit: Option<u64>,
}

/// An inspector under watch.
pub(super) struct Watched<'a, I> {
    pub(super) inner: I,
    limits: TraceLimits<'a>,
    steps: Option<StepCost>,
    recorded_steps: u64,
    slots: HashSet<(Address, U256)>,
    bytes: usize,
    since_look: u32,
    pub(super) stopped: Option<Stopped>,
}

impl<'a, I> Watched<'a, I> {
    /// Watches `inner`, which records `steps`.
    pub(super) fn new(inner: I, limits: TraceLimits<'a>, steps: Option<StepCost>) -> Self {
        let slots = HashSet::default();
        Self { inner, limits, steps, recorded_steps: 0, slots, bytes: 0, since_look: 0, stopped: None }
    }

    /// Bytes recorded, roughly counted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn charge(&mut self, bytes: usize, context: &mut impl ContextTr) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.max_bytes {
            self.stop(Stopped::Bytes, context);
        }
    }

    fn look(&mut self, context: &mut impl ContextTr) {
        self.since_look = 0;
        if (self.limits.is_over)() {
            self.stop(Stopped::Time, context);
        }
    }

    fn stop(&mut self, why: Stopped, context: &mut impl ContextTr) {
        self.stopped.get_or_insert(why);
        if context.error().is_ok() {
            *context.error() = Err(ContextError::Custom("the trace was ended".into()));
        }
    }

    /// Ends the running frame if the trace was ended; whatever it was about to do is dropped.
    fn halt_if_stopped(&self, interp: &mut Interpreter) {
        if self.stopped.is_some() {
            interp.bytecode.action().take();
            interp.bytecode.reset_action();
            interp.halt_fatal();
        }
    }

    /// Bytes that recording the coming step takes.
    fn step_bytes(&mut self, cost: StepCost, interp: &Interpreter) -> usize {
        let mut bytes = STEP_BYTES;
        if cost.stack {
            bytes = bytes.saturating_add(interp.stack.len().saturating_mul(32));
        }
        if cost.memory {
            // Answered as text: a word of 32 bytes takes 64 characters and a string's frame.
            bytes = bytes.saturating_add(interp.memory.size().saturating_mul(3));
        }
        if cost.return_data {
            bytes = bytes.saturating_add(interp.return_data.buffer().len());
        }
        if cost.storage && matches!(interp.bytecode.opcode(), opcode::SLOAD | opcode::SSTORE) {
            if let Ok(slot) = interp.stack.peek(0) {
                self.slots.insert((interp.input.target_address(), slot));
            }
            // Each such step repeats what is known of the contract's storage.
            bytes = bytes.saturating_add(self.slots.len().saturating_mul(SLOT_BYTES));
        }
        bytes
    }
}

impl<CTX, I> Inspector<CTX> for Watched<'_, I>
where
    CTX: ContextTr<Journal: JournalExt>,
    I: Inspector<CTX>,
{
    fn initialize_interp(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        self.inner.initialize_interp(interp, context);
        self.halt_if_stopped(interp);
    }

    fn step(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        self.since_look = self.since_look.saturating_add(1);
        if self.since_look >= STEPS_PER_LOOK {
            self.look(context);
        }
        if let Some(cost) = self.steps.filter(|cost| cost.limit.is_none_or(|limit| self.recorded_steps < limit)) {
            self.recorded_steps = self.recorded_steps.saturating_add(1);
            let bytes = self.step_bytes(cost, interp);
            self.charge(bytes, context);
        }
        if self.stopped.is_none() {
            self.inner.step(interp, context);
        }
        self.halt_if_stopped(interp);
    }

    fn step_end(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        if self.stopped.is_none() {
            self.inner.step_end(interp, context);
        }
        self.halt_if_stopped(interp);
    }

    fn log(&mut self, context: &mut CTX, log: Log) {
        self.charge(log.data.data.len().saturating_add(LOG_BYTES), context);
        self.inner.log(context, log);
    }

    fn log_full(&mut self, interp: &mut Interpreter, context: &mut CTX, log: Log) {
        self.charge(log.data.data.len().saturating_add(LOG_BYTES), context);
        self.inner.log_full(interp, context, log);
    }

    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.look(context);
        self.charge(inputs.input.len().saturating_add(CALL_BYTES), context);
        self.inner.call(context, inputs)
    }

    fn call_end(&mut self, context: &mut CTX, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.charge(outcome.result.output.len(), context);
        self.inner.call_end(context, inputs, outcome);
    }

    fn create(&mut self, context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.look(context);
        self.charge(inputs.init_code().len().saturating_add(CALL_BYTES), context);
        self.inner.create(context, inputs)
    }

    fn create_end(&mut self, context: &mut CTX, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        self.charge(outcome.result.output.len(), context);
        self.inner.create_end(context, inputs, outcome);
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.inner.selfdestruct(contract, target, value);
    }
}
