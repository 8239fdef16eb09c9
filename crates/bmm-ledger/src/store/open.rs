//! Opening the database: whose it is, and whether this program can read it.

use super::{
    SCHEMA_VERSION, Store, StoreError,
    cache::{Generations, TrieCache},
    snapshot::Snapshot,
    tables::{self, META_PARAMS, META_SCHEMA},
};
use alloy_primitives::B256;
use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, DatabaseError, backends::InMemoryBackend};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The database's file in the data folder.
const FILE_NAME: &str = "chain.redb";

/// Memory for database pages, in bytes.
const PAGE_CACHE_BYTES: usize = 512 << 20;

/// Contracts whose analysed code is kept, in a generation.
const CODE_GENERATION: usize = 512;

impl Store {
    /// Opens the database in `folder`, creating both if needed, for the chain whose parameters have the digest `params`.
    ///
    /// # Errors
    /// [`StoreError::Folder`], [`StoreError::InUse`], [`StoreError::OtherChain`], [`StoreError::OtherSchema`], or the
    /// database's own.
    pub fn open(folder: &Path, params: B256) -> Result<Self, StoreError> {
        let in_folder = |source| StoreError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let db = match Builder::new().set_cache_size(PAGE_CACHE_BYTES).create(folder.join(FILE_NAME)) {
            Ok(db) => db,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse { folder: folder.to_owned() }),
            Err(DatabaseError::Storage(redb::StorageError::Io(source))) => return Err(in_folder(source)),
            Err(error) => return Err(error.into()),
        };
        Self::from_database(db, folder.to_owned(), params)
    }

    /// Makes an empty store in memory, for tests and dry runs.
    pub fn in_memory(params: B256) -> Result<Self, StoreError> {
        let db = Builder::new().create_with_backend(InMemoryBackend::new())?;
        Self::from_database(db, PathBuf::from("(memory)"), params)
    }

    fn from_database(db: Database, folder: PathBuf, params: B256) -> Result<Self, StoreError> {
        identify(&db, folder, params)?;
        let snapshot = Snapshot::take(&db)?;
        Ok(Self {
            trie_cache: TrieCache::new(snapshot.head_id()),
            snapshot: RwLock::new(Arc::new(snapshot)),
            codes: Arc::new(Mutex::new(Generations::new(CODE_GENERATION))),
            writer: Mutex::new(()),
            db,
        })
    }
}

/// Checks layout and chain of an existing database; marks a new one and creates its tables.
fn identify(db: &Database, folder: PathBuf, params: B256) -> Result<(), StoreError> {
    let txn = db.begin_write()?;
    {
        let mut meta = txn.open_table(tables::META)?;
        match tables::get(&meta, META_SCHEMA)? {
            None => {
                meta.insert(META_SCHEMA, SCHEMA_VERSION.to_be_bytes().as_slice())?;
                meta.insert(META_PARAMS, params.as_slice())?;
            }
            Some(bytes) => {
                let found = u64::from_be_bytes(tables::fixed("meta", META_SCHEMA, &bytes)?);
                if found != SCHEMA_VERSION {
                    return Err(StoreError::OtherSchema { folder, found, known: SCHEMA_VERSION });
                }
                let found = tables::get(&meta, META_PARAMS)?.unwrap_or_default();
                let found = B256::from(tables::fixed::<32>("meta", META_PARAMS, &found)?);
                if found != params {
                    return Err(StoreError::OtherChain { folder, found, wanted: params });
                }
                return Ok(());
            }
        }
    }
    for table in tables::ALL {
        txn.open_table(table)?;
    }
    Ok(txn.commit()?)
}
