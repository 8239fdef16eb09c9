//! Traces of the same transactions, by this node and by anvil, field by field.
//!
//! Both chains are brought to the same balances and base fees, so that whole states can be compared. anvil 1.x uses an older
//! version of the same tracers; where it differs, geth or OpenEthereum decide, and [`Excuse`] says how.

use super::{anvil::Anvil, node::Node, scene::Scene, tools::Tools};
use bmm_types::Transaction;
use serde_json::{Value, json};

/// The node and anvil, kept alike.
pub struct Pair {
    pub node: Node,
    pub anvil: Anvil,
}

impl Pair {
    pub fn start() -> Option<Self> {
        let tools = Tools::find(&["anvil"])?;
        let node = Node::start();
        let anvil = Anvil::start(&tools, &node);
        Some(Self { node, anvil })
    }

    /// Gives anvil the wallet's and the producer's balances, and the base fee of our next block.
    fn level(&self) {
        let producer = super::node::producer();
        self.anvil.ask("anvil_setCoinbase", &json!([producer]));
        for account in [self.node.key.address(), producer] {
            let balance = self.node.call("eth_getBalance", json!([account, "latest"]));
            self.anvil.ask("anvil_setBalance", &json!([account, balance]));
        }
        let base_fee = format!("{:#x}", self.node.chain.next_base_fee());
        self.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!([base_fee]));
    }

    pub fn mine(&self, tx: &Transaction) {
        self.level();
        let theirs = self.anvil.mine(tx);
        let ours = self.node.mine(tx);
        for field in ["status", "gasUsed", "effectiveGasPrice", "blockNumber"] {
            assert_eq!(ours[field], theirs[field], "{field}");
        }
    }

    fn history(&self) -> Vec<(&'static str, Transaction)> {
        let scene = Scene::build(&self.node, |tx| self.mine(tx));
        scene.play(&self.node, |tx| self.mine(tx))
    }

    /// The results of both, without block ids and with anvil's excused differences evened out.
    fn ask(&self, method: &str, params: &Value, excuses: &[Excuse]) -> (Value, Value) {
        let (ours, theirs) = (self.node.ask(method, params), self.anvil.ask(method, params));
        let (mut ours, mut theirs) = (plain(ours["result"].clone()), plain(theirs["result"].clone()));
        for excuse in excuses {
            excuse(&mut ours);
            excuse(&mut theirs);
        }
        (ours, theirs)
    }
}

/// Evens out one justified difference; it is applied to both answers.
type Excuse = fn(&mut Value);

/// Removes block ids, which differ between chains.
fn plain(mut value: Value) -> Value {
    walk(&mut value, &mut |value| {
        if let Some(object) = value.as_object_mut() {
            object.remove("blockHash");
        }
    });
    value
}

fn walk(value: &mut Value, each: &mut dyn FnMut(&mut Value)) {
    each(value);
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| walk(value, each)),
        Value::Array(list) => list.iter_mut().for_each(|value| walk(value, each)),
        _ => {}
    }
}

/// The root's `gas` is the transaction's limit (geth); anvil takes the intrinsic gas off. `the_roots_gas_is_the_limit` checks ours.
fn root_gas(value: &mut Value) {
    value.as_object_mut().map(|root| root.remove("gas"));
}

/// anvil says `StateChangeDuringStaticCall` as its machine does, where geth says `write protection` and OpenEthereum
/// `Mutable Call In Static Context`.
fn static_call(value: &mut Value) {
    walk(value, &mut |value| {
        if let Some(error) = value.get_mut("error")
            && ["StateChangeDuringStaticCall", "write protection", "Mutable Call In Static Context"]
                .contains(&error.as_str().unwrap_or_default())
        {
            *error = json!("static");
        }
    });
}

/// geth's prestate has no accounts that did not exist; anvil lists them with a balance of zero.
fn no_empty_accounts(value: &mut Value) {
    value.as_object_mut().expect("accounts").retain(|_, account| *account != json!({ "balance": "0x0" }));
}

/// `onlyTopCall` has no calls; anvil shows a self-destruction.
fn no_calls(value: &mut Value) {
    value.as_object_mut().expect("a call").remove("calls");
}

/// A failed creation has no result worth the name: anvil shows an address and code, the tracers of today the revert's data.
fn no_result_of_failures(value: &mut Value) {
    walk(value, &mut |value| {
        if value.get("error").is_some_and(|error| !error.is_null()) && value.get("action").is_some() {
            value["result"] = Value::Null;
        }
    });
}

/// Calls of precompiles without value are no traces of OpenEthereum's; anvil shows them.
fn no_precompiles(value: &mut Value) {
    let is_call =
        |trace: &Value| trace["action"]["to"].as_str().is_none_or(|to| !to.starts_with("0x00000000000000000"));
    if let Value::Array(list) = value {
        list.retain(is_call);
        if let [only] = &mut list[..] {
            only["subtraces"] = json!(0);
        }
    }
}

/// An account that is new is `+` everywhere (OpenEthereum); anvil says that its balance changed from zero.
fn new_accounts(value: &mut Value) {
    walk(value, &mut |value| {
        let from_zero = value["balance"]["*"]["from"] == "0x0" && value["nonce"] == "=" && value["code"] == "=";
        if from_zero {
            let balance = value["balance"]["*"]["to"].clone();
            value["balance"] = json!({ "+": balance });
            value["nonce"] = json!({ "+": "0x0" });
            value["code"] = json!({ "+": "0x" });
        }
    });
}

/// Fails with all differences.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn gethlike_traces_are_anvils() {
    let Some(pair) = Pair::start() else { return };
    let call: &[Excuse] = &[root_gas, static_call];
    let tracers: &[(Value, &[Excuse])] = &[
        (json!({}), &[]),
        (json!({ "enableMemory": true, "enableReturnData": true }), &[]),
        (json!({ "disableStack": true, "disableStorage": true }), &[]),
        (json!({ "tracer": "callTracer" }), call),
        (json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } }), call),
        (json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } }), &[root_gas, no_calls]),
        (json!({ "tracer": "prestateTracer" }), &[no_empty_accounts]),
        (json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }), &[]),
        (json!({ "tracer": "4byteTracer" }), &[]),
        (json!({ "tracer": "noopTracer" }), &[]),
    ];
    let mut wrong = Vec::new();
    for (name, tx) in pair.history() {
        for (options, excuses) in tracers {
            let (ours, theirs) = pair.ask("debug_traceTransaction", &json!([tx.tx_hash(), options]), excuses);
            if ours != theirs || ours.is_null() {
                wrong.push(format!("{name} {options}\nours   {ours}\ntheirs {theirs}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn paritylike_traces_are_anvils() {
    let Some(pair) = Pair::start() else { return };
    let calls: &[Excuse] = &[static_call, no_result_of_failures];
    let mut wrong = Vec::new();
    for (name, tx) in pair.history() {
        let receipt = pair.node.call("eth_getTransactionReceipt", json!([tx.tx_hash()]));
        let number = &receipt["blockNumber"];
        let filter = json!({ "fromBlock": number, "toBlock": number, "fromAddress": [pair.node.key.address()] });
        let mut excuses = calls.to_vec();
        if name == "a precompile" {
            excuses.push(no_precompiles);
        }
        for (method, params) in [("trace_transaction", json!([tx.tx_hash()])), ("trace_filter", json!([filter]))] {
            let (ours, theirs) = pair.ask(method, &params, &excuses);
            if ours != theirs || ours.is_null() {
                wrong.push(format!("{name} {method}\nours   {ours}\ntheirs {theirs}"));
            }
        }
        let params = json!([number, ["trace", "stateDiff"]]);
        let excuses: &[Excuse] = &[static_call, no_result_of_failures, new_accounts];
        let (ours, theirs) = pair.ask("trace_replayBlockTransactions", &params, excuses);
        for part in ["stateDiff", "output", "transactionHash"] {
            if ours[0][part] != theirs[0][part] {
                wrong.push(format!("{name} {part}\nours   {}\ntheirs {}", ours[0][part], theirs[0][part]));
            }
        }
        if name != "a precompile" && ours[0]["trace"] != theirs[0]["trace"] {
            wrong.push(format!("{name}\nours   {}\ntheirs {}", ours[0]["trace"], theirs[0]["trace"]));
        }
    }
    assert_none(&wrong);
}
