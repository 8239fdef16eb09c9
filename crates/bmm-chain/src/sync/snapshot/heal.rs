//! What has changed between the pivots: found by going down from the last one's root along the nodes that differ.

use super::{Halt, Run, SnapshotStep, Source, SyncError};
use crate::ranges::NODES_AT_ONCE;
use alloy_primitives::{B256, KECCAK256_EMPTY};
use bmm_ledger::{
    store::{NewHeader, StoreError},
    trie::{Change, EMPTY_ROOT_HASH, TrieAccount, Walk, WalkError},
};

impl Run<'_> {
    /// Makes the stored state the pivot's.
    pub(super) fn heal(&mut self, source: &dyn Source, pivot: &NewHeader) -> Result<(), Halt> {
        if self.loading.root(None)? != pivot.header.state_root {
            self.step = SnapshotStep::Changes;
            self.place.healing = true;
            self.loading.note(&self.note())?;
            self.walk(source, pivot, None, pivot.header.state_root)?;
        }
        if self.place.healing {
            // Every account is there by now: slots of others are what an interruption has left.
            for owner in self.loading.owners_of_slots(B256::ZERO, B256::repeat_byte(0xff))? {
                if self.loading.account(&owner)?.is_none() {
                    self.loading.remove_slots(owner)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the account trie or, with an owner, a storage trie the one of a root.
    pub(super) fn walk(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        owner: Option<B256>,
        root: B256,
    ) -> Result<(), Halt> {
        let mut walk = Walk::new(root);
        loop {
            self.go_on()?;
            let paths = walk.next(NODES_AT_ONCE);
            if paths.is_empty() {
                return Ok(());
            }
            let nodes = self.ask_nodes(source, pivot, owner, paths)?;
            let changes = match self.loading.walk(owner, &mut walk, &nodes) {
                Ok(changes) => changes,
                Err(WalkError::Source(error)) => return Err(error.into()),
                Err(error @ WalkError::Wrong(_)) => {
                    let what =
                        format!("gives a node that is not of the state root {}: {error}", pivot.header.state_root);
                    return Err(SyncError::source(source, what).into());
                }
            };
            match owner {
                _ if changes.is_empty() => {}
                Some(owner) => drop(self.loading.change_slots(&[(owner, changes)], None)?),
                None => self.change_accounts(source, pivot, &changes)?,
            }
        }
    }

    /// Changes accounts together with their slots.
    ///
    /// Whenever an account is stored, its slots are those of its storage root: else an interruption could leave an account that
    /// looks right later, when its storage root is what it was, with slots that are not. So one whose slots change goes first.
    fn change_accounts(&mut self, source: &dyn Source, pivot: &NewHeader, changes: &[Change]) -> Result<(), Halt> {
        let (mut first, mut storages, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let owner = change.key();
            let before = self.loading.account(&owner)?;
            let after = match change {
                Change::Set(leaf) => Some(decode(owner, &leaf.value)?),
                Change::Remove(_) => None,
            };
            codes.extend(after.map(|account| account.code_hash).filter(|hash| *hash != KECCAK256_EMPTY));
            let root = |account: Option<TrieAccount>| account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root);
            if before.is_none() || root(before) != root(after) {
                storages.push((owner, root(after)));
                first.extend(before.map(|_| Change::Remove(owner)));
            }
        }
        self.take_codes(source, codes)?;
        if !first.is_empty() {
            self.loading.change_accounts(&first, None)?;
        }
        for (owner, root) in storages {
            self.heal_slots(source, pivot, owner, root)?;
        }
        self.loading.change_accounts(changes, None)?;
        Ok(())
    }
}

fn decode(owner: B256, value: &[u8]) -> Result<TrieAccount, StoreError> {
    alloy_rlp::decode_exact(value).map_err(|error| StoreError::Corrupt {
        table: "accounts",
        key: format!("{owner:x}"),
        what: error.to_string(),
    })
}
