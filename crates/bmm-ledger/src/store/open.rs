//! Opening the database: whose it is, whether this program can read it, and what the journal holds beyond it.

use super::{
    History, SCHEMA_VERSION, Store, StoreError,
    batch::FrozenBatch,
    cache::{DEFAULT_NODE_BYTES, Generations, TrieCache},
    disk::Disk,
    flush::{Core, FlushLimits},
    journal::{Journal, Replay},
    layer::{Layer, TrieRecords},
    snapshot::{Base, Snapshot},
    source::{SnapshotTrie, encode_account},
    stage::usual_threads,
    tables::{self, META_JOURNAL, META_PARAMS, META_SCHEMA, Record},
};
use crate::trie::{Batch, EMPTY_ROOT_HASH, update};
use alloy_primitives::{B256, U256};
use parking_lot::Mutex;
use redb::{Builder, Database, ReadableTable, backends::InMemoryBackend};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// Contracts whose analysed code is kept, in a generation.
const CODE_GENERATION: usize = 512;

/// What the operator of a store may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How much of the past is kept.
    pub history: History,
    /// Memory for pages of the database, in bytes.
    pub page_cache_bytes: usize,
    /// Memory for nodes of the tries, in bytes. With ten million accounts all nodes take some 800 MiB.
    pub trie_cache_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { history: History::default(), page_cache_bytes: 512 << 20, trie_cache_bytes: DEFAULT_NODE_BYTES }
    }
}

impl Store {
    /// Opens the database in `folder` with the usual options. See [`Self::open_with`].
    pub fn open(folder: &Path, params: B256) -> Result<Self, StoreError> {
        Self::open_with(folder, params, StoreOptions::default())
    }

    /// Opens the database in `folder`, creating both if needed, for the chain whose parameters have the digest `params`.
    ///
    /// # Errors
    /// [`StoreError::Folder`], [`StoreError::InUse`], [`StoreError::OtherChain`], [`StoreError::OtherSchema`],
    /// [`StoreError::Journal`], [`StoreError::Corrupt`] when the journal is damaged before its end, or the database's own.
    pub fn open_with(folder: &Path, params: B256, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_on(&Arc::new(Disk::default()), folder, params, options, FlushLimits::default())
    }

    pub(super) fn open_on(
        disk: &Arc<Disk>,
        folder: &Path,
        params: B256,
        options: StoreOptions,
        limits: FlushLimits,
    ) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })?;
        let db = disk.open_database(folder, options.page_cache_bytes)?;
        let first = identify(&db, folder.to_owned(), params)?;
        let Replay { journal, batches } = Journal::open(disk, folder, first)?;
        let base = Arc::new(Base::take(&db)?);
        let snapshot = replay(base, &batches)?;
        let mut store = Self::over(Core::new(db, snapshot, Some(journal), limits), options);
        store.flusher = Some(start_flusher(&store.core, folder)?);
        Ok(store)
    }

    /// Makes an empty store in memory, for tests and dry runs.
    pub fn in_memory(params: B256) -> Result<Self, StoreError> {
        Self::in_memory_with(params, StoreOptions::default())
    }

    /// Makes an empty store in memory with options.
    pub fn in_memory_with(params: B256, options: StoreOptions) -> Result<Self, StoreError> {
        let db = Builder::new().create_with_backend(InMemoryBackend::new())?;
        identify(&db, PathBuf::from("(memory)"), params)?;
        let snapshot = Snapshot::new(Arc::new(Base::take(&db)?), Vec::new())?;
        Ok(Self::over(Core::new(db, snapshot, None, FlushLimits::default()), options))
    }

    pub(super) fn over(core: Core, options: StoreOptions) -> Self {
        Self {
            trie_cache: TrieCache::new(core.snapshot().head_id(), options.trie_cache_bytes),
            codes: Arc::new(Mutex::new(Generations::new(CODE_GENERATION))),
            options,
            core: Arc::new(core),
            flusher: None,
        }
    }
}

/// Starts the thread that writes the tables.
pub(super) fn start_flusher(core: &Arc<Core>, folder: &Path) -> Result<thread::JoinHandle<()>, StoreError> {
    let core = core.clone();
    let flusher = thread::Builder::new().name("flush".into()).spawn(move || core.flush_for_ever());
    flusher.map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })
}

/// Checks layout and chain of an existing database; marks a new one and creates its tables. Returns the first segment of the journal
/// that is not in the tables.
pub(super) fn identify(db: &Database, folder: PathBuf, params: B256) -> Result<u64, StoreError> {
    let txn = db.begin_write()?;
    {
        let mut meta = txn.open_table(tables::META.definition())?;
        let get = |key: &[u8]| -> Result<Option<Vec<u8>>, StoreError> {
            Ok(meta.get(key)?.map(|guard| guard.value().to_vec()))
        };
        if let Some(bytes) = get(META_SCHEMA)? {
            let found = u64::from_be_bytes(tables::fixed("meta", META_SCHEMA, &bytes)?);
            if found != SCHEMA_VERSION {
                return Err(StoreError::OtherSchema { folder, found, known: SCHEMA_VERSION });
            }
            let found = B256::from(tables::fixed::<32>("meta", META_PARAMS, &get(META_PARAMS)?.unwrap_or_default())?);
            if found != params {
                return Err(StoreError::OtherChain { folder, found, wanted: params });
            }
            let first = get(META_JOURNAL)?.map(|bytes| tables::fixed("meta", META_JOURNAL, &bytes)).transpose()?;
            return Ok(first.map_or(0, u64::from_be_bytes));
        }
        meta.insert(META_SCHEMA, SCHEMA_VERSION.to_be_bytes().as_slice())?;
        meta.insert(META_PARAMS, params.as_slice())?;
    }
    for table in tables::ALL {
        txn.open_table(table.definition())?;
    }
    txn.commit()?;
    Ok(0)
}

/// Lays what the journal holds over the tables, as one layer, and works out the tries' nodes, which the journal leaves out. That the
/// root is the head's state root shows that nothing is missing.
fn replay(base: Arc<Base>, batches: &[FrozenBatch]) -> Result<Snapshot, StoreError> {
    let below = Snapshot::new(base, Vec::new())?;
    if batches.is_empty() {
        return Ok(below);
    }
    let mut merged = Layer::of(batches, TrieRecords::default());
    let (root, records) = rebuild(&below, &merged)?;
    merged.set_records(records);
    let snapshot = Snapshot::new(below.base().clone(), vec![Arc::new(merged)])?;
    if let Some(head) = snapshot.head {
        let header = snapshot.header(head.id)?;
        if header.is_none_or(|header| header.state_root != root) {
            let what = format!("does not lead to the state root of the head, block {}", head.number);
            return Err(StoreError::corrupt("journal", head.id, what));
        }
    }
    Ok(snapshot)
}

/// Works out what a layer's flat changes do to the tries below.
fn rebuild(below: &Snapshot, changes: &Layer) -> Result<(B256, TrieRecords), StoreError> {
    let mut records = TrieRecords::default();
    let mut slots: BTreeMap<B256, Batch> = BTreeMap::new();
    for key in changes.keys(tables::STORAGE) {
        let owner = B256::from_slice(key.get(..32).unwrap_or_default());
        let slot = B256::from(tables::fixed::<32>("storage", key, key.get(32..).unwrap_or_default())?);
        let value = changes.get(tables::STORAGE, key).and_then(Option::as_ref);
        let value: Option<U256> = value.map(|bytes| tables::word_from_bytes(key, bytes)).transpose()?;
        slots.entry(owner).or_default().set(slot, value.map(alloy_rlp::encode).as_deref());
    }
    for (owner, batch) in slots {
        let outcome = update(&SnapshotTrie::new(below, Some(owner)), &batch, usual_threads())?;
        let record = changes.get(tables::ACCOUNTS, owner.as_slice()).and_then(Option::as_ref);
        let record = record.map(|bytes| Record::from_bytes(owner.as_slice(), bytes)).transpose()?;
        if record.map_or(EMPTY_ROOT_HASH, |record| record.storage_root) != outcome.root {
            return Err(StoreError::corrupt("journal", owner, "slots do not lead to their account's storage root"));
        }
        records.extend(outcome.nodes.into_iter().map(|(path, node)| ((Some(owner), path), node)));
    }
    let mut batch = Batch::default();
    for key in changes.keys(tables::ACCOUNTS) {
        let owner = B256::from(tables::fixed::<32>("accounts", key, key)?);
        let record = changes.get(tables::ACCOUNTS, key).and_then(Option::as_ref);
        let record = record.map(|bytes| Record::from_bytes(key, bytes)).transpose()?;
        batch.push(owner, false, |out| {
            if let Some(record) = record {
                encode_account(&record, out);
            }
        });
    }
    let outcome = update(&SnapshotTrie::new(below, None), &batch, usual_threads())?;
    records.extend(outcome.nodes.into_iter().map(|(path, node)| ((None, path), node)));
    Ok((outcome.root, records))
}
