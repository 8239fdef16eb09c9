//! Taking many blocks, one after another: checks, execution and storage of different blocks go on at the same time.
//!
//! One thread checks what needs no state (header, seal, body, signatures), the caller's executes on the state as the blocks before
//! will have left it, and a third works out the state root, compares it and stores. What is stored is what [`Chain::import`] would
//! have stored; only the syncing of the journal is done for many blocks together.

use crate::{
    chain::{Chain, HeadBlock},
    engine,
    error::ImportError,
    pool::accounts_after,
};
use alloy_primitives::{Address, B256};
use bmm_ledger::{
    ExecMode, Executed,
    diff::StateDiff,
    exec::{execute_block_with, header::check_body},
    store::{Head, StateView},
};
use bmm_pow::Work;
use bmm_types::{Engine, Header, Seal, SealedBlock};
use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Blocks after which other imports get their turn.
const RUN: usize = 512;
/// Checked blocks that may wait for their execution.
const CHECKED_AHEAD: usize = 8;
/// Executed blocks that may wait to be stored.
const EXECUTED_AHEAD: usize = 3;
/// Time after which what is stored is synced at the latest.
const SYNC_AFTER: Duration = Duration::from_millis(500);

/// What became of many blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportedAll {
    /// Blocks that were taken.
    pub taken: u64,
    /// Blocks that were known already.
    pub known: u64,
}

/// The first block that was not taken. Those before it were.
#[derive(Debug, thiserror::Error)]
#[error("block {number} ({id}): {error}")]
pub struct ImportAllError {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: B256,
    /// Why.
    #[source]
    pub error: ImportError,
    /// What was taken before.
    pub before: ImportedAll,
}

/// A block that breaks no rule but perhaps one of the state's.
struct Checked {
    block: SealedBlock,
    id: B256,
    senders: Vec<Address>,
}

/// A block that was executed, with its parent's state root still to be compared.
struct Ready {
    block: SealedBlock,
    id: B256,
    executed: Executed,
}

/// A block that was refused.
struct Refused {
    number: u64,
    id: B256,
    error: ImportError,
    /// Whether its execution says so, which depends on nothing but the block.
    by_state: bool,
}

impl Refused {
    fn at(number: u64, id: B256, error: impl Into<ImportError>) -> Box<Self> {
        Box::new(Self { number, id, error: error.into(), by_state: false })
    }

    fn after(self, before: ImportedAll) -> Box<ImportAllError> {
        Box::new(ImportAllError { number: self.number, id: self.id, error: self.error, before })
    }
}

impl Chain {
    /// Takes blocks in order, as [`Self::import`] would, and calls `each` with every new head. Known blocks are passed over.
    ///
    /// # Errors
    /// The first block that is refused.
    pub fn import_all(
        &self,
        blocks: impl Iterator<Item = SealedBlock> + Send,
        mut each: impl FnMut(&HeadBlock) + Send,
    ) -> Result<ImportedAll, Box<ImportAllError>> {
        let mut blocks = blocks;
        let mut sum = ImportedAll::default();
        let mut next = blocks.next();
        while let Some(block) = next.take() {
            let (number, id) = (block.block.header.number, block.id());
            let known = self.store.header(id).map_err(|error| Refused::at(number, id, error).after(sum))?.is_some();
            if !known && block.block.header.parent_hash == self.head().id {
                let (taken, left, result) = self.extend(block, &mut blocks, &mut each);
                sum.taken = sum.taken.saturating_add(taken);
                result.map_err(|refused| refused.after(sum))?;
                next = left.or_else(|| blocks.next());
                continue;
            }
            match self.import(&block) {
                Ok(_) => {
                    sum.taken = sum.taken.saturating_add(1);
                    each(&self.head());
                }
                Err(ImportError::Known(_)) => sum.known = sum.known.saturating_add(1),
                Err(error) => return Err(Refused::at(number, id, error).after(sum)),
            }
            next = blocks.next();
        }
        Ok(sum)
    }

    /// Takes `first`, a child of the head, and those of `more` that follow one another. Returns how many were taken, and the
    /// block that was read but does not follow.
    fn extend(
        &self,
        first: SealedBlock,
        more: &mut (impl Iterator<Item = SealedBlock> + Send),
        each: &mut (impl FnMut(&HeadBlock) + Send),
    ) -> (u64, Option<SealedBlock>, Result<(), Box<Refused>>) {
        let mut importing = self.importing.lock();
        let head = self.head();
        if head.id != first.block.header.parent_hash {
            // Another block came in between; the next look at this one takes the slow way.
            return (0, Some(first), Ok(()));
        }
        let state = match self.store.view() {
            Ok(state) => state,
            Err(error) => return (0, None, Err(Refused::at(first.block.header.number, first.id(), error))),
        };
        let (to_execute, checked) = sync_channel(CHECKED_AHEAD);
        let (to_store, executed) = sync_channel(EXECUTED_AHEAD);
        let (left, executing, (taken, storing)) = thread::scope(|scope| {
            let parent = head.clone();
            let checks = scope.spawn(move || self.check_run(&parent, first, more, &to_execute));
            let from = head.clone();
            let storer = scope.spawn(move || self.store_run(&from, &executed, each));
            let executing = self.execute_run(state, &checked, &to_store);
            // The others end when nobody reads or writes any more.
            drop((checked, to_store));
            let left = checks.join().unwrap_or_else(|panic| resume_unwind(panic));
            (left, executing, storer.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        // What storing refuses comes before what execution refused.
        let result = storing.and(executing).and_then(|()| {
            let head = self.head();
            self.store.sync().map_err(|error| Refused::at(head.number(), head.id, error))
        });
        if let Err(refused) = &result
            && refused.by_state
            && !refused.error.is_internal()
        {
            importing.mark_invalid(refused.id);
        }
        self.settle_finality(&mut importing);
        (taken, left, result)
    }

    /// Checks `first` and what follows it in `more`; returns the block that does not.
    fn check_run(
        &self,
        head: &HeadBlock,
        first: SealedBlock,
        more: &mut impl Iterator<Item = SealedBlock>,
        out: &SyncSender<Result<Checked, Box<Refused>>>,
    ) -> Option<SealedBlock> {
        let mut parent = (head.id, head.header.clone());
        let mut seals = None;
        let mut next = Some(first);
        for _ in 0..RUN {
            let block = next.take().or_else(|| more.next())?;
            let header = &block.block.header;
            if header.parent_hash != parent.0 {
                return Some(block);
            }
            let id = block.id();
            let senders = self.check_next(&parent.1, seals.as_deref(), id, &block);
            parent = (id, header.clone());
            seals = Some(vec![block.seal.clone()]);
            let checked = senders.map_err(|error| Refused::at(parent.1.number, id, error)).map(|senders| Checked {
                block,
                id,
                senders,
            });
            // Nobody takes more when a block was refused.
            if out.send(checked).is_err() {
                return None;
            }
        }
        None
    }

    /// Checks all that needs no state, and returns who signed. Without the parent's seals the stored ones count.
    fn check_next(
        &self,
        parent: &Header,
        seals: Option<&[Seal]>,
        id: B256,
        block: &SealedBlock,
    ) -> Result<Vec<Address>, ImportError> {
        let stored = match seals {
            None if self.params.engine != Engine::NoSeal => self.seals_of(block.block.header.parent_hash)?,
            _ => Vec::new(),
        };
        let rules = self.header_rules();
        rules.check((parent, seals.unwrap_or(&stored)), id, &block.block.header, &block.seal)?;
        check_body(&self.params, &block.block)?;
        self.senders_of(&block.block.body)
    }

    /// Executes what was checked, each block on the state that the one before it leaves.
    fn execute_run(
        &self,
        mut state: StateView,
        checked: &Receiver<Result<Checked, Box<Refused>>>,
        out: &SyncSender<Ready>,
    ) -> Result<(), Box<Refused>> {
        // Other blocks keep the other cores busy.
        let exec = if self.options.exec == ExecMode::Auto { ExecMode::Sequential } else { self.options.exec };
        // The blocks that the view below may not hold yet.
        let mut ahead: VecDeque<(Head, Arc<StateDiff>)> = VecDeque::new();
        let mut parent = self.head().header.clone();
        for next in checked {
            let Checked { block, id, senders } = next?;
            let number = block.block.header.number;
            let refused = |error: ImportError| Box::new(Refused { number, id, error, by_state: true });
            self.check_right(&state, &parent, &block.block.header).map_err(refused)?;
            parent = block.block.header.clone();
            let executed = execute_block_with(&self.params, &block.block, &senders, &state, exec)
                .map_err(|error| refused(error.into()))?;
            ahead.push_back((Head { number, id }, Arc::new(executed.diff.clone())));
            if out.send(Ready { block, id, executed }).is_err() {
                return Ok(());
            }
            state = self.store.view().map_err(|error| refused(error.into()))?;
            let stored = state.block().number;
            ahead.retain(|(block, _)| block.number > stored);
            for (block, diff) in &ahead {
                state = state.ahead(*block, diff.clone());
            }
        }
        Ok(())
    }

    /// Compares state roots and stores. Returns how many blocks are stored.
    fn store_run(
        &self,
        head: &HeadBlock,
        executed: &Receiver<Ready>,
        each: &mut impl FnMut(&HeadBlock),
    ) -> (u64, Result<(), Box<Refused>>) {
        let (mut taken, mut work, mut synced) = (0u64, head.work, Instant::now());
        for ready in executed {
            let sync = synced.elapsed() >= SYNC_AFTER;
            if sync {
                synced = Instant::now();
            }
            let (number, id) = (ready.block.block.header.number, ready.id);
            work = engine::total_work(&self.params, work, &ready.block.block.header);
            match self.store_next(ready, work, sync) {
                Ok(head) => each(&head),
                Err(error) => return (taken, Err(Box::new(Refused { number, id, error, by_state: true }))),
            }
            taken = taken.saturating_add(1);
        }
        (taken, Ok(()))
    }

    fn store_next(&self, ready: Ready, work: Work, sync: bool) -> Result<Arc<HeadBlock>, ImportError> {
        let Ready { block, id, executed } = ready;
        let touched = accounts_after(&executed.diff);
        let staged = self.store.stage(block.block.header.parent_hash, executed.diff)?;
        let head = self.commit_head(staged, &block, id, &executed.receipts, work, sync)?;
        self.pool_follows(&head, &touched);
        self.announce(head.clone(), None);
        self.count_after(&block.block.body)?;
        Ok(head)
    }
}
