//! Beginning a rental, going on with it, and ending it.

use super::{
    keep::{Keeper, Over},
    record::{RentalFolder, RentalRecord},
};
use crate::{
    cli::{Context, interrupts},
    failure::{Failure, IoContext, Outcome},
    jobs::{Escrow, NetChoice, Network, check_funds, join_market, now_secs, speaker, unlock},
    kept::{Account, KeptState},
    output,
    paths::write_atomically,
};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::rental::RentedPool;
use bmm_pool::upstream::{LinkConfig, PoolAccount};
use bmm_types::{Amount, market::RentalSpec};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, fs, path::Path};

/// How much longer than its time a rental's budget is locked, seconds.
const SPARE_SECS: u64 = 3_600;
/// Gas that must be left beside the budget.
const GAS_ROOM: u128 = 2_000_000;

/// A rental to be begun.
pub struct NewRental {
    /// What providers are told.
    pub spec: RentalSpec,
    /// Where the hashes go.
    pub pool: RentedPool,
    /// What is spent at most.
    pub budget: Amount,
    /// How to find providers.
    pub network: NetChoice,
    /// Who pays.
    pub wallet: Option<String>,
}

impl NewRental {
    /// Begins it and keeps it until it is over.
    pub fn run(self, context: &Context, password_file: Option<&Path>) -> Outcome {
        let link = link(&self.pool)?;
        let network = Network::join(context)?;
        let key = unlock(context, self.wallet.as_deref(), password_file)?;
        let told = format!("the rental's budget is {}", self.budget);
        let hint = "lower budget.max, or choose another wallet with --wallet";
        check_funds(&network.rpc, key.address(), self.budget, GAS_ROOM, &told, hint)?;
        let chain_id = network.rpc.chain_id()?;
        let ends = now_secs().saturating_add(self.spec.duration_millis / 1_000);
        let deadline = ends.saturating_add(SPARE_SECS);
        let record = RentalRecord {
            account: Account::new(self.spec.name.clone(), chain_id, key.address(), self.budget, deadline),
            ends,
            shares: BTreeMap::new(),
            hashes: BTreeMap::new(),
            hosts: Vec::new(),
            network: self.network,
        };
        let folder = RentalFolder::create(&context.data, &record, &self.spec)?;
        write_atomically(&folder.path("pool.json"), &serde_json::to_vec(&self.pool).expect("plain values"))?;
        keep(context, &network, &key, &folder, (link, self.pool.providers))
    }
}

/// Makes of the file's words what a link to the pools takes.
fn link(pool: &RentedPool) -> Outcome<LinkConfig> {
    let account = |text: &String| {
        let url = text.parse().map_err(|error| {
            Failure::user(format!("mine.pools has {text:?}: {error}"))
                .hint("write it as stratum+tcp://pool.example:3333, or stratum+ssl://… for TLS")
        })?;
        Ok(PoolAccount { url, user: pool.user.clone(), password: pool.password.clone() })
    };
    let pools = pool.pools.iter().map(account).collect::<Outcome<Vec<_>>>()?;
    Ok(LinkConfig { pools, agent: format!("bmm-rent/{}", env!("CARGO_PKG_VERSION")), trusted: None })
}

/// Returns the pools of a rental that was begun before.
fn kept_link(folder: &RentalFolder) -> Outcome<(LinkConfig, u16)> {
    let path = folder.path("pool.json");
    let bytes = fs::read(&path).doing("read", &path)?;
    let pool: RentedPool = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::config(format!("{} cannot be understood: {error}", path.display())))?;
    Ok((link(&pool)?, pool.providers))
}

/// Goes on with a rental whose process has ended.
pub fn resume(context: &Context, id: &str, password_file: Option<&Path>) -> Outcome {
    let (folder, record) = RentalFolder::find(context, id)?;
    let network = Network::join(context)?;
    let key = unlock(context, Some(&record.account.requester.to_string()), password_file)?;
    keep(context, &network, &key, &folder, kept_link(&folder)?)
}

/// Ends a rental: tells the process that keeps it, or settles it here if there is none.
pub fn stop(context: &Context, id: &str, password_file: Option<&Path>) -> Outcome {
    let (folder, record) = RentalFolder::find(context, id)?;
    let mark = folder.stop_mark();
    fs::write(&mark, b"").doing("write", &mark)?;
    if folder.lock()?.is_none() {
        output::print(context.global.json, &record, "its process was told; it pays and settles the rental");
        return Ok(());
    }
    resume(context, id, password_file)
}

/// Opens the escrow, has providers hash until it is over, and settles.
fn keep(
    context: &Context,
    network: &Network,
    key: &PrivateKeySigner,
    folder: &RentalFolder,
    (link, most): (LinkConfig, u16),
) -> Outcome {
    let json = context.global.json;
    let _lock = folder.lock_alone()?;
    let (mut record, spec) = (folder.record()?, folder.spec()?);
    let escrow = Escrow::new(network.rpc.clone(), key.clone(), record.account.id);
    if record.account.state == KeptState::Opening {
        let account = &mut record.account;
        output::note(json, format!("rental {}: up to {}", account.short_id(), account.budget_bmm));
        account.open(&escrow, spec.hash().0)?;
        folder.save(&record)?;
    }
    if record.account.state == KeptState::Open && !folder.stop_mark().exists() {
        let membership = join_market(&context.config.network, &record.network, &network.rpc)?;
        let place = membership.place();
        let speaker = speaker(key, place);
        let interrupts = interrupts()?;
        let keeper = Keeper::new(place.clone(), speaker, key.clone(), folder.clone(), (record, spec), json);
        let over = place.runtime().block_on(keeper.keep(link, most.into(), &interrupts));
        record = folder.record()?;
        match over? {
            Over::Ended => {}
            Over::Interrupted => {
                let id = record.account.short_id();
                return Err(Failure::job("interrupted").hint(format!(
                    "nothing is lost: `bmm rent resume {id}` goes on, `bmm rent stop {id}` pays and takes the rest back"
                )));
            }
        }
    }
    record.account.settle(&escrow)?;
    folder.save(&record)?;
    record.account.refund(&escrow)?;
    folder.save(&record)?;
    let receipt = Receipt { record: &record, spent_bmm: record.account.spent(), accepted_hashes: record.all_hashes() };
    output::print(json, &receipt, &receipt);
    Ok(())
}

/// What a rental came to.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    #[serde(flatten)]
    record: &'a RentalRecord,
    spent_bmm: Amount,
    accepted_hashes: u64,
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.record.account;
        let (id, name) = (account.id, &account.name);
        writeln!(f, "rental {id:x} ({name}) is settled: {} accepted hashes, {}", self.accepted_hashes, self.spent_bmm)?;
        for (provider, amount) in &account.promised_bmm {
            let shares = self.record.shares.get(provider).copied().unwrap_or(0);
            writeln!(f, "  {provider}  {shares} shares  {amount}")?;
        }
        if let Some(amount) = account.refunded_bmm {
            return write!(f, "  came back: {amount}");
        }
        write!(f, "  the rest comes back after the challenge time: bmm rent stop {}", account.short_id())
    }
}
