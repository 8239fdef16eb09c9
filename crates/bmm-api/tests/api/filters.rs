//! Filters that are polled, through a reorganisation.

use super::{
    node::{ECHO, Node, grow},
    transactions::{call_tx, transfer},
};
use alloy_primitives::{Address, B256, TxKind};
use bmm_chain::Chain;
use serde_json::{Value, json};
use std::sync::Arc;

/// A node with the echo contract at the head, and what its next block and a rival branch of two blocks log.
pub struct Fork {
    pub node: Node,
    pub echo: Address,
    rival: Arc<Chain>,
}

impl Fork {
    pub fn new() -> Self {
        let node = Node::without_blocks(|_| {});
        node.send(&call_tx(&node, TxKind::Create, ECHO.to_vec()));
        node.grow();
        let rival = node.rival();
        Self { echo: node.key.address().create(0), rival, node }
    }

    /// Logs `word` in a block of the node's own.
    pub fn own(&self, word: u8) -> B256 {
        self.node.send(&call_tx(&self.node, TxKind::Call(self.echo), B256::with_last_byte(word)));
        self.node.grow()
    }

    /// Has a branch of `len` blocks take over, which log 100, 101 and so on.
    pub fn switch(&self, len: u8) -> Vec<B256> {
        let first = self.rival.head().number() + 1;
        for word in 100..100 + len {
            let nonce = self.rival.pending_nonce(self.node.key.address()).expect("a nonce");
            let tx = alloy_consensus::TxEip1559 {
                chain_id: self.node.chain_id(),
                nonce,
                gas_limit: 500_000,
                max_fee_per_gas: self.node.price(),
                to: TxKind::Call(self.echo),
                input: B256::with_last_byte(word).into(),
                ..Default::default()
            };
            self.rival.submit(Node::sign(&self.node.key, tx)).expect("valid");
            grow(&self.rival, 0x44);
        }
        let ids: Vec<B256> = (first..first + u64::from(len))
            .map(|number| self.rival.canonical(number).expect("a store").expect("canonical"))
            .collect();
        for id in &ids {
            let block = self.rival.block(*id).expect("a store").expect("stored");
            self.node.chain.import(&block).expect("valid");
        }
        assert_eq!(Some(&self.node.chain.head().id), ids.last(), "the longer branch has taken over");
        ids
    }
}

/// The words that logs carry, and whether they were taken back.
pub fn words(logs: &Value) -> Vec<(u8, bool)> {
    let word = |log: &Value| serde_json::from_value::<B256>(log["data"].clone()).expect("a word")[31];
    let logs = logs.as_array().expect("a list").iter();
    logs.map(|log| (word(log), log["removed"].as_bool().expect("a flag"))).collect()
}

#[test]
fn filters_follow_a_reorganisation() {
    let fork = Fork::new();
    let node = &fork.node;
    let logs = node.call("eth_newFilter", json!([{ "address": fork.echo }]));
    let one = node.call("eth_newFilter", json!([{ "topics": [B256::with_last_byte(2)] }]));
    let blocks = node.call("eth_newBlockFilter", json!([]));
    let changes = |filter: &Value| node.call("eth_getFilterChanges", json!([filter]));
    assert_eq!((changes(&logs), changes(&blocks)), (json!([]), json!([])), "nothing yet");

    let own = [fork.own(1), fork.own(2)];
    assert_eq!(words(&changes(&logs)), [(1, false), (2, false)]);
    assert_eq!(changes(&blocks), json!(own));
    assert_eq!((changes(&logs), changes(&blocks)), (json!([]), json!([])), "told once");

    let adopted = fork.switch(3);
    assert_eq!(
        words(&changes(&logs)),
        [(2, true), (1, true), (100, false), (101, false), (102, false)],
        "the newest is taken back first"
    );
    assert_eq!(changes(&blocks), json!(adopted));
    assert_eq!(words(&changes(&one)), [(2, false), (2, true)], "asked once, at the end");
    let all = node.call("eth_getFilterLogs", json!([logs]));
    assert_eq!(words(&all), [(102, false)], "from the head on, as eth_getLogs");

    assert_eq!(node.call("eth_uninstallFilter", json!([logs])), json!(true));
    assert_eq!(node.call("eth_uninstallFilter", json!([logs])), json!(false));
    let (code, words, _) = node.error("eth_getFilterChanges", json!([logs]));
    assert!(code == -32000 && words.starts_with("filter not found"), "{code} {words}");
    let (code, words, _) = node.error("eth_getFilterLogs", json!([blocks]));
    assert!(code == -32000 && words.contains("not one of logs"), "{code} {words}");
    let (code, words, _) = node.error("eth_newFilter", json!([{ "blockHash": B256::ZERO }]));
    assert!(code == -32602 && words.contains("blockHash"), "{code} {words}");
}

#[test]
fn blocks_from_before_the_filter_are_taken_back() {
    let fork = Fork::new();
    fork.own(1);
    let filter = fork.node.call("eth_newFilter", json!([{ "address": fork.echo }]));
    fork.switch(2);
    let changes = fork.node.call("eth_getFilterChanges", json!([filter]));
    assert_eq!(words(&changes), [(1, true), (100, false), (101, false)]);
}

#[test]
fn waiting_transactions_are_told_by_hash_or_whole() {
    let node = Node::without_blocks(|_| {});
    let hashes = node.call("eth_newPendingTransactionFilter", json!([]));
    let whole = node.call("eth_newPendingTransactionFilter", json!([true]));
    let sent = [node.send(&transfer(&node, 0)), node.send(&transfer(&node, 2))];
    // They go through a queue of the chain.
    let mut told = Vec::new();
    while told.len() < 2 {
        let changes = node.call("eth_getFilterChanges", json!([hashes]));
        told.extend(changes.as_array().expect("a list").clone());
    }
    assert_eq!(told, sent);
    let changes = node.call("eth_getFilterChanges", json!([whole]));
    let changes = changes.as_array().expect("a list");
    assert_eq!(changes.iter().map(|tx| tx["hash"].clone()).collect::<Vec<_>>(), sent);
    assert!(changes.iter().all(|tx| tx["blockHash"].is_null() && tx["from"] == json!(node.key.address())));
}

#[test]
fn filters_are_bounded() {
    let node = Node::without_blocks(|_| {});
    for _ in 0..1_024 {
        node.call("eth_newBlockFilter", json!([]));
    }
    let (code, words, _) = node.error("eth_newBlockFilter", json!([]));
    assert!(code == -32005 && words.contains("eth_uninstallFilter"), "{code} {words}");
}
