//! The explorer's index: what the chain's own database does not answer. Who was touched by which transaction, which tokens moved, which
//! system contracts told what, who produced how many blocks of a day.
//!
//! Layer: beside the API, above `bmm-chain`. It must not know of pages. One database, SQLite or PostgreSQL by its address, with the same
//! SQL; it is derived from the chain and may be deleted at any time. Blocks, transactions and receipts themselves stay in the chain's
//! database, which finds them by number and hash.
//!
//! ```text
//! Chain ─► rows of a block ─► one transaction of a batch ─► tables ─► pages
//!            a branch that was left is deleted in the transaction that adds the one that was taken
//! ```

mod follow;
mod read;
mod rows;
mod schema;
mod summary;
mod write;

pub use follow::{Follower, catch_up};
pub use read::{BlockEntry, EventEntry, TokenEntry, TouchEntry, TransferEntry};
pub use rows::{BlockRows, EventRow, Role, Touch, TransferRow};
pub use summary::{Producer, Summary};

use alloy_primitives::B256;
use bmm_chain::ChainError;
use sqlx::{AnyPool, any::AnyPoolOptions};
use std::{path::Path, time::Duration};
use thiserror::Error;

/// Most rows that one page of anything has.
pub const MAX_PAGE: u32 = 100;

/// Why the index cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The address names no database that can be used.
    #[error("{0:?} is no address of a database: use sqlite://FILE or postgres://USER@HOST/NAME")]
    BadAddress(String),
    /// The database refuses.
    #[error("the index's database: {0}")]
    Database(#[from] sqlx::Error),
    /// The chain cannot be read.
    #[error("the chain: {0}")]
    Chain(#[from] ChainError),
    /// A row is not what the index writes.
    #[error("the index holds what it never writes: {0}")]
    Damaged(&'static str),
    /// The database belongs to another chain.
    #[error(
        "the index belongs to the chain with genesis {found}, and this chain has {expected}: name another database"
    )]
    Foreign {
        /// What the database says.
        found: String,
        /// This chain's genesis.
        expected: B256,
    },
    /// A batch that does not continue the index.
    #[error("block {number} does not continue the index")]
    Gap {
        /// The block.
        number: u64,
    },
}

/// The database, open.
#[derive(Clone, Debug)]
pub struct Index {
    pool: AnyPool,
    writer: AnyPool,
    /// Whether parameters of a statement are numbered, as PostgreSQL wants them; SQLite finds plain ones faster.
    numbered: bool,
}

impl Index {
    /// Opens the index in a file, which is made if it is not there.
    pub async fn open_file(path: &Path, genesis: B256) -> Result<Self, IndexError> {
        Self::open(&format!("sqlite://{}", path.display()), genesis).await
    }

    /// Opens the index at `url` (`sqlite://FILE` or `postgres://…`) for the chain of `genesis`.
    ///
    /// An index of an older form is emptied, to be made anew from the chain.
    ///
    /// # Errors
    /// [`IndexError::Foreign`] for the index of another chain, [`IndexError::BadAddress`], [`IndexError::Database`].
    pub async fn open(url: &str, genesis: B256) -> Result<Self, IndexError> {
        let is_sqlite = url.starts_with("sqlite:");
        let is_postgres = url.starts_with("postgres:") || url.starts_with("postgresql:");
        if !is_sqlite && !is_postgres {
            // What is before the colon at most: the rest may hold a password.
            return Err(IndexError::BadAddress(url.split(':').next().unwrap_or_default().to_owned()));
        }
        let url = if is_sqlite { format!("{url}?mode=rwc") } else { url.to_owned() };
        sqlx::any::install_default_drivers();
        let open = async |connections: u32| {
            let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(30));
            options
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        if is_sqlite {
                            schema::tune(connection).await?;
                        }
                        Ok(())
                    })
                })
                .connect(&url)
                .await
        };
        // Readers beside one writer: a page is never kept waiting by a batch.
        let writer = open(1).await?;
        schema::prepare(&writer, is_sqlite, genesis).await?;
        let pool = open(4).await?;
        Ok(Self { pool, writer, numbered: is_postgres })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
    }
}

/// Returns a number as the database has it; none of the index comes near its end.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a number that the index wrote.
fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
