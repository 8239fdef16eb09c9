//! From memory to the tables: every now and then all layers so far go into the database in one transaction.
//!
//! Many blocks change the same accounts and the same nodes of the trie, so that writing them together writes far less. Imports go on
//! meanwhile: they add layers, and the journal has begun a new segment. When the transaction is on the disk, its layers and their
//! segments go.

use super::{
    StoreError,
    batch::{Batch, FrozenBatch},
    journal::Journal,
    layer::{Layer, TrieRecords},
    snapshot::{Base, Snapshot},
    tables::{self, Table},
};
use parking_lot::{Condvar, Mutex, RwLock};
use redb::{Database, Durability, WriteTransaction};
use std::{
    cmp::Reverse,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Layers of the same number of batches that are made one.
const MERGE_FAN: usize = 4;

/// Pause after a flush that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// When layers go to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlushLimits {
    /// Entries in memory from which on they are flushed. Reading that many back takes a start about a second.
    pub entries: usize,
    /// Bytes of batches, likewise.
    pub bytes: usize,
    /// Age of the oldest entry, likewise.
    pub age: Duration,
    /// Changes wait while this many times as much lies in memory.
    pub stall_factor: usize,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { entries: 200_000, bytes: 64 << 20, age: Duration::from_secs(10), stall_factor: 3 }
    }
}

/// The changing part of a store.
pub(super) struct Core {
    /// What reads see; replaced after every change.
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held from the beginning of a change until its snapshot is in place.
    writer: Mutex<Writer>,
    /// One flush at a time.
    flushing: Mutex<()>,
    state: Mutex<FlushState>,
    changed: Condvar,
    limits: FlushLimits,
    /// Whether a thread flushes; else it is done by whoever made the change.
    threaded: bool,
    /// It stands after `snapshot`, whose tables must go before the database closes.
    db: Database,
}

/// What only who changes the store touches.
struct Writer {
    journal: Option<Journal>,
    /// The first so many layers are being flushed, and stay as they are.
    frozen: usize,
}

#[derive(Default)]
struct FlushState {
    /// When the oldest layer came.
    since: Option<Instant>,
    /// What the last flush failed of.
    failed: Option<(Instant, String)>,
    stop: bool,
}

impl Core {
    pub fn new(db: Database, snapshot: Snapshot, journal: Option<Journal>, limits: FlushLimits) -> Self {
        let threaded = journal.is_some();
        // What was read back goes to the tables at once: a node that is killed again and again must not read more each time.
        let since = (!snapshot.layers().is_empty()).then(|| Instant::now().checked_sub(limits.age)).flatten();
        Self {
            snapshot: RwLock::new(Arc::new(snapshot)),
            writer: Mutex::new(Writer { journal, frozen: 0 }),
            flushing: Mutex::default(),
            state: Mutex::new(FlushState { since, ..FlushState::default() }),
            changed: Condvar::new(),
            limits,
            threaded,
            db,
        }
    }

    /// As [`Self::new`], with a thread that flushes and without a journal: what is not flushed when the process ends is lost.
    pub fn without_journal(db: Database, snapshot: Snapshot, limits: FlushLimits) -> Self {
        Self { threaded: true, ..Self::new(db, snapshot, None, limits) }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().clone()
    }

    /// Makes one change: `work` looks at what is there and fills the batch. It is durable when this returns, unless `sync` is
    /// false: then after the next change that is, or [`Self::sync`]. An error leaves everything as it was.
    pub fn change(
        &self,
        sync: bool,
        work: impl FnOnce(&Snapshot, &mut Batch) -> Result<TrieRecords, StoreError>,
    ) -> Result<(), StoreError> {
        self.wait_for_room()?;
        {
            let mut writer = self.writer.lock();
            let snapshot = self.snapshot();
            let mut batch = Batch::default();
            let records = work(&snapshot, &mut batch)?;
            let batch: FrozenBatch = batch.freeze();
            if let Some(journal) = writer.journal.as_mut() {
                journal.append(&batch, sync)?;
            }
            let mut layers = snapshot.layers().to_vec();
            layers.push(Arc::new(Layer::new(&batch, records)));
            merge_tail(&mut layers, writer.frozen);
            *self.snapshot.write() = Arc::new(Snapshot::new(snapshot.base().clone(), layers)?);
        }
        self.state.lock().since.get_or_insert_with(Instant::now);
        if self.is_full(1) {
            if self.threaded {
                self.changed.notify_all();
            } else {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Brings all changes so far to the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.writer.lock().journal.as_mut().map_or(Ok(()), Journal::sync)
    }

    /// Whether so much lies in memory that it should be flushed, times `factor`.
    fn is_full(&self, factor: usize) -> bool {
        let snapshot = self.snapshot();
        let sum = |count: fn(&Layer) -> usize| {
            snapshot.layers().iter().fold(0usize, |sum, layer| sum.saturating_add(count(layer)))
        };
        sum(Layer::len) >= self.limits.entries.saturating_mul(factor)
            || sum(|layer| layer.bytes) >= self.limits.bytes.saturating_mul(factor)
    }

    /// Lets a change wait while the disk is behind.
    fn wait_for_room(&self) -> Result<(), StoreError> {
        while self.threaded && self.is_full(self.limits.stall_factor) {
            let mut state = self.state.lock();
            if let Some((_, what)) = &state.failed {
                return Err(StoreError::Flush(what.clone()));
            }
            self.changed.notify_all();
            self.changed.wait_for(&mut state, Duration::from_millis(100));
        }
        Ok(())
    }

    /// Writes all layers so far into the tables.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.flushing.lock();
        let (frozen, segment) = {
            let mut writer = self.writer.lock();
            let frozen = self.snapshot().layers().to_vec();
            if frozen.is_empty() {
                return Ok(());
            }
            let segment = writer.journal.as_mut().map(Journal::rotate).transpose()?;
            writer.frozen = frozen.len();
            self.state.lock().since = None;
            (frozen, segment)
        };
        let written = self.write_tables(&frozen, segment);
        let base = written.and_then(|()| Base::take(&self.db));
        let mut writer = self.writer.lock();
        writer.frozen = 0;
        let layers = self.snapshot().layers().get(frozen.len()..).unwrap_or_default().to_vec();
        *self.snapshot.write() = Arc::new(Snapshot::new(Arc::new(base?), layers)?);
        if let (Some(journal), Some(segment)) = (&writer.journal, segment) {
            journal.forget_before(segment);
        }
        Ok(())
    }

    fn write_tables(&self, layers: &[Arc<Layer>], segment: Option<u64>) -> Result<(), StoreError> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        // Keeps the map of free pages in the file, so that opening after a crash need not walk all of it.
        txn.set_quick_repair(true);
        let mut waiting = tables::ALL;
        waiting.sort_by_key(|table| Reverse(layers.iter().map(|layer| layer.changes(*table)).sum::<usize>()));
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), StoreError> {
            while let Some(table) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
                write_table(&txn, layers, *table)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let other = scope.spawn(work);
            let own = work();
            own.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        if let Some(segment) = segment {
            let mut meta = txn.open_table(tables::META.definition())?;
            meta.insert(tables::META_JOURNAL, segment.to_be_bytes().as_slice())?;
        }
        Ok(txn.commit()?)
    }

    /// Writes into the tables behind the store's back.
    #[cfg(test)]
    pub fn tamper(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.flush()?;
        let txn = self.db.begin_write()?;
        work(&txn)?;
        txn.commit()?;
        *self.snapshot.write() = Arc::new(Snapshot::new(Arc::new(Base::take(&self.db)?), Vec::new())?);
        Ok(())
    }

    /// What the thread does: flushes when it is time, until it is told to stop.
    pub fn flush_for_ever(&self) {
        loop {
            {
                let mut state = self.state.lock();
                if state.stop {
                    return;
                }
                let aged = state.since.is_some_and(|since| since.elapsed() >= self.limits.age);
                let resting = state.failed.as_ref().is_some_and(|(when, _)| when.elapsed() < RETRY_AFTER);
                if resting || !(aged || self.is_full(1)) {
                    self.changed.wait_for(&mut state, Duration::from_millis(500));
                    continue;
                }
            }
            // A thread that died would leave imports waiting for ever.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| self.flush()))
                .unwrap_or_else(|_| Err(StoreError::Flush("it panicked: see the log, and restart the node".into())));
            let mut state = self.state.lock();
            state.failed = result.err().map(|error| {
                tracing::error!(%error, "the newest blocks stay in the journal: they cannot be written to the database");
                (Instant::now(), error.to_string())
            });
            if state.failed.is_some() {
                state.since.get_or_insert_with(Instant::now);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Tells the thread to stop.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }
}

/// Writes the changes of one table. A transaction's tables may be written by different threads at once.
fn write_table(txn: &WriteTransaction, layers: &[Arc<Layer>], table: Table) -> Result<(), StoreError> {
    let mut open = txn.open_table(table.definition())?;
    // Keys ascend, so that neighbours meet in the same pages.
    for (key, value) in Layer::newest(layers, table) {
        match value {
            Some(value) => open.insert(key.as_ref(), value.as_ref())?,
            None => open.remove(key.as_ref())?,
        };
    }
    for ((owner, path), node) in Layer::newest_records(layers, table) {
        let key = tables::path_key(owner.as_ref(), path);
        match node {
            Some(node) => open.insert(key.as_slice(), node.record())?,
            None => open.remove(key.as_slice())?,
        };
    }
    Ok(())
}

/// Makes one of the last layers as long as they are of the same number of batches, so that reads look into few. The first `frozen` stay
/// as they are.
fn merge_tail(layers: &mut Vec<Arc<Layer>>, frozen: usize) {
    while let Some(start) = layers.len().checked_sub(MERGE_FAN).filter(|start| *start >= frozen) {
        let tail = layers.get(start..).unwrap_or_default();
        let Some(first) = tail.first() else { return };
        if tail.iter().any(|layer| layer.batches != first.batches) {
            return;
        }
        let merged = Layer::merge(tail);
        layers.truncate(start);
        layers.push(Arc::new(merged));
    }
}
