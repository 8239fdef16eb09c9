//! Reading, beside the process's own writer or from outside.

use super::{
    LogError, LoggedShare,
    segment::{self, Segment, SegmentFile},
};
use alloy_primitives::B256;
use parking_lot::RwLock;
use std::{path::Path, sync::Arc};

/// What of a log is on the disk for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    /// Segments, oldest first.
    pub segments: Vec<SegmentFile>,
    /// Number of the next share.
    pub next: u64,
    /// Root after the last one.
    pub root: B256,
    /// Bytes of the last segment that count.
    pub tail_bytes: u64,
}

/// Reads a log. Clones read the same log.
#[derive(Clone, Debug)]
pub struct LogReader {
    committed: Arc<RwLock<Committed>>,
}

impl LogReader {
    pub(super) const fn new(committed: Arc<RwLock<Committed>>) -> Self {
        Self { committed }
    }

    /// Opens the log in `dir` as it is now, whether or not a pool appends to it. Later shares are not seen.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let mut committed = Committed { segments: segment::list(dir)?, ..Committed::default() };
        while let Some(file) = committed.segments.last() {
            if let Some(segment) = Segment::read(file, None)? {
                (committed.next, committed.root) = (segment.next(), segment.root());
                committed.tail_bytes = u64::try_from(segment.whole_bytes).unwrap_or(u64::MAX);
                break;
            }
            committed.segments.pop();
        }
        Ok(Self::new(Arc::new(RwLock::new(committed))))
    }

    /// Returns the number that the next share gets.
    pub fn next(&self) -> u64 {
        self.committed.read().next
    }

    /// Returns the number of the oldest share that is kept.
    pub fn first(&self) -> u64 {
        self.committed.read().segments.first().map_or(0, |segment| segment.first)
    }

    /// Returns the root after the last share.
    pub fn root(&self) -> B256 {
        self.committed.read().root
    }

    /// Returns a share.
    pub fn share(&self, number: u64) -> Result<LoggedShare, LogError> {
        self.backwards(number).next().unwrap_or_else(|| Err(self.not_there(number)))
    }

    /// Returns the root after the first `count` shares of the log: what is published with a block of share `count - 1`.
    pub fn root_at(&self, count: u64) -> Result<B256, LogError> {
        let committed = self.committed.read().clone();
        if count == committed.next {
            return Ok(committed.root);
        }
        if count > committed.next {
            return Err(self.not_there(count));
        }
        match load(&committed, count)? {
            Some(segment) => Ok(segment.root_at(count)),
            None => Err(self.not_there(count)),
        }
    }

    /// Checks that every kept share is bound to those before it, from file to file, and returns how many there are.
    pub fn verify(&self) -> Result<u64, LogError> {
        let committed = self.committed.read().clone();
        let mut before: Option<(u64, B256)> = None;
        let mut shares: u64 = 0;
        for file in &committed.segments {
            let damaged = |reason| LogError::Damaged { path: file.path.clone(), at: 0, reason };
            let segment = load(&committed, file.first)?.ok_or_else(|| damaged("it is gone"))?;
            if before.is_some_and(|before| before != (segment.first, segment.root_before)) {
                return Err(damaged("it does not follow from the segment before it"));
            }
            if !segment.is_chained() {
                return Err(damaged("a frame's root does not follow from its shares"));
            }
            before = Some((segment.next(), segment.root()));
            shares = shares.saturating_add(segment.next().saturating_sub(segment.first));
        }
        Ok(shares)
    }

    /// Returns the shares from this number back to the oldest that is kept.
    pub fn backwards(&self, from: u64) -> Backwards {
        let committed = self.committed.read().clone();
        let next = from.checked_add(1).filter(|next| *next <= committed.next);
        let error = next.is_none().then(|| self.not_there(from));
        Backwards { committed, next: next.unwrap_or(0), segment: None, error }
    }

    fn not_there(&self, number: u64) -> LogError {
        LogError::NotThere { number, first: self.first(), next: self.next() }
    }
}

/// Reads the committed part of the segment that has the share, or that begins with it.
fn load(committed: &Committed, number: u64) -> Result<Option<Segment>, LogError> {
    let at = committed.segments.partition_point(|segment| segment.first <= number);
    let Some(file) = at.checked_sub(1).and_then(|at| committed.segments.get(at)) else { return Ok(None) };
    let is_last = at == committed.segments.len();
    let len = is_last.then(|| usize::try_from(committed.tail_bytes).unwrap_or(usize::MAX));
    let segment = Segment::read(file, len)?;
    let ends = committed.segments.get(at).map_or(committed.next, |following| following.first);
    match &segment {
        Some(segment) if segment.next() >= ends => {}
        _ => {
            let (path, reason) = (file.path.clone(), "shares at its end are missing");
            let at = segment.map_or(0, |segment| u64::try_from(segment.whole_bytes).unwrap_or(u64::MAX));
            return Err(LogError::Damaged { path, at, reason });
        }
    }
    Ok(segment)
}

/// Shares from newer to older. After an error it ends.
#[derive(Debug)]
pub struct Backwards {
    committed: Committed,
    /// The number after the share that is next to be returned.
    next: u64,
    segment: Option<Segment>,
    error: Option<LogError>,
}

impl Iterator for Backwards {
    type Item = Result<LoggedShare, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.next = 0;
            return Some(Err(error));
        }
        let number = self.next.checked_sub(1)?;
        if self.segment.as_ref().is_none_or(|segment| segment.record(number).is_none()) {
            match load(&self.committed, number) {
                Ok(segment) => self.segment = Some(segment?),
                Err(error) => {
                    self.next = 0;
                    return Some(Err(error));
                }
            }
        }
        self.next = number;
        let segment = self.segment.as_ref()?;
        Some(Ok(segment.names.share(number, segment.record(number)?)))
    }
}
