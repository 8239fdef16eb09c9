//! The index follows the chain.

use crate::{BlockRows, Index, IndexError, Summary};
use bmm_chain::{Chain, ChainError};
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::watch};

/// Blocks of one transaction of the database.
const BATCH: u64 = 512;
/// Time between two summaries.
const SUMMARY_EVERY: Duration = Duration::from_millis(900);

/// Most threads that read a batch: nearly all of their time goes into recovering who signed what.
const READERS: u64 = 4;

/// Reads rows of canonical blocks from `first` on, at most [`BATCH`], as far as they follow one another. Fewer while a branch is being
/// taken: then the caller looks again.
async fn read(chain: Arc<Chain>, first: u64) -> Result<Vec<BlockRows>, IndexError> {
    let end = chain.head().number().saturating_add(1).min(first.saturating_add(BATCH));
    let threads = std::thread::available_parallelism().map_or(1, |threads| u64::try_from(threads.get()).unwrap_or(1));
    let part = usize::try_from(end.saturating_sub(first).div_ceil(threads.min(READERS)).max(1)).unwrap_or(usize::MAX);
    let begin = |from: u64| {
        let chain = chain.clone();
        let to = end.min(from.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)));
        tokio::task::spawn_blocking(move || read_part(&chain, from, to))
    };
    let parts: Vec<_> = (first..end).step_by(part).map(begin).collect();
    let mut rows: Vec<BlockRows> = Vec::new();
    for part in parts {
        let part = part.await.map_err(|_| IndexError::Damaged("a thread that reads the chain ended"))??;
        let wanted = rows.last().map_or(first, |last| last.number.saturating_add(1));
        let links = |next: &BlockRows| next.number == wanted && rows.last().is_none_or(|last| next.parent == last.id);
        if part.first().is_some_and(links) {
            rows.extend(part);
        }
    }
    Ok(rows)
}

/// Reads rows of canonical blocks from `first` to before `end`, as far as they follow one another.
fn read_part(chain: &Chain, first: u64, end: u64) -> Result<Vec<BlockRows>, ChainError> {
    let mut rows: Vec<BlockRows> = Vec::new();
    for number in first..end {
        let Some(id) = chain.canonical(number)? else { break };
        let (Some(header), Some(body)) = (chain.header(id)?, chain.body(id)?) else { break };
        let receipts = if body.transactions.is_empty() { Some(Vec::new()) } else { chain.receipts(id)? };
        let Some(receipts) = receipts else { break };
        let senders = chain.senders(&body)?;
        if rows.last().is_some_and(|before| before.id != header.parent_hash) {
            break;
        }
        rows.push(BlockRows::new(id, &header, &body.transactions, &senders, &receipts));
    }
    Ok(rows)
}

/// Returns the number of the first block that is to be read: above the last that index and chain have in common.
async fn next(chain: &Chain, index: &Index) -> Result<u64, IndexError> {
    let Some((mut number, mut id)) = index.tip().await? else { return Ok(chain.oldest_body()?) };
    while chain.canonical(number)? != Some(id) {
        let Some(below) = number.checked_sub(1) else { return Ok(0) };
        let Some(parent) = index.id_of(below).await? else { return Ok(number) };
        (number, id) = (below, parent);
    }
    Ok(number.saturating_add(1))
}

/// Brings the index to the chain's head. Returns whether anything changed. While one batch is written, the next is read.
pub async fn catch_up(chain: &Arc<Chain>, index: &Index, stop: &AtomicBool) -> Result<bool, IndexError> {
    let mut first = next(chain, index).await?;
    let mut changed = false;
    let mut rows = read(chain.clone(), first).await?;
    while !rows.is_empty() && !stop.load(Ordering::Relaxed) {
        first = rows.last().map_or(first, |row| row.number.saturating_add(1));
        // Its threads begin at once, and read while the database writes.
        let reading = tokio::spawn(read(chain.clone(), first));
        index.apply(&rows).await?;
        changed = true;
        rows = reading.await.map_err(|_| IndexError::Damaged("a thread that reads the chain ended"))??;
    }
    Ok(changed)
}

/// Keeps an index at the head of a chain, and the summary beside it, until it is dropped.
pub struct Follower {
    summary: Arc<RwLock<Arc<Summary>>>,
    changes: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to follow, on a thread of its own that waits for the database through `runtime`.
    pub fn start(chain: Arc<Chain>, index: Index, runtime: Handle) -> std::io::Result<Self> {
        let (summary, stop) = (Arc::<RwLock<Arc<Summary>>>::default(), Arc::<AtomicBool>::default());
        let (sender, changes) = watch::channel(0);
        let follow = Follow { chain, index, summary: summary.clone(), stop: stop.clone(), sender };
        let thread = std::thread::Builder::new().name("bmm-index".into()).spawn(move || follow.run(&runtime))?;
        Ok(Self { summary, changes, stop, thread: Some(thread) })
    }

    /// Returns the last summary.
    pub fn summary(&self) -> Arc<Summary> {
        self.summary.read().clone()
    }

    /// Returns what counts the changes: of the index, and of the summary.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Follow {
    chain: Arc<Chain>,
    index: Index,
    summary: Arc<RwLock<Arc<Summary>>>,
    stop: Arc<AtomicBool>,
    sender: watch::Sender<u64>,
}

impl Follow {
    fn run(&self, runtime: &Handle) {
        let heads = self.chain.subscribe_heads(64);
        let mut failing = false;
        let mut summed: Option<Instant> = None;
        while !self.stop.load(Ordering::Relaxed) {
            match runtime.block_on(self.step(&mut summed)) {
                Ok(()) => failing = false,
                // A branch was taken while its blocks were read: the next round finds where they part.
                Err(IndexError::Gap { .. }) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the index cannot follow; it goes on trying");
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
            match heads.recv_timeout(Duration::from_millis(500)) {
                Ok(_) => while heads.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout) => {}
                // More subscribers than are kept: look now and then.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    async fn step(&self, summed: &mut Option<Instant>) -> Result<(), IndexError> {
        let changed = catch_up(&self.chain, &self.index, &self.stop).await?;
        if summed.is_none_or(|at| at.elapsed() >= SUMMARY_EVERY) {
            *summed = Some(Instant::now());
            *self.summary.write() = Arc::new(self.index.summary(self.chain.now_secs()).await?);
            self.sender.send_modify(|count| *count = count.wrapping_add(1));
        } else if changed {
            self.sender.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}
