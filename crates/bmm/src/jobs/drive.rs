//! The requester's thread: carries out what the market's state machine wants.

use super::{
    checks::Checks,
    link::{Inbox, Nothing, ToDriver, now_micros},
    outputs::Outputs,
    provider::ProviderHandle,
    remote::RemoteProvider,
};
use crate::failure::{IoContext, Outcome};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::requester::{Effect, Ending, Event, Requester, Settlement};
use bmm_types::{
    Amount,
    market::{Content, SignatureBytes, SignedVoucher, Standing, ToProvider, ToRequester, Wire, voucher_hash},
    system::{Jobs, Voucher},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::mpsc::Sender;

/// How often the requester looks at its clock, and people at its progress.
const TICK: Duration = Duration::from_millis(50);
/// How much work, at most, a power failure makes be done again.
const SYNC: Duration = Duration::from_secs(1);
/// Messages handled between two looks at the clock.
const BURST: usize = 256;

/// What the driver leaves to its caller.
pub trait Desk {
    /// Puts the results together; `None` if the user interrupted. The inner error is the merging program's fault and ends the job;
    /// the outer one is this machine's, and leaves the job resumable.
    fn merge(&mut self, requester: &Requester, outputs: &mut Outputs) -> Outcome<Option<Result<(), String>>>;
    /// Returns what a provider has at stake in the job, undisputed.
    fn stake_of(&mut self, provider: Address) -> Amount;
    /// Accuses a provider before the escrow, at the latest before [`Self::settle`]; what cannot be sent is given again after a restart.
    fn accuse(&mut self, call: Jobs::accuseCall);
    /// Shows before the escrow that a provider contradicts itself, once the job is settled; given again after a restart.
    fn contradict(&mut self, call: Jobs::contradictCall);
    /// Pays, and returns the transaction.
    fn settle(&mut self, settlement: &Settlement) -> Outcome<B256>;
    /// Shows how far the job is; called a few times a second, and once at the end.
    fn progress(&mut self, requester: &Requester, last: bool);
    /// Returns why the user wants the job to end, once.
    fn cancelled(&mut self) -> Option<String>;
    /// Whether the user wants the process to stop; the job stays resumable.
    fn interrupted(&mut self) -> bool;
}

/// The files of a running job.
pub struct Journal {
    log: File,
    path: PathBuf,
    /// Results of tasks.
    pub outputs: Outputs,
}

impl Journal {
    /// Opens log and outputs, and returns the log's bytes so far.
    pub fn open(log: &Path, outputs: &Path) -> Outcome<(Self, Vec<u8>)> {
        let read = if log.exists() { std::fs::read(log).doing("read", log)? } else { Vec::new() };
        let file = File::options().create(true).append(true).open(log).doing("open", log)?;
        Ok((Self { log: file, path: log.to_owned(), outputs: Outputs::open(outputs)? }, read))
    }

    /// Cuts the log to the records that could be read, so that new ones follow whole ones.
    pub fn cut(&self, len: u64) -> Outcome {
        self.log.set_len(len).doing("cut", &self.path)
    }

    /// Appends to the log.
    pub fn record(&mut self, bytes: &[u8]) -> Outcome {
        self.log.write_all(bytes).doing("write", &self.path)
    }

    /// Waits until everything is on disk: results first, then the log that speaks of them.
    pub fn sync(&self) -> Outcome {
        self.outputs.sync()?;
        self.log.sync_data().doing("sync", &self.path)
    }
}

/// When the providers of a job worked, and how long its programs ran there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    first_lease: Option<Instant>,
    last_results: Option<Instant>,
    busy: Duration,
}

impl Pace {
    /// Returns the time from the first lease to the last batch of results.
    pub fn running(&self) -> Duration {
        let span = self.last_results.zip(self.first_lease).map(|(last, first)| last.saturating_duration_since(first));
        span.unwrap_or_default()
    }

    /// Returns the time that programs ran, all slots added, as the providers tell it.
    pub fn busy(&self) -> Duration {
        self.busy
    }

    fn sent(&mut self, message: &ToProvider) {
        if self.first_lease.is_none() && matches!(message, ToProvider::Lease { .. }) {
            self.first_lease = Some(Instant::now());
        }
    }

    fn received(&mut self, message: &ToRequester) {
        if let ToRequester::Results(results) = message {
            self.last_results = Some(Instant::now());
            self.busy = self.busy.saturating_add(Duration::from_micros(results.batch.busy_micros));
        }
    }
}

/// A provider at the other end of a queue, or of a network.
enum Peer {
    Local(ProviderHandle),
    Remote(RemoteProvider),
}

/// A job at work.
pub struct Driver<'a, D> {
    requester: Requester,
    key: &'a PrivateKeySigner,
    chain_id: u64,
    journal: Journal,
    // Dropped before the providers, which may wait for room in it.
    inbox: Inbox<ToDriver>,
    answers: Sender<ToDriver>,
    providers: BTreeMap<Address, Peer>,
    checks: Checks,
    desk: D,
    todo: VecDeque<Event>,
    /// Results of providers of the network whose bytes came, or did not.
    fetched: Vec<(Address, Content, Option<Vec<u8>>)>,
    ending: Option<Ending>,
    /// The user interrupted while the results were put together.
    interrupted: bool,
    pace: Pace,
}

/// What a job needs to run.
pub struct DriverParts<'a, D> {
    /// The market's state machine.
    pub requester: Requester,
    /// Signs vouchers.
    pub key: &'a PrivateKeySigner,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// Log and outputs.
    pub journal: Journal,
    /// Messages of the providers, and the queue that they go into.
    pub inbox: (Sender<ToDriver>, Inbox<ToDriver>),
    /// The providers of this process.
    pub providers: Vec<ProviderHandle>,
    /// The own machine's checks.
    pub checks: Checks,
    /// The caller.
    pub desk: D,
}

impl<'a, D: Desk> Driver<'a, D> {
    /// Takes the parts.
    pub fn new(parts: DriverParts<'a, D>) -> Self {
        let local = |provider: ProviderHandle| (provider.address(), Peer::Local(provider));
        let providers = parts.providers.into_iter().map(local).collect();
        let (answers, inbox) = parts.inbox;
        Self {
            requester: parts.requester,
            key: parts.key,
            chain_id: parts.chain_id,
            journal: parts.journal,
            inbox,
            answers,
            providers,
            checks: parts.checks,
            desk: parts.desk,
            todo: VecDeque::new(),
            fetched: Vec::new(),
            ending: None,
            interrupted: false,
            pace: Pace::default(),
        }
    }

    /// Works until the job is over (then its ending) or the user interrupts (then `None`), beginning with `first`.
    pub fn run(&mut self, first: impl IntoIterator<Item = Event>) -> Outcome<Option<Ending>> {
        self.todo.extend(first);
        let (mut ticked, mut synced) = (Instant::now(), Instant::now());
        loop {
            self.work()?;
            if self.ending.is_some() || self.interrupted {
                self.desk.progress(&self.requester, true);
                self.journal.sync()?;
                self.checks.save()?;
                return Ok(self.ending.take());
            }
            self.listen();
            self.todo
                .extend(self.checks.take_done().into_iter().map(|(task, verdict)| Event::Checked { task, verdict }));
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.todo.push_back(Event::Tick);
                self.desk.progress(&self.requester, false);
                self.todo.extend(self.desk.cancelled().map(|reason| Event::Cancel { reason }));
                self.interrupted = self.desk.interrupted();
                if synced.elapsed() >= SYNC {
                    synced = Instant::now();
                    self.journal.sync()?;
                    self.checks.save()?;
                }
            }
        }
    }

    /// Returns the state machine.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Returns when the providers worked, in this process.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Waits for a message, and takes what came with it.
    fn listen(&mut self) {
        match self.inbox.recv_timeout(TICK) {
            Ok(message) => self.take(message),
            // This side holds a sender itself.
            Err(Nothing::Yet | Nothing::Ever) => return,
        }
        for _ in 1..BURST {
            let Some(message) = self.inbox.try_recv() else { break };
            self.take(message);
        }
    }

    fn take(&mut self, message: ToDriver) {
        match message {
            ToDriver::Message { from, bytes } => self.read(from, &bytes),
            ToDriver::Joined(remote) => {
                // An earlier session of the same provider is over, whether its end was noticed or not.
                if self.providers.insert(remote.address, Peer::Remote(*remote)).is_some() {
                    tracing::debug!("a provider came back before it was missed");
                }
            }
            ToDriver::Lost { provider, session } => {
                let same = |peer: &Peer| matches!(peer, Peer::Remote(remote) if remote.session == session);
                if self.providers.get(&provider).is_some_and(same) {
                    self.providers.remove(&provider);
                    self.todo.push_back(Event::Lost { provider });
                }
            }
            ToDriver::Fetched { from, content, bytes } => self.fetched.push((from, content, bytes)),
        }
    }

    fn read(&mut self, from: Address, bytes: &[u8]) {
        match ToRequester::decode(bytes) {
            Ok(message) => {
                self.pace.received(&message);
                self.todo.push_back(Event::Message { from, message });
            }
            Err(error) => {
                tracing::warn!(%from, %error, "a message cannot be read; the session with its sender ends");
                self.part_with(from);
            }
        }
    }

    /// Feeds the state machine until it wants nothing more.
    fn work(&mut self) -> Outcome {
        for (from, content, bytes) in std::mem::take(&mut self.fetched) {
            self.keep(from, content, bytes.as_deref())?;
        }
        while let Some(event) = self.todo.pop_front() {
            for effect in self.requester.handle(now_micros(), event) {
                self.carry_out(effect)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Outcome {
        match effect {
            Effect::Send { to, message } => self.send(to, &message),
            Effect::Record(bytes) => self.journal.record(&bytes)?,
            Effect::Store(results) => {
                self.journal.outputs.put(results.iter().map(|(content, bytes)| (content.hash, bytes.as_slice())))?;
            }
            Effect::Fetch { from, content } => self.fetch(from, content)?,
            Effect::SignVoucher { voucher, standing } => self.sign(&voucher, standing),
            Effect::Check { task, how } => {
                if let Err(verdict) = self.checks.begin(task, how, &mut self.journal.outputs) {
                    self.todo.push_back(Event::Checked { task, verdict });
                }
            }
            Effect::Trust(finding) => self.checks.note(finding),
            Effect::LookUpStake { provider } => {
                let amount = self.desk.stake_of(provider);
                self.todo.push_back(Event::Stake { provider, amount });
            }
            Effect::Accuse(call) => self.desk.accuse(*call),
            Effect::Contradict(call) => self.desk.contradict(*call),
            Effect::Merge => {
                self.journal.sync()?;
                match self.desk.merge(&self.requester, &mut self.journal.outputs)? {
                    Some(merged) => self.todo.push_back(Event::Merged(merged)),
                    None => self.interrupted = true,
                }
            }
            Effect::Settle(settlement) => {
                self.journal.sync()?;
                let transaction = self.desk.settle(&settlement)?;
                self.todo.push_back(Event::Settled { transaction });
            }
            Effect::Over(ending) => self.ending = Some(ending),
        }
        Ok(())
    }

    fn send(&mut self, to: Address, message: &ToProvider) {
        self.pace.sent(message);
        let delivered = match self.providers.get(&to) {
            Some(Peer::Local(provider)) => provider.deliver(message),
            Some(Peer::Remote(provider)) => provider.deliver(message),
            None => false,
        };
        if !delivered {
            tracing::debug!(%to, "a provider does not keep up with what it is told; its session ends");
            self.part_with(to);
        }
    }

    /// Ends the conversation with a provider. Its session ends with it: else the provider would wait in it for ever, told nothing, and
    /// never be dialled again.
    fn part_with(&mut self, provider: Address) {
        if matches!(self.providers.get(&provider), Some(Peer::Remote(_))) {
            self.providers.remove(&provider);
        }
        self.todo.push_back(Event::Lost { provider });
    }

    fn fetch(&mut self, from: Address, content: Content) -> Outcome {
        match self.providers.get(&from) {
            Some(Peer::Remote(provider)) => {
                provider.fetch(content, self.answers.clone());
                Ok(())
            }
            Some(Peer::Local(provider)) => {
                let bytes = provider.blobs().and_then(|blobs| blobs.take(content.hash));
                self.keep(from, content, bytes.as_deref())
            }
            None => self.keep(from, content, None),
        }
    }

    /// Keeps the bytes of a result, if they are the right ones.
    fn keep(&mut self, from: Address, content: Content, bytes: Option<&[u8]>) -> Outcome {
        let bytes = bytes.filter(|bytes| Content::of(bytes) == content);
        if let Some(bytes) = bytes {
            self.journal.outputs.put([(content.hash, bytes)])?;
        }
        let ok = bytes.is_some() || self.journal.outputs.has(content);
        self.todo.push_back(Event::Fetched { from, hash: content.hash, ok });
        Ok(())
    }

    fn sign(&mut self, voucher: &Voucher, standing: Standing) {
        let hash = voucher_hash(self.chain_id, voucher);
        let signature = self.key.sign_hash_sync(&hash).expect("a local key signs every hash");
        let voucher = SignedVoucher {
            job: voucher.job,
            provider: voucher.provider,
            total: Amount(voucher.total),
            signature: SignatureBytes::from(signature.as_bytes()),
        };
        self.send(voucher.provider, &ToProvider::Voucher { voucher, standing });
    }
}
