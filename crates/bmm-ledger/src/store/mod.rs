//! The durable store: blocks, state, the state's trie, and the diffs between them.
//!
//! Every change is one batch of puts and removals. It is appended to the journal and synced: from then on it holds, whatever happens.
//! Until it is in the tables of the database it lies in memory as a layer, which reads look into first; a thread writes many
//! layers at once into the tables, in one transaction, off the way of imports. At the start the journal's rest is read back into
//! a layer. So there are two places and one rule: a record of the journal that is whole is part of the chain, one that a crash cut
//! never was.
//!
//! Flat state is keyed by keccak(address) and keccak(address) ‖ keccak(slot), so that it lies in the order of the trie: the
//! trie's leaves are not stored a second time, and ranges of the state can be served with proofs.
//!
//! How a block comes in: execute it over [`Store::view`], [`Store::stage`] the diff to learn the state root, compare it with
//! the header (or put it there, when building), then [`Store::commit`].

mod backup;
mod batch;
mod blocks;
mod cache;
mod commit;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod flush;
mod history;
mod journal;
mod layer;
mod loading;
mod open;
mod ranges;
mod snapshot;
mod source;
mod stage;
mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod verify;
mod view;

pub use backup::Backup;
pub use error::StoreError;
pub use history::History;
pub use loading::{Loading, NewHeader};
pub use open::StoreOptions;
pub use ranges::StateRanges;
pub use stage::Staged;
pub use stats::{FileSizes, StoreStats, TableStats};
pub use verify::{Verified, VerifyProgress, VerifyStep};
pub use view::{AccountProof, SlotProof, StateView};

use alloy_primitives::B256;
use cache::TrieCache;
use flush::Core;
use std::{sync::Arc, thread::JoinHandle};

/// A receipt. It is kept without the bloom, which follows from the logs.
pub type Receipt = alloy_consensus::ReceiptEnvelope;

/// Layout of the tables; a change of any key or value raises it.
pub const SCHEMA_VERSION: u64 = 2;

/// How far below the head a state may be read. Each block in between costs the decoding of its diff.
pub const MAX_VIEW_DEPTH: u64 = 1_024;

/// Longest way below the head, in bytes of the diffs in between: the view holds what they change in memory.
pub const MAX_VIEW_BYTES: usize = 64 << 20;

/// Longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// Longest name of a note, in bytes.
pub const MAX_NOTE_NAME_BYTES: usize = 128;

/// Most entries that one call of an iterating query returns.
pub const MAX_PAGE: usize = 1_024;

/// The last block of the canonical chain, whose state the flat tables hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: B256,
}

/// Where a transaction of the canonical chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The block.
    pub block: B256,
    /// Index in its body.
    pub index: u32,
}

/// The database of one chain. Shared by reference between threads; changes wait for each other, reads for nobody.
pub struct Store {
    trie_cache: TrieCache,
    codes: Arc<view::CodeCache>,
    options: StoreOptions,
    core: Arc<Core>,
    flusher: Option<JoinHandle<()>>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.core.stop();
        if let Some(flusher) = self.flusher.take()
            && flusher.join().is_err()
        {
            tracing::error!("the thread that writes the database ended in a panic");
        }
    }
}
