//! `eth_getLogs`: filters, ranges, bounds.

use super::{
    node::Node,
    shape::assert_log,
    transactions::{call_tx, deploy_echo, transfer},
};
use alloy_primitives::{Address, B256, TxKind, U256};
use bmm_types::system;
use serde_json::{Value, json};

/// A node whose blocks 2 to 5 hold the echo contract's logs 1, 2, 3, 1, and which then mined a block without logs.
struct Logged {
    node: Node,
    echo: Value,
    receipts: Vec<Value>,
}

impl Logged {
    fn start(node: Node) -> Self {
        let echo = deploy_echo(&node);
        let to = TxKind::Call(serde_json::from_value(echo.clone()).expect("an address"));
        let receipts = [1, 2, 3, 1].map(|word| node.mine(&call_tx(&node, to, B256::with_last_byte(word)))).to_vec();
        node.mine(&transfer(&node, 0));
        Self { node, echo, receipts }
    }

    fn get(&self, filter: &Value) -> Vec<Value> {
        let logs = self.node.call("eth_getLogs", json!([filter]));
        let logs = logs.as_array().expect("a list").clone();
        logs.iter().for_each(assert_log);
        logs
    }

    /// The words that the found logs carry.
    fn words(&self, filter: &Value) -> Vec<u8> {
        let word = |log: &Value| serde_json::from_value::<B256>(log["data"].clone()).expect("a word")[31];
        self.get(filter).iter().map(word).collect()
    }
}

fn topic(word: u8) -> Value {
    json!(B256::with_last_byte(word))
}

#[test]
fn filters_choose_by_block_address_and_topic() {
    let logged = Logged::start(Node::start());
    let echo = &logged.echo;
    let none: [u8; 0] = [];
    for (filter, expected) in [
        (json!({ "fromBlock": "earliest", "address": echo }), &[1, 2, 3, 1][..]),
        (json!({ "fromBlock": "0x0", "toBlock": "latest", "address": [echo, system::TOKEN] }), &[1, 2, 3, 1]),
        (json!({ "fromBlock": "0x3", "toBlock": "0x4", "address": echo }), &[2, 3]),
        (json!({ "fromBlock": "0x0", "address": echo, "topics": [topic(1)] }), &[1, 1]),
        (json!({ "fromBlock": "0x0", "topics": [[topic(2), topic(3)]] }), &[2, 3]),
        (json!({ "fromBlock": "0x0", "address": echo, "topics": [null] }), &[1, 2, 3, 1]),
        (json!({ "fromBlock": "0x0", "address": echo, "topics": [topic(1), topic(1)] }), &none),
        (json!({ "fromBlock": "0x0", "address": system::JOBS }), &none),
        (json!({ "address": echo }), &none),
        (json!({ "fromBlock": "0x99", "address": echo }), &none),
        (json!({ "blockHash": logged.receipts[2]["blockHash"] }), &[3]),
    ] {
        assert_eq!(logged.words(&filter), expected, "{filter}");
    }
    let logs = logged.get(&json!({ "fromBlock": "0x0", "address": echo }));
    let in_receipts: Vec<Value> = logged.receipts.iter().map(|receipt| receipt["logs"][0].clone()).collect();
    assert_eq!(logs, in_receipts, "the same logs in the same shape");
}

#[test]
fn log_indices_count_through_the_block() {
    let mut node = Node::without_blocks(|_| {});
    let create = node.send(&call_tx(&node, TxKind::Create, super::node::ECHO.to_vec()));
    let to = TxKind::Call(node.key.address().create(0));
    let hashes: Vec<Value> = (1..=3).map(|word| node.send(&call_tx(&node, to, B256::with_last_byte(word)))).collect();
    node.produce();
    let block = node.receipt(&create)["blockHash"].clone();
    let receipts: Vec<Value> = hashes.iter().map(|hash| node.receipt(hash)).collect();
    assert!(receipts.iter().all(|receipt| receipt["blockHash"] == block), "all fit one block");
    let logs = node.call("eth_getLogs", json!([{ "blockHash": block, "address": node.key.address().create(0) }]));
    let logs = logs.as_array().expect("a list");
    assert_eq!(logs.len(), 3);
    for (index, (log, receipt)) in logs.iter().zip(&receipts).enumerate() {
        assert_eq!(log["logIndex"], format!("{index:#x}"));
        assert_eq!((&log["transactionHash"], log), (&receipt["transactionHash"], &receipt["logs"][0]));
    }
}

#[test]
fn bounds_are_told() {
    let node = Node::with(|config| {
        config.max_log_blocks = 3;
        config.max_logs = 2;
    });
    let logged = Logged::start(node);
    let refused = |filter: Value| logged.node.error("eth_getLogs", json!([filter]));
    let (code, words, _) = refused(json!({ "fromBlock": "0x1", "toBlock": "0x4" }));
    assert_eq!(code, -32005);
    assert_eq!(words, "the query spans 4 blocks, at most 3 are allowed; ask in parts, first 0x1 to 0x3");
    let (code, words, _) = refused(json!({ "fromBlock": "0x2", "toBlock": "0x4", "address": logged.echo }));
    assert!(
        code == -32005 && words.starts_with("query returned more than 2 results, up to block 0x4"),
        "{code} {words}"
    );
    assert_eq!(logged.words(&json!({ "fromBlock": "0x3", "toBlock": "0x4", "address": logged.echo })), [2, 3]);
    let (code, words, _) = refused(json!({ "fromBlock": "0x4", "toBlock": "0x3" }));
    assert!(code == -32602 && words.contains("fromBlock 4 is above toBlock 3"), "{code} {words}");
    let (code, words, _) = refused(json!({ "blockHash": B256::repeat_byte(0x77) }));
    assert!(code == -32000 && words.starts_with("block not found"), "{code} {words}");
    let many: Vec<Address> = (0..1_001u32).map(|n| Address::from_word(U256::from(n).into())).collect();
    let (code, words, _) = refused(json!({ "address": many }));
    assert!(code == -32602 && words.contains("1001 alternatives"), "{code} {words}");
}
