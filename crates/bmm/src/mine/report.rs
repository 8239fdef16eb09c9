//! How mining goes: a line now and then, and a result at the end.

use crate::output;
use serde::Serialize;
use serde_json::json;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Time that a rate is measured over.
const WINDOW: Duration = Duration::from_mins(1);
/// Time between two measurements.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// What was done so far.
#[derive(Clone, Debug, Default, Serialize)]
struct Sum {
    seconds: u64,
    hashes: u64,
    hashes_per_second: u64,
    accepted: u64,
    rejected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_rejection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difficulty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Counts, and tells.
pub struct Report {
    json: bool,
    begun: Instant,
    sum: Sum,
    samples: VecDeque<(Instant, u64)>,
    told: Instant,
}

impl Report {
    pub fn new(json: bool) -> Self {
        let now = Instant::now();
        Self { json, begun: now, sum: Sum::default(), samples: VecDeque::from([(now, 0)]), told: now }
    }

    /// Says something once.
    pub fn note(&self, words: &str) {
        if self.json {
            output::line(&json!({ "event": "note", "text": words }));
        } else {
            output::note(false, words);
        }
    }

    /// A pool or node has work.
    pub fn connected(&mut self, at: &str) {
        self.note(&format!("mining at {at}"));
        self.sum.at = Some(at.to_owned());
    }

    /// The difficulty of shares.
    pub fn difficulty(&mut self, difficulty: f64) {
        self.sum.difficulty = Some(difficulty);
    }

    /// A share, or a block, was taken.
    pub fn accepted(&mut self) {
        self.sum.accepted += 1;
    }

    /// One was not.
    pub fn rejected(&mut self, why: &str) {
        self.sum.rejected += 1;
        self.note(&format!("rejected: {why}"));
        self.sum.last_rejection = Some(why.to_owned());
    }

    /// Measures, and says how it goes when it is time.
    pub fn tick(&mut self, hashes: u64) {
        let now = Instant::now();
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_EVERY) {
            self.samples.push_back((now, hashes));
        }
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        if now.duration_since(self.told) < LINE_EVERY {
            return;
        }
        self.told = now;
        let (since, before) = self.samples.front().copied().unwrap_or((self.begun, 0));
        self.measure(hashes, hashes.saturating_sub(before), now.duration_since(since));
        if self.json {
            output::line(&json!({ "event": "status", "status": self.sum }));
        } else {
            output::note(false, self.words());
        }
    }

    fn measure(&mut self, hashes: u64, of_these: u64, within: Duration) {
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
        self.sum.hashes = hashes;
        self.sum.hashes_per_second = of_these.saturating_mul(1_000) / millis;
        self.sum.seconds = self.begun.elapsed().as_secs();
    }

    fn words(&self) -> String {
        let Sum { hashes_per_second: rate, accepted, rejected, difficulty, .. } = &self.sum;
        let difficulty = difficulty.map_or_else(String::new, |difficulty| format!(", difficulty {difficulty}"));
        let (thousands, tenths) = (rate / 1_000, rate % 1_000 / 100);
        format!("{thousands}.{tenths} kH/s, accepted {accepted}, rejected {rejected}{difficulty}")
    }

    /// Prints the result.
    pub fn end(&mut self, hashes: u64) {
        self.measure(hashes, hashes, self.begun.elapsed());
        let text = format!("{} in {} s", self.words(), self.sum.seconds);
        if self.json {
            output::line(&json!({ "event": "end", "status": self.sum }));
        } else {
            output::print(false, &self.sum, text);
        }
    }
}
