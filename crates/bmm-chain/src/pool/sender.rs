//! The transactions of one sender.

use super::{Fees, PoolTransaction, fees::max_cost, lasts::Last};
use alloy_consensus::Transaction as _;
use alloy_primitives::U256;
use bmm_ledger::diff::Account;
use std::{collections::BTreeMap, sync::Arc};

/// What a sender is listed with in the pool's indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// The first transaction, if its turn has come.
    pub head: Option<Arc<PoolTransaction>>,
    /// The last one.
    pub last: Option<Last>,
    /// How many follow the account's nonce without a gap.
    pub ready: usize,
    /// When it was last active, in Unix seconds.
    pub active: u64,
}

/// The transactions of one sender, by nonce, none below the account's.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The account as of the head.
    account: Account,
    transactions: BTreeMap<u64, Arc<PoolTransaction>>,
    /// How many follow the account's nonce without a gap.
    ready: usize,
    /// The most that all of them may cost together. None is taken with which the balance would not do, so that this is exact.
    cost: U256,
    /// The least fees of all; unknown after a removal.
    floor: Option<Fees>,
    /// When a transaction last came, or was mined.
    pub active: u64,
    /// As listed in the pool.
    pub listing: Listing,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    pub const fn account(&self) -> &Account {
        &self.account
    }

    pub const fn cost(&self) -> U256 {
        self.cost
    }

    pub fn get(&self, nonce: u64) -> Option<&Arc<PoolTransaction>> {
        self.transactions.get(&nonce)
    }

    pub fn last(&self) -> Option<&Arc<PoolTransaction>> {
        self.transactions.last_key_value().map(|(_, tx)| tx)
    }

    /// All of them, those that could be in the next block apart from the others.
    pub fn parts(&self) -> (Vec<Arc<PoolTransaction>>, Vec<Arc<PoolTransaction>>) {
        let mut all = self.transactions.values().cloned();
        (all.by_ref().take(self.ready).collect(), all.collect())
    }

    /// Up to `limit` of those that could be in the next block one after another, from `nonce` on.
    pub fn run(&self, nonce: u64, limit: usize) -> impl Iterator<Item = &Arc<PoolTransaction>> {
        let end = self.next_nonce().max(nonce);
        self.transactions.range(nonce..end).map(|(_, tx)| tx).take(limit)
    }

    /// The nonce after those that follow the account's without a gap.
    pub fn next_nonce(&self) -> u64 {
        self.account.nonce.saturating_add(u64::try_from(self.ready).unwrap_or(u64::MAX))
    }

    /// Whether one with this nonce could be in the next block, after others perhaps.
    pub fn would_be_ready(&self, nonce: u64) -> bool {
        nonce <= self.next_nonce()
    }

    /// The least fees of those before `nonce` and `fees`.
    pub fn floor_before(&self, nonce: u64, fees: Fees) -> Fees {
        self.transactions.range(..nonce).fold(fees, |floor, (_, tx)| floor.least(tx.fees()))
    }

    /// Puts a transaction in and returns the one that had its nonce.
    pub fn insert(&mut self, tx: Arc<PoolTransaction>) -> Option<Arc<PoolTransaction>> {
        let (nonce, fees) = (tx.transaction.nonce(), tx.fees());
        let was_empty = self.transactions.is_empty();
        self.cost = self.cost.saturating_add(max_cost(&tx.transaction));
        let old = self.transactions.insert(nonce, tx);
        self.floor = match (&old, self.floor) {
            (None, _) if was_empty => Some(fees),
            (None, Some(floor)) => Some(floor.least(fees)),
            _ => None,
        };
        if let Some(old) = &old {
            self.cost = self.cost.saturating_sub(max_cost(&old.transaction));
        } else if nonce == self.next_nonce() {
            self.count_ready(self.ready);
        }
        old
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, nonce: u64) -> Option<Arc<PoolTransaction>> {
        let old = self.transactions.remove(&nonce)?;
        self.cost = self.cost.saturating_sub(max_cost(&old.transaction));
        self.floor = None;
        let before = nonce.saturating_sub(self.account.nonce);
        self.ready = self.ready.min(usize::try_from(before).unwrap_or(usize::MAX));
        Some(old)
    }

    /// Takes over the account and returns the transactions that have been used.
    pub fn set_account(&mut self, account: Account) -> Vec<Arc<PoolTransaction>> {
        if account.nonce == self.account.nonce {
            self.account = account;
            return Vec::new();
        }
        self.account = account;
        let left = self.transactions.split_off(&account.nonce);
        let used = std::mem::replace(&mut self.transactions, left);
        for tx in used.values() {
            self.cost = self.cost.saturating_sub(max_cost(&tx.transaction));
        }
        if !used.is_empty() {
            self.floor = None;
        }
        self.count_ready(0);
        used.into_values().collect()
    }

    /// Takes the last ones out as far as the balance does not cover all.
    pub fn take_unpayable(&mut self) -> Vec<Arc<PoolTransaction>> {
        let mut gone = Vec::new();
        while self.cost > self.account.balance {
            let Some(nonce) = self.transactions.last_key_value().map(|(nonce, _)| *nonce) else { break };
            gone.extend(self.remove(nonce));
        }
        gone
    }

    /// Takes out those that wait for an earlier nonce.
    pub fn take_gapped(&mut self) -> Vec<Arc<PoolTransaction>> {
        let gone = self.transactions.split_off(&self.next_nonce());
        for tx in gone.values() {
            self.cost = self.cost.saturating_sub(max_cost(&tx.transaction));
        }
        self.floor = None;
        gone.into_values().collect()
    }

    /// Takes all out.
    pub fn take_all(&mut self) -> Vec<Arc<PoolTransaction>> {
        (self.cost, self.ready, self.floor) = (U256::ZERO, 0, None);
        std::mem::take(&mut self.transactions).into_values().collect()
    }

    /// Counts on from `known` transactions that are ready.
    fn count_ready(&mut self, known: usize) {
        self.ready = known;
        let from = self.next_nonce();
        let run = self.transactions.range(from..).zip(from..).take_while(|((nonce, _), due)| *nonce == due);
        self.ready = known.saturating_add(run.count());
    }

    /// Says what the sender is to be listed with.
    pub fn describe(&mut self) -> Listing {
        let gapped = self.ready < self.transactions.len();
        let last = self.last().cloned().map(|last| {
            let floor = if gapped { last.fees() } else { self.floor(last.fees()) };
            Last { gapped, floor, arrival: last.arrival }
        });
        let head = if self.ready > 0 { self.get(self.account.nonce).cloned() } else { None };
        Listing { head, last, ready: self.ready, active: self.active }
    }

    fn floor(&mut self, any: Fees) -> Fees {
        let all = self.transactions.values();
        *self.floor.get_or_insert_with(|| all.fold(any, |floor, tx| floor.least(tx.fees())))
    }
}
