//! A market: requesters with their jobs, providers of which some cheat, and a network between them.

mod acts;
mod boss;
mod clock;
mod escrow;
mod host;
mod manners;
mod options;
mod outcome;
mod plan;
mod report;
mod world;

use crate::seeds::Seeds;

pub use manners::Kind;
pub use options::{Options, Share};
pub use outcome::{KindSums, Outcome};
pub use report::Report;

/// Runs every seed, and adds up what they came to.
pub fn run(options: &Options) -> Report {
    let seeds = Seeds { first: options.first_seed, count: options.seeds, threads: options.threads };
    let tasks = options.tasks() * u64::from(options.requesters) * u64::from(options.seeds);
    let outcomes = seeds.run((tasks, "tasks"), |seed, bar| world::World::new(options, seed).run(bar));
    let mut sum = Outcome::default();
    for outcome in &outcomes {
        sum.add(outcome);
    }
    Report::new(options.clone(), sum)
}
