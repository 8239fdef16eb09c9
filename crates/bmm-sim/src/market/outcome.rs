//! What a run comes to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::manners::Kind;

/// What the providers of one kind did and got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindSums {
    /// Providers, newcomers included.
    pub providers: u64,
    /// Those that the requester threw out.
    pub caught: u64,
    /// Results that they had given by then, all together.
    pub results_until_caught: u64,
    /// Most results that one of them had given by then.
    pub most_until_caught: u64,
    /// Results given.
    pub results: u64,
    /// Of these the wrong ones.
    pub wrong: u64,
    /// Stakes that they lost.
    pub stakes_lost: u64,
    /// Paid, in units, fee included.
    pub earned: u128,
    /// Worth of the results given, at the offered price, in units.
    pub delivered: u128,
}

impl KindSums {
    fn add(&mut self, other: &Self) {
        self.providers += other.providers;
        self.caught += other.caught;
        self.results_until_caught += other.results_until_caught;
        self.most_until_caught = self.most_until_caught.max(other.most_until_caught);
        self.results += other.results;
        self.wrong += other.wrong;
        self.stakes_lost += other.stakes_lost;
        self.earned += other.earned;
        self.delivered += other.delivered;
    }
}

/// What a run, or several together, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Tasks of all jobs.
    pub tasks: u64,
    /// Tasks with an accepted result.
    pub done: u64,
    /// Accepted results that are wrong.
    pub wrong_accepted: u64,
    /// Runs of tasks that somebody did or claims to have done.
    pub runs: u64,
    /// Results that the requesters' own machines decided about.
    pub own_checks: u64,
    /// Results that were paid for.
    pub paid_results: u64,
    /// Time until the last job was over, added over the runs, microseconds.
    pub makespan_micros: u64,
    /// Time in which the honest providers of the beginning could have done every task once, without any pause.
    pub ideal_micros: u64,
    /// Messages and their bytes to requesters and to providers.
    pub messages: u64,
    /// See `messages`.
    pub bytes_to_requesters: u64,
    /// See `messages`.
    pub bytes_to_providers: u64,
    /// Connections that broke.
    pub breaks: u64,
    /// Transactions of all escrows.
    pub transactions: u64,
    /// Worth of what honest providers delivered to requesters that vanished, and what the escrows paid of it.
    pub abandoned_worth: u128,
    /// See `abandoned_worth`.
    pub abandoned_paid: u128,
    /// By the kind of provider.
    pub kinds: BTreeMap<Kind, KindSums>,
    /// Jobs that were not completed: why, and how many.
    pub failures: BTreeMap<String, u64>,
    /// Seeds that accepted a wrong result, caught an honest provider or failed a job; the first few.
    pub seeds_to_look_at: Vec<u64>,
}

/// Most seeds that are named.
const MAX_SEEDS: usize = 10;

impl Outcome {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.done += other.done;
        self.wrong_accepted += other.wrong_accepted;
        self.runs += other.runs;
        self.own_checks += other.own_checks;
        self.paid_results += other.paid_results;
        self.makespan_micros += other.makespan_micros;
        self.ideal_micros += other.ideal_micros;
        self.messages += other.messages;
        self.bytes_to_requesters += other.bytes_to_requesters;
        self.bytes_to_providers += other.bytes_to_providers;
        self.breaks += other.breaks;
        self.transactions += other.transactions;
        self.abandoned_worth += other.abandoned_worth;
        self.abandoned_paid += other.abandoned_paid;
        for (kind, sums) in &other.kinds {
            self.kinds.entry(*kind).or_default().add(sums);
        }
        for (why, count) in &other.failures {
            *self.failures.entry(why.clone()).or_default() += count;
        }
        let room = MAX_SEEDS.saturating_sub(self.seeds_to_look_at.len());
        self.seeds_to_look_at.extend(other.seeds_to_look_at.iter().take(room));
    }

    /// Notes the run's seed if something in it should not be.
    pub fn judge(&mut self, seed: u64) {
        let honest_caught = self.kinds.get(&Kind::Honest).is_some_and(|sums| sums.caught > 0);
        if self.wrong_accepted > 0 || honest_caught || !self.failures.is_empty() {
            self.seeds_to_look_at.push(seed);
        }
    }
}
