//! What the store says of itself, as values that travel between processes and to people.

use alloy_primitives::B256;
use bmm_ledger::store::{Backup, StoreStats};
use serde::{Deserialize, Serialize};

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Number of the copy's head.
    pub head: u64,
    /// Its id.
    pub head_id: B256,
    /// Entries that were copied.
    pub entries: u64,
    /// Length of the copy's file.
    pub bytes: u64,
}

/// What the tables hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsReport {
    /// Number of the head.
    pub head: u64,
    /// Its id.
    pub head_id: B256,
    /// Number of the first block whose body is stored.
    pub oldest_body: u64,
    /// Number of the first block whose state diff is stored.
    pub oldest_diff: u64,
    /// Number of the first block in the archive of old states.
    pub archive_from: Option<u64>,
    /// Changes that are in the journal and not in the tables yet.
    pub unflushed_entries: u64,
    /// Bytes of them.
    pub unflushed_bytes: u64,
    /// The tables.
    pub tables: Vec<TableReport>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// Entries.
    pub entries: u64,
    /// Bytes of keys and values.
    pub stored_bytes: u64,
    /// Bytes of the tree around them.
    pub overhead_bytes: u64,
    /// Bytes within its pages that hold nothing.
    pub unused_bytes: u64,
    /// Levels of its tree.
    pub height: u32,
}

impl From<&Backup> for BackupReport {
    fn from(backup: &Backup) -> Self {
        Self {
            head: backup.head.map_or(0, |head| head.number),
            head_id: backup.head.map_or(B256::ZERO, |head| head.id),
            entries: backup.entries,
            bytes: backup.bytes,
        }
    }
}

impl From<&StoreStats> for StatsReport {
    fn from(stats: &StoreStats) -> Self {
        let tables = stats.tables.iter().map(|table| TableReport {
            name: table.name.to_owned(),
            entries: table.entries,
            stored_bytes: table.stored_bytes,
            overhead_bytes: table.overhead_bytes,
            unused_bytes: table.unused_bytes,
            height: table.height,
        });
        Self {
            head: stats.head.map_or(0, |head| head.number),
            head_id: stats.head.map_or(B256::ZERO, |head| head.id),
            oldest_body: stats.oldest_body,
            oldest_diff: stats.oldest_diff,
            archive_from: stats.archive_from,
            unflushed_entries: stats.unflushed_entries,
            unflushed_bytes: stats.unflushed_bytes,
            tables: tables.collect(),
        }
    }
}

/// A node that is not spoken to for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanReport {
    /// Its id.
    pub peer: String,
    /// Seconds until it is spoken to again.
    pub secs_left: u64,
}
