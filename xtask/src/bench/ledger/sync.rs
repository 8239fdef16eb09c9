//! Taking a chain from a node into an empty data folder: with a snapshot of its state, against executing every block.
//!
//! Every account and slot is made by a transaction of its own, so that no history could be shorter.

use super::{
    contracts,
    import::{SENDERS, account, block, open, params, setup},
    people::{Deed, Person},
    server::{BLOCK_GAS, Server, disk_bytes, folder, memory_peak_of},
};
use crate::bench::{
    Outcome, Report, build, number,
    report::{BarIs, Figure},
};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Most of the time of full sync that a snapshot may take.
const BAR_TIME: f64 = 0.5;
/// Most memory while a snapshot is taken, in megabytes.
const BAR_MEMORY_MB: f64 = 1_073.741_824;
/// Transactions of one block.
const BLOCK: usize = 500;
/// One in so many accounts also gets some of a token, which is a slot.
const SLOT_EVERY: u32 = 4;

/// One run.
struct Run {
    secs: f64,
    memory_bytes: u64,
    disk_bytes: u64,
    said: Value,
}

/// `bench sync`
pub fn sync(accounts: u32) -> Outcome {
    let binary = build()?;
    let source = prepare(accounts)?;
    let genesis = source.path().join("genesis.toml");
    std::fs::copy(source.path().join("chains/dev/genesis.toml"), &genesis)?;
    let node = Server::on(&binary, source)?;
    let url = format!("http://{}", node.address);
    let snapshot = Run::new(&binary, &["--snapshot", "--from", &url], &genesis)?;
    let full = Run::new(&binary, &["--from", &url], &genesis)?;
    if snapshot.said["head_id"] != full.said["head_id"] {
        return Err("the two do not end with the same block".into());
    }
    let taken = &snapshot.said["snapshot"];
    let of = |field: &str| taken[field].as_f64().unwrap_or_default();
    let figures = vec![
        Figure::new("blocks", full.said["head"].as_f64().unwrap_or_default(), ""),
        Figure::new("accounts taken", of("accounts"), ""),
        Figure::new("slots taken", of("slots"), ""),
        Figure::new("bytes of the state", of("bytes") / 1e6, "MB"),
        Figure::new("with a snapshot", snapshot.secs, "s"),
        Figure::new("  of it headers and state", of("seconds"), "s"),
        Figure::new("  share of the time of full sync", snapshot.secs / full.secs, "")
            .held_against(BarIs::AtMost, BAR_TIME),
        Figure::new("  most memory", number(snapshot.memory_bytes) / 1e6, "MB")
            .held_against(BarIs::AtMost, BAR_MEMORY_MB),
        Figure::new("  database", number(snapshot.disk_bytes) / 1e6, "MB"),
    ];
    let reference = vec![
        Figure::new("full sync", full.secs, "s"),
        Figure::new("  most memory", number(full.memory_bytes) / 1e6, "MB"),
        Figure::new("  database", number(full.disk_bytes) / 1e6, "MB"),
    ];
    let notes = [
        "Each: `bmm chain sync` from the same node on loopback, from start to end of the process; both end with the same block.",
        "The chain has no proof of work. Every account and slot was made by one transaction; real chains have a longer history.",
        "With a snapshot the last 64 blocks are executed, too. Memory is the process's at its peak, its caches of 1 GiB included.",
    ];
    Ok(Report::new("sync", figures, Some(reference), &notes))
}

/// Makes a data folder with a chain on which transactions have made so many accounts.
fn prepare(accounts: u32) -> Outcome<TempDir> {
    let folder = folder()?;
    let place = folder.path().join("chains/dev");
    std::fs::create_dir_all(&place)?;
    let (mut people, mut creator) = (Person::many(SENDERS), Person::new(usize::MAX));
    let mut params = params(people.iter().chain([&creator]))?;
    params.gas_limit = BLOCK_GAS;
    std::fs::write(place.join("genesis.toml"), toml::to_string(&params)?)?;
    let chain = open(&params, &place.join("db"))?;
    let (deeds, to) = setup(&mut creator, &people);
    let signed: Vec<_> = deeds.into_iter().map(|deed| creator.sign(params.chain_id, deed)).collect();
    for some in signed.chunks(BLOCK) {
        block(&chain, some)?;
    }
    let mut deeds = (0..accounts).flat_map(|index| {
        let token = index.is_multiple_of(SLOT_EVERY).then(|| contracts::transfer(to.token, account(index), 1));
        [Some(Deed::transfer(account(index))), token].into_iter().flatten()
    });
    loop {
        let some: Vec<_> = deeds.by_ref().take(BLOCK).collect();
        if some.is_empty() {
            return Ok(folder);
        }
        let sign = |(person, deed): (&mut Person, Deed)| person.sign(params.chain_id, deed);
        block(&chain, &people.iter_mut().zip(some).map(sign).collect::<Vec<_>>())?;
    }
}

impl Run {
    /// Runs `bmm chain sync` into an empty data folder.
    fn new(binary: &Path, args: &[&str], genesis: &Path) -> Outcome<Self> {
        let folder = folder()?;
        let mut command = Command::new(binary);
        command.args(["chain", "sync", "--json", "--genesis"]).arg(genesis).arg("--data").arg(folder.path()).args(args);
        command.env_remove("BMM_RPC").env_remove("BMM_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped());
        let began = Instant::now();
        let mut process = command.spawn()?;
        let mut memory_bytes = 0;
        while process.try_wait()?.is_none() {
            memory_bytes = memory_peak_of(process.id()).unwrap_or_default().max(memory_bytes);
            std::thread::sleep(Duration::from_millis(20));
        }
        let secs = began.elapsed().as_secs_f64();
        let output = process.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("`bmm chain sync` failed: {}", output.status).into());
        }
        let said = serde_json::from_slice(&output.stdout)?;
        Ok(Self { secs, memory_bytes, disk_bytes: disk_bytes(folder.path())?, said })
    }
}
