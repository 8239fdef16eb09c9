//! A disk that fills up, fails, or loses what was not synced: nothing acknowledged goes, and nothing half done stays.

use super::{
    super::{disk::Disk, flush::FlushLimits, *},
    copy_folder,
    model::{Chain, PARAMS, Touch},
};
use alloy_primitives::U256;
use proptest::prelude::*;
use std::{path::Path, sync::Arc, time::Duration};

/// Flushes after every few blocks, so that faults hit flushes, too.
const SMALL: FlushLimits =
    FlushLimits { entries: 60, bytes: 16 << 10, age: Duration::from_millis(5), stall_factor: 1_000 };

fn open(disk: &Arc<Disk>, folder: &Path) -> Result<Store, StoreError> {
    Store::open_on(disk, folder, PARAMS, StoreOptions::default(), SMALL)
}

fn touches(seed: u64) -> Vec<Touch> {
    (0..3u8)
        .map(|index| Touch {
            who: u8::try_from((seed * 7 + u64::from(index) * 3) % 8).expect("below 8"),
            nonce: seed % 5 + 1,
            code: seed.is_multiple_of(3),
            remove: seed % 5 == 4 && index == 2,
            name_slots: true,
            slots: vec![(index, u8::try_from(seed % 4).expect("below 4"))],
        })
        .collect()
}

/// Commits blocks until one is refused or `most` are there.
fn commit_until_refused(chain: &mut Chain, most: u64) -> bool {
    (0..most).any(|seed| {
        let (staged, block, model) = chain.next(&touches(seed));
        let number = block.block.header.number;
        let refused = chain.store.commit(staged, &block, &[super::receipt(number)], U256::from(number)).is_err();
        if !refused {
            chain.blocks.push(block);
            chain.states.push(model);
        }
        refused
    })
}

/// Opens what is on the disk with a sound one. The head is the last acknowledged block or, if a block was refused after it was
/// written, that one.
fn reopen(folder: &Path, chain: Chain) -> Chain {
    let Chain { store, blocks, states } = chain;
    drop(store);
    let store = open(&Arc::new(Disk::default()), folder).expect("a sound disk");
    let head = store.head().expect("there is genesis");
    let last = blocks.last().expect("genesis stays");
    if head.id != last.id() {
        let header = store.header(head.id).expect("sound").expect("stored");
        assert_eq!(header.parent_hash, last.id(), "an acknowledged block is missing");
        store.rewind(head.id).expect("the block that was refused");
    }
    Chain { store, blocks, states }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_disk_that_stops_working_loses_no_acknowledged_block(accesses in 0i64..160) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Arc::new(Disk::default());
        let mut chain = Chain::new(open(&disk, folder.path()).expect("a new folder"));
        disk.faults.fail_after(accesses);
        commit_until_refused(&mut chain, 60);
        chain.check();
        let mut chain = reopen(folder.path(), chain);
        chain.check();
        prop_assert!(!commit_until_refused(&mut chain, 5));
        chain.check();
        chain.check_tables();
    }

    #[test]
    fn a_failed_sync_stops_the_store_and_loses_nothing(syncs in 0i64..80) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Arc::new(Disk::default());
        let mut chain = Chain::new(open(&disk, folder.path()).expect("a new folder"));
        disk.faults.fail_sync_after(syncs);
        if commit_until_refused(&mut chain, 40) {
            disk.faults.heal();
            prop_assert!(commit_until_refused(&mut chain, 1), "what is on the disk is not known any more");
        }
        let chain = reopen(folder.path(), chain);
        chain.check();
        chain.check_tables();
    }

    #[test]
    fn a_full_disk_refuses_blocks_until_there_is_room(bytes in 0i64..60_000) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Arc::new(Disk::default());
        // Flushes write whole pages; here the journal alone runs into the end of the disk.
        let limits = FlushLimits { entries: usize::MAX, bytes: usize::MAX, age: Duration::MAX, stall_factor: 1 };
        let store = Store::open_on(&disk, folder.path(), PARAMS, StoreOptions::default(), limits).expect("new");
        let mut chain = Chain::new(store);
        disk.faults.fill_after(bytes);
        if commit_until_refused(&mut chain, 60) {
            prop_assert!(commit_until_refused(&mut chain, 60));
            chain.check();
            disk.faults.heal();
            prop_assert!(!commit_until_refused(&mut chain, 3), "there is room again");
        }
        let blocks = chain.blocks.len();
        let chain = reopen(folder.path(), chain);
        prop_assert_eq!(chain.blocks.len(), blocks);
        chain.check();
        chain.check_tables();
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_ends_at_a_block(cut in 0u64..4_000) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let limits = FlushLimits { entries: usize::MAX, bytes: usize::MAX, age: Duration::MAX, stall_factor: 1 };
        let disk = Arc::new(Disk::default());
        let store = Store::open_on(&disk, folder.path(), PARAMS, StoreOptions::default(), limits).expect("new");
        let mut chain = Chain::new(store);
        chain.store.flush().expect("room");
        commit_until_refused(&mut chain, 8);
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_folder(folder.path(), copy.path());
        let segment = std::fs::read_dir(copy.path().join("journal")).expect("a folder").next().expect("one").expect("file");
        let len = segment.metadata().expect("a file").len();
        let file = std::fs::OpenOptions::new().write(true).open(segment.path()).expect("a file");
        file.set_len(len.saturating_sub(cut)).expect("shorter");
        let store = open(&disk, copy.path()).expect("a cut record was never acknowledged");
        let kept = usize::try_from(store.head().expect("genesis is in the tables").number).expect("few") + 1;
        prop_assert!(cut > 0 || kept == chain.blocks.len());
        let (blocks, states) = (chain.blocks[..kept].to_vec(), chain.states[..kept].to_vec());
        let left = Chain { store, blocks, states };
        left.check();
        left.check_tables();
    }
}

#[test]
fn damage_within_the_journal_is_told_from_a_cut_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limits = FlushLimits { entries: usize::MAX, bytes: usize::MAX, age: Duration::MAX, stall_factor: 1 };
    let store =
        Store::open_on(&Arc::default(), folder.path(), PARAMS, StoreOptions::default(), limits).expect("a new folder");
    let mut chain = Chain::new(store);
    commit_until_refused(&mut chain, 4);
    drop(chain);
    let path = folder.path().join("journal").join(format!("{:016}.log", 0));
    let mut bytes = std::fs::read(&path).expect("the first segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("room");
    let error = Store::open(folder.path(), PARAMS).err().expect("damaged").to_string();
    assert!(error.contains("journal") && error.contains("damaged"), "{error}");
}
