//! Building a block transaction by transaction.

use super::{ExecError, Executed, StateRead, TxError, desk::Desk, executor::Executor, header};
use alloy_consensus::{EMPTY_ROOT_HASH, proofs};
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::Encodable;
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
    /// Free bytes of the header; in an epoch's first block the set's root is there instead.
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
    executor: Executor<'a, DB>,
    transactions: Vec<Transaction>,
    /// Bytes of the transactions' encodings.
    bytes: usize,
}

/// Bytes of a block that are not transactions: header, seal's and list's prefixes, with room to spare.
const FRAME_BYTES: usize = 4 << 10;

impl<'a, DB: StateRead> BlockBuilder<'a, DB> {
    /// Begins a block on `parent`, whose state is `db`.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn begin(params: &'a ChainParams, parent: &Header, plan: BlockPlan, db: DB) -> Result<Self, ExecError> {
        let header = Header {
            parent_hash: parent.hash_slow(),
            beneficiary: plan.beneficiary,
            number: parent.number.saturating_add(1),
            gas_limit: header::next_gas_limit(parent.gas_limit, plan.gas_limit),
            timestamp: plan.timestamp,
            extra_data: plan.extra_data,
            mix_hash: plan.mix_hash,
            base_fee_per_gas: Some(header::next_base_fee(parent)),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            excess_blob_gas: Some(header::next_excess_blob_gas(params, parent)),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        };
        let mut executor = Executor::begin(params, header, db, Desk::here(0), 0)?;
        executor.put_set_root();
        Ok(Self { executor, transactions: Vec::new(), bytes: FRAME_BYTES })
    }

    /// Gas that is left in the block.
    pub fn gas_left(&self) -> u64 {
        self.executor.gas_left()
    }

    /// Base fee of the block, in units per gas.
    pub fn base_fee(&self) -> u64 {
        self.executor.header().base_fee_per_gas.unwrap_or(0)
    }

    /// Number of transactions in the block so far.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether the block has no transaction so far.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Executes `tx` of `sender` as the block's next transaction, or says why it cannot be.
    ///
    /// # Errors
    /// When the state cannot be read; the builder is of no use after that.
    pub fn try_add(&mut self, tx: &Transaction, sender: Address) -> Result<TxOutcome, ExecError> {
        let bytes = self.bytes.saturating_add(tx.length());
        if bytes > header::MAX_BLOCK_BYTES {
            return Ok(TxOutcome::Skipped(TxError::BlockBytes { max: header::MAX_BLOCK_BYTES }));
        }
        Ok(match self.executor.transact(tx, sender)? {
            Ok(ran) => {
                self.transactions.push(tx.clone());
                self.bytes = bytes;
                TxOutcome::Included { gas_used: ran.gas_used, success: ran.success }
            }
            Err(error) => TxOutcome::Skipped(error),
        })
    }

    /// Ends the block: rewards, roots, header.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn finish(self) -> Result<Built, ExecError> {
        let header = self.executor.header().clone();
        let executed = self.executor.finish(&[])?;
        let header = Header {
            transactions_root: proofs::calculate_transaction_root(&self.transactions),
            receipts_root: executed.receipts_root,
            logs_bloom: executed.logs_bloom,
            gas_used: executed.gas_used,
            blob_gas_used: Some(executed.blob_gas_used),
            requests_hash: executed.requests_hash,
            state_root: B256::ZERO,
            ..header
        };
        let body =
            BlockBody { transactions: self.transactions, ommers: Vec::new(), withdrawals: Some(Vec::new().into()) };
        Ok(Built { header, body, executed })
    }
}
