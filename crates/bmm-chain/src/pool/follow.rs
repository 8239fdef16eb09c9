//! How the pool follows the chain.

use super::{LOCKED_AT_ONCE, check};
use crate::{
    chain::{Chain, HeadBlock},
    error::ImportError,
    events::Reorg,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::Address;
use bmm_ledger::{
    diff::{Account, StateDiff},
    exec::recover_senders,
    store::StoreError,
};
use bmm_types::Transaction;
use std::collections::HashSet;

/// How many transactions of abandoned blocks, the last ones, go back to the pool. Blocks wait while that is done: some 20 µs each.
const MAX_RETURNED: usize = 16_384;

/// How many accounts are told apart in a change of branch; beyond that, all senders are looked at.
const MAX_TOUCHED: usize = 262_144;

/// Accounts that a change of branch changed.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    accounts: HashSet<Address>,
    too_many: bool,
}

impl Touched {
    /// Adds the accounts that one block changed.
    pub fn add(&mut self, accounts: impl Iterator<Item = Address>) {
        self.too_many |= self.accounts.len() > MAX_TOUCHED;
        if !self.too_many {
            self.accounts.extend(accounts);
        }
    }
}

/// Returns the accounts that a block changed, as they are after it.
pub(crate) fn accounts_after(diff: &StateDiff) -> Vec<(Address, Account)> {
    diff.accounts.iter().map(|(address, account)| (*address, account.after.unwrap_or_default())).collect()
}

impl Chain {
    /// Tells the pool of a block on its head, and of the accounts that changed.
    pub(crate) fn pool_follows(&self, head: &HeadBlock, touched: &[(Address, Account)]) {
        let now = self.now_secs();
        self.pool.lock().set_head(head.id, &head.header, now);
        for some in touched.chunks(LOCKED_AT_ONCE) {
            let mut pool = self.pool.lock();
            for (sender, account) in some {
                pool.refresh(*sender, *account, now);
            }
        }
    }

    /// Has the pool look at accounts that changed on the way to another branch, as they are at the head. Blocks must wait meanwhile.
    pub(crate) fn pool_looks_again(&self, touched: Touched) -> Result<(), StoreError> {
        let (now, head, state) = (self.now_secs(), self.head(), self.store.view()?);
        let touched: Vec<Address> = {
            let mut pool = self.pool.lock();
            pool.set_head(head.id, &head.header, now);
            if touched.too_many { pool.senders() } else { touched.accounts.into_iter().collect() }
        };
        for some in touched.chunks(LOCKED_AT_ONCE) {
            let senders: Vec<&Address> = {
                let pool = self.pool.lock();
                some.iter().filter(|sender| pool.queue(**sender).is_some()).collect()
            };
            let read = |sender: &Address| Ok((*sender, state.account(*sender)?.unwrap_or_default()));
            let accounts = senders.into_iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
            let mut pool = self.pool.lock();
            for (sender, account) in accounts {
                pool.refresh(sender, account, now);
            }
        }
        Ok(())
    }

    /// Gives the pool the transactions of abandoned blocks that are in no block any more.
    pub(crate) fn pool_takes_back(&self, reorg: &Reorg) -> Result<(), ImportError> {
        let (mut blocks, mut count, mut bytes) = (Vec::new(), 0usize, 0usize);
        for id in &reorg.abandoned {
            let mut returned: Vec<Transaction> = Vec::new();
            for transaction in self.store.body(*id)?.into_iter().flat_map(|body| body.transactions) {
                if self.store.transaction_place(*transaction.tx_hash())?.is_none() {
                    bytes = bytes.saturating_add(transaction.encode_2718_len());
                    returned.push(transaction);
                }
            }
            count = count.saturating_add(returned.len());
            if count > MAX_RETURNED || bytes > self.options.pool.bytes {
                let abandoned = reorg.abandoned.len();
                tracing::warn!(abandoned, "of so many blocks only the last give their transactions back");
                break;
            }
            blocks.push(returned);
        }
        // Oldest first, so that nonces come in order.
        for transactions in blocks.into_iter().rev() {
            let senders = recover_senders(&transactions)?;
            for (transaction, sender) in transactions.into_iter().zip(senders) {
                self.take_back(transaction, sender);
            }
        }
        Ok(())
    }

    fn take_back(&self, transaction: Transaction, sender: Address) {
        let hash = *transaction.tx_hash();
        let gas_limit = self.head.read().header.gas_limit;
        let taken = check::check(&self.params, &self.options.pool, gas_limit, &transaction)
            .and_then(|()| self.admit(transaction, sender));
        if let Err(error) = taken {
            tracing::debug!(%hash, %error, "a transaction of an abandoned block does not go back to the pool");
        }
    }

    /// Returns the senders of those transactions that wait, the recovery of a signature being dear.
    pub(crate) fn known_senders(&self, transactions: &[Transaction]) -> Vec<Option<Address>> {
        let mut senders = Vec::with_capacity(transactions.len());
        for some in transactions.chunks(LOCKED_AT_ONCE) {
            let pool = self.pool.lock();
            senders.extend(some.iter().map(|tx| pool.get(*tx.tx_hash()).map(|tx| tx.sender)));
        }
        senders
    }
}
