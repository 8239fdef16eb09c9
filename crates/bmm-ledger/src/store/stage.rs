//! Working out what a diff does to the state and its trie, before anything is written.

use super::{
    Store, StoreError,
    cache::{RecordKey, TrieCache},
    snapshot::Snapshot,
    source::SnapshotTrie,
    tables::{self, Record},
};
use crate::{
    diff::{AccountDiff, StateDiff},
    trie::{EMPTY_ROOT_HASH, Node, Update, update},
};
use alloy_primitives::{Address, B256, U256};
use std::collections::BTreeMap;

/// A diff worked out against the head: the root it leads to and the trie nodes it changes. Nothing is written yet.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(super) parent: B256,
    pub(super) root: B256,
    pub(super) diff: StateDiff,
    /// Flat accounts, ascending by key.
    pub(super) accounts: Vec<(B256, Option<Vec<u8>>)>,
    /// Flat slots, ascending by key.
    pub(super) slots: Vec<SlotWrite>,
    /// Nodes of the tries that are new (`Some`) or gone (`None`): of the storage tries by owner and path, then of the account trie.
    pub(super) records: Vec<(RecordKey, Option<Node>)>,
}

/// A changed slot.
#[derive(Clone, Debug)]
pub(super) struct SlotWrite {
    pub key: [u8; 64],
    pub before: U256,
    pub after: U256,
}

impl Staged {
    /// Returns the state root after the diff.
    pub fn root(&self) -> B256 {
        self.root
    }

    /// Returns the block that the diff applies to; zero for genesis.
    pub fn parent(&self) -> B256 {
        self.parent
    }

    /// Returns the diff, with the unnamed slots of removed accounts filled in.
    pub fn diff(&self) -> &StateDiff {
        &self.diff
    }
}

impl Store {
    /// Works out the state root after `diff` on top of the block `parent`, which must be the head (zero in an empty store).
    /// Reads only.
    ///
    /// # Errors
    /// [`StoreError::NotHead`]; [`StoreError::WrongBefore`] when an account's `before` is not what the head holds or an
    /// account goes while its slots stay.
    pub fn stage(&self, parent: B256, diff: StateDiff) -> Result<Staged, StoreError> {
        let snapshot = self.snapshot();
        if snapshot.head_id() != parent {
            return Err(StoreError::NotHead { block: parent, head: snapshot.head_id() });
        }
        stage(&snapshot, &self.trie_cache, diff)
    }
}

fn stage(snapshot: &Snapshot, cache: &TrieCache, mut diff: StateDiff) -> Result<Staged, StoreError> {
    let mut staged = Staged {
        parent: snapshot.head_id(),
        root: B256::ZERO,
        diff: StateDiff::default(),
        accounts: Vec::with_capacity(diff.accounts.len()),
        slots: Vec::new(),
        records: Vec::new(),
    };
    let mut hashed: Vec<_> = diff
        .accounts
        .iter_mut()
        .map(|(address, account)| (tables::hash_address(*address), *address, account))
        .collect();
    hashed.sort_unstable_by_key(|(owner, ..)| *owner);
    let mut updates = Vec::with_capacity(hashed.len());
    for (owner, address, account) in hashed {
        let before = snapshot.record(&owner)?;
        if before.map(|record| record.account) != account.before {
            return Err(StoreError::WrongBefore { address, what: format!("{before:?}") });
        }
        let old_root = before.map_or(EMPTY_ROOT_HASH, |record| record.storage_root);
        let storage_root = stage_storage(snapshot, cache, &mut staged, (owner, address), account, old_root)?;
        let after = account.after.map(|account| Record { account, storage_root });
        if after != before {
            updates.push(Update::new(owner, after.map(|record| record.leaf())));
            staged.accounts.push((owner, after.map(Record::to_bytes)));
        }
    }
    let outcome = update(&mut SnapshotTrie { snapshot, owner: None, cache: Some(cache) }, updates)?;
    staged.root = outcome.root;
    staged.records.extend(outcome.records.into_iter().map(|(path, record)| ((None, path), record)));
    staged.diff = diff;
    Ok(staged)
}

/// Works out an account's slots and returns its new storage root.
fn stage_storage(
    snapshot: &Snapshot,
    cache: &TrieCache,
    staged: &mut Staged,
    (owner, address): (B256, Address),
    account: &mut AccountDiff,
    old_root: B256,
) -> Result<B256, StoreError> {
    let named = account.storage.iter().map(|(slot, change)| (tables::hash_slot(*slot), *change));
    let mut changes: BTreeMap<B256, (U256, U256)> = named.collect();
    changes.extend(account.unnamed.iter().map(|(slot, change)| (*slot, *change)));
    if account.after.is_none() && old_root != EMPTY_ROOT_HASH {
        // An account does not leave slots behind: what the diff does not name goes too, and is noted for the way back.
        snapshot.slots(&owner, &B256::ZERO, |slot, value| {
            changes.entry(slot).or_insert_with(|| {
                account.unnamed.insert(slot, (value, U256::ZERO));
                (value, U256::ZERO)
            });
            true
        })?;
    }
    changes.retain(|_, (before, after)| before != after);
    if changes.is_empty() {
        return Ok(old_root);
    }
    let updates = changes.iter().map(|(slot, (_, after))| {
        let value = (!after.is_zero()).then(|| alloy_rlp::encode(after));
        Update::new(*slot, value)
    });
    let outcome = update(&mut SnapshotTrie { snapshot, owner: Some(owner), cache: Some(cache) }, updates.collect())?;
    if account.after.is_none() && outcome.root != EMPTY_ROOT_HASH {
        return Err(StoreError::WrongBefore { address, what: "the account goes but slots stay".into() });
    }
    staged.records.extend(outcome.records.into_iter().map(|(path, record)| ((Some(owner), path), record)));
    staged.slots.extend(changes.into_iter().map(|(slot, (before, after))| SlotWrite {
        key: tables::slot_key(&owner, &slot),
        before,
        after,
    }));
    Ok(outcome.root)
}
