//! The tries of a state that is not the head's: worked out in memory, never written.

use super::{
    super::{StoreError, snapshot::Snapshot, source::SnapshotTrie, tables::Record},
    encode_account, encode_slot, usual_threads,
};
use crate::{
    diff::Account,
    trie::{
        Batch, EMPTY_ROOT_HASH, Leaf, Nibbles, Overlay, Proof, RangeProof, node_at, prove, prove_range_while, update,
    },
};
use alloy_primitives::{B256, Bytes, U256};
use std::{collections::BTreeMap, sync::Arc};

/// The tries after some changes to a snapshot's state.
pub(in crate::store) struct OlderTries {
    /// The state root.
    pub root: B256,
    snapshot: Arc<Snapshot>,
    accounts: Overlay,
    storage: BTreeMap<B256, Overlay>,
    records: BTreeMap<B256, Option<Record>>,
}

/// Works out the tries of the state that differs from the snapshot's by these accounts and slots, all by hashed keys: the values
/// that they have there, `None` and zero for those that do not exist.
///
/// # Errors
/// [`StoreError::Corrupt`] when an account goes whose slots stay.
pub(in crate::store) fn stage_view(
    snapshot: Arc<Snapshot>,
    accounts: &BTreeMap<B256, Option<Account>>,
    slots: impl IntoIterator<Item = ((B256, B256), U256)>,
) -> Result<OlderTries, StoreError> {
    let mut batches: BTreeMap<B256, BTreeMap<B256, U256>> = BTreeMap::new();
    for ((owner, slot), value) in slots {
        batches.entry(owner).or_default().insert(slot, value);
    }
    let mut storage = BTreeMap::new();
    let mut records = BTreeMap::new();
    let mut batch = Batch::with_capacity(accounts.len());
    let owners = accounts.keys().chain(batches.keys().filter(|owner| !accounts.contains_key(*owner)));
    let mut owners: Vec<_> = owners.copied().collect();
    owners.sort_unstable();
    for owner in owners {
        let before = snapshot.record(&owner)?;
        let mut storage_root = before.map_or(EMPTY_ROOT_HASH, |record| record.storage_root);
        if let Some(slots) = batches.get(&owner) {
            let mut changes = Batch::with_capacity(slots.len());
            for (slot, value) in slots {
                changes.push(*slot, false, |out| {
                    if !value.is_zero() {
                        encode_slot(*value, out);
                    }
                });
            }
            let empty = storage_root == EMPTY_ROOT_HASH;
            let trie = SnapshotTrie { snapshot: &snapshot, owner: Some(owner), cache: None, empty };
            let outcome = update(&trie, &changes, usual_threads())?;
            storage_root = outcome.root;
            storage.insert(owner, Overlay::new(&changes, outcome));
        }
        let account = accounts.get(&owner).copied().unwrap_or(before.map(|record| record.account));
        if account.is_none() && storage_root != EMPTY_ROOT_HASH {
            return Err(StoreError::corrupt("diffs", owner, "an account goes while its slots stay"));
        }
        let record = account.map(|account| Record { account, storage_root });
        batch.push(owner, before.is_some(), |out| {
            if let Some(record) = &record {
                encode_account(record, out);
            }
        });
        records.insert(owner, record);
    }
    let outcome = update(&SnapshotTrie::new(&snapshot, None), &batch, usual_threads())?;
    let root = outcome.root;
    Ok(OlderTries { root, snapshot, accounts: Overlay::new(&batch, outcome), storage, records })
}

impl OlderTries {
    /// Returns an account with its storage root.
    pub fn record(&self, owner: &B256) -> Result<Option<Record>, StoreError> {
        match self.records.get(owner) {
            Some(record) => Ok(*record),
            None => self.snapshot.record(owner),
        }
    }

    /// Proves an account.
    pub fn prove_account(&self, owner: B256) -> Result<Proof, StoreError> {
        prove(&self.accounts.over(SnapshotTrie::new(&self.snapshot, None)), owner)
    }

    /// Proves a slot.
    pub fn prove_slot(&self, owner: B256, slot: B256) -> Result<Proof, StoreError> {
        let below = SnapshotTrie::new(&self.snapshot, Some(owner));
        match self.storage.get(&owner) {
            Some(storage) => prove(&storage.over(below), slot),
            None => prove(&below, slot),
        }
    }

    /// Returns consecutive leaves of the account trie or, with an owner, of a storage trie, with their proof. See
    /// [`prove_range_while`].
    pub fn prove_range(
        &self,
        owner: Option<B256>,
        from: B256,
        more: impl FnMut(&Leaf) -> bool,
    ) -> Result<RangeProof, StoreError> {
        let below = SnapshotTrie::new(&self.snapshot, owner);
        match self.changed(owner) {
            Some(changed) => prove_range_while(&changed.over(below), from, more),
            None => prove_range_while(&below, from, more),
        }
    }

    /// Returns the node at a path of such a trie. See [`node_at`].
    pub fn node(&self, owner: Option<B256>, path: &Nibbles) -> Result<Option<Bytes>, StoreError> {
        let below = SnapshotTrie::new(&self.snapshot, owner);
        match self.changed(owner) {
            Some(changed) => node_at(&changed.over(below), path),
            None => node_at(&below, path),
        }
    }

    fn changed(&self, owner: Option<B256>) -> Option<&Overlay> {
        owner.map_or(Some(&self.accounts), |owner| self.storage.get(&owner))
    }
}
