//! What one change writes: a list of puts and removals, as it stands in the journal and in memory.

use super::{StoreError, tables::Table};
use alloy_primitives::Bytes;
use std::ops::Range;

/// Longest encoded batch, in bytes: a genesis of some million accounts.
pub(super) const MAX_BATCH_BYTES: usize = 2 << 30;

/// Bytes before the key of each entry: table, kind, length of the key (2), length of the value (4).
const ENTRY_HEADER: usize = 8;

const REMOVE: u8 = 0;
const PUT: u8 = 1;

#[derive(Clone, Debug)]
struct Entry {
    table: u8,
    key: Range<usize>,
    value: Option<Range<usize>>,
}

/// A batch in the making. Of two entries with one key the later counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// Writes a value under a key.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.push(table, key, Some(value));
    }

    /// Removes a key; one that is not there does no harm.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.push(table, key, None);
    }

    fn push(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let key_len = u16::try_from(key.len()).expect("no table has keys beyond 128 bytes");
        let value_len = u32::try_from(value.map_or(0, <[u8]>::len)).expect("diffs are the longest values: 512 MiB");
        self.bytes.extend_from_slice(&[table.number, if value.is_some() { PUT } else { REMOVE }]);
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&value_len.to_le_bytes());
        let key = append(&mut self.bytes, key);
        let value = value.map(|value| append(&mut self.bytes, value));
        self.entries.push(Entry { table: table.number, key, value });
    }

    /// Ends the batch.
    pub fn freeze(self) -> FrozenBatch {
        FrozenBatch { bytes: self.bytes.into(), entries: self.entries }
    }
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}

/// A batch that is complete; its keys and values share one piece of memory.
#[derive(Clone, Debug)]
pub(super) struct FrozenBatch {
    bytes: Bytes,
    entries: Vec<Entry>,
}

impl FrozenBatch {
    /// Reads what [`Self::as_bytes`] gave.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the bytes are not entries, one after another, of known tables.
    pub fn decode(bytes: Bytes) -> Result<Self, StoreError> {
        let corrupt = |at: usize, what| StoreError::corrupt("journal", at.to_be_bytes(), what);
        let mut entries = Vec::new();
        let mut at = 0usize;
        while at < bytes.len() {
            let cut = || corrupt(at, "an entry is cut");
            let start = at.checked_add(ENTRY_HEADER).ok_or_else(cut)?;
            let Some(&[table, kind, k0, k1, v0, v1, v2, v3]) = bytes.get(at..start) else { return Err(cut()) };
            let value_len = usize::try_from(u32::from_le_bytes([v0, v1, v2, v3])).map_err(|_| cut())?;
            let middle = start.checked_add(usize::from(u16::from_le_bytes([k0, k1]))).ok_or_else(cut)?;
            let end = middle.checked_add(value_len).filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
            if usize::from(table) >= super::tables::COUNT {
                return Err(corrupt(at, "an entry of an unknown table"));
            }
            let value = match (kind, value_len) {
                (PUT, _) => Some(middle..end),
                (REMOVE, 0) => None,
                _ => return Err(corrupt(at, "an entry of an unknown kind")),
            };
            entries.push(Entry { table, key: start..middle, value });
            at = end;
        }
        Ok(Self { bytes, entries })
    }

    /// The batch as it stands in the journal.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its entries in order: number of the table, key, value or `None` for a removal.
    pub fn entries(&self) -> impl Iterator<Item = (u8, Bytes, Option<Bytes>)> + '_ {
        self.entries.iter().map(|entry| {
            let value = entry.value.clone().map(|range| self.bytes.slice(range));
            (entry.table, self.bytes.slice(entry.key.clone()), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tables, *};
    use proptest::{collection, prelude::*};

    proptest! {
        #[test]
        fn batches_round_trip(
            entries in collection::vec((0..tables::COUNT, collection::vec(any::<u8>(), 0..40), proptest::option::of(collection::vec(any::<u8>(), 0..90))), 0..20)
        ) {
            let mut batch = Batch::default();
            for (table, key, value) in &entries {
                match value {
                    Some(value) => batch.put(tables::ALL[*table], key, value),
                    None => batch.remove(tables::ALL[*table], key),
                }
            }
            let frozen = batch.freeze();
            let read = FrozenBatch::decode(frozen.as_bytes().to_vec().into()).expect("what was written");
            let found: Vec<_> = read
                .entries()
                .map(|(table, key, value)| (usize::from(table), key.to_vec(), value.map(|value| value.to_vec())))
                .collect();
            prop_assert_eq!(found, entries);
        }

        #[test]
        fn rubbish_never_panics(bytes in collection::vec(any::<u8>(), 0..200)) {
            let _ = FrozenBatch::decode(bytes.into());
        }
    }
}
