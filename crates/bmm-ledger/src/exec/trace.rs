//! What the tracers of `debug_*`, `trace_*` and `ots_*` make of one transaction or call.

use super::{
    CallRequest, StateRead,
    replay::{Before, Ran, Replay, Subject, TraceError, output},
    watch::{StepCost, TraceLimits},
};
use crate::system;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{B256, Bytes, U256, map::HashSet};
use alloy_rpc_types_eth::TransactionInfo;
use alloy_rpc_types_trace::{
    geth::{GethDebugTracerType, GethDebugTracingOptions, GethTrace},
    otterscan::InternalOperation,
    parity::{TraceResults, TraceType, TransactionTrace},
};
use revm::{DatabaseRef as _, context::result::ResultAndState, inspector::NoOpInspector};
use revm_inspectors::{
    access_list::AccessListInspector,
    otterscan::InternalOperationsInspector,
    tracing::{
        DebugInspector, TraceLimitBehavior, TraceLimits as RecordLimits, TracingInspector, TracingInspectorConfig,
        TransactionContext,
    },
};

/// Rounds in which an access list must settle: each run with the list of the one before may take another way.
const MAX_ACCESS_LIST_ROUNDS: usize = 16;

/// A call's access list, and what the call uses with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessListOutcome {
    /// Accounts and slots that the call touches, but for those that are warm anyway.
    pub access_list: AccessList,
    /// Gas used with that list.
    pub gas_used: u64,
    /// Why the call fails, if it does.
    pub error: Option<String>,
}

impl<DB: StateRead + 'static> Replay<'_, DB> {
    /// Runs `subject` under the tracer that `options` name, as `debug_traceTransaction` does, and takes over what it did.
    ///
    /// # Errors
    /// [`TraceError::Options`] for a tracer that does not exist here or options that it does not have; the others as they say.
    pub fn geth(
        &mut self,
        subject: Subject<'_>,
        place: TransactionInfo,
        options: GethDebugTracingOptions,
        limits: TraceLimits<'_>,
    ) -> Result<(GethTrace, usize), TraceError> {
        let inspector = debug_inspector(options)?;
        let steps = match &inspector {
            DebugInspector::Default(_, options) => Some(StepCost {
                stack: options.is_stack_enabled(),
                memory: options.is_memory_enabled(),
                storage: options.is_storage_enabled(),
                return_data: options.is_return_data_enabled(),
                limit: options.limit.filter(|&limit| limit > 0),
            }),
            DebugInspector::Erc7562Tracer(..) => {
                Some(StepCost { stack: true, memory: true, storage: true, ..StepCost::default() })
            }
            _ => None,
        };
        let reads_code = matches!(
            inspector,
            DebugInspector::PreStateTracer(..) | DebugInspector::Mux(..) | DebugInspector::Erc7562Tracer(..)
        );
        let Ran { mut inspector, done, tx, block, mut bytes } = self.run(subject, inspector, steps, limits)?;
        let mut before = self.before();
        if reads_code {
            bytes = bytes.saturating_add(state_bytes(&done, &before, limits)?);
        }
        let trace = inspector.get_result(Some(TransactionContext::from(place)), &tx, &block, &done, &mut before);
        let trace = trace.map_err(|error| TraceError::Options(error.to_string()))?;
        self.commit(&done)?;
        Ok((trace, bytes))
    }

    /// Runs `subject` and returns the kinds of traces asked for, as `trace_replayTransaction` does.
    ///
    /// # Errors
    /// As they say.
    pub fn parity(
        &mut self,
        subject: Subject<'_>,
        types: &HashSet<TraceType>,
        limits: TraceLimits<'_>,
    ) -> Result<(TraceResults, usize), TraceError> {
        let steps = types.contains(&TraceType::VmTrace).then(StepCost::default);
        let record = RecordLimits::default()
            .set_max_recorded_bytes(Some(limits.max_bytes))
            .set_behavior(TraceLimitBehavior::Skip);
        let inspector = TracingInspector::new(TracingInspectorConfig::from_parity_config(types)).with_limits(record);
        let Ran { inspector, done, mut bytes, .. } = self.run(subject, inspector, steps, limits)?;
        if inspector.limit_exceeded() {
            return Err(TraceError::Bytes(limits.max_bytes));
        }
        bytes = bytes.saturating_add(inspector.recorded_bytes());
        let before = self.before();
        if types.contains(&TraceType::StateDiff) {
            bytes = bytes.saturating_add(state_bytes(&done, &before, limits)?);
        }
        let builder = inspector.into_parity_builder();
        let mut results = builder.into_trace_results_with_state(&done, types, &before).map_err(TraceError::state)?;
        results.output = output(&done);
        self.commit(&done)?;
        Ok((results, bytes))
    }

    /// Runs `subject` and returns its calls, as `trace_transaction` does.
    ///
    /// # Errors
    /// As they say.
    pub fn calls(
        &mut self,
        subject: Subject<'_>,
        limits: TraceLimits<'_>,
    ) -> Result<(Vec<TransactionTrace>, usize), TraceError> {
        let inspector = TracingInspector::new(TracingInspectorConfig::default_parity());
        let Ran { inspector, done, bytes, .. } = self.run(subject, inspector, None, limits)?;
        self.commit(&done)?;
        Ok((inspector.into_parity_builder().into_transaction_traces(), bytes))
    }

    /// Runs `subject` and returns the transfers, creations and self-destructions inside, as `ots_getInternalOperations` does.
    ///
    /// # Errors
    /// As they say.
    pub fn internal_operations(
        &mut self,
        subject: Subject<'_>,
        limits: TraceLimits<'_>,
    ) -> Result<Vec<InternalOperation>, TraceError> {
        let ran = self.run(subject, InternalOperationsInspector::default(), None, limits)?;
        self.commit(&ran.done)?;
        Ok(ran.inspector.into_operations())
    }

    /// Runs `subject` and returns what it returned; of a failed one, what it reverted with.
    ///
    /// # Errors
    /// As they say.
    pub fn output(&mut self, subject: Subject<'_>, limits: TraceLimits<'_>) -> Result<Bytes, TraceError> {
        let ran = self.run(subject, NoOpInspector, None, limits)?;
        let returned = output(&ran.done);
        self.commit(&ran.done)?;
        Ok(returned)
    }

    /// Finds the access list of `request`: runs it with the list of the run before until the list stays.
    ///
    /// # Errors
    /// As they say; a call that reverts is no error.
    pub fn access_list(
        &mut self,
        request: &CallRequest,
        gas_cap: u64,
        limits: TraceLimits<'_>,
    ) -> Result<AccessListOutcome, TraceError> {
        let mut request = request.clone();
        let mut rounds = 0_usize;
        loop {
            let inspector = AccessListInspector::new(request.access_list.clone());
            let ran = self.run(Subject::Call(&request, gas_cap), inspector, None, limits)?;
            let access_list = with_system_slots(ran.inspector.into_access_list(), &ran.done);
            rounds = rounds.saturating_add(1);
            if access_list == request.access_list || rounds >= MAX_ACCESS_LIST_ROUNDS {
                let result = ran.done.result;
                let gas_used = result.tx_gas_used();
                let error = (!result.is_success()).then(|| super::call::failure(result, ran.tx.gas_limit).to_string());
                return Ok(AccessListOutcome { access_list, gas_used, error });
            }
            request.access_list = access_list;
        }
    }
}

/// Adds the slots of system contracts, which no opcode touches.
fn with_system_slots(mut list: AccessList, done: &ResultAndState) -> AccessList {
    for address in system::ADDRESSES {
        let Some(account) = done.state.get(&address).filter(|account| !account.storage.is_empty()) else { continue };
        let mut storage_keys: Vec<B256> = account.storage.keys().map(|&slot: &U256| slot.into()).collect();
        storage_keys.sort_unstable();
        list.0.retain(|item| item.address != address);
        list.0.push(AccessListItem { address, storage_keys });
    }
    list.0.sort_unstable_by_key(|item| item.address);
    list
}

/// Makes the tracer, or says which there are.
fn debug_inspector(options: GethDebugTracingOptions) -> Result<DebugInspector, TraceError> {
    if let Some(GethDebugTracerType::JsTracer(name)) = &options.tracer
        && !name.is_empty()
    {
        let shown: String = name.chars().take(40).collect();
        return Err(TraceError::Options(format!(
            "there is no tracer \"{shown}\"; JavaScript is not run here. There are callTracer, flatCallTracer, prestateTracer, \
             4byteTracer, muxTracer, noopTracer, erc7562Tracer and, without `tracer`, struct logs"
        )));
    }
    let named = options.tracer.as_ref().map_or("struct logs", GethDebugTracerType::as_str).to_owned();
    DebugInspector::new(options).map_err(|error| TraceError::Options(format!("tracer {named}: {error}")))
}

/// Bytes of code and storage that a tracer of states shows; refuses more than the limit before any is copied.
fn state_bytes<DB: StateRead>(
    done: &ResultAndState,
    before: &Before<'_, DB>,
    limits: TraceLimits<'_>,
) -> Result<usize, TraceError> {
    let mut bytes = 0usize;
    for (&address, account) in &done.state {
        let hash = before.basic_ref(address).map_err(TraceError::state)?.unwrap_or_default().code_hash;
        let code = before.code_by_hash_ref(hash).map_err(TraceError::state)?;
        let created = account.info.code.as_ref().map_or(0, revm::state::Bytecode::len);
        bytes = bytes
            .saturating_add(code.len())
            .saturating_add(created)
            .saturating_add(account.storage.len().saturating_mul(128));
        if bytes > limits.max_bytes {
            return Err(TraceError::Bytes(limits.max_bytes));
        }
    }
    Ok(bytes)
}
