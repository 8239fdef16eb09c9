//! What is refused, with which code, and whether the words name the parameter.

use super::node::Node;
use alloy_primitives::B256;
use serde_json::{Value, json};

const ADDRESS: &str = "0x00000000000000000000000000000000000000aa";

#[test]
fn wrong_parameters_are_named() {
    let node = Node::start();
    let huge = format!("0x{}", "f".repeat(65));
    let cases = [
        ("eth_getBalance", json!([]), "parameter 1 (address): missing; expected an address"),
        (
            "eth_getBalance",
            json!(["0x12"]),
            "parameter 1 (address): expected an address, 0x and 40 hex digits, got \"0x12\"",
        ),
        ("eth_getBalance", json!([7]), "parameter 1 (address): expected an address"),
        ("eth_getBalance", json!([ADDRESS, "newest"]), "parameter 2 (block): expected a block: latest, pending"),
        ("eth_getBalance", json!([ADDRESS, 16]), "parameter 2 (block)"),
        ("eth_getBalance", json!([ADDRESS, { "blockHash": "0x1" }]), "parameter 2 (block)"),
        ("eth_getBalance", json!([ADDRESS, "latest", true]), "got 3 parameters, expected at most address, block"),
        ("eth_getBalance", json!({ "address": ADDRESS }), "expected a list, got {"),
        ("eth_chainId", json!([1]), "got 1 parameters, expected none"),
        ("eth_getStorageAt", json!([ADDRESS, huge]), "parameter 2 (storage slot): expected a storage slot"),
        ("eth_getStorageAt", json!([ADDRESS]), "parameter 2 (storage slot): missing"),
        (
            "eth_getBlockByNumber",
            json!(["latest", "yes"]),
            "parameter 2 (hydrated transactions): expected true or false, got \"yes\"",
        ),
        ("eth_getBlockByNumber", json!(["0xzz", true]), "parameter 1 (block)"),
        ("eth_getBlockByHash", json!(["0x12", true]), "parameter 1 (block hash): expected a hash"),
        ("eth_getTransactionByHash", json!([null]), "parameter 1 (transaction hash): missing"),
        ("eth_getTransactionReceipt", json!(["hash"]), "parameter 1 (transaction hash): expected a hash"),
        ("eth_call", json!(["0x"]), "parameter 1 (transaction): expected a transaction object"),
        ("eth_call", json!([{ "to": "0x12" }]), "parameter 1 (transaction): expected a transaction object"),
        ("eth_call", json!([{ "input": "0x01", "data": "0x02" }]), "`input` and `data` differ"),
        ("eth_call", json!([{ "chainId": "0x1" }]), "parameter 1 (transaction): chainId is 1"),
        ("eth_estimateGas", json!([{ "value": "lots" }]), "parameter 1 (transaction)"),
        ("eth_feeHistory", json!(["many", "latest", []]), "parameter 1 (block count)"),
        ("eth_feeHistory", json!(["0x1", "latest", [50, 20]]), "parameter 3 (reward percentiles)"),
        ("eth_getLogs", json!([{ "address": "0x12" }]), "parameter 1 (filter)"),
        ("eth_getLogs", json!([{ "fromBlock": "0x1", "blockHash": B256::ZERO }]), "parameter 1 (filter)"),
        ("eth_getLogs", json!([{ "topics": [[], [], [], [], []] }]), "parameter 1 (filter)"),
        ("eth_sendRawTransaction", json!(["0x1"]), "parameter 1 (transaction): expected bytes"),
        ("eth_sendRawTransaction", json!(["0x"]), "parameter 1 (transaction)"),
        ("eth_sendRawTransaction", json!(["0x02c0"]), "parameter 1 (transaction)"),
    ];
    for (method, params, words) in cases {
        let (code, message, data) = node.error(method, params.clone());
        assert_eq!(code, -32602, "{method} {params}: {message}");
        assert!(message.starts_with("invalid params: ") && message.contains(words), "{method} {params}: {message}");
        assert_eq!(data, Value::Null);
    }
}

#[test]
fn unknown_methods_are_refused() {
    let node = Node::start();
    for method in ["eth_coinbaseX", "debug_everything", "", "eth_subscribeX", "personal_unlockAccount", "rpc.discover"]
    {
        let (code, message, _) = node.error(method, json!([]));
        assert_eq!((code, message), (-32601, format!("the method {method} does not exist/is not available")));
    }
}

#[test]
fn what_needs_keys_is_refused_with_the_remedy() {
    let node = Node::start();
    for method in ["eth_sendTransaction", "eth_signTransaction"] {
        let (code, words, _) = node.error(method, json!([{ "from": ADDRESS }]));
        assert!(code == -32000 && words.contains("eth_sendRawTransaction"), "{code} {words}");
    }
    let (code, words, _) = node.error("eth_sign", json!([ADDRESS, "0x00"]));
    assert!(code == -32000 && words.contains("holds no keys"), "{code} {words}");
    let (code, words, _) = node.error("eth_subscribe", json!(["newHeads"]));
    assert!(code == -32601 && words.contains("WebSocket"), "{code} {words}");
}

#[test]
fn executions_that_end_badly_are_told() {
    let node = Node::start();
    // INVALID.
    let (code, words, _) = node.error("eth_call", json!([{ "input": "0xfe" }, "latest"]));
    assert!(code == -32000, "{code} {words}");
    // An endless loop ends with the gas that a call may use.
    let (code, words, _) = node.error("eth_call", json!([{ "input": "0x5b5f56" }, "latest"]));
    assert!(code == -32000 && words.contains("gas required exceeds allowance"), "{code} {words}");
    let (code, words, _) =
        node.error("eth_call", json!([{ "from": ADDRESS, "to": ADDRESS, "value": "0x1" }, "latest"]));
    assert!(code == -32000 && words.starts_with("insufficient funds for gas * price + value"), "{code} {words}");
}
