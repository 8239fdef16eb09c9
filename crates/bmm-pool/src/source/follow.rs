//! Threads that follow chains: each asks for work, puts it on the desk, and waits for news.

use super::{
    SourceError,
    aux_chain::{AuxChain, AuxWork},
    desk::Desk,
    maker::ParentWork,
    parent::{Parent, ParentError},
};
use alloy_primitives::B256;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Step of waiting, between two looks at whether to stop.
const STEP: Duration = Duration::from_millis(200);

/// One round of following a chain. (Three kinds of followers share the loop around it.)
pub trait Follow: Send {
    /// The chain's name.
    fn name(&self) -> &Arc<str>;
    /// Asks, tells the desk, waits. Errors are told and tried again.
    fn round(&self, desk: &Desk, stop: &AtomicBool) -> Result<(), String>;
    /// Tells the desk that the chain does not answer.
    fn lost(&self, desk: &Desk);
}

/// Follows until `stop` is set.
pub fn run(follower: &impl Follow, desk: &Desk, stop: &AtomicBool) {
    let mut told = None;
    while !stop.load(Ordering::Relaxed) {
        match follower.round(desk, stop) {
            Ok(()) => {
                if told.take().is_some() {
                    tracing::info!(chain = %follower.name(), "gives work again");
                    desk.note(follower.name(), |status| status.error = None);
                }
            }
            Err(error) => {
                // The same words once, however long it lasts.
                if told.as_ref() != Some(&error) {
                    tracing::warn!(chain = %follower.name(), %error, "gives no work");
                    desk.note(follower.name(), |status| status.error = Some(error.clone()));
                    told = Some(error);
                }
                follower.lost(desk);
                pause(PAUSE, stop);
            }
        }
    }
}

fn pause(whole: Duration, stop: &AtomicBool) {
    let mut rest = whole;
    while !rest.is_zero() && !stop.load(Ordering::Relaxed) {
        thread::sleep(rest.min(STEP));
        rest = rest.saturating_sub(STEP);
    }
}

/// Asks every chain once, and makes the first job.
pub fn first_job(parents: &[Arc<Parent>], aux: &[Arc<AuxChain>], tag: &str) -> Result<Arc<Desk>, SourceError> {
    let mut failures = Vec::new();
    let mut parent_works = Vec::new();
    for (index, parent) in parents.iter().enumerate() {
        let work = parent.script().and_then(|script| parent_work(index, parent, script.into()));
        parent_works.push(match work {
            Ok(work) => Some(work),
            Err(error @ ParentError::Address { .. }) => return Err(SourceError::Parent(error)),
            Err(error) => {
                tracing::warn!(chain = %parent.config.name, %error, "gives no work");
                failures.push(error.to_string());
                None
            }
        });
    }
    let mut aux_works = Vec::new();
    for chain in aux {
        aux_works.push(match chain.work() {
            Ok(work) => Some((Arc::clone(&chain.config.name), work)),
            Err(error) => {
                tracing::warn!(chain = %chain.config.name, %error, "gives no work");
                failures.push(error.to_string());
                None
            }
        });
    }
    let names: Vec<Arc<str>> = parents
        .iter()
        .map(|parent| Arc::clone(&parent.config.name))
        .chain(aux.iter().map(|chain| Arc::clone(&chain.config.name)))
        .collect();
    Desk::new(tag, &names, parent_works, aux_works).map(Arc::new).ok_or(SourceError::Nothing(failures))
}

fn parent_work(index: usize, parent: &Parent, script: Arc<[u8]>) -> Result<ParentWork, ParentError> {
    let template = Arc::new(parent.template()?);
    Ok(ParentWork { name: Arc::clone(&parent.config.name), index, template, script })
}

/// Asks a parent for a template again and again.
pub struct ParentFollower {
    index: usize,
    parent: Arc<Parent>,
    refresh: Duration,
    /// Asked for once.
    script: Mutex<Option<Arc<[u8]>>>,
}

impl ParentFollower {
    pub fn new(index: usize, parent: &Arc<Parent>, refresh: Duration) -> Self {
        Self { index, parent: Arc::clone(parent), refresh, script: Mutex::new(None) }
    }

    fn script(&self) -> Result<Arc<[u8]>, ParentError> {
        if let Some(script) = &*self.script.lock() {
            return Ok(Arc::clone(script));
        }
        let script: Arc<[u8]> = self.parent.script()?.into();
        *self.script.lock() = Some(Arc::clone(&script));
        Ok(script)
    }
}

impl Follow for ParentFollower {
    fn name(&self) -> &Arc<str> {
        &self.parent.config.name
    }

    fn round(&self, desk: &Desk, stop: &AtomicBool) -> Result<(), String> {
        self.parent.nodes.return_to_first("getblockcount");
        let work = self.script().and_then(|script| parent_work(self.index, &self.parent, script));
        desk.parent_news(work.map_err(|error| error.to_string())?);
        desk.note(self.name(), |status| status.node = self.parent.nodes.current_url());
        pause(self.refresh, stop);
        Ok(())
    }

    fn lost(&self, desk: &Desk) {
        desk.parent_lost(self.index);
    }
}

/// Waits for a parent's next template, so that a new block is known at once.
pub struct ParentWaiter {
    index: usize,
    parent: Arc<Parent>,
}

impl ParentWaiter {
    pub fn new(index: usize, parent: &Arc<Parent>) -> Self {
        Self { index, parent: Arc::clone(parent) }
    }
}

impl Follow for ParentWaiter {
    fn name(&self) -> &Arc<str> {
        &self.parent.config.name
    }

    fn round(&self, desk: &Desk, stop: &AtomicBool) -> Result<(), String> {
        let Some(known) = desk.parent(self.index) else {
            pause(PAUSE, stop);
            return Ok(());
        };
        let template = self.parent.next_template(&known.template.long_poll_id).map_err(|error| error.to_string())?;
        desk.parent_news(ParentWork { template: Arc::new(template), ..known });
        Ok(())
    }

    fn lost(&self, _: &Desk) {
        // The other follower says so.
    }
}

/// Follows a merge-mined chain.
pub struct AuxFollower {
    index: usize,
    chain: Arc<AuxChain>,
    refresh: Duration,
}

impl AuxFollower {
    pub fn new(index: usize, chain: &Arc<AuxChain>, refresh: Duration) -> Self {
        Self { index, chain: Arc::clone(chain), refresh }
    }

    fn ask(&self, desk: &Desk) -> Result<B256, String> {
        let work: AuxWork = self.chain.work().map_err(|error| error.to_string())?;
        let previous = work.previous;
        desk.aux_news(self.index, &self.chain.config.name, work);
        desk.note(self.name(), |status| status.node = self.chain.nodes.current_url());
        Ok(previous)
    }
}

impl Follow for AuxFollower {
    fn name(&self) -> &Arc<str> {
        &self.chain.config.name
    }

    fn round(&self, desk: &Desk, _: &AtomicBool) -> Result<(), String> {
        self.chain.nodes.return_to_first(self.chain.tip().height_method());
        let previous = self.ask(desk)?;
        self.chain.wait(previous, self.refresh).map_err(|error| error.to_string())
    }

    fn lost(&self, desk: &Desk) {
        desk.aux_lost(self.index);
    }
}
