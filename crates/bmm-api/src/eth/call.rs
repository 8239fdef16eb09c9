//! Simulated calls: `eth_call` and `eth_estimateGas`.

use super::{at, blocks, overrides};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::Args,
};
use alloy_eips::BlockId;
use alloy_primitives::{KECCAK256_EMPTY, U64};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::StateOverride};
use bmm_ledger::{
    CallRequest,
    exec::{self, Overridden},
    store::StateView,
};
use bmm_types::Header;

/// `eth_call`: returns what the code returned; a revert is error 3 with its data.
pub(crate) fn call(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let call = Simulated::read(context, args)?;
    let params = context.chain.params();
    let outcome = exec::call(params, &call.header, &call.state, &call.request, context.config.call_gas_limit)?;
    json(&outcome.output)
}

/// Gas that a call may take where it was read, beside the intrinsic gas: a millisecond at worst, and more than most views take.
const SHORT_GAS: u64 = 40_000;

/// Parameters that are read to find out, in bytes.
const SHORT_PARAMS: usize = 8 << 10;

/// `eth_call` of what is short, on the newest state; `None` for what is not.
pub(crate) fn call_if_short(context: &Context, args: &mut Args<'_>) -> RpcResult<Option<Json>> {
    if !args.name_only_the_head() || args.bytes() > SHORT_PARAMS {
        return Ok(None);
    }
    let Simulated { request, header, state } = Simulated::read(context, args)?;
    let (params, most) = (context.chain.params(), context.config.call_gas_limit);
    let outcome = exec::call_within(params, &header, &state, &request, most, SHORT_GAS).transpose()?;
    outcome.map(|outcome| json(&outcome.output)).transpose()
}

/// Gas of a transfer that runs no code.
const TRANSFER_GAS: u64 = 21_000;

/// `eth_estimateGas`: a gas limit with which the call succeeds.
pub(crate) fn estimate_gas(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let call = Simulated::read(context, args)?;
    let params = context.chain.params();
    if call.runs_no_code()? {
        // The search ends a little above the least; wallets know that a plain transfer takes exactly this much.
        let exact = CallRequest { gas: Some(TRANSFER_GAS), ..call.request.clone() };
        if exec::call(params, &call.header, &call.state, &exact, TRANSFER_GAS).is_ok() {
            return json(&U64::from(TRANSFER_GAS));
        }
    }
    let gas = exec::estimate_gas(params, &call.header, &call.state, &call.request, context.config.call_gas_limit)?;
    json(&U64::from(gas))
}

/// A call, and what it runs on.
pub(crate) struct Simulated {
    pub(crate) request: CallRequest,
    pub(crate) header: Header,
    pub(crate) state: Overridden<StateView>,
}

impl Simulated {
    /// Reads transaction, block, state overrides and block overrides.
    fn read(context: &Context, args: &mut Args<'_>) -> RpcResult<Self> {
        let request: TransactionRequest = args.required()?;
        let block: Option<BlockId> = args.optional()?;
        let (state, blocks): (Option<StateOverride>, Option<BlockOverrides>) = (args.optional()?, args.optional()?);
        let state = (state, (3, "state overrides"));
        Self::new(context, request, block, state, (blocks, (4, "block overrides")))
    }

    /// Puts a call together; each kind of overrides comes with position and name of its parameter.
    pub(crate) fn new(
        context: &Context,
        request: TransactionRequest,
        block: Option<BlockId>,
        state_overrides: (Option<StateOverride>, (usize, &'static str)),
        block_overrides: (Option<BlockOverrides>, (usize, &'static str)),
    ) -> RpcResult<Self> {
        let (state, mut header) = at::state(context, block)?;
        if block.is_some_and(|block| block.is_pending()) {
            header = blocks::pending_header(context, &header);
        }
        let mut state = Overridden::new(state);
        overrides::apply_state(context.chain.params(), &mut state, state_overrides.0, state_overrides.1)?;
        overrides::apply_block(&mut header, &mut state, block_overrides.0, block_overrides.1)?;
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
pub(crate) fn request_of(request: TransactionRequest, chain_id: u64, base_fee: u64) -> RpcResult<CallRequest> {
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
        nonce: request.nonce,
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
