//! The files beneath: the system's, and in tests a disk that fails when it is told to.

use super::StoreError;
use redb::{Builder, Database, DatabaseError, StorageError};
use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
    sync::Arc,
};

/// The database's file in the data folder.
pub(super) const DATABASE_FILE: &str = "chain.redb";

/// Where files are opened.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What goes wrong; tests set it.
    #[cfg(test)]
    pub faults: super::faults::Faults,
}

/// A file that is open for reading and writing.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    disk: Arc<Disk>,
}

impl Disk {
    /// Opens a file, creating it if it is not there.
    pub fn open(self: &Arc<Self>, path: &Path) -> io::Result<DiskFile> {
        self.may(Access::Open)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file, disk: self.clone() })
    }

    /// Opens the database of a data folder.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests let it fail"))]
    pub fn open_database(self: &Arc<Self>, folder: &Path, page_cache_bytes: usize) -> Result<Database, StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(page_cache_bytes);
        #[cfg(not(test))]
        let opened = builder.create(folder.join(DATABASE_FILE));
        #[cfg(test)]
        let opened = super::faults::create(self, &builder, &folder.join(DATABASE_FILE));
        opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { folder: folder.to_owned() },
            DatabaseError::Storage(StorageError::Io(source)) => {
                StoreError::Folder { folder: folder.to_owned(), source }
            }
            error => error.into(),
        })
    }

    /// Makes the names of a folder's files durable.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.may(Access::Sync)?;
        // Elsewhere than on Unix a folder cannot be opened.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests let it fail")]
    const fn may(&self, _: Access) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn may(&self, access: Access) -> io::Result<()> {
        self.faults.may(access)
    }
}

/// What is done to a file, for the faults of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// A file is opened.
    Open,
    /// That many bytes are written.
    Write(usize),
    /// A file's length is set.
    SetLen,
    /// A file or folder is synced.
    Sync,
}

impl DiskFile {
    /// Writes at a place.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.may(Access::Write(bytes.len())).inspect_err(|_| {
            // A disk that fills up takes a part.
            let _ = write_at(&self.file, offset, &bytes[..bytes.len() / 2]);
        })?;
        write_at(&self.file, offset, bytes)
    }

    /// Cuts or extends the file.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.may(Access::SetLen)?;
        self.file.set_len(len)
    }

    /// Brings what was written to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.may(Access::Sync)?;
        self.file.sync_data()
    }
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
