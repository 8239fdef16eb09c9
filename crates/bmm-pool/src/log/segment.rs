//! A segment file, read as a whole.

use super::{
    LogError, chain,
    codec::{self, HEADER_BYTES, Names, Record},
};
use alloy_primitives::B256;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a segment is.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// The file.
    pub path: PathBuf,
    /// Number of its first share, as its name has it.
    pub first: u64,
}

/// Returns the name of the segment whose first share is this.
pub fn file_name(first: u64) -> String {
    format!("shares-{first:020}.log")
}

/// Lists the segments of a folder, oldest first.
pub fn list(dir: &Path) -> Result<Vec<SegmentFile>, LogError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(LogError::io(dir))? {
        let path = entry.map_err(LogError::io(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("shares-").and_then(|rest| rest.strip_suffix(".log"));
        if let Some(first) = number.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
            found.push(SegmentFile { path, first });
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// Shares of a segment, and how far the file is whole.
#[derive(Debug)]
pub struct Segment {
    /// Number of its first share.
    pub first: u64,
    /// Root before it.
    pub root_before: B256,
    /// Number and root after each frame.
    pub frames: Vec<(u64, B256)>,
    /// What its shares refer to.
    pub names: Names,
    /// Its shares.
    pub records: Vec<Record>,
    /// Bytes up to the end of the last whole frame.
    pub whole_bytes: usize,
}

impl Segment {
    /// Reads what is whole of the first `len` bytes of a segment (all without one). What follows the last whole frame is left alone, unless a
    /// whole frame comes after it, which no write that was cut short leaves behind. `None` if not even the header is there.
    pub fn read(file: &SegmentFile, len: Option<usize>) -> Result<Option<Self>, LogError> {
        let bytes = fs::read(&file.path).map_err(LogError::io(&file.path))?;
        let bytes = len.map_or(&bytes[..], |len| bytes.get(..len).unwrap_or(&bytes));
        let damaged = |at: usize, reason| LogError::Damaged {
            path: file.path.clone(),
            at: u64::try_from(at).unwrap_or(u64::MAX),
            reason,
        };
        let Some((first, root_before)) = codec::read_header(bytes) else {
            if has_frame(bytes) {
                return Err(damaged(0, "the header is not what was written"));
            }
            return Ok(None);
        };
        if first != file.first {
            return Err(damaged(0, "the header and the name of the file tell different first shares"));
        }
        let mut this = Self {
            first,
            root_before,
            frames: Vec::new(),
            names: Names::default(),
            records: Vec::new(),
            whole_bytes: HEADER_BYTES,
        };
        loop {
            let rest = bytes.get(this.whole_bytes..).unwrap_or_default();
            let Some((head, payload, root)) = codec::frame(rest) else {
                if rest.get(1..).is_some_and(has_frame) {
                    return Err(damaged(this.whole_bytes, "a frame is not what was written, and others follow it"));
                }
                return Ok(Some(this));
            };
            if head.first != this.next() {
                return Err(damaged(this.whole_bytes, "the numbers of the shares have a gap"));
            }
            let next = head.first.checked_add(head.shares.into());
            if this.names.read(payload, &mut this.records).is_none() || next != Some(this.next()) {
                return Err(damaged(this.whole_bytes, "the records are not what the pool writes"));
            }
            this.frames.push((this.next(), root));
            this.whole_bytes = this.whole_bytes.saturating_add(head.bytes());
        }
    }

    /// Number after the last share.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.records.len()).unwrap_or(u64::MAX))
    }

    /// Root after the last share, as the file has it.
    pub fn root(&self) -> B256 {
        self.frames.last().map_or(self.root_before, |(_, root)| *root)
    }

    /// Returns the root after the first `number` shares of the log, from the nearest frame before it.
    pub fn root_at(&self, number: u64) -> B256 {
        let frame = self.frames.partition_point(|(next, _)| *next <= number).checked_sub(1);
        let (from, root) = frame.and_then(|at| self.frames.get(at)).copied().unwrap_or((self.first, self.root_before));
        self.extend(root, from, number)
    }

    /// Whether every frame's root is what its shares make it.
    pub fn is_chained(&self) -> bool {
        let mut at = (self.first, self.root_before);
        self.frames.iter().all(|(next, root)| {
            let made = self.extend(at.1, at.0, *next);
            at = (*next, *root);
            made == *root
        })
    }

    fn extend(&self, root: B256, from: u64, to: u64) -> B256 {
        (from..to).fold(root, |root, number| {
            self.record(number).map_or(root, |record| chain::extend(root, &self.names.share(number, record)))
        })
    }

    /// Returns the record of a share.
    pub fn record(&self, number: u64) -> Option<&Record> {
        self.records.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// Whether a whole frame stands anywhere in `bytes`.
fn has_frame(bytes: &[u8]) -> bool {
    let magic = codec::FRAME_MAGIC;
    bytes
        .windows(magic.len())
        .enumerate()
        .filter(|(_, window)| *window == magic)
        .any(|(at, _)| bytes.get(at..).is_some_and(|rest| codec::frame(rest).is_some()))
}
