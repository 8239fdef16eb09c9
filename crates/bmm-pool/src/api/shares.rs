//! Shares of a log, so that a miner can check its pay.

use super::{Api, routes::Refusal};
use crate::{
    job::ChainWork,
    log::{LogReader, LoggedJob, LoggedShare, job_digest},
};
use alloy_primitives::{Address, B256, U256};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use bmm_pow::difficulty::Target;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most shares of one page.
pub const MAX_SHARES: u64 = 5_000;

/// Which shares.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    log: Option<String>,
    /// The newest of the page.
    to: u64,
    limit: Option<u64>,
}

/// A chain of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareChain {
    /// Its name.
    pub name: String,
    /// Height of the block.
    pub height: u64,
    /// Its target.
    pub target: U256,
}

/// A job that shares of a page refer to by its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareJob {
    /// Its number.
    pub number: u64,
    /// The chains that it was work for.
    pub chains: Vec<ShareChain>,
}

/// A share: account, worker, hashes, Unix milliseconds, place of its job.
pub type ShareView = (Address, String, u64, u64, usize);

/// Shares, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePage {
    /// Number of the first one, which is the newest.
    pub to: u64,
    /// The shares.
    pub shares: Vec<ShareView>,
    /// What they refer to.
    pub jobs: Vec<ShareJob>,
    /// The log's root before the oldest one.
    pub root_before: B256,
}

impl SharePage {
    /// Reads a page from a log.
    pub fn read(log: &LogReader, to: u64, limit: u64) -> Result<Self, crate::LogError> {
        let (mut shares, mut jobs): (Vec<ShareView>, Vec<ShareJob>) = (Vec::new(), Vec::new());
        let mut places: std::collections::HashMap<B256, usize> = std::collections::HashMap::new();
        let limit = usize::try_from(limit.clamp(1, MAX_SHARES)).unwrap_or(usize::MAX);
        let mut oldest = to;
        for share in log.backwards(to).take(limit) {
            let share = share?;
            let place = *places.entry(share.job.digest).or_insert_with(|| {
                jobs.push(ShareJob::from(&*share.job));
                jobs.len().saturating_sub(1)
            });
            shares.push((share.account, share.worker.to_string(), share.hashes, share.at_millis, place));
            oldest = share.number;
        }
        Ok(Self { to, shares, jobs, root_before: log.root_at(oldest)? })
    }

    /// Returns the shares as a log has them, newest first; `None` if the page contradicts itself.
    pub fn logged(&self) -> Option<Vec<LoggedShare>> {
        let jobs: Vec<Arc<LoggedJob>> = self.jobs.iter().map(ShareJob::logged).collect::<Option<_>>()?;
        let mut number = Some(self.to);
        let mut logged = Vec::with_capacity(self.shares.len());
        for (account, worker, hashes, at_millis, job) in &self.shares {
            logged.push(LoggedShare {
                number: number?,
                at_millis: *at_millis,
                account: *account,
                worker: worker.as_str().into(),
                hashes: *hashes,
                job: jobs.get(*job)?.clone(),
            });
            number = number?.checked_sub(1);
        }
        Some(logged)
    }
}

impl From<&LoggedJob> for ShareJob {
    fn from(job: &LoggedJob) -> Self {
        let chain = |work: &ChainWork| ShareChain {
            name: work.name.to_string(),
            height: work.height,
            target: work.target.get(),
        };
        Self { number: job.number, chains: job.chains.iter().map(chain).collect() }
    }
}

impl ShareJob {
    fn logged(&self) -> Option<Arc<LoggedJob>> {
        let chain = |chain: &ShareChain| {
            Some(ChainWork {
                name: chain.name.as_str().into(),
                height: chain.height,
                target: Target::new(chain.target)?,
            })
        };
        let chains: Vec<ChainWork> = self.chains.iter().map(chain).collect::<Option<_>>()?;
        Some(Arc::new(LoggedJob { number: self.number, digest: job_digest(self.number, &chains), chains }))
    }
}

pub async fn shares(
    State(api): State<Arc<Api>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<SharePage>, Refusal> {
    let Query(asked) = asked.map_err(Refusal::Query)?;
    let name = asked.log.as_deref().unwrap_or(crate::accountant::POOL_LOG);
    let side = api.state.sides.iter().find(|side| side.name == name);
    let log = side.ok_or(Refusal::NotFound("the pool has no log of that name"))?.log.clone();
    let (to, limit) = (asked.to, asked.limit.unwrap_or(1_000));
    let read = tokio::task::spawn_blocking(move || SharePage::read(&log, to, limit)).await;
    match read {
        Ok(Ok(page)) => Ok(Json(page)),
        _ => Err(Refusal::NotFound("the log has no such share, or no more")),
    }
}
