//! What can go wrong in the store.

use crate::trie::TrieError;
use alloy_primitives::{Address, B256};
use revm::database_interface::DBErrorMarker;
use std::{fmt::Display, path::PathBuf};

/// Why the store refused or failed. Each message names what is wrong and, where the operator can help it, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be created or read.
    #[error("data folder {}: {source}; check that it exists, has room, and may be written by this user", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds the database.
    #[error("data folder {}: another bmm process uses it; stop that process or choose another folder with --data", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds another chain's data.
    #[error(
        "data folder {}: holds the chain with parameters {found}, not {wanted}; choose another folder with --data, or remove it to start that chain afresh",
        .folder.display()
    )]
    OtherChain {
        /// The folder.
        folder: PathBuf,
        /// Digest of the parameters in the folder.
        found: B256,
        /// Digest of the parameters asked for.
        wanted: B256,
    },
    /// The folder was written in a layout that this program does not know.
    #[error(
        "data folder {}: layout version {found}, this program knows version {known}; use the newer bmm that wrote it, or remove the folder and sync again",
        .folder.display()
    )]
    OtherSchema {
        /// The folder.
        folder: PathBuf,
        /// Version in the folder.
        found: u64,
        /// Version of this program.
        known: u64,
    },
    /// The database failed.
    #[error("database: {0}; check the disk's health and free space")]
    Database(#[source] Box<redb::Error>),
    /// The journal cannot be written or read.
    #[error("journal {}: {source}; check the disk's health and free space, then start again", .file.display())]
    Journal {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too much waits to be written to the database, which fails.
    #[error("the database cannot be written ({0}); check the disk's health and free space, then start again")]
    Flush(String),
    /// A change is too large to be written at once.
    #[error(
        "a change of {len} bytes, the limit is {limit}; a genesis of so many accounts must be cut into several blocks"
    )]
    BatchTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Stored bytes do not mean what they must.
    #[error(
        "database table {table}, key 0x{key}: {what}; the disk or the file is damaged, remove the folder and sync again"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// There is no genesis yet.
    #[error("the store holds no blocks yet; initialise it with genesis first")]
    Empty,
    /// The store already holds another genesis.
    #[error("genesis {offered} offered, but the store was begun with {stored}; choose another folder with --data")]
    OtherGenesis {
        /// The genesis block offered.
        offered: B256,
        /// The genesis block stored.
        stored: B256,
    },
    /// Something was asked of a block that is not the head.
    #[error("block {block} is not the head ({head}); rewind or commit up to it first")]
    NotHead {
        /// The block asked for.
        block: B256,
        /// The head.
        head: B256,
    },
    /// A block does not fit what it is to be committed on.
    #[error("block {block}: {what}")]
    Unfit {
        /// The block.
        block: B256,
        /// Which field disagrees with what.
        what: String,
    },
    /// A block is not known, or not part of the canonical chain.
    #[error("block {0} is not on the canonical chain")]
    NotCanonical(String),
    /// A block is too far below the head for its state to be read, in blocks or in what they changed.
    #[error(
        "state of block {number}: {depth} blocks below the head, the limit is {limit} now; ask for a younger block"
    )]
    TooDeep {
        /// The block asked for.
        number: u64,
        /// Its distance from the head.
        depth: u64,
        /// The largest distance allowed; less than the usual one when much has changed on the way.
        limit: u64,
    },
    /// A diff's `before` is not what the head holds.
    #[error("state diff, account {address}: `before` is not what the parent state holds ({what})")]
    WrongBefore {
        /// The account.
        address: Address,
        /// Account or slot, in hexadecimal.
        what: String,
    },
    /// Genesis cannot be taken away.
    #[error("genesis {0} cannot be rewound")]
    RewindGenesis(B256),
    /// A proof was asked of the state after a block that is not stored, so that there is no header to compare it with.
    #[error("block {0} is not stored yet, and its state cannot be proven; ask for the head or a block below it")]
    NoProof(u64),
    /// A note is too long.
    #[error("note {name}: {len} bytes, the limit is {limit}")]
    NoteTooLong {
        /// The note.
        name: String,
        /// Its length, or its name's.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

impl DBErrorMarker for StoreError {}

impl StoreError {
    /// A corrupt entry of a table.
    pub(super) fn corrupt(table: &'static str, key: impl AsRef<[u8]>, what: impl Display) -> Self {
        Self::Corrupt { table, key: alloy_primitives::hex::encode(key), what: what.to_string() }
    }
}

impl From<TrieError> for StoreError {
    fn from(error: TrieError) -> Self {
        Self::corrupt("trie", error.path.to_vec(), error.what)
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::CompactionError,
    redb::SetDurabilityError
);
