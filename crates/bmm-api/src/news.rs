//! What changed lately: blocks that came and went, and transactions that came to wait, in order.
//!
//! One journal serves every filter and subscription. Each holds a place in it and reads on from there, at its own speed; who is so
//! slow that its place is gone is told so, and nobody is fed a gap. The journal is not made of the chain's events, which can be lost,
//! but of the way from the last block that it has to the head, by parents' hashes. A branch that comes and goes before anybody looks is
//! not on that way, and is left out as a whole.

use crate::{
    blocks::{Blocks, ReadBlock},
    error::RpcResult,
    methods::Context,
};
use alloy_primitives::B256;
use bmm_chain::Chain;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// Changes that are kept.
const MAX_CHANGES: usize = 4_096;

/// Bytes of their blocks' encodings that are kept.
const MAX_BYTES: usize = 32 << 20;

/// Hashes of waiting transactions that are kept.
const MAX_PENDING: usize = 1 << 16;

/// Blocks below the head that are known from the start: if they are abandoned later, their logs can be taken back.
const KNOWN_AT_START: usize = 16;

/// Longest way between two heads that is followed. Whoever listens across a longer one has lost its place.
const MAX_WAY: usize = 2_048;

/// How often somebody who waits for news looks whether the server still runs.
const LOOK: Duration = Duration::from_secs(1);

/// How often waiting transactions are told of.
const PENDING_STEP: Duration = Duration::from_millis(20);

/// How often it is looked whether anybody wants to be told.
const PENDING_LOOK: Duration = Duration::from_millis(100);

/// A change of the chain.
#[derive(Clone)]
pub(crate) enum Change {
    /// A block that was canonical is so no more. Such changes come newest first.
    Abandoned(Arc<ReadBlock>),
    /// A block became canonical.
    Adopted(Arc<ReadBlock>),
}

/// Somebody's place was overtaken: changes that it had not read are gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lagged;

/// As long as one lives, the journal is kept.
pub(crate) struct Listener(#[expect(dead_code, reason = "is counted")] Arc<()>);

/// A list of which the beginning is forgotten; places in it are counted from the first entry ever.
struct Tail<T> {
    kept: VecDeque<T>,
    forgotten: u64,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), forgotten: 0 }
    }
}

impl<T: Clone> Tail<T> {
    fn end(&self) -> u64 {
        self.forgotten.saturating_add(u64::try_from(self.kept.len()).unwrap_or(u64::MAX))
    }

    /// Forgets everything, and that there was a change that nobody can read.
    fn break_off(&mut self) {
        self.forgotten = self.end().saturating_add(1);
        self.kept.clear();
    }

    fn push(&mut self, entry: T, most: usize) -> Option<T> {
        self.kept.push_back(entry);
        if self.kept.len() > most { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<T> {
        let first = self.kept.pop_front();
        self.forgotten = self.forgotten.saturating_add(u64::from(first.is_some()));
        first
    }

    fn since(&self, place: u64) -> Result<Vec<T>, Lagged> {
        let skip = place.checked_sub(self.forgotten).ok_or(Lagged)?;
        Ok(self.kept.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)).cloned().collect())
    }
}

#[derive(Default)]
struct Journal {
    /// The block up to which the changes lead; none while nobody listens.
    head: Option<B256>,
    changes: Tail<Change>,
    bytes: usize,
    pending: Tail<B256>,
    /// Where waiting transactions come from; closed by the chain when it overflows.
    queue: Option<Receiver<B256>>,
}

impl Journal {
    fn push(&mut self, change: Change) {
        let (Change::Abandoned(block) | Change::Adopted(block)) = &change;
        self.bytes = self.bytes.saturating_add(block.len);
        let mut gone = self.changes.push(change, MAX_CHANGES);
        loop {
            if let Some(Change::Abandoned(block) | Change::Adopted(block)) = gone {
                self.bytes = self.bytes.saturating_sub(block.len);
            }
            if self.bytes <= MAX_BYTES || self.changes.kept.len() <= 1 {
                return;
            }
            gone = self.changes.pop();
        }
    }

    /// Returns the block as it was told of when it was adopted.
    fn told(&self, id: B256) -> Option<Arc<ReadBlock>> {
        self.changes.kept.iter().rev().find_map(|change| match change {
            Change::Adopted(block) if block.id == id => Some(Arc::clone(block)),
            _ => None,
        })
    }

    fn break_off(&mut self) {
        self.changes.break_off();
        self.bytes = 0;
    }

    /// Takes over what waits in the queue; says whether there is something new.
    fn collect_pending(&mut self, chain: &Chain) -> bool {
        let before = self.pending.end();
        let queue = self.queue.get_or_insert_with(|| chain.subscribe_pending(MAX_PENDING));
        let closed = loop {
            match queue.try_recv() {
                Ok(hash) => {
                    self.pending.push(hash, MAX_PENDING);
                }
                Err(error) => break error == TryRecvError::Disconnected,
            }
        };
        if closed {
            self.pending.break_off();
            self.queue = Some(chain.subscribe_pending(MAX_PENDING));
        }
        self.pending.end() > before
    }
}

/// The journal and who listens.
pub(crate) struct News {
    journal: Mutex<Journal>,
    listeners: Arc<()>,
    changed: watch::Sender<()>,
}

impl Default for News {
    fn default() -> Self {
        Self { journal: Mutex::default(), listeners: Arc::new(()), changed: watch::Sender::new(()) }
    }
}

impl News {
    /// Begins to listen. Returns what keeps the journal going, and the places after the newest change and the newest waiting transaction.
    pub(crate) fn listen(&self, chain: &Chain, blocks: &Blocks) -> RpcResult<(Listener, u64, u64)> {
        let mut journal = self.journal.lock();
        if journal.head.is_none() {
            let head = chain.head().id;
            let mut known = Vec::new();
            let mut next = Some(head);
            while let Some(id) = next.filter(|_| known.len() < KNOWN_AT_START) {
                let Some(block) = blocks.get(chain, id)? else { break };
                block.receipts(chain)?;
                next = (block.header.number > 0).then_some(block.header.parent_hash);
                known.push(block);
            }
            for block in known.into_iter().rev() {
                journal.push(Change::Adopted(block));
            }
            journal.head = Some(head);
        } else {
            self.follow(&mut journal, chain, blocks)?;
        }
        journal.collect_pending(chain);
        Ok((Listener(Arc::clone(&self.listeners)), journal.changes.end(), journal.pending.end()))
    }

    /// Returns the changes from `place` on, up to the present head.
    pub(crate) fn changes_since(
        &self,
        chain: &Chain,
        blocks: &Blocks,
        place: u64,
    ) -> RpcResult<Result<Vec<Change>, Lagged>> {
        let mut journal = self.journal.lock();
        self.follow(&mut journal, chain, blocks)?;
        Ok(journal.changes.since(place))
    }

    /// Returns the hashes of transactions that came from `place` on.
    pub(crate) fn pending_since(&self, chain: &Chain, place: u64) -> Result<Vec<B256>, Lagged> {
        let mut journal = self.journal.lock();
        journal.collect_pending(chain);
        journal.pending.since(place)
    }

    /// Returns what shows that there may be something new.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn is_heard(&self) -> bool {
        Arc::strong_count(&self.listeners) > 1
    }

    /// Leads the journal on to the head. A reorganisation meanwhile leaves it where it is: the next call finds the way.
    fn follow(&self, journal: &mut Journal, chain: &Chain, blocks: &Blocks) -> RpcResult<()> {
        let (Some(from), to) = (journal.head, chain.head().id) else { return Ok(()) };
        if from == to {
            return Ok(());
        }
        match way(chain, blocks, journal, from, to)? {
            Way::Moved => return Ok(()),
            Way::TooLong => journal.break_off(),
            Way::Found { abandoned, adopted } => {
                for block in abandoned {
                    journal.push(Change::Abandoned(block));
                }
                for block in adopted.into_iter().rev() {
                    journal.push(Change::Adopted(block));
                }
            }
        }
        journal.head = Some(to);
        self.changed.send_replace(());
        Ok(())
    }
}

/// The way from one block to another.
enum Way {
    /// The chain moved while it was looked for.
    Moved,
    /// Longer than [`MAX_WAY`], or out of the reach of what is kept.
    TooLong,
    /// Blocks to leave and blocks to take, both newest first.
    Found { abandoned: Vec<Arc<ReadBlock>>, adopted: Vec<Arc<ReadBlock>> },
}

/// Finds the way from one block to another.
fn way(chain: &Chain, blocks: &Blocks, journal: &Journal, from: B256, to: B256) -> RpcResult<Way> {
    let (mut abandoned, mut adopted) = (Vec::new(), Vec::new());
    let old = |id| match journal.told(id) {
        Some(block) => Ok(Some(block)),
        None => blocks.get(chain, id),
    };
    let (Some(mut left), Some(mut right)) = (old(from)?, blocks.get(chain, to)?) else { return Ok(Way::Moved) };
    while left.id != right.id {
        if abandoned.len() + adopted.len() > MAX_WAY {
            return Ok(Way::TooLong);
        }
        if left.header.number >= right.header.number {
            // Without its receipts nobody could be told which logs are taken back.
            if !left.header.logs_bloom.is_zero() && left.receipts(chain)?.is_none() {
                return Ok(Way::TooLong);
            }
            let Some(parent) = old(left.header.parent_hash)? else { return Ok(Way::Moved) };
            abandoned.push(std::mem::replace(&mut left, parent));
        } else {
            if right.receipts(chain)?.is_none() {
                return Ok(Way::Moved);
            }
            let Some(parent) = blocks.get(chain, right.header.parent_hash)? else { return Ok(Way::Moved) };
            adopted.push(std::mem::replace(&mut right, parent));
        }
    }
    Ok(Way::Found { abandoned, adopted })
}

/// Starts the threads that lead the journal on. They end soon after the server.
pub(crate) fn start(context: &Arc<Context>) -> std::io::Result<()> {
    let (heads, pending) = (Arc::downgrade(context), Arc::downgrade(context));
    let thread = |name: &str| thread::Builder::new().name(name.into());
    thread("rpc-heads").spawn(move || follow_heads(&heads))?;
    thread("rpc-pending").spawn(move || follow_pending(&pending))?;
    Ok(())
}

/// Follows the head while somebody listens.
fn follow_heads(context: &Weak<Context>) {
    let Some(chain) = context.upgrade().map(|context| Arc::clone(&context.chain)) else { return };
    // An event only says that the head may have moved; one that waits is as good as many.
    let mut queue = chain.subscribe_heads(1);
    drop(chain);
    loop {
        let event = queue.recv_timeout(LOOK);
        let Some(context) = context.upgrade() else { return };
        if let Err(RecvTimeoutError::Disconnected) = event {
            // The chain has too many subscribers and closed the oldest.
            queue = context.chain.subscribe_heads(1);
        }
        context.heads.tell(context.chain.head().id);
        let news = &context.news;
        let mut journal = news.journal.lock();
        if !news.is_heard() {
            journal.break_off();
            journal.head = None;
            journal.queue = None;
        } else if let Err(error) = news.follow(&mut journal, &context.chain, &context.blocks) {
            tracing::warn!(%error, "news of the chain could not be read");
        }
    }
}

/// Collects waiting transactions while somebody listens: a few at once, since they come by the thousand a second.
fn follow_pending(context: &Weak<Context>) {
    loop {
        let Some(context) = context.upgrade() else { return };
        let heard = context.news.is_heard();
        if heard && context.news.journal.lock().collect_pending(&context.chain) {
            context.news.changed.send_replace(());
        }
        drop(context);
        thread::sleep(if heard { PENDING_STEP } else { PENDING_LOOK });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_overtaken_is_told() {
        let mut tail = Tail::default();
        let start = tail.end();
        for entry in 0..5 {
            tail.push(entry, 3);
        }
        assert_eq!(tail.since(start), Err(Lagged));
        assert_eq!(tail.since(2), Ok(vec![2, 3, 4]));
        assert_eq!(tail.since(tail.end()), Ok(vec![]));
        let end = tail.end();
        tail.break_off();
        assert_eq!(tail.since(end), Err(Lagged));
        assert_eq!(tail.since(tail.end()), Ok(vec![]));
    }
}
