//! How long state roots take: `cargo test --release -p bmm-ledger roots_at_scale -- --ignored --nocapture`.

#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use super::super::*;
use crate::diff::{Account, AccountDiff, StateDiff};
use alloy_primitives::{Address, U256, keccak256};
use bmm_types::{Block, BlockBody, Header, Seal, SealedBlock};
use std::{collections::BTreeMap, time::Instant};

/// Updates in a block.
const CHANGED: u64 = 4_000;

const BLOCKS: u64 = 6;

/// Times each block is staged: the first meets what earlier blocks have left in the cache, the others find all.
const ROUNDS: usize = 25;
const ROUNDS_U32: u32 = 25;

const CONTRACT: Address = Address::repeat_byte(0xcc);

fn address(seed: u64) -> Address {
    Address::from_word(keccak256(seed.to_be_bytes()))
}

fn account(nonce: u64) -> Account {
    Account { nonce, balance: U256::from(nonce + 1) << 60, ..Account::default() }
}

fn block(parent: B256, number: u64, state_root: B256) -> SealedBlock {
    let header = Header { parent_hash: parent, number, state_root, ..Header::default() };
    SealedBlock { block: Block { header, body: BlockBody::default() }, seal: Seal::None }
}

/// The seeds of a block: spread over all, each at most once.
fn seeds(number: u64, among: u64) -> impl Iterator<Item = u64> {
    (0..CHANGED).map(move |index| (number * CHANGED + index) * 7_919 % among)
}

fn accounts(before: Option<Account>, after: Account, seeds: impl Iterator<Item = u64>) -> StateDiff {
    let change = AccountDiff { before, after: Some(after), ..AccountDiff::default() };
    StateDiff { accounts: seeds.map(|seed| (address(seed), change.clone())).collect(), ..StateDiff::default() }
}

fn slots(before: u64, after: u64, seeds: impl Iterator<Item = u64>) -> StateDiff {
    let storage = seeds.map(|seed| (U256::from(seed), (U256::from(before), U256::from(after)))).collect();
    let old = (before > 0).then(|| account(0));
    let change = AccountDiff { before: old, after: Some(account(0)), storage, ..AccountDiff::default() };
    StateDiff { accounts: BTreeMap::from([(CONTRACT, change)]), ..StateDiff::default() }
}

/// Processor time of this thread, which a busy machine does not spoil as it does the clock.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6
}

fn hashing() {
    let node = [7u8; 532];
    let start = cpu_ms();
    for _ in 0..20_000 {
        std::hint::black_box(keccak256(std::hint::black_box(node)));
    }
    println!("a full branch of 532 bytes is hashed in {:.2} us of processor", (cpu_ms() - start) / 20.0);
}

fn measure(what: &str, size: u64, genesis: StateDiff, change: impl Fn(u64) -> StateDiff) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path(), B256::ZERO).expect("a new folder");
    let start = Instant::now();
    let staged = store.stage(B256::ZERO, genesis.clone()).expect("an empty store");
    println!("{what}, {size} there: genesis staged in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let first = block(B256::ZERO, 0, staged.root());
    store.init(&first, genesis).expect("a fitting genesis");
    let mut parent = first.id();
    for number in 1..=BLOCKS {
        let diff = change(number);
        let stage = |threads| {
            let diff = diff.clone();
            let start = (Instant::now(), cpu_ms());
            let staged = store.stage_on(threads, parent, diff).expect("a fitting diff");
            (staged, start.0.elapsed().as_secs_f64() * 1e3, cpu_ms() - start.1)
        };
        let (staged, first, _) = stage(2);
        print!("  first {first:.1} ms; {} nodes", staged.records.len());
        for threads in [1, 2] {
            let runs = [(); ROUNDS].map(|()| stage(threads));
            let mut times = runs.each_ref().map(|(_, wall, _)| *wall);
            times.sort_by(f64::total_cmp);
            print!("; {threads} thread(s): best {:.1} ms, median {:.1} ms", times[0], times[ROUNDS / 2]);
            if threads == 1 {
                print!(", {:.1} ms of processor", runs.iter().map(|run| run.2).sum::<f64>() / f64::from(ROUNDS_U32));
            }
        }
        println!();
        let block = block(parent, number, staged.root());
        store.commit(staged, &block, &[], U256::ONE).expect("a fitting block");
        parent = block.id();
    }
}

#[test]
#[ignore = "a measurement of a minute"]
fn roots_at_scale() {
    hashing();
    for size in [100_000, 1_000_000] {
        let change = |number| accounts(Some(account(0)), account(1), seeds(number, size));
        measure("accounts", size, accounts(None, account(0), 0..size), change);
        let change = |number| slots(1, 1_000_000 + number, seeds(number, size));
        measure("slots of one contract", size, slots(0, 1, 0..size), change);
    }
}
