//! What can be wrong with a block: each variant of [`ImportError`] is one broken rule.

use alloy_primitives::{Address, B256, U256};
use bmm_ledger::{BlockError, ExecError, store::StoreError};
use bmm_pow::AuxPowError;

/// Why a block, or an additional seal of a block, was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The block is stored already.
    #[error("block {0} is known already")]
    Known(B256),
    /// The block was found invalid before.
    #[error("block {0} was found invalid before")]
    KnownInvalid(B256),
    /// The parent was found invalid before.
    #[error("the parent {0} was found invalid before")]
    InvalidParent(B256),
    /// The parent is not stored.
    #[error("the parent {0} is not known; import it first")]
    UnknownParent(B256),
    /// The block of an additional seal is not stored.
    #[error("block {0} is not known; import it first")]
    UnknownBlock(B256),
    /// A rule of header, body or execution that holds for every engine.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// See `header::check_not_ahead`.
    #[error("timestamp {timestamp} is more than {max_ahead_secs} s ahead of this node's clock {now}; check the clock")]
    TooFarAhead {
        /// In the header.
        timestamp: u64,
        /// The node's clock, in Unix seconds.
        now: u64,
        /// Allowed seconds ahead.
        max_ahead_secs: u64,
    },
    /// See `engine::check_difficulty`.
    #[error("difficulty {got} should be {expected}")]
    Difficulty {
        /// In the header.
        got: U256,
        /// By the engine's rule.
        expected: U256,
    },
    /// See `header::check_mix_hash`.
    #[error("mixHash {got} is not the randomness of any known seal of the parent")]
    MixHash {
        /// In the header.
        got: B256,
    },
    /// See `extra::check_extra_data`.
    #[error("extraData has {0} bytes; it is at most 32 free bytes and the producer's signature of 65")]
    ExtraData(usize),
    /// See `extra::check_signer`.
    #[error("the signature at the end of extraData does not recover to an account")]
    Signature,
    /// See `extra::check_signer`.
    #[error("the block is signed by {signer}, its beneficiary is {beneficiary}")]
    WrongSigner {
        /// Who signed.
        signer: Address,
        /// Who should have.
        beneficiary: Address,
    },
    /// See `engine::check_seal`.
    #[error("the block has no proof of work")]
    SealMissing,
    /// See `engine::check_seal`.
    #[error("the block has a proof of work, which this chain's engine does not use")]
    SealUnexpected,
    /// See [`bmm_pow::verify`].
    #[error("proof of work: {0}")]
    AuxPow(#[from] AuxPowError),
    /// A further seal of a block that lies too far below the head for anybody to build on it.
    #[error("block {block} is {depth} blocks below the head; further seals are kept down to {limit} only")]
    SealTooLate {
        /// The block.
        block: B256,
        /// Its distance from the head.
        depth: u64,
        /// The largest distance allowed.
        limit: u64,
    },
    /// See `finality::choice`.
    #[error("the branch leaves the chain at block {fork}, below the final block {number} ({id})")]
    BelowFinal {
        /// Number of the last common block.
        fork: u64,
        /// Number of the final block.
        number: u64,
        /// Its id.
        id: B256,
    },
    /// See `finality::choice`. Says nothing about any block.
    #[error("bets promised that block {number} ({id}) is justified, and on its own branch it is not")]
    NotJustified {
        /// Number of the checkpoint's block.
        number: u64,
        /// Its id.
        id: B256,
    },
    /// See `Chain::check_right`.
    #[error("{beneficiary} has no right to produce the block: it is no active footstone, and the open door is shut")]
    NoRight {
        /// Who produced it.
        beneficiary: Address,
    },
    /// The block has the number of the block that the operator named, and is another one.
    #[error("block {number} is {got}, and must be {wanted} by the checkpoint that this node was given")]
    OtherCheckpoint {
        /// Its number.
        number: u64,
        /// Its id.
        got: B256,
        /// The id that was named.
        wanted: B256,
    },
    /// The state root is not that of the state.
    #[error("state root {got} should be {expected}")]
    StateRoot {
        /// In the header.
        got: B256,
        /// By execution.
        expected: B256,
    },
    /// The store failed; this says nothing about the block.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be read; this says nothing about the block.
    #[error("the state could not be read: {0}; check the disk and restart the node")]
    State(String),
}

impl From<ExecError> for ImportError {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Invalid(error) => Self::Block(error),
            ExecError::State(error) => Self::State(error),
        }
    }
}

impl ImportError {
    /// Whether the fault is this node's (its disk), so that the block may be good.
    pub const fn is_internal(&self) -> bool {
        matches!(self, Self::Store(_) | Self::State(_))
    }
}

/// Why the chain could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store failed, or refused (a block too deep below the head, another chain's folder).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chain parameter that nothing can be built on.
    #[error("chain parameter `{field}`: {what}")]
    Params {
        /// The parameter.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The chain that is stored is not the one that the operator named a block of.
    #[error(
        "block {number} of the stored chain is {got}, and must be {wanted} by the checkpoint; use another data folder, or check what you were given"
    )]
    OtherCheckpoint {
        /// Its number.
        number: u64,
        /// Its id.
        got: B256,
        /// The id that was named.
        wanted: B256,
    },
    /// The beneficiary may not produce the next block.
    #[error("{0} may not produce the next block: it is no active footstone; see `bmm footstone status`")]
    NoRight(Address),
    /// The engine does not make blocks.
    #[error("this chain's engine (no-seal) does not make blocks; use `pow` or `dev`")]
    NoProducer,
    /// The chain has no finality.
    #[error("nothing becomes final on this chain, which has no footstones; use the tag `latest`")]
    NoFinality,
    /// The block asked for is not stored, or not canonical where it must be.
    #[error("block {0} is not known")]
    UnknownBlock(String),
    /// A block could not be built on the head.
    #[error("the block could not be built: {0}")]
    Build(#[from] ExecError),
    /// The head changed each time while a block was built on it.
    #[error("no block could be built while the head moved again and again; try later")]
    HeadMoves,
    /// Free bytes for a block are too many.
    #[error("the free bytes of a block's extraData are {0}; at most 32 are allowed")]
    Vanity(usize),
    /// A template's block could not be imported.
    #[error("the block that was built is not valid: {0}")]
    Import(#[from] Box<ImportError>),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(String),
}
