//! How the pool follows the chain.

use super::{LOCKED_AT_ONCE, check};
use crate::{
    chain::{Chain, HeadBlock},
    error::ImportError,
    events::Reorg,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::Address;
use bmm_ledger::{diff::Account, exec::recover_senders, store::StoreError};
use bmm_types::Transaction;

/// How many transactions of abandoned blocks, the last ones, go back to the pool. Blocks wait while that is done: some 20 µs each.
const MAX_RETURNED: usize = 16_384;

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

    /// Has the pool look at the accounts of all its senders again, as they are at the head. Blocks must wait meanwhile.
    pub(crate) fn pool_starts_over(&self) -> Result<(), StoreError> {
        let (now, head, state) = (self.now_secs(), self.head(), self.store.view()?);
        let senders = {
            let mut pool = self.pool.lock();
            pool.set_head(head.id, &head.header, now);
            pool.senders()
        };
        for some in senders.chunks(LOCKED_AT_ONCE) {
            let read = |sender: &Address| Ok((*sender, state.account(*sender)?.unwrap_or_default()));
            let accounts = some.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
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
