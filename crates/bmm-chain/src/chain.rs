//! The chain as a value: what it holds and how it is opened.

use crate::{
    clock::Clock,
    error::ChainError,
    events::{Events, HeadEvent},
    finality::Finality,
    params,
    pool::{Journal, PoolLimits, TxPool},
    ranges::KeptRanges,
    template::{BuiltBlocks, PendingCache},
};
use alloy_primitives::B256;
use bmm_ledger::{
    ExecMode,
    diff::StateDiff,
    genesis,
    store::{Store, StoreError, StoreOptions},
};
use bmm_pow::{Asert, Work};
use bmm_types::{Block, ChainParams, Header, Seal, SealedBlock};
use parking_lot::{Mutex, RwLock};
use std::{
    path::Path,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

/// A canonical block's header with what the chain knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadBlock {
    /// The block's id.
    pub id: B256,
    /// Its header.
    pub header: Header,
    /// Work of the block and all its ancestors.
    pub work: Work,
}

impl HeadBlock {
    /// Returns the block's number.
    pub const fn number(&self) -> u64 {
        self.header.number
    }
}

/// What a node may choose; nothing of it is consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainOptions {
    /// Limits of the pool of transactions.
    pub pool: PoolLimits,
    /// Whether waiting transactions are kept in a file beside the database, to be there again after a restart. Chains in memory
    /// keep none.
    pub pool_journal: bool,
    /// How long transactions are put into a template; what does not get in by then waits for the next block.
    pub max_build: Duration,
    /// How blocks are executed.
    pub exec: ExecMode,
    /// How much of the past is kept, and how much memory is used.
    pub store: StoreOptions,
    /// A block that the chain must contain, which the operator has from somebody they trust: number and id. Bonds do not hold for ever
    /// those who once had a right, so that bets alone cannot tell a node which is new, or was away for long, which branch is the chain.
    pub checkpoint: Option<(u64, B256)>,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            pool: PoolLimits::default(),
            pool_journal: true,
            max_build: Duration::from_secs(1),
            exec: ExecMode::default(),
            store: StoreOptions::default(),
            checkpoint: None,
        }
    }
}

/// One chain: its blocks, its head, its pool of transactions. See the crate's documentation.
pub struct Chain {
    pub(crate) params: ChainParams,
    pub(crate) asert: Asert,
    pub(crate) genesis: B256,
    pub(crate) clock: Arc<dyn Clock>,
    /// They read the store, and go before it closes.
    pub(crate) kept_ranges: KeptRanges,
    pub(crate) store: Store,
    /// The head, as everybody reads it. Written only by who holds `importing`.
    pub(crate) head: RwLock<Arc<HeadBlock>>,
    /// Held while a block comes in.
    pub(crate) importing: Mutex<crate::import::Importing>,
    pub(crate) pool: Arc<Mutex<TxPool>>,
    pub(crate) journal: Option<Journal>,
    pub(crate) options: ChainOptions,
    pub(crate) pending: Mutex<PendingCache>,
    pub(crate) built: BuiltBlocks,
    pub(crate) events: Events,
    /// Bets and what they have made final. Never held while `importing` or the pool is waited for.
    pub(crate) finality: Mutex<Finality>,
}

impl Chain {
    /// Opens the chain in `folder`, beginning it with genesis if the folder is new.
    ///
    /// # Errors
    /// [`ChainError::Params`], and [`ChainError::Store`] for a folder that is in use, holds another chain, or is damaged.
    pub fn open(
        params: ChainParams,
        folder: &Path,
        clock: Arc<dyn Clock>,
        options: ChainOptions,
    ) -> Result<Arc<Self>, ChainError> {
        let asert = params::check(&params)?;
        let store = Store::open_with(folder, params.digest(), options.store)?;
        begin(&params, &store)?;
        let journal = options.pool_journal.then_some(folder);
        Self::with_store(params, asert, store, journal, clock, options)
    }

    /// Begins a chain in memory, for tests and simulations.
    pub fn in_memory(
        params: ChainParams,
        clock: Arc<dyn Clock>,
        options: ChainOptions,
    ) -> Result<Arc<Self>, ChainError> {
        let asert = params::check(&params)?;
        let store = Store::in_memory_with(params.digest(), options.store)?;
        begin(&params, &store)?;
        Self::with_store(params, asert, store, None, clock, options)
    }

    /// Begins a chain in memory with a genesis of one's own and the state at it, for foreign test vectors.
    ///
    /// # Errors
    /// [`ChainError::Store`] when the genesis header's state root is not that of `state`.
    pub fn in_memory_from(
        params: ChainParams,
        genesis: Block,
        state: StateDiff,
        clock: Arc<dyn Clock>,
        options: ChainOptions,
    ) -> Result<Arc<Self>, ChainError> {
        let asert = params::check(&params)?;
        let store = Store::in_memory_with(params.digest(), options.store)?;
        store.init(&SealedBlock { block: genesis, seal: Seal::None }, state)?;
        Self::with_store(params, asert, store, None, clock, options)
    }

    fn with_store(
        params: ChainParams,
        asert: Asert,
        store: Store,
        journal: Option<&Path>,
        clock: Arc<dyn Clock>,
        options: ChainOptions,
    ) -> Result<Arc<Self>, ChainError> {
        let genesis = store.canonical(0)?.ok_or(StoreError::Empty)?;
        let head = read_head(&store)?;
        let pool = Arc::new(Mutex::new(TxPool::new(options.pool, head.id, &head.header)));
        let journal = journal.map(|folder| Journal::start(folder, pool.clone(), &options.pool)).transpose()?;
        let chain = Self {
            asert,
            genesis,
            clock,
            head: RwLock::new(Arc::new(head)),
            importing: Mutex::default(),
            pool,
            journal,
            options,
            pending: Mutex::default(),
            built: BuiltBlocks::default(),
            events: Events::default(),
            finality: Mutex::default(),
            kept_ranges: KeptRanges::default(),
            store,
            params,
        };
        chain.check_checkpoint()?;
        chain.load_finality()?;
        chain.finish_interrupted_reorg()?;
        let chain = Arc::new(chain);
        if let Some(journal) = &chain.journal {
            journal.restore(&chain);
        }
        Ok(chain)
    }

    /// Holds that the stored chain contains the block that the operator named, if it reaches so far.
    fn check_checkpoint(&self) -> Result<(), ChainError> {
        let Some((number, wanted)) = self.options.checkpoint else { return Ok(()) };
        match self.store.canonical(number)? {
            Some(got) if got != wanted => Err(ChainError::OtherCheckpoint { number, got, wanted }),
            _ => Ok(()),
        }
    }

    /// Returns the chain's parameters.
    pub const fn params(&self) -> &ChainParams {
        &self.params
    }

    /// Returns the id of the genesis block.
    pub const fn genesis(&self) -> B256 {
        self.genesis
    }

    /// Returns the head.
    pub fn head(&self) -> Arc<HeadBlock> {
        self.head.read().clone()
    }

    /// Returns the node's time, in Unix seconds.
    pub fn now_secs(&self) -> u64 {
        self.clock.now_secs()
    }

    /// Opens a queue of new heads that holds up to `capacity` events; what does not fit is lost, so read it or drop it.
    pub fn subscribe_heads(&self, capacity: usize) -> Receiver<HeadEvent> {
        self.events.subscribe_heads(capacity)
    }

    /// Opens a queue of hashes of new pending transactions that holds up to `capacity`; it is closed when one does not fit.
    pub fn subscribe_pending(&self, capacity: usize) -> Receiver<B256> {
        self.events.subscribe_pending(capacity)
    }

    /// Waits until the head's number is above `number`, and returns it; `None` when the time is over.
    pub fn wait_for_head_above(&self, number: u64, timeout: Duration) -> Option<Arc<HeadBlock>> {
        self.events.wait_until(timeout, || Some(self.head()).filter(|head| head.number() > number))
    }
}

/// Stores genesis if there is none yet. The store's parameters are checked when it is opened, and they fix genesis.
pub(crate) fn begin(params: &ChainParams, store: &Store) -> Result<(), ChainError> {
    if store.head().is_some() {
        return Ok(());
    }
    let diff = genesis::genesis_diff(params);
    let root = store.stage(B256::ZERO, diff.clone())?.root();
    let genesis = SealedBlock { block: genesis::genesis_block(params, root), seal: Seal::None };
    Ok(store.init(&genesis, diff)?)
}

/// Reads the head that the store ended with.
pub(crate) fn read_head(store: &Store) -> Result<HeadBlock, ChainError> {
    let unknown = |id: B256| ChainError::UnknownBlock(id.to_string());
    let head = store.head().ok_or(StoreError::Empty)?;
    let header = store.header(head.id)?.ok_or_else(|| unknown(head.id))?;
    let work = store.work(head.id)?.ok_or_else(|| unknown(head.id))?;
    Ok(HeadBlock { id: head.id, header, work: Work::from_stored(work) })
}
