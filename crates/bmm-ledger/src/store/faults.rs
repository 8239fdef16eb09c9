//! A disk that fails when a test says so.

use super::disk::{Access, Disk};
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};
use std::{
    fs::OpenOptions,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

/// Never.
const NEVER: i64 = i64::MAX;

/// What goes wrong, and when.
#[derive(Debug)]
pub struct Faults {
    /// Accesses until every one fails, as those of a disk that was pulled.
    accesses: AtomicI64,
    /// Bytes until the disk is full.
    room: AtomicI64,
    /// Syncs until one fails.
    syncs: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { accesses: AtomicI64::new(NEVER), room: AtomicI64::new(NEVER), syncs: AtomicI64::new(NEVER) }
    }
}

impl Faults {
    /// Lets every access fail after so many.
    pub fn fail_after(&self, accesses: i64) {
        self.accesses.store(accesses, Relaxed);
    }

    /// Lets the disk be full after so many bytes.
    pub fn fill_after(&self, bytes: i64) {
        self.room.store(bytes, Relaxed);
    }

    /// Lets every sync fail after so many.
    pub fn fail_sync_after(&self, syncs: i64) {
        self.syncs.store(syncs, Relaxed);
    }

    /// Makes the disk sound again.
    pub fn heal(&self) {
        for count in [&self.accesses, &self.room, &self.syncs] {
            count.store(NEVER, Relaxed);
        }
    }

    /// Says whether an access may be.
    pub fn may(&self, access: Access) -> io::Result<()> {
        let spend = |count: &AtomicI64, amount: i64| {
            count.load(Relaxed) == NEVER || count.fetch_sub(amount, Relaxed).saturating_sub(amount) >= 0
        };
        let fine = match access {
            Access::Write(bytes) => {
                let bytes = i64::try_from(bytes).expect("short");
                let had = self.room.load(Relaxed);
                if had != NEVER && had < bytes {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                spend(&self.room, bytes)
            }
            Access::Sync => spend(&self.syncs, 1),
            Access::Open | Access::SetLen => true,
        };
        if fine && spend(&self.accesses, 1) { Ok(()) } else { Err(io::Error::other("the disk fails")) }
    }
}

/// The database's file on such a disk.
#[derive(Debug)]
struct FaultyFile {
    file: FileBackend,
    disk: Arc<Disk>,
}

/// Opens a database on a disk that may fail.
pub fn create(disk: &Arc<Disk>, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    builder.create_with_backend(FaultyFile { file: FileBackend::new(file)?, disk: disk.clone() })
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.faults.may(Access::SetLen)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.faults.may(Access::Sync)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.faults.may(Access::Write(data.len()))?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
