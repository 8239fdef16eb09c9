//! `bmm provide`: runs tasks of strangers until it is stopped.

use super::{
    collect::Collector,
    ledger::Ledger,
    status::{Running, is_paused, lock_file},
    when::When,
};
use crate::{
    cli::Context,
    config::Reach,
    failure::{Failure, IoContext, Outcome},
    jobs::{
        Input, Prepare, ProviderHandle, ProviderHost, Results, addresses, enter_market,
        hosts::{Share, allow_containers, check_escrow, memory_share, offer, open_vm, post_stake, rating, sign_offer},
        speaker,
    },
    marketplace::{Advert, ContentDesk, Membership, Place, take_sessions},
    node::Contributor,
    output,
    rental::{MinerParts, rent_out},
    rpc::{RpcClient, connect},
    service::{HostParts, host_services},
    wallet::{Passwords, WalletStore, load_key, load_or_create_key},
};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::ProviderConfig;
use bmm_net::content::ContentStore;
use bmm_types::{Amount, market::SignedOffer};
use bmm_vm::{Vm, container::EngineAddress};
use parking_lot::Mutex;
use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

/// How often the process tells how it is.
const TELL: Duration = Duration::from_secs(1);

/// What the user chose.
#[derive(Debug, Default)]
pub struct ProvideOptions {
    /// Whose key signs and is paid; by default one of the data folder's own.
    pub wallet: Option<String>,
    /// Where its password is.
    pub password_file: Option<PathBuf>,
    /// Tasks at once.
    pub slots: Option<u16>,
    /// Price of 10^9 units of fuel.
    pub price: Option<Amount>,
    /// The container engine that runs containers; by default as configured.
    pub engine: Option<EngineAddress>,
    /// Where to listen; by default as configured.
    pub listen: Vec<String>,
    /// At which addresses others reach it; by default as configured.
    pub external: Vec<String>,
    /// Nodes to begin with; by default as configured.
    pub bootstrap: Vec<String>,
    /// Whether nodes of the same local network are looked for, if the configuration lets them be.
    pub mdns: bool,
    /// How far the network reaches; by default as configured.
    pub reach: Option<Reach>,
}

/// Runs until it is interrupted.
pub fn run(context: &Context, options: &ProvideOptions, interrupts: &Receiver<()>) -> Outcome {
    let data = &context.data;
    data.create(&data.providers())?;
    let _lock = lock(context)?;
    let key = operator(context, options)?;
    let rpc = connect(context)?;
    let slots = options.slots.unwrap_or_else(|| context.config.providers());
    let vm = open_vm(data, slots)?;
    let mut config = context.config.provide.clone();
    if let Some(price) = options.price {
        config.price_per_gfuel = price;
    }
    if let Some(engine) = &options.engine {
        config.engine = Some(engine.clone());
        config.containers = true;
    }
    output::note(context.global.json, "rating this machine");
    let memory = match config.memory_mib {
        0 => memory_share(slots),
        // As much again is kept for the outputs, which are in memory too.
        mib => (mib << 20) / (2 * u64::from(slots.max(1))),
    };
    let fuel_per_second = rating(data, &vm)?;
    let mut share = Share::new(slots, memory, data);
    if config.miner {
        share.rent_miner(&config, fuel_per_second);
    }
    if config.containers {
        allow_containers(data, &config, &vm)?;
    }
    let when = When::new(config.hours, config.idle_only)?;
    let chain_id = rpc.chain_id()?;
    let offer = sign_offer(&key, chain_id, offer(&key, &config, &vm, fuel_per_second, share));
    let membership = join(context, options, &rpc, chain_id)?;
    let ledger = Ledger::open(data, key.address())?;
    let parts = Parts { context, key: &key, rpc: &rpc, vm, offer, ledger: ledger.clone(), paused: Arc::default() };
    let provider = parts.start(membership.place())?;
    let inbox = provider.inbox().clone();
    let own = key.address();
    let operators = everybody(context, &key, ledger)?;
    // What the work earns of the resource pot comes to the same wallets.
    let keys = operators.iter().map(|(_, key)| key.clone()).collect();
    let contributor = Contributor::start_claiming(rpc.clone(), keys)?;
    let collector = Collector::start(operators, &rpc, move |operator, told| {
        if operator == own {
            // If the queue is full, it is told again later.
            let _ = inbox.try_send(Input::Chain(told));
        }
    })?;
    parts.tell(membership.place(), &provider)?;
    wait(&parts, membership.place(), &provider, when, interrupts)?;
    output::note(context.global.json, "stopping: the tasks that run are finished and handed in");
    provider.finish("the provider is stopped");
    drop((collector, contributor));
    Running::remove(data);
    Ok(())
}

/// One provider runs in a data folder.
fn lock(context: &Context) -> Outcome<File> {
    let path = lock_file(&context.data);
    let file = File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::user("a provider runs in this data folder already")
            .hint("`bmm provide --status` shows it; choose another folder with --data for a second one")),
        Err(std::fs::TryLockError::Error(error)) => Err(error).doing("lock", &path),
    }
}

fn operator(context: &Context, options: &ProvideOptions) -> Outcome<PrivateKeySigner> {
    match &options.wallet {
        Some(wallet) => {
            let store = WalletStore::new(context.data.wallets()).with_dev_key(context.data.dev_key());
            store.unlock(wallet, &Passwords::choose(options.password_file.as_deref()))
        }
        None => load_or_create_key(&context.data.providers().join("operator.key")),
    }
}

/// Returns the ledgers of all operators whose keys are in this data folder, so that a voucher of an earlier one is claimed too.
fn everybody(context: &Context, key: &PrivateKeySigner, ledger: Ledger) -> Outcome<Vec<(Ledger, PrivateKeySigner)>> {
    let mut keys = vec![key.clone()];
    let folder = context.data.providers();
    for entry in std::fs::read_dir(&folder).doing("read", &folder)? {
        let path = entry.doing("read", &folder)?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            keys.push(load_key(&path)?);
        }
    }
    let mut all = vec![(ledger, key.clone())];
    for (operator, ledger) in Ledger::all(&context.data)? {
        if operator != key.address()
            && let Some(key) = keys.iter().find(|key| key.address() == operator)
        {
            all.push((ledger, key.clone()));
        }
    }
    Ok(all)
}

fn join(context: &Context, options: &ProvideOptions, rpc: &RpcClient, chain_id: u64) -> Outcome<Membership> {
    let mut config = context.config.network.clone();
    config.mdns &= options.mdns;
    config.reach = options.reach.unwrap_or(config.reach);
    let mut net = config.provider(chain_id)?;
    if !options.listen.is_empty() {
        (net.listen, net.external) = (addresses(&options.listen)?, Vec::new());
    }
    if !options.external.is_empty() {
        net.external = addresses(&options.external)?;
    }
    if !options.bootstrap.is_empty() {
        net.bootstrap = addresses(&options.bootstrap)?;
    }
    enter_market(net, Some(context.data.providers().join("net")), rpc, chain_id)
}

/// Waits for the user to stop it; tells meanwhile how it is, and pauses it when its owner wants so.
fn wait(
    parts: &Parts<'_>,
    place: &Place,
    provider: &ProviderHandle,
    mut when: When,
    interrupts: &Receiver<()>,
) -> Outcome {
    loop {
        let objection = when.objection(is_paused(&parts.context.data));
        let changed = objection.is_some() != parts.paused.lock().is_some();
        // If the queue is full, it is told the next time.
        if changed && provider.inbox().try_send(Input::Pause(objection.clone())).is_ok() {
            let words = objection.as_deref().unwrap_or("working again");
            output::note(parts.context.global.json, words);
            *parts.paused.lock() = objection;
        }
        parts.running(place, provider).write(&parts.context.data)?;
        if interrupts.recv_timeout(TELL) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

/// What a provider is made of.
struct Parts<'a> {
    context: &'a Context,
    key: &'a PrivateKeySigner,
    rpc: &'a RpcClient,
    vm: Arc<Vm>,
    offer: SignedOffer,
    ledger: Ledger,
    /// Why it takes no work now.
    paused: Arc<Mutex<Option<String>>>,
}

impl Parts<'_> {
    /// Starts the provider and lets requesters and their content in.
    fn start(&self, place: &Place) -> Outcome<ProviderHandle> {
        let limit = self.context.config.provide.disk_mib << 20;
        let store = ContentStore::open(&self.context.data.content_cache(), limit).map_err(Failure::internal)?;
        let served = store.clone();
        place.serve_content(move |hash| served.find(hash))?;
        let desk = ContentDesk::new(place.clone(), place.fetcher(store.clone()), limit / 2);
        let (read, keeping) = (store.clone(), self.ledger.clone());
        let provider = ProviderHandle::start(ProviderHost {
            key: self.key.clone(),
            config: ProviderConfig {
                max_stake: self.context.config.provide.max_stake,
                ..ProviderConfig::new(place.chain_id(), self.offer.clone())
            },
            vm: self.vm.clone(),
            contents: Arc::new(move |hash| read.read(hash).ok().flatten().map(Into::into)),
            results: Results::Store(store.clone()),
            prepare: self.prepare(desk),
            keep_voucher: Arc::new(move |voucher| keeping.keep(voucher)),
        })?;
        host_services(HostParts {
            place: place.clone(),
            speaker: speaker(self.key, place),
            vm: self.vm.clone(),
            offer: self.offer.offer.clone(),
            store: store.clone(),
            fetcher: place.fetcher(store),
            ledger: self.ledger.clone(),
            rpc: self.rpc.clone(),
            holds: provider.holds().clone(),
        })?;
        let speaker = speaker(self.key, place);
        let (free, paused) = (provider.free_slots_shared(), self.paused.clone());
        let free_slots: Arc<dyn Fn() -> Option<u16> + Send + Sync> =
            Arc::new(move || if paused.lock().is_some() { None } else { Some(free()) });
        rent_out(MinerParts {
            place: place.clone(),
            speaker: speaker.clone(),
            offer: self.offer.offer.clone(),
            ledger: self.ledger.clone(),
            rpc: self.rpc.clone(),
            free_slots: free_slots.clone(),
        })?;
        let advert = Advert { offer: self.offer.offer.clone(), free_slots, sign: speaker.sign.clone() };
        take_sessions(place, speaker, provider.inbox().clone())?;
        advert.tell(place);
        place.be_found();
        Ok(provider)
    }

    fn prepare(&self, desk: ContentDesk) -> Prepare {
        let (rpc, ledger, key) = (self.rpc.clone(), self.ledger.clone(), self.key.clone());
        Arc::new(move |announcement, spec, peer| {
            let peer = peer.ok_or_else(|| "its requester is gone".to_owned())?;
            check_escrow(&rpc, announcement)?;
            ledger.enter(announcement).map_err(|failure| failure.message)?;
            let pins = desk.fetch(spec, peer)?;
            // Last, as it is money.
            if !spec.stake.is_zero() {
                ledger.mark_stake(announcement.job).map_err(|failure| failure.message)?;
            }
            post_stake(&rpc, &key, announcement, spec.stake)?;
            Ok(pins)
        })
    }

    fn running(&self, place: &Place, provider: &ProviderHandle) -> Running {
        let peer = place.network().peer_id();
        let whole = |address: bmm_net::Multiaddr| match address.with_p2p(peer) {
            Ok(address) | Err(address) => address.to_string(),
        };
        Running {
            pid: std::process::id(),
            operator: self.key.address(),
            peer: peer.to_string(),
            addresses: place.addresses().into_iter().map(whole).collect(),
            slots: self.offer.offer.slots,
            free_slots: provider.free_slots(),
            price_per_gfuel_bmm: self.offer.offer.price_per_gfuel,
            paused: self.paused.lock().clone(),
            peers: place.network().peers().len(),
        }
    }

    /// Tells the user that it runs.
    fn tell(&self, place: &Place, provider: &ProviderHandle) -> Outcome {
        let running = self.running(place, provider);
        running.write(&self.context.data)?;
        let listens = running.addresses.first().cloned().unwrap_or_else(|| "nowhere".to_owned());
        let text = format!(
            "providing {} slots at {} a Gfuel for {}, listening at {listens}",
            running.slots, running.price_per_gfuel_bmm, running.operator
        );
        output::print(self.context.global.json, &running, text);
        output::note(self.context.global.json, "Ctrl-C stops it; `bmm provide --status` shows what it earns.");
        Ok(())
    }
}
