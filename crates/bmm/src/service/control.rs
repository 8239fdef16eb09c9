//! Beginning a service, going on with it, and ending it.

use super::{
    forward::forward,
    keep::{Keeper, KeeperParts, State},
    record::{ServiceFolder, ServiceRecord},
    settle::settle,
};
use crate::{
    cli::{Context, interrupts},
    failure::{Failure, IoContext, Outcome},
    jobs::{Escrow, NetChoice, Network, check_funds, join_market, now_secs, speaker, unlock},
    kept::{Account, KeptState},
    output,
};
use alloy_signer_local::PrivateKeySigner;
use bmm_net::content::ContentStore;
use bmm_types::market::ServiceSpec;
use std::{collections::BTreeMap, net::SocketAddr, path::Path};

/// How much longer than its paid time a service may be under way, seconds, and as much again as that.
const SPARE_SECS: u64 = 3_600;
/// Gas that must be left beside the budget.
const GAS_ROOM: u128 = 2_000_000;
/// What the requester keeps of image and snapshots, beside twice the volume, bytes.
const STORE_BYTES: u64 = 1 << 30;

/// A service to be begun.
pub struct NewService {
    /// What it is.
    pub spec: ServiceSpec,
    /// Its image.
    pub image: Vec<u8>,
    /// Ports of this machine, by the names of the service's; the same port where there is none.
    pub listen: BTreeMap<String, u16>,
    /// How to find providers.
    pub network: NetChoice,
    /// Who pays.
    pub wallet: Option<String>,
}

impl NewService {
    /// Begins it and keeps it until it is over.
    pub fn run(self, context: &Context, password_file: Option<&Path>) -> Outcome {
        for name in self.listen.keys() {
            if !self.spec.ports.iter().any(|port| port.name == *name) {
                return Err(Failure::user(format!("--listen names the port {name:?}, which the service has not"))
                    .hint("the names are those of `ports` in the file's section [service]"));
            }
        }
        let network = Network::join(context)?;
        let key = unlock(context, self.wallet.as_deref(), password_file)?;
        let cost = self.spec.cost().ok_or_else(|| Failure::user("the service costs more than there can be"))?;
        let told = format!("the service costs up to {cost}");
        let hint = "lower service.duration or service.price, or choose another wallet with --wallet";
        check_funds(&network.rpc, key.address(), cost, GAS_ROOM, &told, hint)?;
        let chain_id = network.rpc.chain_id()?;
        let seconds = self.spec.interval_millis.saturating_mul(self.spec.intervals) / 1_000;
        let deadline = now_secs().saturating_add(seconds.saturating_mul(2)).saturating_add(SPARE_SECS);
        let ports = self.spec.ports.iter().map(|port| {
            let local = self.listen.get(&port.name).copied().unwrap_or(port.port);
            (port.name.clone(), SocketAddr::from(([127, 0, 0, 1], local)))
        });
        let record = ServiceRecord {
            account: Account::new(self.spec.name.clone(), chain_id, key.address(), cost, deadline),
            intervals: 0,
            host: None,
            healthy: false,
            begun: 0,
            snapshot: None,
            ports: ports.collect(),
            network: self.network,
        };
        let folder = ServiceFolder::create(&context.data, &record, &self.spec)?;
        store(&folder, &self.spec)?.put(&self.image).map_err(Failure::internal)?;
        drop(self.image);
        keep(context, &network, &key, &folder)
    }
}

fn store(folder: &ServiceFolder, spec: &ServiceSpec) -> Outcome<ContentStore> {
    let volume = spec.volume.as_ref().map_or(0, |volume| volume.size_bytes);
    let limit = volume.saturating_mul(3).saturating_add(spec.image.size).saturating_add(STORE_BYTES);
    ContentStore::open(&folder.path("content"), limit).map_err(Failure::internal)
}

/// Goes on with a service whose process has ended.
pub fn resume(context: &Context, id: &str, password_file: Option<&Path>) -> Outcome {
    let (folder, record) = ServiceFolder::find(context, id)?;
    let network = Network::join(context)?;
    let key = unlock(context, Some(&record.account.requester.to_string()), password_file)?;
    keep(context, &network, &key, &folder)
}

/// Ends a service: tells the process that keeps it, or settles it here if there is none.
pub fn stop(context: &Context, id: &str, password_file: Option<&Path>) -> Outcome {
    let (folder, record) = ServiceFolder::find(context, id)?;
    let mark = folder.stop_mark();
    std::fs::write(&mark, b"").doing("write", &mark)?;
    if folder.lock()?.is_none() {
        output::print(context.global.json, &record, "its process was told; it stops and settles the service");
        return Ok(());
    }
    let network = Network::join(context)?;
    let key = unlock(context, Some(&record.account.requester.to_string()), password_file)?;
    keep(context, &network, &key, &folder)
}

/// Opens the escrow, keeps the service somewhere until it is over, and settles.
fn keep(context: &Context, network: &Network, key: &PrivateKeySigner, folder: &ServiceFolder) -> Outcome {
    let json = context.global.json;
    let _lock = folder.lock_alone()?;
    let (mut record, spec) = (folder.record()?, folder.spec()?);
    let escrow = Escrow::new(network.rpc.clone(), key.clone(), record.account.id);
    if record.account.state == KeptState::Opening {
        output::note(
            json,
            format!(
                "service {}: up to {} for {} intervals",
                record.account.short_id(),
                record.account.budget_bmm,
                spec.intervals
            ),
        );
        record.account.open(&escrow, spec.hash().0)?;
        folder.save(&record)?;
    }
    if record.account.state == KeptState::Open && !folder.stop_mark().exists() {
        let membership = join_market(&context.config.network, &record.network, &network.rpc)?;
        let place = membership.place();
        let store = store(folder, &spec)?;
        let _image = store.pin(spec.image.hash);
        let served = store.clone();
        place.serve_content(move |hash| served.find(hash))?;
        let (id, speaker) = (record.account.id, speaker(key, place));
        let state = State { record: record.clone(), spec: spec.clone() };
        let parts = KeeperParts {
            place: place.clone(),
            speaker,
            key: key.clone(),
            folder: folder.clone(),
            state,
            store,
            interrupts: interrupts()?,
            json,
        };
        let (mut keeper, whereabouts) = Keeper::new(parts);
        for port in &spec.ports {
            let local = record.ports.get(&port.name).map_or(0, SocketAddr::port);
            let at = forward(place, whereabouts.clone(), id, local, port.port)?;
            keeper.note(format!("port {} is reached at {at}", port.name));
            keeper.state.record.ports.insert(port.name.clone(), at);
        }
        let over = place.runtime().block_on(keeper.keep()).map_err(Failure::internal)?;
        record = keeper.state.record.clone();
        if !over {
            let id = record.account.short_id();
            return Err(Failure::job("interrupted").hint(format!(
                "nothing is lost: `bmm service resume {id}` goes on with the last copy of the volume, `bmm service stop {id}` ends it"
            )));
        }
    }
    settle(&escrow, folder, &mut record, json)
}
