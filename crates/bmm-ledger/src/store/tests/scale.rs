//! How long a block of 2,000 changed accounts takes among a million: `cargo test --release -p bmm-ledger -- --ignored --nocapture scale`.

#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use super::{super::*, model::PARAMS};
use crate::diff::{Account, AccountDiff, StateDiff};
use alloy_primitives::{Address, U256, keccak256};
use bmm_types::{Block, BlockBody, Header, Seal, SealedBlock};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const ACCOUNTS: u64 = 1_000_000;
const CHANGED: u64 = 2_000;
const BLOCKS: u64 = 12;

fn address(seed: u64) -> Address {
    Address::from_word(keccak256(seed.to_be_bytes()))
}

fn account(nonce: u64, seed: u64) -> Account {
    Account { nonce, balance: U256::from(seed) << 60, ..Account::default() }
}

fn block(parent: B256, number: u64, state_root: B256) -> SealedBlock {
    let header = Header { parent_hash: parent, number, state_root, ..Header::default() };
    SealedBlock { block: Block { header, body: BlockBody::default() }, seal: Seal::None }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    (result, start.elapsed())
}

fn file_mib(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("chain.redb")).map_or(0, |file| file.len() >> 20)
}

fn fill(store: &Store) -> B256 {
    let accounts = (0..ACCOUNTS)
        .map(|seed| (address(seed), AccountDiff { after: Some(account(0, seed)), ..AccountDiff::default() }));
    let diff = StateDiff { accounts: accounts.collect(), ..StateDiff::default() };
    let (staged, _) = timed("stage genesis", || store.stage(B256::ZERO, diff.clone()).expect("an empty store"));
    let genesis = block(B256::ZERO, 0, staged.root());
    timed("stage and commit genesis", || store.init(&genesis, diff).expect("a fitting genesis"));
    genesis.id()
}

/// The changed accounts of a block: spread over all, each account at most once.
fn change(number: u64) -> StateDiff {
    let mut diff = StateDiff::default();
    for index in 0..CHANGED {
        let slot = (number - 1) * CHANGED + index;
        let seed = slot * 7_919 % ACCOUNTS;
        let entry =
            AccountDiff { before: Some(account(0, seed)), after: Some(account(1, seed + 1)), ..AccountDiff::default() };
        diff.accounts.insert(address(seed), entry);
    }
    diff
}

#[test]
#[ignore = "a measurement of some minutes"]
fn scale() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path(), PARAMS).expect("a new folder");
    let mut parent = fill(&store);
    println!("file: {} MiB", file_mib(folder.path()));
    drop(store);
    let (store, _) = timed("open", || Store::open(folder.path(), PARAMS).expect("its own folder"));
    for number in 1..=BLOCKS {
        let (staged, _) = timed("root", || store.stage(parent, change(number)).expect("a fitting diff"));
        println!("  records {}", staged.records.len());
        let block = block(parent, number, staged.root());
        timed("  commit", || store.commit(staged, &block, &[], U256::ONE).expect("a fitting block"));
        parent = block.id();
    }
    println!("file: {} MiB", file_mib(folder.path()));
    timed("copy, and open as after a crash", || super::open_copy(folder.path()));
    let view = store.view().expect("there is a head");
    let (found, took) = timed("100,000 account reads", || {
        (0..100_000u64).filter(|seed| view.account(address(seed * 13 % ACCOUNTS)).expect("sound").is_some()).count()
    });
    println!("  {found} found, {:.2} us each", took.as_secs_f64() * 10.0);
    timed("view 10 blocks back", || store.view_at_number(BLOCKS - 10).expect("not too deep"));
    timed("rewind", || store.rewind(parent).expect("the head can go"));
}
