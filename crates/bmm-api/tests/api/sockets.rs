//! Subscriptions over a WebSocket, through a reorganisation.

use super::{
    filters::{Fork, words},
    node::Node,
    shape::assert_log,
    transactions::transfer,
};
use alloy_primitives::B256;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// A client of one WebSocket.
struct Socket(TcpStream);

impl Socket {
    fn open(node: &Node) -> Self {
        let mut stream = TcpStream::connect(node.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time limit");
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// Sends a text in one frame, masked with zeros.
    fn send(&mut self, text: &str) {
        let len = u16::try_from(text.len()).expect("short");
        let mut frame = vec![0x81, 0x80 | 0x7e];
        frame.extend(len.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).expect("sent");
    }

    /// Reads up to the next text; `None` when the WebSocket is closed.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut start = [0; 2];
            self.0.read_exact(&mut start).ok()?;
            let len = match start[1] {
                126 => {
                    let mut len = [0; 2];
                    self.0.read_exact(&mut len).ok()?;
                    usize::from(u16::from_be_bytes(len))
                }
                127 => {
                    let mut len = [0; 8];
                    self.0.read_exact(&mut len).ok()?;
                    usize::try_from(u64::from_be_bytes(len)).expect("fits")
                }
                len => usize::from(len),
            };
            let mut content = vec![0; len];
            self.0.read_exact(&mut content).ok()?;
            if start[0] == 0x81 {
                return Some(serde_json::from_slice(&content).expect("JSON"));
            }
        }
    }

    /// Makes a call when no news are under way.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string());
        self.next().expect("an answer")
    }

    fn subscribe(&mut self, params: &Value) -> Value {
        let mut answer = self.call("eth_subscribe", params);
        assert!(answer["result"].is_string(), "{answer}");
        answer["result"].take()
    }

    /// Reads the next piece of news of a subscription.
    fn news(&mut self, subscription: &Value) -> Value {
        let mut message = self.next().expect("news");
        assert_eq!(message["method"], "eth_subscription", "{message}");
        assert_eq!(message["params"]["subscription"], *subscription, "{message}");
        message["params"]["result"].take()
    }
}

#[test]
fn heads_and_logs_follow_a_reorganisation_in_order() {
    let fork = Fork::new();
    let mut socket = Socket::open(&fork.node);
    let logs = socket.subscribe(&json!(["logs", { "address": fork.echo }]));
    let heads = socket.subscribe(&json!(["newHeads"]));
    for word in [1, 2] {
        let id = fork.own(word);
        let log = socket.news(&logs);
        assert_log(&log);
        assert_eq!((words(&json!([log])), &log["blockHash"]), (vec![(word, false)], &json!(id)));
        let head = socket.news(&heads);
        assert_eq!(head["hash"], json!(id));
        assert_eq!(head, fork.node.call("eth_getHeaderByHash", json!([id])));
    }
    let adopted = fork.switch(3);
    let told: Vec<Value> = (0..5).map(|_| socket.news(&logs)).collect();
    assert_eq!(words(&json!(told)), [(2, true), (1, true), (100, false), (101, false), (102, false)]);
    for id in adopted {
        assert_eq!(socket.news(&heads)["hash"], json!(id));
    }
    assert_eq!(socket.call("eth_unsubscribe", &json!([logs]))["result"], json!(true));
    assert_eq!(socket.call("eth_unsubscribe", &json!([logs]))["result"], json!(false));
    let id = fork.own(3);
    assert_eq!(socket.news(&heads)["hash"], json!(id), "heads alone");
}

#[test]
fn waiting_transactions_are_told() {
    let node = Node::without_blocks(|_| {});
    let mut socket = Socket::open(&node);
    let hashes = socket.subscribe(&json!(["newPendingTransactions"]));
    let hash = node.send(&transfer(&node, 0));
    assert_eq!(socket.news(&hashes), hash);
    assert_eq!(socket.call("eth_unsubscribe", &json!([hashes]))["result"], json!(true));
    let whole = socket.subscribe(&json!(["newPendingTransactions", true]));
    let hash = node.send(&transfer(&node, 2));
    let told = socket.news(&whole);
    assert_eq!((&told["hash"], &told["from"], &told["blockHash"]), (&hash, &json!(node.key.address()), &Value::Null));
}

#[test]
fn wrong_subscriptions_are_refused() {
    let node = Node::without_blocks(|_| {});
    let mut socket = Socket::open(&node);
    for (params, words) in [
        (json!([]), "parameter 1 (topic): missing"),
        (json!(["newBlocks"]), "newHeads, logs, newPendingTransactions or syncing"),
        (json!(["logs", { "blockHash": B256::ZERO }]), "blockHash"),
        (json!(["newPendingTransactions", 7]), "parameter 2 (options)"),
    ] {
        let answer = socket.call("eth_subscribe", &params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().expect("words").contains(words), "{answer}");
    }
    for _ in 0..128 {
        socket.subscribe(&json!(["syncing"]));
    }
    let answer = socket.call("eth_subscribe", &json!(["syncing"]));
    assert_eq!(answer["error"]["code"], -32005, "{answer}");
}

#[test]
fn batches_and_notifications_work_over_a_websocket() {
    let node = Node::without_blocks(|_| {});
    let mut socket = Socket::open(&node);
    // A notification is not answered: the next answer is that of the batch.
    socket.send(r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#);
    socket
        .send(r#"[{"jsonrpc":"2.0","id":"a","method":"eth_blockNumber"},{"jsonrpc":"2.0","method":"eth_chainId"},7]"#);
    let answers = socket.next().expect("an answer");
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": "a", "result": "0x0" }));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&Value::Null, &json!(-32600)));
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let node = Node::without_blocks(|_| {});
    let mut socket = Socket::open(&node);
    for _ in 0..100 {
        socket.subscribe(&json!(["newHeads"]));
    }
    // Thousands of heads for each of a hundred subscriptions do not fit anywhere.
    for _ in 0..4_500 {
        node.grow();
    }
    let mut last = 0;
    while let Some(message) = socket.next() {
        let number = message["params"]["result"]["number"].as_str().expect("a number").to_owned();
        let number = u64::from_str_radix(number.trim_start_matches("0x"), 16).expect("hex");
        assert!(number == last || number == last + 1, "{last} {number}: a gap");
        last = number;
    }
    assert!(last < 4_500, "cut off");
}
