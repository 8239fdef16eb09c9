//! What waits in the pool, as its sender sees it.

use super::{
    node::{Node, nobody, quantity},
    transactions::transfer,
};
use alloy_consensus::{TxEip1559, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes, U256};
use alloy_signer_local::PrivateKeySigner;
use bmm_types::Transaction;
use serde_json::{Value, json};

/// The parameters of `eth_sendRawTransaction`.
fn raw(tx: &Transaction) -> Value {
    json!([Bytes::from(tx.encoded_2718())])
}

#[test]
fn a_waiting_transaction_counts_in_pending_alone() {
    let node = Node::without_blocks(|_| {});
    let wallet = node.key.address();
    let tx = transfer(&node, 2);
    assert_eq!(node.send(&tx), json!(tx.tx_hash()));

    assert_eq!(node.call("eth_getTransactionCount", json!([wallet, "pending"])), "0x1");
    assert_eq!(node.call("eth_getTransactionCount", json!([wallet, "latest"])), "0x0");
    assert_eq!(node.call("eth_getTransactionCount", json!([wallet])), "0x0");
    assert_eq!(node.call("eth_getTransactionReceipt", json!([tx.tx_hash()])), Value::Null);

    let found = node.call("eth_getTransactionByHash", json!([tx.tx_hash()]));
    assert_eq!(found["from"], json!(wallet));
    for field in ["blockHash", "blockNumber", "transactionIndex"] {
        assert_eq!(found.get(field), Some(&Value::Null), "{field}: {found}");
    }

    for hydrated in [false, true] {
        let block = node.call("eth_getBlockByNumber", json!(["pending", hydrated]));
        assert_eq!(quantity(&block["number"]), U256::ONE);
        assert_eq!(block["parentHash"], json!(node.chain.genesis()));
        for field in ["hash", "nonce", "miner", "logsBloom", "stateRoot"] {
            assert_eq!(block.get(field), Some(&Value::Null), "{field}: {block}");
        }
        let [in_block] = block["transactions"].as_array().expect("transactions").as_slice() else { panic!("{block}") };
        let hash = if hydrated { &in_block["hash"] } else { in_block };
        assert_eq!(*hash, json!(tx.tx_hash()));
    }
}

#[test]
fn a_gap_in_nonces_waits_and_does_not_count() {
    let node = Node::without_blocks(|_| {});
    let first = transfer(&node, 2);
    node.send(&first);
    let second = transfer(&node, 0);
    node.send(&second);
    assert_eq!(node.call("eth_getTransactionCount", json!([node.key.address(), "pending"])), "0x2");

    let other = Node::without_blocks(|_| {});
    // The second one alone: the first is not known there.
    other.send(&second);
    assert_eq!(other.call("eth_getTransactionCount", json!([node.key.address(), "pending"])), "0x0");
}

#[test]
fn the_pool_refuses_in_the_usual_words() {
    let node = Node::without_blocks(|_| {});
    let tx = transfer(&node, 2);
    node.send(&tx);
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&tx));
    assert_eq!((code, words.as_str()), (-32000, "already known"));

    let replacement = TxEip1559 {
        chain_id: node.chain_id(),
        gas_limit: 21_000,
        max_fee_per_gas: node.price(),
        max_priority_fee_per_gas: 5,
        to: nobody(2).into(),
        ..Default::default()
    };
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&Node::sign(&node.key, replacement.clone())));
    assert!(code == -32000 && words.contains("replacement transaction underpriced"), "{code} {words}");

    let poor = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x55)).expect("a key");
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&Node::sign(&poor, replacement.clone())));
    assert!(code == -32000 && words.contains("insufficient funds"), "{code} {words}");

    let foreign = TxEip1559 { chain_id: 1, nonce: 1, ..replacement.clone() };
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&Node::sign(&node.key, foreign)));
    assert!(code == -32000 && words.contains("invalid chain id for signer"), "{code} {words}");

    let thin = TxEip1559 { gas_limit: 20_999, nonce: 1, ..replacement };
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&Node::sign(&node.key, thin)));
    assert!(code == -32000 && words.contains("intrinsic gas too low"), "{code} {words}");
}

#[test]
fn a_used_nonce_is_too_low() {
    let node = Node::start();
    let tx = transfer(&node, 0);
    node.mine(&tx);
    let again = TxLegacy {
        chain_id: Some(node.chain_id()),
        gas_price: node.price(),
        gas_limit: 21_000,
        to: nobody(3).into(),
        ..Default::default()
    };
    let (code, words, _) = node.error("eth_sendRawTransaction", raw(&Node::sign(&node.key, again)));
    assert!(code == -32000 && words.contains("nonce too low"), "{code} {words}");
}
