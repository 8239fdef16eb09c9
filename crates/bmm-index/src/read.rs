//! What pages ask.

use crate::{Index, IndexError, MAX_PAGE, Role, int, uint, write::word};
use alloy_primitives::{Address, B256, U256};
use sqlx::{Row as _, any::AnyRow};

/// A block of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockEntry {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: B256,
    /// Its time, Unix seconds.
    pub time: u64,
    /// Whom it pays.
    pub producer: Address,
    /// Number of its transactions.
    pub transactions: u64,
    /// Gas that they used.
    pub gas: u64,
}

/// A transaction of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchEntry {
    /// The block's number.
    pub block: u64,
    /// Index in the block.
    pub position: u64,
    /// How it touched the account.
    pub role: Role,
}

/// A transfer of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferEntry {
    /// The block's number.
    pub block: u64,
    /// Index of the event in the block.
    pub log: u64,
    /// The transaction's index in the block.
    pub position: u64,
    /// Who had it.
    pub from: Address,
    /// Who has it.
    pub to: Address,
    /// The amount in the token's units, or a unique token's id.
    pub value: U256,
}

/// A token that was transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its contract.
    pub address: Address,
    /// Number of the block with the first transfer.
    pub first: u64,
    /// Whether each token is one of its kind.
    pub unique: bool,
}

/// An event of a system contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// The block's number.
    pub block: u64,
    /// Index of the event in the block.
    pub log: u64,
    /// The transaction's index in the block.
    pub position: u64,
    /// Which event.
    pub topic: B256,
}

#[expect(clippy::needless_pass_by_value, reason = "as the database hands it out")]
fn address(bytes: Vec<u8>) -> Result<Address, IndexError> {
    Address::try_from(&bytes[..]).map_err(|_| IndexError::Damaged("an address"))
}

fn block_entry(row: &AnyRow) -> Result<BlockEntry, IndexError> {
    Ok(BlockEntry {
        number: uint(row.try_get(0)?),
        id: word(row.try_get(1)?)?,
        time: uint(row.try_get(2)?),
        producer: address(row.try_get(3)?)?,
        transactions: uint(row.try_get(4)?),
        gas: uint(row.try_get(5)?),
    })
}

fn event_entry(row: &AnyRow) -> Result<EventEntry, IndexError> {
    Ok(EventEntry {
        block: uint(row.try_get(0)?),
        log: uint(row.try_get(1)?),
        position: uint(row.try_get(2)?),
        topic: word(row.try_get(3)?)?,
    })
}

fn limit(rows: u32) -> i64 {
    i64::from(rows.clamp(1, MAX_PAGE))
}

impl Index {
    /// Lists blocks below `before`, the newest first.
    pub async fn blocks(&self, before: u64, rows: u32) -> Result<Vec<BlockEntry>, IndexError> {
        let query = "SELECT number, id, time, producer, transactions, gas FROM blocks WHERE number < $1
            ORDER BY number DESC LIMIT $2";
        let rows = sqlx::query(query).bind(int(before)).bind(limit(rows)).fetch_all(&self.pool).await?;
        rows.iter().map(block_entry).collect()
    }

    /// Lists blocks below `before` that pay `producer`, the newest first.
    pub async fn blocks_of(&self, producer: Address, before: u64, rows: u32) -> Result<Vec<BlockEntry>, IndexError> {
        let query =
            "SELECT number, id, time, producer, transactions, gas FROM blocks WHERE producer = $1 AND number < $2
            ORDER BY number DESC LIMIT $3";
        let query = sqlx::query(query).bind(producer.to_vec()).bind(int(before)).bind(limit(rows));
        query.fetch_all(&self.pool).await?.iter().map(block_entry).collect()
    }

    /// Lists blocks below `before` that hold transactions, the newest first; looks at the last 20,000 blocks at most.
    pub async fn filled(&self, before: u64, rows: u32) -> Result<Vec<BlockEntry>, IndexError> {
        let query = "SELECT number, id, time, producer, transactions, gas FROM blocks
            WHERE number < $1 AND number >= $2 AND transactions > 0 ORDER BY number DESC LIMIT $3";
        let from = before.min(i64::MAX.unsigned_abs()).saturating_sub(20_000);
        let query = sqlx::query(query).bind(int(before)).bind(int(from)).bind(limit(rows));
        query.fetch_all(&self.pool).await?.iter().map(block_entry).collect()
    }

    /// Lists transactions of an account before the one at `before` (block and index), the newest first.
    pub async fn history(
        &self,
        account: Address,
        before: (u64, u64),
        rows: u32,
    ) -> Result<Vec<TouchEntry>, IndexError> {
        let query = "SELECT block, position, role FROM touches WHERE address = $1 AND (block, position) < ($2, $3)
            ORDER BY block DESC, position DESC LIMIT $4";
        let query = sqlx::query(query).bind(account.to_vec()).bind(int(before.0)).bind(int(before.1)).bind(limit(rows));
        let entry = |row: &AnyRow| -> Result<TouchEntry, IndexError> {
            Ok(TouchEntry {
                block: uint(row.try_get(0)?),
                position: uint(row.try_get(1)?),
                role: Role(row.try_get(2)?),
            })
        };
        query.fetch_all(&self.pool).await?.iter().map(entry).collect()
    }

    /// Lists tokens, the newest first.
    pub async fn tokens(&self, rows: u32) -> Result<Vec<TokenEntry>, IndexError> {
        let query = "SELECT address, first, is_unique FROM tokens ORDER BY first DESC, address LIMIT $1";
        let entry = |row: &AnyRow| -> Result<TokenEntry, IndexError> {
            let unique: i64 = row.try_get(2)?;
            Ok(TokenEntry { address: address(row.try_get(0)?)?, first: uint(row.try_get(1)?), unique: unique != 0 })
        };
        sqlx::query(query).bind(limit(rows)).fetch_all(&self.pool).await?.iter().map(entry).collect()
    }

    /// Lists transfers of a token before the one at `before` (block and event), the newest first.
    pub async fn transfers(
        &self,
        token: Address,
        before: (u64, u64),
        rows: u32,
    ) -> Result<Vec<TransferEntry>, IndexError> {
        let query = "SELECT block, log, position, sender, recipient, value FROM transfers
            WHERE token = $1 AND (block, log) < ($2, $3) ORDER BY block DESC, log DESC LIMIT $4";
        let query = sqlx::query(query).bind(token.to_vec()).bind(int(before.0)).bind(int(before.1)).bind(limit(rows));
        let entry = |row: &AnyRow| -> Result<TransferEntry, IndexError> {
            let value: Vec<u8> = row.try_get(5)?;
            Ok(TransferEntry {
                block: uint(row.try_get(0)?),
                log: uint(row.try_get(1)?),
                position: uint(row.try_get(2)?),
                from: address(row.try_get(3)?)?,
                to: address(row.try_get(4)?)?,
                value: U256::try_from_be_slice(&value).ok_or(IndexError::Damaged("an amount"))?,
            })
        };
        query.fetch_all(&self.pool).await?.iter().map(entry).collect()
    }

    /// Lists events of a system contract before the one at `before` (block and event), the newest first.
    pub async fn events(
        &self,
        contract: Address,
        before: (u64, u64),
        rows: u32,
    ) -> Result<Vec<EventEntry>, IndexError> {
        let query = "SELECT block, log, position, topic FROM events WHERE contract = $1 AND (block, log) < ($2, $3)
            ORDER BY block DESC, log DESC LIMIT $4";
        let query =
            sqlx::query(query).bind(contract.to_vec()).bind(int(before.0)).bind(int(before.1)).bind(limit(rows));
        query.fetch_all(&self.pool).await?.iter().map(event_entry).collect()
    }

    /// Lists events of a system contract about one thing (its first indexed field) before the one at `before`, the newest first.
    pub async fn events_about(
        &self,
        (contract, subject): (Address, B256),
        before: (u64, u64),
        rows: u32,
    ) -> Result<Vec<EventEntry>, IndexError> {
        let query = "SELECT block, log, position, topic FROM events
            WHERE contract = $1 AND subject = $2 AND (block, log) < ($3, $4) ORDER BY block DESC, log DESC LIMIT $5";
        let query = sqlx::query(query).bind(contract.to_vec()).bind(subject.to_vec());
        let query = query.bind(int(before.0)).bind(int(before.1)).bind(limit(rows));
        query.fetch_all(&self.pool).await?.iter().map(event_entry).collect()
    }
}
