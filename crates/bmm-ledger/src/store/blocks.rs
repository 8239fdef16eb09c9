use super::*;
use crate::diff::StateDiff;
use alloy_primitives::U256;
use bmm_types::{BlockBody, Header, Seal, SealedBlock};
use std::ops::RangeInclusive;
impl Store {
    /// Returns the head; `None` before genesis.
    pub fn head(&self) -> Option<Head> { todo!() }
    /// Returns a block's header.
    pub fn header(&self, id: B256) -> Result<Option<Header>, StoreError> { todo!("{id}") }
    /// Returns a block's transactions.
    pub fn body(&self, id: B256) -> Result<Option<BlockBody>, StoreError> { todo!("{id}") }
    /// Returns a block's seal.
    pub fn seal(&self, id: B256) -> Result<Option<Seal>, StoreError> { todo!("{id}") }
    /// Returns header, body and seal together.
    pub fn block(&self, id: B256) -> Result<Option<SealedBlock>, StoreError> { todo!("{id}") }
    /// Returns the total work of a block and its ancestors.
    pub fn work(&self, id: B256) -> Result<Option<U256>, StoreError> { todo!("{id}") }
    /// Returns the receipts of a canonical block, in the order of its transactions.
    pub fn receipts(&self, id: B256) -> Result<Option<Vec<Receipt>>, StoreError> { todo!("{id}") }
    /// Returns what a canonical block changed.
    pub fn diff(&self, id: B256) -> Result<Option<StateDiff>, StoreError> { todo!("{id}") }
    /// Returns the id of the canonical block of that number.
    pub fn canonical(&self, number: u64) -> Result<Option<B256>, StoreError> { todo!("{number}") }
    /// Returns whether a block is part of the canonical chain.
    pub fn is_canonical(&self, id: B256) -> Result<bool, StoreError> { todo!("{id}") }
    /// Returns the canonical ids of a range of numbers, ascending, at most [`MAX_PAGE`].
    pub fn canonical_range(&self, numbers: RangeInclusive<u64>) -> Result<Vec<Head>, StoreError> { todo!("{numbers:?}") }
    /// Returns the ids of all stored blocks of that number, canonical or not, at most [`MAX_PAGE`].
    pub fn blocks_at(&self, number: u64) -> Result<Vec<B256>, StoreError> { todo!("{number}") }
    /// Returns where a transaction of the canonical chain is.
    pub fn transaction_place(&self, hash: B256) -> Result<Option<TransactionPlace>, StoreError> { todo!("{hash}") }
}
