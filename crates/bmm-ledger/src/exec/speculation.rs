//! Executing one transaction ahead of its turn.

use super::{
    StateRead, env,
    overlay::{Overlay, Read},
};
use crate::system::Builtins;
use alloy_evm::{FromRecoveredTx, eth::EthEvmContext};
use alloy_primitives::{Address, U256};
use bmm_types::{ChainParams, Header, Transaction};
use revm::{
    context::{
        Evm, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason},
    },
    context_interface::{Block as _, ContextSetters as _, JournalTr as _, Transaction as _},
    handler::{EthFrame, FrameResult, Handler, instructions::EthInstructions, post_execution},
    inspector::NoOpInspector,
    interpreter::interpreter::EthInterpreter,
    state::EvmState,
};
use std::{cell::Cell, marker::PhantomData};

/// What came of a transaction, and what that hangs on.
pub(super) struct Speculated {
    pub(super) result: ExecutionResult,
    /// Accounts as the transaction left them.
    pub(super) state: EvmState,
    /// Units for the beneficiary, where the transaction did not look at its account; otherwise they are in `state`.
    pub(super) tip: Option<U256>,
    /// Every value that the machine asked for.
    pub(super) reads: Vec<Read>,
}

type Machine<'a, DB> = Evm<
    EthEvmContext<Overlay<DB>>,
    NoOpInspector,
    EthInstructions<EthInterpreter, EthEvmContext<Overlay<DB>>>,
    Builtins<'a>,
    EthFrame,
>;

/// Executes transactions on the parent's state and what it did to it itself.
pub(super) struct Speculator<'a, DB: StateRead> {
    machine: Machine<'a, &'a DB>,
}

impl<'a, DB: StateRead> Speculator<'a, DB> {
    /// Begins in the block of `header` on the state `db` of its parent.
    pub(super) fn new(params: &'a ChainParams, header: &Header, db: &'a DB) -> Self {
        Self { machine: env::machine(params, env::env(params, header), db).into_inner() }
    }

    /// Executes `tx`. Nothing comes of one that may not be here or whose state cannot be read: who executes it in its turn will know
    /// better.
    pub(super) fn execute(&mut self, tx: &Transaction, sender: Address) -> Option<Speculated> {
        self.machine.ctx.journaled_state.database.record_reads();
        self.machine.ctx.set_tx(TxEnv::from_recovered_tx(tx, sender));
        let mut handler = TipApart::<'a, &'a DB>::default();
        let done = handler.run(&mut self.machine);
        let state = self.machine.ctx.journaled_state.finalize();
        let overlay = &mut self.machine.ctx.journaled_state.database;
        let reads = overlay.take_reads();
        let (result, tip) = (done.ok()?, handler.tip.get());
        if tip == Tip::TooMuch {
            return None;
        }
        overlay.commit(&state).ok()?;
        let tip = if let Tip::Apart(tip) = tip { Some(tip) } else { None };
        Some(Speculated { result, state, tip, reads })
    }
}

/// What a transaction pays to the beneficiary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tip {
    /// It is in the account, which the transaction looked at.
    #[default]
    InState,
    /// Nobody looked at the account.
    Apart(U256),
    /// More than 2^128.
    TooMuch,
}

/// The machine's handler, but that the beneficiary's account is not read for the tip alone: every transaction changes it, so that
/// every one would hang on the one before.
struct TipApart<'a, DB> {
    tip: Cell<Tip>,
    machine: PhantomData<fn(&'a (), DB)>,
}

impl<DB> Default for TipApart<'_, DB> {
    fn default() -> Self {
        Self { tip: Cell::default(), machine: PhantomData }
    }
}

impl<'a, DB: StateRead> Handler for TipApart<'a, DB> {
    type Evm = Machine<'a, DB>;
    type Error = EVMError<DB::Error>;
    type HaltReason = HaltReason;

    fn reward_beneficiary(&self, evm: &mut Self::Evm, frame: &mut FrameResult) -> Result<(), Self::Error> {
        let context = &mut evm.ctx;
        if context.journaled_state.inner.state.contains_key(&context.block.beneficiary()) {
            return Ok(post_execution::reward_beneficiary(context, frame.gas())?);
        }
        // As the library computes it (EIP-1559).
        let base_fee = u128::from(context.block.basefee());
        let price = context.tx.effective_gas_price(base_fee).saturating_sub(base_fee);
        let gas = frame.gas().used().saturating_sub(frame.gas().reservoir());
        let tip = price.checked_mul(u128::from(gas));
        self.tip.set(tip.map_or(Tip::TooMuch, |tip| Tip::Apart(U256::from(tip))));
        Ok(())
    }
}
