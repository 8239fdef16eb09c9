//! Miners that break rules: they lose their connection, and others do not notice.

use super::support::{ADDRESS, LONG, Miner, Pool, code, config, job};
use bmm_pool::server::ServerLimits;
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    time::{sleep, timeout},
};

/// From another address, so that what is counted by address is counted apart.
const HOSTILE: u8 = 7;

fn with(limits: impl FnOnce(&mut ServerLimits)) -> Pool {
    let mut config = config();
    limits(&mut config.limits);
    Pool::with(config, job(1, 1 << 50, true))
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let pool =
        with(|limits| (limits.handshake, limits.idle) = (Duration::from_millis(100), Duration::from_millis(1_500)));
    let mut miner = pool.miner("rig").await;
    let mut silent = pool.connect_from(HOSTILE).await;
    silent.ended().await;
    let mut half = pool.connect_from(HOSTILE).await;
    half.subscribe(json!([])).await;
    half.ended().await;
    miner.ended().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn long_lines_and_deep_ones_are_refused() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let mut long = pool.connect_from(HOSTILE).await;
    // Without an end, so that only a bound can stop it.
    long.send(&"x".repeat(5_000)).await;
    assert_eq!(long.line().await.map(|line| code(&line)), Some(20));
    long.ended().await;
    let mut deep = pool.connect_from(HOSTILE).await;
    let line = format!("{{\"id\":1,\"method\":\"mining.submit\",\"params\":{}\n", "[".repeat(4_000));
    deep.send(&line).await;
    assert_eq!(deep.line().await.map(|line| code(&line)), Some(20));
    deep.send(&line.repeat(10)).await;
    deep.ended().await;
    miner.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn a_miner_that_does_not_read_is_dropped() {
    let pool = with(|limits| limits.out_bytes = 16 << 10);
    let mut miner = pool.miner("rig").await;
    let slow = pool.connect_from(HOSTILE).await;
    let Miner { read, mut write, .. } = slow;
    // Answers that nobody takes fill what the system keeps, then what the server keeps; then writing fails.
    let ping = "{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(64);
    let flood = async { while write.write_all(ping.as_bytes()).await.is_ok() {} };
    timeout(LONG, flood).await.expect("the connection is closed");
    miner.work().await;
    drop(read);
    pool.server.drain().await;
}

#[tokio::test]
async fn one_that_takes_nothing_at_all_is_dropped_in_time() {
    // Bytes wait for it, too few to be too many.
    let pool = with(|limits| (limits.stall, limits.out_bytes) = (Duration::from_millis(300), 16 << 20));
    let slow = pool.connect_from(HOSTILE).await;
    let Miner { read, mut write, .. } = slow;
    let ping = "{\"id\":1,\"method\":\"mining.ping\"}\n".repeat(64);
    let flood = async { while write.write_all(ping.as_bytes()).await.is_ok() {} };
    timeout(LONG, flood).await.expect("the connection is closed");
    drop(read);
    pool.server.drain().await;
}

#[tokio::test]
async fn floods_of_bad_shares_end_in_a_ban_that_ends() {
    let pool = with(|limits| (limits.strikes, limits.ban) = (3, Duration::from_secs(2)));
    let mut honest = pool.miner("rig").await;
    for flood in ["low", "duplicate", "shape"] {
        let mut hostile = pool.connect_from(HOSTILE).await;
        hostile.subscribe(json!([])).await;
        hostile.authorise(flood).await;
        let found = match flood {
            "low" => hostile.mine_where(None, |hash, target| hash > target),
            _ => hostile.mine(None),
        };
        for number in 0..200u32 {
            let mut params = found.params.clone();
            match flood {
                "shape" => params[2] = json!("00"),
                "low" => params[4] = json!(format!("{number:08x}")),
                _ => {}
            }
            hostile
                .write
                .write_all(json!({ "id": 9, "method": "mining.submit", "params": params }).to_string().as_bytes())
                .await
                .ok();
            hostile.write.write_all(b"\n").await.ok();
        }
        hostile.ended().await;
        honest.work().await;
    }
    let mut banned = pool.connect_from(HOSTILE).await;
    assert!(banned.line().await.is_none(), "it is not let in");
    honest.work().await;
    sleep(Duration::from_millis(2_100)).await;
    let mut again = pool.connect_from(HOSTILE).await;
    again.subscribe(json!([])).await;
    again.authorise("better").await;
    again.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn stale_shares_are_borne_for_a_while_only_as_news_travels() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let found = miner.mine(None);
    pool.jobs.send(job(2, 1 << 50, true)).unwrap();
    miner.next("mining.notify").await;
    for _ in 0..200 {
        assert_eq!(code(&miner.submit(&found).await), 21);
    }
    miner.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let pool = with(|limits| (limits.per_address, limits.connects_at_once, limits.connects_per_sec) = (4, 8, 1));
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut miner = pool.connect_from(HOSTILE).await;
        miner.subscribe(json!([])).await;
        held.push(miner);
    }
    assert!(pool.connect_from(HOSTILE).await.line().await.is_none(), "the fifth");
    drop(held);
    // A storm: 100 connections that come and go. Eight at once are let in, and one each second.
    let mut let_in = 0;
    for _ in 0..100 {
        let mut miner = pool.connect_from(HOSTILE).await;
        let_in += u32::from(
            miner.write.write_all(b"{\"id\":1,\"method\":\"mining.ping\"}\n").await.is_ok()
                && miner.line().await.is_some(),
        );
    }
    assert!(let_in < 50, "{let_in} of 100 were let in");
    let mut miner = pool.miner("rig").await;
    miner.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let pool = with(|limits| limits.connections = 3);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(pool.miner("rig").await);
    }
    assert!(pool.connect_from(HOSTILE).await.line().await.is_none());
    assert_eq!(pool.server.stats().pool(0).connections, 3);
    held.pop().expect("three").write.shutdown().await.unwrap();
    let mut waited = Duration::ZERO;
    while pool.server.stats().pool(0).connections > 2 && waited < LONG {
        sleep(Duration::from_millis(5)).await;
        waited += Duration::from_millis(5);
    }
    pool.miner("next").await.work().await;
    held[0].work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn names_are_bounded_by_connection_and_pool() {
    let pool = with(|limits| (limits.workers_per_connection, limits.workers) = (2, 3));
    let mut miner = pool.miner("a").await;
    let name = |worker: &str| json!([format!("{ADDRESS}.{worker}"), ""]);
    assert_eq!(miner.call("mining.authorize", name("b")).await["result"], true);
    assert_eq!(miner.call("mining.authorize", name("a")).await["result"], true, "it has it");
    assert_eq!(code(&miner.call("mining.authorize", name("c")).await), 24);
    let mut other = pool.miner("c").await;
    assert_eq!(code(&other.call("mining.authorize", name("d")).await), 24);
    pool.server.drain().await;
}

#[tokio::test]
async fn a_miner_sends_as_much_as_is_checked_and_others_get_their_turn() {
    let pool = with(|limits| limits.in_flight = 8);
    let mut fast = pool.connect_from(HOSTILE).await;
    fast.subscribe(json!([])).await;
    fast.authorise("fast").await;
    let shares: Vec<_> = (0..200).map(|_| fast.mine(None)).collect();
    let mut honest = pool.miner("rig").await;
    let Miner { mut read, mut write, .. } = fast;
    let answers = tokio::spawn(async move { copy(&mut read, &mut sink()).await });
    for share in &shares {
        let line = json!({ "id": 1, "method": "mining.submit", "params": share.params });
        write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    honest.work().await;
    let mut waited = Duration::ZERO;
    while pool.logged() < 201 && waited < LONG {
        sleep(Duration::from_millis(5)).await;
        waited += Duration::from_millis(5);
    }
    assert_eq!(pool.logged(), 201);
    answers.abort();
    pool.server.drain().await;
}
