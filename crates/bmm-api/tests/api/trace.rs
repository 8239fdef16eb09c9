//! Tracing on this node alone: gas is the receipt's, the kinds of traces agree with each other, rewards, options.

use super::{
    node::{Node, nobody, quantity},
    scene::{Scene, call_with_value},
};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall as _;
use bmm_ledger::emission;
use bmm_types::{
    Transaction,
    system::{self, Token},
};
use serde_json::{Value, json};

/// A node with a history.
fn played() -> (Node, Scene, Vec<(&'static str, Transaction)>) {
    let node = Node::start();
    let scene = Scene::build(&node, |tx| drop(node.mine(tx)));
    let history = scene.play(&node, |tx| drop(node.mine(tx)));
    (node, scene, history)
}

fn trace(node: &Node, tx: &Transaction, options: &Value) -> Value {
    node.call("debug_traceTransaction", json!([tx.tx_hash(), options]))
}

#[test]
fn a_traces_gas_is_the_receipts() {
    let (node, _, mut history) = played();
    let transfer = Token::transferCall { to: nobody(9), value: U256::from(7) }.abi_encode();
    let token = call_with_value(&node, TxKind::Call(system::TOKEN), 0, transfer);
    node.mine(&token);
    history.push(("a system contract", token));
    for (name, tx) in history {
        let receipt = node.call("eth_getTransactionReceipt", json!([tx.tx_hash()]));
        let failed = receipt["status"] == "0x0";
        let calls = trace(&node, &tx, &json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } }));
        assert_eq!((&calls["gasUsed"], &calls["gas"]), (&receipt["gasUsed"], &json!("0xf4240")), "{name}");
        assert_eq!(calls.get("error").is_some(), failed, "{name}");
        let steps = trace(&node, &tx, &json!({}));
        assert_eq!(json!(format!("{:#x}", steps["gas"].as_u64().expect("gas"))), receipt["gasUsed"], "{name}");
        assert_eq!(steps["failed"], failed, "{name}");
        // vmTrace has the steps of the root in its list, those of calls below; both end with the same gas.
        let replayed = node.call("trace_replayTransaction", json!([tx.tx_hash(), ["vmTrace", "trace"]]));
        let own = steps["structLogs"].as_array().expect("steps").iter().filter(|step| step["depth"] == 1).count();
        let ops = replayed["vmTrace"]["ops"].as_array().map_or(0, Vec::len);
        // What is refused before it runs, such as INVALID, is no operation of a vmTrace; nor is the STOP after the code's end.
        assert!(ops <= own && own - ops <= 1, "{name}: {ops} {own}");
        // As geth does, the flat tracer says the transaction's limit, where OpenEthereum takes the intrinsic gas off.
        let mut flat = trace(&node, &tx, &json!({ "tracer": "flatCallTracer" }));
        let calls_alone = node.call("trace_transaction", json!([tx.tx_hash()]));
        flat[0]["action"]["gas"] = calls_alone[0]["action"]["gas"].clone();
        assert_eq!(flat, calls_alone, "{name}");
        let block = node.call(
            "debug_traceBlockByHash",
            json!([receipt["blockHash"], { "tracer": "callTracer", "tracerConfig": { "withLog": true } }]),
        );
        assert_eq!(block, json!([{ "result": calls, "txHash": tx.tx_hash() }]), "{name}");
        let number = node.call("debug_traceBlockByNumber", json!([receipt["blockNumber"]]));
        assert_eq!(number[0]["result"], steps, "{name}");
    }
}

#[test]
fn many_transactions_of_one_block_run_on_each_others_states() {
    let mut node = Node::without_blocks(|_| {});
    let words: Vec<Transaction> = (0..5)
        .map(|_| {
            let tx = call_with_value(&node, TxKind::Call(nobody(7)), 11, Bytes::new());
            node.send(&tx);
            tx
        })
        .collect();
    node.produce();
    let receipts: Vec<Value> = words.iter().map(|tx| node.receipt(&json!(tx.tx_hash()))).collect();
    assert!(receipts.iter().all(|receipt| receipt["blockNumber"] == receipts[0]["blockNumber"]), "one block");
    let diffs = node.call("trace_replayBlockTransactions", json!([receipts[0]["blockNumber"], ["stateDiff"]]));
    for (index, (diff, tx)) in diffs.as_array().expect("a list").iter().zip(&words).enumerate() {
        assert_eq!(diff["transactionHash"], json!(tx.tx_hash()));
        let balance = &diff["stateDiff"][nobody(7).to_string().to_lowercase()]["balance"];
        let after = if index == 0 { &balance["+"] } else { &balance["*"]["to"] };
        assert_eq!(quantity(after), U256::from(11 * (index + 1)));
        assert_eq!(*diff, {
            let mut alone = node.call("trace_replayTransaction", json!([tx.tx_hash(), ["stateDiff"]]));
            alone["transactionHash"] = json!(tx.tx_hash());
            alone
        });
        let pre = trace(&node, tx, &json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }));
        assert_eq!(
            quantity(&pre["post"][nobody(7).to_string().to_lowercase()]["balance"]),
            U256::from(11 * (index + 1))
        );
    }
    let block = node.call("trace_block", json!([receipts[0]["blockNumber"]]));
    assert_eq!(block.as_array().map(Vec::len), Some(5 + 3));
}

#[test]
fn rewards_add_up_to_the_emission() {
    let node = Node::start();
    let tx = call_with_value(&node, TxKind::Call(nobody(7)), 11, Bytes::new());
    let receipt = node.mine(&tx);
    let entries = node.call("trace_block", json!([receipt["blockNumber"]]));
    let rewards: Vec<&Value> =
        entries.as_array().expect("a list").iter().filter(|entry| entry["type"] == "reward").collect();
    let params = node.chain.params();
    let expected = emission::reward(params.emission.as_ref().expect("the chain emits"), 1);
    for (reward, (author, kind, value)) in rewards.iter().zip([
        (super::node::producer(), "block", expected.producer),
        (system::RESOURCES, "external", expected.resources),
        (system::FOOTSTONES, "external", expected.footstones),
    ]) {
        let action = &reward["action"];
        assert_eq!((&action["author"], &action["rewardType"]), (&json!(author), &json!(kind)));
        assert_eq!(quantity(&action["value"]), value);
        assert_eq!((&reward["blockHash"], &reward["traceAddress"]), (&receipt["blockHash"], &json!([])));
        assert_eq!((&reward["transactionHash"], &reward["result"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(rewards.len(), 3);
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest", "toAddress": [super::node::producer()] }]);
    assert_eq!(node.call("trace_filter", filter), json!([rewards[0]]));
    assert_eq!(node.call("trace_block", json!(["0x0"])), json!([]), "genesis brings nothing");
}

#[test]
fn filters_cut_parts_out_and_are_bounded() {
    let (node, scene, history) = played();
    let all = json!([{ "fromBlock": "0x0", "fromAddress": [node.key.address()] }]);
    let found = node.call("trace_filter", all);
    let found = found.as_array().expect("a list");
    assert_eq!(found.len(), 6 + history.len(), "every transaction's own call");
    let part = json!([{ "fromBlock": "0x0", "fromAddress": [node.key.address()], "after": 2, "count": "0x3" }]);
    assert_eq!(node.call("trace_filter", part), json!(found[2..5]));
    let to = json!([{ "fromBlock": "0x0", "fromAddress": [scene.call], "toAddress": [scene.delegate] }]);
    assert_eq!(node.call("trace_filter", to).as_array().map(Vec::len), Some(1));
    let (code, words, _) = node.error("trace_filter", json!([{ "fromBlock": "0x5", "toBlock": "0x2" }]));
    assert!(code == -32602 && words.contains("above toBlock"), "{words}");
    let (code, words, _) = node.error("trace_filter", json!([{ "fromBlock": "0x0", "toAddresses": [] }]));
    assert!(code == -32602 && words.contains("toAddresses"), "{words}");
}

#[test]
fn calls_are_traced_on_the_state_they_name() {
    let (node, scene, history) = played();
    let word = B256::with_last_byte(3);
    let request = json!({ "from": node.key.address(), "to": scene.echo, "input": word });
    let call = node.call("debug_traceCall", json!([request, "latest", { "tracer": "callTracer" }]));
    assert_eq!((&call["output"], &call["type"]), (&json!(word), &json!("CALL")));
    // The code of another account, given by an override, in a block of another number.
    let options = json!({
        "tracer": "callTracer",
        "stateOverrides": { nobody(0x77).to_string(): { "code": "0x435f5260205ff3" } },
        "blockOverrides": { "number": "0x99" },
    });
    let call = node.call("debug_traceCall", json!([{ "to": nobody(0x77) }, "latest", options]));
    assert_eq!(call["output"], json!(B256::with_last_byte(0x99)));
    // After two transactions of a block there is what they left.
    let tx = &history[0].1;
    let receipt = node.call("eth_getTransactionReceipt", json!([tx.tx_hash()]));
    let pre = json!({ "tracer": "prestateTracer" });
    let at = |index: u64| {
        let mut options = pre.clone();
        options["txIndex"] = json!(format!("{index:#x}"));
        let request = json!({ "from": nobody(3), "to": nobody(8) });
        node.call("debug_traceCall", json!([request, receipt["blockNumber"], options]))
    };
    let key = nobody(3).to_string().to_lowercase();
    assert_eq!((at(0).get(&key), quantity(&at(1)[&key]["balance"])), (None, U256::from(1_000)));
    let (code, words, _) = node.error("debug_traceCall", json!([{ "to": nobody(1) }, "latest", { "txIndex": "0x9" }]));
    assert!(code == -32602 && words.contains("txIndex 9"), "{words}");

    let kinds = json!(["trace", "stateDiff", "vmTrace"]);
    let one = node.call("trace_call", json!([request, kinds, "latest"]));
    assert_eq!(one["output"], json!(word));
    let many = node.call("trace_callMany", json!([[[request, kinds], [request, ["stateDiff"]]], "latest"]));
    assert_eq!(many[0], one);
    assert!(many[1]["stateDiff"].get(scene.echo.to_string().to_lowercase()).is_none(), "the slot is set already");
    let unsent = call_with_value(&node, TxKind::Call(scene.echo), 0, word.0);
    let raw = node.call("trace_rawTransaction", json!([Bytes::from(unsent.encoded_2718()), ["trace"]]));
    assert_eq!(raw["output"], json!(word));
}

#[test]
fn encoded_blocks_are_traced_as_stored_ones() {
    let (node, _, history) = played();
    let receipt = node.call("eth_getTransactionReceipt", json!([history[4].1.tx_hash()]));
    let id: B256 = serde_json::from_value(receipt["blockHash"].clone()).expect("a hash");
    let stored = node.chain.block(id).expect("readable").expect("a block");
    let encoded = Bytes::from(alloy_rlp::encode(&stored.block));
    let options = json!({ "tracer": "callTracer" });
    assert_eq!(
        node.call("debug_traceBlock", json!([encoded, options])),
        node.call("debug_traceBlockByHash", json!([id, options]))
    );
    for (block, words) in [(encoded.slice(1..), "not the RLP"), (Bytes::from_static(&[1, 2]), "not the RLP")] {
        let (code, said, _) = node.error("debug_traceBlock", json!([block]));
        assert!(code == -32602 && said.contains(words), "{said}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    let node = Node::start();
    let nothing = B256::repeat_byte(0x77);
    for (method, params, code, part) in [
        ("debug_traceTransaction", json!([nothing]), -32000, "transaction not found"),
        ("debug_traceBlockByHash", json!([nothing]), -32000, "block not found"),
        ("debug_traceBlockByNumber", json!(["0x0"]), -32000, "genesis is not traceable"),
        ("trace_replayTransaction", json!([nothing, ["trace"]]), -32000, "transaction not found"),
        ("trace_replayTransaction", json!([nothing, []]), -32602, "the list is empty"),
        ("trace_replayTransaction", json!([nothing, ["calls"]]), -32602, "\"trace\", \"stateDiff\" and \"vmTrace\""),
        ("trace_rawTransaction", json!(["0x01", ["trace"]]), -32602, "not an encoded transaction"),
        ("debug_traceCall", json!([{}, "latest", { "tracer": "{ step: 1 }" }]), -32602, "There are callTracer"),
        ("debug_traceCall", json!([{}, "latest", { "timeout": "soon" }]), -32602, "timeout"),
        (
            "debug_traceCall",
            json!([{}, "latest", { "tracer": "callTracer", "tracerConfig": 7 }]),
            -32602,
            "tracer callTracer",
        ),
        (
            "debug_traceCall",
            json!([{}, "latest", { "tracer": "muxTracer", "tracerConfig": { "muxTracer": null } }]),
            -32602,
            "muxTracer",
        ),
    ] {
        let (got, words, _) = node.error(method, params.clone());
        assert!(got == code && words.contains(part), "{method} {params}: {got} {words}");
    }
    for (method, params) in [
        ("trace_transaction", json!([nothing])),
        ("trace_get", json!([nothing, ["0x0"]])),
        ("trace_block", json!(["0x99"])),
        ("trace_replayBlockTransactions", json!(["0x99", ["trace"]])),
    ] {
        assert_eq!(node.call(method, params), Value::Null, "{method}");
    }
    let mux = json!({ "tracer": "muxTracer", "tracerConfig": { "callTracer": null, "4byteTracer": null, "prestateTracer": {} } });
    let answer = node.call("debug_traceCall", json!([{ "to": nobody(1) }, "latest", mux]));
    assert_eq!(answer["callTracer"]["type"], "CALL");
    assert_eq!(answer["4byteTracer"], json!({}));
}
