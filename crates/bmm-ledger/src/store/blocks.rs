//! Questions about blocks. Each is answered out of one snapshot.

use super::{
    Head, MAX_PAGE, Receipt, Store, StoreError, TransactionPlace,
    snapshot::Snapshot,
    tables::{self, decode, fixed},
};
use crate::diff::StateDiff;
use alloy_primitives::{B256, U256};
use bmm_types::{Block, BlockBody, Header, Seal, SealedBlock};
use std::{ops::RangeInclusive, sync::Arc};

impl Store {
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().clone()
    }

    /// Returns the head; `None` before genesis.
    pub fn head(&self) -> Option<Head> {
        self.snapshot.read().head
    }

    /// Returns a block's header.
    pub fn header(&self, id: B256) -> Result<Option<Header>, StoreError> {
        self.snapshot().header(id)
    }

    /// Returns a block's transactions.
    pub fn body(&self, id: B256) -> Result<Option<BlockBody>, StoreError> {
        self.snapshot().body(id)
    }

    /// Returns a block's seal.
    pub fn seal(&self, id: B256) -> Result<Option<Seal>, StoreError> {
        self.snapshot().seal(id)
    }

    /// Returns header, body and seal together.
    pub fn block(&self, id: B256) -> Result<Option<SealedBlock>, StoreError> {
        let snapshot = self.snapshot();
        let (Some(header), Some(body), Some(seal)) = (snapshot.header(id)?, snapshot.body(id)?, snapshot.seal(id)?)
        else {
            return Ok(None);
        };
        Ok(Some(SealedBlock { block: Block { header, body }, seal }))
    }

    /// Returns the total work of a block and its ancestors.
    pub fn work(&self, id: B256) -> Result<Option<U256>, StoreError> {
        let bytes = tables::get(&self.snapshot().work, id.as_slice())?;
        bytes.map(|bytes| fixed::<32>("work", id.as_slice(), &bytes).map(U256::from_be_bytes)).transpose()
    }

    /// Returns the receipts of a canonical block, in the order of its transactions.
    pub fn receipts(&self, id: B256) -> Result<Option<Vec<Receipt>>, StoreError> {
        let snapshot = self.snapshot();
        let Some(number) = snapshot.canonical_number(id)? else { return Ok(None) };
        let key = number.to_be_bytes();
        let bytes = tables::get(&snapshot.receipts, &key)?;
        bytes.map(|bytes| tables::receipts_from_bytes(&key, &bytes)).transpose()
    }

    /// Returns what a canonical block changed.
    pub fn diff(&self, id: B256) -> Result<Option<StateDiff>, StoreError> {
        let snapshot = self.snapshot();
        match snapshot.canonical_number(id)? {
            Some(number) => snapshot.diff(number),
            None => Ok(None),
        }
    }

    /// Returns the id of the canonical block of that number.
    pub fn canonical(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.snapshot().canonical_id(number)
    }

    /// Returns whether a block is part of the canonical chain.
    pub fn is_canonical(&self, id: B256) -> Result<bool, StoreError> {
        Ok(self.snapshot().canonical_number(id)?.is_some())
    }

    /// Returns the canonical blocks of a range of numbers, ascending, at most [`MAX_PAGE`].
    pub fn canonical_range(&self, numbers: RangeInclusive<u64>) -> Result<Vec<Head>, StoreError> {
        let (from, to) = (numbers.start().to_be_bytes(), numbers.end().to_be_bytes());
        let mut found = Vec::new();
        if numbers.is_empty() {
            return Ok(found);
        }
        for entry in self.snapshot().canonical.range(from.as_slice()..=to.as_slice())?.take(MAX_PAGE) {
            let (key, id) = entry?;
            let number = u64::from_be_bytes(fixed("canonical", key.value(), key.value())?);
            found.push(Head { number, id: fixed::<32>("canonical", key.value(), id.value())?.into() });
        }
        Ok(found)
    }

    /// Returns the ids of all stored blocks of that number, canonical or not, ascending, at most [`MAX_PAGE`].
    pub fn blocks_at(&self, number: u64) -> Result<Vec<B256>, StoreError> {
        let (from, to) = (tables::number_key(number, B256::ZERO), tables::number_key(number, B256::repeat_byte(0xff)));
        let mut found = Vec::new();
        for entry in self.snapshot().numbers.range(from.as_slice()..=to.as_slice())?.take(MAX_PAGE) {
            let key = entry?.0;
            found.push(Head::from_bytes("numbers", key.value(), key.value())?.id);
        }
        Ok(found)
    }

    /// Returns where a transaction of the canonical chain is.
    pub fn transaction_place(&self, hash: B256) -> Result<Option<TransactionPlace>, StoreError> {
        let bytes = tables::get(&self.snapshot().transactions, hash.as_slice())?;
        bytes.map(|bytes| TransactionPlace::from_bytes(hash.as_slice(), &bytes)).transpose()
    }

    /// Returns the note of that name.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        tables::get(&self.snapshot().notes, name.as_bytes())
    }
}

impl Snapshot {
    fn header(&self, id: B256) -> Result<Option<Header>, StoreError> {
        let bytes = tables::get(&self.headers, id.as_slice())?;
        bytes.map(|bytes| decode("headers", id.as_slice(), &bytes)).transpose()
    }

    fn body(&self, id: B256) -> Result<Option<BlockBody>, StoreError> {
        let bytes = tables::get(&self.bodies, id.as_slice())?;
        bytes.map(|bytes| decode("bodies", id.as_slice(), &bytes)).transpose()
    }

    fn seal(&self, id: B256) -> Result<Option<Seal>, StoreError> {
        let bytes = tables::get(&self.seals, id.as_slice())?;
        bytes.map(|bytes| decode("seals", id.as_slice(), &bytes)).transpose()
    }

    pub(super) fn canonical_id(&self, number: u64) -> Result<Option<B256>, StoreError> {
        let key = number.to_be_bytes();
        let bytes = tables::get(&self.canonical, &key)?;
        bytes.map(|bytes| fixed::<32>("canonical", &key, &bytes).map(B256::from)).transpose()
    }

    /// The number of a block, if it is canonical.
    pub(super) fn canonical_number(&self, id: B256) -> Result<Option<u64>, StoreError> {
        let Some(header) = self.header(id)? else { return Ok(None) };
        Ok((self.canonical_id(header.number)? == Some(id)).then_some(header.number))
    }

    /// What the canonical block of that number changed.
    pub(super) fn diff(&self, number: u64) -> Result<Option<StateDiff>, StoreError> {
        self.diff_bytes(number)?.map(|bytes| Self::decode_diff(number, &bytes)).transpose()
    }

    /// The same, encoded.
    pub(super) fn diff_bytes(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        tables::get(&self.diffs, &number.to_be_bytes())
    }

    /// Decodes what [`Self::diff_bytes`] returned.
    pub(super) fn decode_diff(number: u64, bytes: &[u8]) -> Result<StateDiff, StoreError> {
        StateDiff::from_bytes(bytes).map_err(|error| StoreError::corrupt("diffs", number.to_be_bytes(), error))
    }
}
