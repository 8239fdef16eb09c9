//! Appending.

use super::{
    LogError, LogReader, MAX_BATCH_SHARES, MAX_CHAIN_NAME_BYTES, MAX_CHAINS, chain,
    codec::{self, MAX_PAYLOAD_BYTES, MAX_SHARE_BYTES, Names},
    reader::Committed,
    segment::{self, Segment, SegmentFile},
};
use crate::{
    job::Job,
    share::{MAX_WORKER_BYTES, Share},
};
use alloy_primitives::{Address, B256};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Length at which a segment is closed and another begun, in bytes.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    /// Segments of 16 MiB: some 600,000 shares.
    fn default() -> Self {
        Self { segment_bytes: 16 << 20 }
    }
}

/// What opening a log found at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes that a write which was cut short had left; nothing in them was acknowledged.
    pub cut_bytes: u64,
    /// Where they are now.
    pub moved_to: Option<PathBuf>,
}

/// The log, open for appending. One process at a time has it.
#[derive(Debug)]
pub struct ShareLog {
    dir: PathBuf,
    options: LogOptions,
    _lock: File,
    committed: Arc<RwLock<Committed>>,
    tail: Option<Tail>,
    recovery: Recovery,
    poisoned: bool,
}

/// How often, and after which pause, a lock that is held is tried again.
const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The segment that is being written.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    names: Names,
    workers: HashMap<(Address, Arc<str>), u32>,
    jobs: HashMap<u64, u32>,
    last_job: Option<(Arc<Job>, u32)>,
    /// The header, until it is written with the first frame.
    unwritten: Vec<u8>,
}

/// Takes a lock that may be about to be given back: a process that was just begun holds all of its parent's until it runs its program.
fn take(lock: &File) -> Result<(), fs::TryLockError> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    lock.try_lock()
}

impl ShareLog {
    /// Opens the log in `dir`, which is made if it is not there.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Self::open_with(dir, LogOptions::default())
    }

    /// As [`ShareLog::open`], kept as `options` say.
    pub fn open_with(dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(LogError::io(dir))?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(LogError::io(&lock_path))?;
        take(&lock).map_err(|error| match error {
            fs::TryLockError::WouldBlock => LogError::InUse(dir.to_owned()),
            fs::TryLockError::Error(error) => LogError::io(&lock_path)(error),
        })?;
        let (committed, tail, recovery) = recover(dir)?;
        let committed = Arc::new(RwLock::new(committed));
        Ok(Self { dir: dir.to_owned(), options, _lock: lock, committed, tail, recovery, poisoned: false })
    }

    /// Opens the log anew after a write that failed: what was acknowledged is there, the rest is cut. Readers go on as before.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        self.poisoned = true;
        let (committed, tail, recovery) = recover(&self.dir)?;
        *self.committed.write() = committed;
        (self.tail, self.recovery, self.poisoned) = (tail, recovery, false);
        Ok(())
    }

    /// Returns what opening found at the end of the log.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Returns the number that the next share gets.
    pub fn next(&self) -> u64 {
        self.committed.read().next
    }

    /// Returns the root after the last share.
    pub fn root(&self) -> B256 {
        self.committed.read().root
    }

    /// Returns a reader, for any thread, of what is on the disk at any time.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.committed.clone())
    }

    /// Appends a batch and returns the numbers of its shares. They are on the disk when this returns. After a failure nothing more is taken.
    pub fn append(&mut self, shares: &[Share]) -> Result<Range<u64>, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        if shares.len() > MAX_BATCH_SHARES {
            return Err(LogError::BatchTooLarge(shares.len()));
        }
        for (index, share) in shares.iter().enumerate() {
            check(share).map_err(|reason| LogError::BadShare { index, reason })?;
        }
        let first = self.next();
        let result = self.append_frames(shares);
        self.poisoned = result.is_err();
        result.map(|()| first..self.next())
    }

    fn append_frames(&mut self, mut shares: &[Share]) -> Result<(), LogError> {
        while !shares.is_empty() {
            let (first, root, bytes) = {
                let committed = self.committed.read();
                (committed.next, committed.root, committed.tail_bytes)
            };
            if self.tail.is_none() || bytes >= self.options.segment_bytes {
                self.tail = Some(Tail::create(&self.dir, first, root)?);
            }
            let Some(tail) = &mut self.tail else { return Err(LogError::Poisoned) };
            let is_new = !tail.unwritten.is_empty();
            let mut out = std::mem::take(&mut tail.unwritten);
            let (taken, root) = tail.put(&mut out, shares, first, root);
            tail.file.write_all(&out).and_then(|()| tail.file.sync_data()).map_err(LogError::io(&tail.path))?;
            if is_new {
                sync_folder(&self.dir)?;
            }
            let mut committed = self.committed.write();
            if is_new {
                committed.segments.push(SegmentFile { path: tail.path.clone(), first });
                committed.tail_bytes = 0;
            }
            committed.tail_bytes = committed.tail_bytes.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
            committed.next = first.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
            committed.root = root;
            shares = shares.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes segments all of whose shares come before `before` out of the log: into the folder `archive`, or away. The segment that is being
    /// written stays. Returns how many went.
    pub fn retire(&mut self, before: u64, archive: Option<&Path>) -> Result<usize, LogError> {
        if let Some(archive) = archive {
            fs::create_dir_all(archive).map_err(LogError::io(archive))?;
        }
        let mut retired: usize = 0;
        loop {
            let oldest = {
                let committed = self.committed.read();
                let ends = committed.segments.get(1).map(|second| second.first);
                ends.filter(|end| *end <= before).and(committed.segments.first().cloned())
            };
            let Some(oldest) = oldest else { return Ok(retired) };
            match archive {
                Some(archive) => fs::rename(&oldest.path, archive.join(segment::file_name(oldest.first))),
                None => fs::remove_file(&oldest.path),
            }
            .map_err(LogError::io(&oldest.path))?;
            self.committed.write().segments.remove(0);
            retired = retired.saturating_add(1);
        }
    }
}

impl Tail {
    fn create(dir: &Path, first: u64, root: B256) -> Result<Self, LogError> {
        let path = dir.join(segment::file_name(first));
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(LogError::io(&path))?;
        let unwritten = codec::header(first, root).to_vec();
        Ok(Self {
            file,
            path,
            names: Names::default(),
            workers: HashMap::new(),
            jobs: HashMap::new(),
            last_job: None,
            unwritten,
        })
    }

    fn reopen(file: &SegmentFile, segment: Segment) -> Result<Self, LogError> {
        let path = file.path.clone();
        let mut file = OpenOptions::new().write(true).open(&path).map_err(LogError::io(&path))?;
        file.seek(SeekFrom::End(0)).map_err(LogError::io(&path))?;
        let workers = (0..).zip(&segment.names.workers).map(|(id, worker)| (worker.clone(), id)).collect();
        let jobs = (0..).zip(&segment.names.jobs).map(|(id, job)| (job.number, id)).collect();
        Ok(Self { file, path, names: segment.names, workers, jobs, last_job: None, unwritten: Vec::new() })
    }

    /// Appends a frame of as many shares as fit; returns how many, and the root after them.
    fn put(&mut self, out: &mut Vec<u8>, shares: &[Share], first: u64, mut root: B256) -> (usize, B256) {
        let mut payload = Vec::with_capacity(shares.len().saturating_mul(32));
        let mut taken: u32 = 0;
        for (share, number) in shares.iter().zip(first..) {
            if payload.len().saturating_add(MAX_SHARE_BYTES) > MAX_PAYLOAD_BYTES {
                break;
            }
            let worker = self.worker(&mut payload, share);
            let job = self.job(&mut payload, &share.job);
            codec::put_share(&mut payload, worker, job, share.hashes, share.at_millis);
            let job = usize::try_from(job).expect("ids are indices");
            root = chain::extend_by(root, number, share, self.names.jobs[job].digest);
            taken = taken.saturating_add(1);
        }
        codec::put_frame(out, &payload, taken, first, root);
        (usize::try_from(taken).expect("batches are bounded"), root)
    }

    fn worker(&mut self, payload: &mut Vec<u8>, share: &Share) -> u32 {
        let key = (share.account, share.worker.clone());
        if let Some(id) = self.workers.get(&key) {
            return *id;
        }
        let id = u32::try_from(self.names.workers.len()).expect("segments are bounded");
        codec::put_worker(payload, share.account, &share.worker);
        self.names.workers.push(key.clone());
        self.workers.insert(key, id);
        id
    }

    fn job(&mut self, payload: &mut Vec<u8>, job: &Arc<Job>) -> u32 {
        if let Some((last, id)) = &self.last_job
            && Arc::ptr_eq(last, job)
        {
            return *id;
        }
        let known = self.jobs.get(&job.number).copied().filter(|id| {
            let index = usize::try_from(*id).expect("ids are indices");
            self.names.jobs[index].chains == job.chains
        });
        let id = known.unwrap_or_else(|| {
            codec::put_job(payload, job.number, &job.chains);
            let digest = chain::job_digest(job.number, &job.chains);
            let id = u32::try_from(self.names.jobs.len()).expect("segments are bounded");
            let logged = super::LoggedJob { number: job.number, chains: job.chains.clone(), digest };
            self.names.jobs.push(Arc::new(logged));
            self.jobs.insert(job.number, id);
            id
        });
        self.last_job = Some((job.clone(), id));
        id
    }
}

fn check(share: &Share) -> Result<(), &'static str> {
    if share.worker.len() > MAX_WORKER_BYTES {
        return Err("the worker's name is longer than 32 bytes");
    }
    if share.hashes == 0 {
        return Err("it stands for no hashes");
    }
    if share.job.chains.len() > MAX_CHAINS {
        return Err("its job is work for more than 16 chains");
    }
    if share.job.chains.iter().any(|chain| chain.name.len() > MAX_CHAIN_NAME_BYTES) {
        return Err("the name of a chain of its job is longer than 32 bytes");
    }
    Ok(())
}

/// Finds the end of a log, and cuts what a write that was cut short left there.
fn recover(dir: &Path) -> Result<(Committed, Option<Tail>, Recovery), LogError> {
    let mut segments = segment::list(dir)?;
    let (mut committed, mut recovery, mut tail) = (Committed::default(), Recovery::default(), None);
    while let Some(file) = segments.last() {
        let Some(segment) = Segment::read(file, None)? else {
            // Begun, and never acknowledged. Its header is written with its first frame.
            recovery = set_aside(dir, file, 0)?;
            segments.pop();
            continue;
        };
        if !segment.is_chained() {
            let reason = "a frame's root does not follow from its shares";
            return Err(LogError::Damaged { path: file.path.clone(), at: 0, reason });
        }
        let bytes = u64::try_from(segment.whole_bytes).unwrap_or(u64::MAX);
        let cut = set_aside(dir, file, bytes)?;
        if cut.cut_bytes > 0 {
            recovery = cut;
        }
        (committed.next, committed.root, committed.tail_bytes) = (segment.next(), segment.root(), bytes);
        tail = Some(Tail::reopen(file, segment)?);
        break;
    }
    committed.segments = segments;
    Ok((committed, tail, recovery))
}

/// Moves what a segment has beyond `keep` bytes into a file of its own; a segment of which nothing is kept goes as a whole.
fn set_aside(dir: &Path, file: &SegmentFile, keep: u64) -> Result<Recovery, LogError> {
    let len = fs::metadata(&file.path).map_err(LogError::io(&file.path))?.len();
    let cut_bytes = len.saturating_sub(keep);
    if cut_bytes == 0 && keep > 0 {
        return Ok(Recovery::default());
    }
    let aside = (0..u32::MAX)
        .map(|n| file.path.with_extension(format!("torn-{keep}-{n}")))
        .find(|path| !path.exists())
        .expect("no folder holds so many files");
    if keep == 0 {
        fs::rename(&file.path, &aside).map_err(LogError::io(&file.path))?;
    } else {
        fs::copy(&file.path, &aside).map_err(LogError::io(&aside))?;
        let open = OpenOptions::new().write(true).open(&file.path).map_err(LogError::io(&file.path))?;
        open.set_len(keep).and_then(|()| open.sync_all()).map_err(LogError::io(&file.path))?;
    }
    sync_folder(dir)?;
    Ok(Recovery { cut_bytes, moved_to: Some(aside) })
}

/// Makes names of new files last. Only Unix lets a folder be opened for it; elsewhere the file system does it by itself.
fn sync_folder(dir: &Path) -> Result<(), LogError> {
    if cfg!(unix) {
        return File::open(dir).and_then(|folder| folder.sync_all()).map_err(LogError::io(dir));
    }
    Ok(())
}
