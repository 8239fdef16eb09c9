//! Parts of blocks, raw encodings, the pool, and what the node says of itself: each compared with what another method says.

use super::{
    node::{Node, nobody},
    transactions::{call_tx, deploy_echo, transfer},
};
use alloy_consensus::{ReceiptEnvelope, proofs};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{B256, Bytes, TxKind, keccak256};
use bmm_types::{Block, Header, Transaction};
use serde_json::{Value, json};

fn bytes(value: &Value) -> Bytes {
    serde_json::from_value(value.clone()).expect("bytes")
}

#[test]
fn parts_agree_with_the_whole() {
    let mut node = Node::without_blocks(|_| {});
    let hashes: Vec<Value> = (0..3).map(|_| node.send(&transfer(&node, 2))).collect();
    node.produce();
    let receipts: Vec<Value> = hashes.iter().map(|hash| node.receipt(hash)).collect();
    let (hash, number) = (&receipts[0]["blockHash"], &receipts[0]["blockNumber"]);
    let block = node.call("eth_getBlockByHash", json!([hash, true]));

    for (method, params) in [
        ("eth_getBlockReceipts", json!([hash])),
        ("eth_getBlockReceipts", json!([number])),
        ("eth_getBlockReceipts", json!(["latest"])),
    ] {
        assert_eq!(node.call(method, params), json!(receipts));
    }
    for (by, key) in [("Hash", hash), ("Number", number)] {
        assert_eq!(node.call(&format!("eth_getBlockTransactionCountBy{by}"), json!([key])), "0x3");
        assert_eq!(node.call(&format!("eth_getUncleCountByBlock{by}"), json!([key])), "0x0");
        assert_eq!(node.call(&format!("eth_getUncleByBlock{by}AndIndex"), json!([key, "0x0"])), Value::Null);
        let header = node.call(&format!("eth_getHeaderBy{by}"), json!([key]));
        for (field, value) in header.as_object().expect("a header") {
            assert_eq!(value, &block[field], "{field}");
        }
        assert!(header.get("transactions").is_none() && header["hash"] == *hash);
        let at = |index: &str| node.call(&format!("eth_getTransactionByBlock{by}AndIndex"), json!([key, index]));
        assert_eq!((at("0x1"), at("0x3")), (block["transactions"][1].clone(), Value::Null));
        let raw = node.call(&format!("eth_getRawTransactionByBlock{by}AndIndex"), json!([key, "0x2"]));
        assert_eq!(json!(keccak256(bytes(&raw))), hashes[2]);
    }
    let nowhere = B256::repeat_byte(0x77);
    for method in
        ["eth_getBlockReceipts", "eth_getBlockTransactionCountByHash", "eth_getHeaderByHash", "debug_getRawBlock"]
    {
        assert_eq!(node.call(method, json!([nowhere])), Value::Null, "{method}");
    }
    assert_eq!(node.call("eth_getUncleCountByBlockNumber", json!(["0x99"])), Value::Null);
}

#[test]
fn raw_encodings_hash_to_what_the_block_says() {
    let node = Node::start();
    let echo = serde_json::from_value(deploy_echo(&node)).expect("an address");
    let receipt = node.mine(&call_tx(&node, TxKind::Call(echo), B256::with_last_byte(7)));
    let block = node.call("eth_getBlockByNumber", json!(["latest", false]));
    let header = bytes(&node.call("debug_getRawHeader", json!(["latest"])));
    assert_eq!(json!(keccak256(&header)), block["hash"]);
    let header: Header = alloy_rlp::decode_exact(&header).expect("a header");
    let whole: Block =
        alloy_rlp::decode_exact(bytes(&node.call("debug_getRawBlock", json!([block["hash"]])))).expect("a block");
    assert_eq!(whole.header, header);
    assert_eq!(proofs::calculate_transaction_root(&whole.body.transactions), header.transactions_root);
    let raw = node.call("debug_getRawReceipts", json!(["latest"]));
    let decode = |raw: &Value| ReceiptEnvelope::decode_2718(&mut bytes(raw).as_ref()).expect("a receipt");
    let receipts: Vec<_> = raw.as_array().expect("a list").iter().map(decode).collect();
    assert_eq!(proofs::calculate_receipt_root(&receipts), header.receipts_root);
    assert_eq!(receipts[0].logs().len(), 1);
    for method in ["debug_getRawTransaction", "eth_getRawTransactionByHash"] {
        let raw = bytes(&node.call(method, json!([receipt["transactionHash"]])));
        assert_eq!(Transaction::decode_2718(&mut raw.as_ref()).expect("a transaction"), whole.body.transactions[0]);
    }
}

#[test]
fn the_pool_is_shown() {
    let node = Node::without_blocks(|_| {});
    let (first, gap) = (transfer(&node, 2), {
        let tx = alloy_consensus::TxLegacy {
            chain_id: Some(node.chain_id()),
            nonce: 5,
            gas_price: node.price(),
            gas_limit: 21_000,
            to: nobody(3).into(),
            ..Default::default()
        };
        Node::sign(&node.key, tx)
    });
    node.send(&first);
    node.send(&gap);
    let wallet = node.key.address().to_string();
    assert_eq!(node.call("txpool_status", json!([])), json!({ "pending": "0x1", "queued": "0x1" }));
    let content = node.call("txpool_content", json!([]));
    let found = |part: &str, nonce: &str| {
        let senders = content[part].as_object().expect("senders");
        let (sender, list) = senders.iter().next().expect("one sender");
        assert!(sender.eq_ignore_ascii_case(&wallet), "{sender}");
        list[nonce].clone()
    };
    assert_eq!(found("pending", "0")["hash"], json!(first.tx_hash()));
    assert_eq!(found("queued", "5")["hash"], json!(gap.tx_hash()));
    let from = node.call("txpool_contentFrom", json!([wallet]));
    assert_eq!(from["pending"]["0"], found("pending", "0"));
    assert_eq!(node.call("txpool_contentFrom", json!([nobody(1)])), json!({ "pending": {}, "queued": {} }));
    let inspect = node.call("txpool_inspect", json!([]));
    let words =
        inspect["queued"].as_object().and_then(|senders| senders.values().next()).expect("one sender")["5"].clone();
    assert_eq!(words, format!("{}: 0 wei + 21000 gas × {} wei", nobody(3), node.price()));
    let raw = node.call("eth_getRawTransactionByHash", json!([first.tx_hash()]));
    assert_eq!(raw, json!(Bytes::from(first.encoded_2718())), "one that waits");

    assert_eq!(node.call("eth_getBlockTransactionCountByNumber", json!(["pending"])), "0x1");
    let pending = node.call("eth_getTransactionByBlockNumberAndIndex", json!(["pending", "0x0"]));
    assert_eq!((&pending["hash"], &pending["blockHash"]), (&json!(first.tx_hash()), &Value::Null));
}

#[test]
fn the_node_says_what_it_is() {
    let node = Node::start();
    assert_eq!(node.call("net_listening", json!([])), json!(false));
    assert_eq!(node.call("net_peerCount", json!([])), "0x0");
    assert_eq!(node.call("web3_sha3", json!(["0x68656c6c6f"])), json!(keccak256("hello")));
    assert_eq!(node.call("eth_blobBaseFee", json!([])), "0x0");
    assert_eq!(node.call("admin_peers", json!([])), json!([]));
    let info = node.call("admin_nodeInfo", json!([]));
    assert_eq!(info["name"], node.call("web3_clientVersion", json!([])));
    assert_eq!(info["protocols"]["eth"]["genesis"], json!(node.chain.genesis()));
    let modules = node.call("rpc_modules", json!([]));
    for space in ["admin", "debug", "eth", "net", "rpc", "txpool", "web3"] {
        assert_eq!(modules[space], "1.0", "{modules}");
    }
}
