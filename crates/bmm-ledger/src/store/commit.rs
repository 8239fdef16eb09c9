//! The changes: each one transaction, whole or not at all.

use super::{
    Head, MAX_NOTE_BYTES, MAX_NOTE_NAME_BYTES, Receipt, Staged, Store, StoreError, TransactionPlace,
    snapshot::Snapshot,
    tables::{self, META_HEAD},
};
use crate::diff::{MAX_DIFF_BYTES, StateDiff};
use alloy_primitives::{B256, U256};
use bmm_types::{BlockBody, Header, SealedBlock};
use redb::{Durability, ReadableTable, WriteTransaction};
use std::sync::Arc;

impl Store {
    /// Begins the chain: stores genesis and its state. Does nothing if the store was begun with this very block.
    ///
    /// # Errors
    /// [`StoreError::OtherGenesis`]; [`StoreError::Unfit`] when the header's number is not 0 or its state root is not that of
    /// `alloc`.
    pub fn init(&self, genesis: &SealedBlock, alloc: StateDiff) -> Result<(), StoreError> {
        let offered = genesis.id();
        if self.head().is_some() {
            return match self.canonical(0)? {
                Some(stored) if stored == offered => Ok(()),
                stored => Err(StoreError::OtherGenesis { offered, stored: stored.unwrap_or_default() }),
            };
        }
        let staged = self.stage(B256::ZERO, alloc)?;
        let receipts = [];
        self.commit_on(None, &staged, genesis, &receipts, genesis.block.header.difficulty)
    }

    /// Makes `block` the new head: writes block, receipts, total `work`, state, trie and diff in one durable transaction.
    ///
    /// # Errors
    /// [`StoreError::Empty`] before genesis; [`StoreError::NotHead`] when the head has moved since staging;
    /// [`StoreError::Unfit`] when parent, number, state root or the number of receipts disagree;
    /// [`StoreError::WrongBefore`]. Nothing is written then.
    #[expect(clippy::needless_pass_by_value, reason = "what is staged is committed once")]
    pub fn commit(
        &self,
        staged: Staged,
        block: &SealedBlock,
        receipts: &[Receipt],
        work: U256,
    ) -> Result<(), StoreError> {
        let head = self.head().ok_or(StoreError::Empty)?;
        self.commit_on(Some(head), &staged, block, receipts, work)
    }

    fn commit_on(
        &self,
        parent: Option<Head>,
        staged: &Staged,
        block: &SealedBlock,
        receipts: &[Receipt],
        work: U256,
    ) -> Result<(), StoreError> {
        let header = &block.block.header;
        let head = Head { number: header.number, id: block.id() };
        check_fit(parent, staged, block, head.id, receipts.len())?;
        let diff = staged.diff.to_bytes();
        if diff.len() > MAX_DIFF_BYTES {
            let what = format!("its state diff has {} bytes, the limit is {MAX_DIFF_BYTES}", diff.len());
            return Err(StoreError::Unfit { block: head.id, what });
        }
        self.write(|txn| {
            move_head(txn, parent, head)?;
            put_block(txn, head, block, work)?;
            put_state(txn, staged)?;
            let number = head.number.to_be_bytes();
            put(txn, tables::CANONICAL, &number, head.id.as_slice())?;
            put(txn, tables::RECEIPTS, &number, &tables::receipts_to_bytes(receipts))?;
            put(txn, tables::DIFFS, &number, &diff)?;
            let mut places = txn.open_table(tables::TRANSACTIONS)?;
            for (transaction, index) in block.block.body.transactions.iter().zip(0..) {
                let place = TransactionPlace { block: head.id, index };
                places.insert(transaction.hash().as_slice(), place.to_bytes().as_slice())?;
            }
            Ok(())
        })?;
        self.trie_cache.advance(staged.parent, head.id, &staged.records);
        Ok(())
    }

    /// Stores a block of a side branch (header, body, seal, total work) without touching the head. Idempotent.
    pub fn store_side_block(&self, block: &SealedBlock, work: U256) -> Result<(), StoreError> {
        let place = Head { number: block.block.header.number, id: block.id() };
        self.write(|txn| put_block(txn, place, block, work))
    }

    /// Takes the head block away: the state becomes its parent's, and its receipts and transaction places go. Header, body,
    /// seal and work stay, as those of a side branch. Returns the new head.
    ///
    /// # Errors
    /// [`StoreError::NotHead`] when `block` is not the head; [`StoreError::RewindGenesis`]; [`StoreError::Corrupt`] when the
    /// stored diff does not lead back to the parent's state root.
    pub fn rewind(&self, block: B256) -> Result<Head, StoreError> {
        let old = self.head().ok_or(StoreError::Empty)?;
        if old.id != block {
            return Err(StoreError::NotHead { block, head: old.id });
        }
        let number = old.number.checked_sub(1).ok_or(StoreError::RewindGenesis(block))?;
        let missing = |table| StoreError::corrupt(table, block, "entry of the head is missing");
        let header = self.header(block)?.ok_or_else(|| missing("headers"))?;
        let body = self.body(block)?.ok_or_else(|| missing("bodies"))?;
        let diff = self.diff(block)?.ok_or_else(|| missing("diffs"))?;
        let parent = self.header(header.parent_hash)?.ok_or_else(|| missing("headers"))?;
        let new = Head { number, id: header.parent_hash };
        let staged = self.stage(block, diff.inverse())?;
        if staged.root != parent.state_root {
            return Err(StoreError::corrupt(
                "diffs",
                old.number.to_be_bytes(),
                "does not lead back to the parent's state",
            ));
        }
        self.write(|txn| {
            move_head(txn, Some(old), new)?;
            put_state(txn, &staged)?;
            let number = old.number.to_be_bytes();
            for table in [tables::CANONICAL, tables::RECEIPTS, tables::DIFFS] {
                txn.open_table(table)?.remove(number.as_slice())?;
            }
            remove_places(txn, block, &body)
        })?;
        self.trie_cache.advance(staged.parent, new.id, &staged.records);
        Ok(new)
    }

    /// Stores a small value of another room under a name; an empty value removes it.
    ///
    /// # Errors
    /// [`StoreError::NoteTooLong`].
    pub fn put_note(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        for (len, limit) in [(name.len(), MAX_NOTE_NAME_BYTES), (value.len(), MAX_NOTE_BYTES)] {
            if len > limit {
                let name = name.chars().take(MAX_NOTE_NAME_BYTES).collect();
                return Err(StoreError::NoteTooLong { name, len, limit });
            }
        }
        self.write(|txn| {
            if value.is_empty() {
                txn.open_table(tables::NOTES)?.remove(name.as_bytes())?;
                return Ok(());
            }
            put(txn, tables::NOTES, name.as_bytes(), value)
        })
    }

    /// Runs one transaction. An error drops it, and with it all that it wrote.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _one_at_a_time = self.writer.lock();
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        // Keeps the map of free pages in the file, so that opening after a crash need not walk all of it.
        txn.set_quick_repair(true);
        let result = work(&txn)?;
        txn.commit()?;
        *self.snapshot.write() = Arc::new(Snapshot::take(&self.db)?);
        Ok(result)
    }
}

/// A block fits the store when it is the child of the head that its state was worked out on, and the state's root is the header's.
fn check_fit(
    parent: Option<Head>,
    staged: &Staged,
    block: &SealedBlock,
    id: B256,
    receipts: usize,
) -> Result<(), StoreError> {
    let unfit = |what| Err(StoreError::Unfit { block: id, what });
    let Header { number, state_root, parent_hash, .. } = block.block.header;
    let wanted = match parent {
        Some(head) if staged.parent != head.id => {
            return Err(StoreError::NotHead { block: staged.parent, head: head.id });
        }
        Some(head) if parent_hash != head.id => {
            return unfit(format!("parent {parent_hash} is not the head ({})", head.id));
        }
        Some(head) => head.number.checked_add(1),
        None => Some(0),
    };
    if Some(number) != wanted {
        return unfit(format!("number {number} is not the next ({})", wanted.unwrap_or(u64::MAX)));
    }
    if state_root != staged.root {
        return unfit(format!("state root {state_root} in the header, {} by execution", staged.root));
    }
    let transactions = block.block.body.transactions.len();
    if receipts != transactions {
        return unfit(format!("{receipts} receipts for {transactions} transactions"));
    }
    Ok(())
}

fn put(txn: &WriteTransaction, table: tables::Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    txn.open_table(table)?.insert(key, value)?;
    Ok(())
}

/// Moves the head, if it still is where the caller saw it.
fn move_head(txn: &WriteTransaction, from: Option<Head>, to: Head) -> Result<(), StoreError> {
    let mut meta = txn.open_table(tables::META)?;
    let stored = match tables::get(&meta, META_HEAD)? {
        Some(bytes) => Some(Head::from_bytes("meta", META_HEAD, &bytes)?),
        None => None,
    };
    if stored != from {
        let id = |head: Option<Head>| head.map_or(B256::ZERO, |head| head.id);
        return Err(StoreError::NotHead { block: id(from), head: id(stored) });
    }
    meta.insert(META_HEAD, to.to_bytes().as_slice())?;
    Ok(())
}

fn put_block(txn: &WriteTransaction, place: Head, block: &SealedBlock, work: U256) -> Result<(), StoreError> {
    let id = place.id.as_slice();
    put(txn, tables::HEADERS, id, &alloy_rlp::encode(&block.block.header))?;
    put(txn, tables::BODIES, id, &alloy_rlp::encode(&block.block.body))?;
    put(txn, tables::SEALS, id, &alloy_rlp::encode(&block.seal))?;
    put(txn, tables::WORK, id, &work.to_be_bytes::<32>())?;
    put(txn, tables::NUMBERS, &place.to_bytes(), &[])
}

/// Writes flat state, code and trie. Keys ascend, so that neighbours meet in the same pages.
fn put_state(txn: &WriteTransaction, staged: &Staged) -> Result<(), StoreError> {
    let mut accounts = txn.open_table(tables::ACCOUNTS)?;
    for (key, record) in &staged.accounts {
        match record {
            Some(record) => accounts.insert(key.as_slice(), record.as_slice())?,
            None => accounts.remove(key.as_slice())?,
        };
    }
    let mut storage = txn.open_table(tables::STORAGE)?;
    for slot in &staged.slots {
        let old = if slot.after.is_zero() {
            storage.remove(slot.key.as_slice())?
        } else {
            storage.insert(slot.key.as_slice(), tables::word_to_bytes(slot.after).as_slice())?
        };
        let old = old.map_or(Ok(U256::ZERO), |old| tables::word_from_bytes(&slot.key, old.value()))?;
        if old != slot.before {
            let what = format!("slot with key {}: {old}, not {}", alloy_primitives::hex::encode(slot.key), slot.before);
            return Err(StoreError::WrongBefore { address: slot.address, what });
        }
    }
    let mut code = txn.open_table(tables::CODE)?;
    for (hash, bytes) in &staged.diff.code {
        if code.get(hash.as_slice())?.is_none() {
            code.insert(hash.as_slice(), bytes.as_ref())?;
        }
    }
    let mut account_trie = txn.open_table(tables::ACCOUNT_TRIE)?;
    let mut storage_trie = txn.open_table(tables::STORAGE_TRIE)?;
    for ((owner, path), node) in &staged.records {
        let table = if owner.is_some() { &mut storage_trie } else { &mut account_trie };
        let key = tables::path_key(owner.as_ref(), path);
        match node {
            Some(node) => table.insert(key.as_slice(), node.record())?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

/// Forgets where a block's transactions are, unless they are elsewhere by now.
fn remove_places(txn: &WriteTransaction, block: B256, body: &BlockBody) -> Result<(), StoreError> {
    let mut places = txn.open_table(tables::TRANSACTIONS)?;
    for transaction in &body.transactions {
        let key = transaction.hash().as_slice();
        let Some(bytes) = tables::get(&places, key)? else { continue };
        if TransactionPlace::from_bytes(key, &bytes)?.block == block {
            places.remove(key)?;
        }
    }
    Ok(())
}
