//! How much of a processor's time the books take, by how much waits in them:
//! `cargo test --release -p bmm-chain books_at_scale -- --ignored --nocapture`.
#![expect(clippy::cast_precision_loss, clippy::print_stderr, reason = "it prints times")]

use super::{account, address, candidate, head, pool, transaction};
use crate::pool::{Candidate, PoolLimits, TxPool};
use alloy_primitives::Address;
use cpu_time::ThreadTime;

/// How often each is done.
const TIMES: u64 = 2_000;

/// Waiting transactions of one sender.
const EACH: u64 = 4;

/// Transfers that fit into a block of 60M gas.
const IN_A_BLOCK: u64 = 2_857;

struct Books {
    pool: TxPool,
    limits: PoolLimits,
    senders: Vec<Address>,
}

/// Fees of all kinds: whole tips, tips cut by the base fee (of 1,000), and old gas prices.
fn fees(n: u64) -> (u128, u128) {
    let spread = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44);
    if n.is_multiple_of(3) { (1_000 + spread, 1_000 + spread) } else { (2_000 + spread, spread % 1_500 + 1) }
}

fn micros(what: &str, waiting: u64, times: u64, mut work: impl FnMut(u64)) {
    let begun = ThreadTime::now();
    (0..times).for_each(&mut work);
    let each = begun.elapsed().as_secs_f64() * 1e6 / times as f64;
    eprintln!("{waiting:>9} waiting  {what:<42} {each:>9.2} µs");
}

fn rich(sender: Address, nonce: u64, at: u64, n: u64) -> Candidate {
    let (fee, tip) = fees(n);
    candidate(sender, account(at, u64::MAX), transaction(sender, nonce, fee, tip, 0))
}

fn books(waiting: u64) -> Books {
    let limits = PoolLimits {
        transactions: usize::try_from(waiting).expect("small"),
        bytes: usize::MAX,
        ..PoolLimits::default()
    };
    let mut pool = pool(limits, 1_000);
    let senders: Vec<Address> = (0..waiting / EACH).map(address).collect();
    let begun = ThreadTime::now();
    for nonce in 0..EACH {
        for (n, sender) in (0..).zip(&senders) {
            pool.insert(rich(*sender, nonce, 0, n * EACH + nonce)).expect("room");
        }
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / waiting as f64;
    eprintln!("{waiting:>9} waiting  {:<42} {each:>9.2} µs", "insert, while it fills (signing included)");
    Books { pool, limits, senders }
}

#[test]
#[ignore = "a measurement"]
fn books_at_scale() {
    for waiting in [1_000, 10_000, 100_000, 1_000_000] {
        let Books { mut pool, limits, senders } = books(waiting);
        let some = |n: u64| senders[usize::try_from(n * 7_919 % senders.len() as u64).expect("small")];
        let make = |n: u64| rich(address(u64::MAX - n), 0, 0, n + 1);
        let mut new: Vec<Candidate> = (0..TIMES).map(make).collect();
        micros("insert into a full pool, the worst goes", waiting, TIMES, |_| {
            let _ = pool.insert(new.pop().expect("as many"));
        });
        let mut better: Vec<Candidate> = (0..TIMES.min(waiting / EACH))
            .map(|n| {
                let (fee, tip) = fees(n);
                let sender = some(n);
                candidate(sender, account(0, u64::MAX), transaction(sender, 1, fee * 2 + 1, tip * 2 + 1, 0))
            })
            .collect();
        micros("replace", waiting, better.len() as u64, |_| {
            let _ = pool.insert(better.pop().expect("as many"));
        });
        micros("remove", waiting, TIMES.min(waiting / 8), |n| pool.remove(some(n), 0));
        micros("has_ready", waiting, TIMES, |_| assert!(pool.has_ready()));
        micros("status", waiting, TIMES, |_| assert!(pool.status().pending > 0));
        micros("begin a template", waiting, TIMES, |_| assert!(pool.best().next().is_some()));
        micros("walk for a block of 2,857, each", waiting, 1, |_| walk(&pool));
        let mut base_fee = 1_000;
        micros("a new base fee", waiting, TIMES, |n| {
            base_fee = if n.is_multiple_of(2) { 1_125 } else { 1_000 };
            let (id, header) = head(base_fee);
            pool.set_head(id, &header, 0);
            assert!(pool.has_ready());
        });
        micros("one sender's transaction is mined", waiting, TIMES.min(waiting / 8), |n| {
            pool.refresh(some(n), account(2, u64::MAX), 0);
        });
        assert!(pool.len() <= limits.transactions);
    }
}

/// The default limits, filled; then better ones come; then blocks take all.
#[test]
fn a_hundred_thousand_wait_in_order() {
    let limits = PoolLimits::default();
    let most = limits.transactions as u64;
    let mut pool = pool(limits, 1_000);
    let senders: Vec<Address> = (0..most / EACH).map(address).collect();
    for nonce in 0..EACH {
        for (n, sender) in (0..).zip(&senders) {
            pool.insert(rich(*sender, nonce, 0, n * EACH + nonce)).expect("room");
        }
    }
    assert_eq!((pool.status().pending as u64, pool.status().queued), (most, 0));
    for n in 0..1_000 {
        let sender = address(u64::MAX - n);
        let best = transaction(sender, 0, 10_000_000, 9_000_000 - u128::from(n), 0);
        pool.insert(candidate(sender, account(0, u64::MAX), best)).expect("better than the worst");
        assert_eq!(
            (pool.status().pending as u64, pool.status().queued),
            (most, 0),
            "the last ones go, and leave no gap"
        );
    }
    for base_fee in [1_000, 1_700, 400_000] {
        let (id, header) = head(base_fee);
        pool.set_head(id, &header, 0);
        let (mut best, mut before, mut seen) = (pool.best(), u128::MAX, 0);
        // Without those that follow, tips only fall.
        while let Some(tx) = best.next() {
            let tip = tx.fees().effective_tip(base_fee.into()).expect("it pays");
            assert!(tip <= before && (seen >= 1_000 || tx.sender == address(u64::MAX - seen)));
            (before, seen) = (tip, seen + 1);
        }
        assert!(seen > 1_000);
    }
    for sender in senders.iter().copied().chain((0..1_000).map(|n| address(u64::MAX - n))) {
        pool.refresh(sender, account(EACH, u64::MAX), 0);
    }
    assert!(pool.is_clean());
}

fn walk(pool: &TxPool) {
    let mut best = pool.best();
    let mut count: u64 = 0;
    let begun = ThreadTime::now();
    while count < IN_A_BLOCK
        && let Some(tx) = best.next()
    {
        best.included(&tx, || pool.after(&tx, 16));
        count += 1;
    }
    eprintln!("{:>17} {count} transactions, {:.2} µs each", "", begun.elapsed().as_secs_f64() * 1e6 / count as f64);
}
