//! The canonical chain, from old to new.

use super::{VerifyStep, Walk};
use crate::store::{
    Receipt, StoreError, TransactionPlace, history,
    tables::{self, META_PRUNED},
};
use alloy_consensus::{TxReceipt, proofs};
use alloy_primitives::{B256, Bloom, U256};
use bmm_types::{BlockBody, Header};
use redb::ReadableTableMetadata;

impl Walk<'_> {
    /// Walks the canonical blocks from a number on. `false` if told to stop.
    pub(super) fn blocks(&mut self, from: u64) -> Result<bool, StoreError> {
        let pruned = history::number_in_meta(&self.snapshot, META_PRUNED)?.unwrap_or(0);
        let mut parent: Option<(B256, U256)> = None;
        for number in from..=self.head.number {
            let key = number.to_be_bytes();
            let missing = |table| StoreError::corrupt(table, key, format!("entry of block {number} is missing"));
            let id = self.snapshot.canonical_id(number)?.ok_or_else(|| missing("canonical"))?;
            let header = self.header(number, id)?;
            if parent.is_some_and(|(parent, _)| parent != header.parent_hash) {
                let what = format!("block {number} is not a child of the canonical block before it");
                return Err(StoreError::corrupt("canonical", key, what));
            }
            let work = self.work(number, id)?;
            if parent.is_some_and(|(_, before)| work <= before) {
                return Err(StoreError::corrupt("work", id, format!("block {number} adds no work")));
            }
            parent = Some((id, work));
            if number >= self.oldest_body {
                self.body(id, &header)?;
            }
            if number >= pruned {
                self.snapshot.diff(number)?.ok_or_else(|| missing("diffs"))?;
            }
            if !self.tell(VerifyStep::Blocks, number, self.head.number) {
                return Ok(false);
            }
        }
        if parent.is_none_or(|(id, _)| id != self.head.id) {
            return Err(StoreError::corrupt("meta", tables::META_HEAD, "the head is not the last canonical block"));
        }
        self.nothing_above()?;
        if from == 0 {
            self.no_other_transactions()?;
        }
        Ok(true)
    }

    fn header(&mut self, number: u64, id: B256) -> Result<Header, StoreError> {
        let damaged = |what: String| StoreError::corrupt("headers", id, what);
        let header =
            self.snapshot.header(id)?.ok_or_else(|| damaged(format!("header of block {number} is missing")))?;
        if header.hash_slow() != id {
            return Err(damaged(format!("header of block {number} has another hash than its id")));
        }
        if header.number != number {
            return Err(damaged(format!("stands as block {number} and says it is {}", header.number)));
        }
        if self.snapshot.seal(id)?.is_none() {
            return Err(StoreError::corrupt("seals", id, format!("seal of block {number} is missing")));
        }
        if self.snapshot.get(tables::NUMBERS, &tables::number_key(number, id))?.is_none() {
            return Err(StoreError::corrupt("numbers", id, format!("entry of block {number} is missing")));
        }
        self.found.headers = self.found.headers.saturating_add(1);
        Ok(header)
    }

    fn work(&self, number: u64, id: B256) -> Result<U256, StoreError> {
        let work = self.snapshot.read(tables::WORK, id.as_slice(), |bytes| {
            tables::fixed::<32>("work", id.as_slice(), bytes).map(U256::from_be_bytes)
        })?;
        work.ok_or_else(|| StoreError::corrupt("work", id, format!("entry of block {number} is missing")))
    }

    /// The body and receipts of a block against its header, and where its transactions are said to be.
    fn body(&mut self, id: B256, header: &Header) -> Result<(), StoreError> {
        let number = header.number;
        let body = self.snapshot.body(id)?;
        let body =
            body.ok_or_else(|| StoreError::corrupt("bodies", id, format!("body of block {number} is missing")))?;
        if proofs::calculate_transaction_root(&body.transactions) != header.transactions_root
            || proofs::calculate_ommers_root(&body.ommers) != header.ommers_hash
        {
            let what = format!("transactions of block {number} are not those that its header commits to");
            return Err(StoreError::corrupt("bodies", id, what));
        }
        // Genesis executes nothing.
        if number > 0 {
            self.receipts(header, &body)?;
        }
        for (transaction, index) in body.transactions.iter().zip(0..) {
            let key = transaction.tx_hash().as_slice();
            let place =
                self.snapshot.read(tables::TRANSACTIONS, key, |bytes| TransactionPlace::from_bytes(key, bytes))?;
            if place != Some(TransactionPlace { block: id, index }) {
                let what = format!("says {place:?}; the transaction is the {index}th of block {number} {id}");
                return Err(StoreError::corrupt("transactions", key, what));
            }
            self.found.transactions = self.found.transactions.saturating_add(1);
        }
        self.found.bodies = self.found.bodies.saturating_add(1);
        Ok(())
    }

    fn receipts(&self, header: &Header, body: &BlockBody) -> Result<(), StoreError> {
        let (number, key) = (header.number, header.number.to_be_bytes());
        let receipts = self.snapshot.read(tables::RECEIPTS, &key, |bytes| tables::receipts_from_bytes(&key, bytes))?;
        let damaged = |what: &str| StoreError::corrupt("receipts", key, format!("receipts of block {number} {what}"));
        let receipts: Vec<Receipt> = receipts.ok_or_else(|| damaged("are missing"))?;
        if receipts.len() != body.transactions.len() {
            return Err(damaged("are not as many as its transactions"));
        }
        if proofs::calculate_receipt_root(&receipts) != header.receipts_root {
            return Err(damaged("are not those that its header commits to"));
        }
        let bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
        if bloom != header.logs_bloom {
            return Err(damaged("have logs that the header's bloom does not show"));
        }
        Ok(())
    }

    /// No canonical block stands above the head.
    fn nothing_above(&self) -> Result<(), StoreError> {
        let Some(next) = self.head.number.checked_add(1) else { return Ok(()) };
        for table in [tables::CANONICAL, tables::RECEIPTS, tables::DIFFS] {
            self.snapshot.scan(table, &next.to_be_bytes(), |key, _| {
                Err(StoreError::corrupt(table.name, key, "entry of a block above the head"))
            })?;
        }
        Ok(())
    }

    /// The index has no transaction that is in no canonical block: each of those is in it, so that it is enough to count.
    fn no_other_transactions(&self) -> Result<(), StoreError> {
        if self.snapshot.base().table(tables::TRANSACTIONS).len()? == self.found.transactions {
            return Ok(());
        }
        self.snapshot.scan(tables::TRANSACTIONS, &[], |key, bytes| {
            let place = TransactionPlace::from_bytes(key, bytes)?;
            let body = match self.snapshot.canonical_number(place.block)? {
                Some(_) => self.snapshot.body(place.block)?,
                None => None,
            };
            let transactions = body.map(|body| body.transactions).unwrap_or_default();
            let index = usize::try_from(place.index).unwrap_or(usize::MAX);
            if transactions.get(index).is_some_and(|transaction| transaction.tx_hash().as_slice() == key) {
                return Ok(true);
            }
            Err(StoreError::corrupt("transactions", key, format!("no such transaction is in block {}", place.block)))
        })
    }
}
