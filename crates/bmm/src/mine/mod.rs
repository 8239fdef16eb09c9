//! Mining: this machine's cores hash for a pool, or alone for a node.

mod cores;
mod engine;
mod node;
mod pool;
mod proxy;
mod rate;
mod report;

pub use cores::Cores;
pub use node::{NodeChoice, mine_alone};
pub use pool::{PoolChoice, mine_for_pool};
pub use proxy::serve_proxy;

use crate::{failure::Outcome, provide::When};
pub(crate) use engine::{Engine, Work};
pub(crate) use pool::share_of;
pub(crate) use rate::hash_rate;
use report::Report;
use std::{
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

/// How often it is looked whether to stop, to rest, or to say something.
const TICK: Duration = Duration::from_millis(200);

/// How this machine mines.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Threads; at least one.
    pub threads: usize,
    /// Cores that they stay on; any where empty.
    pub cores: Cores,
    /// Whether only while others leave the machine idle.
    pub idle_only: bool,
    /// When to end, if not by Ctrl-C.
    pub limit: Option<Duration>,
    /// Whether to say everything as JSON.
    pub json: bool,
}

/// What happens beside the work itself: the end, rests, the line that tells how it goes.
struct Round<'a> {
    engine: &'a Engine,
    threads: usize,
    report: Report,
    when: When,
    resting: Option<String>,
    begun: Instant,
    limit: Option<Duration>,
    stop: &'a Receiver<()>,
}

impl<'a> Round<'a> {
    fn new(engine: &'a Engine, effort: &Effort, stop: &'a Receiver<()>) -> Outcome<Self> {
        Ok(Self {
            engine,
            threads: effort.threads,
            report: Report::new(effort.json),
            when: When::new(None, effort.idle_only)?,
            resting: None,
            begun: Instant::now(),
            limit: effort.limit,
            stop,
        })
    }

    /// To be called every [`TICK`]. Says whether to go on.
    fn tick(&mut self) -> bool {
        let objection = self.when.objection(false);
        if objection != self.resting {
            match &objection {
                Some(why) => self.report.note(&format!("resting: {why}")),
                None => self.report.note("working again"),
            }
            self.resting.clone_from(&objection);
        }
        self.engine.limit(if objection.is_some() { 0 } else { self.threads });
        self.report.tick(self.engine.hashes());
        let over = self.limit.is_some_and(|limit| self.begun.elapsed() >= limit);
        !over && self.stop.try_recv() == Err(TryRecvError::Empty)
    }

    fn end(mut self) {
        self.report.end(self.engine.hashes());
    }
}
