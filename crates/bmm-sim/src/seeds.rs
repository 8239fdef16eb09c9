//! Many runs, each of a seed of its own, on all cores.

use indicatif::{ProgressBar, ProgressStyle};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

/// Seeds, one after the other, and the threads that share them.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// As many as there are cores if not given.
    pub threads: Option<usize>,
}

impl Seeds {
    /// Runs `run` with every seed, each on one thread, and returns what they came to in the order of the seeds. The bar, of `length` steps called `steps`,
    /// is `run`'s to move.
    pub fn run<T: Send>(self, (length, steps): (u64, &str), run: impl Fn(u64, &ProgressBar) -> T + Sync) -> Vec<T> {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let bar = ProgressBar::new(length);
        let template = format!("{{elapsed_precise}} {{wide_bar}} {{human_pos}}/{{human_len}} {steps}, {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is sound"));
        let next = AtomicU32::new(0);
        let found = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            return;
                        }
                        let one = run(self.first.wrapping_add(number.into()), &bar);
                        found.lock().unwrap_or_else(PoisonError::into_inner).push((number, one));
                    }
                });
            }
        });
        bar.finish_and_clear();
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, one)| one).collect()
    }
}
