//! Running the transactions of a block again, or calls as if they stood in it, under an inspector.

use super::{
    CallError, CallRequest, StateRead, TxError, env,
    error::unreadable,
    overlay::Overlay,
    watch::{StepCost, Stopped, TraceLimits, Watched},
};
use alloy_consensus::Transaction as _;
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_evm::{Evm as _, EvmEnv, FromRecoveredTx, eth::EthEvmContext};
use alloy_primitives::{Address, B256, Bytes, U256};
use bmm_types::{ChainParams, Header, Transaction};
use revm::{
    Database as _, DatabaseRef, Inspector,
    context::{
        BlockEnv, TxEnv,
        result::{EVMError, ResultAndState},
    },
    inspector::NoOpInspector,
    state::{AccountInfo, Bytecode},
};
use std::cell::RefCell;

/// Why a transaction or a call could not be traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be run, or the state cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The time is up.
    #[error("the trace took longer than it may; ask for less at once, or use a tracer that records less")]
    Time,
    /// Too much was recorded.
    #[error(
        "the trace records more than {0} bytes; use a tracer that records less, or the options `limit`, `disableStack`, \
         `disableStorage`, `onlyTopCall`"
    )]
    Bytes(usize),
    /// The tracer's options are not understood.
    #[error("{0}")]
    Options(String),
}

impl TraceError {
    pub(super) fn state(error: impl std::fmt::Display) -> Self {
        CallError::State(error.to_string()).into()
    }
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A transaction, and who sent it.
    Transaction(&'a Transaction, Address),
    /// A call, and the most gas that it may use.
    Call(&'a CallRequest, u64),
}

/// What one run did. The state is still as it was before.
pub(super) struct Ran<I> {
    pub(super) inspector: I,
    pub(super) done: ResultAndState,
    pub(super) tx: TxEnv,
    pub(super) block: BlockEnv,
    /// Bytes recorded, roughly counted.
    pub(super) bytes: usize,
}

/// A block that is run again, transaction after transaction; each changes the state for the next.
pub struct Replay<'a, DB: StateRead> {
    pub(super) params: &'a ChainParams,
    pub(super) env: EvmEnv,
    pub(super) overlay: Overlay<DB>,
}

impl<'a, DB: StateRead> Replay<'a, DB> {
    /// Begins the block of `header` over `db`, its parent's state: the calls that come before the transactions are made.
    ///
    /// # Errors
    /// When the state cannot be read, or those calls fail.
    pub fn block(params: &'a ChainParams, header: &Header, db: DB) -> Result<Self, TraceError> {
        let mut this = Self::after(params, header, db);
        for (contract, input) in env::calls_before(params, header) {
            let mut machine = env::inspected(params, this.env.clone(), &mut this.overlay, NoOpInspector);
            let done = machine
                .transact_system_call(SYSTEM_ADDRESS, contract, input)
                .map_err(|error| TraceError::state(unreadable(error)))?;
            drop(machine);
            this.overlay.commit(&done.state).map_err(TraceError::state)?;
        }
        Ok(this)
    }

    /// Begins with the state `db` as it is and the environment of `header`.
    pub fn after(params: &'a ChainParams, header: &Header, db: DB) -> Self {
        Self { params, env: env::env(params, header), overlay: env::overlay(params, db) }
    }

    /// Changes the environment to that of `header`; the state stays.
    pub fn set_header(&mut self, header: &Header) {
        self.env = env::env(self.params, header);
    }

    /// Runs a transaction whose trace nobody wants.
    ///
    /// # Errors
    /// When it may not stand here, or the state cannot be read.
    pub fn skip(&mut self, tx: &Transaction, sender: Address) -> Result<(), TraceError> {
        let mut machine = env::inspected(self.params, self.env.clone(), &mut self.overlay, NoOpInspector);
        machine.set_inspector_enabled(false);
        let done = machine.transact_raw(TxEnv::from_recovered_tx(tx, sender));
        drop(machine);
        let done = done.map_err(|error| refusal(error, self.params, &self.env.block_env, tx.gas_limit()))?;
        self.commit(&done)
    }

    /// Runs `subject` under `inspector`, of whose steps `steps` says what they record.
    pub(super) fn run<I>(
        &mut self,
        subject: Subject<'_>,
        inspector: I,
        steps: Option<StepCost>,
        limits: TraceLimits<'_>,
    ) -> Result<Ran<I>, TraceError>
    where
        I: for<'o> Inspector<EthEvmContext<&'o mut Overlay<DB>>>,
    {
        let mut env = self.env.clone();
        let tx = match subject {
            Subject::Transaction(tx, sender) => TxEnv::from_recovered_tx(tx, sender),
            Subject::Call(request, gas_cap) => {
                request.relax(&mut env);
                let gas_limit = request.gas.unwrap_or(gas_cap).min(gas_cap).min(env.block_env.gas_limit);
                TxEnv { gas_limit, ..request.tx_env(self.params.chain_id) }
            }
        };
        self.run_in(env, tx, inspector, steps, limits)
    }

    /// Runs `tx` in the environment `env`.
    pub(super) fn run_in<I>(
        &mut self,
        env: EvmEnv,
        tx: TxEnv,
        inspector: I,
        steps: Option<StepCost>,
        limits: TraceLimits<'_>,
    ) -> Result<Ran<I>, TraceError>
    where
        I: for<'o> Inspector<EthEvmContext<&'o mut Overlay<DB>>>,
    {
        let block = env.block_env.clone();
        let mut watched = Watched::new(inspector, limits, steps);
        let mut machine = env::inspected(self.params, env, &mut self.overlay, &mut watched);
        let done = machine.transact_raw(tx.clone());
        drop(machine);
        match watched.stopped {
            Some(Stopped::Time) => return Err(TraceError::Time),
            Some(Stopped::Bytes) => return Err(TraceError::Bytes(limits.max_bytes)),
            None => {}
        }
        let done = done.map_err(|error| refusal(error, self.params, &block, tx.gas_limit))?;
        Ok(Ran { bytes: watched.bytes(), inspector: watched.inner, done, tx, block })
    }

    /// Takes over what a run did.
    pub(super) fn commit(&mut self, done: &ResultAndState) -> Result<(), TraceError> {
        self.overlay.commit(&done.state).map_err(TraceError::state)
    }

    /// The state before the run that is not yet taken over.
    pub(super) fn before(&mut self) -> Before<'_, DB> {
        Before(RefCell::new(&mut self.overlay))
    }
}

/// Puts the machine's refusal into words.
pub(super) fn refusal(
    error: EVMError<impl std::error::Error>,
    params: &ChainParams,
    block: &BlockEnv,
    gas_limit: u64,
) -> TraceError {
    match error {
        EVMError::Transaction(error) => {
            let error = TxError::from_evm(error, params.chain_id, block.basefee, block.gas_limit, gas_limit);
            CallError::Invalid(error).into()
        }
        other => TraceError::state(unreadable(other)),
    }
}

/// A state that is read through a shared reference; what it reads is kept.
pub(super) struct Before<'a, DB>(RefCell<&'a mut Overlay<DB>>);

impl<DB: StateRead> DatabaseRef for Before<'_, DB> {
    type Error = DB::Error;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, DB::Error> {
        self.0.borrow_mut().basic(address)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, DB::Error> {
        self.0.borrow_mut().code_by_hash(hash)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, DB::Error> {
        self.0.borrow_mut().storage(address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, DB::Error> {
        self.0.borrow_mut().block_hash(number)
    }
}

/// Returns what a run returned.
pub(super) fn output(done: &ResultAndState) -> Bytes {
    done.result.output().cloned().unwrap_or_default()
}
