//! What goes wrong between the command line and a node.

use crate::failure::Failure;
use alloy_primitives::{Address, B256, Bytes};
use bmm_types::Amount;

/// Says why a call of a node failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The address cannot be used.
    #[error("{url:?} is not an address of a node: {reason}")]
    BadUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection.
    #[error("no node answers at {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// No answer in time.
    #[error("the node at {url} did not answer within {secs} seconds")]
    Timeout {
        /// The address.
        url: String,
        /// The limit.
        secs: u64,
    },
    /// The answer is too large.
    #[error("the node at {url} answers with more than {bytes} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        bytes: u64,
    },
    /// The answer is not JSON-RPC.
    #[error("what listens at {url} does not speak JSON-RPC: {reason}")]
    NotRpc {
        /// The address.
        url: String,
        /// What was found.
        reason: String,
    },
    /// The node refuses.
    #[error("the node refuses {method}: {message} (code {code})")]
    Node {
        /// The method.
        method: String,
        /// JSON-RPC's code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// A contract refuses.
    #[error("the contract refuses: {reason}")]
    Reverted {
        /// Its error in words.
        reason: String,
        /// Its error as ABI-encoded data.
        data: Bytes,
    },
    /// The result has another form than the method's.
    #[error("the node's answer to {method} is not understood: {reason}")]
    BadResult {
        /// The method.
        method: String,
        /// What was found.
        reason: String,
    },
    /// The sender cannot pay.
    #[error("{address} has {balance}, and the transaction needs {needed} with its fee")]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// What it has.
        balance: Amount,
        /// What the transaction may cost at most.
        needed: Amount,
    },
    /// The transaction is not in a block yet.
    #[error("transaction {transaction} is in no block after {secs} seconds")]
    NotMined {
        /// Its hash.
        transaction: B256,
        /// How long was waited.
        secs: u64,
    },
    /// The transaction is in a block, and failed there.
    #[error("transaction {transaction} failed in block {block}")]
    Failed {
        /// Its hash.
        transaction: B256,
        /// The block's number.
        block: u64,
    },
    /// The signature could not be made.
    #[error("the transaction cannot be signed: {0}")]
    Signing(String),
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        match &error {
            RpcError::BadUrl { .. } => Self::config(&error)
                .hint("an address looks like http://127.0.0.1:8545; it comes from --rpc or rpc.url in config.toml"),
            RpcError::Unreachable { .. } => {
                Self::user(&error).hint("start a node with `bmm up` or `bmm node`, or name another one with --rpc URL")
            }
            RpcError::Timeout { .. } => Self::internal(&error).hint("the node may be busy; try again"),
            RpcError::TooLarge { .. } | RpcError::NotRpc { .. } | RpcError::BadResult { .. } => {
                Self::config(&error).hint("is it a BMM node? name another one with --rpc URL")
            }
            RpcError::InsufficientFunds { .. } => {
                Self::user(&error).hint("send less, or send BMM to this address first")
            }
            RpcError::NotMined { .. } => {
                Self::internal(&error).hint("it may still come; is the node connected, and does somebody mine?")
            }
            RpcError::Node { .. } | RpcError::Reverted { .. } | RpcError::Failed { .. } => Self::user(&error),
            RpcError::Signing(_) => Self::internal(&error),
        }
    }
}
