//! Mining alone, for a node.

use super::{
    Effort, Round, TICK,
    engine::{Engine, Hit, Work},
};
use crate::failure::{Failure, Outcome};
use alloy_primitives::Address;
use bmm_pool::{
    BlockEvent, Job, Solution, SourceConfig, Sources,
    source::{AuxConfig, BMM, NodeUrl, SourceError},
};
use std::{
    sync::{Arc, mpsc::Receiver},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};

/// Solutions and events that wait.
const MAX_WAITING: usize = 256;
/// How old a block may be until new transactions get in.
const REFRESH: Duration = Duration::from_secs(5);
/// Time for blocks to be handed in at the end.
const FINISH: Duration = Duration::from_secs(5);

/// Which nodes, and who gets the blocks.
#[derive(Clone, Debug)]
pub struct NodeChoice {
    /// The best first.
    pub nodes: Vec<NodeUrl>,
    /// Who gets the blocks: the nodes have this address's key.
    pub address: Address,
}

/// Mines until Ctrl-C, or the limit of time.
pub fn mine_alone(choice: &NodeChoice, effort: &Effort, stop: &Receiver<()>) -> Outcome {
    let (solutions, queue) = mpsc::channel(MAX_WAITING);
    let (sender, events) = mpsc::channel(MAX_WAITING);
    let config = SourceConfig {
        parents: Vec::new(),
        aux: vec![AuxConfig {
            name: BMM.into(),
            nodes: choice.nodes.clone(),
            address: choice.address.to_string(),
            maturity: u64::MAX,
        }],
        tag: String::new(),
        refresh: REFRESH,
        pending: Vec::new(),
    };
    let sources = Sources::start(config, queue, &sender).map_err(|error: SourceError| {
        Failure::user(error).hint("the node that owns the address is started with `bmm node --mine-for WALLET`")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start a runtime: {error}")))?;
    let (engine, hits) = Engine::start(effort.threads, &effort.cores)?;
    let mut round = Round::new(&engine, effort, stop)?;
    if let Some(node) = choice.nodes.first() {
        round.report.connected(&node.to_string());
    }
    let mut alone = Alone {
        account: choice.address,
        sources: &sources,
        solutions,
        extranonce1: extranonce(),
        found: 0,
        refused: 0,
    };
    runtime.block_on(alone.follow(&mut round, hits, events));
    drop(alone);
    sources.finish(FINISH);
    round.end();
    Ok(())
}

/// Bytes in which two miners of one node differ.
fn extranonce() -> [u8; 4] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.subsec_nanos() ^ std::process::id()).to_le_bytes()
}

struct Alone<'a> {
    account: Address,
    sources: &'a Sources,
    solutions: mpsc::Sender<Solution>,
    extranonce1: [u8; 4],
    /// Solutions so far.
    found: u64,
    /// Of them refused or late, as already told.
    refused: u64,
}

impl Alone<'_> {
    async fn follow(
        &mut self,
        round: &mut Round<'_>,
        mut hits: mpsc::Receiver<Hit>,
        mut events: mpsc::Receiver<BlockEvent>,
    ) {
        let mut jobs = self.sources.jobs();
        self.give(round, &jobs);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                changed = jobs.changed() => match changed {
                    Ok(()) => self.give(round, &jobs),
                    Err(_) => return,
                },
                hit = hits.recv() => if let Some(solution) = hit.and_then(|hit| self.solution(hit)) {
                    if solution.worth.block {
                        // The block that follows is another one: until it is there, nothing is worth doing.
                        round.engine.set(None);
                    }
                    if self.solutions.send(solution).await.is_err() { return }
                },
                event = events.recv() => if let Some(BlockEvent::Found { key, height, .. }) = event {
                    round.report.accepted();
                    round.report.note(&format!("block {height} {}", key.id));
                },
                _ = ticks.tick() => {
                    self.look_for_refusals(round, &jobs);
                    if !round.tick() { return }
                }
            }
        }
    }

    fn give(&self, round: &Round<'_>, jobs: &watch::Receiver<Arc<Job>>) {
        let job = Arc::clone(&jobs.borrow());
        round.engine.set(Some(Work::Own(job, self.extranonce1)));
    }

    fn solution(&mut self, hit: Hit) -> Option<Solution> {
        let Work::Own(job, extranonce1) = hit.work else { return None };
        let worth = hit.worth?;
        let extranonce2 = hit.extranonce2.try_into().ok()?;
        let coinbase = job.coinbase(extranonce1, extranonce2);
        self.found += 1;
        let (header, hash, account, share) = (hit.header, hit.hash.0, self.account, self.found);
        Some(Solution { job, coinbase, header, hash, account, share, worth })
    }

    fn look_for_refusals(&mut self, round: &mut Round<'_>, jobs: &watch::Receiver<Arc<Job>>) {
        let Some(status) = self.sources.status().into_iter().next() else { return };
        let refused = status.stale.saturating_add(status.refused);
        while self.refused < refused {
            self.refused += 1;
            round.report.rejected(status.last_refusal.as_deref().unwrap_or("no reason is given"));
            // What was found is worth nothing: on with the work.
            self.give(round, jobs);
        }
    }
}
