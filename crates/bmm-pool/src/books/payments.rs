//! Payments: written before they are sent, looked up until they are final.
//!
//! A payment takes from the balances in the same database transaction in which the signed transaction that pays is written down. Only then
//! is it sent, and after a crash the very same one is sent again: its nonce and its hash let it happen once. A payment whose fee turned
//! out too low is signed anew with the same nonce ([`Books::replace`]), so that still at most one of its transactions can happen.

use super::{
    Books, BooksError, Columns as _, FEE_ACCOUNT, MAX_PAGE, account_of, accounts, damaged, digits, int, text_of,
};
use alloy_primitives::Address;
use serde::Serialize;
use sqlx::{Any, Transaction, any::AnyRow};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Written down; perhaps sent, perhaps in a block that is not final.
    Open,
    /// Final.
    Paid,
    /// It can never happen; what it had taken was put back.
    Failed,
}

impl PaymentState {
    const fn text(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Result<Self, BooksError> {
        let known = [Self::Open, Self::Paid, Self::Failed];
        known.into_iter().find(|state| state.text() == text).ok_or_else(|| damaged("state", text))
    }
}

/// One receiver of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PayItem {
    /// Who.
    pub account: Address,
    /// What its balance loses, in base units.
    #[serde(with = "crate::wire::text")]
    pub amount: u128,
    /// The part of it that the pool keeps for the payment.
    #[serde(with = "crate::wire::text")]
    pub fee: u128,
}

/// A payment that is to be written down.
#[derive(Clone, Debug)]
pub struct NewPayment<'a> {
    /// The chain.
    pub chain: &'a str,
    /// Who sends it.
    pub sender: &'a str,
    /// The sender's nonce that it uses up.
    pub nonce: u64,
    /// Who gets what.
    pub items: &'a [PayItem],
    /// Hash of the signed transaction.
    pub hash: &'a str,
    /// The signed transaction, as it is sent.
    pub raw: &'a str,
    /// When, in Unix seconds.
    pub at: u64,
}

/// A signed transaction of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentAttempt {
    /// Its hash.
    pub hash: String,
    /// It, as it is sent.
    pub raw: String,
    /// When it was signed, in Unix seconds.
    pub made_at: u64,
}

/// A payment as the books have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Its number, from 1.
    pub id: u64,
    /// The chain.
    pub chain: String,
    /// Who sends it.
    pub sender: String,
    /// The sender's nonce.
    pub nonce: u64,
    /// What it takes from balances, in base units.
    #[serde(with = "crate::wire::text")]
    pub total: u128,
    /// The part of it that the pool keeps.
    #[serde(with = "crate::wire::text")]
    pub fees: u128,
    /// What the transaction cost the pool.
    #[serde(with = "crate::wire::text")]
    pub cost: u128,
    /// Where it stands.
    pub state: PaymentState,
    /// Hash of the transaction that paid, or of the last one that was signed.
    pub hash: String,
    /// Height of the block that it is in; 0 before.
    pub block: u64,
    /// When it was written down, in Unix seconds.
    pub made_at: u64,
    /// When it became final, in Unix seconds; 0 before.
    pub settled_at: u64,
}

impl Payment {
    fn read(row: &AnyRow) -> Result<Self, BooksError> {
        Ok(Self {
            id: row.number("id")?,
            chain: row.text("chain")?,
            sender: row.text("sender")?,
            nonce: row.number("nonce")?,
            total: row.amount("total")?,
            fees: row.amount("fees")?,
            cost: row.amount("cost")?,
            state: PaymentState::read(&row.text("state")?)?,
            hash: row.text("hash")?,
            block: row.number("block")?,
            made_at: row.number("made_at")?,
            settled_at: row.number("settled_at")?,
        })
    }
}

impl Books {
    /// Writes a payment down and takes it from the balances; returns its number. Only after this may it be sent.
    pub async fn prepare(&self, new: &NewPayment<'_>) -> Result<u64, BooksError> {
        let mut tx = self.writer().await?;
        let total = new.items.iter().try_fold(0_u128, |sum, item| sum.checked_add(item.amount));
        let fees = new.items.iter().try_fold(0_u128, |sum, item| sum.checked_add(item.fee));
        let (total, fees) = (total.ok_or(BooksError::TooLarge)?, fees.ok_or(BooksError::TooLarge)?);
        let row = sqlx::query("SELECT COALESCE(MAX(id), 0) AS id FROM payments").fetch_one(&mut *tx).await?;
        let id = row.number("id")?.saturating_add(1);
        sqlx::query(
            "INSERT INTO payments (id, chain, sender, nonce, total, fees, cost, state, hash, block, made_at, settled_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8, 0, $9, 0)",
        )
        .bind(int(id)?)
        .bind(new.chain.to_owned())
        .bind(new.sender.to_owned())
        .bind(int(new.nonce)?)
        .bind(digits(total))
        .bind(digits(fees))
        .bind(digits(0))
        .bind(new.hash.to_owned())
        .bind(int(new.at)?)
        .execute(&mut *tx)
        .await?;
        attempt(&mut tx, id, new.hash, new.raw, new.at).await?;
        for item in new.items {
            if item.fee > item.amount {
                return Err(BooksError::TooLarge);
            }
            let account = text_of(item.account);
            sqlx::query("INSERT INTO items (payment, account, amount, fee) VALUES ($1, $2, $3, $4)")
                .bind(int(id)?)
                .bind(account.clone())
                .bind(digits(item.amount))
                .bind(digits(item.fee))
                .execute(&mut *tx)
                .await?;
            accounts::debit(&mut tx, new.chain, &account, item.amount).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Writes down another transaction of an open payment, with the same nonce and the same receivers.
    pub async fn replace(&self, payment: u64, hash: &str, raw: &str, at: u64) -> Result<(), BooksError> {
        let mut tx = self.writer().await?;
        attempt(&mut tx, payment, hash, raw, at).await?;
        sqlx::query("UPDATE payments SET hash = $1 WHERE id = $2 AND state = 'open'")
            .bind(hash.to_owned())
            .bind(int(payment)?)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Books that a payment is final: transaction, height of its block, and what it cost the pool. Its fees go to the pool's account.
    pub async fn paid(&self, payment: u64, hash: &str, block: u64, cost: u128, at: u64) -> Result<(), BooksError> {
        let mut tx = self.writer().await?;
        let Some(found) = open(&mut tx, payment).await? else { return Ok(()) };
        sqlx::query(
            "UPDATE payments SET state = 'paid', hash = $1, block = $2, cost = $3, settled_at = $4 WHERE id = $5",
        )
        .bind(hash.to_owned())
        .bind(int(block)?)
        .bind(digits(cost))
        .bind(int(at)?)
        .bind(int(payment)?)
        .execute(&mut *tx)
        .await?;
        accounts::credit(&mut tx, &found.chain, FEE_ACCOUNT, found.fees).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Books that a payment can never happen, and puts back what it had taken.
    pub async fn failed(&self, payment: u64, cost: u128, at: u64) -> Result<(), BooksError> {
        let mut tx = self.writer().await?;
        let Some(found) = open(&mut tx, payment).await? else { return Ok(()) };
        sqlx::query("UPDATE payments SET state = 'failed', cost = $1, settled_at = $2 WHERE id = $3")
            .bind(digits(cost))
            .bind(int(at)?)
            .bind(int(payment)?)
            .execute(&mut *tx)
            .await?;
        let items = sqlx::query("SELECT account, amount FROM items WHERE payment = $1").bind(int(payment)?);
        for row in items.fetch_all(&mut *tx).await? {
            accounts::put_back(&mut tx, &found.chain, &row.text("account")?, row.amount("amount")?).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Returns the payments of a chain that are not final, oldest first.
    pub async fn open_payments(&self, chain: &str) -> Result<Vec<Payment>, BooksError> {
        let sql = "SELECT * FROM payments WHERE chain = $1 AND state = 'open' ORDER BY id";
        let rows = sqlx::query(sql).bind(chain.to_owned()).fetch_all(&self.pool).await?;
        rows.iter().map(Payment::read).collect()
    }

    /// Returns the signed transactions of a payment, oldest first.
    pub async fn attempts(&self, payment: u64) -> Result<Vec<PaymentAttempt>, BooksError> {
        let sql = "SELECT hash, raw, made_at FROM attempts WHERE payment = $1 ORDER BY made_at, hash";
        let rows = sqlx::query(sql).bind(int(payment)?).fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| {
            Ok(PaymentAttempt { hash: row.text("hash")?, raw: row.text("raw")?, made_at: row.number("made_at")? })
        };
        rows.iter().map(read).collect()
    }

    /// Returns payments, newest first, with numbers below `before`; of one account, or all. At most [`MAX_PAGE`].
    pub async fn payments(
        &self,
        account: Option<Address>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Payment>, BooksError> {
        let sql = "SELECT * FROM payments WHERE id < $1
            AND ($2 = '' OR id IN (SELECT payment FROM items WHERE account = $2)) ORDER BY id DESC LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(before.map_or(Ok(i64::MAX), int)?)
            .bind(account.map(text_of).unwrap_or_default())
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(Payment::read).collect()
    }

    /// Returns who a payment pays, by account.
    pub async fn items(&self, payment: u64) -> Result<Vec<PayItem>, BooksError> {
        let sql = "SELECT account, amount, fee FROM items WHERE payment = $1 ORDER BY account";
        let rows = sqlx::query(sql).bind(int(payment)?).fetch_all(&self.pool).await?;
        let read = |row: &AnyRow| {
            let account = account_of("account", &row.text("account")?)?;
            Ok(PayItem { account, amount: row.amount("amount")?, fee: row.amount("fee")? })
        };
        rows.iter().map(read).collect()
    }
}

async fn attempt(
    tx: &mut Transaction<'static, Any>,
    payment: u64,
    hash: &str,
    raw: &str,
    at: u64,
) -> Result<(), BooksError> {
    sqlx::query("INSERT INTO attempts (payment, hash, raw, made_at) VALUES ($1, $2, $3, $4)")
        .bind(int(payment)?)
        .bind(hash.to_owned())
        .bind(raw.to_owned())
        .bind(int(at)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Returns a payment if it is open.
async fn open(tx: &mut Transaction<'static, Any>, payment: u64) -> Result<Option<Payment>, BooksError> {
    let row = sqlx::query("SELECT * FROM payments WHERE id = $1").bind(int(payment)?).fetch_optional(&mut **tx).await?;
    let found = row.as_ref().map(Payment::read).transpose()?;
    let found = found.ok_or_else(|| BooksError::Unknown(format!("payment {payment}")))?;
    Ok((found.state == PaymentState::Open).then_some(found))
}
