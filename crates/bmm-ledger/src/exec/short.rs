//! Calls that are short: run under a bound of gas, and left where they would pass it, so that they can be run by a thread that must not
//! be held up.
//!
//! The bound is not the call's gas limit, which the code can see. Before each instruction the gas that the frame has beyond what is left
//! of the bound is taken away, and given back behind it: every instruction pays before it works, so that none does more than is left.
//! Those that could see the difference (`GAS`, the calls, the ends of a frame) see all their gas, and have bounds of their own. Whatever
//! fails while gas was taken away says nothing; the run is left then, and nothing of it is told. So a call returns the same with every
//! bound, or nothing.

use super::{
    CallError, CallOutcome, CallRequest, StateRead,
    call::{self, Simulated},
    env,
    overlay::Overlay,
};
use crate::system::Builtins;
use alloy_evm::{Evm as _, EvmEnv, eth::EthEvmContext};
use alloy_primitives::{U256, map::AddressSet};
use bmm_types::{ChainParams, Header};
use revm::{
    Inspector,
    bytecode::opcode,
    context::{Context, Evm, FrameStack, Journal, JournalEntry, JournalInner, LocalContext, TxEnv},
    context_interface::{ContextTr, context::ContextError},
    handler::{EthFrame, instructions::EthInstructions},
    interpreter::{
        Interpreter,
        interpreter::EthInterpreter,
        interpreter_types::{Jumps, LoopControl, MemoryTr},
    },
};
use std::cell::{Cell, RefCell};

/// What a call counts for beside the callee's own instructions, as gas: about an account that was not read before.
const CALL: u64 = 3_000;

/// An instruction that counts for little.
const STEP: u64 = 2;

/// Bytes of memory that a call or the end of a frame may reach without having paid for them before.
const FREE_MEMORY: usize = 64 << 10;

/// Input of a call that is tried at all, in bytes. Reading it is not counted.
const MAX_INPUT: usize = 16 << 10;

/// What is left of a bound.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
    over: Cell<bool>,
}

impl Budget {
    const fn new(gas: u64) -> Self {
        Self { left: Cell::new(gas), over: Cell::new(false) }
    }

    /// Returns the gas that is left.
    pub(crate) const fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes `gas`; false, and the run is to be left, where that is more than there is.
    pub(crate) fn take(&self, gas: u64) -> bool {
        let left = self.left.get().checked_sub(gas);
        self.left.set(left.unwrap_or(0));
        if left.is_none() {
            self.leave();
        }
        left.is_some()
    }

    /// Says that the run is to be left.
    pub(crate) fn leave(&self) {
        self.over.set(true);
    }
}

/// Counts a run's instructions against a budget, and leaves the run where that is not enough.
struct Meter<'a> {
    budget: &'a Budget,
    /// Gas that the frame was shown before the running instruction, and what was taken away.
    shown: Option<(u64, u64)>,
}

impl Meter<'_> {
    /// Ends the run; whatever the frame was about to do is dropped.
    fn leave(&mut self, interp: &mut Interpreter, context: &mut impl ContextTr) {
        self.budget.leave();
        self.shown = None;
        if context.error().is_ok() {
            *context.error() = Err(ContextError::Custom("more than a short call".into()));
        }
        interp.bytecode.action().take();
        interp.bytecode.reset_action();
        interp.halt_fatal();
    }

    /// Whether the ranges of memory named on the stack (places of offset and length) are paid for or small.
    fn reaches_little(interp: &Interpreter, ranges: &[(usize, usize)]) -> bool {
        let most = U256::from(interp.memory.size().max(FREE_MEMORY));
        ranges.iter().all(|&(offset, len)| match (interp.stack.peek(offset), interp.stack.peek(len)) {
            (Ok(offset), Ok(len)) => len.is_zero() || offset.saturating_add(len) <= most,
            // The instruction will fail.
            _ => true,
        })
    }
}

impl<CTX: ContextTr> Inspector<CTX> for Meter<'_> {
    fn step(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        self.shown = None;
        let goes_on = match interp.bytecode.opcode() {
            opcode::STOP | opcode::GAS => self.budget.take(STEP),
            opcode::RETURN | opcode::REVERT => self.budget.take(STEP) && Self::reaches_little(interp, &[(0, 1)]),
            opcode::CALL | opcode::CALLCODE => {
                self.budget.take(CALL) && Self::reaches_little(interp, &[(3, 4), (5, 6)])
            }
            opcode::DELEGATECALL | opcode::STATICCALL => {
                self.budget.take(CALL) && Self::reaches_little(interp, &[(2, 3), (4, 5)])
            }
            opcode::CREATE | opcode::CREATE2 | opcode::SELFDESTRUCT => false,
            _ => {
                let has = interp.gas.remaining();
                let shown = has.min(self.budget.left());
                interp.gas.set_remaining(shown);
                self.shown = Some((shown, has.saturating_sub(shown)));
                true
            }
        };
        if !goes_on {
            self.leave(interp, context);
        }
    }

    fn step_end(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        let Some((shown, hidden)) = self.shown.take() else { return };
        if interp.bytecode.is_end() && hidden > 0 {
            return self.leave(interp, context);
        }
        let has = interp.gas.remaining();
        if self.budget.take(shown.saturating_sub(has)) {
            interp.gas.set_remaining(has.saturating_add(hidden));
        } else {
            self.leave(interp, context);
        }
    }
}

type Frames = FrameStack<EthFrame<EthInterpreter>>;

/// What a machine is made of that takes long to make, without a state or anything of its last run.
struct Parts {
    /// What was built in: tells chains of different rules apart.
    built_in: &'static AddressSet,
    frames: Frames,
    journal: JournalInner<JournalEntry>,
    local: LocalContext,
}

thread_local! {
    /// Those of the last machine of this thread. What they hold was made within a budget.
    static PARTS: RefCell<Option<Parts>> = const { RefCell::new(None) };
}

type Inner<'a, DB> = Evm<
    EthEvmContext<Overlay<DB>>,
    Meter<'a>,
    EthInstructions<EthInterpreter, EthEvmContext<Overlay<DB>>>,
    Builtins<'a>,
    EthFrame<EthInterpreter>,
>;

/// Builds a machine, out of the parts of the last one if there are any.
fn machine<'a, DB: StateRead>(params: &'a ChainParams, env: EvmEnv, db: DB, budget: &'a Budget) -> Inner<'a, DB> {
    let meter = Meter { budget, shown: None };
    let overlay = env::overlay(params, db);
    let spec = env.cfg_env.spec;
    let builtins = Builtins::new(params, spec).within(budget);
    let parts = PARTS.take().filter(|parts| std::ptr::eq(parts.built_in, builtins.addresses()));
    let Some(Parts { frames, journal, local, .. }) = parts else {
        let machine = env::inspected(params, env, overlay, meter).into_inner();
        return machine.with_precompiles(builtins);
    };
    let ctx = Context {
        block: env.block_env,
        tx: TxEnv::default(),
        cfg: env.cfg_env,
        journaled_state: Journal::new_with_inner(overlay, journal),
        chain: (),
        local,
        error: Ok(()),
    };
    let instruction = EthInstructions::new_mainnet_with_spec(spec);
    Evm { ctx, inspector: meter, instruction, precompiles: builtins, frame_stack: frames }
}

/// As [`super::call`], if that takes no more than about `budget` gas beside the intrinsic gas; `None` where it takes more, or creates a
/// contract, or cannot be told to be short: then nothing is known of the outcome.
///
/// Whether the call is run here or there, and with which budget, makes no difference to the outcome.
pub fn call_within(
    params: &ChainParams,
    header: &Header,
    db: impl StateRead,
    request: &CallRequest,
    gas_cap: u64,
    budget: u64,
) -> Option<Result<CallOutcome, CallError>> {
    let is_plain = request.authorizations.is_empty() && request.access_list.is_empty();
    if !is_plain || request.to.is_none() || request.input.len() > MAX_INPUT {
        return None;
    }
    let budget = Budget::new(budget);
    let Simulated { env, tx } = Simulated::new(params, header, request, call::Cap::Lifted);
    let gas_limit = call::gas_limit(request, header, gas_cap);
    let mut machine = alloy_evm::EthEvm::new(machine(params, env, db, &budget), true);
    let done = machine.transact_raw(TxEnv { gas_limit, ..tx });
    if budget.over.get() {
        return None;
    }
    let is_clean = done.is_ok();
    let outcome = call::outcome(done.map(|done| done.result), machine.block(), params.chain_id, gas_limit);
    let Evm { ctx, precompiles, frame_stack: frames, .. } = machine.into_inner();
    if is_clean {
        let (built_in, journal, local) = (precompiles.addresses(), ctx.journaled_state.inner, ctx.local);
        PARTS.set(Some(Parts { built_in, frames, journal, local }));
    }
    Some(outcome)
}
