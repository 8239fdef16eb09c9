//! A provider of this process: the market's state machine, a thread for each slot, and encoded messages to requesters, be they in this
//! process or on the network.

use super::{
    executor::{Contents, PreparedJob},
    holds::Holds,
    link::{Inbox, Nothing, ToDriver, now_micros},
    slots::{ActiveJob, Results, Slot},
};
use crate::{failure::Outcome, provide::Told};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{Chunk, Effect, Event, Provider, ProviderConfig};
use bmm_net::{PeerId, content::Pin, market::SessionSender};
use bmm_types::market::{
    JobAnnouncement, JobSpec, ResultBatch, SignatureBytes, SignedResults, SignedVoucher, TaskResult, ToProvider,
    ToRequester, Wire, receipt_hash,
};
use bmm_vm::Vm;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc::Sender;

mod handle;

pub use handle::ProviderHandle;

/// Messages that may wait for a provider; its requesters then have to.
const INBOX: usize = 4_096;
/// How often a provider looks at its clock when nothing happens.
const TICK: Duration = Duration::from_millis(25);
/// How long a provider that ends waits for its last tasks and their pay.
const LAST_WORK: Duration = Duration::from_secs(20);

/// Checks a job's escrow, fetches its program and inputs, if need be from the peer that announced it, and locks the stake that it asks for;
/// says in words why that cannot be.
pub type Prepare = Arc<dyn Fn(&JobAnnouncement, &JobSpec, Option<PeerId>) -> Result<Vec<Pin>, String> + Send + Sync>;

/// What a provider needs from the rest of the process.
pub struct ProviderHost {
    /// Its key: signs its offer and its results, and is paid.
    pub key: PrivateKeySigner,
    /// Its settings.
    pub config: ProviderConfig,
    /// The sandbox.
    pub vm: Arc<Vm>,
    /// Program and inputs.
    pub contents: Contents,
    /// Where large results wait to be fetched.
    pub results: Results,
    /// Checks a job's escrow and fetches its contents.
    pub prepare: Prepare,
    /// Keeps a voucher on disk; whoever looks after the ledger claims it if it has to be.
    pub keep_voucher: Arc<dyn Fn(&SignedVoucher) -> Outcome + Send + Sync>,
}

/// What reaches a provider's thread.
pub enum Input {
    /// A requester can be talked to.
    Joined(Session),
    /// A requester said something.
    Message {
        /// Number of the session.
        session: u64,
        /// The encoded [`ToProvider`].
        bytes: Vec<u8>,
    },
    /// A session is over.
    Gone {
        /// Its number.
        session: u64,
    },
    /// A job is ready to run, or why it cannot be.
    Prepared {
        /// The job.
        job: B256,
        /// Program and inputs.
        result: Result<Arc<ActiveJob>, String>,
    },
    /// A slot is free again.
    Done {
        /// The slot.
        slot: u16,
        /// What became of its tasks.
        results: Vec<TaskResult>,
        /// How long it ran.
        busy: Duration,
    },
    /// What the chain says of a job.
    Chain(Told),
    /// Take no work any more (why), or take it again.
    Pause(Option<String>),
    /// End: the last tasks are finished and handed in first, if there is time.
    Finish(String),
    /// End now.
    Leave(String),
}

/// A way to one requester.
pub struct Session {
    /// Its number.
    pub number: u64,
    /// Who is at the other end.
    pub requester: Address,
    /// Where messages go.
    pub outlet: Outlet,
}

/// Where messages to a requester go.
pub enum Outlet {
    /// To the requester's thread in this process.
    Local(Sender<ToDriver>),
    /// To a peer of the network.
    Remote(PeerId, SessionSender),
}

/// Number of the session with the requester of the same process.
const LOCAL: u64 = 0;

/// The provider's thread: carries out what the state machine wants.
struct Worker {
    provider: Provider,
    host: ProviderHost,
    slots: Vec<Slot>,
    jobs: HashMap<B256, Arc<ActiveJob>>,
    sessions: HashMap<u64, Session>,
    /// The session that each job's requester speaks through.
    routes: HashMap<B256, u64>,
    /// The session that an offer goes to: the last that joined.
    greeted: u64,
    inbox: Sender<Input>,
    free: Arc<AtomicU16>,
    holds: Holds,
    /// Slots that services have, as the state machine knows.
    held: u16,
}

impl Worker {
    fn run(mut self, mut inbox: Inbox<Input>) {
        let mut ticked = Instant::now();
        let mut finish: Option<(Instant, String)> = None;
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(Input::Finish(reason)) => {
                    finish = Some((Instant::now(), reason.clone()));
                    self.feed(Event::Drain { reason });
                }
                Ok(Input::Leave(reason)) => return self.leave(reason),
                Ok(input) => self.take(input),
                Err(Nothing::Yet) => {}
                Err(Nothing::Ever) => return,
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.feed(Event::Tick);
                self.share_out();
            }
            if finish.as_ref().is_some_and(|(since, _)| self.provider.is_idle() || since.elapsed() >= LAST_WORK) {
                return self.leave(finish.map(|(_, reason)| reason).unwrap_or_default());
            }
        }
    }

    /// Tells of free slots, and hears of those that services have.
    fn share_out(&mut self) {
        let held = self.holds.told(self.held, self.provider.busy_slots());
        if held != self.held {
            self.held = held;
            self.feed(Event::Held { slots: held });
        }
        self.free.store(self.provider.free_slots(), Ordering::Relaxed);
    }

    fn leave(mut self, reason: String) {
        self.slots.iter().for_each(Slot::stop);
        self.feed(Event::Leave { reason });
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Joined(session) => {
                let requester = session.requester;
                self.greeted = session.number;
                self.sessions.insert(session.number, session);
                self.feed(Event::Connected { requester });
            }
            Input::Message { session, bytes } => self.message(session, &bytes),
            Input::Gone { session } => self.gone(session),
            Input::Prepared { job, result: Ok(active) } => {
                self.jobs.insert(job, active);
                self.feed(Event::Ready { job });
            }
            Input::Prepared { job, result: Err(reason) } => self.feed(Event::Unable { job, reason }),
            Input::Done { slot, results, busy } => {
                let busy_micros = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
                self.feed(Event::Done { slot, results, busy_micros });
            }
            Input::Chain(Told::Paid { job }) => self.feed(Event::Paid { job }),
            Input::Chain(Told::Escrow { job, left, paid }) => self.feed(Event::Escrow { job, left, paid }),
            Input::Pause(Some(reason)) => self.feed(Event::Drain { reason }),
            Input::Pause(None) => {
                self.feed(Event::Resume);
                // Requesters have been told to do without; an offer opens the conversation anew.
                let sessions: Vec<(u64, Address)> = self.sessions.values().map(|s| (s.number, s.requester)).collect();
                for (number, requester) in sessions {
                    self.greeted = number;
                    self.feed(Event::Connected { requester });
                }
            }
            Input::Finish(_) | Input::Leave(_) => {}
        }
    }

    fn message(&mut self, session: u64, bytes: &[u8]) {
        let Some(from) = self.sessions.get(&session).map(|session| session.requester) else { return };
        let message = match ToProvider::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%from, %error, "a message cannot be read; its session ends");
                return self.gone(session);
            }
        };
        let over = match &message {
            ToProvider::Job(announcement) if announcement.requester == from => {
                self.routes.insert(announcement.job, session);
                None
            }
            ToProvider::Over { job, .. } => Some(*job),
            _ => None,
        };
        self.feed(Event::Message { from, message });
        if let Some(job) = over.filter(|job| self.routes.get(job) == Some(&session)) {
            // Nothing of it runs again; only its voucher waits.
            self.jobs.remove(&job);
            self.routes.remove(&job);
        }
    }

    fn gone(&mut self, session: u64) {
        self.sessions.remove(&session);
        let jobs: Vec<B256> = self.routes.iter().filter(|(_, of)| **of == session).map(|(job, _)| *job).collect();
        for job in jobs {
            self.routes.remove(&job);
            self.feed(Event::Interrupted { job });
        }
    }

    fn feed(&mut self, event: Event) {
        for effect in self.provider.handle(now_micros(), event) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { message, .. } => self.send(&message),
            Effect::Prepare { announcement, spec } => self.prepare(*announcement, *spec),
            Effect::Run(chunk) => self.run_chunk(chunk),
            Effect::Stop { slot } => self.slots.iter().filter(|it| it.number == slot).for_each(Slot::stop),
            Effect::SignResults { batch, .. } => self.sign_and_send(batch),
            Effect::KeepVoucher(voucher) => {
                if let Err(failure) = (self.host.keep_voucher)(&voucher) {
                    tracing::error!(message = failure.message, "a voucher could not be kept: no more work is taken");
                    let _ = self.inbox.try_send(Input::Pause(Some("its disk fails".into())));
                }
            }
            Effect::Claim(voucher) => tracing::info!(job = %voucher.job, "a job's deadline came before its settlement"),
            Effect::Forget { job } => {
                self.jobs.remove(&job);
            }
        }
    }

    fn send(&self, message: &ToRequester) {
        let session = match message {
            ToRequester::Offer(_) => Some(&self.greeted),
            ToRequester::Decline { job, .. }
            | ToRequester::LeaseRequest { job, .. }
            | ToRequester::Released { job, .. }
            | ToRequester::Leave { job, .. } => self.routes.get(job),
            ToRequester::Results(results) => self.routes.get(&results.batch.job),
        };
        let Some(session) = session.and_then(|session| self.sessions.get(session)) else { return };
        match &session.outlet {
            Outlet::Local(driver) => {
                let from = self.host.key.address();
                // The driver reads all the time; if it is gone, so is the job.
                let _ = driver.blocking_send(ToDriver::Message { from, bytes: message.encode() });
            }
            Outlet::Remote(peer, sender) => {
                if let Err(error) = sender.try_send(message.encode()) {
                    tracing::warn!(requester = %session.requester, %peer, %error, "a session ends");
                    // Not at once: effects of the same event may follow.
                    let _ = self.inbox.try_send(Input::Gone { session: session.number });
                }
            }
        }
    }

    fn sign_and_send(&self, batch: ResultBatch) {
        let hash = receipt_hash(self.host.config.chain_id, &batch.receipt(self.host.key.address()));
        let signature = self.host.key.sign_hash_sync(&hash).expect("a local key signs every hash");
        let signature = SignatureBytes::from(signature.as_bytes());
        self.send(&ToRequester::Results(SignedResults { batch, signature }));
    }

    /// Looks at the escrow, fetches the contents and compiles the program, beside the provider's thread.
    fn prepare(&self, announcement: JobAnnouncement, spec: JobSpec) {
        let (vm, contents) = (self.host.vm.clone(), self.host.contents.clone());
        let (prepare, inbox) = (self.host.prepare.clone(), self.inbox.clone());
        let job = announcement.job;
        let session = self.routes.get(&job).and_then(|session| self.sessions.get(session));
        let peer = session.and_then(|session| match &session.outlet {
            Outlet::Local(_) => None,
            Outlet::Remote(peer, _) => Some(*peer),
        });
        let prepare = move || {
            let result = prepare(&announcement, &spec, peer).and_then(|pins| {
                let prepared = PreparedJob::new(&vm, &spec, contents)?;
                Ok(Arc::new(ActiveJob { prepared, pins: parking_lot::Mutex::new(pins) }))
            });
            let _ = inbox.blocking_send(Input::Prepared { job, result });
        };
        if std::thread::Builder::new().name("bmm-prepare".into()).spawn(prepare).is_err() {
            let _ = self.inbox.try_send(Input::Prepared { job, result: Err("no thread could be started".into()) });
        }
    }

    fn run_chunk(&self, chunk: Chunk) {
        let slot = self.slots.iter().find(|slot| slot.number == chunk.slot);
        match (slot, self.jobs.get(&chunk.job)) {
            (Some(slot), Some(job)) => slot.run(job.clone(), chunk.tasks),
            // The job was forgotten in between: nothing was run.
            _ => {
                let _ =
                    self.inbox.try_send(Input::Done { slot: chunk.slot, results: Vec::new(), busy: Duration::ZERO });
            }
        }
    }
}
