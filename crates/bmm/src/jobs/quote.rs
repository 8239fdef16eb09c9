//! The quote before anything is paid: one task is run here, and the job's fuel, price and time follow from it.

use super::executor::PreparedJob;
use crate::failure::{Failure, Outcome};
use bmm_market::money::Prices;
use bmm_types::{
    Amount,
    market::{Audit, Checker, FailureKind, JobSpec, TaskEnd, TaskFailure, Verify},
};
use bmm_vm::StopFlag;
use serde::Serialize;
use std::{fmt, time::Duration};

/// Longest time that the quote may take; a task that runs longer gives no estimate.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a job will probably cost and take.
#[derive(Clone, Debug, Serialize)]
pub struct Quote {
    /// The job's name.
    pub name: String,
    /// Tasks of the job.
    pub tasks: u64,
    /// Providers that match.
    pub providers: u16,
    /// Price of 10^9 units of fuel.
    pub price_per_gfuel_bmm: Amount,
    /// Most that is spent.
    pub budget_bmm: Amount,
    /// Fuel of one task, if one could be run quickly.
    pub fuel_per_task: Option<u64>,
    /// What all tasks will cost about.
    pub price_bmm: Option<Amount>,
    /// How long they will take about, milliseconds.
    pub time_ms: Option<u64>,
    /// How results are verified.
    pub verify: String,
}

/// Who could run a job.
#[derive(Clone, Copy, Debug)]
pub struct Sellers {
    /// Providers.
    pub providers: u16,
    /// Tasks that they run at once.
    pub slots: u64,
    /// Price of 10^9 units of fuel.
    pub price_per_gfuel: Amount,
    /// Whether they are of this process, rather than of the network.
    pub here: bool,
}

/// Runs the task in the middle of the job; a program that fails does so here, before anything is paid.
/// Where no task can be run on this machine, nothing is estimated.
pub fn probe(spec: &JobSpec, tasks: u64, job: Option<&PreparedJob>, sellers: Sellers) -> Outcome<Quote> {
    let mut quote = Quote {
        name: spec.name.clone(),
        tasks,
        providers: sellers.providers,
        price_per_gfuel_bmm: sellers.price_per_gfuel,
        budget_bmm: spec.budget.max,
        fuel_per_task: None,
        price_bmm: None,
        time_ms: None,
        verify: how_verified(spec.verify),
    };
    let Some(job) = job else { return Ok(quote) };
    let index = tasks / 2;
    let ran = run_for(job, index, PATIENCE);
    match ran.result.end {
        TaskEnd::Failed(failure) if failure.kind == FailureKind::Stopped => return Ok(quote),
        TaskEnd::Failed(failure) => return Err(broken(index, &failure)),
        TaskEnd::Done(_) => {}
    }
    let copies = u64::from(spec.verify.copies());
    let fuel = ran.result.fuel;
    let all = fuel.saturating_mul(tasks).saturating_mul(copies);
    quote.fuel_per_task = Some(fuel);
    quote.price_bmm = Some(Prices { per_gfuel: sellers.price_per_gfuel, per_gib: Amount::ZERO }.cost(all, 0));
    let micros = u64::try_from(ran.wall.as_micros()).unwrap_or(u64::MAX);
    let time = micros.saturating_mul(tasks).saturating_mul(copies) / sellers.slots.max(1) / 1_000;
    quote.time_ms = Some(time);
    Ok(quote)
}

/// Says how results are verified.
pub fn how_verified(verify: Verify) -> String {
    let percent = |ppm: u32| {
        let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match verify {
        Verify::None => "nobody checks results".to_owned(),
        Verify::Replicate(n) => format!("each task runs on {n} providers that must agree"),
        Verify::Audit(Audit { floor_ppm }) => format!(
            "results are audited by a second run: all of a provider that nobody knows yet, at least {} % of each, for up to as much again",
            percent(floor_ppm)
        ),
        Verify::Checker(Checker { floor_ppm: 1_000_000, .. }) => "a program looks at each result".to_owned(),
        Verify::Checker(Checker { floor_ppm, .. }) => format!(
            "a program looks at results: all of a provider that nobody knows yet, at least {} % of each",
            percent(floor_ppm)
        ),
    }
}

/// Runs a task, but stops it when `patience` is over.
fn run_for(job: &PreparedJob, index: u64, patience: Duration) -> super::executor::Ran {
    let stop = StopFlag::new();
    let (done, over) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        let timer = stop.clone();
        scope.spawn(move || {
            if over.recv_timeout(patience).is_err() {
                timer.stop();
            }
        });
        let ran = job.run(index, &stop);
        let _ = done.send(());
        ran
    })
}

fn broken(index: u64, failure: &TaskFailure) -> Failure {
    let stderr = String::from_utf8_lossy(&failure.stderr);
    let stderr = stderr.trim_end();
    let said = if stderr.is_empty() {
        "it wrote nothing to stderr".to_owned()
    } else {
        format!("the end of its stderr:\n{stderr}")
    };
    let hint = match failure.reason.as_str() {
        "limit:memory" => "raise limits.memory, or let the program use less",
        "limit:time" => "raise limits.time, or split the job into smaller tasks",
        "limit:output" => "raise limits.output, or let the program write less",
        "limit:fuel" => "raise limits.fuel, or split the job into smaller tasks",
        "missing_output" => "output.collect must name the file that the program writes",
        _ => "nothing was paid; mend the program or its arguments and run the job again",
    };
    Failure::job(format!(
        "the program fails (tried with task {index}): {} ({}); {said}",
        failure.message, failure.reason
    ))
    .hint(hint)
}

impl Quote {
    /// Refuses a job that cannot end well: by its providers or its budget.
    pub fn check(&self, spec: &JobSpec, here: bool) -> Outcome {
        if here {
            self.check_providers(spec)?;
        }
        self.check_budget()
    }

    /// Refuses a price that no provider here works for, and copies that they are too few for.
    fn check_providers(&self, spec: &JobSpec) -> Outcome {
        if let Some(limit) = spec.budget.price
            && self.price_per_gfuel_bmm > limit
        {
            let asked = self.price_per_gfuel_bmm;
            return Err(Failure::user(format!(
                "no provider matches: budget.price is {limit} a Gfuel, the providers here ask {asked}"
            ))
            .hint("raise budget.price, or lower provide.price_per_gfuel in the configuration"));
        }
        let copies = spec.verify.copies();
        if u16::from(copies) > self.providers {
            let here = self.providers;
            return Err(Failure::user(format!(
                "each task is to run on {copies} different providers, but there are {here}"
            ))
            .hint(format!("start more with --providers {copies}, or lower verify.n (or --replicate)")));
        }
        Ok(())
    }

    /// Refuses a budget for less than half of what the job will probably cost.
    fn check_budget(&self) -> Outcome {
        let Some(price) = self.price_bmm else { return Ok(()) };
        if price.saturating_sub(self.budget_bmm) <= self.budget_bmm {
            return Ok(());
        }
        let enough = price.mul_div(5, 4).unwrap_or(price);
        Err(Failure::user(format!(
            "budget.max = {:?} is too small: {} tasks will cost about {price}",
            self.budget_bmm.to_string(),
            self.tasks
        ))
        .hint(format!("raise budget.max to {:?}; what is not spent comes back", round_up(enough).to_string())))
    }
}

/// Rounds up to three significant digits, for people.
fn round_up(amount: Amount) -> Amount {
    let digits = amount.units().to_string().len();
    let step = alloy_primitives::U256::from(10).saturating_pow(alloy_primitives::U256::from(digits.saturating_sub(3)));
    Amount(amount.units().div_ceil(step).saturating_mul(step))
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} tasks on {} providers at {} a Gfuel",
            self.name, self.tasks, self.providers, self.price_per_gfuel_bmm
        )?;
        match (self.price_bmm, self.time_ms) {
            (Some(price), Some(time)) => {
                let price = round_up(price);
                write!(f, "; about {price} and {}, at most {}", people_time(time), self.budget_bmm)?;
            }
            _ => write!(f, "; at most {}", self.budget_bmm)?,
        }
        write!(f, "; {}", self.verify)
    }
}

/// Writes a time as people say it.
pub fn people_time(millis: u64) -> String {
    let seconds = millis.div_ceil(1_000);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{}.{} h", seconds / 3_600, seconds % 3_600 / 360),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verification_is_told() {
        let told = |floor_ppm| how_verified(Verify::Audit(Audit { floor_ppm }));
        assert!(told(20_000).contains("at least 2 %") && told(1_005_000).contains("at least 100.5 %"));
        assert!(how_verified(Verify::None).contains("nobody"));
        assert!(how_verified(Verify::Replicate(3)).contains("3 providers"));
    }

    #[test]
    fn prices_are_rounded_up_for_people() {
        let round = |text: &str| round_up(text.parse().expect("an amount")).to_string();
        assert_eq!(round("0.12341 BMM"), "0.124 BMM");
        assert_eq!(round("5 BMM"), "5 BMM");
        assert_eq!(round("0.000000000000000001 BMM"), "0.000000000000000001 BMM");
        assert_eq!(people_time(1), "1 s");
        assert_eq!(people_time(150_000), "3 min");
        assert_eq!(people_time(9_000_000), "2.5 h");
    }
}
