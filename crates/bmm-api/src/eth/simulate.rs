//! `eth_simulateV1`: blocks of calls that nobody signed, on top of a block.
//!
//! Simulated blocks keep the chain's own rules: the id of the parent goes into the ring of past ids, the base fee goes to the
//! resource pot, the emission is paid. Their `stateRoot` is zero: it would have to be computed over a state that is nowhere
//! stored, and so their hashes are of headers without it.

use super::{
    answer::{self, Place},
    at, blocks,
    call::request_of,
    overrides,
};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json},
    params::{Args, Param, by_serde},
    replays::{Budget, TRACE_TIME, long_json},
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, EthereumReceipt, TxReceipt as _, proofs};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, address};
use alloy_rlp::Encodable as _;
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockOverrides, Transaction as RpcTransaction, TransactionRequest,
    simulate::{MAX_SIMULATE_BLOCKS, SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock},
};
use bmm_ledger::{
    CallError, TxError,
    exec::{Overridden, SimulateOptions, SimulatedCall, Simulation, TraceError, header},
    store::{Receipt, StateView},
};
use bmm_types::{Block, BlockBody, Header, Transaction};

/// Calls that one simulation may make.
const MAX_CALLS: usize = 10_000;

/// Most gas of one transaction (EIP-7825).
const TX_GAS_CAP: u64 = 1 << 24;

/// Whose logs the transfers of coins are.
const TRANSFERS: Address = address!("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");

impl Param for SimulatePayload {
    const EXPECTED: &'static str = "an object with blockStateCalls, validation, traceTransfers, returnFullTransactions";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

type Answer = SimulatedBlock<RpcBlock<RpcTransaction<Transaction>>>;

/// `eth_simulateV1`.
pub(crate) fn simulate(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let payload: SimulatePayload = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    let calls = payload.block_state_calls.iter().map(|block| block.calls.len()).fold(0, usize::saturating_add);
    if payload.block_state_calls.is_empty() {
        return Err(RpcError::param(1, "payload", "blockStateCalls is empty; send at least one block"));
    }
    if calls > MAX_CALLS {
        return Err(RpcError::Limit(format!("{calls} calls, at most {MAX_CALLS} are allowed")));
    }
    let (state, base) = at::state(context, block)?;
    let blocks = without_gaps(payload.block_state_calls, base.number)?;
    let mut run = Run {
        context,
        state: Overridden::new(state),
        parent: base,
        validation: payload.validation,
        trace_transfers: payload.trace_transfers,
        full: payload.return_full_transactions,
        gas: context.config.call_gas_limit,
    };
    let budget = Budget::new(context, TRACE_TIME);
    let answers: Vec<Answer> = blocks.into_iter().map(|block| run.block(block, &budget)).collect::<RpcResult<_>>()?;
    long_json(context, &answers)
}

/// Puts empty blocks where numbers are left out.
fn without_gaps(given: Vec<SimBlock>, base: u64) -> RpcResult<Vec<SimBlock>> {
    let mut blocks: Vec<SimBlock> = Vec::with_capacity(given.len());
    let mut last = base;
    for mut block in given {
        let next = last.saturating_add(1);
        let number = block.block_number_override().unwrap_or(U256::from(next));
        let number = u64::try_from(number).ok().filter(|&number| number >= next).ok_or_else(|| RpcError::Coded {
            code: -38020,
            words: format!("block numbers must be in order: {number} <= {last}"),
        })?;
        if number.saturating_sub(base) > MAX_SIMULATE_BLOCKS {
            let words =
                format!("too many blocks: {} after the base block, at most {MAX_SIMULATE_BLOCKS}", number - base);
            return Err(RpcError::Coded { code: -38026, words });
        }
        let numbered = |number| BlockOverrides { number: Some(U256::from(number)), ..BlockOverrides::default() };
        blocks.extend((next..number).map(|missing| SimBlock::default().with_block_overrides(numbered(missing))));
        block.block_overrides.get_or_insert_default().number = Some(U256::from(number));
        blocks.push(block);
        last = number;
    }
    Ok(blocks)
}

/// A simulation under way.
struct Run<'a> {
    context: &'a Context,
    state: Overridden<StateView>,
    parent: Header,
    validation: bool,
    trace_transfers: bool,
    full: bool,
    /// Gas that the calls to come may use.
    gas: u64,
}

/// What the calls of one block left.
#[derive(Default)]
struct Calls {
    transactions: Vec<Transaction>,
    senders: Vec<Address>,
    done: Vec<SimulatedCall>,
    receipts: Vec<Receipt>,
    gas_used: u64,
}

impl Run<'_> {
    fn block(&mut self, block: SimBlock, budget: &Budget) -> RpcResult<Answer> {
        let header = self.header(block.block_overrides.unwrap_or_default())?;
        let params = self.context.chain.params();
        overrides::apply_state(params, &mut self.state, block.state_overrides, (1, "payload"))?;
        let options = SimulateOptions {
            validation: self.validation,
            trace_transfers: self.trace_transfers,
            limits: budget.limits(),
        };
        let mut simulation = Simulation::begin(params, header.clone(), self.state.clone(), options)?;
        let mut calls = Calls::default();
        for request in block.calls {
            budget.check()?;
            self.call(&mut simulation, &header, request, &mut calls)?;
        }
        let diff = simulation.finish()?;
        let header = sealed(header, &calls);
        let id = header.hash_slow();
        self.state.apply_diff(diff);
        self.state.set_block_hash(header.number, id);
        self.parent = header.clone();
        Ok(self.answer(header, id, calls))
    }

    /// Makes the header of the next block, as far as it is known before its calls.
    fn header(&mut self, overrides: BlockOverrides) -> RpcResult<Header> {
        let (parent, params) = (&self.parent, self.context.chain.params());
        let base_fee = if self.validation { header::next_base_fee(parent) } else { 0 };
        let mut header = Header {
            parent_hash: parent.hash_slow(),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: parent.beneficiary,
            difficulty: parent.difficulty,
            number: parent.number.saturating_add(1),
            gas_limit: parent.gas_limit,
            timestamp: parent.timestamp.saturating_add(params.block_secs.max(1)),
            base_fee_per_gas: Some(base_fee),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: parent.requests_hash,
            ..Header::default()
        };
        overrides::apply_block(&mut header, &mut self.state, Some(overrides), (1, "payload"))?;
        if header.timestamp <= self.parent.timestamp {
            let words = format!("block timestamps must be in order: {} <= {}", header.timestamp, self.parent.timestamp);
            return Err(RpcError::Coded { code: -38021, words });
        }
        Ok(header)
    }

    fn call(
        &mut self,
        simulation: &mut Simulation<'_, Overridden<StateView>>,
        header: &Header,
        mut request: TransactionRequest,
        calls: &mut Calls,
    ) -> RpcResult<()> {
        let index = calls.done.len();
        let (chain_id, base_fee) = (self.context.chain.params().chain_id, header.base_fee_per_gas.unwrap_or(0));
        let from = request.from.unwrap_or_default();
        let nonce = match request.nonce {
            Some(nonce) => nonce,
            None => simulation.nonce(from)?,
        };
        let left = header.gas_limit.saturating_sub(calls.gas_used);
        let wanted = request.gas.unwrap_or(if self.validation { left.min(TX_GAS_CAP) } else { left });
        if wanted > left {
            let words = format!("block gas limit reached: call {index} wants {wanted} gas, {left} are left");
            return Err(RpcError::Coded { code: -38015, words });
        }
        if self.gas == 0 {
            let words = format!("the calls use more than {} gas; ask for less", self.context.config.call_gas_limit);
            return Err(RpcError::Limit(words));
        }
        let gas = wanted.min(self.gas);
        request.nonce = Some(nonce);
        request.gas = Some(gas);
        let call = request_of(request.clone(), chain_id, base_fee)?;
        let done = simulation.call(&call, gas).map_err(|error| refusal(error, index))?;
        self.gas = self.gas.saturating_sub(done.gas_used);
        calls.gas_used = calls.gas_used.saturating_add(done.gas_used);
        let tx = unsigned(request, from, chain_id)?;
        calls.receipts.push(Receipt::from(EthereumReceipt {
            tx_type: tx.tx_type(),
            success: done.returned.is_ok(),
            cumulative_gas_used: calls.gas_used,
            logs: done.logs.iter().filter(|log| log.address != TRANSFERS).cloned().collect(),
        }));
        calls.transactions.push(tx);
        calls.senders.push(from);
        calls.done.push(done);
        Ok(())
    }

    fn answer(&self, header: Header, id: B256, calls: Calls) -> Answer {
        let mut number = 0;
        let mut results = Vec::with_capacity(calls.done.len());
        for (index, (done, tx)) in calls.done.into_iter().zip(&calls.transactions).enumerate() {
            let place = Place { block: id, header: &header, index };
            let logs = done.logs.into_iter().map(|log| {
                number += 1;
                answer::log(log, *tx.tx_hash(), place, number - 1)
            });
            let logs = logs.collect();
            let (return_data, error) = told(done.returned);
            results.push(SimCallResult {
                return_data,
                logs,
                gas_used: done.gas_used,
                max_used_gas: Some(done.max_used_gas),
                status: error.is_none(),
                error,
            });
        }
        let body =
            BlockBody { transactions: calls.transactions, ommers: Vec::new(), withdrawals: Some(Vec::new().into()) };
        let transactions = if self.full {
            let signed = body.transactions.iter().cloned().zip(calls.senders).enumerate();
            let place = |index| Some(Place { block: id, header: &header, index });
            let written = signed.map(|(index, (tx, sender))| answer::transaction(tx, sender, place(index)));
            alloy_rpc_types_eth::BlockTransactions::Full(written.collect())
        } else {
            blocks::hashes(&body)
        };
        let block = Block { header, body };
        let (len, withdrawals) = (block.length(), block.body.withdrawals);
        SimulatedBlock { inner: blocks::shape(block.header, id, len, transactions, withdrawals), calls: results }
    }
}

/// Completes a header by what the calls left.
fn sealed(header: Header, calls: &Calls) -> Header {
    Header {
        transactions_root: proofs::calculate_transaction_root(&calls.transactions),
        receipts_root: proofs::calculate_receipt_root(&calls.receipts),
        logs_bloom: calls.receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom()),
        gas_used: calls.gas_used,
        ..header
    }
}

/// Writes a call as the transaction that it would be, with a signature of zeros.
fn unsigned(mut request: TransactionRequest, from: Address, chain_id: u64) -> RpcResult<Transaction> {
    request.from = Some(from);
    request.chain_id = Some(chain_id);
    request.to.get_or_insert(alloy_primitives::TxKind::Create);
    if request.gas_price.is_none() {
        request.max_fee_per_gas.get_or_insert(0);
        request.max_priority_fee_per_gas.get_or_insert(0);
    }
    let built = request.build_typed_simulate_transaction();
    built.map_err(|error| RpcError::param(1, "payload", format!("a call is no transaction: {error}")))
}

/// What a call returned, and its error.
fn told(returned: Result<Bytes, CallError>) -> (Bytes, Option<SimulateError>) {
    let error = match returned {
        Ok(output) => return (output, None),
        Err(error) => error,
    };
    if let CallError::Revert { data, reason } = error {
        let reason =
            reason.filter(|reason| !reason.is_empty()).map_or_else(String::new, |reason| format!(": {reason}"));
        let message = format!("execution reverted{reason}");
        let told = SimulateError { code: SimulateError::EXECUTION_REVERTED_CODE, message, data: Some(data.clone()) };
        return (data, Some(told));
    }
    let message = match &error {
        CallError::GasAllowance(_) => "out of gas".to_owned(),
        other => other.to_string(),
    };
    (Bytes::new(), Some(SimulateError { code: SimulateError::VM_EXECUTION_ERROR_CODE, message, data: None }))
}

/// The code that execution-apis give to a call that may not be in its block.
fn refusal(error: TraceError, index: usize) -> RpcError {
    let TraceError::Call(CallError::Invalid(error)) = error else { return error.into() };
    let code = match &error {
        TxError::NonceTooLow { .. } => -38010,
        TxError::NonceTooHigh { .. } => -38011,
        TxError::FeeTooLow { .. } => -38012,
        TxError::IntrinsicGas { .. } => -38013,
        TxError::Funds { .. } => -38014,
        TxError::BlockGas { .. } => -38015,
        TxError::SenderIsContract => -38024,
        TxError::InitCodeTooLong => -38025,
        _ => -32602,
    };
    RpcError::Coded { code, words: format!("call {index}: {}", RpcError::from(error)) }
}
