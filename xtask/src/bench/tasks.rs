//! Tasks that do nothing, as fast as they go: requester, providers, encoded messages, signatures, vouchers, log and sandbox, by the
//! very code that `bmm run` uses. Only the chain is left out, whose share is one transaction before and one after a job.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm::{
    config::ProvideConfig,
    failure::Failure,
    jobs::{
        Blobs, Checks, Contents, DRIVER_INBOX, Desk, Driver, DriverParts, Inbox, Journal, Outputs, ProviderHandle,
        ProviderHost, Results, ToDriver,
    },
    paths::write_atomically,
};
use bmm_market::{
    job::{AxisSource, Job, JobFile},
    provider::ProviderConfig,
    requester::{Ending, Event, Requester, RequesterConfig, Settlement},
};
use bmm_types::system::Jobs::{accuseCall, contradictCall};
use bmm_types::{
    Amount, ContentHash,
    market::{Offer, Runtime, SignatureBytes, SignedOffer, SignedVoucher, offer_hash},
};
use bmm_vm::{Vm, VmConfig};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc::Sender;

const CHAIN_ID: u64 = 1;
const NO_OP: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// What the job may cost; the escrow that the providers are told of.
const BUDGET_BMM: u64 = 1_000;
/// Processes that the peer starts.
const PEER_PROCESSES: u32 = 4_000;

/// Runs a job of `tasks` tasks on `providers` providers of one slot each.
pub fn run(tasks: u64, providers: u16) -> Outcome {
    let peer = processes_per_second(providers)?;
    let dir = tempfile::tempdir()?;
    let measured = Bench::new(dir.path(), tasks, providers)?.run()?;
    let seconds = measured.running.as_secs_f64();
    let count = number(tasks);
    let mut figures = vec![
        Figure::new("tasks", count, ""),
        Figure::new("providers of one slot", f64::from(providers), ""),
        Figure::new("first lease to last verified result", seconds, "s"),
        Figure::new("tasks per second", count / seconds, "1/s").held_against(BarIs::AtLeast, 20_000.0),
        Figure::new("times the peer", count / seconds / peer, "x"),
        Figure::new(
            "share of the slots' time that programs ran",
            measured.busy.as_secs_f64() / seconds / f64::from(providers),
            "",
        ),
        Figure::new("the whole job, providers' start and compiling included", measured.whole.as_secs_f64(), "s"),
    ];
    if let Some(bytes) = measured.memory_growth {
        figures.push(Figure::new("growth of the process's memory", number(bytes) / count, "bytes/task"));
    }
    let reference = vec![Figure::new("xargs -n 1 -P on /bin/true: processes per second", peer, "1/s")];
    let notes = [
        "Included: lease, sandbox, encoded and signed messages, checked signatures, vouchers, log and outputs on disk.",
        "Left out: the chain (one transaction before the job, one after it); merging, as the outputs are empty.",
        "The peer starts an unsandboxed process a task and returns, checks and pays nothing.",
    ];
    Ok(Report::new("tasks", figures, Some(reference), &notes))
}

/// Measures the peer: how many processes that do nothing `xargs` starts and collects in a second.
fn processes_per_second(at_once: u16) -> Outcome<f64> {
    let lines = "task\n".repeat(usize::try_from(PEER_PROCESSES)?);
    let started = Instant::now();
    let mut xargs = Command::new("xargs")
        .args(["-n", "1", "-P", &at_once.to_string(), "true"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("xargs cannot be started: {error}; install findutils"))?;
    xargs.stdin.take().ok_or("xargs has no standard input")?.write_all(lines.as_bytes())?;
    let status = xargs.wait()?;
    if !status.success() {
        return Err(format!("xargs failed: {status}").into());
    }
    Ok(f64::from(PEER_PROCESSES) / started.elapsed().as_secs_f64())
}

/// What a run showed.
struct Measured {
    running: Duration,
    busy: Duration,
    whole: Duration,
    memory_growth: Option<u64>,
}

/// A job that is ready to run.
struct Bench {
    requester: Requester,
    key: PrivateKeySigner,
    journal: Journal,
    inbox: (Sender<ToDriver>, Inbox<ToDriver>),
    providers: Vec<ProviderHandle>,
    began: Instant,
}

impl Bench {
    fn new(dir: &Path, tasks: u64, providers: u16) -> Outcome<Self> {
        let began = Instant::now();
        let job = no_op_job(dir, tasks)?;
        let key = PrivateKeySigner::random();
        let requester = Requester::new(RequesterConfig::new(CHAIN_ID, key.address()), job.spec)?;
        let (mut journal, _) = Journal::open(&dir.join("log"), &dir.join("outputs")).map_err(words)?;
        journal.record(&requester.start_log()).map_err(words)?;
        let inbox = Inbox::new(DRIVER_INBOX).map_err(words)?;
        let vm = Arc::new(Vm::new(VmConfig { max_instances: u32::from(providers), ..VmConfig::default() })?);
        let contents = job.contents;
        let contents: Contents = Arc::new(move |hash: ContentHash| contents.get(&hash).cloned());
        let start = |number| -> Outcome<ProviderHandle> {
            let host = host(dir, number, vm.clone(), contents.clone())?;
            ProviderHandle::start_for(host, key.address(), inbox.0.clone()).map_err(words)
        };
        let providers = (0..providers).map(start).collect::<Outcome<_>>()?;
        Ok(Self { requester, key, journal, inbox, providers, began })
    }

    fn run(self) -> Outcome<Measured> {
        let tasks = self.requester.tasks();
        let before = resident_bytes();
        let parts = DriverParts {
            requester: self.requester,
            key: &self.key,
            chain_id: CHAIN_ID,
            journal: self.journal,
            inbox: self.inbox,
            providers: self.providers,
            checks: Checks::none(),
            desk: NoChain,
        };
        let mut driver = Driver::new(parts);
        let deadline = now_secs() + 3_600;
        let opened = Event::Opened { job: B256::random(), escrow: bmm(BUDGET_BMM), deadline };
        let ending = driver.run([opened]).map_err(words)?;
        let memory_growth = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
        let whole = self.began.elapsed();
        let verified = (0..tasks).filter(|task| driver.requester().result(*task).is_some()).count();
        if ending != Some(Ending::Complete) || u64::try_from(verified)? != tasks {
            return Err(format!("{verified} of {tasks} tasks were verified; the job ended with {ending:?}").into());
        }
        let pace = driver.pace();
        Ok(Measured { running: pace.running(), busy: pace.busy(), whole, memory_growth })
    }
}

/// Builds a job of `tasks` tasks without arguments, input or output.
fn no_op_job(dir: &Path, tasks: u64) -> Outcome<Job> {
    std::fs::write(dir.join("no-op.wasm"), wat::parse_str(NO_OP)?)?;
    let mut file = JobFile::new("./no-op.wasm");
    file.split.push(("n".into(), AxisSource::Range { start: 0, end: i64::try_from(tasks)?, chunk: 1 }));
    file.budget.max = bmm(BUDGET_BMM);
    Ok(file.build(dir)?)
}

/// Describes a provider as `bmm run` starts it, but for the chain.
fn host(dir: &Path, number: u16, vm: Arc<Vm>, contents: Contents) -> Outcome<ProviderHost> {
    let key = PrivateKeySigner::random();
    let limits = vm.config();
    let offer = Offer {
        provider: key.address(),
        price_per_gfuel: ProvideConfig::default().price_per_gfuel,
        price_per_gib: Amount::ZERO,
        slots: 1,
        memory_bytes: limits.max_memory_bytes,
        time_millis: 3_600_000,
        output_bytes: limits.max_output_bytes,
        runtimes: vec![Runtime::Wasm],
        isa: std::env::consts::ARCH.to_owned(),
        rating_fuel_per_second: bmm_vm::hardware::rate(&vm)?.fuel_per_s,
        hashing: None,
        machine: bmm_types::market::Machine::default(),
        expires_at: now_secs() + 3_600,
        sequence: 1,
    };
    let signature = SignatureBytes::from(key.sign_hash_sync(&offer_hash(CHAIN_ID, &offer))?.as_bytes());
    let voucher_file = dir.join(format!("voucher-{number}.json"));
    Ok(ProviderHost {
        key,
        config: ProviderConfig::new(CHAIN_ID, SignedOffer { offer, signature }),
        vm,
        contents,
        results: Results::Folder(Blobs::new(&dir.join(format!("provider-{number}"))).map_err(words)?),
        prepare: Arc::new(|_, _, _| Ok(Vec::new())),
        keep_voucher: Arc::new(move |voucher: &SignedVoucher| {
            let text = serde_json::to_vec(voucher).expect("a voucher is plain values");
            write_atomically(&voucher_file, &text)
        }),
    })
}

/// The driver's caller where there is no chain and nothing to merge.
struct NoChain;

impl Desk for NoChain {
    fn merge(&mut self, _: &Requester, _: &mut Outputs) -> Result<Option<Result<(), String>>, Failure> {
        Ok(Some(Ok(())))
    }

    fn stake_of(&mut self, _: Address) -> Amount {
        Amount::ZERO
    }

    fn accuse(&mut self, _: accuseCall) {}

    fn contradict(&mut self, _: contradictCall) {}

    fn settle(&mut self, settlement: &Settlement) -> Result<B256, Failure> {
        Ok(settlement.root)
    }

    fn progress(&mut self, _: &Requester, _: bool) {}

    fn cancelled(&mut self) -> Option<String> {
        None
    }

    fn interrupted(&mut self) -> bool {
        false
    }
}

fn words(failure: Failure) -> Box<dyn std::error::Error> {
    failure.message.into()
}

fn bmm(count: u64) -> Amount {
    Amount(Amount::ONE_BMM.0 * alloy_primitives::U256::from(count))
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Returns the memory of this process that is in use, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}
