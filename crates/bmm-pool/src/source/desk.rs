//! The newest work of every chain on one table, and the job that is made of it.

use super::{
    aux_chain::AuxWork,
    maker::{AuxNews, Maker, ParentWork, Parts},
};
use crate::job::Job;
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// How long a chain is worked on whose nodes do not answer.
const SILENCE: Duration = Duration::from_mins(1);

/// How long a template of a lower height than the one before is taken for an answer that was overtaken on its way. After that it is a branch
/// that has more work in fewer blocks.
const OVERTAKEN: Duration = Duration::from_secs(20);

/// How a chain stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChainStatus {
    /// Its name.
    pub name: String,
    /// Height that is worked on; 0 while it gives no work.
    pub height: u64,
    /// The node that is asked.
    pub node: String,
    /// What the last question failed with, if it did.
    pub error: Option<String>,
    /// Blocks that it took.
    pub taken: u64,
    /// Blocks that came too late.
    pub stale: u64,
    /// Blocks that it refused.
    pub refused: u64,
    /// Its words for the last one that came too late or was refused.
    pub last_refusal: Option<String>,
}

/// A chain's newest work.
struct Slot<W> {
    work: Option<W>,
    heard: Instant,
}

struct Table {
    maker: Maker,
    parents: Vec<Slot<ParentWork>>,
    aux: Vec<Slot<AuxNews>>,
    /// Parents first.
    status: Vec<ChainStatus>,
}

/// The table, and who looks at its jobs.
pub struct Desk {
    table: Mutex<Table>,
    jobs: watch::Sender<Arc<Job>>,
}

/// Unix seconds.
pub fn now_secs() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(now).unwrap_or(u32::MAX)
}

impl Desk {
    /// Begins with what the chains gave first; `None` if that is not enough for a job. `names` are those of the parents, then of the others.
    pub fn new(
        tag: &str,
        names: &[Arc<str>],
        parents: Vec<Option<ParentWork>>,
        aux: Vec<Option<AuxNews>>,
    ) -> Option<Self> {
        let now = now_secs();
        // Jobs of before a restart have smaller numbers: none comes so often.
        let number = u64::from(now).saturating_mul(1 << 8);
        let status =
            names.iter().map(|name| ChainStatus { name: name.to_string(), ..ChainStatus::default() }).collect();
        let mut table = Table { maker: Maker::new(tag, number), parents: slots(parents), aux: slots(aux), status };
        let job = table.job()?;
        Some(Self { table: Mutex::new(table), jobs: watch::Sender::new(Arc::new(job)) })
    }

    /// Returns the jobs, as they come.
    pub fn jobs(&self) -> watch::Receiver<Arc<Job>> {
        self.jobs.subscribe()
    }

    /// Returns how each chain stands.
    pub fn status(&self) -> Vec<ChainStatus> {
        let table = self.table.lock();
        let heights = table.parents.iter().map(|slot| slot.work.as_ref().map_or(0, |work| work.template.height));
        let aux = table.aux.iter().map(|slot| slot.work.as_ref().map_or(0, |(_, work)| work.height));
        let with_height = |(status, height): (&ChainStatus, u64)| ChainStatus { height, ..status.clone() };
        table.status.iter().zip(heights.chain(aux)).map(with_height).collect()
    }

    /// Changes what is told of a chain.
    pub fn note(&self, name: &str, change: impl FnOnce(&mut ChainStatus)) {
        if let Some(status) = self.table.lock().status.iter_mut().find(|status| status.name == name) {
            change(status);
        }
    }

    /// Returns what a job was made of.
    pub fn parts(&self, number: u64) -> Option<Arc<Parts>> {
        self.table.lock().maker.parts(number)
    }

    /// Returns the newest template of a parent.
    pub fn parent(&self, index: usize) -> Option<ParentWork> {
        self.table.lock().parents.get(index).and_then(|slot| slot.work.clone())
    }

    /// Takes a parent's template.
    pub fn parent_news(&self, work: ParentWork) {
        let mut table = self.table.lock();
        let index = work.index;
        let Some(slot) = table.parents.get_mut(index) else { return };
        let is_lower = slot.work.as_ref().is_some_and(|old| work.template.height < old.template.height);
        if is_lower && slot.heard.elapsed() < OVERTAKEN {
            return;
        }
        slot.heard = Instant::now();
        let is_new = slot.work.as_ref().is_none_or(|old| old.template != work.template);
        slot.work = Some(work);
        let is_used = table.parents.iter().position(|slot| slot.work.is_some()) == Some(index);
        if is_new && is_used {
            self.publish(&mut table);
        }
    }

    /// Takes a merge-mined chain's block.
    pub fn aux_news(&self, index: usize, name: &Arc<str>, work: AuxWork) {
        let mut table = self.table.lock();
        let Some(slot) = table.aux.get_mut(index) else { return };
        slot.heard = Instant::now();
        let is_new = slot.work.as_ref().is_none_or(|(_, old)| *old != work);
        slot.work = Some((Arc::clone(name), work));
        if is_new {
            self.publish(&mut table);
        }
    }

    /// Hears that a parent does not answer; after a while it is not worked on any more.
    pub fn parent_lost(&self, index: usize) {
        let mut table = self.table.lock();
        if table.parents.get_mut(index).is_some_and(Slot::forget) {
            self.publish(&mut table);
        }
    }

    /// As [`Self::parent_lost`], of a merge-mined chain.
    pub fn aux_lost(&self, index: usize) {
        let mut table = self.table.lock();
        if table.aux.get_mut(index).is_some_and(Slot::forget) {
            self.publish(&mut table);
        }
    }

    fn publish(&self, table: &mut Table) {
        if let Some(job) = table.job() {
            self.jobs.send_replace(Arc::new(job));
        } else {
            // Miners go on with the last job.
            tracing::error!("no chain gives work");
        }
    }
}

impl Table {
    fn job(&mut self) -> Option<Job> {
        let parent = self.parents.iter().find_map(|slot| slot.work.as_ref());
        let aux: Vec<_> = self.aux.iter().filter_map(|slot| slot.work.clone()).collect();
        self.maker.make(parent, &aux, now_secs())
    }
}

impl<W> Slot<W> {
    /// Forgets work that nobody has confirmed for long; says whether it did.
    fn forget(&mut self) -> bool {
        self.heard.elapsed() >= SILENCE && self.work.take().is_some()
    }
}

fn slots<W>(works: Vec<Option<W>>) -> Vec<Slot<W>> {
    works.into_iter().map(|work| Slot { work, heard: Instant::now() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::template::ParentTemplate;
    use serde_json::json;

    fn template(height: u64) -> ParentWork {
        let template = json!({
            "version": 0x2000_0000u32, "previousblockhash": format!("{height:064x}"), "transactions": [],
            "coinbasevalue": 5, "target": format!("7fffff{}", "00".repeat(29)), "curtime": 1_900_000_000u32,
            "bits": "207fffff", "height": height, "longpollid": "",
        });
        let template = Arc::new(ParentTemplate::read(template).expect("good"));
        ParentWork { name: "litecoin".into(), index: 0, template, script: [0x51].into() }
    }

    #[test]
    fn an_answer_that_was_overtaken_moves_nothing_back() {
        let desk = Desk::new("", &["litecoin".into()], vec![Some(template(5))], Vec::new()).expect("a job");
        let jobs = desk.jobs();
        let height = || jobs.borrow().chains[0].height;
        desk.parent_news(template(4));
        assert_eq!(height(), 5);
        desk.parent_news(template(6));
        assert_eq!((height(), jobs.borrow().clean), (6, true));
        assert_eq!(desk.status()[0].height, 6);
    }

    #[test]
    fn a_parent_that_was_silent_for_a_moment_is_not_lost() {
        let desk = Desk::new("", &["litecoin".into()], vec![Some(template(5))], Vec::new()).expect("a job");
        let number = desk.jobs().borrow().number;
        desk.parent_lost(0);
        assert_eq!((desk.jobs().borrow().number, desk.parent(0).is_some()), (number, true));
    }
}
