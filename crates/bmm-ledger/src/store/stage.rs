//! Working out what a diff does to the state and its trie, before anything is written.

mod older;

pub(super) use older::{OlderTries, stage_view};

use super::{
    Store, StoreError,
    cache::{CachedNodes, RecordKey, TrieCache},
    snapshot::Snapshot,
    source::{SnapshotTrie, encode_account, encode_slot},
    tables::{self, Record},
};
use crate::{
    diff::{AccountDiff, StateDiff},
    trie::{Batch, EMPTY_ROOT_HASH, Node, threads::in_shares, update},
};
use alloy_primitives::{Address, B256, U256};
use std::sync::OnceLock;

/// Fewest accounts that are worth starting threads for.
const MIN_SHARED: usize = 64;

/// Threads that work on one diff, at most: a root has 16 children, and starting a thread costs as much as hashing 20 nodes.
const MAX_THREADS: usize = 8;

/// Changed slots from which on an account is worked on by all threads together.
const LARGE_ACCOUNT: usize = 512;

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
    /// Trie nodes that are new (`Some`) or gone (`None`): of the storage tries by owner and path, then of the account trie.
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
        self.stage_on(usual_threads(), parent, diff)
    }

    /// As [`Self::stage`], on so many threads. Their number does not change what is staged.
    pub(super) fn stage_on(&self, threads: usize, parent: B256, diff: StateDiff) -> Result<Staged, StoreError> {
        let snapshot = self.snapshot();
        if snapshot.head_id() != parent {
            return Err(StoreError::NotHead { block: parent, head: snapshot.head_id() });
        }
        let nodes = self.trie_cache.nodes(parent);
        let staged = Stage { snapshot: &snapshot, cache: &self.trie_cache, nodes: &nodes, threads }.run(diff);
        nodes.finish();
        staged
    }
}

/// Returns on how many threads tries are worked out when nobody says otherwise.
pub(super) fn usual_threads() -> usize {
    // Asking reads files, so it is done once.
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS))
}

/// What staging reads.
struct Stage<'a> {
    snapshot: &'a Snapshot,
    cache: &'a TrieCache,
    nodes: &'a CachedNodes<'a>,
    threads: usize,
}

/// An account of the diff.
struct Hashed<'a> {
    owner: B256,
    address: Address,
    account: &'a mut AccountDiff,
}

impl Hashed<'_> {
    fn slots(&self) -> usize {
        self.account.storage.len().saturating_add(self.account.unnamed.len())
    }
}

/// The outcome for consecutive accounts.
#[derive(Default)]
struct Part {
    /// Changes of the account trie.
    batch: Batch,
    accounts: Vec<(B256, Option<Vec<u8>>)>,
    slots: Vec<SlotWrite>,
    records: Vec<(RecordKey, Option<Node>)>,
}

impl Stage<'_> {
    fn run(&self, mut diff: StateDiff) -> Result<Staged, StoreError> {
        let mut all = Part::default();
        let mut run = Vec::with_capacity(diff.accounts.len());
        for hashed in self.hashed(&mut diff) {
            if hashed.slots() < LARGE_ACCOUNT {
                run.push(hashed);
                continue;
            }
            self.small(std::mem::take(&mut run), &mut all)?;
            self.account(hashed, self.threads, &mut all)?;
        }
        self.small(run, &mut all)?;
        let outcome = update(&self.trie(None, false), &all.batch, self.threads)?;
        all.records.extend(outcome.nodes.into_iter().map(|(path, node)| ((None, path), node)));
        let Part { accounts, slots, records, .. } = all;
        Ok(Staged { parent: self.snapshot.head_id(), root: outcome.root, diff, accounts, slots, records })
    }

    /// The accounts of the diff by ascending keccak(address).
    fn hashed<'d>(&self, diff: &'d mut StateDiff) -> Vec<Hashed<'d>> {
        let accounts: Vec<_> = diff.accounts.iter_mut().collect();
        let threads = if accounts.len() < MIN_SHARED { 1 } else { self.threads };
        let hash = |(address, account): (&Address, _)| Hashed {
            owner: tables::hash_address(*address),
            address: *address,
            account,
        };
        let shares = in_shares(accounts, threads, |_| 1, |share| share.into_iter().map(hash).collect::<Vec<_>>());
        let mut hashed: Vec<_> = shares.into_iter().flatten().collect();
        hashed.sort_unstable_by_key(|account| account.owner);
        hashed
    }

    /// Works out accounts with few slots, a share on each thread.
    fn small(&self, accounts: Vec<Hashed<'_>>, all: &mut Part) -> Result<(), StoreError> {
        let weight = |hashed: &Hashed<'_>| hashed.slots().saturating_mul(4).saturating_add(1);
        let total = accounts.iter().map(weight).fold(0, usize::saturating_add);
        let threads = if total < MIN_SHARED { 1 } else { self.threads };
        let work = |share: Vec<Hashed<'_>>| {
            let mut part = Part { batch: Batch::with_capacity(share.len()), ..Part::default() };
            share.into_iter().try_for_each(|hashed| self.account(hashed, 1, &mut part)).map(|()| part)
        };
        for part in in_shares(accounts, threads, weight, work) {
            let part = part?;
            all.batch.append(&part.batch);
            all.accounts.extend(part.accounts);
            all.slots.extend(part.slots);
            all.records.extend(part.records);
        }
        Ok(())
    }

    /// Works out an account and its slots.
    fn account(&self, hashed: Hashed<'_>, threads: usize, part: &mut Part) -> Result<(), StoreError> {
        let Hashed { owner, address, account } = hashed;
        let before = self.cache.account(self.snapshot, &owner)?;
        if before.map(|record| record.account) != account.before {
            return Err(StoreError::WrongBefore { address, what: format!("{before:?}") });
        }
        let old_root = before.map_or(EMPTY_ROOT_HASH, |record| record.storage_root);
        let storage_root = self.storage((owner, address), account, old_root, threads, part)?;
        let after = account.after.map(|account| Record { account, storage_root });
        if after != before {
            part.batch.push(owner, before.is_some(), |out| {
                if let Some(record) = after {
                    encode_account(&record, out);
                }
            });
            part.accounts.push((owner, after.map(Record::to_bytes)));
        }
        Ok(())
    }

    /// Works out an account's slots and returns its new storage root.
    fn storage(
        &self,
        (owner, address): (B256, Address),
        account: &mut AccountDiff,
        old_root: B256,
        threads: usize,
        part: &mut Part,
    ) -> Result<B256, StoreError> {
        let changes = self.slots(&owner, account, old_root, threads)?;
        if changes.is_empty() {
            return Ok(old_root);
        }
        let mut batch = Batch::with_capacity(changes.len());
        for (slot, before, after) in &changes {
            batch.push(*slot, !before.is_zero(), |out| {
                if !after.is_zero() {
                    encode_slot(*after, out);
                }
            });
        }
        let outcome = update(&self.trie(Some(owner), old_root == EMPTY_ROOT_HASH), &batch, threads)?;
        if account.after.is_none() && outcome.root != EMPTY_ROOT_HASH {
            return Err(StoreError::WrongBefore { address, what: "the account goes but slots stay".into() });
        }
        part.records.extend(outcome.nodes.into_iter().map(|(path, node)| ((Some(owner), path), node)));
        part.slots.extend(changes.into_iter().map(|(slot, before, after)| SlotWrite {
            key: tables::slot_key(&owner, &slot),
            before,
            after,
        }));
        Ok(outcome.root)
    }

    /// The slots that really change, by ascending keccak(slot), with the values before and after.
    fn slots(
        &self,
        owner: &B256,
        account: &mut AccountDiff,
        old_root: B256,
        threads: usize,
    ) -> Result<Vec<(B256, U256, U256)>, StoreError> {
        let named: Vec<_> = account.storage.iter().filter(|(_, (before, after))| before != after).collect();
        let threads = if named.len() < MIN_SHARED { 1 } else { threads };
        let hash = |(slot, (before, after)): (&U256, &(U256, U256))| (tables::hash_slot(*slot), *before, *after);
        let shares = in_shares(named, threads, |_| 1, |share| share.into_iter().map(hash).collect::<Vec<_>>());
        let mut changes: Vec<_> = shares.into_iter().flatten().collect();
        changes.sort_unstable_by_key(|(slot, ..)| *slot);
        if account.after.is_none() && old_root != EMPTY_ROOT_HASH {
            // An account does not leave slots behind: what the diff does not name goes too, and is noted for the way back.
            self.snapshot.slots(owner, &B256::ZERO, |slot, value| {
                if changes.binary_search_by_key(&slot, |(slot, ..)| *slot).is_err() {
                    account.unnamed.entry(slot).or_insert((value, U256::ZERO));
                }
                true
            })?;
        }
        if !account.unnamed.is_empty() {
            changes.extend(account.unnamed.iter().map(|(slot, (before, after))| (*slot, *before, *after)));
            changes.retain(|(_, before, after)| before != after);
            changes.sort_unstable_by_key(|(slot, ..)| *slot);
        }
        Ok(changes)
    }

    fn trie(&self, owner: Option<B256>, empty: bool) -> SnapshotTrie<'_> {
        SnapshotTrie { snapshot: self.snapshot, owner, cache: Some(self.nodes), empty }
    }
}

#[cfg(test)]
mod scale;
