//! The store: content on disk under a limit. What was used longest ago goes first; what is pinned never goes.

use bmm_types::{ContentHash, market::Content};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// Numbers the files that are being written.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Says why content cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("the content store at {path}: {error}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no room, and everything that is here is in use.
    #[error("{wanted} bytes do not fit into the {limit} bytes of the content store, of which {used} are in use")]
    Full {
        /// Bytes to be kept.
        wanted: u64,
        /// Bytes in all.
        limit: u64,
        /// Bytes that cannot go.
        used: u64,
    },
}

#[derive(Debug)]
struct Entry {
    size: u64,
    /// When it was last used, by the store's own count.
    used: u64,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<ContentHash, Entry>,
    pins: HashMap<ContentHash, u32>,
    /// Bytes of all entries.
    bytes: u64,
    /// Bytes that are on their way.
    reserved: u64,
    /// What they are.
    arriving: HashSet<ContentHash>,
    count: u64,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    state: Mutex<State>,
}

/// Content on disk, each a file named by its CID.
#[derive(Clone, Debug)]
pub struct ContentStore(Arc<Inner>);

/// Keeps some content from being dropped, here already or not yet.
#[derive(Debug)]
pub struct Pin {
    store: Arc<Inner>,
    hash: ContentHash,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        if let Some(count) = state.pins.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.hash);
            }
        }
    }
}

/// Room for content that is on its way.
#[derive(Debug)]
pub(super) struct Reservation {
    store: Arc<Inner>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

impl ContentStore {
    /// Opens the store in `dir`, which is made if it is not there; unfinished content of an earlier process is kept to go on with.
    pub fn open(dir: &Path, limit_bytes: u64) -> Result<Self, StoreError> {
        let failed = |error| StoreError::Io { path: dir.to_owned(), error };
        fs::create_dir_all(dir.join("partial")).map_err(failed)?;
        let mut found: Vec<(SystemTime, ContentHash, u64)> = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let hash = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let metadata = entry.metadata().map_err(failed)?;
            if let Some(hash) = hash.filter(|_| metadata.is_file()) {
                found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), hash, metadata.len()));
            }
        }
        found.sort_unstable();
        let mut state = State::default();
        for (_, hash, size) in found {
            state.enter(hash, size);
        }
        let store = Self(Arc::new(Inner { dir: dir.to_owned(), limit: limit_bytes, state: Mutex::new(state) }));
        // The limit may have been lowered; what cannot go now goes later.
        let _ = store.0.make_room(&mut store.0.state.lock(), 0);
        store.0.prune_partials(&store.0.state.lock());
        Ok(store)
    }

    /// Returns the file of some content, if it is here, and counts it as used now.
    pub fn find(&self, hash: ContentHash) -> Option<PathBuf> {
        let mut state = self.0.state.lock();
        state.count += 1;
        let count = state.count;
        state.entries.get_mut(&hash)?.used = count;
        Some(self.0.path(hash))
    }

    /// Whether some content is here.
    pub fn has(&self, content: Content) -> bool {
        self.0.state.lock().entries.get(&content.hash).is_some_and(|entry| entry.size == content.size)
    }

    /// Reads content and holds it against its name; what a disk has damaged is dropped and counts as not here.
    pub fn read(&self, hash: ContentHash) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.find(hash) else { return Ok(None) };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        if ContentHash::of(&bytes) == hash {
            return Ok(Some(bytes));
        }
        self.remove(hash);
        Ok(None)
    }

    /// Keeps bytes.
    pub fn put(&self, bytes: &[u8]) -> Result<ContentHash, StoreError> {
        let content = Content::of(bytes);
        if self.has(content) {
            return Ok(content.hash);
        }
        let reservation = self.reserve(content.size)?;
        // Written beside and renamed, so that no half of it is ever seen; several may do so at once.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = self.partial(content.hash).with_extension(format!("put{number}"));
        let kept = fs::write(&beside, bytes).map_err(|error| self.0.failed(error));
        let kept = kept.and_then(|()| self.take_in(&beside, content, reservation));
        if let Err(error) = kept {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        Ok(content.hash)
    }

    /// Drops content.
    pub fn remove(&self, hash: ContentHash) {
        let mut state = self.0.state.lock();
        self.0.drop_entry(&mut state, hash);
    }

    /// Keeps some content from being dropped while the pin lives.
    pub fn pin(&self, hash: ContentHash) -> Pin {
        *self.0.state.lock().pins.entry(hash).or_default() += 1;
        Pin { store: self.0.clone(), hash }
    }

    /// Returns the bytes of everything that is here.
    pub fn bytes(&self) -> u64 {
        self.0.state.lock().bytes
    }

    /// Makes room for content that is on its way.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        let mut state = self.0.state.lock();
        self.0.make_room(&mut state, bytes)?;
        state.reserved += bytes;
        Ok(Reservation { store: self.0.clone(), bytes })
    }

    /// Returns where unfinished content lies.
    pub(super) fn partial(&self, hash: ContentHash) -> PathBuf {
        self.0.dir.join("partial").join(hash.to_string())
    }

    /// Takes a finished file in.
    pub(super) fn take_in(&self, file: &Path, content: Content, mut room: Reservation) -> Result<(), StoreError> {
        let mut state = self.0.state.lock();
        fs::rename(file, self.0.path(content.hash)).map_err(|error| self.0.failed(error))?;
        // From here on it counts as an entry.
        state.reserved = state.reserved.saturating_sub(std::mem::take(&mut room.bytes));
        state.enter(content.hash, content.size);
        Ok(())
    }

    /// Says that content begins or ends to be on its way.
    pub(super) fn set_arriving(&self, hash: ContentHash, arriving: bool) {
        let mut state = self.0.state.lock();
        if arriving {
            state.arriving.insert(hash);
        } else {
            state.arriving.remove(&hash);
            self.0.prune_partials(&state);
        }
    }
}

impl State {
    fn enter(&mut self, hash: ContentHash, size: u64) {
        self.count += 1;
        if let Some(old) = self.entries.insert(hash, Entry { size, used: self.count }) {
            self.bytes = self.bytes.saturating_sub(old.size);
        }
        self.bytes = self.bytes.saturating_add(size);
    }
}

impl Inner {
    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::Io { path: self.dir.clone(), error }
    }

    /// Drops the oldest unfinished content, and what puts left behind, until the rest is an eighth of the limit at most.
    fn prune_partials(&self, state: &State) {
        let Ok(entries) = fs::read_dir(self.dir.join("partial")) else { return };
        let mut idle: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let hash = name.to_str().and_then(|name| name.split('.').next()).and_then(|name| name.parse().ok());
            if hash.is_some_and(|hash| state.arriving.contains(&hash)) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            idle.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), path, metadata.len()));
        }
        idle.sort_unstable();
        let mut bytes: u64 = idle.iter().map(|(_, _, len)| len).sum();
        for (_, path, len) in idle {
            if bytes <= self.limit / 8 {
                break;
            }
            let _ = fs::remove_file(path);
            bytes = bytes.saturating_sub(len);
        }
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.dir.join(hash.to_string())
    }

    fn drop_entry(&self, state: &mut State, hash: ContentHash) {
        if let Some(entry) = state.entries.remove(&hash) {
            state.bytes = state.bytes.saturating_sub(entry.size);
            let _ = fs::remove_file(self.path(hash));
        }
    }

    /// Drops what was used longest ago until `bytes` more fit.
    fn make_room(&self, state: &mut State, bytes: u64) -> Result<(), StoreError> {
        let over = |state: &State| state.bytes.saturating_add(state.reserved).saturating_add(bytes) > self.limit;
        if !over(state) {
            return Ok(());
        }
        let mut idle: Vec<(u64, ContentHash)> = state
            .entries
            .iter()
            .filter(|(hash, _)| !state.pins.contains_key(*hash))
            .map(|(hash, entry)| (entry.used, *hash))
            .collect();
        idle.sort_unstable();
        for (_, hash) in idle {
            self.drop_entry(state, hash);
            if !over(state) {
                return Ok(());
            }
        }
        let used = state.bytes.saturating_add(state.reserved);
        Err(StoreError::Full { wanted: bytes, limit: self.limit, used })
    }
}
