//! The other side: our own client at our own server, straight and through the proxy.

use super::support::{ADDRESS, LONG, Miner, Pool, code, config, job, listen};
use bmm_pool::{
    proxy::{Proxy, ProxyConfig, WorkerCount},
    server::TlsFiles,
    upstream::{LinkConfig, LinkEvent, PoolAccount, UpstreamShare, UpstreamWork, link},
};
use bmm_scrypt::Hasher;
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

fn account(url: &str, worker: &str) -> PoolAccount {
    let user = format!("{ADDRESS}.{worker}");
    PoolAccount { url: url.parse().unwrap(), user, password: "x".into() }
}

fn at(address: SocketAddr) -> String {
    format!("stratum+tcp://{address}")
}

fn link_to(pools: Vec<PoolAccount>, trusted: Option<PathBuf>) -> LinkConfig {
    LinkConfig { pools, agent: "test/1".into(), trusted }
}

/// A port where nobody listens.
fn nobody() -> String {
    at(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// A miner by our own client.
struct Client {
    events: mpsc::Receiver<LinkEvent>,
    shares: mpsc::Sender<UpstreamShare>,
    work: Option<Arc<UpstreamWork>>,
    sent: u64,
    lost: u32,
}

impl Client {
    fn start(config: LinkConfig) -> Self {
        let (sender, events) = mpsc::channel(1_024);
        let (shares, queue) = mpsc::channel(1_024);
        tokio::spawn(link::run(config, sender, queue));
        Self { events, shares, work: None, sent: 0, lost: 0 }
    }

    async fn event(&mut self) -> Option<(UpstreamShare, Result<(), String>)> {
        match timeout(LONG, self.events.recv()).await.expect("something happens").expect("the link lives") {
            LinkEvent::Work(work) => self.work = Some(work),
            LinkEvent::Lost(..) => {
                self.lost += 1;
                self.work = None;
            }
            LinkEvent::Verdict(share, verdict) => return Some((share, verdict)),
            LinkEvent::Connected(_) | LinkEvent::Words(_) => {}
        }
        None
    }

    /// Waits for work, finds a share of it, sends it, and waits for the answer.
    async fn share(&mut self) -> Result<(), String> {
        while self.work.is_none() {
            self.event().await;
        }
        self.sent += 1;
        let work = Arc::clone(self.work.as_ref().unwrap());
        let share = solve(&work, self.sent);
        self.shares.send(share).await.unwrap();
        loop {
            if let Some((share, verdict)) = self.event().await
                && share.tag == self.sent
            {
                return verdict;
            }
        }
    }
}

fn solve(work: &Arc<UpstreamWork>, tag: u64) -> UpstreamShare {
    let mut extranonce2 = tag.to_le_bytes().to_vec();
    extranonce2.resize(work.extranonce2_len, 0);
    let header = work.header(&extranonce2);
    let mut kernel = Hasher::new();
    let mut first = 0u32;
    loop {
        let nonces: Vec<u32> = (first..).take(kernel.lanes()).collect();
        first += u32::try_from(nonces.len()).unwrap();
        let with = |nonce: &u32| {
            let mut header = header;
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            header
        };
        let headers: Vec<_> = nonces.iter().map(with).collect();
        let mut hashes = vec![[0; 32]; headers.len()];
        kernel.hash(&headers, &mut hashes);
        if let Some((nonce, _)) = nonces.iter().zip(&hashes).find(|(_, hash)| work.target.is_met_by(hash)) {
            let (work, time) = (Arc::clone(work), work.job.time);
            return UpstreamShare { work, extranonce2, time, nonce: *nonce, tag };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_client_mines_over_tls_where_the_first_pool_is_gone() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, certified.cert.pem()).unwrap();
    std::fs::write(&files.key, certified.key_pair.serialize_pem()).unwrap();
    let trusted = files.certificate.clone();
    let mut config = config();
    config.listen = vec![listen(16, true)];
    config.tls = Some(files);
    let pool = Pool::with(config, job(1, 1 << 50, true));
    let secure = format!("stratum+ssl://localhost:{}", pool.address.port());
    let mut client = Client::start(link_to(vec![account(&nobody(), "a"), account(&secure, "a")], Some(trusted)));
    for _ in 0..3 {
        assert_eq!(client.share().await, Ok(()));
    }
    assert_eq!((client.lost, pool.logged()), (1, 3));
    // A certificate that nobody vouches for is not taken.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = folder.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    let mut stranger = Client::start(link_to(vec![account(&secure, "b")], Some(path)));
    while stranger.lost == 0 {
        stranger.event().await;
    }
    assert!(stranger.work.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_share_is_refused_and_a_new_job_is_worked_on() {
    let pool = Pool::start();
    let mut client = Client::start(link_to(vec![account(&at(pool.address), "a")], None));
    assert_eq!(client.share().await, Ok(()));
    let old = Arc::clone(client.work.as_ref().unwrap());
    pool.jobs.send(job(2, 1 << 50, true)).unwrap();
    while client.work.as_ref().is_none_or(|work| work.job.id == old.job.id) {
        client.event().await;
    }
    client.shares.send(solve(&old, 77)).await.unwrap();
    let refused = loop {
        if let Some((_, verdict)) = client.event().await {
            break verdict;
        }
    };
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(client.share().await, Ok(()));
    assert_eq!(pool.logged(), 2);
}

async fn proxy(pools: Vec<PoolAccount>) -> Proxy {
    let config = ProxyConfig { listen: "127.0.0.1:0".parse().unwrap(), link: link_to(pools, None), max_connections: 8 };
    Proxy::start(config, mpsc::channel(64).0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_miners_are_one_to_the_pool() {
    let pool = Pool::start();
    let proxy = proxy(vec![account(&at(pool.address), "farm")]).await;
    let mut miners: Vec<Client> = ["a", "b", "c"]
        .map(|worker| Client::start(link_to(vec![account(&at(proxy.address().unwrap()), worker)], None)))
        .into();
    for _ in 0..4 {
        for miner in &mut miners {
            assert_eq!(miner.share().await, Ok(()));
        }
    }
    let mut seen: Vec<Vec<u8>> = miners.iter().map(|miner| miner.work.as_ref().unwrap().extranonce1.clone()).collect();
    seen.dedup();
    assert_eq!(seen.len(), 3, "each has a part of its own");
    let counts = proxy.snapshot();
    let all = WorkerCount { valid: 12, accepted: 12, accepted_hashes: 12 * 16, ..WorkerCount::default() };
    assert_eq!((counts.sum, counts.miners, counts.workers.len()), (all, 3, 3));
    assert_eq!(pool.logged(), 12);
    // A new job reaches them all.
    pool.jobs.send(job(2, 1 << 50, true)).unwrap();
    for miner in &mut miners {
        let before = miner.work.as_ref().unwrap().job.coinbase_head.clone();
        while miner.work.as_ref().unwrap().job.coinbase_head == before {
            miner.event().await;
        }
        assert_eq!(miner.share().await, Ok(()));
    }
    assert_eq!(pool.logged(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_share_is_not_handed_on() {
    let pool = Pool::start();
    let proxy = proxy(vec![account(&at(pool.address), "farm")]).await;
    let mut warm = Client::start(link_to(vec![account(&at(proxy.address().unwrap()), "warm")], None));
    assert_eq!(warm.share().await, Ok(()));
    let mut miner = Miner::over(TcpStream::connect(proxy.address().unwrap()).await.unwrap());
    let answer = miner.call("mining.submit", json!(["x", "1", "00", "00", "00"])).await;
    assert_eq!(code(&answer), 24);
    let answer = miner.call("mining.subscribe", json!(["raw/1"])).await;
    assert_eq!(answer["result"][2], json!(6));
    miner.authorise("raw").await;
    let (id, time) = (miner.job.params[0].clone(), miner.job.params[7].clone());
    for (params, expected) in [
        (json!(["x", "ffffff", "000000000000", time, "00000000"]), 21),
        (json!(["x", id, "0000000000000000", time, "00000000"]), 20),
        (json!(["x", id, "000000000000", "00000000", "00000000"]), 20),
        (json!(["x", id, "zz", time, "00000000"]), 20),
        (json!(["x", id]), 20),
    ] {
        let answer = miner.call("mining.submit", params).await;
        assert_eq!(code(&answer), expected, "{answer}");
    }
    // Of sixteen nonces about one is a share.
    let mut taken = 0;
    for nonce in 0..64u32 {
        let params = json!(["x", id, "000000000001", time, format!("{nonce:08x}")]);
        let answer = miner.call("mining.submit", params.clone()).await;
        if answer["result"] == json!(true) {
            taken += 1;
        } else {
            assert_eq!(code(&answer), 23, "{answer}");
        }
        assert_eq!(code(&miner.call("mining.submit", params).await), 22, "twice");
    }
    assert_eq!(pool.logged(), taken + 1);
    let counts = proxy.snapshot();
    assert_eq!((counts.sum.valid, counts.sum.accepted, counts.sum.refused), (taken + 1, taken + 1, 0));
    assert_eq!(counts.sum.invalid, 6 + 128 - taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_turns_to_another_pool_and_its_miners_go_on() {
    let (first, second) = (Pool::start(), Pool::with(config(), job(900, 1 << 50, true)));
    let proxy = proxy(vec![account(&at(first.address), "farm"), account(&at(second.address), "farm")]).await;
    let mut miner = Client::start(link_to(vec![account(&at(proxy.address().unwrap()), "a")], None));
    assert_eq!(miner.share().await, Ok(()));
    assert_eq!((first.logged(), second.logged()), (1, 0));
    // One that came before the proxy had work may have been asked to come again.
    let lost = miner.lost;
    first.server.drain().await;
    // What was worked on meanwhile may be refused; soon it is the second pool's.
    let begun = std::time::Instant::now();
    while second.logged() == 0 {
        let _ = miner.share().await;
        assert!(begun.elapsed() < LONG, "in time");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(miner.share().await, Ok(()));
    assert_eq!(miner.lost, lost, "miners keep their connection");
}
