//! Nodes of one chain as processes of their own.

use crate::run::{Bmm, Running};
use bmm::rpc::RpcClient;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
const LONG: Duration = Duration::from_mins(4);

struct Node {
    rpc: RpcClient,
    address: String,
    process: Running,
}

/// Starts a node and waits until it listens.
fn start(bmm: &Bmm, args: &[&str]) -> Node {
    let fixed = ["--json", "--listen", "127.0.0.1:0", "--peer-listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
    let mut process = bmm.spawn(&[args, &fixed].concat());
    let begun = Instant::now();
    let listening: Value = loop {
        if let Ok(listening) = serde_json::from_str(&process.stdout()) {
            break listening;
        }
        assert!(process.lives() && begun.elapsed() < LONG, "the node does not start: {}", process.stderr());
        std::thread::sleep(Duration::from_millis(20));
    };
    let rpc = RpcClient::new(listening["rpc"].as_str().expect("an address")).expect("a URL");
    let address = listening["peer_addresses"][0].as_str().expect("an address for others").to_owned();
    Node { rpc, address, process }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Node {
    fn call(&self, method: &str, params: Value) -> Value {
        self.rpc.call(method, params).expect("an answer")
    }

    fn number(&self) -> u64 {
        let number = self.call("eth_blockNumber", json!([]));
        u64::from_str_radix(number.as_str().expect("a number").trim_start_matches("0x"), 16).expect("hexadecimal")
    }

    fn block(&self, number: u64) -> Value {
        self.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false]))["hash"].clone()
    }
}

#[test]
fn a_second_node_joins_a_dev_chain_follows_it_and_mines_too() {
    let (first, second) = (Bmm::new(), Bmm::new());
    let miner = start(&first, &["up", "--mine-percent", "50"]);
    until("it mines", || miner.number() >= 3);
    assert_eq!(miner.call("net_listening", json!([])), json!(true));
    assert_eq!(miner.call("net_peerCount", json!([])), json!("0x0"));

    let genesis = first.data().join("chains/dev/genesis.toml");
    let genesis = genesis.to_str().expect("UTF-8");
    let follower = start(&second, &["node", "--genesis", genesis, "--bootstrap", &miner.address]);
    until("it follows", || follower.number() >= 3 && follower.block(3) == miner.block(3));
    let id = miner.address.rsplit('/').next().expect("an id");
    until("both know of each other", || {
        miner.call("net_peerCount", json!([])) == json!("0x1")
            && follower.call("net_peerCount", json!([])) == json!("0x1")
    });
    let ran = second.run(&["net", "peers", "--json"]);
    assert!(ran.code == 0 && ran.stdout.contains(id), "{ran:?}");
    let ran = second.run(&["net", "status"]);
    assert!(ran.code == 0 && ran.stdout.contains("1 peer,"), "{ran:?}");
    let ran = first.run(&["net", "id"]);
    assert!(ran.code == 0 && ran.stdout.contains(&miner.address), "{ran:?}");

    // A payment that is told to the follower is mined by the other.
    let to = "0x00000000000000000000000000000000000000aa";
    let url = follower_url(&second);
    let paid = first.run(&["wallet", "send", to, "1", "--yes", "--rpc", &url, "--from", "dev"]);
    assert_eq!(paid.code, 0, "{paid:?}");
    let balance = |node: &Node| node.call("eth_getBalance", json!([to, "latest"]));
    until("both know of the payment", || {
        balance(&miner) == json!("0xde0b6b3a7640000") && balance(&follower) == balance(&miner)
    });

    // A ban holds until it is lifted; then the node comes back by itself.
    let ran = second.run(&["net", "ban", id, "--json"]);
    assert!(ran.code == 0 && ran.stdout.contains(id), "{ran:?}");
    until("it is gone", || follower.call("net_peerCount", json!([])) == json!("0x0"));
    let behind = follower.number();
    until("the miner goes on alone", || miner.number() > behind + 2);
    let ran = second.run(&["net", "ban", id, "--lift"]);
    assert!(ran.code == 0 && ran.stdout.contains("nobody is banned"), "{ran:?}");
    until("it caught up", || {
        let number = miner.number();
        follower.number() >= number && follower.block(number) == miner.block(number)
    });
    drop(follower.process);
    assert_eq!(second.run(&["net", "ban"]).code, 1, "no node runs");
}

/// The JSON-RPC address of the node that runs in a data folder.
fn follower_url(bmm: &Bmm) -> String {
    let file = std::fs::read_to_string(bmm.data().join("node.json")).expect("a node runs");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    file["rpc"].as_str().expect("an address").to_owned()
}
