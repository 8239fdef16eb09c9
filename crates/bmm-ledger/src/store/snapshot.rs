//! What readers read: all tables as they were after one change.

use super::{
    Head, StoreError,
    tables::{self, Record},
};
use crate::trie::Nibbles;
use alloy_primitives::{B256, U256};
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};

type Bytes = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// All tables, unchanging. The database keeps the pages of a snapshot as long as it lives.
pub(super) struct Snapshot {
    pub head: Option<Head>,
    pub accounts: Bytes,
    pub storage: Bytes,
    pub code: Bytes,
    pub account_trie: Bytes,
    pub storage_trie: Bytes,
    pub headers: Bytes,
    pub bodies: Bytes,
    pub seals: Bytes,
    pub work: Bytes,
    pub numbers: Bytes,
    pub canonical: Bytes,
    pub receipts: Bytes,
    pub diffs: Bytes,
    pub transactions: Bytes,
    pub notes: Bytes,
}

impl Snapshot {
    /// Takes a snapshot of what is committed now.
    pub fn take(db: &Database) -> Result<Self, StoreError> {
        let txn: ReadTransaction = db.begin_read()?;
        let head = match tables::get(&txn.open_table(tables::META)?, tables::META_HEAD)? {
            Some(bytes) => Some(Head::from_bytes("meta", tables::META_HEAD, &bytes)?),
            None => None,
        };
        Ok(Self {
            head,
            accounts: txn.open_table(tables::ACCOUNTS)?,
            storage: txn.open_table(tables::STORAGE)?,
            code: txn.open_table(tables::CODE)?,
            account_trie: txn.open_table(tables::ACCOUNT_TRIE)?,
            storage_trie: txn.open_table(tables::STORAGE_TRIE)?,
            headers: txn.open_table(tables::HEADERS)?,
            bodies: txn.open_table(tables::BODIES)?,
            seals: txn.open_table(tables::SEALS)?,
            work: txn.open_table(tables::WORK)?,
            numbers: txn.open_table(tables::NUMBERS)?,
            canonical: txn.open_table(tables::CANONICAL)?,
            receipts: txn.open_table(tables::RECEIPTS)?,
            diffs: txn.open_table(tables::DIFFS)?,
            transactions: txn.open_table(tables::TRANSACTIONS)?,
            notes: txn.open_table(tables::NOTES)?,
        })
    }

    /// The head's id; zero before genesis.
    pub fn head_id(&self) -> B256 {
        self.head.map_or(B256::ZERO, |head| head.id)
    }

    pub fn record(&self, owner: &B256) -> Result<Option<Record>, StoreError> {
        match self.accounts.get(owner.as_slice())? {
            Some(guard) => Record::from_bytes(owner.as_slice(), guard.value()).map(Some),
            None => Ok(None),
        }
    }

    pub fn slot(&self, owner: &B256, slot: &B256) -> Result<U256, StoreError> {
        let key = tables::slot_key(owner, slot);
        match self.storage.get(key.as_slice())? {
            Some(guard) => tables::word_from_bytes(&key, guard.value()),
            None => Ok(U256::ZERO),
        }
    }

    /// Calls `each` with every slot of an account, by its hash, until it says stop (`false`).
    pub fn slots(&self, owner: &B256, from: &B256, mut each: impl FnMut(B256, U256) -> bool) -> Result<(), StoreError> {
        let from = tables::slot_key(owner, from);
        for entry in self.storage.range(from.as_slice()..)? {
            let (key, value) = entry?;
            let (key, value) = (key.value(), value.value());
            let Some(slot) = key.strip_prefix(owner.as_slice()) else { break };
            let slot = B256::from(tables::fixed::<32>("storage", key, slot)?);
            if !each(slot, tables::word_from_bytes(key, value)?) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the first account at or after a hashed address, with that.
    pub fn first_account_from(&self, from: &B256) -> Result<Option<(B256, Record)>, StoreError> {
        let Some(entry) = self.accounts.range(from.as_slice()..)?.next() else { return Ok(None) };
        let (key, value) = entry?;
        let record = Record::from_bytes(key.value(), value.value())?;
        Ok(Some((tables::fixed::<32>("accounts", key.value(), key.value())?.into(), record)))
    }

    /// Returns the record of a trie's node: of the account trie or, with an owner, of a storage trie.
    pub fn trie_record(&self, owner: Option<&B256>, path: &Nibbles) -> Result<Option<Vec<u8>>, StoreError> {
        let table = if owner.is_some() { &self.storage_trie } else { &self.account_trie };
        tables::get(table, &tables::path_key(owner, path))
    }
}
