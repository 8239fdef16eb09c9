//! What each account has.

use super::{Books, BooksError, Columns as _, MAX_PAGE, digits, text_of};
use alloy_primitives::Address;
use serde::Serialize;
use sqlx::{Any, Transaction, any::AnyRow};

/// What an account has on one chain, in base units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The chain.
    pub chain: String,
    /// The account, `fee` or `reserve`.
    pub account: String,
    /// What it has and was not paid.
    #[serde(with = "crate::wire::text")]
    pub balance: u128,
    /// What was ever booked for it.
    #[serde(with = "crate::wire::text")]
    pub earned: u128,
    /// What it was paid, with the fees of its payments.
    #[serde(with = "crate::wire::text")]
    pub paid: u128,
    /// Whether paying it failed, so that it waits until the operator releases it.
    pub held: bool,
}

impl Balance {
    fn read(row: &AnyRow) -> Result<Self, BooksError> {
        Ok(Self {
            chain: row.text("chain")?,
            account: row.text("account")?,
            balance: row.amount("balance")?,
            earned: row.amount("earned")?,
            paid: row.amount("paid")?,
            held: row.number("held")? != 0,
        })
    }
}

/// All money of a chain in the books: `rewards == balances + under_way + paid` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Rewards of mature blocks.
    #[serde(with = "crate::wire::text")]
    pub rewards: u128,
    /// Balances, with fee and reserve.
    #[serde(with = "crate::wire::text")]
    pub balances: u128,
    /// Payments that are not final.
    #[serde(with = "crate::wire::text")]
    pub under_way: u128,
    /// Payments that are, without their fees, which are in the balance of `fee`.
    #[serde(with = "crate::wire::text")]
    pub paid: u128,
}

impl Audit {
    /// Whether every unit is accounted for.
    pub fn is_balanced(&self) -> bool {
        let parts = [self.balances, self.under_way, self.paid];
        parts.into_iter().try_fold(0_u128, u128::checked_add) == Some(self.rewards)
    }
}

impl Books {
    /// Returns balances of a chain by account, beginning after `after` (as text); at most [`MAX_PAGE`].
    pub async fn balances(&self, chain: &str, after: &str, limit: u32) -> Result<Vec<Balance>, BooksError> {
        let sql = "SELECT * FROM balances WHERE chain = $1 AND account > $2 ORDER BY account LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(chain.to_owned())
            .bind(after.to_owned())
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(Balance::read).collect()
    }

    /// Returns what an account has, on each chain.
    pub async fn account(&self, account: Address) -> Result<Vec<Balance>, BooksError> {
        let rows = sqlx::query("SELECT * FROM balances WHERE account = $1 ORDER BY chain")
            .bind(text_of(account))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(Balance::read).collect()
    }

    /// Returns what blocks whose fate is open are to bring an account on a chain.
    pub async fn immature(&self, chain: &str, account: Address) -> Result<u128, BooksError> {
        let sql = "SELECT credits.amount AS amount FROM credits JOIN blocks ON blocks.number = credits.block
            WHERE blocks.state = 'immature' AND blocks.chain = $1 AND credits.account = $2";
        let rows = sqlx::query(sql).bind(chain.to_owned()).bind(text_of(account)).fetch_all(&self.pool).await?;
        sum(&rows, "amount")
    }

    /// Returns accounts of a chain that have at least `threshold` and are not held, those with most first.
    pub async fn payable(&self, chain: &str, threshold: u128, limit: u32) -> Result<Vec<(Address, u128)>, BooksError> {
        let sql = "SELECT account, balance FROM balances
            WHERE chain = $1 AND balance >= $2 AND held = 0 AND account NOT IN ('fee', 'reserve')
            ORDER BY balance DESC, account LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(chain.to_owned())
            .bind(digits(threshold.max(1)))
            .bind(i64::from(limit.min(MAX_PAGE)))
            .fetch_all(&self.pool)
            .await?;
        let read = |row: &AnyRow| Ok((super::account_of("account", &row.text("account")?)?, row.amount("balance")?));
        rows.iter().map(read).collect()
    }

    /// Holds an account back from payments, or releases it.
    pub async fn hold(&self, chain: &str, account: Address, held: bool) -> Result<(), BooksError> {
        sqlx::query("UPDATE balances SET held = $1 WHERE chain = $2 AND account = $3")
            .bind(i64::from(held))
            .bind(chain.to_owned())
            .bind(text_of(account))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Adds up all money of a chain.
    pub async fn audit(&self, chain: &str) -> Result<Audit, BooksError> {
        // In one transaction, so that nothing is counted twice or not at all.
        let mut tx = self.writer().await?;
        let chain = chain.to_owned();
        let rewards = sqlx::query("SELECT reward FROM blocks WHERE chain = $1 AND state = 'mature'");
        let rewards = sum(&rewards.bind(chain.clone()).fetch_all(&mut *tx).await?, "reward")?;
        let balances = sqlx::query("SELECT balance FROM balances WHERE chain = $1");
        let balances = sum(&balances.bind(chain.clone()).fetch_all(&mut *tx).await?, "balance")?;
        let open = sqlx::query("SELECT total FROM payments WHERE chain = $1 AND state = 'open'");
        let under_way = sum(&open.bind(chain.clone()).fetch_all(&mut *tx).await?, "total")?;
        let done = sqlx::query("SELECT total, fees FROM payments WHERE chain = $1 AND state = 'paid'");
        let done = done.bind(chain).fetch_all(&mut *tx).await?;
        let paid = sum(&done, "total")?.checked_sub(sum(&done, "fees")?).ok_or(BooksError::TooLarge)?;
        tx.commit().await?;
        Ok(Audit { rewards, balances, under_way, paid })
    }
}

fn sum(rows: &[AnyRow], column: &str) -> Result<u128, BooksError> {
    rows.iter().try_fold(0_u128, |sum, row| sum.checked_add(row.amount(column)?).ok_or(BooksError::TooLarge))
}

/// The row of an account.
async fn row(tx: &mut Transaction<'static, Any>, chain: &str, account: &str) -> Result<Option<Balance>, BooksError> {
    let row = sqlx::query("SELECT * FROM balances WHERE chain = $1 AND account = $2")
        .bind(chain.to_owned())
        .bind(account.to_owned())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(Balance::read).transpose()
}

/// The row of an account that must have one.
async fn known_row(tx: &mut Transaction<'static, Any>, chain: &str, account: &str) -> Result<Balance, BooksError> {
    let row = row(tx, chain, account).await?;
    row.ok_or_else(|| BooksError::Unknown(format!("balance of {account} on {chain}")))
}

async fn write(tx: &mut Transaction<'static, Any>, row: &Balance) -> Result<(), BooksError> {
    sqlx::query(
        "INSERT INTO balances (chain, account, balance, earned, paid, held) VALUES ($1, $2, $3, $4, $5, 0)
         ON CONFLICT (chain, account) DO UPDATE SET
            balance = excluded.balance, earned = excluded.earned, paid = excluded.paid",
    )
    .bind(row.chain.clone())
    .bind(row.account.clone())
    .bind(digits(row.balance))
    .bind(digits(row.earned))
    .bind(digits(row.paid))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds to a balance what was earned.
pub(super) async fn credit(
    tx: &mut Transaction<'static, Any>,
    chain: &str,
    account: &str,
    amount: u128,
) -> Result<(), BooksError> {
    if amount == 0 {
        return Ok(());
    }
    let mut row = row(tx, chain, account).await?.unwrap_or_else(|| Balance {
        chain: chain.to_owned(),
        account: account.to_owned(),
        balance: 0,
        earned: 0,
        paid: 0,
        held: false,
    });
    row.balance = row.balance.checked_add(amount).ok_or(BooksError::TooLarge)?;
    row.earned = row.earned.checked_add(amount).ok_or(BooksError::TooLarge)?;
    write(tx, &row).await
}

/// Takes from a balance what is to be paid.
pub(super) async fn debit(
    tx: &mut Transaction<'static, Any>,
    chain: &str,
    account: &str,
    amount: u128,
) -> Result<(), BooksError> {
    let mut row = known_row(tx, chain, account).await?;
    let overdrawn = BooksError::Overdrawn { account: account.to_owned(), balance: row.balance, asked: amount };
    row.balance = row.balance.checked_sub(amount).ok_or(overdrawn)?;
    row.paid = row.paid.checked_add(amount).ok_or(BooksError::TooLarge)?;
    write(tx, &row).await
}

/// Puts back what could not be paid.
pub(super) async fn put_back(
    tx: &mut Transaction<'static, Any>,
    chain: &str,
    account: &str,
    amount: u128,
) -> Result<(), BooksError> {
    let mut row = known_row(tx, chain, account).await?;
    row.balance = row.balance.checked_add(amount).ok_or(BooksError::TooLarge)?;
    row.paid = row.paid.checked_sub(amount).ok_or(BooksError::TooLarge)?;
    write(tx, &row).await
}
