//! `trace_filter`.

use super::{
    calls_of,
    params::Filter,
    rewards::{self, Entry},
};
use crate::{
    error::{RpcError, RpcResult},
    eth::at,
    methods::{Context, Json},
    params::Args,
    replays::{Budget, Stored, TRACE_TIME, long_json},
};
use alloy_rpc_types_trace::filter::TraceFilterMatcher;
use std::ops::RangeInclusive;

/// Blocks that one filter may span: every one is run again.
const MAX_BLOCKS: u64 = 1_000;

/// Traces that one answer may hold.
const MAX_TRACES: usize = 10_000;

/// `trace_filter`: the calls and rewards of a range of blocks from or to given addresses. Without a range it is the head alone;
/// `after` and `count` cut out a part.
pub(crate) fn filter(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let mut filter: Filter = args.required()?;
    let head = context.chain.head().number();
    let from = at::number(context, filter.from_block.unwrap_or_default())?;
    let to = at::number(context, filter.to_block.unwrap_or_default())?.unwrap_or(head);
    let matcher = filter.addresses().matcher();
    let skip = filter.after.map_or(0, super::params::U64OrNumber::get);
    let count = filter.count.map_or(usize::MAX, super::params::U64OrNumber::get);
    let mut search = Search { context, matcher, skip, count, found: Vec::new() };
    // A range that begins above the head is empty for now.
    if let Some(from) = from {
        search.range(from..=to)?;
    }
    long_json(context, &search.found)
}

struct Search<'a> {
    context: &'a Context,
    matcher: TraceFilterMatcher,
    /// Matches that are still to be left out.
    skip: usize,
    count: usize,
    found: Vec<Entry>,
}

impl Search<'_> {
    fn range(&mut self, numbers: RangeInclusive<u64>) -> RpcResult<()> {
        let (from, to) = (*numbers.start(), *numbers.end());
        if from > to {
            return Err(RpcError::param(1, "filter", format!("fromBlock {from} is above toBlock {to}")));
        }
        let span = (to - from).saturating_add(1);
        if span > MAX_BLOCKS {
            let last = from.saturating_add(MAX_BLOCKS - 1);
            return Err(RpcError::Limit(format!(
                "the filter spans {span} blocks, at most {MAX_BLOCKS} are allowed; ask in parts, first {from:#x} to {last:#x}"
            )));
        }
        let mut budget = Budget::new(self.context, TRACE_TIME);
        for number in numbers {
            if self.found.len() >= self.count {
                break;
            }
            let late = |error: RpcError| match error {
                RpcError::Limit(words) => RpcError::Limit(format!("up to block {number:#x}: {words}")),
                other => other,
            };
            budget.check().map_err(late)?;
            let Some(stored) = Stored::find(self.context, number.into())? else { break };
            self.block(&stored, &mut budget).map_err(late)?;
        }
        Ok(())
    }

    fn block(&mut self, stored: &Stored, budget: &mut Budget) -> RpcResult<()> {
        let calls = calls_of(self.context, stored, budget)?;
        let rewards = rewards::of(self.context.chain.params(), &stored.header, stored.id);
        for entry in calls.into_iter().map(Entry::from).chain(rewards) {
            if self.found.len() >= self.count || !self.matcher.matches(&entry.trace.trace) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if self.found.len() >= MAX_TRACES {
                return Err(RpcError::Limit(format!(
                    "more than {MAX_TRACES} traces match; ask for fewer blocks, or for parts by `after` and `count`"
                )));
            }
            self.found.push(entry);
        }
        Ok(())
    }
}
