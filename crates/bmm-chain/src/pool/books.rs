//! The pool's books: transactions by hash, by sender and nonce, and in the orders in which they come and go.
//!
//! Nothing here costs more when the pool is larger, but for the depth of the trees; and a new base fee costs nothing at all.

use super::{
    Fees, PoolError, PoolLimits, PoolStatus, PoolTransaction,
    best::Best,
    fees::max_cost,
    heads::Heads,
    lasts::{Last, Lasts},
    sender::Queue,
};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256};
use bmm_ledger::{diff::Account, exec::header::next_base_fee};
use bmm_types::{Header, Transaction};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// How far above the account's next nonce a transaction may be, as a multiple of the limit per sender.
const NONCE_GAP_FACTOR: u64 = 4;

/// After so many transactions that went for their age, others wait for the next call.
const EXPIRED_AT_ONCE: usize = 256;

/// A transaction that holds all rules but those of the pool.
pub(crate) struct Candidate {
    /// The transaction.
    pub transaction: Transaction,
    /// Who signed it.
    pub sender: Address,
    /// The sender's account at the head.
    pub account: Account,
    /// The time, in Unix seconds.
    pub now: u64,
}

/// The pool. It holds no rule that another node could disagree about.
pub(crate) struct TxPool {
    limits: PoolLimits,
    queues: HashMap<Address, Queue>,
    by_hash: HashMap<B256, Arc<PoolTransaction>>,
    heads: Heads,
    lasts: Lasts,
    /// Senders by the time when they were last active: those with a gap, and the others.
    idle: [BTreeSet<(u64, Address)>; 2],
    bytes: usize,
    ready: usize,
    /// The head that the pool has followed the chain to, and the base fee after it.
    head: B256,
    base_fee: u64,
    arrivals: u64,
}

impl TxPool {
    /// Makes an empty pool over a head.
    pub fn new(limits: PoolLimits, head: B256, header: &Header) -> Self {
        Self {
            limits,
            queues: HashMap::new(),
            by_hash: HashMap::new(),
            heads: Heads::default(),
            lasts: Lasts::default(),
            idle: Default::default(),
            bytes: 0,
            ready: 0,
            head,
            base_fee: next_base_fee(header),
            arrivals: 0,
        }
    }

    pub fn get(&self, hash: B256) -> Option<&Arc<PoolTransaction>> {
        self.by_hash.get(&hash)
    }

    pub const fn head(&self) -> B256 {
        self.head
    }

    pub(super) fn queue(&self, sender: Address) -> Option<&Queue> {
        self.queues.get(&sender)
    }

    pub fn senders(&self) -> Vec<Address> {
        self.queues.keys().copied().collect()
    }

    /// Takes a transaction.
    pub fn insert(&mut self, new: Candidate) -> Result<Arc<PoolTransaction>, PoolError> {
        let Candidate { transaction, sender, account, now } = new;
        let hash = *transaction.tx_hash();
        if self.by_hash.contains_key(&hash) {
            return Err(PoolError::AlreadyKnown);
        }
        if self.queues.get(&sender).is_some_and(|queue| *queue.account() != account) {
            self.edit(sender, |queue| queue.set_account(account));
        }
        self.check_nonce(&transaction, &account)?;
        let replaced = self.check_replacement(&transaction, sender)?;
        self.check_funds(&transaction, sender, &account, replaced.as_deref())?;
        self.arrivals = self.arrivals.saturating_add(1);
        let bytes = transaction.encode_2718_len();
        let entry = Arc::new(PoolTransaction { transaction, hash, sender, bytes, arrival: self.arrivals });
        self.make_room(&entry, &account, replaced.as_deref())?;
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_hash.insert(hash, entry.clone());
        // Whoever has nothing here is a sender without a past.
        let queue = self.queues.entry(sender).or_default();
        if queue.len() == 0 {
            queue.set_account(account);
        }
        self.edit(sender, |queue| {
            queue.active = now;
            queue.insert(entry.clone()).into_iter().collect()
        });
        // Afterwards, so that who has just sent something is not among the idle.
        self.expire(now);
        Ok(entry)
    }

    /// Rule: the nonce is the account's next or later, but not too far.
    fn check_nonce(&self, transaction: &Transaction, account: &Account) -> Result<(), PoolError> {
        let (tx, state) = (transaction.nonce(), account.nonce);
        if tx < state {
            return Err(PoolError::NonceTooLow { tx, state });
        }
        let window = u64::try_from(self.limits.per_sender).unwrap_or(u64::MAX).saturating_mul(NONCE_GAP_FACTOR);
        // The last nonce of all is never used (EIP-2681).
        if tx.saturating_sub(state) >= window || tx == u64::MAX {
            return Err(PoolError::NonceTooHigh { tx, state });
        }
        Ok(())
    }

    /// Rule: a transaction takes the place of another one with both fees raised by 10 % or more.
    fn check_replacement(&self, new: &Transaction, sender: Address) -> Result<Option<Arc<PoolTransaction>>, PoolError> {
        let Some(queue) = self.queues.get(&sender) else { return Ok(None) };
        let Some(old) = queue.get(new.nonce()) else {
            let full = queue.len() >= self.limits.per_sender;
            return if full { Err(PoolError::AccountLimit(self.limits.per_sender)) } else { Ok(None) };
        };
        if Fees::of(new).replaces(&old.fees()) { Ok(Some(old.clone())) } else { Err(PoolError::ReplacementUnderpriced) }
    }

    /// Rule: the account can pay the most that all its waiting transactions may cost.
    fn check_funds(
        &self,
        new: &Transaction,
        sender: Address,
        account: &Account,
        replaced: Option<&PoolTransaction>,
    ) -> Result<(), PoolError> {
        let freed = replaced.map(|old| max_cost(&old.transaction)).unwrap_or_default();
        let others = self.queues.get(&sender).map(Queue::cost).unwrap_or_default().saturating_sub(freed);
        let (balance, cost) = (account.balance, others.saturating_add(max_cost(new)));
        if cost > balance { Err(PoolError::Funds { balance, cost }) } else { Ok(()) }
    }

    /// Takes the worst last transactions away until the new one fits, as long as they are worse than it. One that replaces another
    /// has that one's room.
    fn make_room(
        &mut self,
        new: &PoolTransaction,
        account: &Account,
        replaced: Option<&PoolTransaction>,
    ) -> Result<(), PoolError> {
        let (freed, freed_bytes) = replaced.map_or((0, 0), |old| (1, old.bytes));
        let has_room = |pool: &Self| {
            pool.by_hash.len().saturating_sub(freed) < pool.limits.transactions
                && pool.bytes.saturating_sub(freed_bytes).saturating_add(new.bytes) <= pool.limits.bytes
        };
        if has_room(self) {
            return Ok(());
        }
        let nonce = new.transaction.nonce();
        let (gapped, floor) = match self.queues.get(&new.sender) {
            Some(queue) if queue.would_be_ready(nonce) => (false, queue.floor_before(nonce, new.fees())),
            Some(_) => (true, new.fees()),
            None => (nonce != account.nonce, new.fees()),
        };
        let rank = Last { gapped, floor, arrival: new.arrival }.rank(self.base_fee);
        while !has_room(self) {
            let (worst, sender) = self.lasts.worst(self.base_fee).ok_or(PoolError::Full)?;
            let last = self.queues.get(&sender).and_then(Queue::last).map(|tx| tx.transaction.nonce());
            let last = last.ok_or(PoolError::Full)?;
            // Of one's own only later ones may go: else the new one would be left with a gap before it.
            if worst >= rank || (sender == new.sender && last <= nonce) {
                return Err(PoolError::Full);
            }
            self.remove(sender, last);
        }
        Ok(())
    }

    /// Takes one transaction away.
    pub fn remove(&mut self, sender: Address, nonce: u64) {
        self.edit(sender, |queue| queue.remove(nonce).into_iter().collect());
    }

    /// Changes a sender's queue, strikes what it gave up, and brings the indices up to date.
    fn edit(&mut self, sender: Address, change: impl FnOnce(&mut Queue) -> Vec<Arc<PoolTransaction>>) -> usize {
        let Some(queue) = self.queues.get_mut(&sender) else { return 0 };
        let gone = change(queue);
        for tx in &gone {
            self.by_hash.remove(&tx.hash);
            self.bytes = self.bytes.saturating_sub(tx.bytes);
        }
        self.list(sender);
        gone.len()
    }

    /// Brings the indices up to date for one sender; forgets the sender when nothing is left.
    fn list(&mut self, sender: Address) {
        let Some(queue) = self.queues.get_mut(&sender) else { return };
        let old = std::mem::take(&mut queue.listing);
        let new = queue.describe();
        self.ready = self.ready.saturating_sub(old.ready).saturating_add(new.ready);
        if old.head.as_ref().map(|tx| tx.arrival) != new.head.as_ref().map(|tx| tx.arrival) {
            if let Some(head) = &old.head {
                self.heads.remove(head);
            }
            if let Some(head) = &new.head {
                self.heads.insert(head.clone());
            }
        }
        let idle = |last: &Option<Last>, active| last.map(|last| (usize::from(!last.gapped), (active, sender)));
        let (was, is) = (idle(&old.last, old.active), idle(&new.last, new.active));
        if was != is {
            if let Some(set) = was.and_then(|(kind, key)| Some((self.idle.get_mut(kind)?, key))) {
                set.0.remove(&set.1);
            }
            if let Some(set) = is.and_then(|(kind, key)| Some((self.idle.get_mut(kind)?, key))) {
                set.0.insert(set.1);
            }
        }
        if old.last != new.last {
            if let Some(last) = &old.last {
                self.lasts.remove(sender, last);
            }
            if let Some(last) = &new.last {
                self.lasts.insert(sender, last);
            }
        }
        if queue.len() == 0 {
            self.queues.remove(&sender);
        } else {
            queue.listing = new;
        }
    }

    /// Takes over a new head. Its effect on the senders comes by [`Self::refresh`].
    pub fn set_head(&mut self, head: B256, header: &Header, now: u64) {
        (self.head, self.base_fee) = (head, next_base_fee(header));
        self.expire(now);
    }

    /// Takes over a sender's account: drops used transactions, and the last ones as far as they cannot be paid.
    pub fn refresh(&mut self, sender: Address, account: Account, now: u64) {
        self.edit(sender, |queue| {
            let mut gone = queue.set_account(account);
            if !gone.is_empty() {
                queue.active = now;
            }
            gone.extend(queue.take_unpayable());
            gone
        });
    }

    /// Drops what waits for an earlier nonce, and what waits for a block, once its sender has done nothing for the time allowed.
    fn expire(&mut self, now: u64) {
        let allowed = [self.limits.queued_secs, self.limits.pending_secs];
        let mut gone: usize = 0;
        for (kind, secs) in allowed.into_iter().enumerate() {
            while gone < EXPIRED_AT_ONCE
                && let Some((active, sender)) = self.idle.get(kind).and_then(BTreeSet::first).copied()
                && active.saturating_add(secs) <= now
            {
                let take = if kind == 0 { Queue::take_gapped } else { Queue::take_all };
                let count = self.edit(sender, take);
                tracing::debug!(%sender, count, "transactions waited too long");
                gone = gone.saturating_add(count);
            }
        }
    }

    /// Returns the nonce after the sender's transactions that follow without a gap; `None` if there are none.
    pub fn next_nonce(&self, sender: Address) -> Option<u64> {
        self.queues.get(&sender).filter(|queue| queue.listing.ready > 0).map(Queue::next_nonce)
    }

    /// Returns up to `limit` of those that follow `tx` in its sender's queue without a gap.
    pub fn after(&self, tx: &PoolTransaction, limit: usize) -> VecDeque<Arc<PoolTransaction>> {
        let nonce = tx.transaction.nonce().saturating_add(1);
        let queue = self.queues.get(&tx.sender);
        queue.map(|queue| queue.run(nonce, limit).cloned().collect()).unwrap_or_default()
    }

    /// Returns the transactions that could be in the next block, the best first.
    pub fn best(&self) -> Best {
        Best::new(self.base_fee, &self.heads)
    }

    /// Whether a transaction could be in the next block.
    pub fn has_ready(&self) -> bool {
        self.heads.any_pays(self.base_fee)
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn status(&self) -> PoolStatus {
        PoolStatus { pending: self.ready, queued: self.by_hash.len().saturating_sub(self.ready) }
    }

    /// Whether nothing is left in any index.
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        let empty = self.queues.is_empty() && self.by_hash.is_empty() && self.idle.iter().all(BTreeSet::is_empty);
        empty && self.lasts.worst(0).is_none() && !self.heads.any_pays(0) && (self.bytes, self.ready) == (0, 0)
    }
}
