//! A job from its description to its receipt, and from wherever it was interrupted.

use super::{
    checks::{AT_ONCE, CheckPlan, Checks, trust},
    disputes,
    drive::{Driver, DriverParts, Journal},
    escrow::{Escrow, Mined, REFUND_PATIENCE},
    executor::Contents,
    folder::{JobFolder, JobRecord, JobStatus},
    hosts::{Hosts, allow_containers_for, open_vm},
    link::{DRIVER_INBOX, Inbox, ToDriver},
    network::Network,
    progress::ProgressView,
    reach::speaker,
    receipt::{FoundWrong, ProviderPay, Receipt, Verified},
};
use crate::{
    cli::{Context, interrupts},
    failure::{Failure, Outcome},
    marketplace::{Dialer, Membership, Place, Wanted},
    output,
    wallet::{DEV_WALLET, Passwords, WalletStore},
};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::requester::{Ending, Event, Requester, RequesterConfig, RequesterError, Settlement, Verification};
use bmm_net::content::ContentStore;
use bmm_types::{Amount, ContentHash, market::JobSpec, system::Jobs};
use bmm_vm::Vm;
use std::{
    path::Path,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};
use tokio::sync::mpsc::Sender;

mod desk;

use desk::JobDesk;

/// Most providers of the network that one job talks to at once.
const MAX_REMOTE: usize = 256;
/// How often a long merge looks whether the user wants it to stop.
const MERGE_POLL: Duration = Duration::from_millis(50);

/// Goes on with an interrupted job, or ends it now if `cancel` says why.
pub fn resume(context: &Context, folder: &JobFolder, password_file: Option<&Path>, cancel: Option<String>) -> Outcome {
    let record = folder.record()?;
    let json = context.global.json;
    if let Some(receipt) = folder.receipt()?.filter(|receipt| receipt.refunded_bmm.is_some()) {
        output::note(json, "the job is over already");
        if !folder.spec()?.stake.is_zero() && !receipt.verified.wrong.is_empty() {
            let network = Network::join(context)?;
            let key = unlock(context, Some(&record.requester.to_string()), password_file)?;
            let wrong = receipt.verified.wrong.iter().map(|found| found.address);
            let escrow = Escrow::new(network.rpc.clone(), key, record.id);
            disputes::end(json, &record.short_id(), &escrow, wrong)?;
        }
        output::print(json, &receipt, receipt.to_string().trim_end());
        return Ok(());
    }
    let interrupts = interrupts()?;
    let network = Network::join(context)?;
    let found = network.rpc.chain_id()?;
    if found != record.chain_id {
        return Err(Failure::user(format!("the job lives on chain {}, the node follows {found}", record.chain_id))
            .hint("choose the node with --rpc URL"));
    }
    let key = unlock(context, Some(&record.requester.to_string()), password_file)?;
    let vm = open_vm(&context.data, record.providers)?;
    allow_containers_for(&folder.spec()?, context, &vm, record.network.is_none())?;
    let from = folder.clone();
    let contents: Contents = Arc::new(move |hash: ContentHash| from.content(hash).ok().map(Into::into));
    let join = |choice| super::reach::join(&context.config.network, choice, &network.rpc);
    let membership = record.network.as_ref().map(join).transpose()?;
    Work { context, network: &network, key, folder: folder.clone(), vm, contents, interrupts, membership }
        .run(record, cancel)
}

/// Opens the wallet that pays.
pub(crate) fn unlock(
    context: &Context,
    wallet: Option<&str>,
    password_file: Option<&Path>,
) -> Outcome<PrivateKeySigner> {
    let dev = context.data.dev_key();
    let store = WalletStore::new(context.data.wallets()).with_dev_key(dev.clone());
    let passwords = Passwords::choose(password_file);
    match wallet {
        Some(wallet) => store.unlock(wallet, &passwords),
        None if context.config.chain == "dev" && context.config.rpc.url.is_none() && dev.exists() => {
            store.unlock(DEV_WALLET, &passwords)
        }
        None => store.unlock_wallet(&store.default_wallet()?, &passwords),
    }
}

/// Everything that a job at work needs.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) network: &'a Network,
    pub(super) key: PrivateKeySigner,
    pub(super) folder: JobFolder,
    pub(super) vm: Arc<Vm>,
    pub(super) contents: Contents,
    pub(super) interrupts: Receiver<()>,
    /// The network, if the job is for providers there.
    pub(super) membership: Option<Membership>,
}

impl Work<'_> {
    /// Works on the job; whatever goes wrong, the user learns how to go on.
    pub(super) fn run(self, record: JobRecord, cancel: Option<String>) -> Outcome {
        let _lock = self.folder.lock()?;
        let id = record.short_id();
        self.work(record, cancel).map_err(|failure| match self.folder.receipt() {
            Ok(Some(_)) => failure,
            _ => failure.hint(format!("nothing is lost; go on with the job: bmm job resume {id}")),
        })
    }

    fn work(&self, mut record: JobRecord, cancel: Option<String>) -> Outcome {
        let json = self.context.global.json;
        let spec = self.folder.spec()?;
        let escrow = Escrow::new(self.network.rpc.clone(), self.key.clone(), record.id);
        output::note(json, format!("job {:x}: {} tasks, escrow {}", record.id, record.tasks, record.budget));
        self.open(&escrow, &spec, &mut record)?;
        let cancel = cancel.or_else(|| self.folder.asked_to_cancel());
        let started = Instant::now();
        let end = self.drive(&spec, &escrow, &mut record, cancel);
        record.worked_ms = record.worked_ms.saturating_add(millis(started.elapsed()));
        let Some(end) = end? else {
            self.folder.save(&record)?;
            return Err(Failure::job("interrupted"));
        };
        self.finish(&escrow, record, &end)
    }

    /// Locks the budget on chain, once.
    fn open(&self, escrow: &Escrow, spec: &JobSpec, record: &mut JobRecord) -> Outcome {
        if record.status != JobStatus::Opening {
            return Ok(());
        }
        if let Some(mined) = escrow.open(record.salt, spec.hash().0, record.deadline, record.budget, asks(spec))? {
            record.open_transaction = Some(mined.transaction);
        }
        record.status = JobStatus::Running;
        self.folder.save(record)
    }

    /// Lets the state machines work until the job is over; `None` if the user interrupted.
    fn drive(
        &self,
        spec: &JobSpec,
        escrow: &Escrow,
        record: &mut JobRecord,
        cancel: Option<String>,
    ) -> Outcome<Option<End>> {
        let (mut journal, log) = Journal::open(&self.folder.log(), &self.folder.outputs())?;
        let config = RequesterConfig {
            secret: record.secret,
            own_checks: AT_ONCE,
            trust: trust(&self.context.data)?,
            ..RequesterConfig::new(record.chain_id, record.requester)
        };
        let plan = CheckPlan { spec: spec.clone(), vm: self.vm.clone(), contents: self.contents.clone() };
        let checks = Checks::start(&self.context.data, plan)?;
        let requester = begin(config, spec, &log, &mut journal)?;
        let hosts = Hosts {
            data: &self.context.data,
            config: &self.context.config.provide,
            vm: &self.vm,
            folder: &self.folder,
            contents: &self.contents,
            rpc: &self.network.rpc,
            chain_id: record.chain_id,
        };
        let (sender, inbox) = Inbox::new(DRIVER_INBOX)?;
        let (providers, _collector) = hosts.start(record.providers, record.requester, &sender)?;
        // Dropped after the driver: what it says last still goes out.
        let _dialer = self.membership.as_ref().map(|net| self.dial(net.place(), spec, &sender)).transpose()?;
        let inbox = (sender, inbox);
        let opened = Event::Opened { job: record.id, escrow: record.budget, deadline: record.deadline };
        let cancelling = cancel.is_some();
        let cancelled = cancel.map(|reason| Event::Cancel { reason });
        let chain_id = record.chain_id;
        let view = ProgressView::new(self.context, spec);
        let (accusations, mut contradictions) = (Vec::new(), Vec::new());
        let told = &mut contradictions;
        let desk = JobDesk {
            work: self,
            spec,
            escrow,
            record,
            view,
            cancelling,
            asked: cancelling,
            accusations,
            contradictions: told,
        };
        let parts = DriverParts { requester, key: &self.key, chain_id, journal, inbox, providers, checks, desk };
        let mut driver = Driver::new(parts);
        let ending = driver.run([opened].into_iter().chain(cancelled))?;
        let requester = driver.requester();
        let settlement = requester.settlement().ok_or_else(|| Failure::internal("the job has no settlement"))?;
        let done = requester.progress(super::link::now_micros()).done;
        let verification = requester.verification();
        let pace = driver.pace();
        drop(driver);
        record.running_ms = record.running_ms.saturating_add(millis(pace.running()));
        record.busy_ms = record.busy_ms.saturating_add(millis(pace.busy()));
        record.own_checked = record.own_checked.saturating_add(verification.own_machine);
        Ok(ending.map(|ending| End { ending, settlement, done, verification, contradictions }))
    }

    /// Serves the job's program and inputs, and begins to look for providers.
    fn dial(&self, place: &Place, spec: &JobSpec, driver: &Sender<ToDriver>) -> Outcome<Dialer> {
        let folder = self.folder.clone();
        place.serve_content(move |hash| Some(folder.content_path(hash)).filter(|path| path.exists()))?;
        let incoming = self.folder.path().join("incoming");
        let store = ContentStore::open(&incoming, u64::MAX).map_err(Failure::internal)?;
        let wanted = Wanted { spec: spec.clone(), most: MAX_REMOTE, speaker: speaker(&self.key, place) };
        Ok(Dialer::start(place, wanted, driver.clone(), store))
    }

    /// Writes and prints the receipt, and takes back the rest of the escrow.
    fn finish(&self, escrow: &Escrow, mut record: JobRecord, end: &End) -> Outcome {
        record.status = match end.ending {
            Ending::Complete => JobStatus::Settled,
            Ending::Cancelled(_) => JobStatus::Cancelled,
            Ending::Failed(_) => JobStatus::Failed,
        };
        record.ending = end.ending.to_string();
        let mined = escrow.settle(&end.settlement)?;
        // Now that the escrow knows what each was paid, it gives that back out of the stake.
        disputes::show(escrow, &end.contradictions);
        let mut receipt = end.receipt(&record, mined);
        self.folder.save_receipt(&receipt)?;
        self.folder.save(&record)?;
        if let Some(mined) = escrow.refund(REFUND_PATIENCE)? {
            record.refund_transaction = Some(mined.transaction);
            receipt.refunded_bmm = Some(record.budget.saturating_sub(receipt.price_bmm));
            self.folder.save(&record)?;
            self.folder.save_receipt(&receipt)?;
        }
        self.return_stakes(escrow, record.providers)?;
        let (json, wrong) = (self.context.global.json, receipt.verified.wrong.iter().map(|found| found.address));
        disputes::end(json, &record.short_id(), escrow, wrong)?;
        let failed = matches!(end.ending, Ending::Failed(_));
        output::print(self.context.global.json, &receipt, receipt.to_string().trim_end());
        if failed {
            return Err(Failure::job(record.ending).hint("what was verified is paid; the receipt says to whom"));
        }
        Ok(())
    }
}

impl Work<'_> {
    /// Gives the providers of this process their stakes back, as far as it is time.
    fn return_stakes(&self, escrow: &Escrow, providers: u16) -> Outcome {
        if self.folder.spec()?.stake.is_zero() {
            return Ok(());
        }
        for provider in super::hosts::addresses(&self.context.data, providers)? {
            if !escrow.unstake(provider, REFUND_PATIENCE)? {
                let text = format!("the stake of {provider} is still locked; Jobs.unstake returns it later");
                output::note(self.context.global.json, text);
            }
        }
        Ok(())
    }
}

/// Returns what a job asks of its providers: a stake, and how many others must agree before one is accused.
fn asks(spec: &JobSpec) -> Option<(Amount, u8)> {
    (!spec.stake.is_zero()).then(|| (spec.stake, spec.verify.quorum().clamp(2, 8)))
}

/// Rounds down to whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the state machine of a new job, or of one with a log.
fn begin(config: RequesterConfig, spec: &JobSpec, log: &[u8], journal: &mut Journal) -> Outcome<Requester> {
    match Requester::restore(config.clone(), spec.clone(), log) {
        Ok((mut requester, sound)) => {
            journal.cut(u64::try_from(sound).unwrap_or(u64::MAX))?;
            let lost = requester.give_up_missing(|content| journal.outputs.has(content));
            if lost > 0 {
                tracing::warn!(lost, "results did not reach the disk before the crash; their tasks run again");
            }
            Ok(requester)
        }
        // New, or torn in its first entry: then nothing was promised to anybody yet.
        Err(RequesterError::EmptyLog) => {
            journal.cut(0)?;
            let requester = Requester::new(config, spec.clone()).map_err(Failure::user)?;
            journal.record(&requester.start_log())?;
            Ok(requester)
        }
        Err(error) => Err(Failure::config(error)),
    }
}

/// What is known when a job is over.
#[derive(Debug)]
struct End {
    ending: Ending,
    settlement: Settlement,
    done: u64,
    verification: Verification,
    contradictions: Vec<Jobs::contradictCall>,
}

impl End {
    fn receipt(&self, record: &JobRecord, mined: Mined) -> Receipt {
        let pay = |total: &bmm_market::requester::ProviderTotal| ProviderPay {
            address: total.provider,
            tasks: total.tasks,
            fuel: total.fuel,
            pay_bmm: total.total,
        };
        Receipt {
            status: record.status,
            job: record.id,
            name: record.name.clone(),
            tasks: record.tasks,
            done: self.done,
            failed: record.tasks.saturating_sub(self.done),
            fuel: self.settlement.providers.iter().map(|total| total.fuel).sum(),
            price_bmm: self.settlement.total(),
            escrow_bmm: record.budget,
            refunded_bmm: None,
            verified: Verified {
                checked: self.verification.checked,
                own_machine: record.own_checked,
                unchecked: self.verification.unchecked,
                wrong: self
                    .verification
                    .wrong
                    .iter()
                    .map(|(address, task)| FoundWrong { address: *address, task: *task })
                    .collect(),
            },
            providers: self.settlement.providers.iter().map(pay).collect(),
            transaction: mined.transaction,
            block: mined.block,
            root: self.settlement.root,
            outputs: record.outputs.clone(),
            wall_ms: record.worked_ms,
            running_ms: record.running_ms,
            busy_ms: record.busy_ms,
            ending: record.ending.clone(),
        }
    }
}

/// Says, condition by condition, how many providers match a job, and why the others do not: those of the network if the job is for them,
/// else those of this machine.
pub fn explain(context: &Context, folder: &JobFolder) -> Outcome {
    let record = folder.record()?;
    let spec = folder.spec()?;
    let offers = if let Some(choice) = &record.network {
        let network = Network::join(context)?;
        let membership = super::reach::join(&context.config.network, choice, &network.rpc)?;
        super::reach::wait_for_offers(membership.place(), &spec)
    } else {
        let vm = open_vm(&context.data, record.providers)?;
        allow_containers_for(&spec, context, &vm, false)?;
        super::hosts::offers(&context.data, &context.config.provide, &vm, record.providers)?
    };
    let explanation = super::reach::explain(&spec, &offers);
    let shown = super::explain::Shown::of(&spec, &explanation);
    output::print(context.global.json, &shown, &shown);
    Ok(())
}
