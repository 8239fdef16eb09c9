//! `bmm mine` at a pool that merge-mines Litecoin and BMM, over TCP, with the real Litecoin nodes: before and after MWEB. And alone, at a node.

#[path = "../../bmm-pool/tests/sources/litecoind.rs"]
#[expect(dead_code, reason = "what other tests use")]
mod litecoind;
#[path = "../../bmm-pool/tests/sources/support.rs"]
#[expect(dead_code, reason = "what other tests use")]
mod support;

use bmm_pool::{
    BlockEvent, Server, Share, SourceConfig, Sources,
    difficulty::{Limits, ShareDifficulty},
    server::{Listen, ServerConfig},
    source::{NodeUrl, ParentConfig},
};
use litecoind::{Litecoin, is_missing};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::Node;
use tokio::{runtime::Runtime, sync::mpsc};

/// Height of the first block with MWEB on Litecoin's regtest.
const MWEB: u64 = 432;
const MINER: &str = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed.desk";

/// A pool of both chains.
struct Pool {
    address: SocketAddr,
    sources: Sources,
    events: mpsc::Receiver<BlockEvent>,
    _server: Server,
    _runtime: Runtime,
}

impl Pool {
    fn start(litecoin: &Litecoin, node: &Node, address: &str) -> Self {
        let (url, cookie) = litecoin.rpc();
        let url: NodeUrl = url.parse().expect("an address");
        let parent = ParentConfig {
            name: "litecoin".into(),
            nodes: vec![url.with_cookie(cookie)],
            address: address.into(),
            maturity: 100,
        };
        let config = SourceConfig {
            parents: vec![parent],
            aux: vec![node.aux(100)],
            tag: "/bmm test/".into(),
            refresh: Duration::from_millis(500),
            pending: Vec::new(),
        };
        let (solutions, queue) = mpsc::channel(1_024);
        let (sender, events) = mpsc::channel(1 << 16);
        let sources = Sources::start(config, queue, &sender).expect("work");
        let runtime = Runtime::new().expect("a runtime");
        let easy = ShareDifficulty::parts(32);
        let listen = Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), start: easy, tls: false };
        let mut config = ServerConfig::new(vec![listen]);
        config.difficulty.limits = Limits { least: easy, greatest: easy };
        let mut next = 0u64;
        let log = move |shares: &[Share]| {
            let first = next;
            next += u64::try_from(shares.len()).expect("few");
            Ok::<_, Infallible>(first..next)
        };
        let server = {
            let _inside = runtime.enter();
            Server::start(config, sources.jobs(), log, solutions).expect("a server")
        };
        Self { address: server.addresses()[0], sources, events, _server: server, _runtime: runtime }
    }
}

/// `bmm mine`, until it is dropped or asked to end.
struct Miner(Option<Child>);

impl Miner {
    fn start(args: &[&str]) -> Self {
        let data = std::env::temp_dir().join("bmm-mine-test");
        let child = Command::new(env!("CARGO_BIN_EXE_bmm"))
            .args(["--json", "mine", "--threads", "1"])
            .args(args)
            .env("BMM_DATA", data)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bmm starts");
        Self(Some(child))
    }

    /// Waits until it has ended by itself, and returns its last line.
    fn end(mut self) -> Value {
        let output = self.0.take().expect("runs").wait_with_output().expect("an end");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn height(litecoin: &Litecoin) -> u64 {
    litecoin.call("getblockcount", json!([])).as_u64().expect("a number")
}

#[test]
#[ignore = "litecoind's answers fail now and then while its blocks come this fast; bmm-pool's `sources` tests cross MWEB in CI"]
fn the_same_shares_make_blocks_of_litecoin_and_bmm() {
    if is_missing() {
        return;
    }
    let (litecoin, node) = (Litecoin::start(), Node::start());
    let address = litecoin.address("bech32");
    litecoin.generate(424, &address);
    let mut pool = Pool::start(&litecoin, &node, &address);
    let url = format!("stratum+tcp://{}", pool.address);
    let args = ["--pool", &url, "--user", MINER, "--seconds", "100"];
    // Before MWEB.
    let miner = Miner::start(&args);
    litecoin.until("blocks before MWEB", || height(&litecoin) >= 426);
    drop(miner);
    let reached = height(&litecoin);
    assert!(reached < MWEB, "a block that no payment into MWEB is in would be refused: {reached}");
    // Its first block must have a payment into it.
    litecoin.generate(u32::try_from(MWEB - 1 - reached).expect("few"), &address);
    let into = litecoin.address("mweb");
    litecoin.call("sendtoaddress", json!([into, 1]));
    let jobs = pool.sources.jobs();
    litecoin.until("a template with the payment", || {
        let job = jobs.borrow();
        job.chains.iter().any(|chain| chain.height == MWEB && &*chain.name == "litecoin") && !job.branch.is_empty()
    });
    let miner = Miner::start(&args);
    litecoin.until("blocks with MWEB", || height(&litecoin) >= MWEB + 3);
    litecoin.until("blocks of BMM", || node.chain.head().number() >= 3);
    drop(miner);
    let top = height(&litecoin);
    litecoin.until("the other node has them all", || litecoin.height_of_second().as_u64() >= Some(top));
    let (mut of_litecoin, mut of_bmm) = (0, 0);
    while let Ok(event) = pool.events.try_recv() {
        let BlockEvent::Found { key, .. } = event else { continue };
        if &*key.chain == "litecoin" { of_litecoin += 1 } else { of_bmm += 1 }
    }
    assert!(of_litecoin >= 5 && of_bmm >= 3, "{of_litecoin} {of_bmm}");
    let status = pool.sources.status();
    assert_eq!((status[0].refused, status[1].refused), (0, 0), "{status:?}");
    let block = litecoin.call("getblock", json!([litecoin.call("getblockhash", json!([MWEB])), 2]));
    assert!(block["mweb"].is_object(), "{block}");
}

#[test]
fn a_node_is_mined_for_alone() {
    let node = Node::start();
    let (url, address) = (node.url(), node.miner.to_string());
    let miner = Miner::start(&["--node", &url, "--address", &address, "--seconds", "12"]);
    let told = miner.end();
    let blocks = node.chain.head().number();
    assert!(blocks >= 1, "{told}");
    assert_eq!(told["event"], "end");
    let accepted = told["status"]["accepted"].as_u64().expect("a number");
    assert!(accepted >= 1 && accepted <= blocks, "{told}");
    assert!(told["status"]["hashes_per_second"].as_u64().expect("a number") > 0, "{told}");
}
