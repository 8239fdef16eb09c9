//! Overrides of state and block, access lists, and the limits of simulated calls.

use super::{
    node::{Node, nobody, quantity},
    scene::{CALL, FACTORY, Scene, deployer, forwarded, forwarder},
    transactions::{call_tx, deploy_echo},
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use alloy_sol_types::SolCall as _;
use bmm_types::system::{self, Token};
use serde_json::{Map, Value, json};

/// Code that returns what one opcode gives.
fn returns(op: u8) -> Bytes {
    [&[op][..], &hex!("5f5260205ff3")].concat().into()
}

/// Code that returns slot 0 and slot 1.
const TWO_SLOTS: [u8; 14] = hex!("5f545f5260015460205260405ff3");

#[test]
fn state_overrides_replace_what_the_code_sees() {
    let node = Node::start();
    let here = nobody(0x55);
    let call = |to: Address, overrides: Value| node.call("eth_call", json!([{ "to": to }, "latest", overrides]));
    let word = |value: u64| json!(B256::from(U256::from(value)));
    // SELFBALANCE
    assert_eq!(call(here, json!({ here.to_string(): { "code": returns(0x47), "balance": "0x99" } })), word(0x99));
    // Slots: one changed, the other as it is.
    let echo: Address = serde_json::from_value(deploy_echo(&node)).expect("an address");
    node.mine(&call_tx(&node, TxKind::Call(echo), B256::with_last_byte(7).0));
    let two = |overrides: Value| {
        let mut account = overrides;
        account["code"] = json!(Bytes::from_static(&TWO_SLOTS));
        call(echo, json!({ echo.to_string(): account }))
    };
    let pair = |a: u8, b: u8| json!(Bytes::from([B256::with_last_byte(a).0, B256::with_last_byte(b).0].concat()));
    let slot = |n: u8, value: u8| json!({ B256::with_last_byte(n).to_string(): B256::with_last_byte(value) });
    assert_eq!(two(json!({})), pair(7, 0));
    assert_eq!(two(json!({ "stateDiff": slot(1, 9) })), pair(7, 9));
    assert_eq!(two(json!({ "state": slot(1, 9) })), pair(0, 9), "the rest is gone");
    // A nonce decides what address a creation gets.
    let factory = json!({ here.to_string(): { "code": hex_of(&hex!("5f5f5ff05f5260205ff3")), "nonce": "0x7" } });
    assert_eq!(call(here, factory), json!(here.create(7).into_word()));
    // Coins for a sender who has none.
    let poor = json!({ "from": nobody(0x66), "to": nobody(1), "value": "0x5" });
    let rich = json!({ nobody(0x66).to_string(): { "balance": "0x5" } });
    assert_eq!(node.call("eth_call", json!([poor, "latest", rich])), "0x");
    assert_eq!(node.call("eth_estimateGas", json!([poor, "latest", rich])), "0x5208");
    let (_, words, _) = node.error("eth_call", json!([poor, "latest", {}]));
    assert!(words.contains("insufficient funds"), "{words}");
    // The token is the face of the balances, overridden ones too.
    let balance_of = Bytes::from(Token::balanceOfCall { account: nobody(0x66) }.abi_encode());
    let balance = node.call("eth_call", json!([{ "to": system::TOKEN, "input": balance_of }, "latest", rich]));
    assert_eq!(balance, word(5));
    assert_eq!(node.call("eth_getBalance", json!([nobody(0x66), "latest"])), "0x0", "nothing stays");
}

fn hex_of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[test]
fn block_overrides_replace_the_block_that_the_code_sees() {
    let node = Node::start();
    let here = nobody(0x55);
    let random = B256::repeat_byte(0xab);
    let blocks = json!({
        "number": "0x99", "time": "0x1234567890", "gasLimit": "0x5f5e100", "feeRecipient": nobody(0x44), "prevRandao": random,
        "baseFeePerGas": "0x7", "blockHash": { "144": B256::repeat_byte(0xcd) },
    });
    let run = |code: Bytes, price: Value| {
        let request = json!({ "to": here, "gasPrice": price, "from": node.key.address() });
        node.call("eth_call", json!([request, "latest", { here.to_string(): { "code": code } }, blocks]))
    };
    let zero = json!("0x0");
    let word = |value: u64| json!(B256::from(U256::from(value)));
    assert_eq!(run(returns(0x43), zero.clone()), word(0x99));
    assert_eq!(run(returns(0x42), zero.clone()), word(0x12_3456_7890));
    assert_eq!(run(returns(0x45), zero.clone()), word(100_000_000));
    assert_eq!(run(returns(0x41), zero.clone()), json!(nobody(0x44).into_word()));
    assert_eq!(run(returns(0x44), zero.clone()), json!(random));
    assert_eq!(run(returns(0x48), zero.clone()), word(0), "a call without a price knows no base fee");
    assert_eq!(run(returns(0x48), json!("0x9")), word(7));
    assert_eq!(run(hex_of(&hex!("6090405f5260205ff3")), zero), json!(B256::repeat_byte(0xcd)));
    for (blocks, words) in [
        (json!({ "blobBaseFee": "0x1" }), "blobBaseFee"),
        (json!({ "number": "0x10000000000000000" }), "number"),
        (json!({ "beaconRoot": random }), "beaconRoot"),
    ] {
        let (code, said, _) = node.error("eth_call", json!([{ "to": here }, "latest", {}, blocks]));
        assert!(code == -32602 && said.contains("parameter 4 (block overrides)") && said.contains(words), "{said}");
    }
}

#[test]
fn wrong_and_huge_overrides_are_refused() {
    let node = Node::start();
    let (here, slot) = (nobody(0x55).to_string(), B256::ZERO.to_string());
    let mut many = Map::new();
    for n in 0..1_025u64 {
        many.insert(Address::from_word(U256::from(n + 1_000).into()).to_string(), json!({ "nonce": "0x1" }));
    }
    let slots: Map<String, Value> =
        (0..16_385u64).map(|n| (B256::from(U256::from(n)).to_string(), json!(B256::ZERO))).collect();
    for (overrides, code, words) in [
        (
            json!({ &here: { "state": { &slot: slot }, "stateDiff": { &slot: slot } } }),
            -32602,
            "both 'state' and 'stateDiff'",
        ),
        (json!({ &here: { "movePrecompileToAddress": nobody(1) } }), -32602, "movePrecompileToAddress"),
        (json!({ system::TOKEN.to_string(): { "code": "0x00" } }), -32602, "system contract"),
        (json!({ Address::with_last_byte(1).to_string(): { "code": "0x00" } }), -32602, "precompile"),
        (json!({ &here: { "code": "0xef0100" } }), -32602, "code is not valid"),
        (json!({ &here: { "coins": "0x1" } }), -32602, "coins"),
        (json!({ "0x12": {} }), -32602, "state overrides"),
        (json!([]), -32602, "state overrides"),
        (Value::Object(many), -32005, "1025 accounts"),
        (json!({ &here: { "stateDiff": slots } }), -32005, "16384 slots"),
    ] {
        let (got, said, _) = node.error("eth_call", json!([{ "to": nobody(1) }, "latest", overrides]));
        assert!(got == code && said.contains(words), "{said}");
    }
}

#[test]
fn access_lists_hold_what_a_call_touches() {
    let node = Node::start();
    let scene = Scene::build(&node, |tx| drop(node.mine(tx)));
    let data = forwarded(scene.call, &forwarded(scene.echo, B256::with_last_byte(1).as_slice()));
    let request = json!({ "from": node.key.address(), "to": scene.call, "input": data });
    let found = node.call("eth_createAccessList", json!([request, "latest"]));
    let expected = json!([{ "address": scene.echo, "storageKeys": [B256::ZERO] }]);
    assert_eq!((&found["accessList"], found.get("error")), (&expected, None));
    let mut with_list = request.clone();
    with_list["accessList"] = found["accessList"].clone();
    let trace = node.call("debug_traceCall", json!([with_list, "latest", { "tracer": "callTracer" }]));
    assert_eq!(trace["gasUsed"], found["gasUsed"], "what it uses with the list");
    let failing = node.call("eth_createAccessList", json!([{ "to": scene.echo }]));
    assert!(failing["error"].as_str().is_some_and(|error| error.contains("revert")), "{failing}");
    let balance_of = Bytes::from(Token::allowanceCall { owner: nobody(1), spender: nobody(2) }.abi_encode());
    let token = node.call("eth_createAccessList", json!([{ "to": system::TOKEN, "input": balance_of }]));
    assert_eq!(token["accessList"][0]["address"], json!(system::TOKEN), "system contracts' slots too");
}

/// A loop that calls itself for ever: JUMPDEST PUSH0 JUMP.
const ENDLESS: [u8; 3] = hex!("5b5f56");

#[test]
fn endless_loops_and_bombs_end_in_clear_errors() {
    let node = Node::with(|config| {
        config.call_gas_limit = 30_000_000;
        config.max_response_bytes = 1 << 20;
    });
    let here = nobody(0x55);
    let other = nobody(0x56);
    let run = |method: &str, code: &[u8], options: Value| {
        let mut options = options;
        options["stateOverrides"] = json!({
            here.to_string(): { "code": hex_of(code) },
            other.to_string(): { "code": hex_of(&forwarder(CALL)) },
        });
        node.ask(method, &json!([{ "to": here, "input": forwarded(here, &[]) }, "latest", options]))
    };
    let words = |answer: &Value| answer["error"]["message"].as_str().unwrap_or_default().to_owned();
    // Without steps the gas ends the loop, and the trace says so.
    let ended = run("debug_traceCall", &ENDLESS, json!({ "tracer": "callTracer" }));
    assert_eq!(ended["result"]["error"], "out of gas", "{ended}");
    for (name, code, options) in [
        ("every step", &ENDLESS[..], json!({})),
        ("every step of its steps", &ENDLESS[..], json!({ "tracer": "erc7562Tracer" })),
        // CALLDATACOPY of a megabyte, then for ever.
        ("memory", &hex!("620fffff5f5f375b600756")[..], json!({ "enableMemory": true })),
        // A slot more in every round: its number is the gas left.
        ("storage", &hex!("5b5a54505f56")[..], json!({ "disableStack": true })),
        // It calls itself with a large input until the gas is gone.
        ("calls with data", &hex!("5b5f5f61ffff5f5f60565af1505f56")[..], json!({ "tracer": "callTracer" })),
        ("flat calls", &hex!("5b5f5f61ffff5f5f60565af1505f56")[..], json!({ "tracer": "flatCallTracer" })),
        (
            "a mux",
            &hex!("5b5f5f61ffff5f5f60565af1505f56")[..],
            json!({ "tracer": "muxTracer", "tracerConfig": { "callTracer": {} } }),
        ),
    ] {
        let answer = run("debug_traceCall", code, options);
        assert_eq!(answer["error"]["code"], -32005, "{name}: {}", words(&answer));
        let said = words(&answer);
        assert!(said.contains("records more than") || said.contains("longer than"), "{name}: {said}");
    }
    let limited = run("debug_traceCall", &ENDLESS, json!({ "limit": 5 }));
    assert_eq!(limited["result"]["structLogs"].as_array().map(Vec::len), Some(5), "a limit keeps it short");
    let late = run("debug_traceCall", &ENDLESS, json!({ "tracer": "callTracer", "timeout": "1ns" }));
    assert!(words(&late).contains("took longer"), "{late}");
    let vm = node.ask(
        "trace_call",
        &json!([{ "to": here }, ["vmTrace"], "latest", { here.to_string(): { "code": hex_of(&ENDLESS) } }]),
    );
    assert_eq!(vm["error"]["code"], -32005, "{}", words(&vm));
    // A call within a call within a call: as deep as the machine goes.
    let options = json!({
        "tracer": "callTracer", "stateOverrides": { here.to_string(): { "code": "0x5f5f5f5f5f305af1" } },
    });
    let deep = json!({
        "jsonrpc": "2.0", "id": 1, "method": "debug_traceCall",
        "params": [{ "to": here, "gas": "0x1c9c380" }, "latest", options],
    });
    // Deeper than the client's JSON goes.
    let depth = node.post(&deep.to_string()).1.matches("\"calls\":").count();
    assert!(depth > 200, "{depth}");
    assert_eq!(quantity(&node.call("eth_blockNumber", json!([]))), U256::ZERO, "the node lives");
    assert_eq!(FACTORY.len(), deployer(&FACTORY).len() - 10);
}
