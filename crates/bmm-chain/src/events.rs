//! News of the chain: new heads and new pending transactions.

use crate::{chain::HeadBlock, finality::SignedBet};
use alloy_primitives::B256;
use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

/// Most subscribers of one kind; the oldest goes when one more comes.
const MAX_SUBSCRIBERS: usize = 256;

/// A change from one branch to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// Number of the last block that both branches have.
    pub ancestor: u64,
    /// Blocks that are no longer canonical, the former head first.
    pub abandoned: Vec<B256>,
    /// Blocks that became canonical, ascending, the new head last.
    pub adopted: Vec<B256>,
}

/// The chain has a new head.
#[derive(Clone, Debug)]
pub struct HeadEvent {
    /// The new head.
    pub head: Arc<HeadBlock>,
    /// The change of branch, if the new head is not a child of the former.
    pub reorg: Option<Arc<Reorg>>,
}

/// What a waiter has seen: counts of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Changes of the head.
    pub heads: u64,
    /// Changes of the pool.
    pub pool: u64,
    /// Calls of [`Events::wake`].
    pub wakes: u64,
}

/// What waiters look at.
#[derive(Default)]
struct State {
    seen: Seen,
    /// How many wait for the pool too. Transactions come by the thousand a second; who waits for a head only is not woken by them.
    wait_for_pool: usize,
}

/// Hands news to subscribers and wakes waiters. Never blocks on a slow subscriber: heads that do not fit its queue, it
/// misses; its queue of pending transactions is closed.
#[derive(Default)]
pub(crate) struct Events {
    state: Mutex<State>,
    changed: Condvar,
    heads: Mutex<Vec<SyncSender<HeadEvent>>>,
    pending: Mutex<Vec<SyncSender<B256>>>,
    bets: Mutex<Vec<SyncSender<SignedBet>>>,
}

impl Events {
    /// Opens a queue of heads that holds up to `capacity` events.
    pub fn subscribe_heads(&self, capacity: usize) -> Receiver<HeadEvent> {
        subscribe(&self.heads, capacity)
    }

    /// Opens a queue of hashes of new pending transactions that holds up to `capacity`; it is closed when one does not fit.
    pub fn subscribe_pending(&self, capacity: usize) -> Receiver<B256> {
        subscribe(&self.pending, capacity)
    }

    /// Opens a queue of new bets that holds up to `capacity`; what does not fit is lost.
    pub fn subscribe_bets(&self, capacity: usize) -> Receiver<SignedBet> {
        subscribe(&self.bets, capacity)
    }

    /// Tells everybody of a new bet.
    pub fn new_bet(&self, bet: &SignedBet) {
        publish(&self.bets, bet);
    }

    /// Tells everybody of a new head.
    pub fn new_head(&self, event: &HeadEvent) {
        publish(&self.heads, event);
        self.bump(|seen| seen.heads = seen.heads.wrapping_add(1));
    }

    /// Tells everybody of a new pending transaction.
    pub fn new_pending(&self, hash: B256) {
        self.pending.lock().retain(|subscriber| subscriber.try_send(hash).is_ok());
        let mut state = self.state.lock();
        state.seen.pool = state.seen.pool.wrapping_add(1);
        if state.wait_for_pool > 0 {
            self.changed.notify_all();
        }
    }

    /// Returns the counts of changes so far.
    pub fn seen(&self) -> Seen {
        self.state.lock().seen
    }

    /// Wakes all waiters, so that they look at their stop flags.
    pub fn wake(&self) {
        self.bump(|seen| seen.wakes = seen.wakes.wrapping_add(1));
    }

    /// Waits until something changed after `since`, somebody called [`Self::wake`], or the time is over.
    pub fn wait(&self, since: Seen, timeout: Duration) -> Seen {
        let mut state = self.state.lock();
        if state.seen == since {
            state.wait_for_pool = state.wait_for_pool.saturating_add(1);
            self.changed.wait_for(&mut state, timeout);
            state.wait_for_pool = state.wait_for_pool.saturating_sub(1);
        }
        state.seen
    }

    /// Waits as [`Self::wait`] does, but not for transactions.
    pub fn wait_for_head(&self, since: Seen, timeout: Duration) -> Seen {
        let mut state = self.state.lock();
        if (state.seen.heads, state.seen.wakes) == (since.heads, since.wakes) {
            self.changed.wait_for(&mut state, timeout);
        }
        state.seen
    }

    /// Waits until `ready` gives something or the time is over; looks again at every new head.
    pub fn wait_until<T>(&self, timeout: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let since = self.seen();
            if let Some(value) = ready() {
                return Some(value);
            }
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            self.wait_for_head(since, left);
        }
    }

    fn bump(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.state.lock().seen);
        self.changed.notify_all();
    }
}

fn subscribe<T>(subscribers: &Mutex<Vec<SyncSender<T>>>, capacity: usize) -> Receiver<T> {
    let (sender, receiver) = sync_channel(capacity.max(1));
    let mut subscribers = subscribers.lock();
    if subscribers.len() >= MAX_SUBSCRIBERS {
        subscribers.remove(0);
    }
    subscribers.push(sender);
    receiver
}

fn publish<T: Clone>(subscribers: &Mutex<Vec<SyncSender<T>>>, event: &T) {
    subscribers
        .lock()
        .retain(|subscriber| !matches!(subscriber.try_send(event.clone()), Err(TrySendError::Disconnected(_))));
}
