//! Errors as JSON-RPC says them.
//!
//! Codes: -32700, -32600, -32601, -32602 and -32603 as JSON-RPC 2.0 has them, 3 for a revert (with its data, as geth answers),
//! -32005 where a limit of this node is passed (EIP-1474), -32000 for everything that Ethereum's nodes answer so, in the words
//! that wallets and libraries search for.

use alloy_primitives::Bytes;
use bmm_chain::{ChainError, PoolError};
use bmm_ledger::{CallError, TxError, store::StoreError};
use jsonrpsee::types::{
    ErrorObjectOwned,
    error::{
        INTERNAL_ERROR_CODE, INVALID_PARAMS_CODE, INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE, OVERSIZED_REQUEST_CODE,
        OVERSIZED_RESPONSE_CODE, PARSE_ERROR_CODE, TOO_BIG_BATCH_REQUEST_CODE,
    },
};
use serde::Serialize as _;
use serde_json::Serializer;

/// What a method answers, already written as JSON.
pub(crate) type RpcResult<T> = Result<T, RpcError>;

/// Why a call failed, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RpcError {
    /// The request is not JSON.
    #[error("Parse error: the request is not JSON")]
    Unreadable,
    /// The request is JSON, and no call.
    #[error("Invalid request: {0}")]
    Malformed(&'static str),
    /// A batch has too many calls.
    #[error("Invalid request: the batch has more than {0} calls")]
    BatchTooLong(usize),
    /// There is no such method (geth's words).
    #[error("the method {0} does not exist/is not available")]
    UnknownMethod(String),
    /// The method needs a connection that stays (geth's words).
    #[error("notifications not supported: subscribe over a WebSocket")]
    NoNotifications,
    /// The request is longer than is read.
    #[error("the request is longer than {0} bytes; send it in parts")]
    RequestTooLong(u32),
    /// The answer is longer than is sent.
    #[error("the answer is longer than {0} bytes; ask for less")]
    AnswerTooLong(u32),
    /// The parameters are not a list, or there are too many.
    #[error("invalid params: {0}")]
    Params(String),
    /// One parameter cannot be read.
    #[error("invalid params: parameter {position} ({name}): {reason}")]
    Param {
        /// Counted from one.
        position: usize,
        /// The parameter's name in Ethereum's JSON-RPC specification.
        name: &'static str,
        /// What was expected, and what came.
        reason: String,
    },
    /// A contract reverted.
    #[error("{words}")]
    Reverted {
        /// What the code returned.
        data: Bytes,
        /// `execution reverted`, and the reason where it is known.
        words: String,
    },
    /// The node answers no more than its limits allow.
    #[error("{0}")]
    Limit(String),
    /// The call was understood and cannot be answered.
    #[error("{0}")]
    Refused(String),
    /// The call cannot be answered, for a reason that has a code of its own.
    #[error("{words}")]
    Coded {
        /// The code that execution-apis give it.
        code: i32,
        /// The reason.
        words: String,
    },
    /// The node itself failed; its log has the cause.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RpcError {
    /// Makes an error of a parameter's value that was read but cannot be used.
    pub(crate) fn param(position: usize, name: &'static str, reason: impl Into<String>) -> Self {
        Self::Param { position, name, reason: reason.into() }
    }

    /// Makes the error for a block that the chain does not have (geth's words).
    pub(crate) fn no_block(block: impl std::fmt::Display) -> Self {
        Self::Refused(format!("block not found: {block}"))
    }

    /// Makes the error for a block below the one with whose state the chain was begun (code and words of execution-apis).
    pub(crate) fn before_snapshot(number: u64, first: u64) -> Self {
        let words = format!(
            "pruned history unavailable: of block {number:#x} there is only the header here, since this chain was begun with the \
             state before block {first:#x}; ask a node that has the whole chain"
        );
        Self::Coded { code: 4444, words }
    }

    const fn code(&self) -> i32 {
        match self {
            Self::Unreadable => PARSE_ERROR_CODE,
            Self::Malformed(_) => INVALID_REQUEST_CODE,
            Self::BatchTooLong(_) => TOO_BIG_BATCH_REQUEST_CODE,
            Self::UnknownMethod(_) | Self::NoNotifications => METHOD_NOT_FOUND_CODE,
            Self::RequestTooLong(_) => OVERSIZED_REQUEST_CODE,
            Self::AnswerTooLong(_) => OVERSIZED_RESPONSE_CODE,
            Self::Params(_) | Self::Param { .. } => INVALID_PARAMS_CODE,
            Self::Reverted { .. } => 3,
            Self::Limit(_) => -32005,
            Self::Refused(_) => -32000,
            Self::Coded { code, .. } => *code,
            Self::Internal(_) => INTERNAL_ERROR_CODE,
        }
    }
}

/// Appends the answer that the call `id` (JSON) ended with `error`.
pub(crate) fn write_error(out: &mut Vec<u8>, id: &str, error: &RpcError) {
    if let RpcError::Internal(cause) = error {
        tracing::error!(%cause, "JSON-RPC call failed inside the node");
    }
    let data = match error {
        RpcError::Reverted { data, .. } => Some(data),
        _ => None,
    };
    let object = ErrorObjectOwned::owned(error.code(), error.to_string(), data);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":");
    object.serialize(&mut Serializer::new(&mut *out)).expect("text and numbers can be written into memory");
    out.push(b'}');
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotCanonical(_) | StoreError::TooDeep { .. } => {
                Self::Refused(format!("missing state: {error}"))
            }
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<ChainError> for RpcError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Store(error) => error.into(),
            ChainError::UnknownBlock(block) => Self::no_block(block),
            ChainError::NoFinality | ChainError::NoRight(_) => Self::Refused(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Revert { data, reason } => {
                let reason = reason.filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
                Self::Reverted { data, words: format!("execution reverted{}", reason.unwrap_or_default()) }
            }
            CallError::Invalid(error) => error.into(),
            CallError::GasAllowance(gas) => Self::Refused(format!("gas required exceeds allowance ({gas})")),
            CallError::Halt(_) => Self::Refused(error.to_string()),
            CallError::State(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<PoolError> for RpcError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Malformed(_) => Self::param(1, "transaction", error.to_string()),
            PoolError::Invalid(error) => error.into(),
            PoolError::Store(error) => error.into(),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<TxError> for RpcError {
    /// Puts geth's words, which wallets and libraries search for, before our own.
    fn from(error: TxError) -> Self {
        let conventional = match &error {
            TxError::Signature => "invalid sender",
            TxError::Blob => "transaction type not supported",
            TxError::ChainId { .. } => "invalid chain id for signer",
            TxError::NonceTooLow { .. } => "nonce too low",
            TxError::NonceTooHigh { .. } => "nonce too high",
            TxError::Funds { .. } => "insufficient funds for gas * price + value",
            TxError::IntrinsicGas { .. } => "intrinsic gas too low",
            TxError::BlockGas { .. } => "exceeds block gas limit",
            TxError::BlockBytes { .. } => "exceeds block size limit",
            TxError::GasCap { .. } => "transaction gas limit too high",
            TxError::FeeTooLow { .. } => "max fee per gas less than block base fee",
            TxError::TipAboveFee => "max priority fee per gas higher than max fee per gas",
            TxError::SenderIsContract => "sender not an eoa",
            TxError::InitCodeTooLong => "max initcode size exceeded",
            TxError::Other(words) => return Self::Refused(words.clone()),
        };
        Self::Refused(format!("{conventional}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(error: &RpcError) -> Value {
        let mut out = Vec::new();
        write_error(&mut out, "\"a\"", error);
        let mut answer: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!("a")));
        answer["error"].take()
    }

    #[test]
    fn reverts_carry_code_three_words_and_data() {
        let data = Bytes::from_static(&[1, 2, 3]);
        let call = CallError::Revert { data: data.clone(), reason: Some("not yours".into()) };
        let object = object(&RpcError::from(call));
        assert_eq!(object, json!({ "code": 3, "message": "execution reverted: not yours", "data": data }));
        for reason in [None, Some(String::new())] {
            let silent = RpcError::from(CallError::Revert { data: Bytes::new(), reason });
            assert_eq!(silent.to_string(), "execution reverted");
        }
    }

    #[test]
    fn every_other_kind_has_its_code_and_no_data() {
        let cases = [
            (RpcError::Params("expected a list".into()), -32602),
            (RpcError::param(2, "block", "expected a tag"), -32602),
            (PoolError::Malformed("input too short".into()).into(), -32602),
            (RpcError::Limit("more than 10 blocks".into()), -32005),
            (RpcError::no_block("0x10"), -32000),
            (PoolError::AlreadyKnown.into(), -32000),
            (ChainError::NoFinality.into(), -32000),
            (StoreError::NotCanonical("0x10".into()).into(), -32000),
            (StoreError::Empty.into(), -32603),
            (CallError::Halt("out of gas".into()).into(), -32000),
            (CallError::State("disk".into()).into(), -32603),
        ];
        for (error, code) in cases {
            let error: RpcError = error;
            let words = error.to_string();
            assert_eq!(object(&error), json!({ "code": code, "message": words }));
        }
    }

    #[test]
    fn refused_transactions_are_told_in_the_usual_words() {
        let nonce = RpcError::from(TxError::NonceTooLow { tx: 3, state: 5 });
        assert_eq!(nonce.to_string(), "nonce too low: nonce 3 is used already, the account's next is 5");
        let fee = RpcError::from(CallError::Invalid(TxError::FeeTooLow { base_fee: 7 }));
        assert!(fee.to_string().starts_with("max fee per gas less than block base fee: "));
        assert_eq!(RpcError::from(CallError::GasAllowance(7)).to_string(), "gas required exceeds allowance (7)");
    }
}
