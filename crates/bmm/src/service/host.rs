//! The provider's side: takes services of requesters, one thread each, and lets their requesters in.

use super::tend::{Hosting, Tended};
use crate::{
    failure::{Failure, Outcome},
    jobs::{Holds, hosts::check_escrow},
    marketplace::{Place, talk},
    provide::Ledger,
    rpc::RpcClient,
};
use alloy_primitives::{Address, B256};
use bmm_market::service::{Meter, objection};
use bmm_net::{
    PeerId, Stream,
    content::{ContentStore, Fetcher, Pin},
    market::{RELAY_PROTOCOL, RelayRequest, Role, SERVICE_PROTOCOL, Speaker, answer_relay, introduce, relay},
};
use bmm_types::{
    Amount,
    market::{Content, FromHost, JobAnnouncement, Offer, ServiceSpec, Snapshot, ToHost, Wire},
};
use bmm_vm::{
    Vm,
    container::{Containers, Door, Service, ServiceInput, VolumeInput},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// How long a requester may take to say what it wants.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// Connections to the services here, and those of one peer.
const RELAYS: usize = 256;
const RELAYS_PER_PEER: usize = 64;
/// How long a service waits for tasks to leave a slot.
const SLOT_PATIENCE: Duration = Duration::from_mins(5);
/// How long a service may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What hosting takes.
#[derive(Clone)]
pub struct HostParts {
    /// The network.
    pub place: Place,
    /// The own side of introductions.
    pub speaker: Speaker,
    /// The sandbox; containers must be allowed in it.
    pub vm: Arc<Vm>,
    /// What is offered.
    pub offer: Offer,
    /// Where images and snapshots are, which is served.
    pub store: ContentStore,
    /// Fetches into that store.
    pub fetcher: Fetcher<Stream>,
    /// Where vouchers are kept.
    pub ledger: Ledger,
    /// The chain.
    pub rpc: RpcClient,
    /// The provider's slots; a service has one.
    pub holds: Holds,
}

/// Who may go through which door.
#[derive(Clone, Debug, Default)]
struct Doors(Arc<Mutex<HashMap<B256, Entrance>>>);

#[derive(Clone, Debug)]
struct Entrance {
    peer: PeerId,
    ports: Vec<u16>,
    door: Door,
}

/// Takes services, as many at once as there are slots.
pub fn host_services(parts: HostParts) -> Outcome {
    if parts.vm.containers().is_none() {
        return Ok(());
    }
    let place = parts.place.clone();
    let _entered = place.runtime().enter();
    let network = place.network();
    let accept = |name: &str, each, all| network.accept(&network.protocol(name), each, all).map_err(Failure::internal);
    let mut asked = accept(SERVICE_PROTOCOL, 4, 64)?;
    let mut knocked = accept(RELAY_PROTOCOL, RELAYS_PER_PEER, RELAYS)?;
    let doors = Doors::default();
    let entrances = doors.clone();
    tokio::spawn(async move {
        while let Some((peer, stream)) = asked.next().await {
            let (parts, doors) = (parts.clone(), doors.clone());
            tokio::spawn(async move {
                if let Err(error) = attend(peer, stream, parts, doors).await {
                    tracing::info!(%peer, error, "a service is not hosted any more");
                }
            });
        }
    });
    tokio::spawn(async move {
        while let Some((peer, stream)) = knocked.next().await {
            let doors = entrances.clone();
            tokio::spawn(async move {
                if let Err(error) = let_in(peer, stream, &doors).await {
                    tracing::debug!(%peer, %error, "a connection to a service ended");
                }
            });
        }
    });
    Ok(())
}

/// Connects the requester of a service, and nobody else, with one of its ports.
async fn let_in(peer: PeerId, mut stream: Stream, doors: &Doors) -> std::io::Result<()> {
    let request = RelayRequest::read(&mut stream).await?;
    let entrance = doors.0.lock().get(&request.job).cloned();
    let entrance = entrance.filter(|entrance| entrance.peer == peer && entrance.ports.contains(&request.port));
    let Some(entrance) = entrance else { return answer_relay(&mut stream, false).await };
    let connect = move || entrance.door.connect(request.port, CONNECT);
    match tokio::task::spawn_blocking(connect).await? {
        Ok(socket) => {
            answer_relay(&mut stream, true).await?;
            relay(stream, socket).await
        }
        Err(_) => answer_relay(&mut stream, false).await,
    }
}

/// Attends to one requester until its service is over here.
async fn attend(peer: PeerId, mut stream: Stream, parts: HostParts, doors: Doors) -> Result<(), String> {
    let requester = introduce(&mut stream, &parts.speaker, Role::Provider, &peer.to_bytes()).await;
    let requester = requester.map_err(|error| error.to_string())?;
    let (sender, mut inbox) = talk::<ToHost>(stream);
    let first = tokio::time::timeout(FIRST_WORD, inbox.recv()).await.ok().flatten();
    let Some(ToHost::Begin { job, snapshot }) = first else { return Err("it does not say what to host".to_owned()) };
    let handle = tokio::runtime::Handle::current();
    let host = move || {
        let said = sender.clone();
        let slot = parts.holds.take(SLOT_PATIENCE).ok_or_else(|| "all slots are taken".to_owned());
        let begun = slot.and_then(|slot| {
            let begin = Begin { parts: &parts, handle: &handle, peer, requester };
            Ok((slot, begin.begin(job, snapshot)?))
        });
        let ended = begun.map(|(_slot, begun)| {
            let Begun { spec, job, service, meter, pins } = begun;
            let entrance =
                Entrance { peer, ports: spec.ports.iter().map(|port| port.port).collect(), door: service.door() };
            doors.0.lock().insert(job.job, entrance);
            let id = job.job;
            let (own, store) = (parts.speaker.operator, parts.store.clone());
            let hosting =
                Hosting { spec, job, own, service, meter, sender, inbox, store, ledger: parts.ledger.clone() };
            let ended = Tended::new(hosting).run();
            doors.0.lock().remove(&id);
            drop(pins);
            ended
        });
        let reason = match ended {
            Ok(reason) | Err(reason) => reason,
        };
        let text = reason.chars().take(1_000).collect();
        let _ = said.try_send(FromHost::Over { reason: text }.encode());
        reason
    };
    Err(tokio::task::spawn_blocking(host).await.map_err(|error| error.to_string())?)
}

/// A requester that wants something hosted.
struct Begin<'a> {
    parts: &'a HostParts,
    handle: &'a tokio::runtime::Handle,
    peer: PeerId,
    requester: Address,
}

/// A service that is laid out.
struct Begun {
    spec: ServiceSpec,
    job: JobAnnouncement,
    service: Service,
    meter: Meter,
    pins: Vec<Pin>,
}

impl Begin<'_> {
    fn begin(&self, job: JobAnnouncement, snapshot: Option<Snapshot>) -> Result<Begun, String> {
        let parts = self.parts;
        if job.requester != self.requester || job.chain_id != parts.speaker.chain_id {
            return Err("the job is another's, or of another chain".to_owned());
        }
        let spec = ServiceSpec::decode(&job.spec).map_err(|error| error.to_string())?;
        if let Some(objection) = objection(&parts.offer, &spec) {
            return Err(objection);
        }
        parts.vm.containers().map_or(Ok(()), Containers::check_services).map_err(|error| error.to_string())?;
        check_escrow(&parts.rpc, &job)?;
        let before = parts.ledger.enter(&job).and_then(|()| parts.ledger.promised(job.job));
        let before: Amount = before.map_err(|failure| failure.message)?;
        let (image, mut pins) = self.fetch(&[spec.image])?;
        let archive = snapshot.map(|snapshot| self.fetch(&snapshot.chunks)).transpose()?;
        let containers = parts.vm.containers().ok_or("no containers run here")?;
        let image = containers.prepare(&image).map_err(|error| error.to_string())?;
        let volume = spec.volume.as_ref();
        let input = ServiceInput {
            args: &spec.args,
            env: &spec.env,
            memory_bytes: spec.memory_bytes,
            volume: volume.map(|volume| VolumeInput { path: &volume.path, size_bytes: volume.size_bytes }),
        };
        let kept = archive.map(|(bytes, more)| {
            pins.extend(more);
            bytes
        });
        let service = Service::lay_out(image, &input, kept.as_deref()).map_err(|error| error.to_string())?;
        let meter = Meter::new(&spec, before);
        Ok(Begun { spec, job, service, meter, pins })
    }

    /// Fetches content of the requester, and returns it joined.
    fn fetch(&self, contents: &[Content]) -> Result<(Vec<u8>, Vec<Pin>), String> {
        let store = &self.parts.store;
        let pins = contents.iter().map(|content| store.pin(content.hash)).collect();
        let mut joined = Vec::new();
        for content in contents {
            let fetched = self.handle.block_on(self.parts.fetcher.fetch(*content, &[self.peer]));
            fetched.map_err(|error| error.to_string())?;
            let bytes = store.read(content.hash).map_err(|error| error.to_string())?;
            joined.extend(bytes.ok_or("fetched content is gone")?);
        }
        Ok((joined, pins))
    }
}
