//! What can be wrong with a block, a transaction or a simulated call: each variant is one broken rule.

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::context::result::{EVMError, InvalidTransaction};
use std::error::Error;

/// Why the execution of a block stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The block breaks a rule; no node may accept it.
    #[error("the block is invalid: {0}")]
    Invalid(#[from] BlockError),
    /// The state could not be read. Says nothing about the block.
    #[error("the state could not be read: {0}; check the disk and restart the node")]
    State(String),
}

/// Says why the machine stopped without a verdict on the transaction. A state that cannot be read says the same here as where it
/// is read past the machine.
pub(super) fn unreadable<E: Error>(error: EVMError<E>) -> String {
    match error {
        EVMError::Database(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The rule that a block breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A transaction that may not stand at its place.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Place in the block, from 0.
        index: usize,
        /// The rule that it breaks.
        error: TxError,
    },
    /// The header's parent hash is not the parent's.
    #[error("parent hash {got} is not the parent's {expected}")]
    ParentHash {
        /// In the header.
        got: B256,
        /// The parent's id.
        expected: B256,
    },
    /// The number does not follow the parent's.
    #[error("number {got} does not follow the parent's, expected {expected}")]
    Number {
        /// In the header.
        got: u64,
        /// Parent's plus one.
        expected: u64,
    },
    /// Time does not advance.
    #[error("timestamp {got} is not later than the parent's {parent}")]
    Timestamp {
        /// In the header.
        got: u64,
        /// The parent's.
        parent: u64,
    },
    /// The gas limit moves by 1/1024 or more, or falls below 5,000.
    #[error("gas limit {got} is too far from the parent's {parent} (by less than 1/1024, and at least 5000)")]
    GasLimit {
        /// In the header.
        got: u64,
        /// The parent's.
        parent: u64,
    },
    /// The base fee is not what EIP-1559 says.
    #[error("base fee {got:?} should be {expected}")]
    BaseFee {
        /// In the header.
        got: Option<u64>,
        /// By EIP-1559 from the parent.
        expected: u64,
    },
    /// A header field that this chain fixes holds something else.
    #[error("header field `{field}` must be {must}")]
    Field {
        /// JSON name of the field.
        field: &'static str,
        /// What it must hold.
        must: &'static str,
    },
    /// The block's encoding is too long (EIP-7934).
    #[error("the block is {got} bytes long, at most {max} are allowed")]
    TooLong {
        /// Bytes of the RLP encoding.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// A root over the body that is not the header's.
    #[error("`{field}` is {got}, the body's is {expected}")]
    BodyRoot {
        /// JSON name of the field.
        field: &'static str,
        /// In the header.
        got: B256,
        /// Computed from the body.
        expected: B256,
    },
    /// Ommers are a thing of the past.
    #[error("the block has ommers; there are none on this chain")]
    Ommers,
    /// Number of senders given differs from the number of transactions.
    #[error("{senders} senders for {transactions} transactions")]
    Senders {
        /// Senders given.
        senders: usize,
        /// Transactions in the block.
        transactions: usize,
    },
    /// The gas used is not what execution used.
    #[error("gas used {got} should be {expected}")]
    GasUsed {
        /// In the header.
        got: u64,
        /// By execution.
        expected: u64,
    },
    /// The blob gas used is not what the transactions use.
    #[error("blob gas used {got:?} should be {expected}")]
    BlobGasUsed {
        /// In the header.
        got: Option<u64>,
        /// By the transactions.
        expected: u64,
    },
    /// The receipts root is not that of the receipts.
    #[error("receipts root {got} should be {expected}")]
    ReceiptsRoot {
        /// In the header.
        got: B256,
        /// By execution.
        expected: B256,
    },
    /// The bloom filter is not that of the logs.
    #[error("the logs bloom differs from that of the logs")]
    LogsBloom,
    /// The requests hash is not that of the requests (EIP-7685).
    #[error("requests hash {got:?} should be {expected:?}")]
    RequestsHash {
        /// In the header.
        got: Option<B256>,
        /// By execution.
        expected: Option<B256>,
    },
    /// The extraData of an epoch's first block does not begin with the root of the set of footstones.
    #[error("extraData must begin with the root {expected} of the set of footstones")]
    SetRoot {
        /// The set's root.
        expected: B256,
    },
    /// A call that the rules prescribe before or after the transactions failed.
    #[error("the system call to {contract} failed: {reason}")]
    SystemCall {
        /// The contract.
        contract: Address,
        /// What it said.
        reason: String,
    },
    /// A balance would pass 2^256 units (only foreign chains can come near it).
    #[error("the balance of {0} would pass 2^256 units")]
    BalanceOverflow(Address),
}

/// Why a transaction may not be in a block, or not at this place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// The signature does not recover to an account.
    #[error("the signature is invalid; sign the transaction again")]
    Signature,
    /// Blob transactions have no place on chains without blobs.
    #[error("blob transactions are not accepted on this chain; send a transaction of type 2")]
    Blob,
    /// Signed for another chain.
    #[error("signed for another chain; this chain's id is {expected}")]
    ChainId {
        /// This chain's id.
        expected: u64,
    },
    /// Already used.
    #[error("nonce {tx} is used already, the account's next is {state}")]
    NonceTooLow {
        /// The transaction's.
        tx: u64,
        /// The account's next.
        state: u64,
    },
    /// A transaction before it is missing.
    #[error("nonce {tx} comes too early, the account's next is {state}")]
    NonceTooHigh {
        /// The transaction's.
        tx: u64,
        /// The account's next.
        state: u64,
    },
    /// The sender cannot pay value and the most that gas may cost.
    #[error("insufficient funds: value and gas may cost {needed} units, the account has {balance}")]
    Funds {
        /// Value and the most that gas may cost, in units.
        needed: U256,
        /// What the account has, in units.
        balance: U256,
    },
    /// The gas limit does not cover what every such transaction costs (EIP-2, EIP-7623).
    #[error("gas limit {limit} is below the intrinsic gas {needed}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        limit: u64,
        /// The least that is charged.
        needed: u64,
    },
    /// The gas limit passes what is left in the block.
    #[error("gas limit {limit} passes the {left} gas left in the block")]
    BlockGas {
        /// The transaction's gas limit.
        limit: u64,
        /// What is left in the block.
        left: u64,
    },
    /// The block would be too long with it (EIP-7934).
    #[error("the block has no room for it within {max} bytes")]
    BlockBytes {
        /// Longest block, in bytes.
        max: usize,
    },
    /// The gas limit passes the fork's cap for one transaction (EIP-7825).
    #[error("gas limit {limit} passes the cap of {cap} for one transaction")]
    GasCap {
        /// The transaction's gas limit.
        limit: u64,
        /// The cap.
        cap: u64,
    },
    /// The most it pays for gas is below the base fee.
    #[error("the highest gas price is below the block's base fee {base_fee}; raise maxFeePerGas")]
    FeeTooLow {
        /// The block's base fee, in units per gas.
        base_fee: u64,
    },
    /// The tip passes the highest fee (EIP-1559).
    #[error("maxPriorityFeePerGas is above maxFeePerGas")]
    TipAboveFee,
    /// The sender is a contract (EIP-3607).
    #[error("the sender is a contract, which cannot sign")]
    SenderIsContract,
    /// Creation code longer than allowed (EIP-3860).
    #[error("the creation code is longer than 49152 bytes")]
    InitCodeTooLong,
    /// Any other rule of the EVM's transaction types.
    #[error("{0}")]
    Other(String),
}

impl TxError {
    /// Names the rule that the EVM found broken.
    pub(crate) fn from_evm(
        error: InvalidTransaction,
        chain_id: u64,
        base_fee: u64,
        block_gas_left: u64,
        limit: u64,
    ) -> Self {
        use InvalidTransaction as E;
        match error {
            E::PriorityFeeGreaterThanMaxFee => Self::TipAboveFee,
            E::GasPriceLessThanBasefee => Self::FeeTooLow { base_fee },
            E::CallerGasLimitMoreThanBlock => Self::BlockGas { limit, left: block_gas_left },
            E::CallGasCostMoreThanGasLimit { initial_gas: needed, gas_limit: limit }
            | E::GasFloorMoreThanGasLimit { gas_floor: needed, gas_limit: limit } => {
                Self::IntrinsicGas { limit, needed }
            }
            E::RejectCallerWithCode => Self::SenderIsContract,
            E::LackOfFundForMaxFee { fee, balance } => Self::Funds { needed: *fee, balance: *balance },
            E::NonceTooHigh { tx, state } => Self::NonceTooHigh { tx, state },
            E::NonceTooLow { tx, state } => Self::NonceTooLow { tx, state },
            E::CreateInitCodeSizeLimit => Self::InitCodeTooLong,
            E::InvalidChainId | E::MissingChainId => Self::ChainId { expected: chain_id },
            E::TxGasLimitGreaterThanCap { gas_limit: limit, cap } => Self::GasCap { limit, cap },
            other => Self::Other(other.to_string()),
        }
    }
}

/// Why a simulated call or an estimate has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The code reverted.
    #[error("execution reverted{}", .reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    Revert {
        /// Revert data as the code returned it.
        data: Bytes,
        /// The reason in words, where the data is an error that is known.
        reason: Option<String>,
    },
    /// The code ended abnormally.
    #[error("execution failed: {0}")]
    Halt(String),
    /// Not even the highest gas limit is enough.
    #[error("gas required exceeds the allowance of {0}; raise `gas`, or the sender's balance")]
    GasAllowance(u64),
    /// The request breaks a rule of transactions.
    #[error(transparent)]
    Invalid(#[from] TxError),
    /// The state could not be read.
    #[error("the state could not be read: {0}")]
    State(String),
}
