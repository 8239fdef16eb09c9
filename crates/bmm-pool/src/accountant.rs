//! Books what the pool's blocks bring, from the share log.

use crate::{
    block::{BlockEvent, BlockKey},
    books::{Booked, Books, BooksError, NewBlock},
    log::{LogError, LogReader, LoggedShare},
    payout::{Division, PayRule, Window, weight},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::sync::mpsc;

/// Name of the log whose blocks are divided among all miners.
pub const POOL_LOG: &str = "pool";
/// Name of the log whose blocks belong to who found them.
pub const SOLO_LOG: &str = "solo";
/// Pause before an event that could not be booked is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Why an event could not be booked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// The share log.
    #[error("the share log: {0}")]
    Log(#[from] LogError),
    /// An event names a chain or an id that cannot be kept.
    #[error("a block has a name or an id that cannot be kept: {0:?}")]
    BadKey(BlockKey),
    /// The log is shorter than the books say.
    #[error(
        "the share log {log} ends before share {share}, for which the books have a block: restore the log from a backup"
    )]
    LogTooShort {
        /// The log.
        log: String,
        /// The share.
        share: u64,
    },
    /// Reading the log failed with a panic.
    #[error("reading the share log was given up")]
    GivenUp,
}

/// How rewards are divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayRules {
    /// Of chains that have a rule of their own.
    pub chains: BTreeMap<Arc<str>, PayRule>,
    /// Of all others.
    pub other: PayRule,
}

impl PayRules {
    /// Returns the rule of a chain.
    pub fn of(&self, chain: &str) -> PayRule {
        self.chains.get(chain).copied().unwrap_or(self.other)
    }
}

/// Books the blocks of one log.
#[derive(Clone, Debug)]
pub struct Accountant {
    log: LogReader,
    name: &'static str,
    books: Books,
    rules: PayRules,
}

impl Accountant {
    /// Makes the accountant of the log called `name` ([`POOL_LOG`] or [`SOLO_LOG`]). Fails if the books know of shares that the log lacks.
    pub async fn new(log: LogReader, name: &'static str, books: Books, rules: PayRules) -> Result<Self, AccountError> {
        if let Some(share) = books.highest_share(name).await?
            && share >= log.next()
        {
            return Err(AccountError::LogTooShort { log: name.to_owned(), share });
        }
        Ok(Self { log, name, books, rules })
    }

    /// Books events until their queue is closed. One that cannot be booked is tried again until it can be, or the queue is closed.
    pub async fn run(self, mut events: mpsc::Receiver<BlockEvent>) {
        while let Some(event) = events.recv().await {
            let mut pause = PAUSE;
            while let Err(error) = self.note(&event).await {
                let hopeless = matches!(
                    error,
                    AccountError::BadKey(_) | AccountError::Books(BooksError::Unknown(_) | BooksError::TooLarge)
                );
                tracing::error!(%error, ?event, "a block could not be booked");
                if hopeless || events.is_closed() {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Books one event; it is on the disk when this returns.
    pub async fn note(&self, event: &BlockEvent) -> Result<Booked, AccountError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Ok(match event {
            BlockEvent::Found { key, height, reward, share } => self.found(key, *height, *reward, *share, now).await?,
            BlockEvent::Mature(key) => self.books.mature(key, now).await?,
            BlockEvent::Orphaned(key) => self.books.orphaned(key, now).await?,
        })
    }

    async fn found(
        &self,
        key: &BlockKey,
        height: u64,
        reward: u128,
        share: u64,
        at: u64,
    ) -> Result<Booked, AccountError> {
        if !key.is_bounded() {
            return Err(AccountError::BadKey(key.clone()));
        }
        let rule = self.rules.of(&key.chain);
        let before = self.books.newest(&key.chain, self.name).await?.map(|block| block.share);
        let reading = (self.log.clone(), self.name == SOLO_LOG, key.chain.clone());
        let read = tokio::task::spawn_blocking(move || {
            let (log, is_solo, chain) = reading;
            Finding::read(&log, &chain, share, before, rule, is_solo, reward)
        });
        let finding = read.await.map_err(|_| AccountError::GivenUp)??;
        let block = NewBlock {
            key,
            height,
            reward,
            log: self.name,
            share,
            root: finding.root,
            finder: finding.share.account,
            rule,
            window: &finding.window,
            division: &finding.division,
            effort: finding.effort,
            at,
        };
        Ok(self.books.found(&block).await?)
    }
}

/// What the log tells of a block.
struct Finding {
    share: LoggedShare,
    root: alloy_primitives::B256,
    window: Window,
    division: Division,
    effort: u128,
}

impl Finding {
    fn read(
        log: &LogReader,
        chain: &str,
        share: u64,
        before: Option<u64>,
        rule: PayRule,
        is_solo: bool,
        reward: u128,
    ) -> Result<Self, LogError> {
        let found = log.share(share)?;
        let root = log.root_at(share.saturating_add(1))?;
        let effort = effort(log, chain, share, before)?;
        let (window, division) = if is_solo {
            (Window::default(), Division::solo(rule, reward, found.account))
        } else {
            let window = Window::of(rule, chain, log.backwards(share))?;
            let division = Division::of(rule, reward, &window);
            (window, division)
        };
        Ok(Self { share: found, root, window, division, effort })
    }
}

/// Adds up the weight of the shares from `share` back to the one after `before`.
fn effort(log: &LogReader, chain: &str, share: u64, before: Option<u64>) -> Result<u128, LogError> {
    let first = before.map_or(0, |before| before.saturating_add(1)).max(log.first());
    let mut sum: u128 = 0;
    for logged in log.backwards(share) {
        let logged = logged?;
        if logged.number < first {
            break;
        }
        if let Some(work) = logged.job.chains.iter().find(|work| &*work.name == chain) {
            sum = sum.saturating_add(weight(logged.hashes, work.target.difficulty().get()));
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::{ChainWork, Job},
        log::ShareLog,
        share::Share,
    };
    use alloy_primitives::{Address, U256};
    use bmm_pow::difficulty::Difficulty;

    fn job() -> Arc<Job> {
        let target = Difficulty::new(U256::from(1_000)).expect("not zero").target();
        Job::bare(1, vec![ChainWork { name: "bmm".into(), height: 5, target }])
    }

    fn share(account: u8, hashes: u64, job: &Arc<Job>) -> Share {
        Share { at_millis: 1, account: Address::with_last_byte(account), worker: "".into(), hashes, job: job.clone() }
    }

    fn rules() -> PayRules {
        PayRules { chains: BTreeMap::new(), other: PayRule::new(2, 100).expect("in bounds") }
    }

    fn found(id: &str, share: u64) -> BlockEvent {
        let key = BlockKey { chain: "bmm".into(), id: id.into() };
        BlockEvent::Found { key, height: 5, reward: 10_000, share }
    }

    #[tokio::test]
    async fn a_block_is_booked_from_the_log_and_can_be_checked() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = ShareLog::open(&dir.path().join("log")).expect("new");
        let books = Books::open(&format!("sqlite://{}", dir.path().join("db").display())).await.expect("new");
        let accountant = Accountant::new(log.reader(), POOL_LOG, books.clone(), rules()).await.expect("fits");
        let job = job();
        log.append(&[share(1, 1_000, &job), share(2, 1_000, &job), share(3, 500, &job)]).expect("room");
        assert_eq!(accountant.note(&found("0x1", 2)).await.expect("booked"), Booked::Now);
        assert_eq!(accountant.note(&found("0x1", 2)).await.expect("known"), Booked::Before);
        let block = books.block(1).await.expect("readable").expect("there");
        assert_eq!((block.root, block.oldest, block.effort), (log.root(), 0, 2_500_000_000_000_000_000));
        let credits = books.credits(1, None, 10).await.expect("readable");
        assert_eq!(credits.iter().map(|credit| credit.amount).collect::<Vec<_>>(), [2_475, 4_950, 2_475]);

        log.append(&[share(1, 1_000, &job)]).expect("room");
        accountant.note(&found("0x2", 3)).await.expect("booked");
        let second = books.block(2).await.expect("readable").expect("there");
        assert_eq!((second.effort, second.oldest), (1_000_000_000_000_000_000, 1));
        // A log that lost shares is not gone on with.
        drop(log);
        let other = ShareLog::open(&dir.path().join("other")).expect("new");
        let error = Accountant::new(other.reader(), POOL_LOG, books, rules()).await.expect_err("too short");
        assert!(matches!(error, AccountError::LogTooShort { share: 3, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_solo_block_is_its_finders() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = ShareLog::open(&dir.path().join("log")).expect("new");
        let books = Books::open(&format!("sqlite://{}", dir.path().join("db").display())).await.expect("new");
        let accountant = Accountant::new(log.reader(), SOLO_LOG, books.clone(), rules()).await.expect("fits");
        let job = job();
        log.append(&[share(1, 1_000, &job), share(2, 1, &job)]).expect("room");
        let (sender, events) = mpsc::channel(4);
        for event in [found("0x1", 1), BlockEvent::Mature(BlockKey { chain: "bmm".into(), id: "0x1".into() })] {
            sender.send(event).await.expect("room");
        }
        drop(sender);
        accountant.run(events).await;
        let balances = books.account(Address::with_last_byte(2)).await.expect("readable");
        assert_eq!(balances.iter().map(|row| row.balance).collect::<Vec<_>>(), [9_900]);
    }
}
