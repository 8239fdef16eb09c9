//! Mining for a pool.

use super::{
    Effort, Round, TICK,
    engine::{Engine, Hit, Work},
};
use crate::failure::{Failure, Outcome};
use bmm_pool::upstream::{LinkConfig, LinkEvent, PoolAccount, UpstreamShare, link};
use std::{path::PathBuf, sync::mpsc::Receiver};
use tokio::sync::mpsc;

/// Shares that wait for being sent.
const MAX_SHARES: usize = 1_024;
/// Events of the connection that wait.
const MAX_EVENTS: usize = 1_024;

/// Which pools.
#[derive(Clone, Debug)]
pub struct PoolChoice {
    /// The best first.
    pub pools: Vec<PoolAccount>,
    /// Certificates to trust instead of the system's.
    pub trusted: Option<PathBuf>,
}

/// Mines until Ctrl-C, or the limit of time.
pub fn mine_for_pool(choice: &PoolChoice, effort: &Effort, stop: &Receiver<()>) -> Outcome {
    let config = LinkConfig {
        pools: choice.pools.clone(),
        agent: format!("bmm/{}", env!("CARGO_PKG_VERSION")),
        trusted: choice.trusted.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start a runtime: {error}")))?;
    let (engine, hits) = Engine::start(effort.threads, &effort.cores)?;
    let mut round = Round::new(&engine, effort, stop)?;
    runtime.block_on(follow(config, &mut round, hits));
    runtime.shutdown_background();
    round.end();
    Ok(())
}

async fn follow(config: LinkConfig, round: &mut Round<'_>, mut hits: mpsc::Receiver<Hit>) {
    let (sender, mut events) = mpsc::channel(MAX_EVENTS);
    let (shares, queue) = mpsc::channel(MAX_SHARES);
    tokio::spawn(link::run(config, sender, queue));
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => heard(round, event),
                None => return,
            },
            hit = hits.recv() => if let Some(share) = hit.and_then(share_of) && shares.try_send(share).is_err() {
                tracing::warn!("a share is lost: too many wait for being sent");
            },
            _ = ticks.tick() => if !round.tick() { return },
        }
    }
}

/// Makes a pool's share of what was found; `None` of a node's.
pub(crate) fn share_of(hit: Hit) -> Option<UpstreamShare> {
    let Work::Upstream(work) = hit.work else { return None };
    let time = work.job.time;
    Some(UpstreamShare { work, extranonce2: hit.extranonce2, time, nonce: hit.nonce, tag: 0 })
}

fn heard(round: &mut Round<'_>, event: LinkEvent) {
    match event {
        LinkEvent::Connected(url) => round.report.connected(&url.to_string()),
        LinkEvent::Work(work) => {
            round.report.difficulty(work.difficulty);
            round.engine.set(Some(Work::Upstream(work)));
        }
        LinkEvent::Verdict(_, Ok(())) => round.report.accepted(),
        LinkEvent::Verdict(_, Err(why)) => round.report.rejected(&why),
        LinkEvent::Words(words) => round.report.note(&format!("the pool says: {words}")),
        LinkEvent::Lost(url, error) => {
            round.engine.set(None);
            round.report.note(&format!("{url}: {error}"));
        }
    }
}
