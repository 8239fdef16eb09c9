//! Questions about blocks. Each is answered out of one snapshot.

use super::{
    Head, MAX_PAGE, Receipt, Store, StoreError, TransactionPlace,
    snapshot::Snapshot,
    tables::{self, decode, fixed},
};
use crate::diff::StateDiff;
use alloy_primitives::{B256, Bytes, U256};
use bmm_types::{Block, BlockBody, Header, Seal, SealedBlock};
use std::{ops::RangeInclusive, sync::Arc};

impl Store {
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.core.snapshot()
    }

    /// Returns the head; `None` before genesis.
    pub fn head(&self) -> Option<Head> {
        self.snapshot().head
    }

    /// Returns a block's header.
    pub fn header(&self, id: B256) -> Result<Option<Header>, StoreError> {
        self.snapshot().header(id)
    }

    /// Returns the number of the first block whose body is stored, with those of all later ones.
    pub fn oldest_body(&self) -> Result<u64, StoreError> {
        Ok(super::history::number_in_meta(&self.snapshot(), tables::META_BODIES)?.unwrap_or(0))
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
        self.snapshot().read(tables::WORK, id.as_slice(), |bytes| {
            fixed::<32>("work", id.as_slice(), bytes).map(U256::from_be_bytes)
        })
    }

    /// Returns the receipts of a canonical block, in the order of its transactions.
    pub fn receipts(&self, id: B256) -> Result<Option<Vec<Receipt>>, StoreError> {
        let snapshot = self.snapshot();
        let Some(number) = snapshot.canonical_number(id)? else { return Ok(None) };
        let key = number.to_be_bytes();
        snapshot.read(tables::RECEIPTS, &key, |bytes| tables::receipts_from_bytes(&key, bytes))
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
        let mut found = Vec::new();
        if numbers.is_empty() {
            return Ok(found);
        }
        self.snapshot().scan(tables::CANONICAL, &numbers.start().to_be_bytes(), |key, id| {
            let number = u64::from_be_bytes(fixed("canonical", key, key)?);
            if number > *numbers.end() {
                return Ok(false);
            }
            found.push(Head { number, id: fixed::<32>("canonical", key, id)?.into() });
            Ok(found.len() < MAX_PAGE)
        })?;
        Ok(found)
    }

    /// Returns the ids of all stored blocks of that number, canonical or not, ascending, at most [`MAX_PAGE`].
    pub fn blocks_at(&self, number: u64) -> Result<Vec<B256>, StoreError> {
        self.snapshot().blocks_at(number)
    }

    /// Returns where a transaction of the canonical chain is.
    pub fn transaction_place(&self, hash: B256) -> Result<Option<TransactionPlace>, StoreError> {
        self.snapshot()
            .read(tables::TRANSACTIONS, hash.as_slice(), |bytes| TransactionPlace::from_bytes(hash.as_slice(), bytes))
    }

    /// Returns the note of that name.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot().read(tables::NOTES, name.as_bytes(), |bytes| Ok(bytes.to_vec()))
    }
}

impl Snapshot {
    pub(super) fn header(&self, id: B256) -> Result<Option<Header>, StoreError> {
        self.read(tables::HEADERS, id.as_slice(), |bytes| decode("headers", id.as_slice(), bytes))
    }

    pub(super) fn body(&self, id: B256) -> Result<Option<BlockBody>, StoreError> {
        self.read(tables::BODIES, id.as_slice(), |bytes| decode("bodies", id.as_slice(), bytes))
    }

    pub(super) fn seal(&self, id: B256) -> Result<Option<Seal>, StoreError> {
        self.read(tables::SEALS, id.as_slice(), |bytes| decode("seals", id.as_slice(), bytes))
    }

    pub(super) fn canonical_id(&self, number: u64) -> Result<Option<B256>, StoreError> {
        let key = number.to_be_bytes();
        self.read(tables::CANONICAL, &key, |bytes| fixed::<32>("canonical", &key, bytes).map(B256::from))
    }

    /// The number of a block, if it is canonical.
    pub(super) fn canonical_number(&self, id: B256) -> Result<Option<u64>, StoreError> {
        let Some(header) = self.header(id)? else { return Ok(None) };
        Ok((self.canonical_id(header.number)? == Some(id)).then_some(header.number))
    }

    /// The ids of all stored blocks of that number, ascending, at most [`MAX_PAGE`].
    pub(super) fn blocks_at(&self, number: u64) -> Result<Vec<B256>, StoreError> {
        let mut found = Vec::new();
        self.scan(tables::NUMBERS, &tables::number_key(number, B256::ZERO), |key, _| {
            let block = Head::from_bytes("numbers", key, key)?;
            if block.number == number {
                found.push(block.id);
            }
            Ok(block.number == number && found.len() < MAX_PAGE)
        })?;
        Ok(found)
    }

    /// What the canonical block of that number changed.
    pub(super) fn diff(&self, number: u64) -> Result<Option<StateDiff>, StoreError> {
        self.diff_bytes(number)?.map(|bytes| Self::decode_diff(number, &bytes)).transpose()
    }

    /// The same, encoded.
    pub(super) fn diff_bytes(&self, number: u64) -> Result<Option<Bytes>, StoreError> {
        self.get(tables::DIFFS, &number.to_be_bytes())
    }

    /// Decodes what [`Self::diff_bytes`] returned.
    pub(super) fn decode_diff(number: u64, bytes: &[u8]) -> Result<StateDiff, StoreError> {
        StateDiff::from_bytes(bytes).map_err(|error| StoreError::corrupt("diffs", number.to_be_bytes(), error))
    }
}
