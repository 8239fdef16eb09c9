//! The threads on which a provider runs tasks, and where results wait that are too large to travel in a message.

use super::{executor::PreparedJob, provider::Input};
use crate::failure::{Failure, IoContext, Outcome};
use bmm_net::content::{ContentStore, Pin};
use bmm_types::{
    ContentHash,
    market::{TaskRange, TaskResult},
};
use bmm_vm::StopFlag;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};
use tokio::sync::mpsc::Sender;

/// A job that a provider works for, and the content that must stay while it does.
pub struct ActiveJob {
    /// Program and inputs.
    pub prepared: PreparedJob,
    /// Keeps program, inputs and results in the content store.
    pub pins: parking_lot::Mutex<Vec<Pin>>,
}

/// A chunk of tasks on its way to a slot's thread.
struct Order {
    job: Arc<ActiveJob>,
    tasks: TaskRange,
    stop: StopFlag,
}

/// A thread that runs tasks, one after the other.
pub(super) struct Slot {
    pub number: u16,
    orders: SyncSender<Order>,
    current: parking_lot::Mutex<StopFlag>,
}

impl Slot {
    pub fn start(number: u16, results: Results, inbox: Sender<Input>) -> Outcome<Self> {
        let (orders, receiver) = sync_channel::<Order>(4);
        let run = move || {
            for order in receiver {
                let (results, busy) = run_order(&order, &results);
                drop(order);
                if inbox.blocking_send(Input::Done { slot: number, results, busy }).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name(format!("bmm-slot-{number}")).spawn(run).map_err(no_thread)?;
        Ok(Self { number, orders, current: parking_lot::Mutex::default() })
    }

    pub fn run(&self, job: Arc<ActiveJob>, tasks: TaskRange) {
        let stop = StopFlag::new();
        *self.current.lock() = stop.clone();
        // The slot is idle when it is given work, so the queue has room; it ends with the provider.
        let _ = self.orders.try_send(Order { job, tasks, stop });
    }

    pub fn stop(&self) {
        self.current.lock().stop();
    }
}

/// Runs a chunk; tasks after a stop are left out.
fn run_order(order: &Order, waiting: &Results) -> (Vec<TaskResult>, Duration) {
    let mut results = Vec::new();
    let mut busy = Duration::ZERO;
    for index in order.tasks.first..order.tasks.end() {
        if order.stop.is_set() {
            break;
        }
        let mut ran = order.job.prepared.run(index, &order.stop);
        busy += ran.wall;
        if let Some((content, bytes)) = ran.stored.take()
            && let Err(failure) = waiting.put(&order.job, content.hash, &bytes)
        {
            tracing::warn!(message = failure.message, "a result cannot be kept");
            continue;
        }
        results.push(ran.result);
    }
    (results, busy)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(super) fn no_thread(error: std::io::Error) -> Failure {
    Failure::internal(format!("cannot start a thread: {error}"))
        .hint("raise the limit of processes of this user (ulimit -u)")
}

/// Where large results wait until the requester has them.
#[derive(Clone, Debug)]
pub enum Results {
    /// For a requester in the same process.
    Folder(Blobs),
    /// For requesters of the network, who fetch them from the store.
    Store(ContentStore),
}

impl Results {
    fn put(&self, job: &ActiveJob, hash: ContentHash, bytes: &[u8]) -> Outcome {
        match self {
            Self::Folder(blobs) => blobs.put(hash, bytes),
            Self::Store(store) => {
                let pin = store.pin(hash);
                store.put(bytes).map_err(Failure::internal)?;
                job.pins.lock().push(pin);
                Ok(())
            }
        }
    }
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
