//! What Otterscan asks for.

use super::{
    node::{Node, nobody, quantity},
    scene::{Scene, call_with_value, forwarded},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use bmm_types::{Transaction, system};
use serde_json::{Value, json};

fn played() -> (Node, Scene, Vec<(&'static str, Transaction)>) {
    let node = Node::start();
    let scene = Scene::build(&node, |tx| drop(node.mine(tx)));
    let history = scene.play(&node, |tx| drop(node.mine(tx)));
    (node, scene, history)
}

fn named(history: &[(&'static str, Transaction)], name: &str) -> B256 {
    *history.iter().find(|(known, _)| *known == name).expect("an act").1.tx_hash()
}

#[test]
fn transactions_are_shown_from_inside() {
    let (node, scene, history) = played();
    assert_eq!(node.call("ots_getApiLevel", json!([])), json!(8));
    let nested = node.call("ots_traceTransaction", json!([named(&history, "nested calls")]));
    let calls: Vec<(Value, Value, Value)> = nested
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| (e["type"].clone(), e["depth"].clone(), e["to"].clone()))
        .collect();
    assert_eq!(
        calls,
        [
            (json!("CALL"), json!(0), json!(scene.call)),
            (json!("CALL"), json!(1), json!(scene.delegate)),
            (json!("DELEGATECALL"), json!(2), json!(scene.echo)),
        ]
    );
    let inside = |name| node.call("ots_getInternalOperations", json!([named(&history, name)]));
    assert_eq!(inside("a transfer"), json!([]));
    assert_eq!(
        inside("a value through a call"),
        json!([{ "type": 0, "from": scene.call, "to": nobody(6), "value": "0x50" }])
    );
    let short_lived = inside("a contract that does not live long");
    assert_eq!((&short_lived[0]["type"], &short_lived[1]["type"]), (&json!(3), &json!(1)), "created, destroyed");
    assert_eq!(short_lived[1]["to"], json!(nobody(4)));
    let error = |name| node.call("ots_getTransactionError", json!([named(&history, name)]));
    assert_eq!((error("a transfer"), error("a revert")), (json!("0x"), json!("0x")));
    let token = call_with_value(&node, TxKind::Call(system::TOKEN), 0, Bytes::from_static(&[1, 2, 3, 4]));
    node.mine(&token);
    let reverted = node.call("ots_getTransactionError", json!([token.tx_hash()]));
    assert!(reverted.as_str().is_some_and(|data| data.starts_with("0x08c379a0")), "{reverted}");
}

#[test]
fn blocks_are_shown_with_what_they_brought() {
    let (node, _, history) = played();
    let hash = named(&history, "nested calls");
    let receipt = node.call("eth_getTransactionReceipt", json!([hash]));
    let number = quantity(&receipt["blockNumber"]).to::<u64>();
    let header = node.call("ots_getHeaderByNumber", json!([number]));
    assert_eq!(header["hash"], receipt["blockHash"]);
    assert_eq!(node.call("erigon_getHeaderByNumber", json!([format!("{number:#x}")])), header);
    assert_eq!(node.call("ots_getHeaderByNumber", json!([9_999])), Value::Null);

    let details = node.call("ots_getBlockDetails", json!([number]));
    assert_eq!(details, node.call("ots_getBlockDetailsByHash", json!([receipt["blockHash"]])));
    assert_eq!((&details["block"]["hash"], &details["block"]["transactionCount"]), (&receipt["blockHash"], &json!(1)));
    let fee = quantity(&receipt["gasUsed"]) * quantity(&receipt["effectiveGasPrice"]);
    assert_eq!(quantity(&details["totalFees"]), fee);
    let emission = node.chain.params().emission.expect("the chain emits");
    let reward = bmm_ledger::emission::reward(&emission, number);
    assert_eq!(quantity(&details["issuance"]["blockReward"]), reward.producer);
    assert_eq!(quantity(&details["issuance"]["issuance"]), reward.total());

    let page = node.call("ots_getBlockTransactions", json!([number, 0, 10]));
    assert_eq!(page["fullblock"]["transactions"][0]["hash"], json!(hash));
    assert_eq!(page["fullblock"]["transactions"][0]["input"].as_str().map(str::len), Some(10), "four bytes");
    assert_eq!((&page["receipts"][0]["logs"], &page["receipts"][0]["gasUsed"]), (&Value::Null, &receipt["gasUsed"]));
    assert_eq!(node.call("ots_getBlockTransactions", json!([number, 1, 10]))["fullblock"]["transactions"], json!([]));
    let (code, words, _) = node.error("ots_getBlockTransactions", json!([number, 0, 0]));
    assert!(code == -32602 && words.contains("page size"), "{words}");
}

#[test]
fn accounts_are_searched_page_by_page() {
    let (node, scene, history) = played();
    let of_echo = |found: &Value| -> Vec<Value> {
        found["txs"].as_array().expect("a list").iter().map(|tx| tx["hash"].clone()).collect()
    };
    let newest = node.call("ots_searchTransactionsBefore", json!([scene.echo, 0, 2]));
    let oldest = node.call("ots_searchTransactionsAfter", json!([scene.echo, 0, 2]));
    assert_eq!((&newest["firstPage"], &newest["lastPage"]), (&json!(true), &json!(false)));
    assert_eq!((&oldest["firstPage"], &oldest["lastPage"]), (&json!(false), &json!(true)));
    // Two calls, a revert and the creation name it; what calls it from inside logs in another's name.
    let expected = ["a revert", "a slot that is set already"].map(|name| json!(named(&history, name)));
    assert_eq!(of_echo(&newest), expected);
    let next = &newest["txs"][1]["blockNumber"];
    let more = node.call("ots_searchTransactionsBefore", json!([scene.echo, next, 2]));
    assert_eq!(of_echo(&more), of_echo(&oldest), "both ways lead to the same");
    assert_eq!(more["lastPage"], json!(true));
    assert_eq!(more["receipts"][0]["logs"].as_array().map(Vec::len), Some(1));
    let nothing = node.call("ots_searchTransactionsBefore", json!([nobody(0x70), 0, 25]));
    assert_eq!((&nothing["txs"], &nothing["lastPage"]), (&json!([]), &json!(true)));
}

#[test]
fn beginnings_are_found() {
    let (node, scene, history) = played();
    let wallet = node.key.address();
    for (nonce, (_, tx)) in (6..).zip(&history) {
        let found = node.call("ots_getTransactionBySenderAndNonce", json!([wallet, nonce]));
        assert_eq!(found, json!(tx.tx_hash()), "{nonce}");
    }
    assert_eq!(node.call("ots_getTransactionBySenderAndNonce", json!([wallet, 1_000])), Value::Null);
    let creator = |address: Address| node.call("ots_getContractCreator", json!([address]));
    assert_eq!(creator(scene.echo)["creator"], json!(wallet));
    let inside: Vec<u8> = forwarded(scene.factory, &[]).to_vec();
    assert_eq!(inside.len(), 32);
    let operations = node.call("ots_getInternalOperations", json!([named(&history, "a creation inside a call")]));
    let created: Address = serde_json::from_value(operations[0]["to"].clone()).expect("an address");
    let found = json!({ "hash": named(&history, "a creation inside a call"), "creator": scene.factory });
    assert_eq!(creator(created), found);
    assert_eq!((creator(nobody(1)), creator(system::TOKEN)), (Value::Null, Value::Null));
    assert_eq!(node.call("ots_hasCode", json!([scene.echo, "latest"])), json!(true));
    assert_eq!(node.call("ots_hasCode", json!([scene.echo, "0x0"])), json!(false));
    assert_eq!(node.call("ots_hasCode", json!([scene.echo, 0])), json!(false), "a plain number, too");
    assert_eq!(U256::from(history.len()), U256::from(14));
}
