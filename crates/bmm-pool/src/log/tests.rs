//! The log under crashes: what was acknowledged stays, what was cut short goes, what is damaged is named.

use super::*;
use crate::{
    job::{ChainWork, Job},
    share::Share,
};
use alloy_primitives::U256;
use bmm_pow::difficulty::Target;
use proptest::prelude::*;
use std::{fs, path::Path};

fn job(number: u64, chains: usize) -> Arc<Job> {
    let chain = |i: usize| ChainWork {
        name: format!("chain-{i}").into(),
        height: number,
        target: Target::new(U256::MAX >> (20 + i)).expect("not zero"),
    };
    Job::bare(number, (0..chains).map(chain).collect())
}

fn share(seed: u64) -> Share {
    let worker = if seed.is_multiple_of(3) { String::new() } else { format!("rig-{}", seed % 11) };
    Share {
        at_millis: 1_700_000_000_000 + seed,
        account: Address::with_last_byte(u8::try_from(seed % 7).expect("small")),
        worker: worker.into(),
        hashes: 65_536 + seed,
        job: job(seed / 50, 1 + usize::try_from(seed % 50 / 25).expect("small")),
    }
}

fn shares(range: std::ops::Range<u64>) -> Vec<Share> {
    range.map(share).collect()
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 2_000 }
}

/// All shares of a log, oldest first, which must be the first ones that [`share`] makes.
fn assert_holds(reader: &LogReader, count: u64) {
    assert_eq!(reader.next(), count);
    let mut found = 0;
    for (logged, number) in reader.backwards(count.wrapping_sub(1)).zip((0..count).rev()) {
        let logged = logged.expect("readable");
        let made = share(number);
        assert_eq!((logged.number, logged.at_millis, logged.account), (number, made.at_millis, made.account));
        assert_eq!((logged.worker, logged.hashes), (made.worker, made.hashes));
        assert_eq!((logged.job.number, &logged.job.chains), (made.job.number, &made.job.chains));
        found += 1;
    }
    assert_eq!(found, count);
    assert_eq!(reader.verify().expect("whole"), count);
}

fn last_segment(dir: &Path) -> PathBuf {
    segment::list(dir).expect("a folder").pop().expect("a segment").path
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).expect("there").len()
}

/// How a process or a machine ends in the middle of a write.
#[derive(Clone, Debug)]
enum Crash {
    /// Between two writes.
    Clean,
    /// Part of the last batch came to the disk.
    Cut { permille: u64 },
    /// The file has its length, but its last bytes never came.
    Zeroes { permille: u64 },
    /// A write of rubbish that no frame begins with.
    Rubbish(Vec<u8>),
    /// A new segment was made, and nothing came into it.
    EmptySegment,
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        Just(Crash::Clean),
        (0_u64..1000).prop_map(|permille| Crash::Cut { permille }),
        (0_u64..1000).prop_map(|permille| Crash::Zeroes { permille }),
        proptest::collection::vec(any::<u8>(), 1..200).prop_map(Crash::Rubbish),
        Just(Crash::EmptySegment),
    ]
}

/// Appends a batch that is not acknowledged, and leaves of it what the crash leaves.
fn die(mut log: ShareLog, dir: &Path, crash: &Crash, batch: &[Share]) {
    let before = segment::list(dir).expect("a folder").pop().map(|segment| (len(&segment.path), segment.path));
    match crash {
        Crash::Clean => {}
        Crash::Cut { permille } | Crash::Zeroes { permille } => {
            log.append(batch).expect("room");
            let path = last_segment(dir);
            let from = before.filter(|(_, before)| *before == path).map_or(0, |(len, _)| len);
            let full = len(&path);
            let keep = from + (full - from) * permille / 1000;
            let file = fs::OpenOptions::new().write(true).open(&path).expect("writable");
            file.set_len(keep).expect("cut");
            if matches!(crash, Crash::Zeroes { .. }) {
                file.set_len(full).expect("grown");
            }
        }
        Crash::Rubbish(bytes) => {
            if let Some((_, path)) = before {
                let mut file = fs::OpenOptions::new().append(true).open(path).expect("writable");
                std::io::Write::write_all(&mut file, bytes).expect("room");
            }
        }
        Crash::EmptySegment => {
            let next = log.next();
            if before.is_some_and(|(_, path)| !path.ends_with(segment::file_name(next))) {
                fs::write(dir.join(segment::file_name(next)), []).expect("room");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_every_crash(
        lives in proptest::collection::vec((proptest::collection::vec(1_u64..60, 0..6), crash(), 1_u64..60), 1..6),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut acknowledged = 0;
        for (batches, crash, last) in lives {
            let mut log = ShareLog::open_with(dir.path(), small()).expect("recovered");
            prop_assert!(log.next() >= acknowledged, "{} of {acknowledged} shares are left", log.next());
            // What was not acknowledged may have come through whole.
            acknowledged = log.next();
            for batch in batches {
                let range = log.append(&shares(acknowledged..acknowledged + batch)).expect("room");
                prop_assert_eq!(&range, &(acknowledged..acknowledged + batch));
                acknowledged = range.end;
            }
            assert_holds(&log.reader(), acknowledged);
            die(log, dir.path(), &crash, &shares(acknowledged..acknowledged + last));
        }
        let log = ShareLog::open_with(dir.path(), small()).expect("recovered");
        prop_assert!(log.next() >= acknowledged);
        assert_holds(&log.reader(), log.next());
        assert_holds(&LogReader::open(dir.path()).expect("readable"), log.next());
    }

    #[test]
    fn a_changed_byte_before_the_end_is_named(at in 0_usize..4_000, bit in 0_u8..8) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = ShareLog::open_with(dir.path(), small()).expect("new");
        for batch in 0..30 {
            log.append(&shares(batch * 10..batch * 10 + 10)).expect("room");
        }
        drop(log);
        let segments = segment::list(dir.path()).expect("a folder");
        prop_assert!(segments.len() > 3);
        let path = &segments[1].path;
        let mut bytes = fs::read(path).expect("readable");
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        fs::write(path, bytes).expect("writable");
        let error = LogReader::open(dir.path()).expect("the end is whole").verify().expect_err("damaged");
        prop_assert!(matches!(&error, LogError::Damaged { path: named, .. } if named == path), "{}", error);
    }
}

#[test]
fn damage_before_the_last_frame_of_the_last_segment_is_not_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = ShareLog::open(dir.path()).expect("new");
    log.append(&shares(0..10)).expect("room");
    log.append(&shares(10..20)).expect("room");
    drop(log);
    let path = last_segment(dir.path());
    for at in [3, 70, 100] {
        let good = fs::read(&path).expect("readable");
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("writable");
        let error = ShareLog::open(dir.path()).expect_err("damaged");
        assert!(matches!(&error, LogError::Damaged { .. }), "{at}: {error}");
        fs::write(&path, good).expect("writable");
    }
    assert_eq!(ShareLog::open(dir.path()).expect("whole").next(), 20);
}

#[test]
fn a_log_whose_write_failed_is_opened_anew_in_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = ShareLog::open_with(dir.path(), small()).expect("new");
    log.append(&shares(0..100)).expect("room");
    let reader = log.reader();
    // The next segment cannot be made: a folder has its name.
    let blocked = dir.path().join(segment::file_name(100));
    fs::create_dir(&blocked).expect("room");
    assert!(matches!(log.append(&shares(100..110)), Err(LogError::Io { .. })));
    fs::remove_dir(&blocked).expect("empty");
    assert!(matches!(log.append(&shares(100..110)), Err(LogError::Poisoned)));
    log.reopen().expect("whole");
    assert_eq!(log.append(&shares(100..110)).expect("room"), 100..110);
    assert_holds(&reader, 110);
}

#[test]
fn roots_follow_from_the_shares_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = ShareLog::open_with(dir.path(), small()).expect("new");
    for (from, to) in [(0, 1), (1, 90), (90, 91), (91, 300)] {
        log.append(&shares(from..to)).expect("room");
    }
    let reader = log.reader();
    let mut all: Vec<LoggedShare> = reader.backwards(299).collect::<Result<_, _>>().expect("readable");
    all.reverse();
    let mut root = EMPTY_ROOT;
    assert_eq!(reader.root_at(0).expect("there"), root);
    for share in &all {
        root = extend(root, share);
        assert_eq!(reader.root_at(share.number + 1).expect("there"), root, "after share {}", share.number);
    }
    assert_eq!(root, log.root());
    assert!(matches!(reader.root_at(301), Err(LogError::NotThere { .. })));
    assert!(matches!(reader.share(300), Err(LogError::NotThere { number: 300, next: 300, .. })));
    assert_eq!(reader.share(123).expect("there"), all[123]);
}

#[test]
fn one_process_appends_and_bounds_hold() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = ShareLog::open(dir.path()).expect("new");
    assert!(matches!(ShareLog::open(dir.path()), Err(LogError::InUse(_))));
    let named = Share { worker: "x".repeat(33).into(), ..share(0) };
    assert!(matches!(log.append(&[share(0), named]), Err(LogError::BadShare { index: 1, .. })));
    let idle = Share { hashes: 0, ..share(0) };
    assert!(matches!(log.append(&[idle]), Err(LogError::BadShare { index: 0, .. })));
    let wide = Share { job: job(1, 17), ..share(0) };
    assert!(matches!(log.append(&[wide]), Err(LogError::BadShare { .. })));
    assert_eq!(log.append(&[]).expect("nothing"), 0..0);
    assert_eq!(log.append(&[share(0)]).expect("a refused batch leaves the log usable"), 0..1);
    let many = vec![share(0); MAX_BATCH_SHARES + 1];
    assert!(matches!(log.append(&many), Err(LogError::BatchTooLarge(_))));
    assert_eq!(log.append(&many[1..]).expect("the most").end, 65_537);
}

#[test]
fn old_segments_go_and_the_rest_stays_checkable() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = dir.path().join("old");
    let mut log = ShareLog::open_with(dir.path(), small()).expect("new");
    for batch in 0..30 {
        log.append(&shares(batch * 10..batch * 10 + 10)).expect("room");
    }
    assert_eq!(log.retire(0, None).expect("nothing to do"), 0);
    let gone = log.retire(150, Some(&archive)).expect("moved");
    assert!(gone > 0);
    let reader = log.reader();
    assert!(reader.first() > 0 && reader.first() <= 150);
    assert_eq!(reader.verify().expect("whole"), 300 - reader.first());
    assert!(reader.share(149).is_ok() || reader.first() == 150);
    assert!(matches!(reader.root_at(1), Err(LogError::NotThere { .. })));
    assert_eq!(segment::list(&archive).expect("a folder").len(), gone);
    log.retire(u64::MAX, None).expect("removed");
    assert_eq!(log.append(&shares(300..310)).expect("the tail stays"), 300..310);
    drop(log);
    assert_eq!(ShareLog::open(dir.path()).expect("whole").next(), 310);
}

#[test]
fn a_share_costs_tens_of_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = ShareLog::open(dir.path()).expect("new");
    let job = job(7, 2);
    let some: Vec<Share> = (0..10_000).map(|seed| Share { job: job.clone(), ..share(seed) }).collect();
    log.append(&some).expect("room");
    let bytes = len(&last_segment(dir.path()));
    assert!(bytes < 10_000 * 28, "{bytes} bytes for 10,000 shares");
}
