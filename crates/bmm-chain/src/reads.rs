//! What others ask of the chain.

use crate::{
    chain::{Chain, HeadBlock},
    error::ChainError,
};
use alloy_consensus::ReceiptEnvelope;
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256};
use bmm_ledger::store::{Receipt, StateView};
use bmm_types::{BlockBody, Header, Seal, SealedBlock, Transaction};
use std::sync::Arc;

/// A transaction of a canonical block.
#[derive(Clone, Debug)]
pub struct FoundTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Who signed it.
    pub sender: Address,
    /// The block's header.
    pub header: Header,
    /// The block's id.
    pub block: B256,
    /// Index in the block.
    pub index: usize,
}

/// The block that would come next, built from the pool, unsigned and without a seal.
#[derive(Clone, Debug)]
pub struct PendingBlock {
    /// Its header. State root, difficulty and extraData are not final.
    pub header: Header,
    /// Its transactions.
    pub body: BlockBody,
    /// Their receipts.
    pub receipts: Vec<ReceiptEnvelope>,
}

impl Chain {
    /// Finds the stored block that `at` means; `None` if there is none. `pending` means the head here. A block named by its id need
    /// not be canonical unless `at` requires it.
    ///
    /// # Errors
    /// [`ChainError::NoFinality`] for `safe` and `finalized` as long as nothing is final.
    pub fn resolve(&self, at: BlockId) -> Result<Option<Arc<HeadBlock>>, ChainError> {
        todo!("{at}")
    }

    /// Returns a block's header.
    pub fn header(&self, id: B256) -> Result<Option<Header>, ChainError> {
        Ok(self.store.header(id)?)
    }

    /// Returns a block's transactions.
    pub fn body(&self, id: B256) -> Result<Option<BlockBody>, ChainError> {
        Ok(self.store.body(id)?)
    }

    /// Returns a block's seal, the first that came.
    pub fn seal(&self, id: B256) -> Result<Option<Seal>, ChainError> {
        Ok(self.store.seal(id)?)
    }

    /// Returns header, body and seal.
    pub fn block(&self, id: B256) -> Result<Option<SealedBlock>, ChainError> {
        Ok(self.store.block(id)?)
    }

    /// Returns the id of the canonical block of that number.
    pub fn canonical(&self, number: u64) -> Result<Option<B256>, ChainError> {
        Ok(self.store.canonical(number)?)
    }

    /// Returns the receipts of a canonical block.
    pub fn receipts(&self, id: B256) -> Result<Option<Vec<Receipt>>, ChainError> {
        Ok(self.store.receipts(id)?)
    }

    /// Returns the senders of a block's transactions, in order.
    pub fn senders(&self, body: &BlockBody) -> Result<Vec<Address>, ChainError> {
        todo!("{body:?}")
    }

    /// Finds a transaction of the canonical chain.
    pub fn transaction(&self, hash: B256) -> Result<Option<FoundTransaction>, ChainError> {
        todo!("{hash}")
    }

    /// Returns the state after the block that `at` means. `pending` means the head's state: use [`Chain::pending_nonce`]
    /// for nonces.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`]; [`ChainError::Store`] for a block that is not canonical or too deep below the head;
    /// [`ChainError::NoFinality`].
    pub fn state(&self, at: BlockId) -> Result<StateView, ChainError> {
        todo!("{at}")
    }

    /// Returns the block that would come next.
    pub fn pending_block(&self) -> Result<Arc<PendingBlock>, ChainError> {
        todo!()
    }

    /// Returns the base fee of the next block, in units per gas.
    pub fn next_base_fee(&self) -> u64 {
        bmm_ledger::exec::header::next_base_fee(&self.head().header)
    }
}
