//! A copy of the store while it is in use, and a smaller file for it.

use super::{
    Head, Store, StoreError,
    disk::DATABASE_FILE,
    tables::{self, META_HEAD, META_JOURNAL, META_SCHEMA},
};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTableMetadata};
use std::{fs::File, io, path::Path};

/// Bytes of keys and values that one transaction of a copy writes.
const BATCH_BYTES: usize = 32 << 20;

/// Memory for pages of the copy, in bytes.
const COPY_CACHE_BYTES: usize = 64 << 20;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The head of the copy.
    pub head: Option<Head>,
    /// Entries that were copied.
    pub entries: u64,
    /// Length of the copy's file.
    pub bytes: u64,
}

impl Store {
    /// Copies the store as it is now into `folder`, which must hold no database yet, while changes go on. `progress` gets the entries
    /// done and all there are, and says whether to go on.
    ///
    /// The copy is one moment of the store, needs no journal, and lies in its folder whole or not at all: it is written under another
    /// name first. It was opened and its head compared when this returns.
    ///
    /// # Errors
    /// [`StoreError::Folder`], also when told to stop ([`io::ErrorKind::Interrupted`]); the database's own.
    pub fn backup(&self, folder: &Path, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Backup, StoreError> {
        let in_folder = |source| StoreError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let (place, part) = (folder.join(DATABASE_FILE), folder.join("chain.redb.part"));
        if place.exists() {
            return Err(in_folder(io::Error::new(io::ErrorKind::AlreadyExists, "there is a database already")));
        }
        remove_if_there(&part).map_err(in_folder)?;
        self.core.flush()?;
        let copied = self.copy_tables(&part, progress);
        let Ok(Some(entries)) = copied else {
            remove_if_there(&part).map_err(in_folder)?;
            copied?;
            return Err(in_folder(io::Error::new(io::ErrorKind::Interrupted, "the copy was given up")));
        };
        std::fs::rename(&part, &place).map_err(in_folder)?;
        if cfg!(unix) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
        }
        let head = stored_head(&Builder::new().set_cache_size(COPY_CACHE_BYTES).open(&place)?)?;
        let bytes = std::fs::metadata(&place).map_err(in_folder)?.len();
        Ok(Backup { head, entries, bytes })
    }

    /// Copies the tables on the disk. `None` if told to stop.
    fn copy_tables(&self, part: &Path, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Option<u64>, StoreError> {
        let snapshot = self.snapshot();
        let base = snapshot.base();
        let mut whole = 0u64;
        for table in tables::ALL {
            whole = whole.saturating_add(base.table(table).len()?);
        }
        let copy = Builder::new().set_cache_size(COPY_CACHE_BYTES).create(part)?;
        let mut done = 0u64;
        // META comes last: without it the copy is no store.
        let order = tables::ALL.into_iter().filter(|table| *table != tables::META).chain([tables::META]);
        for table in order {
            let mut entries = base.table(table).range::<&[u8]>(..)?;
            let mut more = true;
            while more {
                let mut txn = copy.begin_write()?;
                txn.set_durability(Durability::Immediate)?;
                txn.set_quick_repair(true);
                let mut bytes = 0usize;
                {
                    let mut open = txn.open_table(table.definition())?;
                    while bytes < BATCH_BYTES && more {
                        let Some(entry) = entries.next() else {
                            more = false;
                            break;
                        };
                        let (key, value) = entry?;
                        done = done.saturating_add(1);
                        // The copy has no journal.
                        if table == tables::META && key.value() == META_JOURNAL {
                            continue;
                        }
                        open.insert(key.value(), value.value())?;
                        bytes = bytes.saturating_add(key.value().len()).saturating_add(value.value().len());
                    }
                }
                txn.commit()?;
                if !progress(done, whole) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(done))
    }

    /// Makes the database file in `folder` as small as it goes, and returns its length before and after. Nobody may have it open.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Folder`], or the database's own.
    pub fn compact(folder: &Path) -> Result<(u64, u64), StoreError> {
        let path = folder.join(DATABASE_FILE);
        let in_folder = |source| StoreError::Folder { folder: folder.to_owned(), source };
        let len = || std::fs::metadata(&path).map(|found| found.len()).map_err(in_folder);
        let before = len()?;
        let mut database = Builder::new().open(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { folder: folder.to_owned() },
            error => error.into(),
        })?;
        while database.compact()? {}
        drop(database);
        Ok((before, len()?))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn stored_head(database: &Database) -> Result<Option<Head>, StoreError> {
    let meta = database.begin_read()?.open_table(tables::META.definition())?;
    if meta.get(META_SCHEMA)?.is_none() {
        return Err(StoreError::corrupt("meta", META_SCHEMA, "entry of the copy is missing"));
    }
    meta.get(META_HEAD)?.map(|bytes| Head::from_bytes("meta", META_HEAD, bytes.value())).transpose()
}
