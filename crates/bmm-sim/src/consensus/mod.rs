//! A network of footstones over real chains, under virtual time: partitions, delays, crashes, clocks that differ, and footstones that cheat.
//!
//! Every node is a [`bmm_chain::Chain`] with the real ledger and contracts. What is simulated is the clock, the network between nodes, and
//! who finds the next block; there is no proof of work.

mod cheats;
mod judge;
mod node;
mod options;
mod outcome;
mod report;
mod setup;
mod world;

use crate::seeds::Seeds;

pub use options::Options;
pub use outcome::Outcome;
pub use report::Report;

/// Runs every seed, and adds up what they came to.
pub fn run(options: &Options) -> Report {
    let town = setup::Town::new(usize::from(options.footstones));
    let seeds = Seeds { first: options.first_seed, count: options.seeds, threads: options.threads };
    let outcomes = seeds.run((options.seeds.into(), "seeds"), |seed, bar| {
        let outcome = world::World::new(options, &town, seed).run();
        bar.inc(1);
        outcome
    });
    let mut sum = Outcome::default();
    for outcome in &outcomes {
        sum.add(outcome);
    }
    Report::new(options.clone(), sum)
}
