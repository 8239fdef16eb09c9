//! Bytes of a segment: a header, then frames of records.
//!
//! Header (56 bytes): magic `BMMSHARE` (8), version (4), number of the first share (8), root before it (32), CRC-32 of all that (4).
//! Frame: magic `SHRF` (4), bytes of the payload (4), number of shares (4), number of the first one (8), CRC-32 of
//! payload and root (4), CRC-32 of all that (4), the payload, the root after the last share (32).
//! Payload: records. `1` a share: worker (4), job (4), hashes (8), Unix milliseconds (8). `2` a worker: account (20), length of the name (1),
//! name. `3` a job: number (8), number of chains (1), of each the length of its name (1), name, height (8), target (32). Workers and jobs
//! are numbered in the order in which the segment names them. Numbers are little-endian.

use super::{LoggedJob, LoggedShare, MAX_BATCH_SHARES, MAX_CHAIN_NAME_BYTES, MAX_CHAINS, chain};
use crate::{job::ChainWork, share::MAX_WORKER_BYTES};
use alloy_primitives::{Address, B256, U256};
use bmm_pow::difficulty::Target;
use std::sync::Arc;

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 56;
/// Bytes of a frame before its payload.
pub const FRAME_HEAD_BYTES: usize = 28;
/// Bytes of a frame after its payload.
pub const ROOT_BYTES: usize = 32;
/// Largest payload; a batch of the most shares, each with a new worker and a new job of the most chains, may need several frames.
pub const MAX_PAYLOAD_BYTES: usize = 8 << 20;
/// Magic of a frame.
pub const FRAME_MAGIC: [u8; 4] = *b"SHRF";
/// Most bytes that one share adds to a payload, with its worker and its job.
pub const MAX_SHARE_BYTES: usize =
    25 + (1 + 20 + 1 + MAX_WORKER_BYTES) + (1 + 8 + 1 + MAX_CHAINS * (1 + MAX_CHAIN_NAME_BYTES + 8 + 32));

const MAGIC: [u8; 8] = *b"BMMSHARE";
const VERSION: u32 = 1;
const SHARE: u8 = 1;
const WORKER: u8 = 2;
const JOB: u8 = 3;

/// Writes a segment's header.
pub fn header(first: u64, root: B256) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&first.to_le_bytes());
    bytes[20..52].copy_from_slice(root.as_slice());
    let crc = crc32fast::hash(&bytes[..52]);
    bytes[52..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a segment's header: the number of its first share, and the root before it.
pub fn read_header(bytes: &[u8]) -> Option<(u64, B256)> {
    let mut input = Input(bytes.get(..HEADER_BYTES)?);
    let crc = crc32fast::hash(bytes.get(..52)?);
    let fine = input.take(8)? == MAGIC && input.u32()? == VERSION;
    let (first, root) = (input.u64()?, B256::from_slice(input.take(32)?));
    (fine && input.u32()? == crc).then_some((first, root))
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub payload: usize,
    /// Shares in it.
    pub shares: u32,
    /// Number of the first one.
    pub first: u64,
    crc: u32,
}

impl FrameHead {
    /// Reads a head; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..FRAME_HEAD_BYTES)?;
        let mut input = Input(head);
        let fine = input.take(4)? == FRAME_MAGIC;
        let payload = usize::try_from(input.u32()?).ok().filter(|bytes| *bytes <= MAX_PAYLOAD_BYTES)?;
        let this = Self { payload, shares: input.u32()?, first: input.u64()?, crc: input.u32()? };
        (fine && input.u32()? == crc32fast::hash(head.get(..24)?)).then_some(this)
    }

    /// Bytes of the whole frame.
    pub const fn bytes(&self) -> usize {
        self.payload.saturating_add(FRAME_HEAD_BYTES + ROOT_BYTES)
    }
}

/// A frame's parts, when it is whole and its payload is what was written.
pub fn frame(bytes: &[u8]) -> Option<(FrameHead, &[u8], B256)> {
    let head = FrameHead::read(bytes)?;
    let payload = bytes.get(FRAME_HEAD_BYTES..)?.get(..head.payload)?;
    let root = bytes.get(FRAME_HEAD_BYTES.checked_add(head.payload)?..)?.get(..ROOT_BYTES)?;
    (checksum(payload, root) == head.crc).then(|| (head, payload, B256::from_slice(root)))
}

fn checksum(payload: &[u8], root: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(payload);
    hasher.update(root);
    hasher.finalize()
}

/// Appends a frame to `out`.
pub fn put_frame(out: &mut Vec<u8>, payload: &[u8], shares: u32, first: u64, root: B256) {
    let from = out.len();
    out.extend(FRAME_MAGIC);
    out.extend(u32::try_from(payload.len()).expect("payloads are bounded").to_le_bytes());
    out.extend(shares.to_le_bytes());
    out.extend(first.to_le_bytes());
    out.extend(checksum(payload, root.as_slice()).to_le_bytes());
    let crc = crc32fast::hash(&out[from..]);
    out.extend(crc.to_le_bytes());
    out.extend(payload);
    out.extend(root);
}

/// Appends a share of a worker and a job that the segment knows.
pub fn put_share(out: &mut Vec<u8>, worker: u32, job: u32, hashes: u64, at_millis: u64) {
    out.push(SHARE);
    out.extend(worker.to_le_bytes());
    out.extend(job.to_le_bytes());
    out.extend(hashes.to_le_bytes());
    out.extend(at_millis.to_le_bytes());
}

/// Appends a worker.
pub fn put_worker(out: &mut Vec<u8>, account: Address, name: &str) {
    out.push(WORKER);
    out.extend(account);
    put_text(out, name);
}

/// Appends a job.
pub fn put_job(out: &mut Vec<u8>, number: u64, chains: &[ChainWork]) {
    out.push(JOB);
    out.extend(number.to_le_bytes());
    out.push(u8::try_from(chains.len()).expect("the number of chains was checked"));
    for chain in chains {
        put_text(out, &chain.name);
        out.extend(chain.height.to_le_bytes());
        out.extend(chain.target.get().to_le_bytes::<32>());
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("the length of names was checked"));
    out.extend(text.as_bytes());
}

/// An account, and its name for a machine.
pub type Worker = (Address, Arc<str>);

/// What the shares of a segment refer to.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Workers by number.
    pub workers: Vec<Worker>,
    /// Jobs by number.
    pub jobs: Vec<Arc<LoggedJob>>,
}

/// A share that refers to a segment's [`Names`].
#[derive(Clone, Copy, Debug)]
pub struct Record {
    worker: u32,
    job: u32,
    hashes: u64,
    at_millis: u64,
}

impl Names {
    /// Reads a payload, learns its workers and jobs, and appends its shares to `shares`; `None` if it is none.
    pub fn read(&mut self, payload: &[u8], shares: &mut Vec<Record>) -> Option<()> {
        let mut input = Input(payload);
        let before = shares.len();
        while !input.0.is_empty() {
            match input.u8()? {
                SHARE => {
                    let record = Record {
                        worker: input.u32()?,
                        job: input.u32()?,
                        hashes: input.u64()?,
                        at_millis: input.u64()?,
                    };
                    self.find(&record)?;
                    shares.push(record);
                }
                WORKER => {
                    let account = Address::from_slice(input.take(20)?);
                    self.workers.push((account, input.text(MAX_WORKER_BYTES)?.into()));
                }
                JOB => {
                    let number = input.u64()?;
                    let count = usize::from(input.u8()?);
                    let chains: Option<Vec<ChainWork>> =
                        (0..count.min(MAX_CHAINS + 1)).map(|_| input.chain()).collect();
                    let chains = chains.filter(|chains| chains.len() == count)?;
                    let digest = chain::job_digest(number, &chains);
                    self.jobs.push(Arc::new(LoggedJob { number, chains, digest }));
                }
                _ => return None,
            }
        }
        (shares.len().checked_sub(before)? <= MAX_BATCH_SHARES).then_some(())
    }

    fn find(&self, record: &Record) -> Option<(&Worker, &Arc<LoggedJob>)> {
        let worker = self.workers.get(usize::try_from(record.worker).ok()?)?;
        let job = self.jobs.get(usize::try_from(record.job).ok()?)?;
        Some((worker, job))
    }

    /// Returns a record that was read with these names, as the share of this number.
    pub fn share(&self, number: u64, record: &Record) -> LoggedShare {
        let ((account, worker), job) = self.find(record).expect("records are checked when they are read");
        LoggedShare {
            number,
            at_millis: record.at_millis,
            account: *account,
            worker: worker.clone(),
            hashes: record.hashes,
            job: job.clone(),
        }
    }
}

/// Bytes yet to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self, max_bytes: usize) -> Option<&'a str> {
        let len = usize::from(self.u8()?);
        (len <= max_bytes).then_some(())?;
        str::from_utf8(self.take(len)?).ok()
    }

    fn chain(&mut self) -> Option<ChainWork> {
        let name = self.text(MAX_CHAIN_NAME_BYTES)?.into();
        let height = self.u64()?;
        let target = Target::new(U256::from_le_slice(self.take(32)?))?;
        Some(ChainWork { name, height, target })
    }
}
