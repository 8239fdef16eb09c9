//! Which branch is taken, as far as bets decide it.
//!
//! 1. Never one that leaves the canonical chain below the last final checkpoint.
//! 2. The branch of the highest justified checkpoint, whatever its work. To one that conflicts with the justified checkpoint of its own
//!    branch a node goes only in the first third of an interval between checkpoints, so that bets which somebody holds back until late
//!    do not send nodes to and fro; and when its own branch stands still.
//! 3. The most work; of two with the same work, the first.
//!
//! Bets on a branch that is not executed are counted by the sets of the node's own, of which either is enough: since the branches parted they may
//! have lost different footstones. What they promise is checked once the branch is executed, by its own sets; if it does not hold, the node
//! goes back and remembers it.

use super::{Checkpoint, state_error};
use crate::{chain::Chain, error::ImportError, events::Reorg, import::Importing};
use alloy_primitives::{B256, U256};
use bmm_ledger::store::StoreError;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Side blocks whose way to the canonical chain is remembered.
const MAX_FORKS: usize = 65_536;
/// Checkpoints that are remembered as not justified.
const MAX_UNPROVEN: usize = 1_024;
/// Ends of branches that are tried one after another; of each that fails, a block is invalid and not tried again.
const MAX_TRIES: usize = 8;

/// Where stored side blocks branch off, remembered until the canonical chain changes its branch.
#[derive(Debug, Default)]
pub(super) struct Forks {
    numbers: HashMap<B256, u64>,
    /// Counts changes of branch; what was found during one is not kept.
    generation: u64,
}

impl Chain {
    /// Returns the number of the highest canonical block that is `id` or an ancestor of it; `None` if `id` is not stored.
    pub(crate) fn fork_point(&self, id: B256) -> Result<Option<u64>, StoreError> {
        let generation = self.finality.lock().forks.generation;
        let (mut at, mut path) = (id, Vec::new());
        let number = loop {
            let known = self.finality.lock().forks.numbers.get(&at).copied();
            if let Some(known) = known {
                break known;
            }
            let Some(header) = self.store.header(at)? else { return Ok(None) };
            if self.store.is_canonical(at)? {
                break header.number;
            }
            path.push(at);
            at = header.parent_hash;
        };
        let forks = &mut self.finality.lock().forks;
        if forks.generation == generation {
            if forks.numbers.len().saturating_add(path.len()) > MAX_FORKS {
                forks.numbers.clear();
            }
            forks.numbers.extend(path.into_iter().map(|id| (id, number)));
        }
        Ok(Some(number))
    }

    /// Forgets where side blocks branch off: before and after every change of branch.
    pub(crate) fn forget_forks(&self) {
        let forks = &mut self.finality.lock().forks;
        forks.numbers.clear();
        forks.generation = forks.generation.wrapping_add(1);
    }

    /// Rule: no block is taken whose branch leaves the canonical chain below the last final checkpoint.
    pub(crate) fn check_above_final(&self, parent: B256) -> Result<(), ImportError> {
        if self.finality.lock().finalised.number == 0 {
            return Ok(());
        }
        let fork = self.fork_point(parent)?.ok_or(ImportError::UnknownParent(parent))?;
        self.may_branch_off(fork)
    }

    /// Holds that a branch may leave the canonical chain after the block of that number.
    ///
    /// # Errors
    /// [`ImportError::BelowFinal`].
    pub fn may_branch_off(&self, fork: u64) -> Result<(), ImportError> {
        let finalised = self.finality.lock().finalised;
        let number = self.checkpoint_number(finalised);
        if fork >= number { Ok(()) } else { Err(ImportError::BelowFinal { fork, number, id: finalised.id }) }
    }

    /// Whether a branch that leaves the canonical chain at `fork` has the justified checkpoint, so that work may decide.
    pub(crate) fn has_justified(&self, fork: u64) -> bool {
        let justified = self.finality.lock().justified;
        fork >= self.checkpoint_number(justified)
    }

    /// Whether bets promise that this block, off the canonical chain, is a checkpoint justified above the node's own.
    pub fn is_promised(&self, number: u64, id: B256) -> bool {
        let finality = self.finality.lock();
        finality.promised.iter().any(|checkpoint| checkpoint.id == id && self.checkpoint_number(*checkpoint) == number)
    }

    /// Returns number and id of the blocks that bets promise to be justified checkpoints above the node's own and that are not stored
    /// here, the highest first.
    pub fn missing_promises(&self) -> Vec<(u64, B256)> {
        let promised = self.finality.lock().promised.clone();
        let missing = promised.iter().filter(|checkpoint| {
            self.is_new_promise(checkpoint) && matches!(self.store.header(checkpoint.id), Ok(None))
        });
        missing.map(|checkpoint| (self.checkpoint_number(*checkpoint), checkpoint.id)).collect()
    }

    /// Goes to the branch of the highest checkpoint above the node's justified one that bets promise, if there is one and its time has come.
    /// Who calls it holds `importing`.
    pub(super) fn take_justified(&self, importing: &mut Importing) -> Result<Option<Arc<Reorg>>, ImportError> {
        let promised = self.finality.lock().promised.clone();
        for target in promised {
            if !self.may_go_to(importing, target)? {
                continue;
            }
            for _ in 0..MAX_TRIES {
                if importing.is_invalid(target.id) {
                    break;
                }
                let tip = self.heaviest_above(importing, target)?;
                self.note_switch(tip, Some(target))?;
                match self.switch_to(importing, tip, Some(target)) {
                    Ok(reorg) => return Ok(Some(reorg)),
                    Err(ImportError::NotJustified { .. }) => {
                        self.remember_unproven(target);
                        break;
                    }
                    Err(error) if error.is_internal() => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(None)
    }

    /// Whether the branch of a promised checkpoint is here, may be taken, and may be taken now.
    fn may_go_to(&self, importing: &Importing, target: Checkpoint) -> Result<bool, ImportError> {
        let Some(header) = self.store.header(target.id)? else { return Ok(false) };
        if header.number != self.checkpoint_number(target)
            || importing.is_invalid(target.id)
            || self.store.is_canonical(target.id)?
            || !self.is_new_promise(&target)
        {
            return Ok(false);
        }
        let Some(fork) = self.fork_point(target.id)? else { return Ok(false) };
        let finalised = self.finality.lock().finalised;
        if fork < self.checkpoint_number(finalised) {
            tracing::error!(
                checkpoint = target.number, id = %target.id, finalised = %finalised.id,
                "bets justify a checkpoint that conflicts with a final one: footstones with a third of the weight contradict themselves"
            );
            return Ok(false);
        }
        Ok(self.has_justified(fork) || self.may_leave_justified())
    }

    /// Rule: see the module's documentation.
    fn may_leave_justified(&self) -> bool {
        let (head, interval) = (self.head(), self.checkpoint_blocks().unwrap_or(1));
        let into = head.number().checked_rem(interval).unwrap_or(0);
        let still = self.now_secs().saturating_sub(head.header.timestamp);
        into.saturating_mul(3) < interval || still > interval.saturating_mul(self.params.block_secs)
    }

    /// Returns the block with the most work of those stored that are `target` or above it.
    fn heaviest_above(&self, importing: &Importing, target: Checkpoint) -> Result<B256, ImportError> {
        let mut best = (U256::ZERO, target.id);
        let (mut level, mut number) = (HashSet::from([target.id]), self.checkpoint_number(target));
        while !level.is_empty() {
            number = number.saturating_add(1);
            let mut next = HashSet::new();
            for id in self.store.blocks_at(number)? {
                let Some(header) = self.store.header(id)? else { continue };
                if !level.contains(&header.parent_hash) || importing.is_invalid(id) {
                    continue;
                }
                let work = self.store.work(id)?.unwrap_or_default();
                if work > best.0 {
                    best = (work, id);
                }
                next.insert(id);
            }
            level = next;
        }
        Ok(best.1)
    }

    /// Whether more is bet on a checkpoint than when it turned out not to be justified, if it ever did.
    fn is_new_promise(&self, target: &Checkpoint) -> bool {
        let finality = self.finality.lock();
        finality.unproven.get(&target.id).is_none_or(|amount| finality.book.amount_on(*target) > *amount)
    }

    fn remember_unproven(&self, target: Checkpoint) {
        let finality = &mut *self.finality.lock();
        if finality.unproven.len() >= MAX_UNPROVEN {
            finality.unproven.clear();
        }
        finality.unproven.insert(target.id, finality.book.amount_on(target));
    }

    /// Holds, after its blocks were executed, that a branch has what it was taken for; and counts its bets from then on.
    pub(crate) fn prove(&self, adopted: &[B256], lead: Option<Checkpoint>) -> Result<(), ImportError> {
        if self.params.footstones.is_none() {
            return Ok(());
        }
        // Its members may be others, whose bets nobody took note of before.
        self.admit_members()?;
        for id in adopted {
            let body = self.store.body(*id)?.ok_or_else(|| state_error(format!("block {id} is not there whole")))?;
            self.note_bets_of(&body);
        }
        let Some(counted) = self.counted()? else { return Ok(()) };
        if let Some(lead) = lead {
            let number = self.checkpoint_number(lead);
            if counted.justified.number < lead.number || self.store.canonical(number)? != Some(lead.id) {
                return Err(ImportError::NotJustified { number, id: lead.id });
            }
        }
        self.keep_counted(counted)
    }
}
