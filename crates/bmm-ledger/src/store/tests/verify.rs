//! Verification finds nothing in what the store wrote, and every damage that is done to it; a copy is as good as the store.

use super::{
    super::{VerifyProgress, tables::Table},
    *,
};
use std::{path::Path, sync::atomic::AtomicBool};

fn go_on(_: VerifyProgress) -> bool {
    true
}

fn verify(store: &Store) -> Result<Verified, StoreError> {
    store.verify(None, &mut go_on).map(|found| found.expect("not stopped"))
}

/// A history with accounts, code, slots, a removed account, and tries of some depth.
fn history(folder: &Path) -> Chain {
    let mut history = Chain::new(Store::open(folder, PARAMS).expect("a new folder"));
    for who in 0..8 {
        let slots = (0..8).map(|slot| (slot, who + 1)).collect();
        history.commit(&[Touch { who, nonce: 2, code: who % 2 == 0, remove: false, name_slots: false, slots }]);
    }
    history.commit(&[Touch { who: 3, nonce: 2, code: false, remove: true, name_slots: false, slots: Vec::new() }]);
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_the_store_wrote_is_in_order(steps in collection::vec(step(), 1..12)) {
        let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
        for step in steps {
            match step {
                Step::Commit(touches) => history.commit(&touches),
                Step::Rewind(blocks) => (0..blocks).for_each(|_| history.rewind()),
                _ => {}
            }
        }
        let found = verify(&history.store).expect("nothing is damaged");
        let (block, model) = history.tip();
        prop_assert_eq!(found.headers, block.block.header.number + 1);
        prop_assert_eq!(found.transactions, block.block.header.number);
        prop_assert_eq!(found.accounts, u64::try_from(model.accounts.len()).expect("few"));
        prop_assert_eq!(found.slots, u64::try_from(model.storage.len()).expect("few"));
        let quick = history.store.verify(Some(2), &mut go_on).expect("nothing is damaged").expect("not stopped");
        prop_assert_eq!((quick.headers, quick.accounts), (found.headers.min(2), found.accounts));
    }
}

/// Removes one entry of a table, or changes its last byte; returns `None` when the table has no such entry.
fn damage(store: &Store, table: Table, nth: usize, remove: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut old = None;
    store
        .core
        .tamper(|txn| {
            let mut open = txn.open_table(table.definition())?;
            let entry = open.range::<&[u8]>(..)?.nth(nth).transpose()?;
            let entry = entry.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()));
            if let Some((key, value)) = &entry {
                let mut changed = value.clone();
                if let Some(byte) = changed.last_mut() {
                    *byte ^= 1;
                }
                if remove || changed.is_empty() {
                    open.remove(key.as_slice())?;
                } else {
                    open.insert(key.as_slice(), changed.as_slice())?;
                }
            }
            old = entry;
            Ok(())
        })
        .expect("tampered");
    old
}

#[test]
fn every_damage_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = history(folder.path());
    let store = &history.store;
    verify(store).expect("nothing is damaged yet");
    let hashed = [
        tables::ACCOUNTS,
        tables::STORAGE,
        tables::CODE,
        tables::ACCOUNT_TRIE,
        tables::STORAGE_TRIE,
        tables::HEADERS,
        tables::BODIES,
        tables::CANONICAL,
        tables::RECEIPTS,
        tables::TRANSACTIONS,
    ];
    let counted = [tables::WORK, tables::SEALS, tables::NUMBERS, tables::DIFFS];
    let cases = hashed.into_iter().flat_map(|table| [(table, true), (table, false)]);
    let mut found = 0;
    for (table, remove) in cases.chain(counted.map(|table| (table, true))) {
        for nth in 0.. {
            let Some((key, value)) = damage(store, table, nth, remove) else { break };
            // Of a removed account the code stays, and nobody asks for it.
            let spare = table == tables::CODE && remove;
            match verify(store) {
                Err(StoreError::Corrupt { .. }) => found += 1,
                Ok(_) if spare || key.as_slice() == [0u8; 8] => {}
                other => panic!("{} {nth} {remove}: {other:?}", table.name),
            }
            let restore = |txn: &redb::WriteTransaction| {
                txn.open_table(table.definition())?.insert(key.as_slice(), value.as_slice())?;
                Ok(())
            };
            store.core.tamper(restore).expect("restored");
        }
    }
    assert!(found > 200, "{found}");
    verify(store).expect("all is restored");
}

#[test]
fn entries_that_do_not_belong_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = history(folder.path());
    let store = &history.store;
    let strange = [
        (tables::ACCOUNTS, vec![7; 32], vec![0xc4, 1, 1, 0x80, 0x80]),
        (tables::STORAGE, vec![7; 64], vec![1]),
        (tables::STORAGE, vec![0xff; 64], vec![1]),
        (tables::CODE, vec![7; 32], vec![1]),
        (tables::ACCOUNT_TRIE, vec![15, 15, 15, 15], vec![0, 0, 0xc0]),
        (tables::CANONICAL, 99u64.to_be_bytes().to_vec(), vec![7; 32]),
        (tables::TRANSACTIONS, vec![7; 32], vec![7; 36]),
    ];
    for (table, key, value) in strange {
        let tamper = |remove: bool| {
            store.core.tamper(|txn| {
                let mut open = txn.open_table(table.definition())?;
                if remove {
                    open.remove(key.as_slice())?;
                } else {
                    open.insert(key.as_slice(), value.as_slice())?;
                }
                Ok(())
            })
        };
        tamper(false).expect("tampered");
        let error = verify(store).expect_err("it does not belong there");
        assert!(error.to_string().contains(table.name), "{}: {error}", table.name);
        tamper(true).expect("restored");
    }
    verify(store).expect("all is restored");
}

#[test]
fn verification_stops_when_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = history(folder.path());
    assert_eq!(history.store.verify(None, &mut |_| false).expect("not damaged"), None);
}

#[test]
fn a_copy_made_while_blocks_come_is_whole_and_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("copy");
    let mut history = history(&folder.path().join("db"));
    let before = history.store.head().expect("a head");
    let stop = AtomicBool::new(false);
    let Chain { store, blocks, states } = &mut history;
    let backup = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                store.put_note("busy", &[1; 1_000]).expect("room");
            }
        });
        let backup = store.backup(&copy, &mut |_, _| true);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        backup
    })
    .expect("a copy");
    assert_eq!(backup.head, Some(before));
    let opened = Store::open(&copy, PARAMS).expect("a store");
    assert_eq!(opened.head(), Some(before));
    verify(&opened).expect("nothing is damaged");
    // The copy goes on by itself.
    let mut copied = Chain { store: opened, blocks: std::mem::take(blocks), states: std::mem::take(states) };
    copied.commit(&[some_touch(5)]);
    copied.check();
    verify(&copied.store).expect("nothing is damaged");
    let again = store.backup(&copy, &mut |_, _| true).expect_err("there is one already");
    assert!(again.to_string().contains("there is a database already"), "{again}");
    let other = folder.path().join("other");
    let stopped = store.backup(&other, &mut |_, _| false).expect_err("told to stop");
    assert!(stopped.to_string().contains("given up"), "{stopped}");
    assert_eq!(std::fs::read_dir(&other).expect("a folder").count(), 0);
}

#[test]
fn compacting_keeps_everything_and_needs_the_store_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = history(folder.path());
    assert!(matches!(Store::compact(folder.path()), Err(StoreError::InUse { .. })));
    let head = history.store.head();
    drop(history);
    let (before, after) = Store::compact(folder.path()).expect("closed");
    assert!(after <= before, "{before} {after}");
    let store = Store::open(folder.path(), PARAMS).expect("a store");
    assert_eq!(store.head(), head);
    verify(&store).expect("nothing is damaged");
    let stats = store.stats().expect("a store");
    let accounts = stats.tables.iter().find(|table| table.name == "accounts").expect("a table");
    assert_eq!(accounts.entries, 7);
    assert!(Store::file_sizes(folder.path()).database > 0);
}
