//! `bmm chain sync --snapshot`: one node takes the state of another.

use crate::{
    chain::{Chain, read},
    grown::Grown,
    run::Bmm,
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use bmm::rpc::RpcError;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_node_begins_with_the_state_of_another() {
    let grown = Grown::new(150, 20);
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("chain.bmm", &grown.bytes(1..=150)));
    bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    let node = Chain::up(&bmm);
    let url = node.rpc.url().to_owned();
    let copy = Bmm::new();
    let sync = ["chain", "sync", "--snapshot", "--from", "http://127.0.0.1:9", "--from", &url];
    let sync = [&sync[..], &["--genesis", text(&genesis)]].concat();

    // Killed anywhere, it goes on.
    for millis in [20, 60, 150] {
        let mut killed = copy.spawn(&sync);
        std::thread::sleep(Duration::from_millis(millis));
        killed.signal("KILL");
        killed.end();
    }
    let done = copy.json(&sync);
    let (head, id): (u64, B256) = (read(&done, "head"), read(&done, "head_id"));
    assert!(head >= 150 && done["from"] == url, "{done}");
    assert_eq!(node.rpc.block_hash(head).expect("an answer"), Some(id));
    let found = copy.json(&["db", "verify"]);
    let first: u64 = read(&found, "oldest_body");
    assert!(first > 80 && read::<u64>(&found, "headers") == head + 1, "{found}");
    assert!(read::<u64>(&found, "accounts") > 3_000, "{found}");
    assert!(read::<u64>(&copy.json(&sync), "head") >= head, "again, without a snapshot");

    // It is a node as any other, but for what lies before.
    let node_of_copy = Chain::up(&copy);
    for n in [0u64, 1_000, 2_999] {
        let address = Address::from_word(keccak256(n.to_be_bytes()));
        let balance = |chain: &Chain| chain.call("eth_getBalance", json!([address, "latest"]));
        assert_eq!(balance(&node_of_copy), balance(&node));
    }
    let block =
        |chain: &Chain, number: u64| chain.rpc.call::<Value>("eth_getBlockByNumber", (format!("{number:#x}"), true));
    for number in [first - 1, first, head] {
        assert_eq!(block(&node_of_copy, number).expect("a block"), block(&node, number).expect("a block"));
    }
    let header = json!([format!("{:#x}", first - 2), "0x1"]);
    assert_eq!(node_of_copy.call("bmm_getHeaders", header.clone()), node.call("bmm_getHeaders", header));
    let old = format!("{:#x}", first - 2);
    for (method, params) in [
        ("eth_getBlockByNumber", json!([old, false])),
        ("eth_getBlockTransactionCountByNumber", json!([old])),
        ("eth_getBlockReceipts", json!([old])),
        ("debug_getRawBlock", json!([old])),
        ("trace_block", json!([old])),
        ("eth_getBlockReceipts", json!([format!("{:#x}", first - 1)])),
    ] {
        let told = node_of_copy.rpc.call::<Value>(method, params).expect_err("only its header is there");
        let RpcError::Node { code: 4444, message, .. } = &told else { panic!("{method}: {told}") };
        assert!(message.starts_with("pruned history unavailable: of block 0x"), "{message}");
    }
    drop(node);
    // What was begun so serves states, too.
    let url = node_of_copy.rpc.url().to_owned();
    let latest: Value = block(&node_of_copy, head).expect("a block");
    let range: Option<Bytes> =
        node_of_copy.rpc.call("bmm_getAccountRange", (latest["hash"].clone(), B256::ZERO, "0x400")).expect("an answer");
    assert!(range.is_some_and(|range| range.len() > 1_000), "{url}");
    let third = Bmm::new();
    let told = third.fails(1, &["chain", "sync", "--from", &url, "--genesis", text(&genesis)]);
    assert!(told.contains("it may have begun from a snapshot"), "{told}");
}

#[test]
fn a_checkpoint_that_is_not_met_is_refused() {
    let grown = Grown::new(90, 1);
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("chain.bmm", &grown.bytes(1..=90)));
    bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    let node = Chain::up(&bmm);
    let url = node.rpc.url().to_owned();
    let copy = Bmm::new();
    let sync = ["chain", "sync", "--snapshot", "--from", &url, "--genesis", text(&genesis), "--checkpoint"];
    let told = copy.fails(1, &[&sync[..], &[&format!("40:{}", B256::ZERO)]].concat());
    assert!(told.contains("the checkpoint says") && told.contains("hint"), "{told}");
    let told = copy.fails(2, &[&sync[..], &["40"]].concat());
    assert!(told.contains("a block's number and id"), "{told}");
    let id = grown.chain.canonical(40).expect("readable").expect("there");
    let done = copy.json(&[&sync[..], &[&format!("40:{id}")]].concat());
    assert!(read::<u64>(&done["snapshot"], "block") > 20 && read::<u64>(&done["snapshot"], "accounts") > 20, "{done}");
}
