//! The tables.

use crate::IndexError;
use alloy_primitives::B256;
use sqlx::{AnyConnection, AnyPool, Row as _};

/// The form that this program writes; another one is emptied.
const VERSION: &str = "2";

const NAMES: [&str; 5] = ["blocks", "touches", "transfers", "tokens", "events"];

/// `{blob}` is the database's type of bytes, `{keyed}` what keeps a table in the order of its key, where that must be said.
const TABLES: [&str; 11] = [
    "CREATE TABLE IF NOT EXISTS blocks (
        number BIGINT PRIMARY KEY, id {blob} NOT NULL, time BIGINT NOT NULL, producer {blob} NOT NULL,
        work DOUBLE PRECISION NOT NULL, transactions BIGINT NOT NULL, gas BIGINT NOT NULL, total BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS blocks_by_time ON blocks (time)",
    "CREATE INDEX IF NOT EXISTS blocks_by_producer ON blocks (producer, number)",
    "CREATE TABLE IF NOT EXISTS touches (
        address {blob} NOT NULL, block BIGINT NOT NULL, position BIGINT NOT NULL, role BIGINT NOT NULL,
        PRIMARY KEY (address, block, position)) {keyed}",
    "CREATE INDEX IF NOT EXISTS touches_by_block ON touches (block)",
    "CREATE TABLE IF NOT EXISTS transfers (
        block BIGINT NOT NULL, log BIGINT NOT NULL, position BIGINT NOT NULL, token {blob} NOT NULL, sender {blob} NOT NULL,
        recipient {blob} NOT NULL, value {blob} NOT NULL, is_unique BIGINT NOT NULL, PRIMARY KEY (block, log)) {keyed}",
    "CREATE INDEX IF NOT EXISTS transfers_by_token ON transfers (token, block, log)",
    "CREATE TABLE IF NOT EXISTS tokens (
        address {blob} PRIMARY KEY, first BIGINT NOT NULL, is_unique BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS events (
        block BIGINT NOT NULL, log BIGINT NOT NULL, position BIGINT NOT NULL, contract {blob} NOT NULL, topic {blob} NOT NULL,
        subject {blob} NOT NULL, PRIMARY KEY (block, log)) {keyed}",
    "CREATE INDEX IF NOT EXISTS events_by_contract ON events (contract, block, log)",
    "CREATE INDEX IF NOT EXISTS events_by_subject ON events (contract, subject, block, log)",
];

/// Brings a connection of SQLite into form. The index can be made anew, so that the last commits may be lost with the power.
pub(crate) async fn tune(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for pragma in [
        "PRAGMA busy_timeout = 30000",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA cache_size = -65536",
        "PRAGMA temp_store = MEMORY",
    ] {
        sqlx::query(pragma).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Makes the tables that are missing, and checks whose they are.
pub(crate) async fn prepare(pool: &AnyPool, is_sqlite: bool, genesis: B256) -> Result<(), IndexError> {
    sqlx::query("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)").execute(pool).await?;
    let known = sqlx::query("SELECT value FROM meta WHERE name = 'version'").fetch_optional(pool).await?;
    let known: Option<String> = known.map(|row| row.try_get(0)).transpose()?;
    if known.as_deref().is_some_and(|known| known != VERSION) {
        for name in NAMES {
            sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"))).execute(pool).await?;
        }
    }
    let (blob, keyed) = if is_sqlite { ("BLOB", "WITHOUT ROWID") } else { ("BYTEA", "") };
    for table in TABLES {
        let table = table.replace("{blob}", blob).replace("{keyed}", keyed);
        sqlx::query(sqlx::AssertSqlSafe(table)).execute(pool).await?;
    }
    sqlx::query("DELETE FROM meta WHERE name = 'version'").execute(pool).await?;
    for (name, value) in [("version", VERSION.to_owned()), ("genesis", genesis.to_string())] {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(value)
            .execute(pool)
            .await?;
    }
    let found: String =
        sqlx::query("SELECT value FROM meta WHERE name = 'genesis'").fetch_one(pool).await?.try_get(0)?;
    if found == genesis.to_string() { Ok(()) } else { Err(IndexError::Foreign { found, expected: genesis }) }
}
