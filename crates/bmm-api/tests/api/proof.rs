//! `eth_getProof`, checked by another implementation of the trie (`eth_trie`).

use super::{
    node::{Node, nobody, quantity},
    transactions::{call_tx, deploy_echo},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use eth_trie::{EthTrie, MemoryDB, Trie as _};
use serde_json::{Value, json};
use std::sync::Arc;

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"))
}

/// Checks a proof against a root, and returns the leaf that it proves.
fn verify(root: B256, key: &[u8], nodes: &Value) -> Option<Vec<u8>> {
    let nodes = read::<Vec<Bytes>>(nodes).into_iter().map(|node| node.to_vec()).collect();
    let trie = EthTrie::new(Arc::new(MemoryDB::new(true)));
    trie.verify_proof(root, keccak256(key).as_slice(), nodes).expect("a valid proof")
}

/// The account as the trie holds it.
fn leaf(proof: &Value) -> Vec<u8> {
    let (nonce, balance) = (quantity(&proof["nonce"]), quantity(&proof["balance"]));
    let hashes: [B256; 2] = [read(&proof["storageHash"]), read(&proof["codeHash"])];
    let mut content = Vec::new();
    alloy_rlp::Encodable::encode(&nonce, &mut content);
    alloy_rlp::Encodable::encode(&balance, &mut content);
    for hash in hashes {
        alloy_rlp::Encodable::encode(&hash, &mut content);
    }
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: content.len() }.encode(&mut out);
    [out, content].concat()
}

#[test]
fn accounts_and_slots_are_proven() {
    let node = Node::start();
    let echo: Address = read(&deploy_echo(&node));
    node.mine(&call_tx(&node, TxKind::Call(echo), B256::with_last_byte(7)));
    let root: B256 = read(&node.call("eth_getBlockByNumber", json!(["latest", false]))["stateRoot"]);

    let unset = B256::with_last_byte(9);
    let proof = node.call("eth_getProof", json!([echo, ["0x0", unset], "latest"]));
    assert_eq!(verify(root, echo.as_slice(), &proof["accountProof"]), Some(leaf(&proof)));
    assert_eq!(proof["codeHash"], json!(keccak256(read::<Bytes>(&node.call("eth_getCode", json!([echo]))))));
    let storage_root: B256 = read(&proof["storageHash"]);
    let [set, missing] = proof["storageProof"].as_array().expect("two").as_slice() else { panic!("{proof}") };
    assert_eq!((&set["key"], &set["value"]), (&json!("0x0"), &json!("0x7")), "the key as it came");
    assert_eq!(verify(storage_root, B256::ZERO.as_slice(), &set["proof"]), Some(alloy_rlp::encode(U256::from(7))));
    assert_eq!((&missing["key"], &missing["value"]), (&json!(unset), &json!("0x0")));
    assert_eq!(verify(storage_root, unset.as_slice(), &missing["proof"]), None, "shown not to be there");

    let wallet = node.key.address();
    let proof = node.call("eth_getProof", json!([wallet, []]));
    assert_eq!(verify(root, wallet.as_slice(), &proof["accountProof"]), Some(leaf(&proof)));
    assert_eq!(proof["balance"], node.call("eth_getBalance", json!([wallet])));
    let proof = node.call("eth_getProof", json!([nobody(0x77), ["0x1"], "latest"]));
    assert_eq!(verify(root, nobody(0x77).as_slice(), &proof["accountProof"]), None);
    assert_eq!((&proof["balance"], &proof["nonce"]), (&json!("0x0"), &json!("0x0")));
    assert_eq!(proof["codeHash"], json!(keccak256([])));

    let (code, words, _) = node.error("eth_getProof", json!([wallet, ["0xzz"]]));
    assert!(code == -32602 && words.contains("parameter 2 (storage keys)"), "{code} {words}");
    let (code, words, _) = node.error("eth_getProof", json!([wallet, vec!["0x0"; 1_025]]));
    assert!(code == -32602 && words.contains("at most 1024"), "{code} {words}");
}
