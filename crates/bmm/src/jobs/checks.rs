//! Checks on the requester's own machine, and the book of trust on its disk.

use super::{
    executor::{Contents, PreparedJob},
    outputs::Outputs,
};
use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::{DataDir, write_atomically},
};
use bmm_market::{
    requester::{Check, Verdict},
    trust::{Finding, TrustBook},
};
use bmm_types::market::{JobSpec, TaskEnd, Verify};
use bmm_vm::{StopFlag, Vm};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
};

/// Checks that are under way at once; they run one after the other.
pub const AT_ONCE: u16 = 16;

/// What is to be checked.
enum Order {
    /// The task is run here.
    Run(u64),
    /// The verifier looks at a result.
    Judge(u64, Vec<u8>),
}

impl Order {
    fn task(&self) -> u64 {
        match self {
            Self::Run(task) | Self::Judge(task, _) => *task,
        }
    }
}

/// What checks a job's results need.
#[derive(Clone)]
pub struct CheckPlan {
    /// The job.
    pub spec: JobSpec,
    /// The sandbox.
    pub vm: Arc<Vm>,
    /// Program, verifier and inputs.
    pub contents: Contents,
}

/// The thread that checks, and what it and others found out about providers.
pub struct Checks {
    orders: Option<SyncSender<Order>>,
    done: Receiver<(u64, Verdict)>,
    stop: StopFlag,
    thread: Option<JoinHandle<()>>,
    book: Option<BookFile>,
}

impl Checks {
    /// For a job whose results nobody checks here.
    pub fn none() -> Self {
        let (_, done) = sync_channel(1);
        Self { orders: None, done, stop: StopFlag::new(), thread: None, book: None }
    }

    /// Starts the thread; it prepares the job when the first check comes.
    pub fn start(data: &DataDir, plan: CheckPlan) -> Outcome<Self> {
        let book = Some(BookFile { path: data.root().join("trust.json"), news: Vec::new() });
        let (orders, todo) = sync_channel(AT_ONCE.into());
        let (answers, done) = sync_channel(AT_ONCE.into());
        let stop = StopFlag::new();
        let flag = stop.clone();
        let work = move || {
            let mut prepared = None;
            for order in todo {
                let order: Order = order;
                let task = order.task();
                let job = prepared.get_or_insert_with(|| Prepared::new(&plan));
                let verdict = match job {
                    Ok(job) => job.look(order, &flag),
                    Err(reason) => Verdict::Unable(reason.clone()),
                };
                if flag.is_set() || answers.send((task, verdict)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("bmm-checks".into()).spawn(work);
        let thread = thread.map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { orders: Some(orders), done, stop, thread: Some(thread), book })
    }

    /// Begins a check; the bytes of what is judged are in `outputs`.
    pub fn begin(&self, task: u64, how: Check, outputs: &mut Outputs) -> Result<(), Verdict> {
        let unable = |reason: &str| Verdict::Unable(reason.to_owned());
        let order = match how {
            Check::Run => Order::Run(task),
            Check::Judge(content) => {
                Order::Judge(task, outputs.get(content.hash).map_err(|failure| Verdict::Unable(failure.message))?)
            }
        };
        let orders = self.orders.as_ref().ok_or_else(|| unable("this job is checked by nobody here"))?;
        orders.try_send(order).map_err(|_| unable("the checking thread is not there"))
    }

    /// Returns what was found since this was last asked.
    pub fn take_done(&self) -> Vec<(u64, Verdict)> {
        let mut all = Vec::new();
        loop {
            match self.done.try_recv() {
                Ok(done) => all.push(done),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return all,
            }
        }
    }

    /// Notes a finding; it is on disk with the next [`Self::save`].
    pub fn note(&mut self, finding: Finding) {
        if let Some(book) = &mut self.book {
            book.news.push(finding);
        }
    }

    /// Writes what was noted.
    pub fn save(&mut self) -> Outcome {
        self.book.as_mut().map_or(Ok(()), BookFile::save)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.stop.stop();
        self.orders = None;
        // The thread may wait to be rid of an answer.
        let _ = self.take_done();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A job that is ready to be checked.
struct Prepared {
    job: PreparedJob,
    verifier: Option<Arc<bmm_vm::Program>>,
}

impl Prepared {
    fn new(plan: &CheckPlan) -> Result<Self, String> {
        let CheckPlan { spec, vm, contents } = plan;
        let verifier = match spec.verify {
            Verify::Checker(checker) => {
                let module = contents(checker.app.hash).ok_or("the verifier is not here")?;
                Some(vm.prepare(&module, spec.canonical_nans).map_err(|error| format!("verify.app: {error}"))?)
            }
            _ => None,
        };
        Ok(Self { job: PreparedJob::new(vm, spec, contents.clone())?, verifier })
    }

    fn look(&self, order: Order, stop: &StopFlag) -> Verdict {
        match (order, &self.verifier) {
            (Order::Run(task), _) => {
                let ran = self.job.run(task, stop);
                match ran.result.end {
                    TaskEnd::Done(output) => Verdict::Found { content: output.content(), fuel: ran.result.fuel },
                    TaskEnd::Failed(failure) => Verdict::Unable(failure.message),
                }
            }
            (Order::Judge(task, bytes), Some(verifier)) => match self.job.judge(verifier, task, bytes, stop) {
                Ok(yes) => Verdict::Judged(yes),
                Err(reason) => Verdict::Unable(reason),
            },
            (Order::Judge(..), None) => Verdict::Unable("the job has no verifier".into()),
        }
    }
}

/// The book of trust as a file; several processes may have jobs under way, so it is read before it is written.
struct BookFile {
    path: PathBuf,
    news: Vec<Finding>,
}

impl BookFile {
    fn save(&mut self) -> Outcome {
        if self.news.is_empty() {
            return Ok(());
        }
        let mut book = read_book(&self.path)?;
        self.news.drain(..).for_each(|finding| book.note(finding));
        write_atomically(&self.path, &serde_json::to_vec(&book).expect("a book is plain values"))
    }
}

/// Reads the book of trust of a data folder.
pub fn trust(data: &DataDir) -> Outcome<TrustBook> {
    read_book(&data.root().join("trust.json"))
}

fn read_book(path: &Path) -> Outcome<TrustBook> {
    if !path.exists() {
        return Ok(TrustBook::default());
    }
    let text = std::fs::read(path).doing("read", path)?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::config(format!("{} is damaged: {error}", path.display()))
            .hint("remove it: nobody is trusted then until results show it")
    })
}
