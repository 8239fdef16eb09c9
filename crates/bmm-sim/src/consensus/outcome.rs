//! What the runs came to.

use serde::Serialize;

/// Checkpoints until finality came back, as far as they are counted one by one.
const MOST_WAIT: usize = 32;

/// Counts of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Runs.
    pub seeds: u64,
    /// Runs in which a third of the weight or more cheated.
    pub seeds_of_a_third: u64,
    /// Blocks found.
    pub blocks: u64,
    /// Bets signed, those of cheats too.
    pub bets: u64,
    /// Partitions, and crashes of nodes.
    pub partitions: u64,
    /// Crashes.
    pub crashes: u64,
    /// Most blocks that a node took back at once.
    pub deepest_reorg: u64,
    /// Checkpoints that became final, by the node that got farthest.
    pub final_checkpoints: u64,
    /// Runs with two final checkpoints that conflict, though less than a third of the weight contradicted itself.
    pub violations: u64,
    /// Seeds of these.
    pub violating_seeds: Vec<u64>,
    /// Runs with two final checkpoints that conflict, where a third or more contradicted itself and the bets show it.
    pub conflicts_with_evidence: u64,
    /// Of the footstones that contradicted themselves in such runs, how many lost their bond when the bets were shown to the contract.
    pub slashed: u64,
    /// And how many did not.
    pub not_slashed: u64,
    /// Runs in which nothing became final in time after the trouble, though two thirds of the sets are honest.
    pub stalls: u64,
    /// Seeds of these.
    pub stalled_seeds: Vec<u64>,
    /// Runs by the number of checkpoints after the trouble until every honest node had a new final one.
    pub waits: Vec<u64>,
}

/// Seeds that are named in a report.
const NAMED: usize = 20;

impl Outcome {
    /// Notes how many checkpoints finality took to come back.
    pub fn waited(&mut self, checkpoints: u64) {
        let at = usize::try_from(checkpoints).unwrap_or(MOST_WAIT).min(MOST_WAIT);
        if self.waits.len() <= at {
            self.waits.resize(at + 1, 0);
        }
        self.waits[at] += 1;
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.seeds_of_a_third += other.seeds_of_a_third;
        self.blocks += other.blocks;
        self.bets += other.bets;
        self.partitions += other.partitions;
        self.crashes += other.crashes;
        self.deepest_reorg = self.deepest_reorg.max(other.deepest_reorg);
        self.final_checkpoints += other.final_checkpoints;
        self.violations += other.violations;
        self.conflicts_with_evidence += other.conflicts_with_evidence;
        self.slashed += other.slashed;
        self.not_slashed += other.not_slashed;
        self.stalls += other.stalls;
        for (all, more) in
            [(&mut self.violating_seeds, &other.violating_seeds), (&mut self.stalled_seeds, &other.stalled_seeds)]
        {
            all.extend(more.iter().take(NAMED.saturating_sub(all.len())));
        }
        if self.waits.len() < other.waits.len() {
            self.waits.resize(other.waits.len(), 0);
        }
        self.waits.iter_mut().zip(&other.waits).for_each(|(sum, more)| *sum += more);
    }
}
