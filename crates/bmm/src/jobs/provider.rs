//! A provider in this process: the market's state machine, a thread for each slot, and encoded messages to the requester, the very
//! ones that a network would carry.

use super::{
    executor::{Contents, PreparedJob},
    link::{ToDriver, now_micros},
};
use crate::failure::{Failure, IoContext, Outcome};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{Chunk, Effect, Event, Provider, ProviderConfig};
use bmm_types::{
    ContentHash,
    market::{
        JobAnnouncement, JobSpec, ResultBatch, SignatureBytes, SignedResults, SignedVoucher, TaskRange, ToProvider,
        ToRequester, Wire, receipt_hash,
    },
};
use bmm_vm::{StopFlag, Vm};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Messages that may wait for a provider; the requester answers requests one by one, so few ever do.
const INBOX: usize = 4_096;
/// How often a provider looks at its clock when nothing happens.
const TICK: Duration = Duration::from_millis(25);

/// Locks the stake that the job asks for; says in words why that or the escrow is not as it should be.
pub type EscrowCheck = Arc<dyn Fn(&JobAnnouncement, &JobSpec) -> Result<(), String> + Send + Sync>;

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
    pub blobs: Blobs,
    /// Looks at the chain whether the escrow is as announced.
    pub check_escrow: EscrowCheck,
    /// Keeps a voucher on disk.
    pub keep_voucher: Arc<dyn Fn(&SignedVoucher) + Send + Sync>,
    /// Presents a voucher to the escrow.
    pub claim: Arc<dyn Fn(&SignedVoucher) + Send + Sync>,
}

/// What reaches a provider's thread.
enum Input {
    Message { from: Address, bytes: Vec<u8> },
    Prepared { job: B256, result: Result<Arc<PreparedJob>, String> },
    Done { slot: u16, results: Vec<bmm_types::market::TaskResult>, busy: Duration },
    Leave(String),
}

/// A running provider.
pub struct ProviderHandle {
    address: Address,
    blobs: Blobs,
    sender: SyncSender<Input>,
    thread: Option<JoinHandle<()>>,
}

impl ProviderHandle {
    /// Starts the threads and says hello to `requester`.
    pub fn start(host: ProviderHost, requester: Address, driver: SyncSender<ToDriver>) -> Outcome<Self> {
        let (sender, receiver) = sync_channel(INBOX);
        let address = host.key.address();
        let blobs = host.blobs.clone();
        let slots = host.config.offer.offer.slots;
        let slots = (0..slots).map(|slot| Slot::start(slot, &host, &sender)).collect::<Outcome<Vec<_>>>()?;
        let worker = Worker {
            provider: Provider::new(host.config.clone()),
            inbox: sender.clone(),
            host,
            slots,
            jobs: HashMap::new(),
            driver,
        };
        let run = move || worker.run(requester, &receiver);
        let thread =
            std::thread::Builder::new().name(format!("bmm-provider-{address}")).spawn(run).map_err(no_thread)?;
        Ok(Self { address, blobs, sender, thread: Some(thread) })
    }

    /// Returns the provider's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Returns where its large results are.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Hands over a message; `false` if the provider is gone or does not keep up.
    pub fn deliver(&self, from: Address, message: &ToProvider) -> bool {
        self.sender.try_send(Input::Message { from, bytes: message.encode() }).is_ok()
    }
}

impl Drop for ProviderHandle {
    fn drop(&mut self) {
        // A full queue means that the thread still works through it; it ends when the queue's last sender is gone.
        let _ = self.sender.send(Input::Leave("the process ends".into()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The provider's thread: carries out what the state machine wants.
struct Worker {
    provider: Provider,
    host: ProviderHost,
    slots: Vec<Slot>,
    jobs: HashMap<B256, Arc<PreparedJob>>,
    inbox: SyncSender<Input>,
    driver: SyncSender<ToDriver>,
}

impl Worker {
    fn run(mut self, requester: Address, receiver: &Receiver<Input>) {
        self.feed(Event::Connected { requester });
        let mut ticked = Instant::now();
        loop {
            let event = match receiver.recv_timeout(TICK) {
                Ok(Input::Leave(reason)) => {
                    self.slots.iter().for_each(Slot::stop);
                    self.feed(Event::Leave { reason });
                    return;
                }
                Ok(input) => self.event(input),
                Err(RecvTimeoutError::Timeout) => Some(Event::Tick),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(event) = event {
                self.feed(event);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.feed(Event::Tick);
            }
        }
    }

    fn event(&mut self, input: Input) -> Option<Event> {
        match input {
            Input::Message { from, bytes } => match ToProvider::decode(&bytes) {
                Ok(message) => Some(Event::Message { from, message }),
                Err(error) => {
                    tracing::warn!(%from, %error, "a message cannot be read");
                    None
                }
            },
            Input::Prepared { job, result: Ok(prepared) } => {
                self.jobs.insert(job, prepared);
                Some(Event::Ready { job })
            }
            Input::Prepared { job, result: Err(reason) } => Some(Event::Unable { job, reason }),
            Input::Done { slot, results, busy } => {
                let busy_micros = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
                Some(Event::Done { slot, results, busy_micros })
            }
            Input::Leave(reason) => Some(Event::Leave { reason }),
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
            Effect::KeepVoucher(voucher) => (self.host.keep_voucher)(&voucher),
            Effect::Claim(voucher) => (self.host.claim)(&voucher),
            Effect::Forget { job } => {
                self.jobs.remove(&job);
            }
        }
    }

    fn send(&self, message: &ToRequester) {
        let from = self.host.key.address();
        // The driver reads all the time; if it is gone, so is the job.
        let _ = self.driver.send(ToDriver::Message { from, bytes: message.encode() });
    }

    fn sign_and_send(&self, batch: ResultBatch) {
        let hash = receipt_hash(self.host.config.chain_id, &batch.receipt(self.host.key.address()));
        let signature = self.host.key.sign_hash_sync(&hash).expect("a local key signs every hash");
        let signature = SignatureBytes::from(signature.as_bytes());
        self.send(&ToRequester::Results(SignedResults { batch, signature }));
    }

    /// Looks at the escrow and compiles the program, beside the provider's thread.
    fn prepare(&self, announcement: JobAnnouncement, spec: JobSpec) {
        let (vm, contents) = (self.host.vm.clone(), self.host.contents.clone());
        let (check, inbox) = (self.host.check_escrow.clone(), self.inbox.clone());
        let job = announcement.job;
        let prepare = move || {
            let result =
                check(&announcement, &spec).and_then(|()| PreparedJob::new(&vm, &spec, contents)).map(Arc::new);
            let _ = inbox.send(Input::Prepared { job, result });
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

/// A chunk of tasks on its way to a slot's thread.
struct Order {
    job: Arc<PreparedJob>,
    tasks: TaskRange,
    stop: StopFlag,
}

/// A thread that runs tasks, one after the other.
struct Slot {
    number: u16,
    orders: SyncSender<Order>,
    current: parking_lot::Mutex<StopFlag>,
}

impl Slot {
    fn start(number: u16, host: &ProviderHost, inbox: &SyncSender<Input>) -> Outcome<Self> {
        let (orders, receiver) = sync_channel::<Order>(4);
        let (inbox, blobs) = (inbox.clone(), host.blobs.clone());
        let run = move || {
            for order in receiver {
                let (results, busy) = run_order(&order, &blobs);
                if inbox.send(Input::Done { slot: number, results, busy }).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name(format!("bmm-slot-{number}")).spawn(run).map_err(no_thread)?;
        Ok(Self { number, orders, current: parking_lot::Mutex::default() })
    }

    fn run(&self, job: Arc<PreparedJob>, tasks: TaskRange) {
        let stop = StopFlag::new();
        *self.current.lock() = stop.clone();
        // The slot is idle when it is given work, so the queue has room; it ends with the provider.
        let _ = self.orders.try_send(Order { job, tasks, stop });
    }

    fn stop(&self) {
        self.current.lock().stop();
    }
}

/// Runs a chunk; tasks after a stop are left out.
fn run_order(order: &Order, blobs: &Blobs) -> (Vec<bmm_types::market::TaskResult>, Duration) {
    let mut results = Vec::new();
    let mut busy = Duration::ZERO;
    for index in order.tasks.first..order.tasks.end() {
        if order.stop.is_set() {
            break;
        }
        let mut ran = order.job.run(index, &order.stop);
        busy += ran.wall;
        if let Some((content, bytes)) = ran.stored.take()
            && let Err(failure) = blobs.put(content.hash, &bytes)
        {
            tracing::warn!(message = failure.message, "a result cannot be kept");
            continue;
        }
        results.push(ran.result);
    }
    (results, busy)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn no_thread(error: std::io::Error) -> Failure {
    Failure::internal(format!("cannot start a thread: {error}"))
        .hint("raise the limit of processes of this user (ulimit -u)")
}

/// Large results of one provider, as files by content name until the requester has them.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: PathBuf,
}

impl Blobs {
    /// Takes a folder, which is emptied.
    pub fn new(dir: &Path) -> Outcome<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).doing("empty", dir)?;
        }
        std::fs::create_dir_all(dir).doing("create", dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn put(&self, hash: ContentHash, bytes: &[u8]) -> Outcome {
        let path = self.dir.join(hash.to_string());
        std::fs::write(&path, bytes).doing("write", &path)
    }

    /// Gives the bytes away, if they are here.
    pub fn take(&self, hash: ContentHash) -> Option<Vec<u8>> {
        let path = self.dir.join(hash.to_string());
        let bytes = std::fs::read(&path).ok()?;
        let _ = std::fs::remove_file(&path);
        Some(bytes)
    }
}
