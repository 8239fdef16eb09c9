use super::*;
use crate::diff::StateDiff;
use alloy_primitives::U256;
use bmm_types::SealedBlock;
impl Store {
    /// Begins the chain: stores genesis and its state. Does nothing if the store was begun with this very block.
    ///
    /// # Errors
    /// [`StoreError::OtherGenesis`]; [`StoreError::Unfit`] when the header's state root is not that of `alloc`.
    pub fn init(&self, genesis: &SealedBlock, alloc: StateDiff) -> Result<(), StoreError> { todo!("{genesis:?} {alloc:?}") }

    /// Makes `block` the new head: writes block, receipts, total `work`, state, trie and diff in one durable transaction.
    ///
    /// # Errors
    /// [`StoreError::NotHead`] when the head has moved since staging; [`StoreError::Unfit`] when parent, number, state root or
    /// the number of receipts disagree; [`StoreError::WrongBefore`]. Nothing is written then.
    pub fn commit(&self, staged: Staged, block: &SealedBlock, receipts: &[Receipt], work: U256) -> Result<(), StoreError> { todo!("{staged:?} {block:?} {receipts:?} {work}") }

    /// Stores a block of a side branch (header, body, seal, total work) without touching the head. Idempotent.
    pub fn store_side_block(&self, block: &SealedBlock, work: U256) -> Result<(), StoreError> { todo!("{block:?} {work}") }

    /// Takes the head block away: the state becomes its parent's, and its receipts and transaction places go. Header, body, seal
    /// and work stay, as those of a side branch. Returns the new head.
    ///
    /// # Errors
    /// [`StoreError::NotHead`] when `block` is not the head; [`StoreError::RewindGenesis`].
    pub fn rewind(&self, block: B256) -> Result<Head, StoreError> { todo!("{block}") }

    /// Stores a small value of another room under a name; an empty value removes it.
    pub fn put_note(&self, name: &str, value: &[u8]) -> Result<(), StoreError> { todo!("{name} {value:?}") }

    /// Returns the note of that name.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> { todo!("{name}") }
}
