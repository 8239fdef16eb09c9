//! One stay of a service at one provider, as its requester sees it.

use super::{
    forward::connect,
    keep::{Keeper, State},
};
use crate::{
    jobs::now_micros,
    marketplace::{introduced, talk},
};
use alloy_primitives::Address;
use bmm_net::{
    PeerId,
    market::{RelayRequest, SERVICE_PROTOCOL, SessionSender},
};
use bmm_types::market::{FromHost, Listing, Probe, Snapshot, ToHost, Wire};
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

/// How often it is looked whether the user wants something.
const LOOK: Duration = Duration::from_millis(300);
/// How long a provider may take to make a service ready, its image included.
const BEGIN_PATIENCE: Duration = Duration::from_mins(10);
/// How long it may take for the last copy.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How a stay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The provider is gone, or did not do what it should: another one is looked for.
    Lost(String),
    /// The service is over.
    Over,
    /// The user wants this process to end.
    Interrupted,
}

/// A stay that goes on.
struct Stay<'a> {
    keeper: &'a mut Keeper,
    provider: Address,
    peer: PeerId,
    sender: SessionSender,
    copying: Option<JoinHandle<Result<Snapshot, String>>>,
    stopping: Option<Instant>,
}

impl Keeper {
    /// Lets one provider host the service until that ends.
    pub(super) async fn stay(&mut self, listing: &Listing) -> Left {
        match self.try_stay(listing).await {
            Ok(left) => left,
            Err(reason) => Left::Lost(reason),
        }
    }

    async fn try_stay(&mut self, listing: &Listing) -> Result<Left, String> {
        let (peer, provider, stream) = introduced(&self.place, &self.speaker, listing, SERVICE_PROTOCOL).await?;
        let (sender, mut inbox) = talk::<FromHost>(stream);
        let State { record, spec } = &self.state;
        let job = record.account.announcement(spec.encode());
        let snapshot = record.snapshot.clone().map(|chunks| Snapshot { chunks });
        sender.try_send(ToHost::Begin { job, snapshot }.encode()).map_err(|error| error.to_string())?;
        let mut stay = Stay { keeper: self, provider, peer, sender, copying: None, stopping: None };
        let ended = stay.go_on(&mut inbox).await;
        if let Some(copying) = stay.copying.take() {
            stay.keep_copy(copying.await.map_err(|error| error.to_string())?);
        }
        ended
    }
}

impl Stay<'_> {
    async fn go_on(&mut self, inbox: &mut mpsc::Receiver<FromHost>) -> Result<Left, String> {
        let mut began: Option<Instant> = None;
        let asked = Instant::now();
        let mut clock = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return Err("the connection broke".to_owned()) };
                    if message == FromHost::Started && began.is_none() {
                        began = Some(Instant::now());
                        self.keeper.begun(self.provider, self.peer);
                    }
                    if let Some(left) = self.hear(message).await? {
                        return Ok(left);
                    }
                }
                _ = clock.tick() => {}
            }
            if let Some(copying) = self.copying.take_if(|copying| copying.is_finished()) {
                self.keep_copy(copying.await.map_err(|error| error.to_string())?);
            }
            if began.is_none() && asked.elapsed() > BEGIN_PATIENCE {
                return Err("it does not begin".to_owned());
            }
            if self.keeper.is_interrupted() {
                return Ok(Left::Interrupted);
            }
            match self.stopping {
                Some(at) if at.elapsed() > STOP_PATIENCE => return Ok(Left::Over),
                None if self.keeper.is_to_stop() => {
                    self.say(&ToHost::Stop)?;
                    self.stopping = Some(Instant::now());
                }
                _ => {}
            }
        }
    }

    fn say(&self, message: &ToHost) -> Result<(), String> {
        self.sender.try_send(message.encode()).map_err(|error| error.to_string())
    }

    async fn hear(&mut self, message: FromHost) -> Result<Option<Left>, String> {
        match message {
            FromHost::Started => self.keeper.note("the program is started"),
            FromHost::Health(healthy) => {
                self.keeper.state.record.healthy = healthy;
                self.keeper.save()?;
                self.keeper.note(if healthy { "it is healthy" } else { "it is not healthy" });
            }
            FromHost::Due { intervals } => self.pay(intervals).await?,
            FromHost::Copied(snapshot) => self.fetch(snapshot).await?,
            FromHost::Log(bytes) => self.keeper.folder.append_log(&bytes).map_err(|failure| failure.message)?,
            FromHost::Over { reason } => {
                let over = self.stopping.is_some() || self.keeper.payer.is_over();
                return if over { Ok(Some(Left::Over)) } else { Err(reason) };
            }
        }
        Ok(None)
    }

    /// Pays an interval, if the service answers here and the time has really passed. The promise is on disk before it is sent.
    async fn pay(&mut self, intervals: u64) -> Result<(), String> {
        // What was due before it was stopped is paid, although it does not answer any more.
        if self.stopping.is_none()
            && let Probe::Tcp(port) = self.keeper.state.spec.probe
            && self.keeper.state.spec.ports.iter().any(|known| known.port == port)
        {
            let request = RelayRequest { job: self.keeper.state.record.account.id, port };
            let answered = connect(&self.keeper.place, self.peer, request).await;
            answered.map_err(|error| format!("it wants to be paid, and the service does not answer: {error}"))?;
        }
        let total = self.keeper.payer.due(self.provider, intervals, now_micros()).map_err(|error| error.to_string())?;
        let record = &mut self.keeper.state.record;
        record.account.promised_bmm.clone_from(self.keeper.payer.totals());
        record.intervals = self.keeper.payer.intervals();
        self.keeper.save()?;
        let voucher = self.keeper.state.record.account.promise(&self.keeper.key, self.provider, total)?;
        self.say(&ToHost::Pay(voucher))
    }

    /// Fetches the chunks of a copy that are not here yet.
    async fn fetch(&mut self, snapshot: Snapshot) -> Result<(), String> {
        if let Some(copying) = self.copying.take() {
            self.keep_copy(copying.await.map_err(|error| error.to_string())?);
        }
        let (fetcher, peer) = (self.keeper.fetcher.clone(), self.peer);
        self.keeper.pin(&snapshot.chunks);
        self.copying = Some(tokio::spawn(async move {
            for chunk in &snapshot.chunks {
                fetcher.fetch(*chunk, &[peer]).await.map_err(|error| error.to_string())?;
            }
            Ok(snapshot)
        }));
        Ok(())
    }

    fn keep_copy(&mut self, fetched: Result<Snapshot, String>) {
        let kept = fetched.and_then(|snapshot| self.keeper.keep_snapshot(snapshot));
        if let Err(error) = kept {
            self.keeper.note(format!("a copy of the volume did not come: {error}"));
        }
    }
}
