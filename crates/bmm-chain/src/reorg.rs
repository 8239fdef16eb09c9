//! Moving the head to another branch.

use crate::{
    chain::{Chain, read_head},
    error::{ChainError, ImportError},
    events::Reorg,
    finality::Checkpoint,
    import::Importing,
    pool::Touched,
};
use alloy_primitives::B256;
use alloy_rlp::{RlpDecodable, RlpEncodable};
use bmm_ledger::store::StoreError;
use bmm_pow::Work;
use std::sync::Arc;

/// Name of the note that a change of branch is under way.
const NOTE: &str = "chain/reorg";

/// A change of branch under way, as it is noted for the case of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
struct Underway {
    /// Head to be.
    to: B256,
    /// Head before.
    from: B256,
    /// Number and id of the checkpoint for which the branch is taken; absent if for its work.
    lead: Option<u64>,
    lead_id: Option<B256>,
}

impl Underway {
    fn lead(&self) -> Option<Checkpoint> {
        self.lead.zip(self.lead_id).map(|(number, id)| Checkpoint { number, id })
    }
}

impl Chain {
    /// Notes that the head is about to change to the branch of `to`, for the case of a crash: for its work, or for a checkpoint that bets
    /// justify.
    pub(crate) fn note_switch(&self, to: B256, lead: Option<Checkpoint>) -> Result<(), ImportError> {
        let (lead, lead_id) = lead.map(|Checkpoint { number, id }| (number, id)).unzip();
        Ok(self.store.put_note(NOTE, &alloy_rlp::encode(Underway { to, from: self.head().id, lead, lead_id }))?)
    }

    /// Makes the stored block `to`, which is noted, the head: takes back the blocks down to the common ancestor, executes those up
    /// to `to`.
    ///
    /// When a block of the new branch turns out invalid, it and its descendants are remembered as such and the old head is
    /// restored; likewise when the checkpoint `lead` for which it was taken is not justified there.
    pub(crate) fn switch_to(
        &self,
        importing: &mut Importing,
        to: B256,
        lead: Option<Checkpoint>,
    ) -> Result<Arc<Reorg>, ImportError> {
        let from = self.head().id;
        let mut touched = Touched::default();
        self.forget_forks();
        let result = self.try_switch(importing, to, &mut touched).and_then(|reorg| {
            self.prove(&reorg.adopted, lead)?;
            Ok(reorg)
        });
        if let Err(error) = &result {
            tracing::warn!(%to, %error, "a better branch was not taken");
            self.try_switch(importing, from, &mut touched)?;
            self.forget_forks();
            self.count_bets()?;
            // Transactions that came meanwhile were weighed against the state on the way.
            self.pool_looks_again(touched)?;
            touched = Touched::default();
        }
        self.store.put_note(NOTE, &[])?;
        let reorg = Arc::new(result?);
        self.forget_forks();
        self.after_switch(&reorg, touched)?;
        Ok(reorg)
    }

    /// Moves to `to`, leaving the head where it stands if that fails on the way. Adds the accounts that changed to `touched`.
    fn try_switch(&self, importing: &mut Importing, to: B256, touched: &mut Touched) -> Result<Reorg, ImportError> {
        let (ancestor, adopted) = self.path_to(to)?;
        if let Some(index) = adopted.iter().position(|id| importing.is_invalid(*id)) {
            adopted[index..].iter().for_each(|invalid| importing.mark_invalid(*invalid));
            return Err(ImportError::InvalidParent(adopted[index]));
        }
        let mut abandoned = Vec::new();
        loop {
            let head = self.store.head().ok_or(StoreError::Empty)?;
            if head.number <= ancestor {
                break;
            }
            touched.add(self.store.diff(head.id)?.into_iter().flat_map(|diff| diff.accounts.into_keys()));
            self.store.rewind(head.id)?;
            abandoned.push(head.id);
        }
        *self.head.write() = Arc::new(read_head(&self.store).map_err(internal)?);
        for (index, id) in adopted.iter().enumerate() {
            if let Err(error) = self.apply_stored(importing, *id, touched) {
                if !error.is_internal() {
                    adopted.iter().skip(index).for_each(|invalid| importing.mark_invalid(*invalid));
                }
                return Err(error);
            }
        }
        Ok(Reorg { ancestor, abandoned, adopted })
    }

    /// Returns the number of the last canonical ancestor of `to`, and the ids from there up to `to`.
    fn path_to(&self, to: B256) -> Result<(u64, Vec<B256>), ImportError> {
        let mut path = Vec::new();
        let mut id = to;
        loop {
            let header = self.store.header(id)?.ok_or(ImportError::UnknownParent(id))?;
            if self.store.is_canonical(id)? {
                path.reverse();
                return Ok((header.number, path));
            }
            path.push(id);
            id = header.parent_hash;
        }
    }

    /// Executes a stored block on the head.
    fn apply_stored(&self, importing: &mut Importing, id: B256, touched: &mut Touched) -> Result<(), ImportError> {
        // Not a fault of the block: it was stored whole.
        let unknown = || ImportError::State(format!("stored block {id} is not there whole"));
        let block = self.store.block(id)?.ok_or_else(unknown)?;
        let work = Work::from_stored(self.store.work(id)?.ok_or_else(unknown)?);
        let senders = self.senders_of(&block.block.body)?;
        let applied = self.apply(importing, &block, &senders, work)?;
        touched.add(applied.touched.into_iter().map(|(address, _)| address));
        Ok(())
    }

    /// Gives the pool the transactions that are in no block any more, and tells of the new head.
    fn after_switch(&self, reorg: &Arc<Reorg>, touched: Touched) -> Result<(), ImportError> {
        self.pool_looks_again(touched)?;
        self.pool_takes_back(reorg)?;
        self.announce(self.head(), Some(reorg.clone()));
        Ok(())
    }

    /// Ends a change of branch that a crash interrupted.
    pub(crate) fn finish_interrupted_reorg(&self) -> Result<(), ChainError> {
        let Some(bytes) = self.store.note(NOTE)? else { return Ok(()) };
        let Ok(underway) = alloy_rlp::decode_exact::<Underway>(&bytes) else {
            return Ok(self.store.put_note(NOTE, &[])?);
        };
        let (Underway { to, from, .. }, lead) = (underway, underway.lead());
        let mut importing = self.importing.lock();
        let mut touched = Touched::default();
        for branch in [to, from] {
            // When the new branch is no heavier than the head, or the old one lighter, the change is over and done with: the note
            // outlived its purpose.
            let (work, head) = (self.store.work(branch)?.map(Work::from_stored), self.head().work);
            let outdone = |work| work < head || (work == head && branch == to);
            if work.is_none_or(|work| lead.is_none() && outdone(work)) {
                continue;
            }
            if lead.is_some() && self.head().id != branch && self.store.is_canonical(branch)? {
                // The change was over and done with, and the chain went on.
                break;
            }
            let lead = lead.filter(|_| branch == to);
            let switched = self
                .try_switch(&mut importing, branch, &mut touched)
                .and_then(|reorg| self.prove(&reorg.adopted, lead));
            match switched {
                Ok(()) => break,
                Err(error) if branch == to => {
                    tracing::warn!(%to, %error, "a change of branch could not be ended; going back");
                }
                Err(error) => return Err(Box::new(error).into()),
            }
        }
        self.pool_looks_again(touched)?;
        Ok(self.store.put_note(NOTE, &[])?)
    }
}

/// A failure to read what the store has just said it holds.
fn internal(error: ChainError) -> ImportError {
    match error {
        ChainError::Store(error) => ImportError::Store(error),
        other => ImportError::State(other.to_string()),
    }
}
