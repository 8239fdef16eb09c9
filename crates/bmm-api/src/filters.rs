//! Filters that are polled: `eth_newFilter` and its like.

use crate::{
    error::{RpcError, RpcResult},
    eth::{answer, logs as query, tx},
    methods::{Context, Json, json},
    news::{Change, Lagged, Listener},
    params::{Args, Handle},
};
use alloy_primitives::{B256, map::HashMap};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log, Transaction as RpcTransaction};
use bmm_types::Transaction;
use parking_lot::Mutex;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// Filters that are kept at once.
const MAX_FILTERS: usize = 1_024;

/// Time after which a filter that nobody asks is forgotten.
const IDLE: Duration = Duration::from_mins(5);

/// What a filter or subscription looks for.
#[derive(Clone)]
pub(crate) enum Kind {
    Logs(Box<Filter>),
    Blocks,
    /// Waiting transactions, whole or their hashes.
    Pending {
        whole: bool,
    },
}

/// One filter.
struct Entry {
    kind: Kind,
    /// Place in the journal.
    place: u64,
    used: Instant,
    _listener: Listener,
}

/// All filters by their names.
#[derive(Default)]
pub(crate) struct Filters(Mutex<HashMap<String, Entry>>);

/// Makes a name that nobody guesses.
pub(crate) fn name() -> String {
    // Each state is seeded by the operating system.
    format!("{:#x}", RandomState::new().hash_one(Instant::now()))
}

fn unknown() -> RpcError {
    RpcError::Refused("filter not found: it was never made, or nobody asked for 5 minutes; make it again".into())
}

fn create(context: &Context, kind: Kind) -> RpcResult<Json> {
    let (listener, changes, pending) = context.news.listen(&context.chain, &context.blocks)?;
    let place = if matches!(kind, Kind::Pending { .. }) { pending } else { changes };
    let mut filters = context.filters.0.lock();
    filters.retain(|_, filter| filter.used.elapsed() < IDLE);
    if filters.len() >= MAX_FILTERS {
        return Err(RpcError::Limit(format!("{MAX_FILTERS} filters are open; remove some with eth_uninstallFilter")));
    }
    let name = name();
    filters.insert(name.clone(), Entry { kind, place, used: Instant::now(), _listener: listener });
    json(&name)
}

/// Checks a filter for what is to come.
pub(crate) fn live(filter: Filter) -> RpcResult<Kind> {
    query::check(&filter)?;
    if matches!(filter.block_option, FilterBlockOption::AtBlockHash(_)) {
        return Err(RpcError::param(1, "filter", "blockHash names one block; ask eth_getLogs for its logs"));
    }
    Ok(Kind::Logs(Box::new(filter)))
}

/// `eth_newFilter`.
pub(crate) fn new_logs(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    create(context, live(args.required()?)?)
}

/// `eth_newBlockFilter`.
pub(crate) fn new_blocks(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    create(context, Kind::Blocks)
}

/// `eth_newPendingTransactionFilter`: of hashes, or of whole transactions.
pub(crate) fn new_pending(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    create(context, Kind::Pending { whole: args.optional()?.unwrap_or(false) })
}

/// `eth_uninstallFilter`: whether there was one.
pub(crate) fn uninstall(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Handle(name) = args.required()?;
    json(&context.filters.0.lock().remove(&name).is_some())
}

/// Looks a filter up, and notes that it is used.
fn find(context: &Context, name: &str) -> RpcResult<(Kind, u64)> {
    let mut filters = context.filters.0.lock();
    filters.retain(|_, filter| filter.used.elapsed() < IDLE);
    let filter = filters.get_mut(name).ok_or_else(unknown)?;
    filter.used = Instant::now();
    Ok((filter.kind.clone(), filter.place))
}

/// `eth_getFilterLogs`: all logs that the filter means, as `eth_getLogs` gives them.
pub(crate) fn logs(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Handle(name) = args.required()?;
    match find(context, &name)?.0 {
        Kind::Logs(filter) => query::find(context, &filter),
        _ => Err(RpcError::Refused("the filter is not one of logs; ask eth_getFilterChanges".into())),
    }
}

/// `eth_getFilterChanges`: what is new since the last call. Where that is more than one answer may hold, the rest comes with the next.
pub(crate) fn changes(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Handle(name) = args.required()?;
    let (kind, place) = find(context, &name)?;
    let lagged = |Lagged| {
        context.filters.0.lock().remove(&name);
        RpcError::Refused(
            "the filter was asked too seldom, and changes are gone; make it again, and read what was missed".into(),
        )
    };
    let changes = || context.news.changes_since(&context.chain, &context.blocks, place);
    let (answer, read) = match &kind {
        Kind::Logs(filter) => {
            let (mut found, mut read) = (Vec::new(), 0);
            for change in changes()?.map_err(lagged)? {
                let logs = logs_of(context, filter, &change)?;
                // At least one block, so that the filter gets on.
                if read > 0 && found.len() + logs.len() > context.config.max_logs {
                    break;
                }
                found.extend(logs);
                read += 1;
            }
            (json(&found)?, read)
        }
        Kind::Blocks => {
            let changes = changes()?.map_err(lagged)?;
            let adopted = changes.iter().filter_map(|change| match change {
                Change::Adopted(block) => Some(block.id),
                Change::Abandoned(_) => None,
            });
            (json(&adopted.collect::<Vec<B256>>())?, changes.len())
        }
        Kind::Pending { whole } => {
            let hashes = context.news.pending_since(&context.chain, place).map_err(lagged)?;
            let answer = if *whole {
                let each = |hash: &B256| waiting(context, *hash).transpose();
                json(&hashes.iter().filter_map(each).collect::<RpcResult<Vec<_>>>()?)?
            } else {
                json(&hashes)?
            };
            (answer, hashes.len())
        }
    };
    if let Some(filter) = context.filters.0.lock().get_mut(&name) {
        // Of two callers at once, both may be told the same.
        filter.place = place.saturating_add(answer::u64_of(read));
    }
    Ok(answer)
}

/// Returns the matching logs of a change; those of an abandoned block with `removed`, the last first.
pub(crate) fn logs_of(context: &Context, filter: &Filter, change: &Change) -> RpcResult<Vec<Log>> {
    let (Change::Abandoned(block) | Change::Adopted(block)) = change;
    let number = block.header.number;
    let in_range = match filter.block_option {
        FilterBlockOption::Range { from_block, to_block } => {
            let bound = |bound: Option<alloy_eips::BlockNumberOrTag>| bound.and_then(|bound| bound.as_number());
            bound(from_block).is_none_or(|from| from <= number) && bound(to_block).is_none_or(|to| number <= to)
        }
        FilterBlockOption::AtBlockHash(_) => false,
    };
    if !in_range || !filter.matches_bloom(block.header.logs_bloom) {
        return Ok(Vec::new());
    }
    // Of a block abandoned before anybody asked for its logs, nobody has been told any.
    let Some(receipts) = block.receipts(&context.chain)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    query::matching(filter, block.id, &block.header, &receipts.all, &block.body, |log| found.push(log));
    if matches!(change, Change::Abandoned(_)) {
        found.reverse();
        for log in &mut found {
            log.removed = true;
        }
    }
    Ok(found)
}

/// Returns a transaction that came to wait, as it is now; `None` where it is gone.
pub(crate) fn waiting(context: &Context, hash: B256) -> RpcResult<Option<RpcTransaction<Transaction>>> {
    if let Some(waiting) = context.chain.pending_transaction(hash) {
        return Ok(Some(answer::transaction(waiting.transaction.clone(), waiting.sender, None)));
    }
    tx::find(context, hash)?.map_or(Ok(None), |(block, index)| answer::mined(&context.chain, &block, index))
}
