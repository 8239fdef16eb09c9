//! How a block comes in.

use crate::{
    chain::{Chain, HeadBlock},
    engine,
    error::ImportError,
    events::{HeadEvent, Reorg},
    finality::state_error,
    pool::accounts_after,
};
use alloy_primitives::{Address, B256};
use bmm_ledger::{
    diff::Account,
    exec::{execute_block_with, header::check_body, recover_missing_senders},
    rights::may_produce,
    store::{Receipt, Staged, StateView},
};
use bmm_pow::Work;
use bmm_types::{BlockBody, Header, SealedBlock};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

/// How many invalid blocks are remembered.
const MAX_INVALID: usize = 1_024;

/// What became of a block that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The block's id.
    pub id: B256,
    /// Whether it is the head now.
    pub became_head: bool,
    /// The change of branch that it caused.
    pub reorg: Option<Arc<Reorg>>,
}

/// What only the thread that imports sees. Blocks are remembered as invalid only for what their id fixes: header, body and their
/// execution, not the seal and not the clock.
#[derive(Default)]
pub(crate) struct Importing {
    invalid: HashSet<B256>,
    order: VecDeque<B256>,
}

impl Importing {
    /// Returns whether a block is remembered as invalid.
    pub fn is_invalid(&self, id: B256) -> bool {
        self.invalid.contains(&id)
    }

    /// Remembers an invalid block, forgetting the oldest when there are too many.
    pub fn mark_invalid(&mut self, id: B256) {
        if self.invalid.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_INVALID
            && let Some(oldest) = self.order.pop_front()
        {
            self.invalid.remove(&oldest);
        }
    }
}

/// A block's effect on the chain, for the pool and the subscribers.
pub(crate) struct Applied {
    /// The new head.
    pub head: Arc<HeadBlock>,
    /// Accounts that changed, as they are now.
    pub touched: Vec<(Address, Account)>,
}

impl Chain {
    /// Takes a block: the one path for our own blocks, those of the RPC and those of peers.
    ///
    /// Checks every rule, stores the block, executes it if its branch is the best (see `finality::choice`), and moves the head to it. Of
    /// two branches with equal work the first stays. A block of another branch is stored unexecuted.
    ///
    /// # Errors
    /// The rule that the block breaks, or [`ImportError::is_internal`]. A known block with a seal that is new has its seal kept.
    pub fn import(&self, block: &SealedBlock) -> Result<Imported, ImportError> {
        let id = block.id();
        if self.store.header(id)?.is_some() {
            if let Err(error) = self.add_seal(id, block.seal.clone()) {
                tracing::debug!(%id, %error, "the seal that came with a known block was not kept");
            }
            return self.import_known(&mut self.importing.lock(), id);
        }
        self.check_candidate(id, block)?;
        let senders = self.senders_of(&block.block.body)?;

        let mut importing = self.importing.lock();
        if self.store.header(id)?.is_some() {
            return self.import_known(&mut importing, id);
        }
        let parent_id = block.block.header.parent_hash;
        let parent_work = self.store.work(parent_id)?.ok_or(ImportError::UnknownParent(parent_id))?;
        let work = engine::total_work(&self.params, Work::from_stored(parent_work), &block.block.header);
        let head = self.head();
        if head.id == parent_id {
            let applied = self.apply(&mut importing, block, &senders, work)?;
            self.pool_follows(&applied.head, &applied.touched);
            self.announce(applied.head, None);
            self.count_after(&block.block.body)?;
            self.settle_finality(&mut importing);
            return Ok(Imported { id, became_head: self.head().id == id, reorg: None });
        }
        let fork = self.fork_point(parent_id)?.ok_or(ImportError::UnknownParent(parent_id))?;
        if work <= head.work || !self.has_justified(fork) {
            self.store.store_side_block(block, work.get())?;
            self.note_bets_of(&block.block.body);
            let reorg = self.settle_finality(&mut importing);
            return Ok(Imported { id, became_head: self.head().id == id, reorg });
        }
        // Noted before it is stored: a crash in between must not leave the heaviest branch lying there unnoticed.
        self.note_switch(id, None)?;
        self.store.store_side_block(block, work.get())?;
        let reorg = self.switch_to(&mut importing, id, None)?;
        Ok(Imported { id, became_head: true, reorg: Some(reorg) })
    }

    /// Answers for a block that is stored. If it ends the best branch and is not the head, a change of branch failed before for
    /// reasons of this node (a full disk), and is tried again.
    fn import_known(&self, importing: &mut Importing, id: B256) -> Result<Imported, ImportError> {
        if importing.is_invalid(id) {
            return Err(ImportError::KnownInvalid(id));
        }
        let work = self.store.work(id)?.map(Work::from_stored);
        let fork = self.fork_point(id)?.ok_or(ImportError::UnknownBlock(id))?;
        if work.is_none_or(|work| work <= self.head().work) || !self.has_justified(fork) {
            return Err(ImportError::Known(id));
        }
        self.note_switch(id, None)?;
        let reorg = self.switch_to(importing, id, None)?;
        Ok(Imported { id, became_head: true, reorg: Some(reorg) })
    }

    /// Checks everything that does not need the state.
    fn check_candidate(&self, id: B256, block: &SealedBlock) -> Result<(), ImportError> {
        let header = &block.block.header;
        {
            let importing = self.importing.lock();
            if importing.is_invalid(id) {
                return Err(ImportError::KnownInvalid(id));
            }
            if importing.is_invalid(header.parent_hash) {
                return Err(ImportError::InvalidParent(header.parent_hash));
            }
        }
        let parent = self.store.header(header.parent_hash)?.ok_or(ImportError::UnknownParent(header.parent_hash))?;
        self.check_above_final(header.parent_hash)?;
        self.check_header(&parent, id, header, &block.seal)?;
        Ok(check_body(&self.params, &block.block)?)
    }

    /// Executes a block on the head, which is its parent, and makes it the head. Tells nobody yet.
    pub(crate) fn apply(
        &self,
        importing: &mut Importing,
        block: &SealedBlock,
        senders: &[Address],
        work: Work,
    ) -> Result<Applied, ImportError> {
        let header = &block.block.header;
        let id = block.id();
        let invalid = |importing: &mut Importing, error: ImportError| {
            if !error.is_internal() {
                importing.mark_invalid(id);
            }
            error
        };
        let parent = self.head();
        self.check_right(&self.store.view()?, &parent.header, header).map_err(|error| invalid(importing, error))?;
        let (receipts, staged) = match self.built.take(id) {
            Some(built) if built.staged.parent() == header.parent_hash => (built.receipts, built.staged),
            _ => {
                let (view, exec) = (self.store.view()?, self.options.exec);
                let executed = execute_block_with(&self.params, &block.block, senders, view, exec)
                    .map_err(|error| invalid(importing, error.into()))?;
                (executed.receipts, self.store.stage(header.parent_hash, executed.diff)?)
            }
        };
        let touched = accounts_after(staged.diff());
        let head =
            self.commit_head(staged, block, id, &receipts, work, true).map_err(|error| invalid(importing, error))?;
        Ok(Applied { head, touched })
    }

    /// Rule: a block's beneficiary has the right to produce it, by the state after its parent.
    pub(crate) fn check_right(&self, state: &StateView, parent: &Header, header: &Header) -> Result<(), ImportError> {
        let beneficiary = header.beneficiary;
        let may = may_produce(&self.params, state, parent, beneficiary, header.timestamp).map_err(state_error)?;
        if may { Ok(()) } else { Err(ImportError::NoRight { beneficiary }) }
    }

    /// A block whose header names the state that it leads to becomes the head; any other is refused. Without `sync` it is durable after
    /// the next block that is, or when the store is told to sync.
    pub(crate) fn commit_head(
        &self,
        staged: Staged,
        block: &SealedBlock,
        id: B256,
        receipts: &[Receipt],
        work: Work,
        sync: bool,
    ) -> Result<Arc<HeadBlock>, ImportError> {
        let header = &block.block.header;
        let (got, expected) = (header.state_root, staged.root());
        if got != expected {
            return Err(ImportError::StateRoot { got, expected });
        }
        if sync {
            self.store.commit(staged, block, receipts, work.get())?;
        } else {
            self.store.commit_unsynced(&staged, block, receipts, work.get())?;
        }
        let head = Arc::new(HeadBlock { id, header: header.clone(), work });
        *self.head.write() = head.clone();
        Ok(head)
    }

    /// Tells subscribers and waiters of the new head.
    pub(crate) fn announce(&self, head: Arc<HeadBlock>, reorg: Option<Arc<Reorg>>) {
        tracing::debug!(number = head.number(), id = %head.id, transactions_root = %head.header.transactions_root, "new head");
        self.kept_ranges.expire();
        self.events.new_head(&HeadEvent { head, reorg });
    }

    /// Returns the senders of a body's transactions: those that the pool knows from it, the others from their signatures.
    pub(crate) fn senders_of(&self, body: &BlockBody) -> Result<Vec<Address>, ImportError> {
        Ok(recover_missing_senders(&body.transactions, &self.known_senders(&body.transactions))?)
    }
}
