//! Connections that end, and miners that return; TLS; the end of a server.

use super::support::{LONG, Miner, Pool, code, config, job, listen};
use bmm_pool::server::{Server, ServerError, TlsFiles};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Waits until so many connections are open.
async fn connections(pool: &Pool, count: usize) {
    let mut waited = Duration::ZERO;
    while pool.server.stats().pool(0).connections != count && waited < LONG {
        sleep(Duration::from_millis(5)).await;
        waited += Duration::from_millis(5);
    }
    assert_eq!(pool.server.stats().pool(0).connections, count);
}

#[tokio::test]
async fn a_miner_that_returns_goes_on_with_its_work() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let (sent, unsent) = (miner.mine(None), miner.mine(None));
    assert_eq!(miner.submit(&sent).await["result"], true);
    let (session, extranonce1, told) = (miner.session.clone(), miner.extranonce1.clone(), miner.job.params[0].clone());
    let nonce = miner.nonce;
    miner.write.shutdown().await.unwrap();
    drop(miner);
    connections(&pool, 0).await;

    let mut miner = pool.connect().await;
    miner.subscribe(json!(["test/1", session])).await;
    assert_eq!((&miner.session, &miner.extranonce1), (&session, &extranonce1));
    miner.authorise("rig").await;
    assert_eq!(miner.job.params[0], told, "the job is told under the id that it had");
    assert_eq!(code(&miner.submit(&sent).await), 22, "what was sent is sent");
    assert_eq!(miner.submit(&unsent).await["result"], true);
    miner.nonce = nonce;
    miner.work().await;

    let mut stranger = pool.connect().await;
    stranger.subscribe(json!(["test/1", "0123456789abcdef"])).await;
    assert_ne!(stranger.extranonce1, extranonce1);
    pool.server.drain().await;
}

#[tokio::test]
async fn who_did_no_work_has_nothing_to_return_to() {
    let pool = Pool::start();
    let miner = pool.miner("rig").await;
    let (session, extranonce1) = (miner.session.clone(), miner.extranonce1.clone());
    drop(miner);
    connections(&pool, 0).await;
    let mut miner = pool.connect().await;
    miner.subscribe(json!(["test/1", session])).await;
    assert_ne!(miner.extranonce1, extranonce1);
    pool.server.drain().await;
}

#[tokio::test]
async fn a_dead_connection_gives_its_session_up() {
    let pool = Pool::start();
    let mut dead = pool.miner("rig").await;
    dead.work().await;
    let mut thief = pool.connect_from(9).await;
    thief.subscribe(json!(["test/1", dead.session])).await;
    assert_ne!(thief.extranonce1, dead.extranonce1, "only its own address has it");
    let mut back = pool.connect().await;
    back.subscribe(json!(["test/1", dead.session])).await;
    assert_eq!(back.extranonce1, dead.extranonce1);
    dead.ended().await;
    back.authorise("rig").await;
    back.nonce = dead.nonce;
    back.work().await;

    // One that takes extra nonces is not dead, and goes on with another one.
    back.call("mining.extranonce.subscribe", json!([])).await;
    let mut third = pool.connect().await;
    third.subscribe(json!(["test/1", back.session])).await;
    assert_eq!(third.extranonce1, back.extranonce1);
    back.next("mining.set_extranonce").await;
    assert_ne!(third.extranonce1, back.extranonce1);
    back.next("mining.notify").await;
    back.work().await;
    third.authorise("rig").await;
    third.nonce = back.nonce;
    third.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn all_that_was_acknowledged_is_kept_when_the_server_stops() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let shares: Vec<_> = (0..60).map(|_| miner.mine(None)).collect();
    for share in &shares {
        miner.post("mining.submit", share.params.clone()).await;
    }
    let Pool { server, reader, jobs: _jobs, _folder, .. } = pool;
    let drain = tokio::spawn(server.drain());
    let (mut acknowledged, mut reconnect) = (0, false);
    while let Some(line) = miner.line().await {
        acknowledged += u64::from(line["result"] == true);
        reconnect |= line["method"] == "client.reconnect";
    }
    drain.await.unwrap();
    assert!(reconnect);
    assert_eq!(acknowledged, reader.next(), "what was taken was acknowledged, and what was acknowledged is kept");
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    let broken = Arc::new(AtomicBool::new(true));
    let full = Arc::clone(&broken);
    let pool = Pool::with_log(config(), job(1, 1 << 50, true), move |log, shares| {
        if full.load(Ordering::Relaxed) {
            return Err("the disk is full".to_owned());
        }
        log.append(shares).map_err(|error| error.to_string())
    });
    let mut miner = pool.miner("rig").await;
    let found = miner.mine(None);
    assert_eq!(code(&miner.submit(&found).await), 20);
    assert_eq!((pool.logged(), pool.server.stats().pool(0).lost_to_log), (0, 1));
    broken.store(false, Ordering::Relaxed);
    miner.work().await;
    assert_eq!(pool.logged(), 1);
    pool.server.drain().await;
}

#[tokio::test]
async fn miners_may_speak_tls() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, certified.cert.pem()).unwrap();
    std::fs::write(&files.key, certified.key_pair.serialize_pem()).unwrap();
    let mut config = config();
    config.listen.push(listen(16, true));
    config.limits.handshake = Duration::from_millis(500);
    config.tls = Some(files);
    let pool = Pool::with(config, job(1, 1 << 50, true));

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(pool.server.addresses()[1]).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    let mut miner = Miner::over(stream);
    miner.subscribe(json!(["test/1"])).await;
    miner.authorise("rig").await;
    miner.work().await;
    pool.jobs.send(job(2, 1 << 50, true)).unwrap();
    miner.next("mining.notify").await;
    miner.work().await;

    // Whoever does not speak TLS there is closed.
    let mut plain = Miner::over(TcpStream::connect(pool.server.addresses()[1]).await.unwrap());
    plain.send("{\"id\":1,\"method\":\"mining.subscribe\"}\n").await;
    let mut bytes = Vec::new();
    let _ =
        tokio::time::timeout(LONG, tokio::io::AsyncReadExt::read_to_end(&mut plain.read, &mut bytes)).await.unwrap();
    assert!(!bytes.starts_with(b"{"));
    pool.server.drain().await;
    miner.ended().await;
}

#[tokio::test]
async fn what_cannot_be_configured_is_said() {
    let start = |config| {
        let (_jobs, watched) = tokio::sync::watch::channel(job(1, 2, true));
        let log = |_: &[bmm_pool::Share]| Err::<std::ops::Range<u64>, _>("no log");
        Server::start(config, watched, log, tokio::sync::mpsc::channel(1).0).err()
    };
    let mut empty = config();
    empty.listen.clear();
    assert!(matches!(start(empty), Some(ServerError::NoAddress)));
    let mut bare = config();
    bare.listen[0].tls = true;
    assert!(matches!(start(bare.clone()), Some(ServerError::NoCertificate(_))));
    bare.tls = Some(TlsFiles { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() });
    let error = start(bare).unwrap().to_string();
    assert!(error.contains("/nowhere/cert.pem"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut busy = config();
    busy.listen[0].address = taken.local_addr().unwrap();
    assert!(matches!(start(busy), Some(ServerError::Listen { .. })));
}
