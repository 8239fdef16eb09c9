//! The pool's books: blocks, what they brought to whom, what was paid.
//!
//! One database, SQLite or PostgreSQL by its address, with the same SQL. Amounts are text of 39 decimal digits, so that their order as
//! text is their order as numbers. Everything that belongs together is one transaction, and a row that every writer changes first makes
//! writers wait for each other. The books know no chain: they are told.

mod accounts;
mod blocks;
mod intents;
mod payments;
mod schema;

#[cfg(test)]
mod tests;

use alloy_primitives::Address;
use sqlx::{
    Any, AnyPool, Row as _, Transaction,
    any::{AnyPoolOptions, AnyRow},
};
use std::time::Duration;
use thiserror::Error;

pub use accounts::{Audit, Balance};
pub use blocks::{BlockRecord, BlockState, Booked, Credit, NewBlock, Watched};
pub use payments::{NewPayment, PayItem, Payment, PaymentAttempt, PaymentState};

/// Most rows that one page of anything has.
pub const MAX_PAGE: u32 = 500;
/// The account that the pool's fees are booked for.
pub const FEE_ACCOUNT: &str = "fee";
/// The account that unfilled windows are booked for.
pub const RESERVE_ACCOUNT: &str = "reserve";

/// Why the books cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BooksError {
    /// The address names no database that can be used.
    #[error("{0:?} is no address of a database: use sqlite://FILE or postgres://USER@HOST/NAME")]
    BadAddress(String),
    /// The database refuses.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row is not what the pool writes.
    #[error("the database holds what the pool never writes: {0}")]
    Damaged(String),
    /// The database belongs to a later version.
    #[error("the database has the form {found}, this program knows {known}: use a newer one")]
    TooNew {
        /// What the database says.
        found: i64,
        /// What this program writes.
        known: i64,
    },
    /// The database belongs to another pool or chain.
    #[error("the database belongs to {found}, and this pool to {expected}: name another database")]
    Foreign {
        /// What the database says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A balance would go below zero.
    #[error("{account} has {balance} base units, and {asked} are to be taken")]
    Overdrawn {
        /// Whose balance.
        account: String,
        /// What it is.
        balance: u128,
        /// What was asked.
        asked: u128,
    },
    /// No such block, or no such payment.
    #[error("the books have no {0}")]
    Unknown(String),
    /// An amount passes 2^128 - 1.
    #[error("an amount is larger than any the books can hold")]
    TooLarge,
}

/// The database, open.
#[derive(Clone, Debug)]
pub struct Books {
    pool: AnyPool,
}

impl Books {
    /// Opens the database at `url` (`sqlite://FILE`, made if it is not there, or `postgres://…`) and brings it into form.
    pub async fn open(url: &str) -> Result<Self, BooksError> {
        let (url, connections) = if url.starts_with("sqlite:") {
            let joint = if url.contains('?') { '&' } else { '?' };
            (format!("{url}{joint}mode=rwc"), 1)
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            (url.to_owned(), 8)
        } else {
            return Err(BooksError::BadAddress(shown(url)));
        };
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(30));
        let pool = options.connect(&url).await?;
        schema::prepare(&pool, url.starts_with("sqlite:")).await?;
        Ok(Self { pool })
    }

    /// Makes the books those of `owner` (a chain's genesis, say), or checks that they are.
    pub async fn bind(&self, owner: &str) -> Result<(), BooksError> {
        let mut tx = self.writer().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('owner', $1) ON CONFLICT (name) DO NOTHING")
            .bind(owner.to_owned())
            .execute(&mut *tx)
            .await?;
        let found: String =
            sqlx::query("SELECT value FROM meta WHERE name = 'owner'").fetch_one(&mut *tx).await?.try_get(0)?;
        tx.commit().await?;
        if found == owner { Ok(()) } else { Err(BooksError::Foreign { found, expected: owner.to_owned() }) }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that writes; others wait until it ends.
    async fn writer(&self) -> Result<Transaction<'static, Any>, BooksError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE meta SET value = value WHERE name = 'writer'").execute(&mut *tx).await?;
        Ok(tx)
    }
}

/// Returns an address of a database without a password in it.
pub fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Returns the text of an account.
fn text_of(account: Address) -> String {
    // Without the checksum's capitals: text is compared as text.
    format!("{account:#x}")
}

/// Returns an amount as the database has it.
fn digits(amount: u128) -> String {
    format!("{amount:039}")
}

fn damaged(column: &str, text: &str) -> BooksError {
    BooksError::Damaged(format!("{column} {text:?}"))
}

/// Reads columns by name.
trait Columns {
    fn text(&self, column: &str) -> Result<String, BooksError>;
    fn amount(&self, column: &str) -> Result<u128, BooksError>;
    fn number(&self, column: &str) -> Result<u64, BooksError>;
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, BooksError> {
        Ok(self.try_get(column)?)
    }

    fn amount(&self, column: &str) -> Result<u128, BooksError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| damaged(column, &text))
    }

    fn number(&self, column: &str) -> Result<u64, BooksError> {
        let number: i64 = self.try_get(column)?;
        u64::try_from(number).map_err(|_| damaged(column, &number.to_string()))
    }
}

/// Returns a number as the database has it.
fn int(number: u64) -> Result<i64, BooksError> {
    i64::try_from(number).map_err(|_| BooksError::TooLarge)
}

/// Reads the text of an account.
fn account_of(column: &str, text: &str) -> Result<Address, BooksError> {
    text.parse().map_err(|_| damaged(column, text))
}
