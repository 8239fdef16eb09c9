//! Blocks, and what each is to bring to whom.

use super::{
    Books, BooksError, Columns as _, FEE_ACCOUNT, MAX_PAGE, RESERVE_ACCOUNT, account_of, accounts, damaged, digits,
    int, text_of,
};
use crate::{
    block::BlockKey,
    payout::{Division, PayRule, Window},
};
use alloy_primitives::{Address, B256};
use serde::Serialize;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// Found, and not final yet: nothing is booked.
    Immature,
    /// Its pay is booked.
    Mature,
    /// Lost: nobody is paid for it.
    Orphaned,
}

impl BlockState {
    const fn text(self) -> &'static str {
        match self {
            Self::Immature => "immature",
            Self::Mature => "mature",
            Self::Orphaned => "orphaned",
        }
    }

    fn read(text: &str) -> Result<Self, BooksError> {
        let known = [Self::Immature, Self::Mature, Self::Orphaned];
        known.into_iter().find(|state| state.text() == text).ok_or_else(|| damaged("state", text))
    }
}

/// A block that was found.
#[derive(Clone, Debug)]
pub struct NewBlock<'a> {
    /// Which one.
    pub key: &'a BlockKey,
    /// Its height.
    pub height: u64,
    /// What it brings, in base units of the chain.
    pub reward: u128,
    /// The log that its share is in: `pool`, or `solo` for a block of one miner alone.
    pub log: &'a str,
    /// Number of the share.
    pub share: u64,
    /// Root of the log after that share.
    pub root: B256,
    /// Who found it.
    pub finder: Address,
    /// The rule by which it is divided.
    pub rule: PayRule,
    /// The shares that count.
    pub window: &'a Window,
    /// What each gets.
    pub division: &'a Division,
    /// Weight of all shares since the block of the chain before it ([`BLOCK_WEIGHT`](crate::payout::BLOCK_WEIGHT) is the mean).
    pub effort: u128,
    /// When, in Unix seconds.
    pub at: u64,
}

/// Whether a booking changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It was new.
    Now,
    /// It had been booked before.
    Before,
}

/// A block whose fate is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Which one.
    pub key: BlockKey,
    /// Its height.
    pub height: u64,
}

/// A block as the books have it. Amounts are base units of its chain, as text, since they pass what JSON's numbers hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockRecord {
    /// Its number among all blocks of the pool, from 1.
    pub number: u64,
    /// The chain.
    pub chain: String,
    /// Its id.
    pub id: String,
    /// Its height.
    pub height: u64,
    /// The log that its share is in.
    pub log: String,
    /// Number of its share.
    pub share: u64,
    /// Number of the oldest share that counts.
    pub oldest: u64,
    /// Root of the log after the share.
    pub root: B256,
    /// Who found it.
    pub finder: Address,
    /// What it brings.
    #[serde(with = "crate::wire::text")]
    pub reward: u128,
    /// The pool's fee.
    #[serde(with = "crate::wire::text")]
    pub fee: u128,
    /// What the empty part of the window leaves to the reserve.
    #[serde(with = "crate::wire::text")]
    pub reserve: u128,
    /// Blocks of work that the window holds.
    pub window_blocks: u64,
    /// The fee in hundredths of a percent.
    pub fee_basis_points: u64,
    /// Work since the block before, where 10^18 is the mean.
    #[serde(with = "crate::wire::text")]
    pub effort: u128,
    /// When it was found, in Unix seconds.
    pub found_at: u64,
    /// When it became final or lost, in Unix seconds; 0 before.
    pub settled_at: u64,
    /// What is known of it.
    pub state: BlockState,
}

/// What a block is to bring an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// The account.
    pub account: Address,
    /// Weight of its shares in the window.
    #[serde(with = "crate::wire::text")]
    pub weight: u128,
    /// What it gets, in base units.
    #[serde(with = "crate::wire::text")]
    pub amount: u128,
}

impl BlockRecord {
    fn read(row: &AnyRow) -> Result<Self, BooksError> {
        let root = row.text("root")?;
        Ok(Self {
            number: row.number("number")?,
            chain: row.text("chain")?,
            id: row.text("id")?,
            height: row.number("height")?,
            log: row.text("log")?,
            share: row.number("share")?,
            oldest: row.number("oldest")?,
            root: root.parse().map_err(|_| damaged("root", &root))?,
            finder: account_of("finder", &row.text("finder")?)?,
            reward: row.amount("reward")?,
            fee: row.amount("fee")?,
            reserve: row.amount("reserve")?,
            window_blocks: row.number("window_blocks")?,
            fee_basis_points: row.number("fee_basis_points")?,
            effort: row.amount("effort")?,
            found_at: row.number("found_at")?,
            settled_at: row.number("settled_at")?,
            state: BlockState::read(&row.text("state")?)?,
        })
    }
}

impl Books {
    /// Books a block and what it is to bring; nothing is paid before [`Books::mature`]. A block that is known stays as it is.
    pub async fn found(&self, block: &NewBlock<'_>) -> Result<Booked, BooksError> {
        let mut tx = self.writer().await?;
        sqlx::query("DELETE FROM intents WHERE chain = $1 AND id = $2")
            .bind(block.key.chain.to_string())
            .bind(block.key.id.clone())
            .execute(&mut *tx)
            .await?;
        let known = find(&mut tx, block.key).await?;
        if known.is_some() {
            tx.commit().await?;
            return Ok(Booked::Before);
        }
        let row = sqlx::query("SELECT COALESCE(MAX(number), 0) AS number FROM blocks").fetch_one(&mut *tx).await?;
        let number = int(row.number("number")?.saturating_add(1))?;
        sqlx::query(
            "INSERT INTO blocks (number, chain, id, height, log, share, oldest, root, finder, reward, fee, reserve,
                window_blocks, fee_basis_points, effort, found_at, settled_at, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, 'immature')",
        )
        .bind(number)
        .bind(block.key.chain.to_string())
        .bind(block.key.id.clone())
        .bind(int(block.height)?)
        .bind(block.log.to_owned())
        .bind(int(block.share)?)
        .bind(int(block.window.oldest.unwrap_or(block.share))?)
        .bind(block.root.to_string())
        .bind(text_of(block.finder))
        .bind(digits(block.reward))
        .bind(digits(block.division.fee))
        .bind(digits(block.division.reserve))
        .bind(i64::from(block.rule.window_blocks()))
        .bind(i64::from(block.rule.fee_basis_points()))
        .bind(digits(block.effort))
        .bind(int(block.at)?)
        .execute(&mut *tx)
        .await?;
        for (account, amount) in &block.division.pay {
            let weight = block.window.weights.get(account).copied().unwrap_or(0);
            sqlx::query("INSERT INTO credits (block, account, weight, amount) VALUES ($1, $2, $3, $4)")
                .bind(number)
                .bind(text_of(*account))
                .bind(digits(weight))
                .bind(digits(*amount))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Booked::Now)
    }

    /// Books the pay of a block that is final: once, however often it is told.
    pub async fn mature(&self, key: &BlockKey, at: u64) -> Result<Booked, BooksError> {
        let mut tx = self.writer().await?;
        let Some(block) = settle(&mut tx, key, BlockState::Mature, at).await? else { return Ok(Booked::Before) };
        let number = int(block.number)?;
        for row in
            sqlx::query("SELECT account, amount FROM credits WHERE block = $1").bind(number).fetch_all(&mut *tx).await?
        {
            accounts::credit(&mut tx, &block.chain, &row.text("account")?, row.amount("amount")?).await?;
        }
        accounts::credit(&mut tx, &block.chain, FEE_ACCOUNT, block.fee).await?;
        accounts::credit(&mut tx, &block.chain, RESERVE_ACCOUNT, block.reserve).await?;
        tx.commit().await?;
        Ok(Booked::Now)
    }

    /// Books that a block is lost.
    pub async fn orphaned(&self, key: &BlockKey, at: u64) -> Result<Booked, BooksError> {
        let mut tx = self.writer().await?;
        let Some(_) = settle(&mut tx, key, BlockState::Orphaned, at).await? else { return Ok(Booked::Before) };
        tx.commit().await?;
        Ok(Booked::Now)
    }

    /// Returns the blocks of a log whose fate is open, oldest first: those that are to be watched after a restart.
    pub async fn watched(&self, log: &str) -> Result<Vec<Watched>, BooksError> {
        let sql = "SELECT chain, id, height FROM blocks WHERE state = 'immature' AND log = $1 ORDER BY number";
        let rows = sqlx::query(sql).bind(log.to_owned()).fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| {
            let key = BlockKey { chain: row.text("chain")?.into(), id: row.text("id")? };
            Ok(Watched { key, height: row.number("height")? })
        };
        rows.iter().map(read).collect()
    }

    /// Returns blocks, newest first, with numbers below `before`; at most [`MAX_PAGE`].
    pub async fn blocks(&self, before: Option<u64>, limit: u32) -> Result<Vec<BlockRecord>, BooksError> {
        let rows = sqlx::query("SELECT * FROM blocks WHERE number < $1 ORDER BY number DESC LIMIT $2")
            .bind(before.map_or(Ok(i64::MAX), int)?)
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(BlockRecord::read).collect()
    }

    /// Returns the block of a number.
    pub async fn block(&self, number: u64) -> Result<Option<BlockRecord>, BooksError> {
        let row = sqlx::query("SELECT * FROM blocks WHERE number = $1").bind(int(number)?);
        row.fetch_optional(&self.pool).await?.as_ref().map(BlockRecord::read).transpose()
    }

    /// Returns the newest block of a chain whose share is in this log.
    pub async fn newest(&self, chain: &str, log: &str) -> Result<Option<BlockRecord>, BooksError> {
        let row = sqlx::query("SELECT * FROM blocks WHERE chain = $1 AND log = $2 ORDER BY number DESC LIMIT 1")
            .bind(chain.to_owned())
            .bind(log.to_owned());
        row.fetch_optional(&self.pool).await?.as_ref().map(BlockRecord::read).transpose()
    }

    /// Returns the number below which no share of a log is needed any more: not by the window of a block whose fate is open or that was
    /// found since `since` (Unix seconds), not by a window twice as long as that of the newest block of any chain, and none since then.
    pub async fn retirable(&self, log: &str, since: u64) -> Result<u64, BooksError> {
        let sql = "SELECT chain, share, oldest FROM blocks
            WHERE log = $1 AND (state = 'immature' OR found_at >= $2
                OR number IN (SELECT MAX(number) FROM blocks WHERE log = $1 GROUP BY chain))";
        let needed = sqlx::query(sql).bind(log.to_owned()).bind(int(since)?).fetch_all(&self.pool).await?;
        let last = sqlx::query("SELECT COALESCE(MAX(share), 0) AS share FROM blocks WHERE log = $1 AND found_at < $2")
            .bind(log.to_owned())
            .bind(int(since)?)
            .fetch_one(&self.pool)
            .await?;
        let mut bound = last.number("share")?;
        for row in &needed {
            let (share, oldest) = (row.number("share")?, row.number("oldest")?);
            bound = bound.min(oldest.saturating_sub(share.saturating_sub(oldest)));
        }
        Ok(bound)
    }

    /// Returns the efforts of the newest blocks of a chain, at most [`MAX_PAGE`].
    pub async fn efforts(&self, chain: &str, log: &str, limit: u32) -> Result<Vec<u128>, BooksError> {
        let sql = "SELECT effort FROM blocks WHERE chain = $1 AND log = $2 ORDER BY number DESC LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(chain.to_owned())
            .bind(log.to_owned())
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.amount("effort")).collect()
    }

    /// Returns the highest share that a block of this log has.
    pub async fn highest_share(&self, log: &str) -> Result<Option<u64>, BooksError> {
        let row = sqlx::query("SELECT MAX(share) AS share FROM blocks WHERE log = $1")
            .bind(log.to_owned())
            .fetch_one(&self.pool)
            .await?;
        let share: Option<i64> = row.try_get("share")?;
        Ok(share.and_then(|share| u64::try_from(share).ok()))
    }

    /// Returns what a block is to bring to whom, by account, beginning after `after`.
    pub async fn credits(&self, block: u64, after: Option<Address>, limit: u32) -> Result<Vec<Credit>, BooksError> {
        let sql =
            "SELECT account, weight, amount FROM credits WHERE block = $1 AND account > $2 ORDER BY account LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(int(block)?)
            .bind(after.map(text_of).unwrap_or_default())
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &AnyRow| {
            let account = account_of("account", &row.text("account")?)?;
            Ok(Credit { account, weight: row.amount("weight")?, amount: row.amount("amount")? })
        };
        rows.iter().map(read).collect()
    }

    /// Returns what a block is to bring an account.
    pub async fn credit(&self, block: u64, account: Address) -> Result<Option<Credit>, BooksError> {
        let sql = "SELECT weight, amount FROM credits WHERE block = $1 AND account = $2";
        let row = sqlx::query(sql).bind(int(block)?).bind(text_of(account)).fetch_optional(&self.pool).await?;
        let read = |row: AnyRow| Ok(Credit { account, weight: row.amount("weight")?, amount: row.amount("amount")? });
        row.map(read).transpose()
    }
}

async fn find(tx: &mut Transaction<'static, Any>, key: &BlockKey) -> Result<Option<BlockRecord>, BooksError> {
    let row = sqlx::query("SELECT * FROM blocks WHERE chain = $1 AND id = $2")
        .bind(key.chain.to_string())
        .bind(key.id.clone())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(BlockRecord::read).transpose()
}

/// Ends a block's immaturity; `None` if it was ended before.
async fn settle(
    tx: &mut Transaction<'static, Any>,
    key: &BlockKey,
    state: BlockState,
    at: u64,
) -> Result<Option<BlockRecord>, BooksError> {
    let block = find(tx, key).await?;
    let block = block.ok_or_else(|| BooksError::Unknown(format!("block {} of {}", key.id, key.chain)))?;
    if block.state != BlockState::Immature {
        return Ok(None);
    }
    sqlx::query("UPDATE blocks SET state = $1, settled_at = $2 WHERE number = $3")
        .bind(state.text())
        .bind(int(at)?)
        .bind(int(block.number)?)
        .execute(&mut **tx)
        .await?;
    Ok(Some(block))
}
