//! Building a block transaction by transaction.

use super::{ExecError, Executed, StateRead, TxError};
use alloy_primitives::{Address, B256, Bytes};
use bmm_types::{BlockBody, ChainParams, Header, Transaction};

/// What the producer decides about the block to be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockPlan {
    /// Who gets the producer's reward and the tips.
    pub beneficiary: Address,
    /// Unix seconds; later than the parent's.
    pub timestamp: u64,
    /// The random value for PREVRANDAO: `Seal::randomness` of the parent.
    pub mix_hash: B256,
    /// Gas limit that is wanted; the block moves towards it by less than 1/1024 of the parent's.
    pub gas_limit: u64,
    /// Free bytes of the header.
    pub extra_data: Bytes,
}

/// What became of a transaction offered to a [`BlockBuilder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxOutcome {
    /// It is in the block.
    Included {
        /// Gas it used.
        gas_used: u64,
        /// Whether it ran to its end; a failed transaction is in the block all the same.
        success: bool,
    },
    /// It is not, and changed nothing.
    Skipped(TxError),
}

/// A finished block, but for what the chain adds.
#[derive(Clone, Debug)]
pub struct Built {
    /// The header; `state_root` and `difficulty` are zero and wait for the chain.
    pub header: Header,
    /// The transactions.
    pub body: BlockBody,
    /// Their effect.
    pub executed: Executed,
}

/// A block in the making.
pub struct BlockBuilder<'a, DB: StateRead> {
    db: DB,
    params: &'a ChainParams,
}

impl<'a, DB: StateRead> BlockBuilder<'a, DB> {
    /// Begins a block on `parent`, whose state is `db`.
    pub fn begin(params: &'a ChainParams, parent: &Header, plan: BlockPlan, db: DB) -> Result<Self, ExecError> {
        todo!()
    }

    /// Gas that is left in the block.
    pub fn gas_left(&self) -> u64 {
        todo!()
    }

    /// Base fee of the block, in units per gas.
    pub fn base_fee(&self) -> u64 {
        todo!()
    }

    /// Executes `tx` of `sender` as the block's next transaction, or says why it cannot be.
    pub fn try_add(&mut self, tx: &Transaction, sender: Address) -> Result<TxOutcome, ExecError> {
        todo!()
    }

    /// Ends the block: rewards, roots, header.
    pub fn finish(self) -> Result<Built, ExecError> {
        todo!()
    }
}
