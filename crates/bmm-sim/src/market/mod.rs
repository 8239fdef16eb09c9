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

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

pub use manners::Kind;
pub use options::{Options, Share};
pub use outcome::{KindSums, Outcome};
pub use report::Report;

/// Runs every seed, each on one thread, and adds up what they came to in the order of the seeds.
pub fn run(options: &Options) -> Report {
    let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let bar = ProgressBar::new(options.tasks() * u64::from(options.requesters) * u64::from(options.seeds));
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {human_pos}/{human_len} tasks, {eta} left");
    bar.set_style(style.expect("the template is sound"));
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
                    let outcome = world::World::new(options, seed).run(&bar);
                    let mut all = outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    all[usize::try_from(number).unwrap_or(0)] = Some(outcome);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut sum = Outcome::default();
    let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.iter().flatten().for_each(|outcome| sum.add(outcome));
    Report::new(options.clone(), sum)
}
