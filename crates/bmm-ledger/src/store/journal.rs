//! The journal: every change, appended and synced before it is acknowledged, until it is in the tables.
//!
//! Segments are files `journal/NNNN….log`: a header (magic, version, number of the segment), then records (magic, length, CRC-32,
//! running number, batch). A new segment begins with every flush; the segments of what is in the tables are removed. A crash can cut the
//! last record only, which then was never acknowledged: it is taken off. A bad record with good ones behind it is damage, and is
//! reported as such.

use super::{
    StoreError,
    batch::{FrozenBatch, MAX_BATCH_BYTES},
    disk::{Disk, DiskFile},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Folder of the segments, in the data folder.
pub(super) const FOLDER: &str = "journal";
const SEGMENT_MAGIC: [u8; 8] = *b"BMMJRNL1";
const SEGMENT_HEADER: usize = 16;
const HEADER_LEN: u64 = 16;
const RECORD_MAGIC: [u8; 4] = *b"rec\n";
/// Magic, length of the batch (4), CRC-32 of number and batch (4), running number (8).
const RECORD_HEADER: usize = 20;

/// The journal, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<Disk>,
    folder: PathBuf,
    segment: u64,
    file: DiskFile,
    /// Bytes of the segment that hold.
    len: u64,
    /// Running number of the next record.
    next: u64,
    unsynced: bool,
    /// Why nothing more can be appended.
    broken: Option<String>,
}

/// What the journal held when it was opened.
pub(super) struct Replay {
    pub journal: Journal,
    /// The batches that are not in the tables, in order.
    pub batches: Vec<FrozenBatch>,
}

impl Journal {
    /// Opens the journal of a data folder, whose segments before `first` are in the tables, and reads the rest.
    ///
    /// # Errors
    /// [`StoreError::Journal`] when a file cannot be read, [`StoreError::Corrupt`] when a record before the last is damaged or a
    /// segment is missing.
    pub fn open(disk: &Arc<Disk>, data: &Path, first: u64) -> Result<Replay, StoreError> {
        let folder = data.join(FOLDER);
        let failed = |source| StoreError::Journal { file: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|name| name.parse().ok());
            match number {
                Some(number) if number >= first => segments.push(number),
                // Its removal was interrupted.
                Some(number) => std::fs::remove_file(path(&folder, number)).map_err(failed)?,
                None => {}
            }
        }
        segments.sort_unstable();
        // One that was begun and never written to does not end the one before it.
        while let [.., _, last] = segments[..]
            && std::fs::metadata(path(&folder, last)).map_err(failed)?.len() <= HEADER_LEN
        {
            std::fs::remove_file(path(&folder, last)).map_err(failed)?;
            segments.pop();
        }
        if segments.is_empty() {
            let (file, len) = create(disk, &folder, first)?;
            let journal = Self::at(disk, folder, first, file, len, 0);
            return Ok(Replay { journal, batches: Vec::new() });
        }
        read_all(disk, folder, first, &segments)
    }

    fn at(disk: &Arc<Disk>, folder: PathBuf, segment: u64, file: DiskFile, len: u64, next: u64) -> Self {
        Self { disk: disk.clone(), folder, segment, file, len, next, unsynced: false, broken: None }
    }

    /// Appends a batch; it is on the disk when this returns, unless `sync` is false: then after the next one that is synced.
    ///
    /// # Errors
    /// [`StoreError::Journal`]. Nothing is appended then. Where it cannot be known what is on the disk (a failed sync), no more is taken
    /// until the store is opened again.
    pub fn append(&mut self, batch: &FrozenBatch, sync: bool) -> Result<(), StoreError> {
        self.check()?;
        let bytes = batch.as_bytes();
        let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_BATCH_BYTES);
        let len = len.ok_or(StoreError::BatchTooLong { len: bytes.len(), limit: MAX_BATCH_BYTES })?;
        let number = self.next.to_le_bytes();
        let mut record = Vec::with_capacity(bytes.len().saturating_add(RECORD_HEADER));
        record.extend_from_slice(&RECORD_MAGIC);
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(&checksum(number, bytes).to_le_bytes());
        record.extend_from_slice(&number);
        record.extend_from_slice(bytes);
        if let Err(source) = self.file.write_at(self.len, &record) {
            // What was written of it must not stand before the next record.
            if let Err(error) = self.file.set_len(self.len) {
                self.broken = Some(format!("a failed write could not be taken back: {error}"));
            }
            return Err(self.failure(source));
        }
        if sync {
            self.sync_file()?;
        }
        self.unsynced = !sync;
        self.len = self.len.saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Brings everything appended to the disk.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.unsynced {
            self.sync_file()?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), StoreError> {
        // After a failed sync the system may have dropped what it could not write: only reading it again can tell.
        self.file.sync().map_err(|source| {
            self.broken = Some(format!("a sync failed: {source}"));
            self.failure(source)
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        match &self.broken {
            None => Ok(()),
            Some(why) => Err(self.failure(io::Error::other(why.clone()))),
        }
    }

    fn failure(&self, source: io::Error) -> StoreError {
        StoreError::Journal { file: path(&self.folder, self.segment), source }
    }

    /// Begins a new segment and returns its number: all batches so far stand in earlier ones.
    pub fn rotate(&mut self) -> Result<u64, StoreError> {
        self.sync()?;
        let segment = self.segment.saturating_add(1);
        let (file, len) = create(&self.disk, &self.folder, segment)?;
        (self.segment, self.file, self.len) = (segment, file, len);
        Ok(segment)
    }

    /// Removes the segments before `first`. A failure does no harm: they are removed when the store is opened.
    pub fn forget_before(&self, first: u64) {
        for number in (0..first).rev() {
            if std::fs::remove_file(path(&self.folder, number)).is_err() {
                break;
            }
        }
    }
}

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016}.log"))
}

fn create(disk: &Arc<Disk>, folder: &Path, segment: u64) -> Result<(DiskFile, u64), StoreError> {
    let path = path(folder, segment);
    let failed = |source| StoreError::Journal { file: path.clone(), source };
    let file = disk.open(&path).map_err(failed)?;
    let mut header = SEGMENT_MAGIC.to_vec();
    header.extend_from_slice(&segment.to_le_bytes());
    file.set_len(0).and_then(|()| file.write_at(0, &header)).and_then(|()| file.sync()).map_err(failed)?;
    // The file's name must survive, too.
    disk.sync_folder(folder).map_err(failed)?;
    Ok((file, HEADER_LEN))
}

fn checksum(number: [u8; 8], batch: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number);
    hasher.update(batch);
    hasher.finalize()
}

fn read_all(disk: &Arc<Disk>, folder: PathBuf, first: u64, segments: &[u64]) -> Result<Replay, StoreError> {
    let (mut batches, mut next) = (Vec::new(), None);
    let mut open = None;
    for (number, wanted) in segments.iter().zip(first..) {
        let path = path(&folder, *number);
        let failed = |source| StoreError::Journal { file: path.clone(), source };
        if *number != wanted {
            return Err(StoreError::corrupt("journal", wanted.to_be_bytes(), "a segment is missing"));
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let last = segments.last() == Some(number);
        if last && bytes.len() < SEGMENT_HEADER {
            // The crash came while the segment was begun.
            let (file, len) = create(disk, &folder, *number)?;
            open = Some((*number, file, len));
            continue;
        }
        let read = read_segment(*number, &bytes, &mut next, &mut batches)?;
        if read < bytes.len() && !last {
            return Err(StoreError::corrupt("journal", number.to_be_bytes(), "a segment before the last is cut"));
        }
        if last {
            let file = disk.open(&path).map_err(failed)?;
            let len = u64::try_from(read).unwrap_or(u64::MAX);
            if read < bytes.len() {
                file.set_len(len).and_then(|()| file.sync()).map_err(failed)?;
            }
            open = Some((*number, file, len));
        }
    }
    let (segment, file, len) = open.ok_or(StoreError::Empty)?;
    let journal = Journal::at(disk, folder, segment, file, len, next.unwrap_or(0));
    Ok(Replay { journal, batches })
}

/// Reads the records of a segment and returns the length of what holds.
fn read_segment(
    segment: u64,
    bytes: &[u8],
    next: &mut Option<u64>,
    batches: &mut Vec<FrozenBatch>,
) -> Result<usize, StoreError> {
    let mut header = SEGMENT_MAGIC.to_vec();
    header.extend_from_slice(&segment.to_le_bytes());
    if !bytes.starts_with(&header) {
        return Err(StoreError::corrupt("journal", segment.to_be_bytes(), "not a segment of this layout"));
    }
    let mut at = SEGMENT_HEADER;
    while at < bytes.len() {
        let Some((number, batch, end)) = record_at(bytes, at) else {
            let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
            if has_record(rest) {
                return Err(StoreError::corrupt("journal", segment.to_be_bytes(), format!("record at byte {at}")));
            }
            break;
        };
        if next.is_some_and(|next| next != number) {
            return Err(StoreError::corrupt("journal", segment.to_be_bytes(), format!("records before {number} miss")));
        }
        *next = number.checked_add(1);
        batches.push(FrozenBatch::decode(batch.to_vec().into())?);
        at = end;
    }
    Ok(at)
}

/// The record that begins at `at`, if it is whole: its number, its batch, and where it ends.
fn record_at(bytes: &[u8], at: usize) -> Option<(u64, &[u8], usize)> {
    let header = bytes.get(at..at.checked_add(RECORD_HEADER)?)?;
    let rest = header.strip_prefix(&RECORD_MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let number = <[u8; 8]>::try_from(rest).ok()?;
    let start = at.checked_add(RECORD_HEADER)?;
    let end = start.checked_add(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    let batch = bytes.get(start..end)?;
    (checksum(number, batch) == u32::from_le_bytes(*crc)).then(|| (u64::from_le_bytes(number), batch, end))
}

/// Whether a whole record stands anywhere in `bytes`.
fn has_record(bytes: &[u8]) -> bool {
    let windows = bytes.windows(RECORD_MAGIC.len()).enumerate();
    windows.filter(|(_, window)| **window == RECORD_MAGIC).any(|(at, _)| record_at(bytes, at).is_some())
}
