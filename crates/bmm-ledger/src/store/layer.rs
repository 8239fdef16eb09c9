//! What has changed since the tables on the disk were written: the newest values, in memory.

use super::{
    batch::FrozenBatch,
    cache::RecordKey,
    tables::{self, Table},
};
use crate::trie::Node;
use alloy_primitives::{
    Bytes,
    map::{DefaultHashBuilder, HashMap},
};
use std::{
    collections::hash_map::Entry,
    sync::{Arc, OnceLock},
};

/// Records of the tries that changed; `None` for those that went.
pub(super) type TrieRecords = HashMap<RecordKey, Option<Node>>;

/// The changes of one table. `None` is a removal.
#[derive(Debug, Default)]
struct MemTable {
    map: HashMap<Bytes, Option<Bytes>>,
    /// The keys ascending, worked out when somebody asks for a range.
    sorted: OnceLock<Vec<Bytes>>,
}

/// The changes of one or more batches, by table and key. It never changes.
#[derive(Debug)]
pub(super) struct Layer {
    tables: [MemTable; tables::COUNT],
    /// Changed records of the tries: they are not in batches, since they follow from the flat state.
    records: TrieRecords,
    /// Entries of all tables and records.
    len: usize,
    /// Batches in it.
    pub batches: usize,
    /// Bytes of the batches in it.
    pub bytes: usize,
}

impl Layer {
    /// Makes the layer of one batch.
    pub fn new(batch: &FrozenBatch, records: TrieRecords) -> Self {
        Self::of(std::slice::from_ref(batch), records)
    }

    /// Makes the layer of batches, the oldest first.
    pub fn of(batches: &[FrozenBatch], records: TrieRecords) -> Self {
        let mut counts = [0usize; tables::COUNT];
        for (table, ..) in batches.iter().flat_map(FrozenBatch::entries) {
            if let Some(count) = counts.get_mut(usize::from(table)) {
                *count = count.saturating_add(1);
            }
        }
        let mut tables = counts.map(|count| MemTable {
            map: HashMap::with_capacity_and_hasher(count, DefaultHashBuilder::default()),
            sorted: OnceLock::new(),
        });
        for (table, key, value) in batches.iter().flat_map(FrozenBatch::entries) {
            if let Some(table) = tables.get_mut(usize::from(table)) {
                table.map.insert(key, value);
            }
        }
        let len = tables.iter().map(|table| table.map.len()).sum::<usize>().saturating_add(records.len());
        let bytes = batches.iter().fold(0usize, |sum, batch| sum.saturating_add(batch.as_bytes().len()));
        Self { tables, records, len, batches: batches.len(), bytes }
    }

    /// Makes one layer of several; of one key the newest value counts. `layers` stand oldest first.
    pub fn merge(layers: &[Arc<Self>]) -> Self {
        let sum = |count: fn(&Self) -> usize| layers.iter().fold(0usize, |sum, layer| sum.saturating_add(count(layer)));
        let tables = tables::ALL.map(|table| {
            let capacity = layers.iter().map(|layer| layer.table(table).map.len()).sum();
            let mut map: HashMap<Bytes, Option<Bytes>> =
                HashMap::with_capacity_and_hasher(capacity, DefaultHashBuilder::default());
            // The newest first, so that what is overwritten is never cloned.
            for layer in layers.iter().rev() {
                for (key, value) in &layer.table(table).map {
                    if let Entry::Vacant(place) = map.entry(key.clone()) {
                        place.insert(value.clone());
                    }
                }
            }
            MemTable { map, sorted: OnceLock::new() }
        });
        let mut records = TrieRecords::default();
        for layer in layers.iter().rev() {
            for (key, record) in &layer.records {
                records.entry(*key).or_insert_with(|| record.clone());
            }
        }
        let len = tables.iter().map(|table| table.map.len()).sum::<usize>().saturating_add(records.len());
        Self { tables, records, len, batches: sum(|layer| layer.batches), bytes: sum(|layer| layer.bytes) }
    }

    /// The changes of a table in several layers, the oldest first: its keys ascending, each with its newest value.
    pub fn newest(layers: &[Arc<Self>], table: Table) -> Vec<(&Bytes, Option<&Bytes>)> {
        let entries = layers.iter().rev().flat_map(|layer| &layer.table(table).map);
        newest_first(entries.map(|(key, value)| (key, value.as_ref())))
    }

    /// The changes of a trie's records in several layers, likewise: of the account trie's, or of all storage tries'.
    pub fn newest_records(layers: &[Arc<Self>], table: Table) -> Vec<(&RecordKey, Option<&Node>)> {
        let has_owner = match table {
            tables::ACCOUNT_TRIE => false,
            tables::STORAGE_TRIE => true,
            _ => return Vec::new(),
        };
        let entries = layers.iter().rev().flat_map(|layer| &layer.records);
        let of_trie = entries.filter(|((owner, _), _)| owner.is_some() == has_owner);
        newest_first(of_trie.map(|(key, node)| (key, node.as_ref())))
    }

    /// How many changes of a table there are in it, with those of the trie's records.
    pub fn changes(&self, table: Table) -> usize {
        let in_trie = matches!(table, tables::ACCOUNT_TRIE | tables::STORAGE_TRIE);
        // Which of the two tries a record is of is not counted: this only says what is much.
        self.table(table).map.len().saturating_add(if in_trie { self.records.len() } else { 0 })
    }

    fn table(&self, table: Table) -> &MemTable {
        self.tables.get(table.index()).expect("a layer has all tables")
    }

    /// Entries of all tables and trie records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What the layer says of a key, if anything: its value, or `None` within if it was removed.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.table(table).map.get(key)
    }

    /// A record of a trie, likewise.
    pub fn record(&self, key: &RecordKey) -> Option<&Option<Node>> {
        self.records.get(key)
    }

    /// Puts the changed records of the tries in, where they were left out.
    pub fn set_records(&mut self, records: TrieRecords) {
        self.len = self.len.saturating_sub(self.records.len()).saturating_add(records.len());
        self.records = records;
    }

    /// The changed keys of a table, ascending.
    pub fn keys(&self, table: Table) -> &[Bytes] {
        let table = self.table(table);
        table.sorted.get_or_init(|| {
            let mut keys: Vec<Bytes> = table.map.keys().cloned().collect();
            keys.sort_unstable();
            keys
        })
    }
}

/// Sorts by key; of entries with one key the first stays.
fn newest_first<K: Ord, V>(entries: impl Iterator<Item = (K, V)>) -> Vec<(K, V)> {
    let mut entries: Vec<(K, V)> = entries.collect();
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    entries.dedup_by(|(later, _), (earlier, _)| later == earlier);
    entries
}
