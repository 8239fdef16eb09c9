//! Walks all that is stored and holds it against itself: from the head's id down to the last slot everything is hashed again.

mod chain;
mod state;
mod trie;

use super::{Head, Store, StoreError, history, snapshot::Snapshot, tables::META_BODIES};
use std::sync::Arc;

/// What is being walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStep {
    /// The canonical chain: links, ids, bodies, receipts, the index of transactions.
    Blocks,
    /// The nodes of the tries, from the state root down.
    Trie,
    /// The flat state, hashed up to the state root.
    State,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// What is being walked.
    pub step: VerifyStep,
    /// Entries of it so far.
    pub done: u64,
    /// Entries of it in all, about.
    pub whole: u64,
}

/// What was found in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of the first block whose body was there.
    pub oldest_body: u64,
    /// Headers.
    pub headers: u64,
    /// Bodies with their receipts.
    pub bodies: u64,
    /// Transactions.
    pub transactions: u64,
    /// Nodes of the tries.
    pub trie_nodes: u64,
    /// Accounts.
    pub accounts: u64,
    /// Slots.
    pub slots: u64,
    /// Codes.
    pub codes: u64,
}

/// Tells how far it is; says whether to go on.
type Tell<'a> = &'a mut dyn FnMut(VerifyProgress) -> bool;

/// What the walks share.
struct Walk<'a> {
    snapshot: Arc<Snapshot>,
    head: Head,
    oldest_body: u64,
    found: Verified,
    tell: Tell<'a>,
}

impl Store {
    /// Verifies the store; with `last_blocks` only the blocks near the head and the state, leaving the older ones out. Nobody should
    /// change it meanwhile. `tell` gets the progress and says whether to go on; `None` comes back when it says no.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the first thing that is damaged.
    pub fn verify(&self, last_blocks: Option<u64>, tell: Tell<'_>) -> Result<Option<Verified>, StoreError> {
        self.core.flush()?;
        let snapshot = self.snapshot();
        let head = snapshot.head.ok_or(StoreError::Empty)?;
        let oldest_body = history::number_in_meta(&snapshot, META_BODIES)?.unwrap_or(0);
        let found = Verified { oldest_body, ..Verified::default() };
        let mut walk = Walk { snapshot, head, oldest_body, found, tell };
        let from = last_blocks.map_or(0, |last| head.number.saturating_add(1).saturating_sub(last));
        let whole = walk.blocks(from)? && walk.tries()? && walk.state()?;
        Ok(whole.then_some(walk.found))
    }
}

impl Walk<'_> {
    fn tell(&mut self, step: VerifyStep, done: u64, whole: u64) -> bool {
        // Once in a while is enough.
        !done.is_multiple_of(256) || (self.tell)(VerifyProgress { step, done, whole })
    }
}
