//! The changes: each one transaction, whole or not at all.

use super::{
    Head, History, MAX_NOTE_BYTES, MAX_NOTE_NAME_BYTES, Receipt, Staged, Store, StoreError, TransactionPlace,
    batch::Batch,
    layer::TrieRecords,
    snapshot::Snapshot,
    tables::{self, META_HEAD},
};
use crate::diff::{MAX_DIFF_BYTES, StateDiff};
use alloy_primitives::{B256, U256};
use bmm_types::{BlockBody, Header, SealedBlock};

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
        self.commit_on(None, &staged, genesis, &receipts, genesis.block.header.difficulty, true)
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
        self.commit_on(Some(head), &staged, block, receipts, work, true)
    }

    /// As [`Self::commit`], but durable only after the next change that is, or [`Self::sync`]: for blocks that come by the thousand.
    pub fn commit_unsynced(
        &self,
        staged: &Staged,
        block: &SealedBlock,
        receipts: &[Receipt],
        work: U256,
    ) -> Result<(), StoreError> {
        let head = self.head().ok_or(StoreError::Empty)?;
        self.commit_on(Some(head), staged, block, receipts, work, false)
    }

    /// Brings everything committed to the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.core.sync()
    }

    fn commit_on(
        &self,
        parent: Option<Head>,
        staged: &Staged,
        block: &SealedBlock,
        receipts: &[Receipt],
        work: U256,
        sync: bool,
    ) -> Result<(), StoreError> {
        let header = &block.block.header;
        let head = Head { number: header.number, id: block.id() };
        check_fit(parent, staged, block, head.id, receipts.len())?;
        let diff = staged.diff.to_bytes();
        if diff.len() > MAX_DIFF_BYTES {
            let what = format!("its state diff has {} bytes, the limit is {MAX_DIFF_BYTES}", diff.len());
            return Err(StoreError::Unfit { block: head.id, what });
        }
        self.core.change(sync, |snapshot, batch| {
            move_head(snapshot, batch, parent, head)?;
            put_block(batch, head, block, work);
            put_state(batch, staged);
            let number = head.number.to_be_bytes();
            batch.put(tables::CANONICAL, &number, head.id.as_slice());
            batch.put(tables::RECEIPTS, &number, &tables::receipts_to_bytes(receipts));
            batch.put(tables::DIFFS, &number, &diff);
            for (transaction, index) in block.block.body.transactions.iter().zip(0..) {
                let place = TransactionPlace { block: head.id, index };
                batch.put(tables::TRANSACTIONS, transaction.hash().as_slice(), &place.to_bytes());
            }
            match self.options.history {
                History::Archive => super::history::record(snapshot, batch, head.number, staged)?,
                History::Last(keep) => super::history::prune(snapshot, batch, head.number.saturating_sub(keep))?,
            }
            Ok(records_of(staged))
        })?;
        self.trie_cache.advance(staged, head.id);
        Ok(())
    }

    /// Stores a block of a side branch (header, body, seal, total work) without touching the head. Idempotent.
    pub fn store_side_block(&self, block: &SealedBlock, work: U256) -> Result<(), StoreError> {
        let place = Head { number: block.block.header.number, id: block.id() };
        self.core.change(true, |_, batch| {
            put_block(batch, place, block, work);
            Ok(TrieRecords::default())
        })
    }

    /// Takes the head block away: the state becomes its parent's, and its receipts and transaction places go. Header, body,
    /// seal and work stay, as those of a side branch. Returns the new head.
    ///
    /// # Errors
    /// [`StoreError::NotHead`] when `block` is not the head; [`StoreError::RewindGenesis`]; [`StoreError::TooDeep`] when what the
    /// block changed is pruned; [`StoreError::Corrupt`] when the
    /// stored diff does not lead back to the parent's state root.
    pub fn rewind(&self, block: B256) -> Result<Head, StoreError> {
        let old = self.head().ok_or(StoreError::Empty)?;
        if old.id != block {
            return Err(StoreError::NotHead { block, head: old.id });
        }
        let number = old.number.checked_sub(1).ok_or(StoreError::RewindGenesis(block))?;
        if super::history::kept_below(&self.snapshot(), old.number)? == 0 {
            return Err(StoreError::TooDeep { number, depth: 1, limit: 0 });
        }
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
        self.core.change(true, |snapshot, batch| {
            move_head(snapshot, batch, Some(old), new)?;
            put_state(batch, &staged);
            let number = old.number.to_be_bytes();
            for table in [tables::CANONICAL, tables::RECEIPTS, tables::DIFFS] {
                batch.remove(table, &number);
            }
            if self.options.history == History::Archive {
                super::history::forget(batch, old.number, &staged);
            }
            remove_places(snapshot, batch, block, &body)?;
            Ok(records_of(&staged))
        })?;
        self.trie_cache.advance(&staged, new.id);
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
        self.core.change(true, |_, batch| {
            if value.is_empty() {
                batch.remove(tables::NOTES, name.as_bytes());
            } else {
                batch.put(tables::NOTES, name.as_bytes(), value);
            }
            Ok(TrieRecords::default())
        })
    }

    /// Writes everything that lies in memory into the database's tables. Nobody needs to: it happens by itself, and what is not
    /// written yet is in the journal.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.core.flush()
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

/// Moves the head, if it still is where the caller saw it.
fn move_head(snapshot: &Snapshot, batch: &mut Batch, from: Option<Head>, to: Head) -> Result<(), StoreError> {
    if snapshot.head != from {
        let id = |head: Option<Head>| head.map_or(B256::ZERO, |head| head.id);
        return Err(StoreError::NotHead { block: id(from), head: id(snapshot.head) });
    }
    batch.put(tables::META, META_HEAD, &to.to_bytes());
    Ok(())
}

fn put_block(batch: &mut Batch, place: Head, block: &SealedBlock, work: U256) {
    let id = place.id.as_slice();
    batch.put(tables::HEADERS, id, &alloy_rlp::encode(&block.block.header));
    batch.put(tables::BODIES, id, &alloy_rlp::encode(&block.block.body));
    batch.put(tables::SEALS, id, &alloy_rlp::encode(&block.seal));
    batch.put(tables::WORK, id, &work.to_be_bytes::<32>());
    batch.put(tables::NUMBERS, &place.to_bytes(), &[]);
}

/// Writes flat state and code. That slots held what the diff says before is known from the execution that read them.
fn put_state(batch: &mut Batch, staged: &Staged) {
    for (key, record) in &staged.accounts {
        match record {
            Some(record) => batch.put(tables::ACCOUNTS, key.as_slice(), record),
            None => batch.remove(tables::ACCOUNTS, key.as_slice()),
        }
    }
    for slot in &staged.slots {
        if slot.after.is_zero() {
            batch.remove(tables::STORAGE, &slot.key);
        } else {
            batch.put(tables::STORAGE, &slot.key, &tables::word_to_bytes(slot.after));
        }
    }
    for (hash, bytes) in &staged.diff.code {
        batch.put(tables::CODE, hash.as_slice(), bytes);
    }
}

fn records_of(staged: &Staged) -> TrieRecords {
    staged.records.iter().cloned().collect()
}

/// Forgets where a block's transactions are, unless they are elsewhere by now.
fn remove_places(snapshot: &Snapshot, batch: &mut Batch, block: B256, body: &BlockBody) -> Result<(), StoreError> {
    for transaction in &body.transactions {
        let key = transaction.hash().as_slice();
        let place = snapshot.read(tables::TRANSACTIONS, key, |bytes| TransactionPlace::from_bytes(key, bytes))?;
        if place.is_some_and(|place| place.block == block) {
            batch.remove(tables::TRANSACTIONS, key);
        }
    }
    Ok(())
}
