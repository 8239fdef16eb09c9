//! Random histories of the books and of a model that keeps a list and sorts it anew for every question.

use super::{account, address, candidate, head, pool, transaction};
use crate::pool::{Fees, PoolError, PoolLimits, PoolTransaction, TxPool, fees::max_cost, lasts::Last};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, U256};
use bmm_ledger::diff::Account;
use bmm_types::Transaction;
use proptest::prelude::*;
use std::{cmp::Reverse, collections::BTreeMap};

const SENDERS: usize = 5;
const LIMITS: PoolLimits = PoolLimits {
    transactions: 12,
    bytes: 2_000,
    per_sender: 5,
    transaction_bytes: 1_000,
    min_tip: 0,
    queued_secs: 10,
    pending_secs: 50,
};

#[derive(Clone, Debug)]
enum Step {
    /// Sender, nonce above the account's, fees, bytes of data.
    Submit(u64, u64, u128, u128, usize),
    /// How many of each sender's ready ones a block takes, and the base fee after it.
    Block([u64; SENDERS], u64),
    /// Nonces of a branch on which less was sent, and the base fee there.
    Reorg([u64; SENDERS], u64),
    /// What somebody has left.
    Balance(u64, u64),
    /// A transaction goes for another reason.
    Remove(prop::sample::Index),
    /// Seconds.
    Wait(u64),
}

#[derive(Clone)]
struct Entry {
    sender: Address,
    tx: Transaction,
    arrival: u64,
    bytes: usize,
}

impl Entry {
    fn fees(&self) -> Fees {
        Fees::of(&self.tx)
    }
}

struct Model {
    base_fee: u64,
    accounts: BTreeMap<Address, Account>,
    active: BTreeMap<Address, u64>,
    entries: Vec<Entry>,
    arrivals: u64,
}

impl Model {
    fn of(&self, sender: Address) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.sender == sender).collect();
        entries.sort_by_key(|entry| entry.tx.nonce());
        entries
    }

    fn senders(&self) -> Vec<Address> {
        self.accounts.keys().copied().collect()
    }

    fn ready(&self, sender: Address) -> usize {
        let first = self.accounts[&sender].nonce;
        self.of(sender).iter().zip(first..).take_while(|(entry, nonce)| entry.tx.nonce() == *nonce).count()
    }

    fn last(&self, sender: Address) -> Option<(u64, Last)> {
        let (all, ready) = (self.of(sender), self.ready(sender));
        let last = all.last()?;
        let gapped = ready < all.len();
        let all_before = all.iter().fold(last.fees(), |floor, entry| floor.least(entry.fees()));
        let floor = if gapped { last.fees() } else { all_before };
        Some((last.tx.nonce(), Last { gapped, floor, arrival: last.arrival }))
    }

    fn submit(&mut self, sender: Address, tx: Transaction, bytes: usize, now: u64) -> Result<(), &'static str> {
        let account = self.accounts[&sender];
        if self.entries.iter().any(|entry| entry.tx.tx_hash() == tx.tx_hash()) {
            return Err("known");
        }
        let replaced = self.of(sender).into_iter().find(|entry| entry.tx.nonce() == tx.nonce()).cloned();
        match &replaced {
            Some(old) if !Fees::of(&tx).replaces(&old.fees()) => return Err("replacement"),
            None if self.of(sender).len() >= LIMITS.per_sender => return Err("per sender"),
            _ => {}
        }
        let others = self.of(sender).into_iter().filter(|entry| entry.tx.nonce() != tx.nonce());
        let cost: U256 = others.map(|entry| max_cost(&entry.tx)).sum::<U256>() + max_cost(&tx);
        if cost > account.balance {
            return Err("funds");
        }
        self.arrivals += 1;
        let new = Entry { sender, tx, arrival: self.arrivals, bytes };
        let next = account.nonce + self.ready(sender) as u64;
        let gapped = new.tx.nonce() > next;
        let before = self.of(sender).into_iter().filter(|entry| entry.tx.nonce() < new.tx.nonce());
        let floor_before = before.fold(new.fees(), |floor, entry| floor.least(entry.fees()));
        let floor = if gapped { new.fees() } else { floor_before };
        let rank = Last { gapped, floor, arrival: new.arrival }.rank(self.base_fee);
        loop {
            let kept =
                self.entries.iter().filter(|entry| replaced.as_ref().is_none_or(|old| old.arrival != entry.arrival));
            let (count, bytes) = kept.fold((0, new.bytes), |(count, sum), entry| (count + 1, sum + entry.bytes));
            if count < LIMITS.transactions && bytes <= LIMITS.bytes {
                break;
            }
            let lasts = self.senders().into_iter().filter_map(|sender| Some((sender, self.last(sender)?)));
            let worst = lasts.min_by_key(|(_, (_, last))| last.rank(self.base_fee));
            let Some((worst, (nonce, last))) = worst else { return Err("full") };
            if last.rank(self.base_fee) >= rank || (worst == sender && nonce <= new.tx.nonce()) {
                return Err("full");
            }
            self.entries.retain(|entry| entry.sender != worst || entry.tx.nonce() != nonce);
        }
        self.entries.retain(|entry| entry.sender != sender || entry.tx.nonce() != new.tx.nonce());
        self.entries.push(new);
        self.active.insert(sender, now);
        self.expire(now);
        Ok(())
    }

    fn set_account(&mut self, sender: Address, account: Account, now: u64) {
        self.accounts.insert(sender, account);
        let before = self.entries.len();
        self.entries.retain(|entry| entry.sender != sender || entry.tx.nonce() >= account.nonce);
        if self.entries.len() < before {
            self.active.insert(sender, now);
        }
        let mut cost = U256::ZERO;
        let unpaid = self.of(sender).into_iter().find(|entry| {
            cost += max_cost(&entry.tx);
            cost > account.balance
        });
        if let Some(first) = unpaid.map(|entry| entry.tx.nonce()) {
            self.entries.retain(|entry| entry.sender != sender || entry.tx.nonce() < first);
        }
    }

    fn expire(&mut self, now: u64) {
        for sender in self.senders() {
            let idle = now - self.active.get(&sender).copied().unwrap_or(now);
            let (all, ready) = (self.of(sender).len(), self.ready(sender));
            let end = self.accounts[&sender].nonce + ready as u64;
            if all > ready && idle >= LIMITS.queued_secs {
                self.entries.retain(|entry| entry.sender != sender || entry.tx.nonce() < end);
            }
            if idle >= LIMITS.pending_secs {
                self.entries.retain(|entry| entry.sender != sender);
            }
        }
    }

    /// All that pay the base fee in the order in which they should come.
    fn order(&self) -> Vec<u64> {
        let mut queues: Vec<Vec<&Entry>> = Vec::new();
        for sender in self.senders() {
            let mut queue: Vec<&Entry> = self.of(sender).into_iter().take(self.ready(sender)).collect();
            queue.reverse();
            queues.push(queue);
        }
        let value = |queue: &Vec<&Entry>| {
            let entry = queue.last()?;
            Some((entry.fees().effective_tip(self.base_fee.into())?, Reverse(entry.arrival)))
        };
        let mut order = Vec::new();
        while let Some(best) = queues.iter_mut().filter(|queue| value(queue).is_some()).max_by_key(|queue| value(queue))
        {
            order.extend(best.pop().map(|entry| entry.arrival));
        }
        order
    }
}

fn order(pool: &TxPool) -> Vec<u64> {
    let mut best = pool.best();
    let mut order = Vec::new();
    while let Some(tx) = best.next() {
        // Two at a time, so that they are fetched more than once.
        best.included(&tx, || pool.after(&tx, 2));
        order.push(tx.arrival);
    }
    order
}

fn content(pool: &TxPool) -> (Vec<u64>, Vec<u64>) {
    let mut senders = pool.senders();
    senders.sort_unstable();
    let parts = senders.into_iter().filter_map(|sender| pool.queue(sender)).map(crate::pool::sender::Queue::parts);
    let arrivals = |part: Vec<std::sync::Arc<PoolTransaction>>| part.into_iter().map(|tx| tx.arrival);
    let (mut pending, mut queued) = (Vec::new(), Vec::new());
    for (ready, gapped) in parts {
        pending.extend(arrivals(ready));
        queued.extend(arrivals(gapped));
    }
    (pending, queued)
}

fn agree(pool: &TxPool, model: &Model) -> Result<(), TestCaseError> {
    let (mut pending, mut queued) = (Vec::new(), Vec::new());
    for sender in model.senders() {
        let arrivals: Vec<u64> = model.of(sender).iter().map(|entry| entry.arrival).collect();
        let (ready, gapped) = arrivals.split_at(model.ready(sender));
        pending.extend_from_slice(ready);
        queued.extend_from_slice(gapped);
        let next = model.accounts[&sender].nonce + ready.len() as u64;
        prop_assert_eq!(pool.next_nonce(sender), Some(next).filter(|_| !ready.is_empty()));
    }
    let status = pool.status();
    prop_assert_eq!((status.pending, status.queued), (pending.len(), queued.len()));
    prop_assert_eq!(content(pool), (pending, queued));
    prop_assert!(pool.len() <= LIMITS.transactions);
    prop_assert!(model.entries.iter().all(|entry| pool.get(*entry.tx.tx_hash()).is_some()));
    prop_assert!(model.entries.iter().map(|entry| entry.bytes).sum::<usize>() <= LIMITS.bytes);
    prop_assert_eq!(order(pool), model.order());
    prop_assert_eq!(pool.has_ready(), !model.order().is_empty());
    Ok(())
}

fn nonces(most: u64) -> impl Strategy<Value = [u64; SENDERS]> {
    prop::array::uniform5(0..most)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..SENDERS as u64, 0u64..6, 1u128..40, 0u128..40, 0usize..300)
            .prop_map(|(sender, ahead, fee, tip, data)| Step::Submit(sender, ahead, fee, tip.min(fee), data)),
        2 => (nonces(4), 1u64..30).prop_map(|(taken, base_fee)| Step::Block(taken, base_fee)),
        1 => (nonces(3), 1u64..30).prop_map(|(taken, base_fee)| Step::Reorg(taken, base_fee)),
        1 => (0..SENDERS as u64, 0u64..4_000_000).prop_map(|(sender, balance)| Step::Balance(sender, balance)),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => (0u64..30).prop_map(Step::Wait),
    ]
}

fn is(error: &PoolError, word: &str) -> bool {
    match word {
        "known" => matches!(error, PoolError::AlreadyKnown),
        "replacement" => matches!(error, PoolError::ReplacementUnderpriced),
        "per sender" => matches!(error, PoolError::AccountLimit(_)),
        "funds" => matches!(error, PoolError::Funds { .. }),
        _ => matches!(error, PoolError::Full),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_books_do_what_the_model_does(steps in prop::collection::vec(step(), 1..120)) {
        let accounts = (0..SENDERS as u64).map(|n| (address(n), account(3, 4_000_000))).collect();
        let mut model =
            Model { base_fee: 10, accounts, active: BTreeMap::new(), entries: Vec::new(), arrivals: 0 };
        let (mut pool, mut now) = (pool(LIMITS, 10), 0);
        for step in steps {
            match step {
                Step::Submit(n, ahead, fee, tip, data) => {
                    let sender = address(n);
                    let account = model.accounts[&sender];
                    let tx = transaction(sender, account.nonce + ahead, fee, tip, data);
                    let bytes = alloy_eips::eip2718::Encodable2718::encode_2718_len(&tx);
                    let mut new = candidate(sender, account, tx.clone());
                    new.now = now;
                    let (got, wanted) = (pool.insert(new), model.submit(sender, tx, bytes, now));
                    match (&got, wanted) {
                        (Ok(entry), Ok(())) => prop_assert_eq!(entry.arrival, model.arrivals),
                        (Err(error), Err(word)) => prop_assert!(is(error, word), "{} for {}", error, word),
                        (got, wanted) => prop_assert!(false, "{:?} for {:?}", got, wanted),
                    }
                }
                Step::Block(taken, base_fee) => {
                    let (id, header) = head(base_fee);
                    pool.set_head(id, &header, now);
                    model.expire(now);
                    model.base_fee = base_fee;
                    for (n, taken) in (0..).zip(taken) {
                        let sender = address(n);
                        let mut account = model.accounts[&sender];
                        account.nonce += taken.min(model.ready(sender) as u64);
                        pool.refresh(sender, account, now);
                        model.set_account(sender, account, now);
                    }
                }
                Step::Reorg(back, base_fee) => {
                    let (id, header) = head(base_fee);
                    pool.set_head(id, &header, now);
                    model.expire(now);
                    model.base_fee = base_fee;
                    for (n, back) in (0..).zip(back) {
                        let sender = address(n);
                        let mut account = model.accounts[&sender];
                        account.nonce = account.nonce.saturating_sub(back);
                        pool.refresh(sender, account, now);
                        model.set_account(sender, account, now);
                    }
                }
                Step::Balance(n, balance) => {
                    let sender = address(n);
                    let changed = account(model.accounts[&sender].nonce, balance);
                    pool.refresh(sender, changed, now);
                    model.set_account(sender, changed, now);
                }
                Step::Remove(which) if !model.entries.is_empty() => {
                    let gone = model.entries.remove(which.index(model.entries.len()));
                    pool.remove(gone.sender, gone.tx.nonce());
                }
                Step::Remove(_) => {}
                Step::Wait(secs) => now += secs,
            }
            agree(&pool, &model)?;
        }
        // Nothing is left behind when everything goes.
        for entry in std::mem::take(&mut model.entries) {
            pool.remove(entry.sender, entry.tx.nonce());
        }
        agree(&pool, &model)?;
        prop_assert!(pool.is_clean());
    }
}
