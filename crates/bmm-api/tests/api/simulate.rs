//! `eth_simulateV1`: chains of blocks that never were.

use super::{
    node::{Node, nobody, quantity},
    scene::Scene,
    shape::assert_block,
    trace_anvil::Pair,
};
use alloy_primitives::{B256, Bytes, U256, hex};
use bmm_ledger::emission;
use serde_json::{Value, json};

fn simulate(node: &Node, blocks: &Value, rest: &Value) -> Value {
    let mut payload = rest.clone();
    payload["blockStateCalls"] = blocks.clone();
    node.call("eth_simulateV1", json!([payload, "latest"]))
}

#[test]
fn blocks_follow_each_other() {
    let node = Node::start();
    let (from, to) = (nobody(0x66), nobody(0x67));
    let blocks = json!([
        {
            "stateOverrides": { from.to_string(): { "balance": "0x64" } },
            "calls": [{ "from": from, "to": to, "value": "0x32" }, { "from": from, "to": to, "value": "0x32" }],
        },
        { "blockOverrides": { "number": "0x5" }, "calls": [{ "from": to, "to": nobody(1), "value": "0x64" }] },
    ]);
    let answer = simulate(&node, &blocks, &json!({}));
    let list = answer.as_array().expect("blocks");
    let numbers: Vec<&Value> = list.iter().map(|block| &block["number"]).collect();
    assert_eq!(numbers, ["0x1", "0x2", "0x3", "0x4", "0x5"], "gaps are filled");
    for pair in list.windows(2) {
        assert_eq!(pair[1]["parentHash"], pair[0]["hash"]);
        assert!(quantity(&pair[1]["timestamp"]) > quantity(&pair[0]["timestamp"]));
    }
    for call in list[0]["calls"].as_array().expect("calls").iter().chain([&list[4]["calls"][0]]) {
        assert_eq!(
            (&call["status"], &call["gasUsed"], &call["returnData"]),
            (&json!("0x1"), &json!("0x5208"), &json!("0x"))
        );
    }
    assert_eq!(list[0]["gasUsed"], "0xa410");
    assert_eq!(list[0]["transactions"].as_array().map(Vec::len), Some(2));
    for block in list {
        let mut block = block.clone();
        block.as_object_mut().expect("a block").remove("calls");
        assert_block(&block);
    }
    assert_eq!(node.call("eth_getBalance", json!([from, "latest"])), "0x0", "nothing stays");
}

#[test]
fn the_chains_rules_hold_in_simulated_blocks() {
    let node = Node::start();
    let (producer, here) = (nobody(0x44), nobody(0x55));
    // It returns its block's number and the id of the block before it.
    let code = hex!("60014303405f5260205ff3").to_vec();
    let blocks = json!([
        { "blockOverrides": { "feeRecipient": producer } },
        {
            "stateOverrides": { here.to_string(): { "code": Bytes::from(code) } },
            "calls": [{ "to": here }, { "from": producer, "to": nobody(1), "value": "0x1" }],
        },
    ]);
    let answer = simulate(&node, &blocks, &json!({ "returnFullTransactions": true }));
    assert_eq!(answer[1]["calls"][0]["returnData"], answer[0]["hash"], "the id of a simulated block");
    assert_eq!(answer[1]["calls"][1]["status"], "0x1", "the first block's emission is the producer's");
    let reward = emission::reward(node.chain.params().emission.as_ref().expect("the chain emits"), 1);
    assert!(reward.producer > U256::ZERO);
    assert_eq!(answer[1]["transactions"][1]["from"], json!(producer));
    assert_eq!(answer[1]["transactions"][1]["nonce"], "0x0");
}

#[test]
fn transfers_are_logs_where_that_is_asked_for() {
    let node = Node::start();
    let wallet = node.key.address();
    let blocks = json!([{ "calls": [{ "from": wallet, "to": nobody(1), "value": "0x7" }] }]);
    let plain = simulate(&node, &blocks, &json!({}));
    let traced = simulate(&node, &blocks, &json!({ "traceTransfers": true }));
    assert_eq!(plain[0]["calls"][0]["logs"], json!([]));
    let log = &traced[0]["calls"][0]["logs"][0];
    assert_eq!(log["address"], "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
    assert_eq!(log["topics"][1], json!(wallet.into_word()));
    assert_eq!((&log["data"], &log["blockHash"]), (&json!(B256::with_last_byte(7)), &traced[0]["hash"]));
    assert_eq!(plain[0]["hash"], traced[0]["hash"], "they are no part of the block");
}

#[test]
fn failures_and_broken_rules_have_their_codes() {
    let node = Node::start();
    let wallet = node.key.address();
    let failing =
        json!({ nobody(0x55).to_string(): { "code": "0x5f5ffd" }, nobody(0x56).to_string(): { "code": "0xfe" } });
    let calls = json!([{ "stateOverrides": failing, "calls": [{ "to": nobody(0x55) }, { "to": nobody(0x56), "gas": "0x10000" }] }]);
    let answer = simulate(&node, &calls, &json!({}));
    let error = |n: usize| (answer[0]["calls"][n]["status"].clone(), answer[0]["calls"][n]["error"]["code"].clone());
    assert_eq!((error(0), error(1)), ((json!("0x0"), json!(3)), (json!("0x0"), json!(-32015))));

    let validated = |call: Value| json!([{ "blockStateCalls": [{ "calls": [call] }], "validation": true }, "latest"]);
    let fee = format!("{:#x}", node.price());
    let blocks = |blocks: Value| json!([{ "blockStateCalls": blocks }, "latest"]);
    for (params, code) in [
        (validated(json!({ "from": wallet, "to": nobody(1), "maxFeePerGas": fee, "nonce": "0x9" })), -38011),
        (validated(json!({ "from": wallet, "to": nobody(1), "maxFeePerGas": "0x1" })), -38012),
        (validated(json!({ "from": wallet, "to": nobody(1) })), -38012),
        (validated(json!({ "from": wallet, "to": nobody(1), "maxFeePerGas": fee, "gas": "0x5207" })), -38013),
        (validated(json!({ "from": nobody(9), "to": nobody(1), "maxFeePerGas": fee })), -38014),
        (blocks(json!([{ "calls": [{ "to": nobody(1), "gas": "0xffffffffff" }] }])), -38015),
        (blocks(json!([{ "blockOverrides": { "number": "0x0" } }])), -38020),
        (blocks(json!([{ "blockOverrides": { "time": "0x1" } }])), -38021),
        (blocks(json!([{ "blockOverrides": { "number": "0x1000" } }])), -38026),
        (blocks(json!([])), -32602),
        (blocks(json!([{ "stateOverrides": { nobody(1).to_string(): { "coins": "0x1" } } }])), -32602),
    ] {
        let (got, words, _) = node.error("eth_simulateV1", params.clone());
        assert_eq!(got, code, "{params}: {words}");
    }
    let good = node.call("eth_simulateV1", validated(json!({ "from": wallet, "to": nobody(1), "maxFeePerGas": fee })));
    assert_eq!(good[0]["calls"][0]["status"], "0x1");
    assert_ne!(good[0]["baseFeePerGas"], "0x0", "a block that is validated has a base fee");
}

#[test]
fn the_gas_of_all_calls_is_bounded() {
    let node = Node::with(|config| config.call_gas_limit = 1_000_000);
    let endless = json!({ nobody(0x55).to_string(): { "code": "0x5b5f56" } });
    let calls: Vec<Value> = (0..3).map(|_| json!({ "to": nobody(0x55), "gas": "0xf4240" })).collect();
    let payload = json!([{ "blockStateCalls": [{ "stateOverrides": endless, "calls": calls }] }, "latest"]);
    let (code, words, _) = node.error("eth_simulateV1", payload);
    assert!(code == -32005 && words.contains("1000000 gas"), "{code} {words}");
}

#[test]
fn simulations_and_access_lists_are_anvils() {
    let Some(pair) = Pair::start() else { return };
    let scene = Scene::build(&pair.node, |tx| pair.mine(tx));
    let wallet = pair.node.key.address();
    let acts: Vec<Value> = scene
        .acts()
        .into_iter()
        .map(|(_, to, value, input)| {
            let mut call = json!({ "from": wallet, "value": format!("{value:#x}"), "input": input, "gas": "0xf4240" });
            if let Some(to) = to.to() {
                call["to"] = json!(to);
            }
            call
        })
        .collect();
    // anvil simulates no creations.
    let calls: Vec<&Value> = acts.iter().filter(|call| call.get("to").is_some()).collect();
    let payload = json!({ "blockStateCalls": [{ "calls": calls[..7] }, { "calls": calls[7..] }] });
    let ask = |method: &str, params: &Value| {
        let (ours, theirs) = (pair.node.ask(method, params), pair.anvil.ask(method, params));
        assert!(ours.get("error").is_none() && theirs.get("error").is_none(), "{method}: {ours} {theirs}");
        (ours["result"].clone(), theirs["result"].clone())
    };
    let (ours, theirs) = ask("eth_simulateV1", &json!([payload, "latest"]));
    for (block, (ours, theirs)) in
        ours.as_array().expect("blocks").iter().zip(theirs.as_array().expect("blocks")).enumerate()
    {
        // The blocks' own fields depend on the chain; anvil gives the first simulated block its parent's number besides.
        let calls = ours["calls"].as_array().expect("calls").iter().zip(theirs["calls"].as_array().expect("calls"));
        for (index, (ours, theirs)) in calls.enumerate() {
            for field in ["status", "returnData", "gasUsed"] {
                assert_eq!(ours[field], theirs[field], "{field} of call {index} of block {block}: {ours} {theirs}");
            }
            let logs = |call: &Value| -> Vec<(Value, Value)> {
                let list = call["logs"].as_array().expect("logs").iter();
                list.map(|log| (log["address"].clone(), log["topics"].clone())).collect()
            };
            assert_eq!(logs(ours), logs(theirs));
        }
    }
    // The order of an access list has no meaning, and anvil's is that of a hash table.
    let sorted = |list: &Value| {
        let mut entries: Vec<String> = list.as_array().expect("a list").iter().map(Value::to_string).collect();
        entries.sort_unstable();
        entries
    };
    let mut failing = 0;
    for call in &acts {
        let params = json!([call, "latest"]);
        let theirs = pair.anvil.ask("eth_createAccessList", &params);
        let ours = pair.node.call("eth_createAccessList", params);
        if theirs.get("error").is_none() {
            assert_eq!(sorted(&ours["accessList"]), sorted(&theirs["result"]["accessList"]), "{call}");
            assert_eq!(ours.get("error"), None, "{call}");
            continue;
        }
        // anvil refuses calls that fail. Who asks wants the list all the same, so it is given with the reason, as geth and the
        // execution-apis do.
        failing += 1;
        assert!(ours["accessList"].is_array() && quantity(&ours["gasUsed"]) > U256::ZERO, "{call}: {ours}");
        assert!(ours["error"].as_str().is_some_and(|words| !words.is_empty()), "{call}: {ours} {theirs}");
        if theirs["error"]["code"] == 3 {
            assert_eq!(ours["error"], "execution reverted", "{call}: {theirs}");
        }
    }
    assert!((1..acts.len()).contains(&failing), "calls that fail, and calls that do not");
}
