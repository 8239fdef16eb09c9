//! What is going to happen, in order of time; what happens at the same time keeps the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bmm_market::Micros;
use bmm_market::provider::Chunk;
use bmm_market::requester::Verdict;
use bmm_types::market::TaskResult;

use alloy_primitives::B256;

/// One thing that happens.
#[derive(Debug)]
pub enum Happening {
    /// A message arrives.
    ToHost { host: usize, boss: usize, connection: u32, bytes: Vec<u8> },
    /// A message arrives.
    ToBoss { host: usize, boss: usize, connection: u32, bytes: Vec<u8> },
    /// A chunk is done; `run` tells whether it was stopped meanwhile.
    ChunkDone { host: usize, life: u32, run: u32, chunk: Chunk, results: Vec<TaskResult>, busy: Micros },
    /// A job can be run.
    Prepared { host: usize, life: u32, job: B256 },
    /// A provider looks at its clock.
    HostTick { host: usize, life: u32 },
    /// A requester's own machine has checked a task.
    Checked { boss: usize, life: u32, task: u64, verdict: Verdict },
    /// A requester looks at its clock.
    BossTick { boss: usize },
    /// A provider connects.
    Connect { host: usize, boss: usize },
    /// A requester notices that a provider is gone.
    Lost { host: usize, boss: usize, connection: u32 },
    /// A provider's process dies.
    Crash { host: usize },
    /// It starts again.
    Restart { host: usize },
    /// A provider leaves for ever, saying so or not, and another one comes.
    Leave { host: usize, says_so: bool },
    /// An owner comes back under a new name.
    Rebirth { host: usize },
    /// A requester dies before its next effects are all carried out.
    BossCrash { boss: usize },
    /// A requester vanishes for ever.
    BossVanish { boss: usize },
    /// The deadline of a job.
    Deadline { boss: usize },
}

struct Entry {
    at: Micros,
    number: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The clock and what it will strike.
pub struct Clock {
    pub now: Micros,
    heap: BinaryHeap<Entry>,
    planned: u64,
}

impl Clock {
    /// Makes a clock with nothing planned.
    pub fn starting_at(now: Micros) -> Self {
        Self { now, heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans something for a moment, or for now if that is past.
    pub fn at(&mut self, at: Micros, what: Happening) {
        self.planned += 1;
        self.heap.push(Entry { at: at.max(self.now), number: self.planned, what });
    }

    /// Plans something for after some time.
    pub fn after(&mut self, micros: Micros, what: Happening) {
        self.at(self.now.saturating_add(micros), what);
    }

    /// Goes on to the next thing that happens.
    pub fn next(&mut self) -> Option<Happening> {
        let Entry { at, what, .. } = self.heap.pop()?;
        self.now = at;
        Some(what)
    }
}
