//! Searching the transactions of an address, page by page.
//!
//! There is no index of addresses: blocks are read one after the other, and at most so many at once. A transaction counts that
//! the address sent, received or was created by, or that names it in a log.

use super::{
    blocks::{hydrated, ots_receipt, receipts},
    page_size,
};
use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json},
    params::{Args, Count},
    replays::{Stored, TRACE_TIME, long_json},
};
use alloy_consensus::Transaction as _;
use alloy_primitives::Address;
use alloy_rpc_types_eth::{Transaction as RpcTransaction, TransactionReceipt};
use alloy_rpc_types_trace::otterscan::{OtsTransactionReceipt, TransactionsWithReceipts};
use bmm_types::Transaction;
use std::time::Instant;

/// Blocks that one search may read.
const MAX_BLOCKS: usize = 10_000;

/// Transactions of one page.
const MAX_PAGE: usize = 1_000;

/// `ots_searchTransactionsBefore`: the newest transactions of an address below a block (0: from the head on), newest first.
pub(crate) fn before(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (address, Count(from)) = (args.required()?, args.required()?);
    let mut search = Search::new(context, address, page_size(args, 3, MAX_PAGE)?);
    let head = context.chain.head().number();
    let first_page = from == 0 || from > head;
    let newest = if first_page { head } else { from - 1 };
    // Genesis has no transactions.
    let last_page = search.read((1..=newest).rev())?;
    search.answer(first_page, last_page)
}

/// `ots_searchTransactionsAfter`: the oldest transactions of an address above a block (0: from genesis on), newest first.
pub(crate) fn after(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (address, Count(from)) = (args.required()?, args.required()?);
    let mut search = Search::new(context, address, page_size(args, 3, MAX_PAGE)?);
    let head = context.chain.head().number();
    let first_page = search.read(from.saturating_add(1)..=head)?;
    search.txs.reverse();
    search.receipts.reverse();
    search.answer(first_page, from == 0)
}

struct Search<'a> {
    context: &'a Context,
    address: Address,
    size: usize,
    txs: Vec<RpcTransaction<Transaction>>,
    receipts: Vec<OtsTransactionReceipt>,
}

impl<'a> Search<'a> {
    fn new(context: &'a Context, address: Address, size: usize) -> Self {
        Self { context, address, size, txs: Vec::new(), receipts: Vec::new() }
    }

    /// Reads blocks until the page is full; returns whether none are left.
    fn read(&mut self, numbers: impl DoubleEndedIterator<Item = u64>) -> RpcResult<bool> {
        let until = Instant::now() + TRACE_TIME;
        let mut numbers = numbers.peekable();
        let descends = |last: Option<u64>, next: u64| last.is_some_and(|last| last > next);
        let (mut last, mut count) = (None, 0);
        while let Some(number) = numbers.next() {
            if count == MAX_BLOCKS || Instant::now() > until {
                return Err(RpcError::Limit(format!(
                    "the search read {count} blocks without filling the page ({} of {} transactions found): there is no index of \
                     addresses; search on from block {number}, or ask for a page of {}",
                    self.txs.len(),
                    self.size,
                    self.txs.len().max(1),
                )));
            }
            count += 1;
            self.block(
                number,
                descends(last, number) || last.is_none() && numbers.peek().is_some_and(|n| *n < number),
            )?;
            last = Some(number);
            if self.txs.len() >= self.size {
                return Ok(numbers.peek().is_none());
            }
        }
        Ok(true)
    }

    /// Adds the transactions of one block, the last first where the search goes down.
    fn block(&mut self, number: u64, descends: bool) -> RpcResult<()> {
        let Some(id) = self.context.chain.canonical(number)? else { return Ok(()) };
        let Some(stored) = Stored::find(self.context, id.into())? else { return Ok(()) };
        if stored.body.transactions.is_empty() {
            return Ok(());
        }
        let receipts = receipts(self.context, &stored)?;
        let mut places: Vec<usize> =
            (0..receipts.len()).filter(|&index| self.names(&stored, index, &receipts)).collect();
        if descends {
            places.reverse();
        }
        for index in places {
            self.txs.push(hydrated(&stored, index));
            self.receipts.push(ots_receipt(receipts[index].clone(), stored.header.timestamp, true));
        }
        Ok(())
    }

    /// Whether a transaction has to do with the address.
    fn names(&self, stored: &Stored, index: usize, receipts: &[TransactionReceipt]) -> bool {
        let (address, word) = (self.address, self.address.into_word());
        stored.senders[index] == address
            || stored.body.transactions[index].to() == Some(address)
            || receipts[index].contract_address == Some(address)
            || receipts[index].logs().iter().any(|log| log.address() == address || log.topics().contains(&word))
    }

    fn answer(self, first_page: bool, last_page: bool) -> RpcResult<Json> {
        let found = TransactionsWithReceipts { txs: self.txs, receipts: self.receipts, first_page, last_page };
        long_json(self.context, &found)
    }
}
