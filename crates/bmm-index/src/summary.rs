//! What happened in the last 24 hours, made once for each change and read by every page.

use crate::{Index, IndexError, int, uint};
use alloy_primitives::Address;
use sqlx::Row as _;

/// Columns of the charts: one for each hour.
pub const HOURS: usize = 24;

/// What one producer did in the last 24 hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// Whom the blocks paid.
    pub address: Address,
    /// Blocks.
    pub blocks: u64,
    /// Hashes that they took on average.
    pub work: f64,
    /// Blocks by hour, the oldest first.
    pub by_hour: [u64; HOURS],
    /// Hashes by hour, the oldest first.
    pub work_by_hour: [f64; HOURS],
}

/// The last 24 hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Number of the last block.
    pub tip: u64,
    /// The end of the time told of, Unix seconds.
    pub until: u64,
    /// The time told of, in seconds: less than a day on a young chain.
    pub seconds: u64,
    /// Transactions since genesis.
    pub transactions: u64,
    /// Transactions of the time told of.
    pub transactions_24h: u64,
    /// Producers, those with the most work first.
    pub producers: Vec<Producer>,
    /// Seconds between blocks, over the last hundred.
    pub block_secs: f64,
    /// Hashes a second, over the last hundred blocks.
    pub hash_rate: f64,
}

impl Summary {
    /// Returns the blocks of the time told of.
    pub fn blocks(&self) -> u64 {
        self.producers.iter().map(|producer| producer.blocks).sum()
    }

    /// Returns the hashes of the time told of.
    pub fn work(&self) -> f64 {
        self.producers.iter().map(|producer| producer.work).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "for charts")]
const fn float(number: u64) -> f64 {
    number as f64
}

impl Index {
    /// Sums up the 24 hours before `now` (Unix seconds).
    pub async fn summary(&self, now: u64) -> Result<Summary, IndexError> {
        let mut summary = Summary { until: now, ..Summary::default() };
        let tip = sqlx::query("SELECT number, total FROM blocks ORDER BY number DESC LIMIT 1");
        let Some(tip) = tip.fetch_optional(&self.pool).await? else { return Ok(summary) };
        (summary.tip, summary.transactions) = (uint(tip.try_get(0)?), uint(tip.try_get(1)?));
        let from = now.saturating_sub(86_400);
        let genesis: i64 = sqlx::query("SELECT time FROM blocks ORDER BY number LIMIT 1 OFFSET 1")
            .fetch_optional(&self.pool)
            .await?
            .map_or(Ok(int(now)), |row| row.try_get(0))?;
        summary.seconds = now.saturating_sub(from.max(uint(genesis))).max(1);
        // The first block has the time of genesis, which nobody mined.
        let query =
            "SELECT producer, ($1 - time) / 3600 AS hour, COUNT(*), SUM(work), CAST(SUM(transactions) AS BIGINT)
            FROM blocks WHERE time > $2 AND number > 0 GROUP BY producer, hour";
        let rows = sqlx::query(query).bind(int(now)).bind(int(from)).fetch_all(&self.pool).await?;
        for row in rows {
            let bytes: Vec<u8> = row.try_get(0)?;
            let address = Address::try_from(&bytes[..]).map_err(|_| IndexError::Damaged("an address"))?;
            // A block may be some seconds ahead of the clock.
            let hour = usize::try_from(row.try_get::<i64, _>(1)?.max(0)).unwrap_or(0).min(HOURS - 1);
            let (blocks, work) = (uint(row.try_get(2)?), row.try_get::<f64, _>(3)?);
            summary.transactions_24h += uint(row.try_get(4)?);
            let known = summary.producers.iter().position(|producer| producer.address == address);
            let at = known.unwrap_or_else(|| {
                let (by_hour, work_by_hour) = ([0; HOURS], [0.0; HOURS]);
                summary.producers.push(Producer { address, blocks: 0, work: 0.0, by_hour, work_by_hour });
                summary.producers.len() - 1
            });
            let producer = &mut summary.producers[at];
            (producer.blocks, producer.work) = (producer.blocks + blocks, producer.work + work);
            producer.by_hour[HOURS - 1 - hour] += blocks;
            producer.work_by_hour[HOURS - 1 - hour] += work;
        }
        summary.producers.sort_by(|a, b| b.work.total_cmp(&a.work).then(a.address.cmp(&b.address)));
        self.rates(&mut summary).await?;
        Ok(summary)
    }

    async fn rates(&self, summary: &mut Summary) -> Result<(), IndexError> {
        let query = "SELECT COUNT(*), MIN(time), MAX(time), SUM(work) FROM blocks WHERE number > $1 AND number > 0";
        let row = sqlx::query(query).bind(int(summary.tip.saturating_sub(100))).fetch_one(&self.pool).await?;
        let count = uint(row.try_get(0)?);
        if count > 1 {
            let (first, last): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            let secs = uint(last).saturating_sub(uint(first)).max(1);
            summary.block_secs = float(secs) / float(count - 1);
            let work: f64 = row.try_get(3)?;
            summary.hash_rate = work / float(secs);
        }
        Ok(())
    }
}
