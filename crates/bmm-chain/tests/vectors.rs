//! Ethereum's public blockchain tests, through the same import as every other block: the engine `no-seal`, the rules of Cancun.
//!
//! The environment variable `BMM_VECTORS` names the folder that holds the archive; without it the test says so and ends.

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use bmm_chain::{Chain, ChainOptions, ManualClock};
use bmm_ledger::{
    diff::{Account, AccountDiff, StateDiff},
    store::StateView,
};
use bmm_types::{Block, ChainParams, Engine, Seal, SealedBlock, params::Fork};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

/// The archive in the folder: a tree of JSON files.
const ARCHIVE: &str = "ethereum-cancun-blockchain.tar.zst";
/// Far fewer cases than the archive holds would mean that it was not read.
const LEAST_CASES: usize = 3_000;
/// Threads that run cases while another one unpacks.
const THREADS: usize = 2;

/// One case; fields that the test has no use for are left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    #[serde(rename = "genesisRLP")]
    genesis: Bytes,
    pre: BTreeMap<Address, State>,
    blocks: Vec<Step>,
    #[serde(rename = "lastblockhash")]
    last: B256,
    post_state: Option<BTreeMap<Address, State>>,
    post_state_hash: Option<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    rlp: Bytes,
    expect_exception: Option<String>,
}

#[derive(Deserialize)]
struct State {
    nonce: U64,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

impl State {
    fn account(&self) -> Account {
        Account { nonce: self.nonce.to(), balance: self.balance, code_hash: keccak256(&self.code) }
    }
}

/// Ethereum at Cancun, as far as parameters go.
fn params() -> ChainParams {
    ChainParams {
        name: "ethereum-cancun".into(),
        chain_id: 1,
        engine: Engine::NoSeal,
        fork: Fork::Cancun,
        emission: None,
        base_fee_to: None,
        jobs: None,
        alloc: Vec::new(),
        ..ChainParams::main()
    }
}

fn state(pre: &BTreeMap<Address, State>) -> StateDiff {
    let mut diff = StateDiff::default();
    for (&address, state) in pre {
        let slots = state.storage.iter().filter(|(_, value)| !value.is_zero());
        let storage = slots.map(|(&slot, &value)| (slot, (U256::ZERO, value))).collect();
        let after = Some(state.account());
        diff.accounts.insert(address, AccountDiff { after, storage, ..AccountDiff::default() });
        diff.code.insert(keccak256(&state.code), state.code.clone());
    }
    diff
}

/// Runs one case; an error says what differs.
fn run(case: &Case) -> Result<(), String> {
    let genesis: Block = alloy_rlp::decode_exact(&case.genesis).map_err(|error| format!("genesis: {error}"))?;
    let clock = Arc::new(ManualClock::default());
    let chain = Chain::in_memory_from(params(), genesis, state(&case.pre), clock, ChainOptions::default())
        .map_err(|error| format!("genesis: {error}"))?;
    for (index, step) in case.blocks.iter().enumerate() {
        let taken = alloy_rlp::decode_exact::<Block>(&step.rlp).map_err(|error| error.to_string()).and_then(|block| {
            chain.import(&SealedBlock { block, seal: Seal::None }).map_err(|error| error.to_string())
        });
        match (taken, &step.expect_exception) {
            (Ok(_), None) | (Err(_), Some(_)) => {}
            (Ok(_), Some(rule)) => return Err(format!("block {index} was taken, against {rule}")),
            (Err(error), None) => return Err(format!("block {index}: {error}")),
        }
    }
    let head = chain.head();
    if head.id != case.last {
        return Err(format!("head {} should be {}", head.id, case.last));
    }
    if case.post_state_hash.is_some_and(|root| root != head.header.state_root) {
        return Err(format!("state root {}", head.header.state_root));
    }
    let view = chain.state(head.id.into()).map_err(|error| error.to_string())?;
    case.post_state.iter().flatten().try_for_each(|(address, state)| compare(&view, *address, state))
}

/// The state root is checked by the import already; this shows that reads agree with it.
fn compare(view: &StateView, address: Address, wanted: &State) -> Result<(), String> {
    let got = view.account(address).map_err(|error| error.to_string())?;
    if got != Some(wanted.account()) {
        return Err(format!("account {address} is {got:?}"));
    }
    for (&slot, &value) in &wanted.storage {
        let got = view.storage(address, slot).map_err(|error| error.to_string())?;
        if got != value {
            return Err(format!("slot {slot} of {address} is {got}, not {value}"));
        }
    }
    Ok(())
}

/// Unpacks the archive's JSON files into `each`.
fn unpack(archive: &Path, mut each: impl FnMut(PathBuf, Vec<u8>)) {
    let file = File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    let unpacked = ruzstd::decoding::StreamingDecoder::new(file).expect("a zstd frame");
    for entry in tar::Archive::new(unpacked).entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a name").into_owned();
        if path.extension().is_some_and(|extension| extension == "json") {
            let mut text = Vec::new();
            entry.read_to_end(&mut text).expect("readable");
            each(path, text);
        }
    }
}

/// Runs the cases of all files that come in; returns their number and what failed.
fn run_files(files: &Mutex<Receiver<(PathBuf, Vec<u8>)>>) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    loop {
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((path, text)) = next else { return (count, failed) };
        let cases: BTreeMap<String, Case> =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += cases.len();
        failed.extend(
            cases
                .iter()
                .filter_map(|(name, case)| run(case).err().map(|what| format!("{}, {name}: {what}", path.display()))),
        );
    }
}

#[test]
fn ethereum_cancun_blockchain() {
    let Some(folder) = std::env::var_os("BMM_VECTORS") else {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let words = b"SKIPPED: Ethereum's blockchain tests; BMM_VECTORS names no folder that holds them\n";
        std::io::stderr().write_all(words).expect("an open stderr");
        return;
    };
    let archive = Path::new(&folder).join(ARCHIVE);
    let (sender, files) = sync_channel(64);
    let files = Mutex::new(files);
    let (count, failed) = thread::scope(|scope| {
        let runners: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| run_files(&files))).collect();
        unpack(&archive, |path, text| sender.send((path, text)).expect("the runners run"));
        drop(sender);
        runners.into_iter().fold((0, Vec::new()), |(count, mut failed), runner| {
            let (more, errors) = runner.join().expect("no panic");
            failed.extend(errors);
            (count + more, failed)
        })
    });
    assert!(failed.is_empty(), "{} of {count} cases fail:\n{}", failed.len(), failed.join("\n"));
    assert!(count >= LEAST_CASES, "only {count} cases in {}", archive.display());
}
