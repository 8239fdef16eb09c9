//! The table of methods and how they run: what is short at once on the connection's thread, what reads the disk there too as long as
//! another one stays free for cheap calls, all else on blocking threads behind bounded queues.

use crate::{
    admin,
    aux::{self, AuxDesk},
    blocks::Blocks,
    config::ApiConfig,
    debug,
    error::{RpcError, RpcResult},
    eth,
    filters::{self, Filters},
    finality, net,
    network::NetworkView,
    news::News,
    ots,
    params::{Args, shown},
    raw,
    server::{Session, Surroundings},
    sync, trace, txpool,
    wait::{self, Heads},
};
use alloy_primitives::B256;
use bmm_chain::Chain;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};
use tokio::{sync::Semaphore, task};

/// An answer, already JSON. Cheap to clone: written blocks are kept, and may be long.
#[derive(Clone, Debug)]
pub(crate) struct Json(Arc<String>);

impl Json {
    /// Takes over what is known to be JSON.
    pub(crate) fn new(json: String) -> Self {
        Self(Arc::new(json))
    }

    /// Returns the JSON.
    pub(crate) fn get(&self) -> &str {
        &self.0
    }
}

/// What a method does with its parameters.
type Run = fn(&Context, &mut Args<'_>) -> RpcResult<Json>;

/// Does that as well if it takes not much longer than to hand it to another thread; `None` where it would.
type RunIfShort = fn(&Context, &mut Args<'_>) -> RpcResult<Option<Json>>;

/// How much a call may cost.
#[derive(Clone, Copy, Debug)]
enum Weight {
    /// A few look-ups in the newest state, or one signature: runs where it was read.
    Light,
    /// [`Weight::Light`] for the newest state; older ones are put together from many diffs: [`Weight::Reading`].
    ByBlock,
    /// Reads whole blocks from the disk: many at once.
    Reading,
    /// [`Weight::Heavy`], but for what is short: that runs where it was read. What turns out not to be is begun anew.
    Brief(RunIfShort),
    /// Runs the EVM or reads many blocks, perhaps for as long as a trace may take: as many at once as there are cores, and never on a
    /// thread that serves connections. Such a thread may be the one that hears of new requests; while it computes, no other would.
    Heavy,
}

/// Calls of [`Weight::Reading`] that run at once. They wait for the disk more than they compute.
const MAX_READING: usize = 16;

/// One method.
pub(crate) struct Method {
    name: &'static str,
    params: &'static [&'static str],
    weight: Weight,
    run: Run,
}

const fn light(name: &'static str, params: &'static [&'static str], run: Run) -> Method {
    Method { name, params, weight: Weight::Light, run }
}

const fn by_block(name: &'static str, params: &'static [&'static str], run: Run) -> Method {
    Method { name, params, weight: Weight::ByBlock, run }
}

const fn reading(name: &'static str, params: &'static [&'static str], run: Run) -> Method {
    Method { name, params, weight: Weight::Reading, run }
}

const fn brief(name: &'static str, params: &'static [&'static str], short: RunIfShort, run: Run) -> Method {
    Method { name, params, weight: Weight::Brief(short), run }
}

const fn heavy(name: &'static str, params: &'static [&'static str], run: Run) -> Method {
    Method { name, params, weight: Weight::Heavy, run }
}

/// Every method, with its parameters' names as Ethereum's execution-apis give them.
static METHODS: &[Method] = &[
    light("admin_nodeInfo", &[], admin::node_info),
    light("admin_peers", &[], admin::peers),
    light("bmm_finality", &[], finality::finality),
    heavy("bmm_getAccountRange", &["block hash", "from", "max bytes"], sync::account_range),
    reading("bmm_getBlocks", &["first number", "count"], sync::blocks),
    reading("bmm_getCodes", &["hashes"], sync::codes),
    reading("bmm_getHeaders", &["first number", "count"], sync::headers),
    heavy("bmm_getSlotRanges", &["block hash", "accounts", "from", "max bytes"], sync::slot_ranges),
    heavy("bmm_getStateNodes", &["block hash", "account", "paths"], sync::state_nodes),
    heavy("createauxblock", &["address"], aux::create),
    reading("debug_getRawBlock", &["block"], raw::whole),
    reading("debug_getRawHeader", &["block"], raw::header),
    reading("debug_getRawReceipts", &["block"], raw::receipts),
    reading("debug_getRawTransaction", &["transaction hash"], raw::transaction),
    heavy("debug_traceBlock", &["block", "options"], debug::block_encoded),
    heavy("debug_traceBlockByHash", &["block hash", "options"], debug::block_by_hash),
    heavy("debug_traceBlockByNumber", &["block", "options"], debug::block_by_number),
    heavy("debug_traceCall", &["transaction", "block", "options"], debug::call),
    heavy("debug_traceTransaction", &["transaction hash", "options"], debug::transaction),
    reading("erigon_getHeaderByNumber", &["block"], ots::header_by_number),
    light("eth_accounts", &[], eth::state::accounts),
    light("eth_blobBaseFee", &[], eth::fees::blob_base_fee),
    light("eth_blockNumber", &[], eth::blocks::number),
    brief(
        "eth_call",
        &["transaction", "block", "state overrides", "block overrides"],
        eth::call::call_if_short,
        eth::call::call,
    ),
    light("eth_chainId", &[], eth::state::chain_id),
    heavy("eth_createAccessList", &["transaction", "block", "state overrides"], eth::access::create),
    heavy("eth_estimateGas", &["transaction", "block", "state overrides", "block overrides"], eth::call::estimate_gas),
    heavy("eth_feeHistory", &["block count", "newest block", "reward percentiles"], eth::fees::history),
    reading("eth_gasPrice", &[], eth::fees::gas_price),
    by_block("eth_getBalance", &["address", "block"], eth::state::balance),
    reading("eth_getBlockByHash", &["block hash", "hydrated transactions"], eth::blocks::by_hash),
    reading("eth_getBlockByNumber", &["block", "hydrated transactions"], eth::blocks::by_number),
    reading("eth_getBlockReceipts", &["block"], eth::parts::receipts),
    reading("eth_getBlockTransactionCountByHash", &["block hash"], eth::parts::count_by_hash),
    reading("eth_getBlockTransactionCountByNumber", &["block"], eth::parts::count_by_number),
    by_block("eth_getCode", &["address", "block"], eth::state::code),
    heavy("eth_getFilterChanges", &["filter id"], filters::changes),
    heavy("eth_getFilterLogs", &["filter id"], filters::logs),
    reading("eth_getHeaderByHash", &["block hash"], eth::parts::header_by_hash),
    reading("eth_getHeaderByNumber", &["block"], eth::parts::header_by_number),
    heavy("eth_getLogs", &["filter"], eth::logs::logs),
    heavy("eth_getProof", &["address", "storage keys", "block"], eth::proof::prove),
    reading("eth_getRawTransactionByBlockHashAndIndex", &["block hash", "index"], eth::parts::raw_by_hash),
    reading("eth_getRawTransactionByBlockNumberAndIndex", &["block", "index"], eth::parts::raw_by_number),
    reading("eth_getRawTransactionByHash", &["transaction hash"], raw::transaction),
    by_block("eth_getStorageAt", &["address", "storage slot", "block"], eth::state::storage),
    reading("eth_getTransactionByBlockHashAndIndex", &["block hash", "index"], eth::parts::transaction_by_hash),
    reading("eth_getTransactionByBlockNumberAndIndex", &["block", "index"], eth::parts::transaction_by_number),
    reading("eth_getTransactionByHash", &["transaction hash"], eth::tx::by_hash),
    by_block("eth_getTransactionCount", &["address", "block"], eth::state::nonce),
    reading("eth_getTransactionReceipt", &["transaction hash"], eth::tx::receipt),
    light("eth_getUncleByBlockHashAndIndex", &["block hash", "index"], eth::parts::uncle_by_hash),
    light("eth_getUncleByBlockNumberAndIndex", &["block", "index"], eth::parts::uncle_by_number),
    reading("eth_getUncleCountByBlockHash", &["block hash"], eth::parts::uncles_by_hash),
    reading("eth_getUncleCountByBlockNumber", &["block"], eth::parts::uncles_by_number),
    reading("eth_maxPriorityFeePerGas", &[], eth::fees::priority_fee),
    reading("eth_newBlockFilter", &[], filters::new_blocks),
    reading("eth_newFilter", &["filter"], filters::new_logs),
    reading("eth_newPendingTransactionFilter", &["full transactions"], filters::new_pending),
    light("eth_sendRawTransaction", &["transaction"], eth::tx::send_raw),
    light("eth_sendTransaction", &["transaction"], eth::keys::refuse),
    light("eth_sign", &["address", "message"], eth::keys::refuse),
    light("eth_signTransaction", &["transaction"], eth::keys::refuse),
    light("eth_signTypedData", &["address", "typed data"], eth::keys::refuse),
    light("eth_signTypedData_v4", &["address", "typed data"], eth::keys::refuse),
    heavy("eth_simulateV1", &["payload", "block"], eth::simulate::simulate),
    light("eth_syncing", &[], eth::state::syncing),
    light("eth_uninstallFilter", &["filter id"], filters::uninstall),
    heavy("getauxblock", &["block hash", "proof"], aux::get),
    light("net_listening", &[], net::listening),
    light("net_peerCount", &[], net::peer_count),
    light("net_version", &[], net::version),
    light("ots_getApiLevel", &[], ots::api_level),
    heavy("ots_getBlockDetails", &["block"], ots::block_details),
    heavy("ots_getBlockDetailsByHash", &["block hash"], ots::block_details_by_hash),
    heavy("ots_getBlockTransactions", &["block", "page", "page size"], ots::block_transactions),
    heavy("ots_getContractCreator", &["address"], ots::contract_creator),
    reading("ots_getHeaderByNumber", &["block"], ots::header_by_number),
    heavy("ots_getInternalOperations", &["transaction hash"], ots::internal_operations),
    heavy("ots_getTransactionBySenderAndNonce", &["address", "nonce"], ots::transaction_by_sender_and_nonce),
    heavy("ots_getTransactionError", &["transaction hash"], ots::transaction_error),
    by_block("ots_hasCode", &["address", "block"], ots::has_code),
    heavy("ots_searchTransactionsAfter", &["address", "block", "page size"], ots::after),
    heavy("ots_searchTransactionsBefore", &["address", "block", "page size"], ots::before),
    heavy("ots_traceTransaction", &["transaction hash"], ots::trace_transaction),
    light("rpc_modules", &[], admin::modules),
    heavy("submitauxblock", &["block hash", "proof"], aux::submit),
    heavy("submitauxwork", &["work hash", "proof"], aux::submit_work),
    heavy("trace_block", &["block"], trace::block),
    heavy("trace_call", &["transaction", "trace types", "block", "state overrides", "block overrides"], trace::call),
    heavy("trace_callMany", &["calls", "block"], trace::call_many),
    heavy("trace_filter", &["filter"], trace::filter),
    heavy("trace_get", &["transaction hash", "path"], trace::get),
    heavy("trace_rawTransaction", &["transaction", "trace types", "block"], trace::raw_transaction),
    heavy("trace_replayBlockTransactions", &["block", "trace types"], trace::replay_block),
    heavy("trace_replayTransaction", &["transaction hash", "trace types"], trace::replay_transaction),
    heavy("trace_transaction", &["transaction hash"], trace::transaction),
    heavy("txpool_content", &[], txpool::content),
    reading("txpool_contentFrom", &["address"], txpool::content_from),
    heavy("txpool_inspect", &[], txpool::inspect),
    light("txpool_status", &[], txpool::status),
    light("web3_clientVersion", &[], net::client_version),
    light("web3_sha3", &["data"], net::sha3),
];

/// Returns the name of every method in the table.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name).chain([wait::NAME])
}

/// A bounded queue of calls that take time.
struct Queue {
    /// Calls that run.
    running: Arc<Semaphore>,
    /// Calls that run or wait.
    admitted: Arc<Semaphore>,
}

impl Queue {
    fn new(running: usize, waiting: usize) -> Self {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { running: permits(running), admitted: permits(running.saturating_add(waiting)) }
    }

    /// Runs `work` on a blocking thread once it is its turn; refuses it where too many wait.
    async fn run(&self, name: &str, work: impl FnOnce() -> RpcResult<Json> + Send + 'static) -> RpcResult<Json> {
        let busy = || RpcError::Limit("this node is busy: too many calls wait; try again later".into());
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        let work = move || {
            let result = work();
            // The permits went along: a call whose client has left still occupied its thread.
            drop((admitted, running));
            result
        };
        task::spawn_blocking(work).await.unwrap_or_else(|e| Err(RpcError::Internal(format!("{name}: {e}"))))
    }
}

/// What every method works with.
pub(crate) struct Context {
    /// The chain that is served.
    pub(crate) chain: Arc<Chain>,
    /// The network that the node is in.
    pub(crate) network: Option<NetworkView>,
    /// The operator's limits.
    pub(crate) config: ApiConfig,
    /// Blocks that were read lately.
    pub(crate) blocks: Blocks,
    /// What changed lately.
    pub(crate) news: News,
    /// Filters that are polled.
    pub(crate) filters: Filters,
    /// The tip suggested for the block after this one.
    pub(crate) suggested_tip: Mutex<Option<(B256, u128)>>,
    /// Blocks that are worked on elsewhere.
    pub(crate) aux: AuxDesk,
    /// The newest head, and who waits for the next.
    pub(crate) heads: Heads,
    /// Short calls that run where they were read: fewer than there are threads, so that one is always free for others.
    at_once: Semaphore,
    reading: Queue,
    heavy: Queue,
}

impl Context {
    /// `threads` serve the connections.
    pub(crate) fn new(config: ApiConfig, chain: Arc<Chain>, surroundings: Surroundings, threads: usize) -> Self {
        let Surroundings { network, miners } = surroundings;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let heavy = if config.max_running == 0 { cores } else { config.max_running };
        Self {
            at_once: Semaphore::new(threads.saturating_sub(1)),
            reading: Queue::new(MAX_READING, config.max_waiting),
            heavy: Queue::new(heavy, config.max_waiting),
            blocks: Blocks::default(),
            news: News::default(),
            filters: Filters::default(),
            suggested_tip: Mutex::new(None),
            aux: AuxDesk::new(miners),
            heads: Heads::new(chain.head().id),
            chain,
            network,
            config,
        }
    }

    /// Runs the method of that name.
    pub(crate) async fn run(
        self: &Arc<Self>,
        session: Option<&Session>,
        name: &str,
        params: Option<&RawValue>,
    ) -> RpcResult<Json> {
        if let "eth_subscribe" | "eth_unsubscribe" = name {
            let session = session.ok_or(RpcError::NoNotifications)?;
            return session.run(name, params);
        }
        if name == wait::NAME {
            return wait::run(self, params).await;
        }
        let index = METHODS.binary_search_by(|method| method.name.cmp(name));
        let method = index.map_err(|_| RpcError::UnknownMethod(shown(name)))?;
        METHODS[method].run(self, params).await
    }
}

impl Method {
    /// Reads the list of parameters.
    fn args<'a>(&self, params: Option<&'a RawValue>) -> RpcResult<Args<'a>> {
        Args::new(self.params, params.map(RawValue::get))
    }

    /// Runs the method on this thread. A panic is a fault of the node and of this call alone.
    fn answer<T>(&self, work: impl FnOnce() -> RpcResult<T>) -> RpcResult<T> {
        // What a call shares with others is behind locks that do not poison, and changed in one step.
        let result = catch_unwind(AssertUnwindSafe(work));
        result.unwrap_or_else(|_| Err(RpcError::Internal(format!("{} panicked", self.name))))
    }

    /// Answers in the way of the method's weight.
    async fn run(&'static self, context: &Arc<Context>, params: Option<&RawValue>) -> RpcResult<Json> {
        if let Weight::Heavy = self.weight {
            return self.queue(context, &context.heavy, params).await;
        }
        let mut args = self.args(params)?;
        match self.weight {
            Weight::Light => self.answer(|| (self.run)(context, &mut args)),
            Weight::ByBlock if args.names_newest_block() => self.answer(|| (self.run)(context, &mut args)),
            Weight::Brief(run_if_short) => match self.answer(|| run_if_short(context, &mut args))? {
                Some(json) => Ok(json),
                None => self.queue(context, &context.heavy, params).await,
            },
            Weight::ByBlock | Weight::Reading | Weight::Heavy => {
                // Changing threads costs more than most of them.
                let permits = (context.at_once.try_acquire(), context.reading.running.try_acquire());
                if let (Ok(_), Ok(_)) = &permits {
                    return self.answer(|| (self.run)(context, &mut args));
                }
                drop(permits);
                self.queue(context, &context.reading, params).await
            }
        }
    }

    /// Answers on a thread of its own, once it is the call's turn.
    async fn queue(&'static self, context: &Arc<Context>, queue: &Queue, params: Option<&RawValue>) -> RpcResult<Json> {
        let (context, params) = (Arc::clone(context), params.map(ToOwned::to_owned));
        let work = move || self.answer(|| (self.run)(&context, &mut self.args(params.as_deref())?));
        queue.run(self.name, work).await
    }
}

/// Writes an answer.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> RpcResult<Json> {
    let written = serde_json::to_string(value).map(Json::new);
    written.map_err(|e| RpcError::Internal(format!("the answer cannot be written as JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_sorted_and_stand_once() {
        assert!(METHODS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    /// Takes the words in backticks out of a text, without what is in parentheses.
    fn quoted(text: &str) -> Vec<String> {
        let outside: String = text.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
        outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_names_every_method_and_no_other() {
        let text = include_str!("../../../docs/rpc.md");
        let (_, rest) = text.split_once("## Methods").expect("the methods");
        let (methods, _) = rest.split_once("\n## ").expect("more");
        let mut documented = BTreeSet::new();
        for line in methods.lines() {
            let Some((space, rest)) = line.trim_start_matches("| ").split_once(" | ").filter(|_| line.starts_with('|'))
            else {
                documented.extend(quoted(line).into_iter().filter(|word| word.contains('_')));
                continue;
            };
            let spaces = quoted(space);
            documented.extend(quoted(rest).into_iter().map(|word| match spaces.first() {
                Some(space) if !word.contains('_') => format!("{space}_{word}"),
                _ => word,
            }));
        }
        let subscriptions = ["eth_subscribe", "eth_unsubscribe"];
        let served: BTreeSet<String> = names().chain(subscriptions).map(str::to_owned).collect();
        assert_eq!(documented, served);
    }
}
