//! When something began: found by halving over the states that are kept.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count},
    replays::{Budget, Stored, TRACE_TIME},
};
use alloy_consensus::Transaction;
use alloy_primitives::{Address, KECCAK256_EMPTY};
use alloy_rpc_types_trace::{
    otterscan::ContractCreator,
    parity::{Action, CreateOutput, TraceOutput, TransactionTrace},
};
use bmm_ledger::store::{MAX_VIEW_DEPTH, StateView};

/// How far the head may move on while a search runs.
const SLACK: u64 = 64;

/// Returns the first block after which `holds`, if it holds at the head.
fn first(context: &Context, holds: impl Fn(&StateView) -> RpcResult<bool>) -> RpcResult<Option<u64>> {
    let head = context.chain.head().number();
    let at = |number: u64| holds(&context.chain.state(number.into())?);
    if !at(head)? {
        return Ok(None);
    }
    let (mut without, mut with) = (head.saturating_sub(MAX_VIEW_DEPTH - SLACK), head);
    if at(without)? {
        if without == 0 {
            return Ok(Some(0));
        }
        return Err(RpcError::Limit(format!(
            "it was before block {without:#x}, the oldest whose state is kept here; there is no index to find it"
        )));
    }
    while with - without > 1 {
        let middle = without.midpoint(with);
        if at(middle)? {
            with = middle;
        } else {
            without = middle;
        }
    }
    Ok(Some(with))
}

/// `ots_getTransactionBySenderAndNonce`: the hash; `null` where the sender has not used the nonce for a transaction.
pub(crate) fn transaction_by_sender_and_nonce(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let Count(nonce) = args.required()?;
    let used = |state: &StateView| Ok(state.account(address)?.is_some_and(|account| account.nonce > nonce));
    let Some(number) = first(context, used)? else { return json(&()) };
    let Some(stored) = Stored::find(context, number.into())? else { return json(&()) };
    let mut signed = stored.body.transactions.iter().zip(&stored.senders);
    let found = signed.find(|(tx, sender)| **sender == address && Transaction::nonce(*tx) == nonce);
    json(&found.map(|(tx, _)| *tx.tx_hash()))
}

/// `ots_getContractCreator`: the transaction that created a contract, and who in it did; `null` for accounts without code and for
/// contracts of genesis.
pub(crate) fn contract_creator(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let has_code =
        |state: &StateView| Ok(state.account(address)?.is_some_and(|account| account.code_hash != KECCAK256_EMPTY));
    let Some(number) = first(context, has_code)?.filter(|&number| number > 0) else { return json(&()) };
    let Some(stored) = Stored::find(context, number.into())? else { return json(&()) };
    let mut budget = Budget::new(context, TRACE_TIME);
    let mut replay = stored.replay(context)?;
    for (index, tx) in stored.body.transactions.iter().enumerate() {
        budget.check()?;
        let traced = replay.calls(stored.subject(index)?, budget.limits())?;
        let creator = budget.spend(traced).iter().find_map(|trace| creator(trace, address));
        if let Some(creator) = creator {
            return json(&ContractCreator { hash: *tx.tx_hash(), creator });
        }
    }
    json(&())
}

/// Who created `address`, if this call did.
fn creator(trace: &TransactionTrace, address: Address) -> Option<Address> {
    match (&trace.action, &trace.result) {
        (Action::Create(action), Some(TraceOutput::Create(CreateOutput { address: created, .. })))
            if *created == address && trace.error.is_none() =>
        {
            Some(action.from)
        }
        _ => None,
    }
}
