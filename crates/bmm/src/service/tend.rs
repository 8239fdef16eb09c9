//! A hosted service at work: watched, started again, metered, copied, until it is over.

use crate::{jobs::now_micros, provide::Ledger};
use alloy_primitives::Address;
use bmm_market::service::{Meter, Step};
use bmm_net::{
    content::{ContentStore, Pin},
    market::SessionSender,
};
use bmm_types::market::{FromHost, JobAnnouncement, MAX_LOG_BYTES, Probe, ServiceSpec, Snapshot, ToHost, Wire};
use bmm_vm::container::Service;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

/// How often a service is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long it may take to answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// Pause before the program is started again; it doubles with each further time without health in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// How often it is started without ever being healthy.
const MOST_STARTS: u32 = 8;

/// What a hosted service is made of.
pub(super) struct Hosting {
    pub spec: ServiceSpec,
    pub job: JobAnnouncement,
    /// The own operator.
    pub own: Address,
    pub service: Service,
    pub meter: Meter,
    pub sender: SessionSender,
    pub inbox: Receiver<ToHost>,
    pub store: ContentStore,
    pub ledger: Ledger,
}

/// A service and how it is.
pub(super) struct Tended {
    parts: Hosting,
    healthy: bool,
    looked: Option<Instant>,
    starts: u32,
    not_before: Instant,
    /// The last copy stays as long as its requester may fetch it.
    pins: Vec<Pin>,
}

impl Tended {
    pub fn new(parts: Hosting) -> Self {
        Self { parts, healthy: false, looked: None, starts: 0, not_before: Instant::now(), pins: Vec::new() }
    }

    /// Looks after the service until it is over; returns why it is.
    pub fn run(mut self) -> String {
        let ended = loop {
            match self.turn() {
                Ok(None) => std::thread::sleep(LOOK),
                Ok(Some(reason)) | Err(reason) => break reason,
            }
        };
        self.tell_log();
        self.parts.service.stop();
        self.tell_log();
        ended
    }

    fn say(&self, message: &FromHost) -> Result<(), String> {
        self.parts.sender.try_send(message.encode()).map_err(|error| error.to_string())
    }

    fn turn(&mut self) -> Result<Option<String>, String> {
        self.tell_log();
        loop {
            match self.parts.inbox.try_recv() {
                Ok(ToHost::Pay(voucher)) => {
                    if !self.parts.meter.pay(&voucher, &self.parts.job, self.parts.own) {
                        return Err("a voucher does not pay what is due".to_owned());
                    }
                    self.parts.ledger.keep(&voucher).map_err(|failure| failure.message)?;
                }
                Ok(ToHost::Stop) => {
                    // The program writes what it still has before the last copy.
                    self.parts.service.stop();
                    self.copy()?;
                    return Ok(Some("stopped by its requester".to_owned()));
                }
                Ok(ToHost::Begin { .. }) => return Err("the requester begins twice".to_owned()),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err("its requester is gone".to_owned()),
            }
        }
        self.look()?;
        match self.parts.meter.tick(now_micros(), self.healthy) {
            Step::Nothing => {}
            Step::Due(intervals) => {
                self.say(&FromHost::Due { intervals })?;
                self.copy()?;
            }
            Step::Unpaid => return Err("an interval was not paid".to_owned()),
            Step::Done => {
                self.parts.service.stop();
                self.copy()?;
                return Ok(Some("all intervals are done".to_owned()));
            }
        }
        Ok(None)
    }

    /// Sees whether the program runs and is healthy; starts it if it does not run.
    fn look(&mut self) -> Result<(), String> {
        if !self.parts.service.is_running() {
            self.tell_health(false)?;
            if Instant::now() < self.not_before {
                return Ok(());
            }
            if self.starts >= MOST_STARTS {
                return Err("the program ends again and again; see its log".to_owned());
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << self.starts.min(8)).min(LAST_PAUSE);
            self.starts = self.starts.saturating_add(1);
            self.parts.service.start().map_err(|error| error.to_string())?;
            self.not_before = Instant::now() + pause;
            self.looked = None;
            return self.say(&FromHost::Started);
        }
        // While it is ill it is asked more often, so that it need not wait for its pay.
        let every = Duration::from_millis(self.parts.spec.probe_millis);
        let every = if self.healthy { every } else { every.min(Duration::from_secs(1)) };
        if self.looked.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let healthy = match &self.parts.spec.probe {
            Probe::Tcp(port) => self.parts.service.door().connect(*port, PROBE_PATIENCE).is_ok(),
            Probe::Command(words) => self.parts.service.probe(words, PROBE_PATIENCE),
        };
        if healthy {
            self.starts = 0;
        }
        self.tell_health(healthy)
    }

    fn tell_health(&mut self, healthy: bool) -> Result<(), String> {
        if healthy == self.healthy {
            return Ok(());
        }
        self.healthy = healthy;
        self.say(&FromHost::Health(healthy))
    }

    /// What does not fit is left out: a log is no reason to end.
    fn tell_log(&self) {
        for part in self.parts.service.take_log().chunks(MAX_LOG_BYTES) {
            let _ = self.say(&FromHost::Log(part.to_vec()));
        }
    }

    /// Copies the volume and tells the requester, who fetches it.
    fn copy(&mut self) -> Result<(), String> {
        let copied = self.parts.service.snapshot().map_err(|error| error.to_string())?;
        let Some(archive) = copied else { return Ok(()) };
        let snapshot = Snapshot::of(&archive).ok_or("the volume's copy is too long")?;
        let store = &self.parts.store;
        let pins = snapshot.chunks.iter().map(|chunk| store.pin(chunk.hash)).collect();
        for chunk in archive.chunks(bmm_types::market::SNAPSHOT_CHUNK_BYTES) {
            store.put(chunk).map_err(|error| error.to_string())?;
        }
        // Only now may the last copy go.
        drop(std::mem::replace(&mut self.pins, pins));
        self.say(&FromHost::Copied(snapshot))
    }
}
