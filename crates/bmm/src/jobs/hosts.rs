//! The providers of this process: their keys, offers and threads.

use super::{
    executor::Contents,
    folder::JobFolder,
    link::ToDriver,
    provider::{ProviderHandle, ProviderHost},
    slots::{Blobs, Results},
};
use crate::{
    cli::Context,
    config::ProvideConfig,
    failure::{Failure, Outcome},
    output,
    paths::{DataDir, write_atomically},
    provide::{Collector, Ledger},
    rpc::RpcClient,
    wallet::load_or_create_key,
};
use alloy_primitives::Address;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::{provider::ProviderConfig, rental::price_like_tasks};
use bmm_scrypt::Kernel;
use bmm_types::{
    Amount,
    market::{
        Gpu, Hashing, JobAnnouncement, JobSpec, Machine, Offer, Runtime, SignatureBytes, SignedOffer, offer_hash,
    },
    system::{self, Jobs, job_state, stake_state},
};
use bmm_vm::{
    Vm,
    container::{ContainerError, Devices},
    hardware,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::Sender;

/// How long an offer of this process holds.
const OFFER_SECS: u64 = 7 * 86_400;
/// How long a provider waits for the block of a job's escrow to reach its node.
const ESCROW_PATIENCE: Duration = Duration::from_secs(30);

/// How long a stake's transaction may take to get into a block.
const STAKE_PATIENCE: Duration = Duration::from_mins(3);

/// What the providers of one job share.
pub struct Hosts<'a> {
    /// Where their keys and vouchers are.
    pub data: &'a DataDir,
    /// Prices.
    pub config: &'a ProvideConfig,
    /// The sandbox.
    pub vm: &'a Arc<Vm>,
    /// The job's folder, where large results wait.
    pub folder: &'a JobFolder,
    /// Program and inputs.
    pub contents: &'a Contents,
    /// The chain.
    pub rpc: &'a RpcClient,
    /// Id of the chain.
    pub chain_id: u64,
}

impl Hosts<'_> {
    /// Starts `count` providers of one slot each that talk to `requester`, and looks after their pay while the collector lives.
    pub fn start(
        &self,
        count: u16,
        requester: Address,
        driver: &Sender<ToDriver>,
    ) -> Outcome<(Vec<ProviderHandle>, Option<Collector>)> {
        if count == 0 {
            return Ok((Vec::new(), None));
        }
        let rating = rating(self.data, self.vm)?;
        let (mut providers, mut ledgers) = (Vec::new(), Vec::new());
        for number in 0..count {
            let key = provider_key(self.data, number)?;
            let ledger = Ledger::open(self.data, key.address())?;
            ledgers.push((ledger.clone(), key.clone()));
            let host = self.host(number, count, rating, key, ledger)?;
            providers.push(ProviderHandle::start_for(host, requester, driver.clone())?);
        }
        Ok((providers, Some(Collector::start(ledgers, self.rpc, |_, _| {})?)))
    }

    fn host(
        &self,
        number: u16,
        count: u16,
        rating: u64,
        key: PrivateKeySigner,
        ledger: Ledger,
    ) -> Outcome<ProviderHost> {
        let share = Share::new(1, memory_share(count), self.data);
        let offer = sign_offer(&key, self.chain_id, offer(&key, self.config, self.vm, rating, share));
        let (rpc, taken) = (self.rpc.clone(), ledger.clone());
        let stake_key = key.clone();
        Ok(ProviderHost {
            config: ProviderConfig { max_stake: self.config.max_stake, ..ProviderConfig::new(self.chain_id, offer) },
            vm: self.vm.clone(),
            contents: self.contents.clone(),
            results: Results::Folder(Blobs::new(&self.folder.path().join(format!("provider-{number}")))?),
            prepare: Arc::new(move |announcement, spec, _| {
                check_escrow(&rpc, announcement)?;
                taken.enter(announcement).map_err(|failure| failure.message)?;
                if !spec.stake.is_zero() {
                    taken.mark_stake(announcement.job).map_err(|failure| failure.message)?;
                }
                post_stake(&rpc, &stake_key, announcement, spec.stake)?;
                Ok(Vec::new())
            }),
            keep_voucher: Arc::new(move |voucher| ledger.keep(voucher)),
            key,
        })
    }
}

/// Returns the fuel per second of one core: measured once per processor and version, then kept.
pub(crate) fn rating(data: &DataDir, vm: &Vm) -> Outcome<u64> {
    if let Some(fuel_per_second) = kept_rating(data) {
        return Ok(fuel_per_second);
    }
    let rating = hardware::rate(vm).map_err(Failure::internal)?.fuel_per_s;
    write_atomically(&rating_file(data), &serde_json::to_vec(&(rated(), rating)).expect("plain values"))?;
    Ok(rating)
}

/// Returns the fuel per second of one core, if it was measured.
pub(crate) fn kept_rating(data: &DataDir) -> Option<u64> {
    let (of, fuel_per_second): (String, u64) = serde_json::from_slice(&std::fs::read(rating_file(data)).ok()?).ok()?;
    (of == rated()).then_some(fuel_per_second)
}

fn rating_file(data: &DataDir) -> PathBuf {
    data.root().join("rating.json")
}

/// Names what a rating is of.
fn rated() -> String {
    format!("{} bmm {}", hardware::detect().cpu_model, env!("CARGO_PKG_VERSION"))
}

/// Returns what this process's providers would offer.
pub fn offers(data: &DataDir, config: &ProvideConfig, vm: &Vm, count: u16) -> Outcome<Vec<Offer>> {
    let rating = rating(data, vm)?;
    let share = Share::new(1, memory_share(count), data);
    (0..count).map(|number| Ok(offer(&provider_key(data, number)?, config, vm, rating, share))).collect()
}

/// Returns the addresses of this process's providers.
pub(super) fn addresses(data: &DataDir, count: u16) -> Outcome<Vec<Address>> {
    (0..count).map(|number| Ok(provider_key(data, number)?.address())).collect()
}

fn provider_key(data: &DataDir, number: u16) -> Outcome<PrivateKeySigner> {
    data.create(&data.providers())?;
    load_or_create_key(&data.providers().join(format!("{number}.key")))
}

/// Returns what one of `count` providers may give a task: outputs live in memory too, so each gets half of its part of the machine's.
pub(crate) fn memory_share(count: u16) -> u64 {
    hardware::detect().memory_bytes.map_or(u64::MAX, |bytes| bytes / (2 * u64::from(count.max(1))))
}

/// What of the machine a provider gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Tasks at once.
    pub slots: u16,
    /// Memory of one task, and as much again for its output.
    pub memory_bytes: u64,
    /// Free space for files.
    pub disk_bytes: u64,
    /// What its miner does, if it is for rent.
    pub hashing: Option<Hashing>,
}

impl Share {
    /// Takes from a machine whose files are in `data`.
    pub(crate) fn new(slots: u16, memory_bytes: u64, data: &DataDir) -> Self {
        // Where the system does not tell, nothing is claimed.
        let free = nix::sys::statvfs::statvfs(&data.providers())
            .map_or(0, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
        Self { slots, memory_bytes, disk_bytes: free, hashing: None }
    }

    /// Offers the miner, rated now; its price is such that it earns what tasks earn, unless the owner names one.
    pub(crate) fn rent_miner(&mut self, config: &ProvideConfig, fuel_per_second: u64) {
        let each = crate::mine::hash_rate(Kernel::best());
        let like_tasks = price_like_tasks(config.price_per_gfuel, fuel_per_second, each);
        self.hashing = Some(Hashing {
            price_per_ghash: config.price_per_ghash.or(like_tasks).unwrap_or(config.price_per_gfuel),
            hashes_per_second: each.saturating_mul(self.slots.into()),
        });
    }
}

/// Describes what a provider sells.
pub(crate) fn offer(key: &PrivateKeySigner, config: &ProvideConfig, vm: &Vm, rating: u64, share: Share) -> Offer {
    let limits = vm.config();
    let now = super::escrow::now_secs();
    Offer {
        provider: key.address(),
        price_per_gfuel: config.price_per_gfuel,
        price_per_gib: Amount::ZERO,
        slots: share.slots,
        memory_bytes: limits.max_memory_bytes.min(share.memory_bytes),
        time_millis: 24 * 3_600_000,
        output_bytes: limits.max_output_bytes.min(share.memory_bytes),
        runtimes: runtimes(vm, share),
        isa: std::env::consts::ARCH.to_owned(),
        rating_fuel_per_second: rating,
        hashing: share.hashing,
        machine: machine(config, vm, share.disk_bytes),
        expires_at: now.saturating_add(OFFER_SECS),
        sequence: now,
    }
}

fn runtimes(vm: &Vm, share: Share) -> Vec<Runtime> {
    let others = [vm.containers().map(|_| Runtime::Container), share.hashing.map(|_| Runtime::Miner)];
    [Runtime::Wasm].into_iter().chain(others.into_iter().flatten()).collect()
}

/// Describes the machine with the GPUs that tasks can have: none but those that the owner named, and only in containers.
fn machine(config: &ProvideConfig, vm: &Vm, disk_bytes: u64) -> Machine {
    let mut machine = hardware::detect().machine(disk_bytes);
    if config.gpus.is_empty() || vm.containers().is_none() {
        machine.gpus.clear();
    } else if machine.gpus.is_empty() {
        // No driver tells of them.
        machine.gpus = config.gpus.iter().map(|name| Gpu { name: name.clone(), memory_bytes: 0 }).collect();
    }
    machine
}

pub(crate) fn sign_offer(key: &PrivateKeySigner, chain_id: u64, offer: Offer) -> SignedOffer {
    let signature = key.sign_hash_sync(&offer_hash(chain_id, &offer)).expect("a local key signs every hash");
    SignedOffer { offer, signature: SignatureBytes::from(signature.as_bytes()) }
}

/// Looks at the chain whether the escrow is as the requester says; waits a little for a block that is under way.
pub(crate) fn check_escrow(rpc: &RpcClient, announcement: &JobAnnouncement) -> Result<(), String> {
    let began = Instant::now();
    let found = loop {
        let found = rpc
            .contract(system::JOBS, &Jobs::jobOfCall { job: announcement.job })
            .map_err(|error| format!("the escrow cannot be looked at: {error}"))?;
        if found.state != job_state::UNKNOWN || began.elapsed() >= ESCROW_PATIENCE {
            break found;
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    let left = found.budget.saturating_sub(found.spent);
    let same = found.state == job_state::OPEN
        && found.requester == announcement.requester
        && found.spec == announcement.spec_hash().0
        && found.deadline >= announcement.deadline
        && left >= announcement.budget.units().saturating_sub(found.spent);
    if same { Ok(()) } else { Err("the escrow on chain is not as announced".to_owned()) }
}

/// Locks the stake that a job asks for, unless it is there already.
pub(crate) fn post_stake(
    rpc: &RpcClient,
    key: &PrivateKeySigner,
    announcement: &JobAnnouncement,
    stake: Amount,
) -> Result<(), String> {
    let (job, provider) = (announcement.job, key.address());
    if stake.is_zero() {
        return Ok(());
    }
    let look = || rpc.contract(system::JOBS, &Jobs::stakeOfCall { job, provider });
    let found = look().map_err(|error| format!("the stake cannot be looked at: {error}"))?;
    match found.state {
        stake_state::HELD => return Ok(()),
        stake_state::NONE => {}
        _ => return Err("its stake in this job is in dispute or gone".to_owned()),
    }
    match rpc.transact(key, system::JOBS, stake, &Jobs::stakeCall { job }, STAKE_PATIENCE) {
        Ok(_) => Ok(()),
        // The transaction of a process that died may have come first.
        Err(_) if look().is_ok_and(|found| found.state == stake_state::HELD) => Ok(()),
        Err(error) => Err(format!("the stake of {stake} cannot be locked: {error}")),
    }
}

/// Lets tasks run in containers on this host, at its rated speed.
pub(crate) fn allow_containers(data: &DataDir, config: &ProvideConfig, vm: &Vm) -> Outcome {
    let fuel_per_second = rating(data, vm)?;
    let folders: Vec<&Path> = config.cdi_dirs.iter().map(PathBuf::as_path).collect();
    let allowed = Devices::find(&config.gpus, &folders).and_then(|devices| {
        let devices = devices.rated(config.fuel_per_gpu_second);
        vm.allow_containers(&config.containers_dir, fuel_per_second, devices, config.engine.as_ref())
    });
    allowed.map_err(|error| {
        let failure = Failure::config(error.to_string());
        let engine = matches!(error, ContainerError::Unavailable(_)) && config.engine.is_some();
        if engine {
            failure.hint("`provide.engine` of the configuration, or --engine, names the engine")
        } else {
            failure
        }
    })
}

/// Makes ready for a job's own runs on this machine, if it comes in a container. A machine that cannot do that is a fault only
/// where the job is `here`, with nobody else to run it.
pub(super) fn allow_containers_for(spec: &JobSpec, context: &Context, vm: &Vm, here: bool) -> Outcome {
    if spec.runtime != Runtime::Container {
        return Ok(());
    }
    match allow_containers(&context.data, &context.config.provide, vm) {
        Err(failure) if here => {
            Err(failure.hint("or let providers of the network run it: `bmm run --network …`, see `bmm run --help`"))
        }
        Err(failure) => {
            output::note(context.global.json, format!("no task is run here: {}", failure.message));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Makes the sandbox for `instances` tasks at once.
pub fn open_vm(data: &DataDir, instances: u16) -> Outcome<Arc<Vm>> {
    let config = bmm_vm::VmConfig {
        cache_dir: Some(data.module_cache()),
        // One more for the requester's own runs: the quote and the merging program.
        max_instances: u32::from(instances).saturating_add(1),
        ..bmm_vm::VmConfig::default()
    };
    Vm::new(config)
        .map(Arc::new)
        .map_err(|error| Failure::internal(error).hint("check the limit of address space (ulimit -v)"))
}
