//! Every method that is not about transactions: chain, blocks, state, fees, simulated calls.

use super::{
    node::{Node, nobody, quantity},
    shape::{assert_block, assert_bytes, assert_quantity},
    transactions::{deploy_echo, transfer},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall as _, SolError as _};
use bmm_types::system::{self, Token};
use serde_json::{Value, json};

#[test]
fn the_chain_says_who_it_is() {
    let node = Node::start();
    let id = node.chain_id();
    assert_eq!(node.call("eth_chainId", json!([])), format!("{id:#x}"));
    assert_eq!(node.call("net_version", json!([])), id.to_string());
    assert_eq!(node.call("eth_accounts", json!([])), json!([]));
    assert_eq!(node.call("eth_syncing", json!([])), json!(false));
    assert_eq!(node.call("eth_blockNumber", json!([])), "0x0");
    let client = node.call("web3_clientVersion", json!([]));
    let parts: Vec<&str> = client.as_str().expect("text").split('/').collect();
    assert_eq!((parts.len(), parts[0], parts[1]), (4, "bmm", concat!("v", env!("CARGO_PKG_VERSION"))));
    assert!(parts[2].contains('-') && parts[3].starts_with("rust1."), "{client}");
    node.mine(&transfer(&node, 0));
    assert_eq!(node.call("eth_blockNumber", json!([])), "0x1");
}

#[test]
fn blocks_are_found_by_tag_number_and_hash() {
    let node = Node::start();
    node.mine(&transfer(&node, 2));
    let latest = node.call("eth_getBlockByNumber", json!(["latest", false]));
    assert_block(&latest);
    assert_eq!(latest["number"], "0x1");
    assert_eq!(node.call("eth_getBlockByNumber", json!(["0x1", false])), latest);
    assert_eq!(node.call("eth_getBlockByNumber", json!(["0x1"])), latest, "hashes where nothing is said");
    assert_eq!(node.call("eth_getBlockByHash", json!([latest["hash"], false])), latest);
    let genesis = node.call("eth_getBlockByNumber", json!(["earliest", true]));
    assert_block(&genesis);
    assert_eq!((&genesis["hash"], &genesis["transactions"]), (&json!(node.chain.genesis()), &json!([])));
    assert_eq!(latest["parentHash"], genesis["hash"]);
    let difficulty = node.chain.params().min_difficulty;
    assert_eq!(genesis["difficulty"], format!("{difficulty:#x}"), "the real one");
    assert_eq!(node.call("eth_getBlockByNumber", json!(["0x10", false])), Value::Null);
    assert_eq!(node.call("eth_getBlockByHash", json!([B256::repeat_byte(0x77), true])), Value::Null);
    for tag in ["safe", "finalized"] {
        let block = node.call("eth_getBlockByNumber", json!([tag, true]));
        assert_eq!(block, genesis, "without footstones nothing but genesis is final");
    }
    let finality = node.call("bmm_finality", json!([]));
    assert_eq!(
        (&finality["enabled"], &finality["members"], &finality["bets"]),
        (&json!(false), &json!("0x0"), &json!([]))
    );
    assert_eq!((&finality["finalised"]["number"], &finality["justified"]["hash"]), (&json!("0x0"), &genesis["hash"]));
}

#[test]
fn state_is_read_at_every_form_of_block() {
    let node = Node::start();
    let receipt = node.mine(&transfer(&node, 0));
    node.mine(&transfer(&node, 0));
    let balance = |block: Value| quantity(&node.call("eth_getBalance", json!([nobody(1), block])));
    let (one, two) = (U256::from(1_000), U256::from(2_000));
    for (block, expected) in [
        (json!("latest"), two),
        (json!("pending"), two),
        (Value::Null, two),
        (json!("earliest"), U256::ZERO),
        (json!("0x1"), one),
        (json!({ "blockNumber": "0x1" }), one),
        (json!({ "blockHash": receipt["blockHash"] }), one),
        (json!({ "blockHash": receipt["blockHash"], "requireCanonical": true }), one),
        (receipt["blockHash"].clone(), one),
    ] {
        assert_eq!(balance(block.clone()), expected, "{block}");
    }
    assert_eq!(node.call("eth_getBalance", json!([nobody(8)])), "0x0");
    let wallet = node.key.address();
    let nonce = |block: &str| node.call("eth_getTransactionCount", json!([wallet, block]));
    assert_eq!((nonce("latest"), nonce("0x1"), nonce("earliest")), (json!("0x2"), json!("0x1"), json!("0x0")));
    assert_eq!(node.call("eth_getCode", json!([nobody(1), "latest"])), "0x");
    assert_ne!(
        node.call("eth_getCode", json!([system::TOKEN, "latest"])),
        "0x",
        "system contracts look like contracts"
    );
    let (code, words, _) = node.error("eth_getBalance", json!([wallet, "0x99"]));
    assert!(code == -32000 && words.starts_with("block not found"), "{code} {words}");
}

#[test]
fn fees_follow_the_base_fee_and_the_tips_paid() {
    let node = Node::start();
    let empty = quantity(&node.call("eth_maxPriorityFeePerGas", json!([])));
    assert!(empty > U256::ZERO, "a default without transactions");
    for _ in 0..3 {
        node.mine(&transfer(&node, 2));
    }
    let tip = quantity(&node.call("eth_maxPriorityFeePerGas", json!([])));
    assert_eq!(tip, U256::from(5), "what the transactions paid");
    let price = quantity(&node.call("eth_gasPrice", json!([])));
    assert_eq!(price, tip + U256::from(node.chain.next_base_fee()));

    let history = node.call("eth_feeHistory", json!(["0x2", "latest", [10, 50.5, 90]]));
    assert_eq!(history["oldestBlock"], "0x2");
    assert_eq!(history["reward"], json!([["0x5", "0x5", "0x5"], ["0x5", "0x5", "0x5"]]));
    let base_fees = history["baseFeePerGas"].as_array().expect("fees");
    base_fees.iter().for_each(assert_quantity);
    assert_eq!((base_fees.len(), quantity(&base_fees[2])), (3, U256::from(node.chain.next_base_fee())));
    let ratios = history["gasUsedRatio"].as_array().expect("ratios");
    assert!(ratios.len() == 2 && ratios.iter().all(|ratio| ratio.as_f64().is_some_and(|r| r > 0.0 && r < 1.0)));

    let all = node.call("eth_feeHistory", json!([1_000, "latest"]));
    assert_eq!(all["oldestBlock"], "0x0");
    assert_eq!(all["gasUsedRatio"].as_array().map(Vec::len), Some(4));
    assert_eq!(all.get("reward"), None);
    assert_eq!(node.call("eth_feeHistory", json!(["0x0", "latest", []]))["gasUsedRatio"], json!([]));
    let (code, words, _) = node.error("eth_feeHistory", json!(["0x1", "0x99", []]));
    assert!(code == -32602 && words.contains("newest block"), "{code} {words}");
}

#[test]
fn calls_run_on_the_state_they_name() {
    let node = Node::start();
    let call = |to: Address, input: Vec<u8>, block: &str| {
        node.call("eth_call", json!([{ "to": to, "input": Bytes::from(input) }, block]))
    };
    let supply = call(system::TOKEN, Token::totalSupplyCall {}.abi_encode(), "latest");
    assert_bytes(&supply, 32);
    node.mine(&transfer(&node, 2));
    let balance_of = Token::balanceOfCall { account: nobody(1) }.abi_encode();
    assert_eq!(quantity_of(&call(system::TOKEN, balance_of.clone(), "latest")), U256::from(1_000));
    assert_eq!(quantity_of(&call(system::TOKEN, balance_of.clone(), "pending")), U256::from(1_000));
    assert_eq!(quantity_of(&call(system::TOKEN, balance_of.clone(), "earliest")), U256::ZERO);
    let by_data = json!([{ "to": system::TOKEN, "data": Bytes::from(balance_of) }]);
    assert_eq!(quantity_of(&node.call("eth_call", by_data)), U256::from(1_000), "`data` as well as `input`");
    assert_eq!(node.call("eth_call", json!([{ "to": nobody(1) }, "latest"])), "0x");

    // A creation returns the code that it would deploy; an empty override changes nothing.
    let creation = json!([{ "input": Bytes::copy_from_slice(&super::node::ECHO) }, "latest", {}]);
    assert_eq!(node.call("eth_call", creation), json!(Bytes::copy_from_slice(&super::node::ECHO[10..])));
}

fn quantity_of(word: &Value) -> U256 {
    assert_bytes(word, 32);
    serde_json::from_value::<B256>(word.clone()).expect("a word").into()
}

#[test]
fn reverts_are_error_three_with_their_data() {
    let node = Node::start();
    let transfer = Token::transferCall { to: nobody(1), value: U256::from(7) }.abi_encode();
    let request = json!({ "from": nobody(2), "to": system::TOKEN, "input": Bytes::from(transfer) });
    for method in ["eth_call", "eth_estimateGas"] {
        let (code, words, data) = node.error(method, json!([request]));
        assert!(code == 3 && words.starts_with("execution reverted"), "{code} {words}");
        let data: Bytes = serde_json::from_value(data).expect("the revert's data");
        let error = Token::ERC20InsufficientBalance::abi_decode(&data).expect("the token's error");
        assert_eq!((error.sender, error.balance, error.needed), (nobody(2), U256::ZERO, U256::from(7)));
    }
    let echo = deploy_echo(&node);
    let (code, words, data) = node.error("eth_call", json!([{ "to": echo }, "latest"]));
    assert_eq!((code, words.as_str(), data), (3, "execution reverted", json!("0x")));
}

#[test]
fn estimates_suffice_and_are_near() {
    let node = Node::start();
    let wallet = node.key.address();
    let plain = node.call("eth_estimateGas", json!([{ "from": wallet, "to": nobody(1), "value": "0x1" }]));
    assert_eq!(quantity(&plain), U256::from(21_000));
    let echo = deploy_echo(&node);
    let word = json!({ "from": wallet, "to": echo, "input": B256::with_last_byte(1) });
    let gas = quantity(&node.call("eth_estimateGas", json!([word, "pending"])));
    assert!((U256::from(43_000)..U256::from(60_000)).contains(&gas), "{gas}");
    let (code, words, _) = node.error(
        "eth_estimateGas",
        json!([{ "from": nobody(2), "to": nobody(1), "value": "0x1", "gasPrice": "0x77359400" }]),
    );
    assert!(code == -32000 && words.contains("insufficient funds"), "{code} {words}");
    let (code, words, _) =
        node.error("eth_estimateGas", json!([{ "from": wallet, "to": echo, "gas": "0x5300", "input": B256::ZERO }]));
    assert!(code == -32000 && words.contains("gas required exceeds allowance"), "{code} {words}");
}
