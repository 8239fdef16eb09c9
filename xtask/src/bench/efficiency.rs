//! How much of a machine a real job's programs get: the render example through `bmm run` with its embedded chain and miner, against
//! the same tasks run directly by as many threads.

use super::{
    Outcome, Report, build,
    report::{BarIs, Figure},
    town::Town,
};
use bmm::jobs::{Contents, PreparedJob, Receipt};
use bmm_market::job::{Job, JobFile};
use bmm_vm::{StopFlag, Vm, VmConfig};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Share of the cores' time that programs must get.
const BAR: f64 = 0.97;
/// Paths a pixel: enough for twenty seconds on two cores, where the example takes more.
const SAMPLES: u32 = 8;
/// Runs of each side.
const ROUNDS: u32 = 2;

/// Renders directly and through `bmm run` in turns; the faster run of each counts, as others only ever take time away.
pub fn run(providers: u16, network: bool) -> Outcome {
    let binary = build()?;
    let dir = tempfile::tempdir()?;
    let town = network.then(|| Town::start(&binary, dir.path(), providers)).transpose()?;
    let job_file = job_of_fewer_samples(dir.path())?;
    let direct = Direct::prepare(&job_file)?;
    let (mut peers, mut markets) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        peers.push(direct.run(providers)?);
        let receipt = match &town {
            Some(town) => town.run(&job_file, &round.to_string())?,
            None => market(&binary, &job_file, &dir.path().join(round.to_string()), providers)?,
        };
        markets.push(Took::of(&receipt));
    }
    let peer = peers.into_iter().min_by_key(|took| took.running).ok_or("nothing was measured")?;
    let market = markets.into_iter().min_by_key(|took| took.running).ok_or("nothing was measured")?;

    let share = |took: &Took| took.busy.as_secs_f64() / (took.running.as_secs_f64() * f64::from(providers));
    let speed = peer.running.as_secs_f64() / market.running.as_secs_f64();
    let figures = vec![
        Figure::new("providers of one core", f64::from(providers), ""),
        Figure::new("first lease to last result", market.running.as_secs_f64(), "s"),
        Figure::new("time that programs ran, all providers added", market.busy.as_secs_f64(), "s"),
        Figure::new("share of the cores' time that programs ran", share(&market), "").held_against(BarIs::AtLeast, BAR),
        Figure::new("speed against the peer", speed, "x"),
    ];
    let reference = vec![
        Figure::new("first task to last result", peer.running.as_secs_f64(), "s"),
        Figure::new("time that programs ran, all threads added", peer.busy.as_secs_f64(), "s"),
        Figure::new("share of the cores' time that programs ran", share(&peer), ""),
    ];
    let notes = [
        "examples/render/job.toml with 8 paths a pixel; the faster of two runs of each side in turns; merging is left out.",
        if network {
            "Through the whole path: a node that mines, escrow, provider processes, encrypted and signed messages, vouchers, log."
        } else {
            "Through the whole path: embedded node, miner, escrow, encoded and signed messages, vouchers, log."
        },
        "The peer runs the same tasks in the same VM by one thread a core and a counter.",
    ];
    Ok(Report::new(if network { "network-efficiency" } else { "efficiency" }, figures, Some(reference), &notes))
}

/// Writes the example's job file with fewer samples beside copies of its files, and returns its path.
fn job_of_fewer_samples(dir: &Path) -> Outcome<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/render");
    std::fs::create_dir(dir.join("scenes"))?;
    for file in ["pathtrace.wasm", "merge.wasm", "scenes/still-life.txt"] {
        std::fs::copy(example.join(file), dir.join(file))?;
    }
    let mut job: toml::Table = std::fs::read_to_string(example.join("job.toml"))?.parse()?;
    let args = job.get_mut("args").and_then(toml::Value::as_array_mut).ok_or("the example has no args")?;
    let flag = args.iter().position(|arg| arg.as_str() == Some("--samples")).ok_or("the example has no --samples")?;
    *args.get_mut(flag + 1).ok_or("--samples has no value")? = SAMPLES.to_string().into();
    let path = dir.join("job.toml");
    std::fs::write(&path, job.to_string())?;
    Ok(path)
}

/// Runs the job as a user does, in an empty data folder.
fn market(binary: &Path, job: &Path, dir: &Path, providers: u16) -> Outcome<Receipt> {
    let mut command = Command::new(binary);
    command.args(["run", "--json", "--providers", &providers.to_string()]).arg(job);
    command.arg("--data").arg(dir.join("data")).arg("--out").arg(dir.join("out"));
    let output = command.env_remove("BMM_RPC").env_remove("BMM_CONFIG").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("bmm run failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The peer: the job's tasks without a market.
struct Direct {
    job: PreparedJob,
}

/// What a run took: from its first task to its last result, and the time that programs ran, all threads added.
struct Took {
    running: Duration,
    busy: Duration,
}

impl Took {
    fn of(receipt: &Receipt) -> Self {
        Self { running: Duration::from_millis(receipt.running_ms), busy: Duration::from_millis(receipt.busy_ms) }
    }
}

impl Direct {
    fn prepare(path: &Path) -> Outcome<Self> {
        let base = path.parent().ok_or("the job file has no folder")?;
        let Job { spec, contents } = JobFile::parse(&std::fs::read_to_string(path)?)?.build(base)?;
        let contents: Contents = Arc::new(move |hash| contents.get(&hash).cloned());
        let vm = Vm::new(VmConfig::default())?;
        Ok(Self { job: PreparedJob::new(&vm, &spec, contents)? })
    }

    fn run(&self, threads: u16) -> Outcome<Took> {
        let next = AtomicU64::new(0);
        let started = Instant::now();
        let worker = || -> Result<Duration, String> {
            let mut busy = Duration::ZERO;
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= self.job.tasks().count() {
                    return Ok(busy);
                }
                let ran = self.job.run(task, &StopFlag::new());
                if let bmm_types::market::TaskEnd::Failed(failure) = ran.result.end {
                    return Err(format!("task {task} failed: {}", failure.message));
                }
                busy += ran.wall;
            }
        };
        let busy = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker does not panic"))
                .sum::<Result<Duration, String>>()
        })?;
        Ok(Took { running: started.elapsed(), busy })
    }
}
