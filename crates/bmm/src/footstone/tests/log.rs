use crate::footstone::{BetLog, BetLogError};
use alloy_primitives::{Address, B256, U256};
use bmm_types::{finality::Offence, system::Bet};
use std::{fs, path::Path};

fn bet(source: u64, target: u64, id: u8) -> Bet {
    Bet {
        footstone: Address::repeat_byte(1),
        source,
        sourceHash: B256::repeat_byte(9),
        target,
        targetHash: B256::repeat_byte(id),
        amount: U256::from(100),
    }
}

fn open(path: &Path) -> BetLog {
    BetLog::open(path).expect("a log")
}

#[test]
fn what_was_entered_is_there_after_a_restart_and_nothing_contradicts_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bets.log");
    let mut log = open(&path);
    log.enter(&bet(1, 2, 2)).expect("the first");
    log.enter(&bet(2, 5, 5)).expect("another");
    drop(log);
    let mut log = open(&path);
    assert_eq!(log.highest(Address::repeat_byte(1)), 5);
    assert!(log.knows(&bet(2, 5, 5)) && !log.knows(&bet(2, 5, 6)));
    let refused = |log: &mut BetLog, bet: Bet| log.enter(&bet).expect_err("refused");
    assert!(matches!(refused(&mut log, bet(2, 5, 6)), BetLogError::Offence { offence: Offence::Double, other: 5, .. }));
    assert!(matches!(refused(&mut log, bet(1, 6, 6)), BetLogError::Offence { offence: Offence::Surround, .. }));
    assert!(matches!(refused(&mut log, bet(3, 4, 6)), BetLogError::Offence { offence: Offence::Surround, .. }));
    assert!(matches!(refused(&mut log, bet(4, 5, 5)), BetLogError::OtherLink(5)));
    assert!(matches!(refused(&mut log, Bet { amount: U256::from(99), ..bet(2, 5, 5) }), BetLogError::OtherLink(5)));
    log.enter(&Bet { amount: U256::from(101), ..bet(2, 5, 5) }).expect("a raise");
    log.enter(&bet(5, 6, 6)).expect("the next");
    // Another footstone's bets are its own business.
    log.enter(&Bet { footstone: Address::ZERO, ..bet(2, 5, 6) }).expect("somebody else");
}

#[test]
fn one_process_at_a_time_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bets.log");
    let log = open(&path);
    assert!(matches!(BetLog::open(&path), Err(BetLogError::InUse(_))));
    drop(log);
    open(&path);
}

#[test]
fn a_record_that_was_cut_off_at_any_byte_was_never_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bets.log");
    let mut log = open(&path);
    log.enter(&bet(1, 2, 2)).expect("the first");
    let first = fs::metadata(&path).expect("there").len();
    log.enter(&bet(2, 3, 3)).expect("the second");
    drop(log);
    let whole = fs::read(&path).expect("readable");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("writable");
        let mut log = open(&path);
        let bets = log.bets_of(Address::repeat_byte(1)).count();
        assert_eq!(bets, usize::from(length as u64 >= first), "{length} bytes");
        log.enter(&bet(2, 3, 4)).expect("its place is free");
        drop(log);
        assert_eq!(open(&path).bets_of(Address::repeat_byte(1)).count(), bets + 1);
    }
    // A file that grew without having been written ends in zeros.
    fs::write(&path, [&whole[..], &[0; 50]].concat()).expect("writable");
    assert_eq!(open(&path).bets_of(Address::repeat_byte(1)).count(), 2);
}

#[test]
fn damage_before_the_end_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bets.log");
    let mut log = open(&path);
    log.enter(&bet(1, 2, 2)).expect("the first");
    let first = usize::try_from(fs::metadata(&path).expect("there").len()).expect("small");
    log.enter(&bet(2, 3, 3)).expect("the second");
    drop(log);
    let whole = fs::read(&path).expect("readable");
    for at in 8..first {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).expect("writable");
        // A damaged length may reach beyond the end, as that of a record that was cut off does.
        let lost = BetLog::open(&path);
        assert!(matches!(lost, Err(BetLogError::Damaged { at: 8, .. })), "byte {at}: {lost:?}");
    }
    fs::write(&path, b"something else").expect("writable");
    assert!(matches!(BetLog::open(&path), Err(BetLogError::NoLog(_))));
}

#[test]
fn bets_that_were_signed_elsewhere_bind_as_own_ones_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bets.log");
    let mut log = open(&path);
    log.import(&bet(3, 4, 4)).expect("written");
    log.import(&bet(3, 4, 5)).expect("written, though it contradicts the other");
    log.import_floor(Address::repeat_byte(1), 7).expect("written");
    drop(log);
    let mut log = open(&path);
    assert_eq!(log.highest(Address::repeat_byte(1)), 7);
    assert!(matches!(log.enter(&bet(5, 7, 7)), Err(BetLogError::BelowFloor(7))));
    assert!(matches!(log.enter(&bet(5, 8, 8)), Err(BetLogError::BelowFloor(7))), "it may surround an unknown one");
    log.enter(&bet(6, 8, 8)).expect("above all that is unknown");
}
