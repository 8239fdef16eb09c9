//! Blocks that are about to be handed in: noted, so that a pool which ends in between looks for them when it starts again.

use super::{Books, BooksError, Columns as _, digits, int};
use crate::block::{BlockEvent, BlockKey};
use sqlx::any::AnyRow;

impl Books {
    /// Notes that a block is about to be handed in, of which nobody knows yet whether the chain takes it.
    pub async fn intend(
        &self,
        log: &str,
        key: &BlockKey,
        height: u64,
        reward: u128,
        share: u64,
    ) -> Result<(), BooksError> {
        sqlx::query(
            "INSERT INTO intents (chain, id, height, log, share, reward) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (chain, id) DO NOTHING",
        )
        .bind(key.chain.to_string())
        .bind(key.id.clone())
        .bind(int(height)?)
        .bind(log.to_owned())
        .bind(int(share)?)
        .bind(digits(reward))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Returns the blocks of a log that were handed in, perhaps, and were not booked: for a pool that starts again.
    pub async fn intents(&self, log: &str) -> Result<Vec<BlockEvent>, BooksError> {
        let sql = "SELECT * FROM intents WHERE log = $1 ORDER BY share";
        let rows = sqlx::query(sql).bind(log.to_owned()).fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| {
            Ok(BlockEvent::Found {
                key: BlockKey { chain: row.text("chain")?.into(), id: row.text("id")? },
                height: row.number("height")?,
                reward: row.amount("reward")?,
                share: row.number("share")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
