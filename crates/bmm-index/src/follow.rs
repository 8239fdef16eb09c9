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

/// Reads rows of canonical blocks from `first` on, at most [`BATCH`], as far as they follow one another. Fewer while a branch is being
/// taken: then the caller looks again.
fn read(chain: &Chain, first: u64) -> Result<Vec<BlockRows>, ChainError> {
    let last = chain.head().number().min(first.saturating_add(BATCH).saturating_sub(1));
    let mut rows: Vec<BlockRows> = Vec::new();
    for number in first..=last {
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
    let begin = |first: u64| {
        let chain = chain.clone();
        tokio::task::spawn_blocking(move || read(&chain, first))
    };
    let ended = |_| IndexError::Damaged("a thread that reads the chain ended");
    let mut changed = false;
    let mut rows = begin(first).await.map_err(ended)??;
    while !rows.is_empty() && !stop.load(Ordering::Relaxed) {
        first = rows.last().map_or(first, |row| row.number.saturating_add(1));
        let reading = begin(first);
        index.apply(&rows).await?;
        changed = true;
        rows = reading.await.map_err(ended)??;
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
