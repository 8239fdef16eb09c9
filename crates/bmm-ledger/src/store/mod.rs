//! The durable store: blocks, state, the state's trie, and the diffs between them, in one database file.
//!
//! Every change is one transaction that is on the disk, whole, when the call returns; a crash at any moment leaves the
//! head of the last call that returned (or, if the crash came in between, of the one under way). Nothing is repaired at start.
//!
//! Flat state is keyed by keccak(address) and keccak(address) ‖ keccak(slot), so that it lies in the order of the trie: the
//! trie's leaves are not stored a second time, and ranges of the state can be served with proofs.
//!
//! How a block comes in: execute it over [`Store::view`], [`Store::stage`] the diff to learn the state root, compare it with
//! the header (or put it there, when building), then [`Store::commit`].

mod blocks;
mod cache;
mod commit;
mod error;
mod open;
mod snapshot;
mod source;
mod stage;
mod tables;
#[cfg(test)]
mod tests;
mod view;

pub use error::StoreError;
pub use stage::Staged;
pub use view::{AccountProof, SlotProof, StateView};

use alloy_primitives::B256;
use cache::TrieCache;
use parking_lot::{Mutex, RwLock};
use snapshot::Snapshot;
use std::sync::Arc;

/// A receipt. It is kept without the bloom, which follows from the logs.
pub type Receipt = alloy_consensus::ReceiptEnvelope;

/// Layout of the tables; a change of any key or value raises it.
pub const SCHEMA_VERSION: u64 = 1;

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
    /// What reads see; replaced after every change. It stands before `db`, to be dropped before the database closes.
    snapshot: RwLock<Arc<Snapshot>>,
    trie_cache: TrieCache,
    codes: Arc<view::CodeCache>,
    /// Held from the beginning of a change until its snapshot is in place.
    writer: Mutex<()>,
    db: redb::Database,
}
