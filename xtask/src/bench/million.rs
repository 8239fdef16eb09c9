//! A job of a million tasks through the requester's state machine alone: what it holds in memory for a task, and whether handing
//! out stays as fast at the end as it was at the beginning.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use alloy_primitives::{Address, B256};
use bmm_market::MILLISECOND;
use bmm_market::requester::{Effect, Event, Requester, RequesterConfig};
use bmm_types::Amount;
use bmm_types::market::{
    Audit, Axis, AxisKind, Budget, Collect, Content, JobSpec, Merge, Offer, Output, ResultBatch, Runtime,
    SignatureBytes, SignedOffer, SignedResults, TaskEnd, TaskLimits, TaskOutput, TaskRange, TaskResult, ToProvider,
    ToRequester, Verify,
};
use cpu_time::ThreadTime;
use serde::{Deserialize, Serialize};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

const JOB: B256 = B256::repeat_byte(0x4a);
const PROVIDERS: usize = 200;
const SLOTS: u16 = 2;
/// Fuel of a task, and the virtual time that it takes.
const FUEL: u64 = 1_000_000;
const TASK_MICROS: u64 = 1_000;
/// Most bytes of the requester's state for a task.
const MEMORY_BAR: f64 = 200.0;
/// Least rate at the end, of that at the beginning.
const RATE_BAR: f64 = 0.9;

/// Processes a case; the fastest time of each part counts.
const RUNS: usize = 5;

/// A way of verifying, with ten results a batch or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// No result is verified
    None,
    /// The same, and every result is paid alone
    Single,
    /// Drawn audits
    Audit,
    /// Each task on two operators
    Replicate,
}

impl Case {
    const ALL: [Self; 4] = [Self::None, Self::Single, Self::Audit, Self::Replicate];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Single => "single",
            Self::Audit => "audit",
            Self::Replicate => "replicate",
        }
    }

    fn verify(self) -> Verify {
        match self {
            Self::None | Self::Single => Verify::None,
            Self::Audit => Verify::Audit(Audit { floor_ppm: 20_000 }),
            Self::Replicate => Verify::Replicate(2),
        }
    }

    fn batch(self) -> usize {
        if self == Self::Single { 1 } else { 10 }
    }
}

/// The measured process.
pub fn measured(tasks: u64, case: Case) -> Outcome<Measured> {
    Run::new(tasks, case.verify(), case.batch())?.finish()
}

fn measure(tasks: u64, case: Case) -> Outcome<Measured> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("million-case").arg(tasks.to_string()).arg(case.name());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the measured process failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Measures each case in processes of their own, so that none uses memory that another has freed.
pub fn run(tasks: u64) -> Outcome {
    let mut figures =
        vec![Figure::new("tasks", number(tasks), ""), Figure::new("providers", number(PROVIDERS as u64), "")];
    for case in Case::ALL {
        let runs = (0..RUNS).map(|_| measure(tasks, case)).collect::<Outcome<Vec<Measured>>>()?;
        let fastest = |secs: fn(&Measured) -> f64| runs.iter().map(secs).fold(f64::INFINITY, f64::min);
        let measured = Measured {
            memory: runs.iter().map(|run| run.memory).max().unwrap_or_default(),
            first_secs: fastest(|run| run.first_secs),
            last_secs: fastest(|run| run.last_secs),
        };
        let name = case.name();
        let rate = |secs: f64| number(tasks / 10) / secs;
        let (first, last) = (rate(measured.first_secs), rate(measured.last_secs));
        let memory = number(measured.memory) / number(tasks);
        figures.extend([
            Figure::new(format!("{name}: memory at its most"), memory, "B/task")
                .held_against(BarIs::AtMost, MEMORY_BAR),
            Figure::new(format!("{name}: handed out in the second tenth"), first, "1/s"),
            Figure::new(format!("{name}: in the last tenth"), last, "1/s"),
            Figure::new(format!("{name}: last of second"), last / first, "x").held_against(BarIs::AtLeast, RATE_BAR),
        ]);
    }
    let notes = [
        "Time is the processor's that the state machine takes for a tenth of the tasks, the least of five runs: results, pay, new leases.",
        "Memory is the growth of the process's resident set, sampled a thousand times; outputs and the log are not kept.",
        "single: a batch for each result, which is then paid alone; the others have ten results a batch. replicate: on two operators.",
        "The second tenth is compared, since leases are still growing in the first.",
    ];
    Ok(Report::new("million", figures, None, &notes))
}

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes, at the most.
    memory: u64,
    /// Time for the second tenth of the tasks, and for the last.
    first_secs: f64,
    last_secs: f64,
}

struct Run {
    requester: Requester,
    tasks: u64,
    batch: usize,
    now: u64,
    /// Leases of each provider, to be answered at its next turn.
    leases: Vec<Vec<(u64, Vec<TaskRange>)>>,
    handed_out: u64,
    took: Duration,
    merging: bool,
}

fn provider(number: usize) -> Address {
    Address::left_padding_from(&(number + 1).to_be_bytes())
}

/// Resident memory of this process, bytes.
fn resident() -> Outcome<u64> {
    resident_of("self")
}

/// Resident memory of a process, bytes.
pub fn resident_of(process: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("the system does not tell the memory used")?;
    let kib: u64 = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(kib * 1_024)
}

fn spec(tasks: u64, verify: Verify) -> Outcome<JobSpec> {
    Ok(JobSpec {
        name: "million".into(),
        app: Content::of(b"app"),
        args: vec![],
        env: vec![],
        entry: String::new(),
        inputs: vec![],
        axes: vec![Axis { name: "i".into(), kind: AxisKind::Range { start: 0, end: i64::try_from(tasks)?, chunk: 1 } }],
        output: Output { collect: Collect::Stdout, merge: Merge::Concat, file: "out".into() },
        verify,
        limits: TaskLimits::default(),
        budget: Budget { max: Amount::from_bmm(1_000_000), deadline_seconds: 86_400, price: None },
        canonical_nans: true,
        runtime: bmm_types::market::Runtime::Wasm,
        needs: bmm_types::market::Needs::default(),
        deterministic: true,
        stake: Amount::ZERO,
        draw: B256::ZERO,
        extra: vec![],
    })
}

fn offer(number: usize) -> SignedOffer {
    let offer = Offer {
        provider: provider(number),
        price_per_gfuel: Amount::from_units(1_000_000_000_000_000),
        price_per_gib: Amount::ZERO,
        slots: SLOTS,
        memory_bytes: 4 << 30,
        time_millis: 3_600_000,
        output_bytes: 1 << 30,
        runtimes: vec![Runtime::Wasm],
        isa: "x86_64".into(),
        rating_fuel_per_second: 1_000_000_000,
        hashing: None,
        machine: bmm_types::market::Machine::default(),
        expires_at: u64::MAX,
        sequence: 1,
    };
    SignedOffer { offer, signature: SignatureBytes::ZERO }
}

impl Run {
    fn new(tasks: u64, verify: Verify, batch: usize) -> Outcome<Self> {
        let config = RequesterConfig { check_signatures: false, ..RequesterConfig::new(1, Address::ZERO) };
        let requester = Requester::new(config, spec(tasks, verify)?)?;
        let leases = vec![Vec::new(); PROVIDERS];
        let took = Duration::ZERO;
        Ok(Self { requester, tasks, batch, now: 1_000_000_000, leases, handed_out: 0, took, merging: false })
    }

    /// Feeds the state machine, and keeps the leases that it gives.
    fn feed(&mut self, event: Event) {
        let start = ThreadTime::now();
        let effects = self.requester.handle(self.now, event);
        self.took += start.elapsed();
        for effect in effects {
            match effect {
                Effect::Send { to, message: ToProvider::Lease { lease, .. } } => {
                    let number = usize::from(u16::from_be_bytes([to[18], to[19]])) - 1;
                    self.handed_out += lease.tasks();
                    self.leases[number].push((lease.id, lease.ranges));
                }
                Effect::Merge => self.merging = true,
                _ => {}
            }
        }
    }

    fn say(&mut self, number: usize, message: ToRequester) {
        self.feed(Event::Message { from: provider(number), message });
    }

    fn answer(&mut self, number: usize) {
        for (lease, ranges) in std::mem::take(&mut self.leases[number]) {
            let tasks: Vec<u64> = ranges.iter().flat_map(|range| range.first..range.end()).collect();
            for tasks in tasks.chunks(self.batch) {
                let result = |task: &u64| {
                    let end = TaskEnd::Done(TaskOutput::Inline(task.to_le_bytes().to_vec()));
                    TaskResult { index: *task, fuel: FUEL, peak_memory_bytes: 65_536, end }
                };
                let results: Vec<TaskResult> = tasks.iter().map(result).collect();
                let busy_micros = TASK_MICROS * u64::try_from(results.len()).unwrap_or(0);
                let batch = ResultBatch { job: JOB, lease, batch: 1, busy_micros, results };
                // Draws follow from signatures; nobody checks these.
                let mut signature = [0u8; 65];
                signature[..8].copy_from_slice(&tasks[0].to_le_bytes());
                self.say(number, ToRequester::Results(SignedResults { batch, signature: signature.into() }));
            }
        }
        if !self.merging {
            self.say(number, ToRequester::LeaseRequest { job: JOB, slots: SLOTS });
        }
    }

    fn finish(mut self) -> Outcome<Measured> {
        let before = resident()?;
        self.feed(Event::Opened { job: JOB, escrow: Amount::from_bmm(1_000_000), deadline: u64::MAX });
        for number in 0..PROVIDERS {
            self.say(number, ToRequester::Offer(Box::new(offer(number))));
            self.say(number, ToRequester::LeaseRequest { job: JOB, slots: SLOTS });
        }
        let (mut memory, mut sampled) = (0, 0);
        let mut marks = [Duration::ZERO; 4];
        let bounds = [self.tasks / 10, self.tasks / 5, self.tasks / 10 * 9, self.tasks];
        let mut idle_rounds = 0;
        while !self.merging {
            let done = self.requester.done();
            for number in 0..PROVIDERS {
                self.now += 250 * MILLISECOND / 200;
                self.answer(number);
                for (mark, bound) in marks.iter_mut().zip(bounds) {
                    if mark.is_zero() && self.requester.done() >= bound {
                        *mark = self.took;
                    }
                }
                if self.requester.done() >= sampled {
                    sampled += self.tasks / 1_000;
                    memory = memory.max(resident()?.saturating_sub(before));
                }
            }
            self.feed(Event::Tick);
            idle_rounds = if self.requester.done() == done { idle_rounds + 1 } else { 0 };
            if idle_rounds > 1_000 {
                return Err(format!("the job stands still at {done} tasks").into());
            }
        }
        let secs = |from: usize, to: usize| marks[to].saturating_sub(marks[from]).as_secs_f64();
        Ok(Measured { memory, first_secs: secs(0, 1), last_secs: secs(2, 3) })
    }
}
