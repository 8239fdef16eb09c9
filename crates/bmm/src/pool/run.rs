//! Runs a pool: share logs, books, work, miners, payments, and what is told of them.

use super::{
    config::PoolConfig,
    network,
    payer::{Payer, PayoutRules},
    setup::{books_failure, listens, log_failure, server_failure, source_config, source_failure},
};
use crate::{
    cli::Context,
    failure::{Failure, IoContext, Outcome},
    output,
    rpc::{RpcClient, connect},
    wallet::{Passwords, WalletStore},
};
use alloy_signer_local::PrivateKeySigner;
use bmm_pool::{
    BlockEvent, LogError, Server, Share, ShareLog, Solution, Sources,
    accountant::{AccountError, Accountant, POOL_LOG, PayRules, SOLO_LOG},
    api::{self, ApiState, Side},
    books::Books,
    payout::PayRule,
    server::{Listen, ServerConfig, TlsFiles},
    source::{Intend, PendingBlock, SourceConfig, SourceError},
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::mpsc,
    task,
};

/// Blocks that wait to be handed in, and events that wait to be booked.
const QUEUE: usize = 1_024;
/// How long a pool that stops waits for blocks that are being handed in.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a pool that starts waits for work.
const NO_WORK: Duration = Duration::from_mins(1);
/// Longest that a block waits for its note in the books.
const INTEND: Duration = Duration::from_secs(1);
/// Time between two looks for shares that nobody needs any more.
const RETIRE_EVERY: Duration = Duration::from_hours(1);

/// What the user chose.
#[derive(Debug, Default)]
pub struct PoolOptions {
    /// Where the wallet's password is.
    pub password_file: Option<PathBuf>,
}

/// What is printed when miners can connect, and kept for other commands.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// Where miners connect.
    pub stratum: Vec<SocketAddr>,
    /// Where miners connect for themselves alone.
    pub solo: Vec<SocketAddr>,
    /// Where the API is.
    pub api: Vec<SocketAddr>,
    /// Whom blocks pay.
    pub wallet: String,
    /// Shares in the log.
    pub shares: u64,
}

/// Returns the file that names the running pool.
pub fn running_file(folder: &Path) -> PathBuf {
    folder.join("pool.json")
}

/// Runs until it is interrupted.
pub fn run(context: &Context, options: &PoolOptions, interrupts: &Receiver<()>) -> Outcome {
    let config = &context.config.pool;
    config.check()?;
    let folder = context.data.pool();
    context.data.create(&folder)?;
    let json = context.global.json;
    let store = WalletStore::new(context.data.wallets()).with_dev_key(context.data.dev_key());
    let wallet = store.choose(config.wallet.as_deref())?;
    let key = store.unlock_wallet(&wallet, &Passwords::choose(options.password_file.as_deref()))?;
    let rpc = connect(context)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("pool")
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start threads for the pool: {error}")))?;
    let pool = Pool::start(config, &folder, &rpc, key, &runtime)?;
    let running = pool.running();
    let file = running_file(&folder);
    std::fs::write(&file, serde_json::to_vec(&running).expect("plain values")).doing("write", &file)?;
    let text = format!(
        "pool of {} with {} shares in its log: miners connect to stratum+tcp://{}",
        running.wallet,
        running.shares,
        running.stratum.iter().chain(&running.solo).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    );
    output::print(json, &running, text);
    for address in &running.api {
        output::note(json, format!("API and metrics at http://{address}/api/v1/pool and http://{address}/metrics"));
    }
    output::note(json, "Ctrl-C stops it: miners are asked to connect again, shares in flight are finished.");
    while matches!(interrupts.recv_timeout(RETIRE_EVERY), Err(RecvTimeoutError::Timeout)) {
        pool.retire(config);
    }
    output::note(json, "stopping");
    pool.stop();
    let _ = std::fs::remove_file(&file);
    Ok(())
}

/// All that runs.
struct Pool<'a> {
    runtime: &'a Runtime,
    books: Books,
    wallet: String,
    sides: Vec<RunningSide>,
    api: Vec<SocketAddr>,
    api_task: Option<task::JoinHandle<()>>,
    payer: Option<(SyncSender<()>, JoinHandle<()>)>,
}

/// Work, where blocks go that miners find, and what becomes of them.
type Work = (Sources, mpsc::Sender<Solution>, mpsc::Receiver<BlockEvent>);

/// A log with its server, its work and its accountant.
struct RunningSide {
    name: &'static str,
    log: Arc<Mutex<ShareLog>>,
    server: Server,
    sources: Arc<Sources>,
    accountant: task::JoinHandle<()>,
}

impl<'a> Pool<'a> {
    fn start(
        config: &PoolConfig,
        folder: &Path,
        rpc: &RpcClient,
        key: PrivateKeySigner,
        runtime: &'a Runtime,
    ) -> Outcome<Self> {
        let url = config.database(folder);
        let books = runtime.block_on(Books::open(&url)).map_err(|error| books_failure(&url, &error))?;
        let genesis = rpc.block_hash(0)?.ok_or_else(|| Failure::config("the node has no genesis block"))?;
        let owner = format!("the chain with genesis {genesis}");
        runtime.block_on(books.bind(&owner)).map_err(|error| books_failure(&url, &error))?;
        let wallet = key.address().to_string();
        let mut this = Self {
            runtime,
            books: books.clone(),
            wallet,
            sides: Vec::new(),
            api: Vec::new(),
            api_task: None,
            payer: None,
        };
        for name in [POOL_LOG, SOLO_LOG] {
            let listen = listens(config, name);
            // A pool without solo miners may have solo blocks of before, which are still watched.
            let watched = runtime.block_on(books.watched(name)).map_err(|error| books_failure(&url, &error))?;
            if !listen.is_empty() || (name == POOL_LOG && config.solo_listen.is_empty()) {
                this.start_side(name, config, folder, rpc, listen)?;
            } else if !watched.is_empty() {
                return Err(Failure::config(format!(
                    "the books have {} blocks of the {name} side that are not final, and nobody can connect to it",
                    watched.len()
                ))
                .hint(format!(
                    "keep an address in pool.{}listen until they are",
                    if name == SOLO_LOG { "solo_" } else { "" }
                )));
            }
        }
        this.start_api(config, rpc)?;
        this.start_payer(config, rpc, key)?;
        Ok(this)
    }

    fn start_side(
        &mut self,
        name: &'static str,
        config: &PoolConfig,
        folder: &Path,
        rpc: &RpcClient,
        listen: Vec<Listen>,
    ) -> Outcome {
        let log = ShareLog::open(&folder.join(name)).map_err(|error| log_failure(&error))?;
        if let Some(moved) = &log.recovery().moved_to {
            tracing::warn!(bytes = log.recovery().cut_bytes, file = %moved.display(), "a write that was cut short was moved aside");
        }
        let rules = PayRules {
            chains: config
                .parents
                .iter()
                .filter_map(|parent| {
                    let rule = PayRule::new(parent.window_blocks, config.fee_basis_points)?;
                    Some((parent.name.as_str().into(), rule))
                })
                .collect::<BTreeMap<_, _>>(),
            other: config.rule(),
        };
        let accountant = self.runtime.block_on(Accountant::new(log.reader(), name, self.books.clone(), rules));
        let accountant = accountant.map_err(|error| match error {
            AccountError::LogTooShort { .. } => Failure::config(error),
            error => Failure::internal(error),
        })?;
        // Blocks that were being handed in when the pool ended are booked, and watched: those that their chain did not take are lost when
        // another block is final at their height.
        for event in self.runtime.block_on(self.books.intents(name)).map_err(Failure::internal)? {
            self.runtime.block_on(accountant.note(&event)).map_err(Failure::internal)?;
        }
        let watched = self.runtime.block_on(self.books.watched(name)).map_err(Failure::internal)?;
        let pending = watched.into_iter().map(|block| PendingBlock { key: block.key, height: block.height }).collect();
        let source = source_config(config, rpc, &self.wallet, pending)?;
        let (sources, solutions, booked) = self.work(name, &source)?;
        let accountant = self.runtime.spawn(accountant.run(booked));
        let mut server = ServerConfig::new(listen);
        server.difficulty.shares_per_minute = config.shares_per_minute;
        server.tls = config
            .certificate
            .clone()
            .zip(config.certificate_key.clone())
            .map(|(certificate, key)| TlsFiles { certificate, key });
        let log = Arc::new(Mutex::new(log));
        let shared = Arc::clone(&log);
        let append = move |shares: &[Share]| -> Result<_, LogError> {
            let mut log = shared.lock();
            match log.append(shares) {
                Err(LogError::Poisoned) => {
                    log.reopen()?;
                    log.append(shares)
                }
                other => other,
            }
        };
        let _runtime = self.runtime.enter();
        let server =
            Server::start(server, sources.jobs(), append, solutions).map_err(|error| server_failure(&error))?;
        self.sides.push(RunningSide { name, log, server, sources: Arc::new(sources), accountant });
        Ok(())
    }

    /// Begins to get work. A node that gives none yet, because it has just started, say, is asked for a while.
    fn work(&self, log: &'static str, config: &SourceConfig) -> Outcome<Work> {
        let begun = Instant::now();
        loop {
            let (solutions, found) = mpsc::channel(QUEUE);
            let (events, booked) = mpsc::channel(QUEUE);
            match Sources::start_with(config.clone(), found, &events, &self.intend(log)) {
                Ok(sources) => return Ok((sources, solutions, booked)),
                Err(SourceError::Nothing(why)) if begun.elapsed() < NO_WORK => {
                    tracing::warn!(why = why.join("; "), "no chain gives work yet");
                    std::thread::sleep(Duration::from_secs(1));
                }
                Err(error) => return Err(source_failure(&error)),
            }
        }
    }

    /// What writes down that a block is about to be handed in. Books that are slow hold no block up.
    fn intend(&self, log: &'static str) -> Intend {
        let (books, runtime) = (self.books.clone(), self.runtime.handle().clone());
        Arc::new(move |event: &BlockEvent| {
            let BlockEvent::Found { key, height, reward, share } = event else { return };
            let write = books.intend(log, key, *height, *reward, *share);
            match runtime.block_on(async { tokio::time::timeout(INTEND, write).await }) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a block is handed in without a note in the books"),
                Err(_) => tracing::warn!("a block is handed in without a note in the books, which are too slow"),
            }
        })
    }

    fn start_api(&mut self, config: &PoolConfig, rpc: &RpcClient) -> Outcome {
        if config.api_listen.is_empty() {
            return Ok(());
        }
        let network = network::watch(rpc.clone(), self.runtime.handle());
        let sides = self.sides.iter().map(|side| {
            let sources = Arc::downgrade(&side.sources);
            let chains = move || sources.upgrade().map(|sources| sources.status()).unwrap_or_default();
            Side {
                name: side.name,
                stats: side.server.stats(),
                log: side.log.lock().reader(),
                jobs: side.sources.jobs(),
                chains: Box::new(chains),
            }
        });
        let state = ApiState {
            books: self.books.clone(),
            sides: sides.collect(),
            wallet: self.wallet.clone(),
            fee_basis_points: config.fee_basis_points,
            window_blocks: config.window_blocks,
            min_payment: config.min_payment.to_string(),
            payment_fee: config.payment_fee.to_string(),
            network,
        };
        let _runtime = self.runtime.enter();
        let (addresses, serving) = api::bind(&config.api_listen, state)
            .map_err(|error| Failure::config(error).hint("choose another address in pool.api_listen, or with --api"))?;
        self.api = addresses;
        self.api_task = Some(self.runtime.spawn(serving));
        Ok(())
    }

    fn start_payer(&mut self, config: &PoolConfig, rpc: &RpcClient, key: PrivateKeySigner) -> Outcome {
        let units = |amount: bmm_types::Amount| u128::try_from(amount.units()).unwrap_or(u128::MAX);
        let payer = Payer {
            rpc: rpc.clone(),
            books: self.books.clone(),
            key,
            rules: PayoutRules {
                threshold: units(config.min_payment),
                fee: units(config.payment_fee),
                confirmations: config.payment_confirmations,
                every: Duration::from_secs(config.payment_secs),
            },
            runtime: Handle::clone(self.runtime.handle()),
        };
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("pool-payer".into())
            .spawn(move || payer.run(&stopped))
            .map_err(|error| Failure::internal(format!("cannot start a thread for payments: {error}")))?;
        self.payer = Some((stop, thread));
        Ok(())
    }

    fn running(&self) -> Running {
        let addresses = |name: &str| {
            let side = self.sides.iter().find(|side| side.name == name);
            side.map(|side| side.server.addresses().to_vec()).unwrap_or_default()
        };
        Running {
            pid: std::process::id(),
            stratum: addresses(POOL_LOG),
            solo: addresses(SOLO_LOG),
            api: self.api.clone(),
            wallet: self.wallet.clone(),
            shares: self.sides.iter().map(|side| side.log.lock().next()).sum(),
        }
    }

    /// Removes shares that no window needs and that are older than the operator wants to keep them.
    fn retire(&self, config: &PoolConfig) {
        let Some(days) = std::num::NonZero::new(config.keep_shares_days) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let before = now.saturating_sub(days.get().saturating_mul(86_400));
        for side in &self.sides {
            let removed = self.runtime.block_on(self.books.retirable(side.name, before));
            match removed.map(|share| side.log.lock().retire(share, None)) {
                Ok(Ok(0)) => {}
                Ok(Ok(segments)) => tracing::info!(segments, log = side.name, "old shares were removed"),
                Ok(Err(error)) => tracing::warn!(%error, "old shares could not be removed"),
                Err(error) => tracing::warn!(%error, "old shares could not be looked up"),
            }
        }
    }

    /// Stops in the order in which things depend on each other: miners, work, books, payments.
    fn stop(mut self) {
        if let Some(task) = self.api_task.take() {
            task.abort();
            let _ = self.runtime.block_on(task);
        }
        for side in self.sides.drain(..) {
            let RunningSide { server, sources, accountant, .. } = side;
            self.runtime.block_on(server.drain());
            if let Some(sources) = Arc::into_inner(sources) {
                sources.finish(PATIENCE);
            }
            let booked = async { tokio::time::timeout(PATIENCE, accountant).await };
            let _ = self.runtime.block_on(booked);
        }
        if let Some((stop, thread)) = self.payer.take() {
            drop(stop);
            let _ = thread.join();
        }
        self.runtime.block_on(self.books.close());
    }
}
