//! `eth_getLogs`: events by address and topics, over a bounded range, with the headers' blooms deciding which blocks are read.

use super::{
    answer::{self, Place},
    at,
    log_list::LogList,
};
use crate::{
    blocks::ReadBlock,
    error::{RpcError, RpcResult},
    methods::{Context, Json},
    params::Args,
};
use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, FilterBlockOption, FilterSet, Log};
use bmm_ledger::store::Receipt;
use bmm_types::{BlockBody, Header};
use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// Addresses, or alternatives for one topic, in one filter.
const MAX_ALTERNATIVES: usize = 1_000;

/// Longest time that one query may read; dense blocks make a range that is short enough in blocks long in logs.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Blocks of a span up to which they are kept for the next query: many callers follow the head, few read history.
const MAX_KEPT_SPAN: u64 = 16;

/// `eth_getLogs`.
pub(crate) fn logs(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let filter: Filter = args.required()?;
    check(&filter)?;
    find(context, &filter)
}

/// Checks that a filter is not too large to be compared with.
pub(crate) fn check(filter: &Filter) -> RpcResult<()> {
    let alternatives = filter.topics.iter().map(FilterSet::len).chain([filter.address.len()]).max().unwrap_or(0);
    if alternatives > MAX_ALTERNATIVES {
        let words = format!("{alternatives} alternatives in one place, at most {MAX_ALTERNATIVES} are allowed");
        return Err(RpcError::param(1, "filter", words));
    }
    Ok(())
}

/// Answers with the logs that a filter means.
pub(crate) fn find(context: &Context, filter: &Filter) -> RpcResult<Json> {
    let mut query = Query { context, filter, found: LogList::default(), until: Instant::now() + MAX_TIME };
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            query.block(&*at::block(context, hash.into())?.ok_or_else(|| RpcError::no_block(hash))?)?;
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let head = context.chain.head().number();
            let from = at::number(context, from_block.unwrap_or_default())?;
            let to = at::number(context, to_block.unwrap_or_default())?.unwrap_or(head);
            // A range that begins above the head is empty for now.
            if let Some(from) = from {
                query.range(from..=to)?;
            }
        }
    }
    Ok(query.found.finish())
}

/// One query under way.
struct Query<'a> {
    context: &'a Context,
    filter: &'a Filter,
    found: LogList,
    until: Instant,
}

impl Query<'_> {
    fn range(&mut self, numbers: RangeInclusive<u64>) -> RpcResult<()> {
        let (from, to) = (*numbers.start(), *numbers.end());
        if from > to {
            return Err(RpcError::param(1, "filter", format!("fromBlock {from} is above toBlock {to}")));
        }
        let (span, most) = ((to - from).saturating_add(1), self.context.config.max_log_blocks);
        if span > most {
            let last = from.saturating_add(most.saturating_sub(1));
            return Err(RpcError::Limit(format!(
                "the query spans {span} blocks, at most {most} are allowed; ask in parts, first {from:#x} to {last:#x}"
            )));
        }
        let chain = &self.context.chain;
        let mut parent: Option<B256> = None;
        for number in numbers {
            let Some(id) = chain.canonical(number)? else { break };
            let block = if span <= MAX_KEPT_SPAN {
                Some(at::stored(self.context, id)?.ok_or_else(reorganised)?)
            } else {
                self.context.blocks.kept(id)
            };
            let parent_hash = if let Some(block) = block {
                self.block(&block)?;
                block.header.parent_hash
            } else {
                let header = chain.header(id)?.ok_or_else(reorganised)?;
                self.unread_block(id, &header)?;
                header.parent_hash
            };
            // Logs of two branches must not stand in one answer.
            if parent.is_some_and(|parent| parent != parent_hash) {
                return Err(reorganised());
            }
            parent = Some(id);
        }
        Ok(())
    }

    /// Adds the matching logs of a block that is at hand.
    fn block(&mut self, block: &ReadBlock) -> RpcResult<()> {
        if !self.filter.matches_bloom(block.header.logs_bloom) {
            return Ok(());
        }
        self.check_time(&block.header)?;
        let Some(receipts) = block.receipts(&self.context.chain)? else {
            at::must_be_whole(self.context, block.id)?;
            return Err(reorganised());
        };
        self.add(block.id, &block.header, &receipts.all, &block.body)
    }

    /// Reads of a block no more than is needed, and adds its matching logs.
    fn unread_block(&mut self, id: B256, header: &Header) -> RpcResult<()> {
        if !self.filter.matches_bloom(header.logs_bloom) {
            return Ok(());
        }
        self.check_time(header)?;
        let Some(receipts) = self.context.chain.receipts(id)? else {
            at::must_be_whole(self.context, id)?;
            return Err(reorganised());
        };
        // A bloom says "perhaps"; the transactions are read for their hashes alone.
        if !receipts.iter().any(|receipt| receipt.logs().iter().any(|log| self.filter.matches(log))) {
            return Ok(());
        }
        let body = self.context.chain.body(id)?.ok_or_else(reorganised)?;
        self.add(id, header, &receipts, &body)
    }

    fn check_time(&self, header: &Header) -> RpcResult<()> {
        if Instant::now() <= self.until {
            return Ok(());
        }
        Err(RpcError::Limit(format!(
            "the query took longer than {} s, up to block {:#x}; ask for fewer blocks",
            MAX_TIME.as_secs(),
            header.number
        )))
    }

    fn add(&mut self, id: B256, header: &Header, receipts: &[Receipt], body: &BlockBody) -> RpcResult<()> {
        let most = self.context.config.max_logs;
        let most_bytes = usize::try_from(self.context.config.max_response_bytes).unwrap_or(usize::MAX);
        let mut count = self.found.len();
        for_matching(self.filter, id, header, receipts, body, |log, tx_hash, place, number| {
            count += 1;
            if count <= most && self.found.bytes() <= most_bytes {
                self.found.push(log, tx_hash, place, number);
            }
        });
        if self.found.bytes() > most_bytes {
            return Err(RpcError::AnswerTooLong(self.context.config.max_response_bytes));
        }
        if count <= most {
            return Ok(());
        }
        let number = header.number;
        let words = format!("query returned more than {most} results, up to block {number:#x}; ask for fewer blocks");
        Err(RpcError::Limit(words))
    }
}

/// Calls `each` with the matching logs of a block.
pub(crate) fn matching(
    filter: &Filter,
    id: B256,
    header: &Header,
    receipts: &[Receipt],
    body: &BlockBody,
    mut each: impl FnMut(Log),
) {
    for_matching(filter, id, header, receipts, body, |log, tx_hash, place, number| {
        each(answer::log(log.clone(), *tx_hash, place, number));
    });
}

/// Calls `each` with the matching logs of a block, the hash and place of each one's transaction, and its number in the block.
fn for_matching(
    filter: &Filter,
    id: B256,
    header: &Header,
    receipts: &[Receipt],
    body: &BlockBody,
    mut each: impl FnMut(&alloy_primitives::Log, &B256, Place<'_>, usize),
) {
    let mut number = 0;
    for (index, (receipt, tx)) in receipts.iter().zip(&body.transactions).enumerate() {
        let place = Place { block: id, header, index };
        for log in receipt.logs() {
            if filter.matches(log) {
                each(log, tx.tx_hash(), place, number);
            }
            number += 1;
        }
    }
}

fn reorganised() -> RpcError {
    RpcError::Refused("the chain was reorganised while logs were read; ask again".into())
}
