//! Simulated calls: `eth_call` and `eth_estimateGas`.

use super::{at, blocks};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Overrides},
};
use alloy_eips::BlockId;
use alloy_primitives::{KECCAK256_EMPTY, U64};
use alloy_rpc_types_eth::TransactionRequest;
use bmm_ledger::{CallRequest, exec, store::StateView};
use bmm_types::Header;

/// `eth_call`: returns what the code returned; a revert is error 3 with its data.
pub(crate) fn call(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let call = Simulated::read(context, args, &["state overrides", "block overrides"])?;
    let params = context.chain.params();
    let outcome = exec::call(params, &call.header, call.state, &call.request, context.config.call_gas_limit)?;
    json(&outcome.output)
}

/// Gas of a transfer that runs no code.
const TRANSFER_GAS: u64 = 21_000;

/// `eth_estimateGas`: a gas limit with which the call succeeds.
pub(crate) fn estimate_gas(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let call = Simulated::read(context, args, &["state overrides"])?;
    let params = context.chain.params();
    if call.runs_no_code()? {
        // The search ends a little above the least; wallets know that a plain transfer takes exactly this much.
        let exact = CallRequest { gas: Some(TRANSFER_GAS), ..call.request.clone() };
        if exec::call(params, &call.header, call.state.clone(), &exact, TRANSFER_GAS).is_ok() {
            return json(&U64::from(TRANSFER_GAS));
        }
    }
    let gas = exec::estimate_gas(params, &call.header, call.state, &call.request, context.config.call_gas_limit)?;
    json(&U64::from(gas))
}

/// A call, and what it runs on.
struct Simulated {
    request: CallRequest,
    header: Header,
    state: StateView,
}

impl Simulated {
    fn read(context: &Context, args: &mut Args<'_>, overrides: &[&'static str]) -> RpcResult<Self> {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        for (position, name) in (3..).zip(overrides) {
            let given: Option<Overrides> = args.optional()?;
            // An answer that ignored them would be wrong without a word.
            if given.is_some_and(|Overrides(object)| !object.is_empty()) {
                return Err(RpcError::param(position, name, "overrides are not supported; leave the parameter out"));
            }
        }
        let (state, mut header) = at::state(context, block)?;
        if block.is_some_and(|block| block.is_pending()) {
            header = blocks::pending_header(context, &header);
        }
        let request = request_of(request, context.chain.params().chain_id, header.base_fee_per_gas.unwrap_or(0))?;
        Ok(Self { request, header, state })
    }

    /// Whether this is a transfer to an account without code, with nothing beside.
    fn runs_no_code(&self) -> RpcResult<bool> {
        let request = &self.request;
        let plain = request.input.is_empty() && request.access_list.is_empty() && request.authorizations.is_empty();
        let Some(to) = request.to.filter(|_| plain) else { return Ok(false) };
        Ok(self.state.account(to)?.is_none_or(|account| account.code_hash == KECCAK256_EMPTY))
    }
}

/// Reads a transaction object as a call. Absent fields are left to the ledger's defaults.
fn request_of(request: TransactionRequest, chain_id: u64, base_fee: u64) -> RpcResult<CallRequest> {
    let refuse = |reason: String| Err(RpcError::param(1, "transaction", reason));
    if let Some(other) = request.chain_id.filter(|&id| id != chain_id) {
        return refuse(format!("chainId is {other}, this chain's is {chain_id}"));
    }
    if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() || request.max_fee_per_blob_gas.is_some() {
        return refuse("blobs are not accepted on this chain; leave their fields out".into());
    }
    let gas_price = match (request.gas_price, request.max_fee_per_gas, request.max_priority_fee_per_gas) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return refuse("both gasPrice and maxFeePerGas or maxPriorityFeePerGas given; choose one".into());
        }
        (Some(price), None, None) => Some(price),
        (None, Some(most), tip) if tip.is_some_and(|tip| tip > most) => {
            return refuse(format!("maxPriorityFeePerGas is above maxFeePerGas {most}"));
        }
        (None, Some(most), tip) => Some(most.min(u128::from(base_fee).saturating_add(tip.unwrap_or(0)))),
        (None, None, _) => None,
    };
    Ok(CallRequest {
        from: request.from,
        to: request.to.and_then(|to| to.to().copied()),
        value: request.value.unwrap_or_default(),
        input: request.input.into_input().unwrap_or_default(),
        gas: request.gas,
        // Zero is how libraries say "nothing".
        gas_price: gas_price.filter(|&price| price > 0),
        access_list: request.access_list.unwrap_or_default(),
        authorizations: request.authorization_list.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> RpcResult<CallRequest> {
        request_of(serde_json::from_str(json).expect("a transaction object"), 7, 100)
    }

    #[test]
    fn the_price_is_what_a_transaction_would_pay() {
        for (json, price) in [
            ("{}", None),
            (r#"{"gasPrice": "0x0"}"#, None),
            (r#"{"gasPrice": "0x5"}"#, Some(5)),
            (r#"{"maxFeePerGas": "0xc8", "maxPriorityFeePerGas": "0x1"}"#, Some(101)),
            (r#"{"maxFeePerGas": "0x32"}"#, Some(50)),
            (r#"{"maxPriorityFeePerGas": "0x1"}"#, None),
        ] {
            assert_eq!(request(json).expect("a call").gas_price, price, "{json}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for json in [
            r#"{"chainId": "0x8"}"#,
            r#"{"gasPrice": "0x5", "maxFeePerGas": "0x5"}"#,
            r#"{"maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6"}"#,
            r#"{"maxFeePerBlobGas": "0x5"}"#,
        ] {
            assert!(matches!(request(json), Err(RpcError::Param { position: 1, .. })), "{json}");
        }
    }
}
