//! How far back the past is kept.

use super::{
    Staged, StoreError,
    batch::Batch,
    snapshot::Snapshot,
    tables::{self, META_ARCHIVE, META_PRUNED, history_key},
};
use alloy_primitives::B256;

/// How much of the past a store keeps. Headers, bodies and receipts of canonical blocks stay in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// What the last so many blocks changed, and the blocks of side branches among them: as far back goes a change of branch, and
    /// the state can be read as far back as [`super::MAX_VIEW_DEPTH`].
    Last(u64),
    /// Everything: the state of every block can be read from the one on at which the archive began.
    Archive,
}

impl History {
    /// Blocks that are kept by default: a week of blocks of six seconds.
    pub const DEFAULT_BLOCKS: u64 = 100_000;
}

impl Default for History {
    fn default() -> Self {
        Self::Last(Self::DEFAULT_BLOCKS)
    }
}

/// Blocks that one commit prunes at most, so that a shorter history than before is reached step by step.
const PRUNED_AT_ONCE: u64 = 8;

pub(super) fn number_in_meta(snapshot: &Snapshot, key: &[u8]) -> Result<Option<u64>, StoreError> {
    snapshot.read(tables::META, key, |bytes| Ok(u64::from_be_bytes(tables::fixed("meta", key, bytes)?)))
}

/// How many blocks below `head` still have what the blocks above them changed.
pub(super) fn kept_below(snapshot: &Snapshot, head: u64) -> Result<u64, StoreError> {
    let pruned = number_in_meta(snapshot, META_PRUNED)?.unwrap_or(0);
    // Genesis' own diff is never needed to go back.
    Ok(head.saturating_add(1).saturating_sub(pruned.max(1)))
}

/// Notes the values before a block, by key and block, so that older states can be read without going through all diffs.
pub(super) fn record(snapshot: &Snapshot, batch: &mut Batch, number: u64, staged: &Staged) -> Result<(), StoreError> {
    if number_in_meta(snapshot, META_ARCHIVE)?.is_none() {
        batch.put(tables::META, META_ARCHIVE, &number.to_be_bytes());
    }
    for (owner, _) in &staged.accounts {
        let before = snapshot.get(tables::ACCOUNTS, owner.as_slice())?.unwrap_or_default();
        batch.put(tables::ACCOUNT_HISTORY, &history_key(owner.as_slice(), number), &before);
    }
    for slot in &staged.slots {
        let before = tables::word_to_bytes(slot.before);
        batch.put(tables::STORAGE_HISTORY, &history_key(&slot.key, number), &before);
    }
    Ok(())
}

/// Takes back what [`record`] noted of a block that is taken away; `staged` leads back to its parent.
pub(super) fn forget(batch: &mut Batch, number: u64, staged: &Staged) {
    for (owner, _) in &staged.accounts {
        batch.remove(tables::ACCOUNT_HISTORY, &history_key(owner.as_slice(), number));
    }
    for slot in &staged.slots {
        batch.remove(tables::STORAGE_HISTORY, &history_key(&slot.key, number));
    }
}

/// Removes the diffs of canonical blocks and all of side blocks below `keep_from`.
pub(super) fn prune(snapshot: &Snapshot, batch: &mut Batch, keep_from: u64) -> Result<(), StoreError> {
    let from = number_in_meta(snapshot, META_PRUNED)?.unwrap_or(0);
    let to = keep_from.min(from.saturating_add(PRUNED_AT_ONCE));
    if from >= to {
        return Ok(());
    }
    for number in from..to {
        batch.remove(tables::DIFFS, &number.to_be_bytes());
        let canonical = snapshot.canonical_id(number)?;
        for id in snapshot.blocks_at(number)?.into_iter().filter(|id| Some(*id) != canonical) {
            remove_block(batch, number, id);
        }
    }
    batch.put(tables::META, META_PRUNED, &to.to_be_bytes());
    Ok(())
}

/// Removes a block and its place among those of its number.
pub(super) fn remove_block(batch: &mut Batch, number: u64, id: B256) {
    for table in [tables::HEADERS, tables::BODIES, tables::SEALS, tables::WORK] {
        batch.remove(table, id.as_slice());
    }
    batch.remove(tables::NUMBERS, &tables::number_key(number, id));
}

/// Returns the value that the archive holds of a key for the state after block `number`: that before the first later change. `None`
/// if there was no later change.
pub(super) fn lookup(
    snapshot: &Snapshot,
    table: tables::Table,
    key: &[u8],
    number: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let from = history_key(key, number.saturating_add(1));
    let mut found = None;
    snapshot.scan(table, &from, |at, value| {
        if at.len() == from.len() && at.starts_with(key) {
            found = Some(value.to_vec());
        }
        Ok(false)
    })?;
    Ok(found)
}
