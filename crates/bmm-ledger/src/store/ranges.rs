//! The state after one block in ranges with their proofs, and node by node: what a node gives to others that begin without a state.

use super::{Head, Store, StoreError, stage::OlderTries, tables::Record};
use crate::trie::{Leaf, Nibbles, RangeProof};
use alloy_primitives::{B256, Bytes};

/// Bytes of a leaf beside its value.
const LEAF_BYTES: usize = 32;

/// The tries of the state after one block. While it lives, the database keeps the pages that it reads: drop it soon.
pub struct StateRanges {
    block: Head,
    tries: OlderTries,
}

impl Store {
    /// Works out the tries of the state after the canonical block `id`.
    ///
    /// # Errors
    /// As [`Self::view_at`]: [`StoreError::NotCanonical`], [`StoreError::TooDeep`].
    pub fn ranges_at(&self, id: B256) -> Result<StateRanges, StoreError> {
        let view = self.view_at(id)?;
        Ok(StateRanges { block: view.block(), tries: view.tries()? })
    }
}

impl StateRanges {
    /// Returns the block after which this is the state.
    pub fn block(&self) -> Head {
        self.block
    }

    /// Returns accounts from a hashed address on, as leaves of the account trie, until they are `max_bytes` long; one at least.
    pub fn accounts(&self, from: B256, max_bytes: usize) -> Result<RangeProof, StoreError> {
        self.tries.prove_range(None, from, fitting(max_bytes))
    }

    /// Returns slots of an account from a hashed slot on, likewise; `None` if there is no such account.
    pub fn slots(&self, owner: B256, from: B256, max_bytes: usize) -> Result<Option<RangeProof>, StoreError> {
        let known: Option<Record> = self.tries.record(&owner)?;
        known.map(|_| self.tries.prove_range(Some(owner), from, fitting(max_bytes))).transpose()
    }

    /// Returns the node (RLP) that stands at a path of the account trie or, with an owner, of that account's storage trie; `None` if
    /// there is nothing below the path. Where no node stands at the path, it may be one further down.
    pub fn node(&self, owner: Option<B256>, path: &Nibbles) -> Result<Option<Bytes>, StoreError> {
        self.tries.node(owner, path)
    }
}

fn fitting(max_bytes: usize) -> impl FnMut(&Leaf) -> bool {
    let mut bytes = 0usize;
    move |leaf| {
        bytes = bytes.saturating_add(leaf.value.len()).saturating_add(LEAF_BYTES);
        bytes < max_bytes
    }
}
