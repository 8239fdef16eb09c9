//! What readers read: all tables as they were after one change. The newest values lie in memory, in layers; what no layer names is
//! read from the tables on the disk.

use super::{
    Head, StoreError,
    cache::RecordKey,
    layer::Layer,
    tables::{self, Record, Table},
};
use crate::trie::Nibbles;
use alloy_primitives::{B256, Bytes, U256};
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};
use std::sync::Arc;

/// The tables on the disk, unchanging. The database keeps their pages as long as this lives.
pub(super) struct Base {
    tables: Vec<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl Base {
    /// Takes what is committed now.
    pub fn take(db: &Database) -> Result<Self, StoreError> {
        let txn: ReadTransaction = db.begin_read()?;
        let tables = tables::ALL.iter().map(|table| txn.open_table(table.definition()));
        Ok(Self { tables: tables.collect::<Result<_, _>>()? })
    }

    pub fn table(&self, table: Table) -> &ReadOnlyTable<&'static [u8], &'static [u8]> {
        self.tables.get(table.index()).expect("all tables are opened")
    }
}

/// All tables, unchanging.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub head: Option<Head>,
    base: Arc<Base>,
    /// The oldest first.
    layers: Vec<Arc<Layer>>,
}

impl Snapshot {
    /// Lays layers, the oldest first, over the tables.
    pub fn new(base: Arc<Base>, layers: Vec<Arc<Layer>>) -> Result<Self, StoreError> {
        let mut snapshot = Self { head: None, base, layers };
        snapshot.head = snapshot
            .read(tables::META, tables::META_HEAD, |bytes| Head::from_bytes("meta", tables::META_HEAD, bytes))?;
        Ok(snapshot)
    }

    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// The layers, the oldest first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The head's id; zero before genesis.
    pub fn head_id(&self) -> B256 {
        self.head.map_or(B256::ZERO, |head| head.id)
    }

    /// Reads the value of a key without copying it.
    pub fn read<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        for layer in self.layers.iter().rev() {
            if let Some(value) = layer.get(table, key) {
                return value.as_ref().map(|value| read(value)).transpose();
            }
        }
        match self.base.table(table).get(key)? {
            Some(guard) => read(guard.value()).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the value of a key.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        for layer in self.layers.iter().rev() {
            if let Some(value) = layer.get(table, key) {
                return Ok(value.clone());
            }
        }
        Ok(self.base.table(table).get(key)?.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    /// Calls `each` with every entry of a table from a key on, ascending, until it says stop (`false`).
    pub fn scan(
        &self,
        table: Table,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut stored = self.base.table(table).range::<&[u8]>(from..)?;
        let mut next_stored = stored.next().transpose()?;
        let mut cursors: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                let keys = layer.keys(table);
                let start = keys.partition_point(|key| key.as_ref() < from);
                (layer, keys.get(start..).unwrap_or_default())
            })
            .collect();
        loop {
            let in_memory = cursors.iter().filter_map(|(_, keys)| keys.first()).min().cloned();
            let stored_key = next_stored.as_ref().map(|(key, _)| key.value());
            let Some(key) = in_memory.filter(|key| stored_key.is_none_or(|stored| key.as_ref() <= stored)) else {
                let Some((key, value)) = next_stored else { return Ok(()) };
                if !each(key.value(), value.value())? {
                    return Ok(());
                }
                next_stored = stored.next().transpose()?;
                continue;
            };
            if stored_key == Some(key.as_ref()) {
                next_stored = stored.next().transpose()?;
            }
            let mut newest = None;
            for (layer, keys) in &mut cursors {
                if let Some((first, rest)) = keys.split_first()
                    && *first == key
                {
                    *keys = rest;
                    newest = layer.get(table, &key).and_then(Option::as_ref);
                }
            }
            if let Some(value) = newest
                && !each(&key, value)?
            {
                return Ok(());
            }
        }
    }

    pub fn record(&self, owner: &B256) -> Result<Option<Record>, StoreError> {
        self.read(tables::ACCOUNTS, owner.as_slice(), |bytes| Record::from_bytes(owner.as_slice(), bytes))
    }

    pub fn slot(&self, owner: &B256, slot: &B256) -> Result<U256, StoreError> {
        let key = tables::slot_key(owner, slot);
        let value = self.read(tables::STORAGE, &key, |bytes| tables::word_from_bytes(&key, bytes))?;
        Ok(value.unwrap_or_default())
    }

    /// Calls `each` with every slot of an account, by its hash, until it says stop (`false`).
    pub fn slots(&self, owner: &B256, from: &B256, mut each: impl FnMut(B256, U256) -> bool) -> Result<(), StoreError> {
        self.scan(tables::STORAGE, &tables::slot_key(owner, from), |key, value| {
            let Some(slot) = key.strip_prefix(owner.as_slice()) else { return Ok(false) };
            let slot = B256::from(tables::fixed::<32>("storage", key, slot)?);
            Ok(each(slot, tables::word_from_bytes(key, value)?))
        })
    }

    /// Returns the first account at or after a hashed address, with that.
    pub fn first_account_from(&self, from: &B256) -> Result<Option<(B256, Record)>, StoreError> {
        let mut found = None;
        self.scan(tables::ACCOUNTS, from.as_slice(), |key, value| {
            let owner = B256::from(tables::fixed::<32>("accounts", key, key)?);
            found = Some((owner, Record::from_bytes(key, value)?));
            Ok(false)
        })?;
        Ok(found)
    }

    /// Returns the record of a trie's node: of the account trie or, with an owner, of a storage trie.
    pub fn trie_record(&self, owner: Option<&B256>, path: &Nibbles) -> Result<Option<Vec<u8>>, StoreError> {
        let key: RecordKey = (owner.copied(), *path);
        for layer in self.layers.iter().rev() {
            if let Some(node) = layer.record(&key) {
                return Ok(node.as_ref().map(|node| node.record().to_vec()));
            }
        }
        let table = if owner.is_some() { tables::STORAGE_TRIE } else { tables::ACCOUNT_TRIE };
        let value = self.base.table(table).get(tables::path_key(owner, path).as_slice())?;
        Ok(value.map(|guard| guard.value().to_vec()))
    }
}
