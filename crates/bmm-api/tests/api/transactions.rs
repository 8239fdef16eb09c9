//! Sending, finding and receipts: every type of transaction.

use super::{
    node::{ECHO, Node, nobody, quantity},
    shape::{assert_block, assert_receipt, assert_transaction},
};
use alloy_consensus::{TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync as _;
use bmm_types::{Transaction, system};
use serde_json::{Value, json};

const VALUE: u64 = 1_000;

/// Signs a transfer of [`VALUE`] units to nobody as a transaction of the type `kind`.
pub fn transfer(node: &Node, kind: u8) -> Transaction {
    let (chain_id, nonce, price) = (node.chain_id(), node.nonce(), node.price());
    let (to, value, gas_limit) = (nobody(1), U256::from(VALUE), 100_000);
    let access_list = AccessList(vec![AccessListItem { address: system::TOKEN, storage_keys: vec![B256::ZERO] }]);
    let input = Bytes::new();
    match kind {
        0 => Node::sign(
            &node.key,
            TxLegacy { chain_id: Some(chain_id), nonce, gas_price: price, gas_limit, to: to.into(), value, input },
        ),
        1 => Node::sign(
            &node.key,
            TxEip2930 { chain_id, nonce, gas_price: price, gas_limit, to: to.into(), value, access_list, input },
        ),
        2 => Node::sign(
            &node.key,
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: price,
                max_priority_fee_per_gas: 5,
                to: to.into(),
                value,
                access_list,
                input,
            },
        ),
        _ => {
            let authorization =
                Authorization { chain_id: U256::from(chain_id), address: nobody(9), nonce: nonce.saturating_add(1) };
            let signature = node.key.sign_hash_sync(&authorization.signature_hash()).expect("a local key signs");
            Node::sign(
                &node.key,
                TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: price,
                    max_priority_fee_per_gas: 5,
                    to,
                    value,
                    access_list,
                    authorization_list: vec![authorization.into_signed(signature)],
                    input,
                },
            )
        }
    }
}

/// Signs a call, or a creation.
pub fn call_tx(node: &Node, to: TxKind, input: impl Into<Bytes>) -> Transaction {
    Node::sign(
        &node.key,
        TxEip1559 {
            chain_id: node.chain_id(),
            nonce: node.nonce(),
            gas_limit: 500_000,
            max_fee_per_gas: node.price(),
            max_priority_fee_per_gas: 5,
            to,
            input: input.into(),
            ..TxEip1559::default()
        },
    )
}

/// Deploys the echo contract and returns its address.
pub fn deploy_echo(node: &Node) -> Value {
    let receipt = node.mine(&call_tx(node, TxKind::Create, ECHO.to_vec()));
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].clone()
}

#[test]
fn every_type_is_sent_mined_and_found() {
    let node = Node::start();
    for kind in [0, 1, 2, 4] {
        let tx = transfer(&node, kind);
        let receipt = node.mine(&tx);
        assert_receipt(&receipt, kind);
        assert_eq!(receipt["status"], "0x1");
        assert_eq!(receipt["transactionHash"], json!(tx.tx_hash()));
        assert_eq!(receipt["contractAddress"], Value::Null);
        assert_eq!(receipt["from"], json!(node.key.address()));

        let found = node.call("eth_getTransactionByHash", json!([tx.tx_hash()]));
        assert_transaction(&found, kind);
        assert_eq!((&found["blockHash"], &found["hash"]), (&receipt["blockHash"], &json!(tx.tx_hash())));
        assert_eq!(quantity(&found["value"]), U256::from(VALUE));
        assert_eq!(found["gasPrice"], receipt["effectiveGasPrice"], "what it paid");
        assert_eq!(found["to"], json!(nobody(1)));

        let block = node.call("eth_getBlockByHash", json!([receipt["blockHash"], true]));
        assert_block(&block);
        assert_eq!(block["transactions"], json!([found]), "the same transaction, hydrated");
        let block = node.call("eth_getBlockByNumber", json!([receipt["blockNumber"], false]));
        assert_eq!(block["transactions"], json!([tx.tx_hash()]));
        let price = quantity(&receipt["effectiveGasPrice"]);
        let expected =
            if kind >= 2 { quantity(&block["baseFeePerGas"]) + U256::from(5) } else { quantity(&found["gasPrice"]) };
        assert_eq!(price, expected);
    }
    let code = node.call("eth_getCode", json!([node.key.address(), "latest"]));
    let delegation = format!("0xef0100{}", alloy_primitives::hex::encode(nobody(9)));
    assert_eq!(code, delegation, "the last transaction delegated the account (EIP-7702)");
    let balance = node.call("eth_getBalance", json!([nobody(1), "latest"]));
    assert_eq!(quantity(&balance), U256::from(4 * VALUE));
}

#[test]
fn a_contract_is_created_called_and_read() {
    let node = Node::start();
    let echo = deploy_echo(&node);
    let code = node.call("eth_getCode", json!([echo, "latest"]));
    assert_eq!(code, json!(Bytes::copy_from_slice(&ECHO[10..])));
    let address = serde_json::from_value(echo.clone()).expect("an address");
    let word = B256::with_last_byte(7);
    let receipt = node.mine(&call_tx(&node, TxKind::Call(address), word));
    assert_receipt(&receipt, 2);
    let [log] = receipt["logs"].as_array().expect("logs").as_slice() else { panic!("{receipt}") };
    assert_eq!((&log["address"], &log["topics"], &log["data"]), (&echo, &json!([word]), &json!(word)));
    assert_eq!(node.call("eth_getStorageAt", json!([echo, "0x0", "latest"])), json!(word));
    assert_eq!(node.call("eth_getStorageAt", json!([echo, B256::ZERO])), json!(word));
    assert_eq!(node.call("eth_getStorageAt", json!([echo, "0x1"])), json!(B256::ZERO));

    let failed = node.mine(&call_tx(&node, TxKind::Call(address), Bytes::new()));
    assert_eq!((&failed["status"], &failed["logs"]), (&json!("0x0"), &json!([])));
    assert!(quantity(&failed["gasUsed"]) > U256::from(21_000));
}

#[test]
fn several_in_one_block_are_told_apart() {
    let mut node = Node::without_blocks(|_| {});
    let hashes: Vec<Value> = (0..3).map(|_| node.send(&transfer(&node, 2))).collect();
    node.produce();
    let receipts: Vec<Value> = hashes.iter().map(|hash| node.receipt(hash)).collect();
    let mut gas = U256::ZERO;
    for (index, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt["blockHash"], receipts[0]["blockHash"], "all fit one block");
        assert_eq!(quantity(&receipt["transactionIndex"]), U256::from(index));
        gas += quantity(&receipt["gasUsed"]);
        assert_eq!(quantity(&receipt["cumulativeGasUsed"]), gas);
    }
    let block = node.call("eth_getBlockByHash", json!([receipts[0]["blockHash"], false]));
    assert_eq!((&block["transactions"], quantity(&block["gasUsed"])), (&json!(hashes), gas));
}

#[test]
fn unknown_ones_are_null() {
    let node = Node::start();
    for method in ["eth_getTransactionByHash", "eth_getTransactionReceipt"] {
        assert_eq!(node.call(method, json!([B256::repeat_byte(0x77)])), Value::Null);
    }
}
