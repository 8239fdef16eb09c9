//! The tables.

use super::BooksError;
use sqlx::{AnyPool, Row as _};

/// The form that this program writes.
const VERSION: i64 = 1;

const TABLES: [&str; 10] = [
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS blocks (
        number BIGINT PRIMARY KEY, chain TEXT NOT NULL, id TEXT NOT NULL, height BIGINT NOT NULL, log TEXT NOT NULL,
        share BIGINT NOT NULL, oldest BIGINT NOT NULL, root TEXT NOT NULL, finder TEXT NOT NULL, reward TEXT NOT NULL,
        fee TEXT NOT NULL, reserve TEXT NOT NULL, window_blocks BIGINT NOT NULL, fee_basis_points BIGINT NOT NULL,
        effort TEXT NOT NULL, found_at BIGINT NOT NULL, settled_at BIGINT NOT NULL, state TEXT NOT NULL,
        UNIQUE (chain, id))",
    "CREATE TABLE IF NOT EXISTS intents (
        chain TEXT NOT NULL, id TEXT NOT NULL, height BIGINT NOT NULL, log TEXT NOT NULL, share BIGINT NOT NULL,
        reward TEXT NOT NULL, PRIMARY KEY (chain, id))",
    "CREATE INDEX IF NOT EXISTS blocks_by_state ON blocks (state, chain)",
    "CREATE TABLE IF NOT EXISTS credits (
        block BIGINT NOT NULL, account TEXT NOT NULL, weight TEXT NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (block, account))",
    "CREATE INDEX IF NOT EXISTS credits_by_account ON credits (account, block)",
    "CREATE TABLE IF NOT EXISTS balances (
        chain TEXT NOT NULL, account TEXT NOT NULL, balance TEXT NOT NULL, earned TEXT NOT NULL, paid TEXT NOT NULL,
        held BIGINT NOT NULL, PRIMARY KEY (chain, account))",
    "CREATE TABLE IF NOT EXISTS payments (
        id BIGINT PRIMARY KEY, chain TEXT NOT NULL, sender TEXT NOT NULL, nonce BIGINT NOT NULL, total TEXT NOT NULL,
        fees TEXT NOT NULL, cost TEXT NOT NULL, state TEXT NOT NULL, hash TEXT NOT NULL, block BIGINT NOT NULL,
        made_at BIGINT NOT NULL, settled_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS attempts (
        payment BIGINT NOT NULL, hash TEXT NOT NULL, raw TEXT NOT NULL, made_at BIGINT NOT NULL, PRIMARY KEY (payment, hash))",
    "CREATE TABLE IF NOT EXISTS items (
        payment BIGINT NOT NULL, account TEXT NOT NULL, amount TEXT NOT NULL, fee TEXT NOT NULL,
        PRIMARY KEY (payment, account))",
];

/// Makes the tables that are missing, and checks the version.
pub(super) async fn prepare(pool: &AnyPool, is_sqlite: bool) -> Result<(), BooksError> {
    if is_sqlite {
        // Readers beside the writer; each commit is on the disk before it returns.
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"] {
            sqlx::query(pragma).execute(pool).await?;
        }
    }
    for table in TABLES {
        sqlx::query(table).execute(pool).await?;
    }
    for (name, value) in [("writer", String::new()), ("version", VERSION.to_string())] {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(value)
            .execute(pool)
            .await?;
    }
    let row = sqlx::query("SELECT value FROM meta WHERE name = 'version'").fetch_one(pool).await?;
    let text: String = row.try_get(0)?;
    let found = text.parse().map_err(|_| super::damaged("version", &text))?;
    if found > VERSION { Err(BooksError::TooNew { found, known: VERSION }) } else { Ok(()) }
}
