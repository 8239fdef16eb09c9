//! The store against a model of plain maps, and against damage.

mod faults;
mod model;
mod past;
mod scale;
mod verify;

use super::{tables::hash_slot, *};
use crate::diff::{Account, AccountDiff, StateDiff};
use alloy_primitives::{Address, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount, proof::verify_proof};
use bmm_types::Header;
use model::{Chain, PARAMS, Touch, block, receipt, touch, transaction};
use proptest::{collection, prelude::*};
use redb::ReadableTable;
use revm::database_interface::DatabaseRef;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Touch>),
    Rewind(usize),
    Drop(Vec<Touch>),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => collection::vec(touch(), 0..7).prop_map(Step::Commit),
        2 => (1usize..4).prop_map(Step::Rewind),
        1 => collection::vec(touch(), 1..4).prop_map(Step::Drop),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn state_trie_and_diffs_agree_over_random_histories(steps in collection::vec(step(), 1..14)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut history = Chain::new(Store::open(folder.path(), PARAMS).expect("a new folder"));
        for step in steps {
            match step {
                Step::Commit(touches) => history.commit(&touches),
                Step::Rewind(blocks) => (0..blocks).for_each(|_| history.rewind()),
                Step::Drop(touches) => drop(history.next(&touches)),
                Step::Flush => history.check_tables(),
                Step::Reopen => {
                    let Chain { store, blocks, states } = history;
                    drop(store);
                    let store = Store::open(folder.path(), PARAMS).expect("the same folder");
                    history = Chain { store, blocks, states };
                }
            }
            history.check();
        }
        history.check_tables();
    }

    #[test]
    fn proofs_verify_against_the_state_root_of_every_block(
        blocks in collection::vec(collection::vec(touch(), 0..8), 1..5),
        rewound in 0usize..2,
    ) {
        let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
        for touches in &blocks {
            history.commit(touches);
        }
        (0..rewound).for_each(|_| history.rewind());
        for (block, model) in history.blocks.iter().zip(&history.states) {
            let view = history.store.view_at(block.id()).expect("not too deep");
            let slots: Vec<_> = (0..8).map(U256::from).collect();
            for address in (0..8).map(Address::repeat_byte) {
                let proof = view.prove(address, &slots).expect("a sound store");
                prop_assert_eq!(proof.account, model.accounts.get(&address).copied());
                let leaf = proof.account.map(|account| {
                    alloy_rlp::encode(TrieAccount::new(account.nonce, account.balance, proof.storage_root, account.code_hash))
                });
                let key = Nibbles::unpack(keccak256(address));
                prop_assert!(verify_proof(block.block.header.state_root, key, leaf, &proof.nodes).is_ok());
                for slot in proof.slots {
                    prop_assert_eq!(slot.value, model.storage.get(&(address, slot.slot)).copied().unwrap_or_default());
                    let leaf = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
                    let nodes = if proof.storage_root == EMPTY_ROOT_HASH { vec![] } else { slot.nodes };
                    let key = Nibbles::unpack(hash_slot(slot.slot));
                    prop_assert!(verify_proof(proof.storage_root, key, leaf, &nodes).is_ok());
                }
            }
        }
    }
}

fn some_touch(who: u8) -> Touch {
    Touch { who, nonce: 1, code: false, remove: false, name_slots: false, slots: vec![(1, 1)] }
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    history.commit(&[some_touch(2)]);
    let failed = history.store.core.change(true, |_, batch| {
        batch.remove(tables::META, tables::META_HEAD);
        Err(StoreError::Empty)
    });
    assert!(matches!(failed, Err(StoreError::Empty)));
    history.check();
    history.commit(&[some_touch(3)]);
    history.check();
}

/// The files as a killed process would leave them, opened by the next one.
fn open_copy(folder: &std::path::Path) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_folder(folder, copy.path());
    let store = Store::open(copy.path(), PARAMS).expect("files that were not closed");
    (copy, store)
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("room");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("room");
        }
    }
}

#[test]
fn a_killed_process_leaves_the_last_head() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut history = Chain::new(Store::open(folder.path(), PARAMS).expect("a new folder"));
    for who in 0..8 {
        history.commit(&[some_touch(who)]);
        if who == 5 {
            history.store.flush().expect("room");
        }
        let (_copy, store) = open_copy(folder.path());
        let left = Chain { store, blocks: history.blocks.clone(), states: history.states.clone() };
        left.check();
    }
}

#[test]
fn a_block_that_does_not_fit_is_refused_whole() {
    let history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    let (staged, fitting, _) = history.next(&[some_touch(2)]);
    let spoil = |change: fn(&mut Header)| {
        let mut block = fitting.clone();
        change(&mut block.block.header);
        history.store.commit(staged.clone(), &block, &[receipt(1)], U256::ONE)
    };
    assert!(matches!(spoil(|header| header.number = 2), Err(StoreError::Unfit { .. })));
    assert!(matches!(spoil(|header| header.state_root = B256::ZERO), Err(StoreError::Unfit { .. })));
    assert!(matches!(spoil(|header| header.parent_hash = B256::ZERO), Err(StoreError::Unfit { .. })));
    let without_receipts = history.store.commit(staged.clone(), &fitting, &[], U256::ONE);
    assert!(matches!(without_receipts, Err(StoreError::Unfit { .. })));
    history.check();
    history.store.commit(staged.clone(), &fitting, &[receipt(1)], U256::ONE).expect("now it fits");
    let again = history.store.commit(staged, &fitting, &[receipt(1)], U256::ONE);
    assert!(matches!(again, Err(StoreError::NotHead { .. })));
}

#[test]
fn a_wrong_before_is_refused() {
    let history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    let head = history.tip().0.id();
    let address = Address::repeat_byte(1);
    let account = history.tip().1.accounts[&address];
    let with = |before: Option<Account>, after: Option<Account>, change| {
        let storage = BTreeMap::from([(U256::ONE, change)]);
        let entry = AccountDiff { before, after, storage, ..AccountDiff::default() };
        StateDiff { accounts: BTreeMap::from([(address, entry)]), ..StateDiff::default() }
    };
    let (one, two) = (U256::ONE, U256::from(2));
    let refused = |diff| matches!(history.store.stage(head, diff), Err(StoreError::WrongBefore { .. }));
    assert!(refused(with(None, Some(account), (one, two))));
    assert!(refused(with(Some(Account::default()), Some(account), (one, two))));
    assert!(refused(with(Some(account), None, (one, two))), "a slot may not outlive its account");
    history.check();
}

#[test]
fn side_blocks_are_kept_beside_the_chain() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    history.commit(&[some_touch(2)]);
    let genesis = history.blocks[0].id();
    let side = block(genesis, 1, B256::repeat_byte(9), vec![transaction(77)]);
    for _ in 0..2 {
        history.store.store_side_block(&side, U256::from(5)).expect("room");
    }
    let store = &history.store;
    assert_eq!(store.block(side.id()).expect("sound"), Some(side.clone()));
    assert_eq!(store.work(side.id()).expect("sound"), Some(U256::from(5)));
    assert!(!store.is_canonical(side.id()).expect("sound"));
    assert_eq!(store.receipts(side.id()).expect("sound"), None);
    assert_eq!(store.transaction_place(*side.block.body.transactions[0].hash()).expect("sound"), None);
    let mut both = vec![side.id(), history.blocks[1].id()];
    both.sort_unstable();
    assert_eq!(store.blocks_at(1).expect("sound"), both);
    assert!(matches!(store.view_at(side.id()), Err(StoreError::NotCanonical(_))));
    let range: Vec<_> = store.canonical_range(0..=9).expect("sound").into_iter().map(|head| head.id).collect();
    assert_eq!(range, [genesis, history.blocks[1].id()]);
    history.check();
}

#[test]
fn genesis_stays_what_it_was() {
    let store = Store::in_memory(PARAMS).expect("memory");
    assert!(matches!(store.view(), Err(StoreError::Empty)));
    let history = Chain::new(store);
    let genesis = &history.blocks[0];
    history.store.init(genesis, StateDiff::default()).expect("the same genesis again");
    let other = block(B256::ZERO, 0, EMPTY_ROOT_HASH, vec![]);
    let refused = history.store.init(&other, StateDiff::default());
    assert!(matches!(refused, Err(StoreError::OtherGenesis { .. })));
    assert!(matches!(history.store.rewind(genesis.id()), Err(StoreError::RewindGenesis(_))));
}

#[test]
fn an_old_view_stays_as_it_was_while_the_chain_moves_on() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    let (view, model) = (history.store.view().expect("there is a head"), history.tip().1.clone());
    history.commit(&[some_touch(1), some_touch(2)]);
    model.assert_same_as(&view);
    history.rewind();
    model.assert_same_as(&view);
}

#[test]
fn views_below_the_limit_are_refused() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    for _ in 0..=MAX_VIEW_DEPTH {
        history.commit(&[]);
    }
    assert!(history.store.view_at_number(1).is_ok());
    let error = history.store.view_at_number(0).err().expect("one too deep").to_string();
    assert!(error.contains("the limit is 1024"), "{error}");
    let proof = history.store.view_at_number(5).and_then(|view| view.prove(Address::ZERO, &[])).expect("deep enough");
    assert_eq!(proof.account, None);
}

#[test]
fn a_view_reads_no_more_than_its_budget() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    (1..=3).for_each(|_| history.commit(&[some_touch(1)]));
    let store = &history.store;
    let lens: Vec<usize> = (1..=3)
        .map(|number| store.diff(store.canonical(number).expect("memory").expect("there")).expect("memory"))
        .map(|diff| diff.expect("canonical").to_bytes().len())
        .collect();
    let id = store.canonical(0).expect("memory").expect("genesis");
    let with = |budget| store.view().expect("there is a head").back_to(Head { number: 0, id }, budget);
    let all: usize = lens.iter().sum();
    assert!(with(all).is_ok());
    assert!(matches!(with(all - 1), Err(StoreError::TooDeep { number: 0, depth: 3, limit: 2 })));
    assert!(matches!(with(lens[2] - 1), Err(StoreError::TooDeep { number: 0, depth: 3, limit: 0 })));
}

#[test]
fn code_is_found_by_its_hash() {
    let history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    let view = history.store.view().expect("there is a head");
    let info = view.basic_ref(Address::repeat_byte(1)).expect("sound").expect("in genesis");
    for _ in 0..2 {
        assert_eq!(view.code_by_hash_ref(info.code_hash).expect("sound").original_byte_slice(), [0x5b, 1]);
    }
    assert!(view.code_by_hash_ref(Account::default().code_hash).expect("nothing").is_empty());
    let error = view.code_by_hash_ref(B256::repeat_byte(9)).expect_err("nobody has it").to_string();
    assert!(error.contains("table code"), "{error}");
}

#[test]
fn folders_are_held_and_told_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path(), PARAMS).expect("a new folder");
    assert!(matches!(Store::open(folder.path(), PARAMS), Err(StoreError::InUse { .. })));
    store.put_note("tip", b"1").expect("room");
    drop(store);
    let error = Store::open(folder.path(), B256::ZERO).err().expect("another chain").to_string();
    assert!(error.contains(&folder.path().display().to_string()) && error.contains("--data"), "{error}");

    let store = Store::open(folder.path(), PARAMS).expect("its own folder");
    assert_eq!(store.note("tip").expect("sound").as_deref(), Some(&b"1"[..]));
    store
        .core
        .tamper(|txn| {
            let newer = (SCHEMA_VERSION + 1).to_be_bytes();
            txn.open_table(tables::META.definition())?.insert(tables::META_SCHEMA, newer.as_slice())?;
            Ok(())
        })
        .expect("room");
    drop(store);
    assert!(matches!(Store::open(folder.path(), PARAMS), Err(StoreError::OtherSchema { found: 3, .. })));
    let file = folder.path().join("file");
    std::fs::write(&file, b"").expect("room");
    assert!(matches!(Store::open(&file, PARAMS), Err(StoreError::Folder { .. })));
}

#[test]
fn notes_are_bounded() {
    let store = Store::in_memory(PARAMS).expect("memory");
    store.put_note("a", b"x").expect("short");
    store.put_note("a", b"").expect("removal");
    assert_eq!(store.note("a").expect("sound"), None);
    assert!(matches!(store.put_note("a", &vec![0; MAX_NOTE_BYTES + 1]), Err(StoreError::NoteTooLong { .. })));
    assert!(matches!(store.put_note(&"n".repeat(200), b"x"), Err(StoreError::NoteTooLong { len: 200, .. })));
}

#[test]
fn damage_is_an_error_that_names_table_and_key() {
    let mut history = Chain::new(Store::in_memory(PARAMS).expect("memory"));
    history.commit(&[some_touch(2)]);
    let id = history.tip().0.id();
    let damage = |table: tables::Table, key: &[u8]| {
        history
            .store
            .core
            .tamper(|txn| {
                let mut table = txn.open_table(table.definition())?;
                assert!(table.get(key)?.is_some());
                table.insert(key, [0xc3, 1].as_slice())?;
                Ok(())
            })
            .expect("room");
    };
    let store = &history.store;
    let named = |error: Option<StoreError>, table: &str| {
        let text = error.expect("damaged").to_string();
        assert!(text.contains(&format!("table {table}, key 0x")), "{text}");
    };
    let owner = keccak256(Address::repeat_byte(2));
    damage(tables::ACCOUNTS, owner.as_slice());
    named(store.view().and_then(|view| view.account(Address::repeat_byte(2))).err(), "accounts");
    damage(tables::DIFFS, &1u64.to_be_bytes());
    named(store.view_at_number(0).err(), "diffs");
    named(store.rewind(id).err(), "diffs");
    damage(tables::RECEIPTS, &1u64.to_be_bytes());
    named(store.receipts(id).err(), "receipts");
    damage(tables::ACCOUNT_TRIE, &[]);
    named(store.view().and_then(|view| view.prove(Address::ZERO, &[])).err(), "trie");
    for (table, name) in [(tables::SEALS, "seals"), (tables::BODIES, "bodies"), (tables::HEADERS, "headers")] {
        damage(table, id.as_slice());
        named(store.block(id).err(), name);
    }
}
