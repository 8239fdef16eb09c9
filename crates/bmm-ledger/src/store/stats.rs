//! How much lies where.

use super::{
    Head, Store, StoreError, history,
    tables::{self, META_ARCHIVE, META_BODIES, META_PRUNED},
};
use redb::ReadableTableMetadata;
use std::path::Path;

/// One table on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Its name.
    pub name: &'static str,
    /// Entries.
    pub entries: u64,
    /// Bytes of keys and values.
    pub stored_bytes: u64,
    /// Bytes of the tree around them.
    pub overhead_bytes: u64,
    /// Bytes within pages that hold nothing.
    pub unused_bytes: u64,
    /// Levels of its tree.
    pub height: u32,
}

/// What lies in the tables, and what does not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// The head; `None` before genesis.
    pub head: Option<Head>,
    /// Number of the first block whose body is stored; those below came as headers only.
    pub oldest_body: u64,
    /// Number of the first block whose state diff is stored.
    pub oldest_diff: u64,
    /// Number of the first block in the archive of old states, if there is one.
    pub archive_from: Option<u64>,
    /// The tables.
    pub tables: Vec<TableStats>,
    /// Changes that lie in memory and in the journal, and are not in the tables yet.
    pub unflushed_entries: u64,
    /// Bytes of them.
    pub unflushed_bytes: u64,
}

/// Sizes of a store's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSizes {
    /// The database, in bytes.
    pub database: u64,
    /// Segments of the journal.
    pub segments: u64,
    /// Bytes in them.
    pub journal: u64,
}

impl Store {
    /// Counts what is stored. Walks the pages of all tables.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let snapshot = self.snapshot();
        let mut found = Vec::with_capacity(tables::COUNT);
        for table in tables::ALL {
            let open = snapshot.base().table(table);
            let stats = open.stats()?;
            found.push(TableStats {
                name: table.name,
                entries: open.len()?,
                stored_bytes: stats.stored_bytes(),
                overhead_bytes: stats.metadata_bytes(),
                unused_bytes: stats.fragmented_bytes(),
                height: stats.tree_height(),
            });
        }
        let sum = |count: fn(&super::layer::Layer) -> usize| {
            snapshot
                .layers()
                .iter()
                .fold(0u64, |sum, layer| sum.saturating_add(u64::try_from(count(layer)).unwrap_or(u64::MAX)))
        };
        let number = |key| history::number_in_meta(&snapshot, key);
        Ok(StoreStats {
            head: snapshot.head,
            oldest_body: number(META_BODIES)?.unwrap_or(0),
            oldest_diff: number(META_PRUNED)?.unwrap_or(0),
            archive_from: number(META_ARCHIVE)?,
            tables: found,
            unflushed_entries: sum(super::layer::Layer::len),
            unflushed_bytes: sum(|layer| layer.bytes),
        })
    }

    /// Measures the files of the store in `folder`; what is not there has no bytes.
    pub fn file_sizes(folder: &Path) -> FileSizes {
        let len = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let mut sizes = FileSizes { database: len(&folder.join(super::disk::DATABASE_FILE)), ..FileSizes::default() };
        let segments = std::fs::read_dir(folder.join(super::journal::FOLDER));
        for entry in segments.into_iter().flatten().flatten() {
            sizes.segments = sizes.segments.saturating_add(1);
            sizes.journal = sizes.journal.saturating_add(len(&entry.path()));
        }
        sizes
    }
}
