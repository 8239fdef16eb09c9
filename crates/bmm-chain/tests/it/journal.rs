//! The pool's journal: what waited when a node stopped waits again when it starts.

use crate::world::{GENESIS_TIME, key, params, seal, sign, transfer};
use alloy_primitives::B256;
use bmm_chain::{Chain, ChainOptions, ManualClock, PoolLimits, TemplateRequest};
use bmm_types::{Engine, Transaction};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

fn open_with(folder: &Path, options: ChainOptions) -> Arc<Chain> {
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
    Chain::open(params(Engine::Dev), folder, clock, options).expect("a chain")
}

fn open(folder: &Path) -> Arc<Chain> {
    open_with(folder, ChainOptions::default())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("pool.journal")
}

fn pay(chain: &Chain, from: u64, nonce: u64) -> B256 {
    chain.submit(transfer(chain, from, nonce, key(9).address(), 1)).expect("valid")
}

fn pay_all(chain: &Chain, nonces: Range<u64>) {
    for nonce in nonces {
        pay(chain, 1, nonce);
    }
}

fn grow(chain: &Chain) {
    let request = TemplateRequest { beneficiary: key(6).address(), ..TemplateRequest::default() };
    let block = chain.template(&request, &|hash| sign(6, hash)).expect("a template").block;
    chain.import(&seal(chain, block)).expect("a valid block");
}

/// Waits for what another thread does.
fn wait_for(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(1), "the journal is not written");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Length of the encoding of each of these transfers in the file, and of what stands before it.
fn record_bytes(transaction: &Transaction) -> u64 {
    let len = alloy_eips::eip2718::Encodable2718::encode_2718_len(transaction);
    8 + u64::try_from(len).expect("short")
}

#[test]
fn what_waited_waits_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = open(folder.path());
    let mined = pay(&chain, 1, 0);
    grow(&chain);
    let ready = [pay(&chain, 1, 1), pay(&chain, 1, 2), pay(&chain, 2, 0)];
    let gapped = pay(&chain, 3, 4);
    drop(chain);

    let chain = open(folder.path());
    let status = chain.pool_status();
    assert_eq!((status.pending, status.queued), (3, 1));
    assert!(ready.iter().chain([&gapped]).all(|hash| chain.pending_transaction(*hash).is_some()));
    assert!(chain.pending_transaction(mined).is_none());
    assert_eq!(chain.pending_nonce(key(1).address()).expect("a store"), 3);
    // And what comes after the restart is kept beside it.
    let later = pay(&chain, 2, 1);
    drop(chain);
    let chain = open(folder.path());
    assert_eq!(chain.pool_status().pending, 4);
    assert!(chain.pending_transaction(later).is_some());
}

#[test]
fn a_stopped_node_leaves_what_waits_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = open(folder.path());
    pay_all(&chain, 0..5);
    grow(&chain);
    pay(&chain, 1, 5);
    let record = record_bytes(&transfer(&chain, 1, 5, key(9).address(), 1));
    drop(chain);
    assert_eq!(std::fs::metadata(file(folder.path())).expect("a file").len(), 8 + record);
}

/// The file as a killed node leaves it, at every length that it may have.
#[test]
fn killed_in_the_middle_of_a_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path());
    let chain = open(folder.path());
    pay_all(&chain, 0..4);
    let record = record_bytes(&transfer(&chain, 1, 0, key(9).address(), 1));
    wait_for(|| std::fs::metadata(&path).is_ok_and(|file| file.len() >= 8 + 4 * record - 4));
    let bytes = std::fs::read(&path).expect("a file");
    drop(chain);
    for left in (0..bytes.len()).step_by(37).chain([bytes.len()]) {
        std::fs::write(&path, &bytes[..left]).expect("room");
        std::fs::write(path.with_extension("journal.new"), b"half a file of a node that was killed").expect("room");
        let chain = open(folder.path());
        let whole = left.saturating_sub(8) / usize::try_from(record).expect("short");
        assert!(chain.pool_status().pending.abs_diff(whole) <= 1, "{left} bytes of {}", bytes.len());
        assert_eq!(chain.pool_status().queued, 0);
    }
}

#[test]
fn rubbish_keeps_no_node_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path());
    let chain = open(folder.path());
    pay_all(&chain, 0..3);
    drop(chain);
    let good = std::fs::read(&path).expect("a file");
    let record = (good.len() - 8) / 3;
    // A damaged record costs itself alone, and leaves a gap.
    let mut damaged = good.clone();
    damaged[8 + record + 20] ^= 1;
    std::fs::write(&path, damaged).expect("room");
    let chain = open(folder.path());
    assert_eq!((chain.pool_status().pending, chain.pool_status().queued), (1, 1));
    drop(chain);
    let rubbish = [vec![], vec![0; 100], vec![0xff; 5_000], b"BMMPOOL\x02 of another version".to_vec()];
    for bytes in rubbish {
        std::fs::write(&path, bytes).expect("room");
        let chain = open(folder.path());
        assert_eq!(chain.pool_status().pending, 0);
        pay(&chain, 1, 0);
        drop(chain);
        assert_eq!(open(folder.path()).pool_status().pending, 1);
    }
    // A folder in the file's place cannot be written: the pool works without a journal.
    std::fs::remove_file(&path).expect("there");
    std::fs::create_dir_all(path.join("a folder")).expect("room");
    let chain = open(folder.path());
    pay(&chain, 1, 0);
    assert_eq!(chain.pool_status().pending, 1);
}

#[test]
fn a_node_may_keep_no_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ChainOptions { pool_journal: false, ..ChainOptions::default() };
    let chain = open_with(folder.path(), options);
    pay(&chain, 1, 0);
    drop(chain);
    assert!(!file(folder.path()).exists());
    assert_eq!(open_with(folder.path(), options).pool_status().pending, 0);
}

#[test]
fn a_journal_does_not_grow_for_ever() {
    /// Twice what may wait, and one more.
    const LIMIT: u64 = 2 * 2_048 + 200;
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path());
    let pool = PoolLimits { transactions: 6, bytes: 2_000, transaction_bytes: 500, ..PoolLimits::default() };
    let chain = open_with(folder.path(), ChainOptions { pool, ..ChainOptions::default() });
    // Each takes the place of the one before.
    for n in 0..400u64 {
        let mut tx = crate::world::unsigned(&chain, n / 80, key(9).address(), 1);
        let fee = 2_000_000_000u128 << (n % 16);
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (fee, fee);
        chain.submit(crate::world::signed(1 + n / 16 % 5, tx)).expect("better than the one before");
        if n % 80 == 79 {
            grow(&chain);
        }
        if n % 40 == 10 {
            // Long enough for what waits to be written.
            thread::sleep(Duration::from_millis(150));
            assert!(std::fs::metadata(&path).map_or(0, |file| file.len()) <= LIMIT);
        }
    }
    assert_eq!(chain.pool_status().pending, 0);
    pay(&chain, 6, 0);
    let record = record_bytes(&transfer(&chain, 6, 0, key(9).address(), 1));
    wait_for(|| (8 + record..=LIMIT).contains(&std::fs::metadata(&path).map_or(0, |file| file.len())));
}
