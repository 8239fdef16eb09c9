//! The same transactions on this node and on anvil (npm `@foundry-rs/anvil-linux-amd64`): the answers have the same fields in the same forms, and
//! the same values where the chain has no say in them. See `tools` for what is needed.

use super::{
    node::{ECHO, Node, nobody},
    tools::Tools,
    transactions::{call_tx, transfer},
};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use bmm_types::Transaction;
use serde_json::{Map, Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

/// Fields that anvil alone has: Ethereum's nodes have dropped it.
const ANVIL_ONLY: &[&str] = &["totalDifficulty"];

/// Fields that anvil alone has in receipts: Ethereum's nodes give the first for blob transactions, and the second nowhere.
const ANVIL_RECEIPT_ONLY: &[&str] = &["blobGasPrice", "blockTimestamp"];

/// Fields whose length is free, so that their form says nothing.
const FREE: &[&str] = &["extraData", "r", "s", "input", "data"];

/// Fields of a receipt and of a transaction that are the same on every chain.
const SAME: &[&str] = &[
    "gasUsed",
    "cumulativeGasUsed",
    "status",
    "type",
    "from",
    "to",
    "contractAddress",
    "logsBloom",
    "transactionIndex",
    "gas",
    "hash",
    "input",
    "nonce",
    "value",
    "v",
    "r",
    "s",
    "chainId",
    "accessList",
    "authorizationList",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
];

/// Calls that are answered otherwise on purpose, and why. `docs/rpc.md` says the same.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("net_listening", "[]", "the node takes no connections of other nodes, and says so"),
    ("net_peerCount", "[]", "anvil does not have it"),
    ("eth_blobBaseFee", "[]", "there are no blobs here, so that none costs anything"),
    ("eth_coinbase", "[]", "Ethereum's nodes have dropped it"),
    ("eth_protocolVersion", "[]", "Ethereum's nodes have dropped it"),
    ("eth_getBlockTransactionCountByNumber", "[\"0x99\"]", "null above the head as in Ethereum's nodes, not an error"),
    ("eth_getHeaderByNumber", "[\"0x1\"]", "anvil does not have it; geth does"),
    ("debug_getRawHeader", "[\"0x1\"]", "anvil does not have it; geth does"),
    ("rpc_modules", "[]", "anvil does not have it; geth does"),
    ("admin_nodeInfo", "[]", "anvil does not have it; geth does"),
];

/// What the contract is called with.
const WORD: B256 = B256::with_last_byte(7);

/// An anvil process.
pub struct Anvil {
    process: Child,
    url: String,
    agent: ureq::Agent,
}

impl Anvil {
    /// Starts anvil with our chain id and a rich wallet.
    pub fn start(tools: &Tools, node: &Node) -> Self {
        let id = node.chain_id().to_string();
        let mut command = tools.program("anvil");
        command
            .args(["--port", "0", "--chain-id", &id, "--hardfork", "osaka", "--steps-tracing"])
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("anvil runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let address =
            lines.find_map(|line| line.ok()?.strip_prefix("Listening on ").map(str::to_owned)).expect("anvil listens");
        // Whatever it prints later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let anvil = Self { process, url: format!("http://{address}"), agent: ureq::agent() };
        anvil.ask("anvil_setBalance", &json!([node.key.address(), "0x3635c9adc5dea00000"]));
        anvil
    }

    pub fn ask(&self, method: &str, params: &Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let mut response = self.agent.post(&self.url).send_json(call).expect("an HTTP answer");
        response.body_mut().read_json().expect("JSON")
    }

    /// Sends a signed transaction and waits for its receipt.
    pub fn mine(&self, tx: &Transaction) -> Value {
        let sent = self.ask("eth_sendRawTransaction", &json!([Bytes::from(tx.encoded_2718())]));
        assert_eq!(sent["result"], json!(tx.tx_hash()), "{sent}");
        loop {
            let receipt = self.ask("eth_getTransactionReceipt", &json!([tx.tx_hash()]))["result"].take();
            if !receipt.is_null() {
                return receipt;
            }
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Replaces every value by its form.
fn form(key: &str, value: &Value) -> Value {
    let word = match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| !ANVIL_ONLY.contains(&key.as_str()));
            return Value::Object(kept.map(|(key, value)| (key.clone(), form(key, value))).collect::<Map<_, _>>());
        }
        Value::Array(list) => return Value::Array(list.iter().map(|value| form(key, value)).collect()),
        Value::String(_) if FREE.contains(&key) => "free".to_owned(),
        Value::String(text) => match text.strip_prefix("0x").map(str::len) {
            Some(len @ (16 | 40 | 64 | 512)) => format!("{} bytes", len / 2),
            Some(1..) => "quantity".to_owned(),
            _ => "other text".to_owned(),
        },
        Value::Number(_) => "number".to_owned(),
        other => return other.clone(),
    };
    Value::String(word)
}

/// The node and anvil side by side.
struct Pair {
    node: Node,
    anvil: Anvil,
}

impl Pair {
    /// Mines one transaction on both, and compares the receipts.
    fn mine(&self, tx: Transaction) -> Transaction {
        let (ours, theirs) = (self.node.mine(&tx), self.anvil.mine(&tx));
        let mut wanted = form("", &theirs);
        for field in ANVIL_RECEIPT_ONLY {
            wanted.as_object_mut().expect("a receipt").remove(*field);
        }
        assert_eq!(form("", &ours), wanted);
        assert_same(&ours, &theirs);
        tx
    }

    /// Asks both, compares the forms of the answers, and returns the results.
    fn ask(&self, method: &str, params: &Value) -> (Value, Value) {
        let (mut ours, mut theirs) = (self.node.ask(method, params), self.anvil.ask(method, params));
        assert_eq!(form("", &ours), form("", &theirs), "{method} {params}: {ours} {theirs}");
        (ours["result"].take(), theirs["result"].take())
    }

    /// Mines every type of transfer, a creation, a call with a log and a call that fails.
    fn history(&self) -> Vec<Transaction> {
        let mut sent: Vec<_> = [0, 1, 2, 4].into_iter().map(|kind| self.mine(transfer(&self.node, kind))).collect();
        sent.push(self.mine(call_tx(&self.node, TxKind::Create, ECHO.to_vec())));
        for input in [Bytes::from(WORD.0), Bytes::new()] {
            sent.push(self.mine(call_tx(&self.node, TxKind::Call(self.echo()), input)));
        }
        sent
    }

    /// The contract that [`Self::history`] creates, with the sixth nonce: the authorization has used one, too.
    fn echo(&self) -> Address {
        self.node.key.address().create(5)
    }
}

/// Checks the fields of a receipt or transaction on which the chain has no influence.
fn assert_same(ours: &Value, theirs: &Value) {
    for field in SAME {
        assert_eq!(ours.get(field), theirs.get(field), "{field} in {ours}");
    }
}

/// Compares the methods that give parts of blocks, raw encodings, the pool and proofs, of a history whose transactions are `sent`.
fn compare_parts(pair: &Pair, sent: &[Transaction]) {
    for (method, params) in [
        ("eth_getBlockTransactionCountByNumber", json!(["0x1"])),
        ("eth_getUncleCountByBlockNumber", json!(["0x1"])),
        ("eth_getUncleByBlockNumberAndIndex", json!(["0x1", "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x5"])),
        ("eth_getRawTransactionByBlockNumberAndIndex", json!(["0x3", "0x0"])),
        ("eth_getRawTransactionByHash", json!([sent[3].tx_hash()])),
        ("debug_getRawTransaction", json!([sent[0].tx_hash()])),
        ("eth_getBlockReceipts", json!(["0x99"])),
        ("eth_uninstallFilter", json!(["0x77"])),
        ("txpool_status", json!([])),
        ("txpool_content", json!([])),
        ("web3_sha3", json!(["0x68656c6c6f"])),
    ] {
        let (ours, theirs) = pair.ask(method, &params);
        assert_eq!(ours, theirs, "{method} {params}");
    }
    let (ours, theirs) = pair.ask("eth_getTransactionByBlockNumberAndIndex", &json!(["0x4", "0x0"]));
    assert_same(&ours, &theirs);
    let (ours, theirs) = (
        pair.node.call("eth_getBlockReceipts", json!(["0x6"])),
        pair.anvil.ask("eth_getBlockReceipts", &json!(["0x6"])),
    );
    assert_same(&ours[0], &theirs["result"][0]);
    let params = json!([pair.echo(), [B256::ZERO], "latest"]);
    let (ours, theirs) =
        (pair.node.call("eth_getProof", params.clone()), pair.anvil.ask("eth_getProof", &params)["result"].take());
    for field in ["address", "balance", "codeHash", "nonce", "storageHash"] {
        assert_eq!(ours[field], theirs[field], "{field}: the contract is the same on both chains");
    }
    assert_eq!(ours["storageProof"][0]["proof"], theirs["storageProof"][0]["proof"], "and so is its storage trie");
    for (method, params, why) in DIFFERENT {
        let params = serde_json::from_str(params).expect("JSON");
        let (ours, theirs) = (pair.node.ask(method, &params), pair.anvil.ask(method, &params));
        assert_ne!(ours, theirs, "{method} {params} is no difference any more: {why}");
    }
}

#[test]
fn answers_have_the_forms_of_anvils() {
    let Some(tools) = Tools::find(&["anvil"]) else { return };
    let node = Node::start();
    let pair = Pair { anvil: Anvil::start(&tools, &node), node };
    let sent = pair.history();
    for tx in &sent {
        let (ours, theirs) = pair.ask("eth_getTransactionByHash", &json!([tx.tx_hash()]));
        assert_same(&ours, &theirs);
    }
    compare_parts(&pair, &sent);
    for (number, hydrated) in [("0x1", false), ("0x3", true), ("0x4", true), ("0x6", false), ("0x99", true)] {
        pair.ask("eth_getBlockByNumber", &json!([number, hydrated]));
    }
    let (echo, wallet) = (pair.echo(), pair.node.key.address());
    pair.ask("eth_getLogs", &json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": echo }]));
    pair.ask("eth_gasPrice", &json!([]));
    pair.ask("eth_maxPriorityFeePerGas", &json!([]));
    for (method, params) in [
        ("eth_chainId", json!([])),
        ("eth_blockNumber", json!([])),
        ("net_version", json!([])),
        ("eth_syncing", json!([])),
        ("eth_getBalance", json!([nobody(1), "latest"])),
        ("eth_getBalance", json!([nobody(1), "0x2"])),
        ("eth_getTransactionCount", json!([wallet, "latest"])),
        ("eth_getTransactionCount", json!([wallet, "pending"])),
        ("eth_getCode", json!([echo, "latest"])),
        ("eth_getCode", json!([wallet, "latest"])),
        ("eth_getCode", json!([nobody(1), "latest"])),
        ("eth_getStorageAt", json!([echo, "0x0", "latest"])),
        ("eth_call", json!([{ "to": echo, "input": WORD }, "latest"])),
        ("eth_estimateGas", json!([{ "from": wallet, "to": nobody(1), "value": "0x1" }])),
        ("eth_getBlockByHash", json!([B256::repeat_byte(0x77), false])),
        ("eth_getTransactionByHash", json!([B256::repeat_byte(0x77)])),
        ("eth_getTransactionReceipt", json!([B256::repeat_byte(0x77)])),
    ] {
        let (ours, theirs) = pair.ask(method, &params);
        assert_eq!(ours, theirs, "{method} {params}");
    }
    for (method, params) in [
        ("eth_call", json!([{ "to": echo }, "latest"])),
        ("eth_estimateGas", json!([{ "to": echo }])),
        ("eth_getBalance", json!(["0x12", "latest"])),
        ("eth_nothing", json!([])),
        ("eth_getFilterChanges", json!(["0x77"])),
    ] {
        let (ours, theirs) = (pair.node.ask(method, &params), pair.anvil.ask(method, &params));
        let told = |answer: &Value| (answer["error"]["code"].clone(), answer["error"]["data"].clone());
        assert_eq!(told(&ours), told(&theirs), "{method} {params}: {ours} {theirs}");
    }
}
