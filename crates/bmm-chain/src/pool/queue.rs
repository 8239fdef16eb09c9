//! The pool's books: transactions by sender and nonce, by hash, and by what would have to go first.

use super::{PoolContent, PoolError, PoolLimits, PoolStatus, PoolTransaction, best::Best, check::tip_offered};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, U256};
use bmm_ledger::{
    diff::Account,
    exec::header::next_base_fee,
    store::{StateView, StoreError},
};
use bmm_types::{Header, Transaction};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// How far above the account's next nonce a transaction may be, as a multiple of the limit per sender.
const NONCE_GAP_FACTOR: u64 = 4;

/// How good a transaction is to have: whether it could be in the next block (no nonce is missing before it, and it pays the base
/// fee), then the tip, then the earlier.
///
/// What waits for an earlier nonce may wait for ever, so that its tip costs nobody anything: it goes before all that could be in
/// a block.
type Rank = (bool, u128, Reverse<u64>, Address);

/// The transactions of one sender.
#[derive(Default)]
pub(super) struct Queue {
    /// The account's next nonce and its balance, as of the head.
    account: Account,
    transactions: BTreeMap<u64, Arc<PoolTransaction>>,
    /// Rank of the last transaction, as it is listed in `TxPool::last`.
    rank: Option<Rank>,
}

impl Queue {
    /// The transactions that could be in the next block, in order.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        let mut next = Some(self.account.nonce);
        self.transactions.values().take_while(move |tx| {
            let fits = next == Some(tx.transaction.nonce());
            next = next.and_then(|nonce| nonce.checked_add(1));
            fits
        })
    }

    /// Whether all of them could be in the next block, one after another: the first is due, and none is missing.
    fn is_ready(&self) -> bool {
        let last = u64::try_from(self.transactions.len()).ok().and_then(|len| self.account.nonce.checked_add(len));
        let ends = self.transactions.first_key_value().zip(self.transactions.last_key_value());
        ends.is_some_and(|((first, _), (end, _))| *first == self.account.nonce && end.checked_add(1) == last)
    }
}

/// The pool. It holds no rule that another node could disagree about.
pub(crate) struct TxPool {
    limits: PoolLimits,
    queues: HashMap<Address, Queue>,
    by_hash: HashMap<B256, Arc<PoolTransaction>>,
    /// The last transaction of every sender, the worst first: taking a last one away leaves no gap.
    last: BTreeSet<Rank>,
    bytes: usize,
    base_fee: u64,
    arrivals: u64,
}

impl TxPool {
    /// Makes an empty pool over `head`.
    pub fn new(limits: PoolLimits, head: &Header) -> Self {
        Self {
            limits,
            queues: HashMap::new(),
            by_hash: HashMap::new(),
            last: BTreeSet::new(),
            bytes: 0,
            base_fee: next_base_fee(head),
            arrivals: 0,
        }
    }

    pub const fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    pub fn get(&self, hash: B256) -> Option<&Arc<PoolTransaction>> {
        self.by_hash.get(&hash)
    }

    pub fn sender_of(&self, hash: B256) -> Option<Address> {
        self.by_hash.get(&hash).map(|tx| tx.sender)
    }

    /// Takes a checked transaction of an account that is `account` at the head.
    pub fn insert(&mut self, transaction: Transaction, sender: Address, account: Account) -> Result<B256, PoolError> {
        let hash = *transaction.tx_hash();
        if self.by_hash.contains_key(&hash) {
            return Err(PoolError::AlreadyKnown);
        }
        self.check_nonce(&transaction, &account)?;
        let replaced = self.check_replacement(&transaction, sender)?;
        self.check_funds(&transaction, sender, &account, replaced.as_deref())?;
        self.arrivals = self.arrivals.saturating_add(1);
        let entry = Arc::new(PoolTransaction { transaction, hash, sender, arrival: self.arrivals });
        self.make_room(&entry, &account, replaced.as_deref())?;
        if let Some(replaced) = replaced {
            self.remove(sender, replaced.transaction.nonce());
        }
        self.bytes = self.bytes.saturating_add(entry.transaction.encode_2718_len());
        self.by_hash.insert(hash, entry.clone());
        let queue = self.queues.entry(sender).or_default();
        queue.account = account;
        queue.transactions.insert(entry.transaction.nonce(), entry);
        self.rank(sender);
        Ok(hash)
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
        let Some(old) = queue.transactions.get(&new.nonce()) else {
            let full = queue.transactions.len() >= self.limits.per_sender;
            return if full { Err(PoolError::AccountLimit(self.limits.per_sender)) } else { Ok(None) };
        };
        let raised = |old: u128, new: u128| new > old && new.saturating_mul(10) >= old.saturating_mul(11);
        let fee = raised(old.transaction.max_fee_per_gas(), new.max_fee_per_gas());
        let tip = tip_offered(&old.transaction) == 0 || raised(tip_offered(&old.transaction), tip_offered(new));
        if fee && tip { Ok(Some(old.clone())) } else { Err(PoolError::ReplacementUnderpriced) }
    }

    /// Rule: the account can pay the most that all its waiting transactions may cost.
    fn check_funds(
        &self,
        new: &Transaction,
        sender: Address,
        account: &Account,
        replaced: Option<&PoolTransaction>,
    ) -> Result<(), PoolError> {
        let others = self.queues.get(&sender).into_iter().flat_map(|queue| queue.transactions.values());
        let cost = others
            .filter(|tx| tx.transaction.nonce() >= account.nonce && replaced.is_none_or(|old| old.hash != tx.hash))
            .fold(max_cost(new), |sum, tx| sum.saturating_add(max_cost(&tx.transaction)));
        if cost > account.balance { Err(PoolError::Funds { balance: account.balance, cost }) } else { Ok(()) }
    }

    /// Takes the worst last transactions away until the new one fits, as long as they are worse than it. One that replaces another
    /// has that one's room.
    fn make_room(
        &mut self,
        new: &PoolTransaction,
        account: &Account,
        replaced: Option<&PoolTransaction>,
    ) -> Result<(), PoolError> {
        let len = new.transaction.encode_2718_len();
        let (freed, freed_bytes) = replaced.map_or((0, 0), |old| (1, old.transaction.encode_2718_len()));
        let next = self.next_nonce(new.sender).unwrap_or(account.nonce);
        let rank = self.rank_of(new, new.transaction.nonce() <= next);
        while self.by_hash.len().saturating_sub(freed) >= self.limits.transactions
            || self.bytes.saturating_sub(freed_bytes).saturating_add(len) > self.limits.bytes
        {
            let worst = *self.last.first().ok_or(PoolError::Full)?;
            let nonce = self.queues.get(&worst.3).and_then(|queue| queue.transactions.keys().next_back().copied());
            let nonce = nonce.ok_or(PoolError::Full)?;
            // Of one's own only later ones may go: else the new one would be left with a gap before it.
            if worst >= rank || (worst.3 == new.sender && nonce <= new.transaction.nonce()) {
                return Err(PoolError::Full);
            }
            self.remove(worst.3, nonce);
        }
        Ok(())
    }

    /// Ranks a transaction; `ready` says whether no nonce is missing before it.
    fn rank_of(&self, tx: &PoolTransaction, ready: bool) -> Rank {
        let tip = tx.transaction.effective_tip_per_gas(self.base_fee);
        (ready && tip.is_some(), tip.unwrap_or(0), Reverse(tx.arrival), tx.sender)
    }

    /// Brings `last` up to date for one sender; forgets the sender when nothing is left.
    fn rank(&mut self, sender: Address) {
        let Some(queue) = self.queues.get(&sender) else { return };
        let ready = queue.is_ready();
        let rank = queue.transactions.values().next_back().map(|tx| self.rank_of(tx, ready));
        if let Some(old) = queue.rank {
            self.last.remove(&old);
        }
        if let Some(rank) = rank {
            self.last.insert(rank);
            self.queues.entry(sender).and_modify(|queue| queue.rank = Some(rank));
        } else {
            self.queues.remove(&sender);
        }
    }

    /// Takes one transaction away.
    pub fn remove(&mut self, sender: Address, nonce: u64) {
        let Some(tx) = self.queues.get_mut(&sender).and_then(|queue| queue.transactions.remove(&nonce)) else { return };
        self.by_hash.remove(&tx.hash);
        self.bytes = self.bytes.saturating_sub(tx.transaction.encode_2718_len());
        self.rank(sender);
    }

    /// Follows the chain to a new head: drops what has been used or cannot be paid any more. `touched` are the accounts
    /// that may have changed; all of them if absent.
    pub fn on_block(
        &mut self,
        state: &StateView,
        head: &Header,
        touched: Option<&BTreeSet<Address>>,
    ) -> Result<(), StoreError> {
        let senders: Vec<Address> = match touched {
            Some(touched) => touched.iter().filter(|address| self.queues.contains_key(*address)).copied().collect(),
            None => self.queues.keys().copied().collect(),
        };
        for sender in senders {
            let account = state.account(sender)?.unwrap_or_default();
            self.refresh(sender, account);
        }
        let base_fee = next_base_fee(head);
        if base_fee != self.base_fee {
            self.base_fee = base_fee;
            let senders: Vec<Address> = self.queues.keys().copied().collect();
            for sender in senders {
                self.rank(sender);
            }
        }
        Ok(())
    }

    /// Drops a sender's used transactions, and the last ones as far as they cannot be paid.
    fn refresh(&mut self, sender: Address, account: Account) {
        let Some(queue) = self.queues.get_mut(&sender) else { return };
        queue.account = account;
        let mut cost = U256::ZERO;
        let gone: Vec<u64> = queue
            .transactions
            .iter()
            .filter(|(nonce, tx)| {
                if **nonce < account.nonce {
                    return true;
                }
                cost = cost.saturating_add(max_cost(&tx.transaction));
                cost > account.balance
            })
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in gone {
            self.remove(sender, nonce);
        }
        // The account's next nonce says what is ready.
        self.rank(sender);
    }

    /// Returns the nonce after the sender's transactions that follow without a gap; `None` if it has none waiting.
    pub fn next_nonce(&self, sender: Address) -> Option<u64> {
        let last = self.queues.get(&sender)?.ready().last()?;
        last.transaction.nonce().checked_add(1)
    }

    /// Returns the transactions that could be in the next block, the best first.
    pub fn best(&self) -> Best {
        Best::new(self.base_fee, self.queues.values().map(|queue| queue.ready().cloned().collect()))
    }

    /// Whether a transaction could be in the next block.
    pub fn has_ready(&self) -> bool {
        let base_fee = u128::from(self.base_fee);
        self.queues
            .values()
            .any(|queue| queue.ready().next().is_some_and(|tx| tx.transaction.max_fee_per_gas() >= base_fee))
    }

    pub fn status(&self) -> PoolStatus {
        let pending = self.queues.values().map(|queue| queue.ready().count()).sum();
        PoolStatus { pending, queued: self.by_hash.len().saturating_sub(pending) }
    }

    pub fn content(&self) -> PoolContent {
        let mut content = PoolContent::default();
        let mut senders: Vec<(&Address, &Queue)> = self.queues.iter().collect();
        senders.sort_unstable_by_key(|(sender, _)| **sender);
        for (_, queue) in senders {
            let ready = queue.ready().count();
            content.pending.extend(queue.transactions.values().take(ready).cloned());
            content.queued.extend(queue.transactions.values().skip(ready).cloned());
        }
        content
    }
}

/// The most that a transaction may cost its sender, in units: gas and value.
fn max_cost(tx: &Transaction) -> U256 {
    let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    gas.saturating_add(tx.value())
}
