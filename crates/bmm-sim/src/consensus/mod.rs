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

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

pub use options::Options;
pub use outcome::Outcome;
pub use report::Report;

/// Runs every seed, each on one thread, and adds up what they came to in the order of the seeds.
pub fn run(options: &Options) -> Report {
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let bar = ProgressBar::new(options.seeds.into());
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {human_pos}/{human_len} seeds, {eta} left");
    bar.set_style(style.expect("the template is sound"));
    let town = setup::Town::new(usize::from(options.footstones));
    let next = AtomicU32::new(0);
    let outcomes = Mutex::new(vec![None; options.seeds.try_into().unwrap_or(0)]);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds {
                        return;
                    }
                    let seed = options.first_seed.wrapping_add(number.into());
                    let outcome = world::World::new(options, &town, seed).run();
                    bar.inc(1);
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    all[usize::try_from(number).unwrap_or(0)] = Some(outcome);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut sum = Outcome::default();
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.iter().flatten().for_each(|outcome| sum.add(outcome));
    Report::new(options.clone(), sum)
}
