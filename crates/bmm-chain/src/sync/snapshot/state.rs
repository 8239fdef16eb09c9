//! The state in ranges, in the order of the trie.

use super::{
    Halt, Run, Source,
    ask::{Proven, asking},
};
use crate::ranges::AccountRange;
use alloy_primitives::B256;
use bmm_ledger::{
    store::NewHeader,
    trie::{Change, EMPTY_ROOT_HASH, Leaf, following},
};
use std::collections::BTreeMap;

impl Run<'_> {
    /// Takes the accounts from where it is to the end, asking for the next ones while the last are stored.
    pub(super) fn load(&mut self, source: &dyn Source, pivot: &NewHeader) -> Result<(), Halt> {
        let mut ahead = None;
        while !self.place.loaded {
            self.go_on()?;
            let from = self.place.next;
            let (range, proven) = self.ask_accounts(source, pivot, from, ahead.take())?;
            let last = proven.leaves.last().filter(|_| proven.more).map_or(B256::repeat_byte(0xff), |leaf| leaf.key);
            let next = following(&last).filter(|_| proven.more).map(|next| self.accounts_request(pivot, next));
            ((), ahead) = asking(source, next, || self.store_accounts(source, pivot, (from, last), &range, proven))?;
        }
        Ok(())
    }

    /// Stores accounts, which are all between two keys, with all that belongs to them.
    fn store_accounts(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        (from, last): (B256, B256),
        range: &AccountRange,
        Proven { leaves, more }: Proven,
    ) -> Result<(), Halt> {
        self.take_codes(source, range.accounts.iter().filter_map(|account| account.code_hash))?;
        let storages = range.accounts.iter().filter_map(|account| Some((account.key, account.storage_root?)));
        let storages = self.clear_earlier(source, pivot, (from, last), storages.collect())?;
        self.load_slots(source, pivot, &storages)?;
        // An account comes after all of its slots, so that those of every account that is there are complete.
        self.place.accounts = self.place.accounts.saturating_add(count(leaves.len()));
        self.place.loaded = !more;
        self.place.next = following(&last).unwrap_or(last);
        let note = self.note();
        self.loading.change_accounts(&sets(leaves), Some(&note))?;
        Ok(())
    }

    /// Deals with slots that an earlier run has left of accounts that were not stored: of another pivot, perhaps. Returns the
    /// storages that are to be taken from the beginning (but for one that has come in part).
    fn clear_earlier(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        (from, last): (B256, B256),
        mut storages: BTreeMap<B256, B256>,
    ) -> Result<Vec<(B256, B256)>, Halt> {
        for owner in self.loading.owners_of_slots(from, last)? {
            match storages.get(&owner).copied() {
                None => self.loading.remove_slots(owner)?,
                Some(_) if owner == self.place.owner => {}
                Some(root) => {
                    self.heal_slots(source, pivot, owner, root)?;
                    storages.remove(&owner);
                }
            }
        }
        // It has come in part and is gone.
        if !storages.contains_key(&self.place.owner) {
            (self.place.owner, self.place.slot) = (B256::ZERO, B256::ZERO);
        }
        Ok(storages.into_iter().collect())
    }

    /// Takes the slots of accounts, each given with its storage root.
    pub(super) fn load_slots(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        storages: &[(B256, B256)],
    ) -> Result<(), Halt> {
        let (mut rest, mut ahead) = (storages, None);
        while let Some((first, _)) = rest.first() {
            self.go_on()?;
            let from = if self.place.owner == *first { self.place.slot } else { B256::ZERO };
            let parts = self.ask_slots(source, pivot, rest, from, ahead.take())?;
            let more = parts.last().is_some_and(|part| part.more);
            let (whole, left) =
                rest.split_at_checked(parts.len().saturating_sub(usize::from(more))).unwrap_or((rest, &[]));
            let last = parts.last().and_then(|part| part.leaves.last()).filter(|_| more);
            (self.place.owner, self.place.slot) = match (left.first(), last) {
                (Some((owner, _)), Some(last)) => (*owner, following(&last.key).unwrap_or(last.key)),
                _ => (B256::ZERO, B256::ZERO),
            };
            let next = (!left.is_empty()).then(|| self.slots_request(pivot, left, self.place.slot));
            ((), ahead) = asking(source, next, || self.store_slots(source, pivot, (rest, whole.len()), parts))?;
            rest = left;
        }
        Ok(())
    }

    /// Stores slots of accounts, the first `whole` of which are complete with them.
    fn store_slots(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        (storages, whole): (&[(B256, B256)], usize),
        parts: Vec<Proven>,
    ) -> Result<(), Halt> {
        let slots: usize = parts.iter().map(|part| part.leaves.len()).sum();
        self.place.slots = self.place.slots.saturating_add(count(slots));
        let changes = storages.iter().zip(parts).map(|((owner, _), part)| (*owner, sets(part.leaves)));
        let note = self.note();
        let roots = self.loading.change_slots(&changes.collect::<Vec<_>>(), Some(&note))?;
        for ((owner, root), got) in storages.iter().zip(roots).take(whole) {
            if got != *root {
                // Its beginning is of another pivot.
                self.heal_slots(source, pivot, *owner, *root)?;
            }
        }
        Ok(())
    }

    /// Makes the stored slots of an account those of a storage root. The account must not be stored, or be stored with that root.
    pub(super) fn heal_slots(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        owner: B256,
        root: B256,
    ) -> Result<(), Halt> {
        match self.loading.root(Some(owner))? {
            stored if stored == root => Ok(()),
            _ if root == EMPTY_ROOT_HASH => Ok(self.loading.remove_slots(owner)?),
            EMPTY_ROOT_HASH => self.load_slots(source, pivot, &[(owner, root)]),
            _ => self.walk(source, pivot, Some(owner), root),
        }
    }
}

fn sets(leaves: Vec<Leaf>) -> Vec<Change> {
    leaves.into_iter().map(Change::Set).collect()
}

pub(super) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
