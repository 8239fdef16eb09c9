//! Batches of blocks into the tables.

use crate::{BlockRows, Index, IndexError, int, uint};
use alloy_primitives::B256;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};
use std::fmt::Write as _;

/// Rows of one statement: with eight columns some 2,000 parameters, which every database takes.
const ROWS_AT_ONCE: usize = 256;

/// Tables by block.
const BY_BLOCK: [&str; 4] = [
    "DELETE FROM blocks WHERE number >= $1",
    "DELETE FROM touches WHERE block >= $1",
    "DELETE FROM transfers WHERE block >= $1",
    "DELETE FROM events WHERE block >= $1",
];

impl Index {
    /// Puts blocks in place of all from the first one's number on, in one transaction: those of a branch that was left go, these come.
    ///
    /// # Errors
    /// [`IndexError::Gap`] for blocks that do not follow one another or what remains, and nothing is changed.
    pub async fn apply(&self, blocks: &[BlockRows]) -> Result<(), IndexError> {
        let Some(first) = blocks.first() else { return Ok(()) };
        for pair in blocks.windows(2) {
            if pair[1].number != pair[0].number.saturating_add(1) || pair[1].parent != pair[0].id {
                return Err(IndexError::Gap { number: pair[1].number });
            }
        }
        let mut tx = self.writer.begin().await?;
        let mut total = parent_total(&mut tx, first).await?;
        self.cut(&mut tx, first.number).await?;
        for chunk in blocks.chunks(ROWS_AT_ONCE) {
            let columns = ["number", "id", "time", "producer", "work", "transactions", "gas", "total"];
            let mut insert = sqlx::query(self.insert("blocks", columns, chunk.len()));
            for block in chunk {
                total = total.saturating_add(block.transactions);
                insert = insert.bind(int(block.number)).bind(block.id.to_vec()).bind(int(block.time));
                insert = insert.bind(block.producer.to_vec()).bind(block.work).bind(int(block.transactions));
                insert = insert.bind(int(block.gas)).bind(int(total));
            }
            insert.persistent(chunk.len() == ROWS_AT_ONCE).execute(&mut *tx).await?;
        }
        self.insert_touches(&mut tx, blocks).await?;
        self.insert_transfers(&mut tx, blocks).await?;
        self.insert_events(&mut tx, blocks).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes all blocks from `number` on.
    async fn cut(&self, tx: &mut Transaction<'_, Any>, number: u64) -> Result<(), IndexError> {
        let row = sqlx::query("SELECT MAX(number) FROM blocks").fetch_one(&mut **tx).await?;
        let tip: Option<i64> = row.try_get(0)?;
        if tip.is_none_or(|tip| uint(tip) < number) {
            return Ok(());
        }
        for delete in BY_BLOCK {
            sqlx::query(delete).bind(int(number)).execute(&mut **tx).await?;
        }
        sqlx::query("DELETE FROM tokens WHERE first >= $1").bind(int(number)).execute(&mut **tx).await?;
        Ok(())
    }

    /// Returns number and id of the last block; `None` while there is none.
    pub async fn tip(&self) -> Result<Option<(u64, B256)>, IndexError> {
        let row =
            sqlx::query("SELECT number, id FROM blocks ORDER BY number DESC LIMIT 1").fetch_optional(&self.writer);
        row.await?.map(|row| Ok((uint(row.try_get(0)?), word(row.try_get(1)?)?))).transpose()
    }

    /// Returns the id of a block.
    pub async fn id_of(&self, number: u64) -> Result<Option<B256>, IndexError> {
        let row = sqlx::query("SELECT id FROM blocks WHERE number = $1").bind(int(number)).fetch_optional(&self.writer);
        row.await?.map(|row| word(row.try_get(0)?)).transpose()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as the database hands it out")]
pub(crate) fn word(bytes: Vec<u8>) -> Result<B256, IndexError> {
    B256::try_from(&bytes[..]).map_err(|_| IndexError::Damaged("a hash"))
}

/// Returns how many transactions there are up to the parent of `first`, which must be what remains of the index.
async fn parent_total(tx: &mut Transaction<'_, Any>, first: &BlockRows) -> Result<u64, IndexError> {
    let below = sqlx::query("SELECT number, id, total FROM blocks WHERE number < $1 ORDER BY number DESC LIMIT 1")
        .bind(int(first.number))
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = below else { return Ok(0) };
    let gap = IndexError::Gap { number: first.number };
    let (number, id): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
    if uint(number).saturating_add(1) != first.number || word(id)? != first.parent {
        return Err(gap);
    }
    Ok(uint(row.try_get(2)?))
}

impl Index {
    /// Writes the statement that inserts so many rows.
    fn insert<const N: usize>(&self, table: &str, columns: [&str; N], rows: usize) -> AssertSqlSafe<String> {
        let mut sql = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
        for row in 0..rows {
            for column in 0..N {
                sql.push_str(if column > 0 {
                    ", "
                } else if row > 0 {
                    ", ("
                } else {
                    "("
                });
                if self.numbered {
                    let _ = write!(sql, "${}", row * N + column + 1);
                } else {
                    sql.push('?');
                }
            }
            sql.push(')');
        }
        AssertSqlSafe(sql)
    }

    async fn insert_touches(&self, tx: &mut Transaction<'_, Any>, blocks: &[BlockRows]) -> Result<(), IndexError> {
        let mut rows: Vec<_> =
            blocks.iter().flat_map(|block| block.touches.iter().map(|touch| (block.number, touch))).collect();
        // In the order of the table, so that neighbours are written together.
        rows.sort_unstable_by_key(|(number, touch)| (touch.address, *number, touch.position));
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            let mut insert = sqlx::query(self.insert("touches", ["address", "block", "position", "role"], chunk.len()));
            for (number, touch) in chunk {
                insert = insert.bind(touch.address.to_vec()).bind(int(*number)).bind(int(touch.position));
                insert = insert.bind(touch.role.0);
            }
            insert.persistent(chunk.len() == ROWS_AT_ONCE).execute(&mut **tx).await?;
        }
        Ok(())
    }

    async fn insert_transfers(&self, tx: &mut Transaction<'_, Any>, blocks: &[BlockRows]) -> Result<(), IndexError> {
        let rows: Vec<_> =
            blocks.iter().flat_map(|block| block.transfers.iter().map(|transfer| (block.number, transfer))).collect();
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            let columns = ["block", "log", "position", "token", "sender", "recipient", "value", "is_unique"];
            let mut insert = sqlx::query(self.insert("transfers", columns, chunk.len()));
            for (number, transfer) in chunk {
                insert = insert.bind(int(*number)).bind(int(transfer.log)).bind(int(transfer.position));
                insert = insert.bind(transfer.token.to_vec()).bind(transfer.from.to_vec()).bind(transfer.to.to_vec());
                insert = insert.bind(transfer.value.to_be_bytes::<32>().to_vec()).bind(i64::from(transfer.unique));
            }
            insert.persistent(chunk.len() == ROWS_AT_ONCE).execute(&mut **tx).await?;
        }
        let mut tokens: Vec<_> = rows.iter().map(|(number, t)| (t.token, *number, t.unique)).collect();
        tokens.sort_unstable();
        tokens.dedup_by_key(|(token, ..)| *token);
        for (token, first, unique) in tokens {
            sqlx::query(
                "INSERT INTO tokens (address, first, is_unique) VALUES ($1, $2, $3) ON CONFLICT (address) DO NOTHING",
            )
            .bind(token.to_vec())
            .bind(int(first))
            .bind(i64::from(unique))
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    }

    async fn insert_events(&self, tx: &mut Transaction<'_, Any>, blocks: &[BlockRows]) -> Result<(), IndexError> {
        let rows: Vec<_> =
            blocks.iter().flat_map(|block| block.events.iter().map(|event| (block.number, event))).collect();
        for chunk in rows.chunks(ROWS_AT_ONCE) {
            let columns = ["block", "log", "position", "contract", "topic", "subject"];
            let mut insert = sqlx::query(self.insert("events", columns, chunk.len()));
            for (number, event) in chunk {
                insert = insert.bind(int(*number)).bind(int(event.log)).bind(int(event.position));
                insert = insert.bind(event.contract.to_vec()).bind(event.topic.to_vec()).bind(event.subject.to_vec());
            }
            insert.persistent(chunk.len() == ROWS_AT_ONCE).execute(&mut **tx).await?;
        }
        Ok(())
    }
}
