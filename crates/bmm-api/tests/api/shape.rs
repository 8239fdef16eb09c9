//! Shapes of Ethereum's execution-apis: quantities without leading zeros, data of fixed length, exact sets of fields.

use serde_json::Value;
use std::collections::BTreeSet;

/// Fields of a block's header, Osaka's rules.
const HEADER: &[&str] = &[
    "baseFeePerGas",
    "blobGasUsed",
    "difficulty",
    "excessBlobGas",
    "extraData",
    "gasLimit",
    "gasUsed",
    "hash",
    "logsBloom",
    "miner",
    "mixHash",
    "nonce",
    "number",
    "parentBeaconBlockRoot",
    "parentHash",
    "receiptsRoot",
    "requestsHash",
    "sha3Uncles",
    "size",
    "stateRoot",
    "timestamp",
    "transactions",
    "transactionsRoot",
    "uncles",
    "withdrawals",
    "withdrawalsRoot",
];

/// Fields of every transaction.
const TRANSACTION: &[&str] = &[
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "chainId",
    "from",
    "gas",
    "gasPrice",
    "hash",
    "input",
    "nonce",
    "r",
    "s",
    "to",
    "transactionIndex",
    "type",
    "v",
    "value",
];

/// Fields of every receipt.
const RECEIPT: &[&str] = &[
    "blockHash",
    "blockNumber",
    "contractAddress",
    "cumulativeGasUsed",
    "effectiveGasPrice",
    "from",
    "gasUsed",
    "logs",
    "logsBloom",
    "status",
    "to",
    "transactionHash",
    "transactionIndex",
    "type",
];

/// Fields of every log.
const LOG: &[&str] = &[
    "address",
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "data",
    "logIndex",
    "removed",
    "topics",
    "transactionHash",
    "transactionIndex",
];

/// Checks `0x0`, or `0x` and hex digits of which the first is not zero.
pub fn assert_quantity(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no quantity"));
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("{value} is no quantity"));
    let hex = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    assert!(hex && (digits == "0" || (!digits.is_empty() && !digits.starts_with('0'))), "{value} is no quantity");
}

/// Checks `0x` and hex digits of exactly `len` bytes.
pub fn assert_bytes(value: &Value, len: usize) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no data"));
    assert!(text.starts_with("0x") && text.bytes().skip(2).all(|b| b.is_ascii_hexdigit()), "{value} is no data");
    assert_eq!(text.len(), 2 + 2 * len, "{value}");
}

fn assert_fields(value: &Value, fields: &[&str], also: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    let got: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = fields.iter().chain(also).copied().collect();
    assert_eq!(got, wanted, "{value}");
}

pub fn assert_block(block: &Value) {
    assert_fields(block, HEADER, &[]);
    for field in [
        "baseFeePerGas",
        "difficulty",
        "gasLimit",
        "gasUsed",
        "number",
        "size",
        "timestamp",
        "blobGasUsed",
        "excessBlobGas",
    ] {
        assert_quantity(&block[field]);
    }
    for field in [
        "hash",
        "mixHash",
        "parentHash",
        "receiptsRoot",
        "sha3Uncles",
        "stateRoot",
        "transactionsRoot",
        "withdrawalsRoot",
    ] {
        assert_bytes(&block[field], 32);
    }
    assert_bytes(&block["miner"], 20);
    assert_bytes(&block["nonce"], 8);
    assert_bytes(&block["logsBloom"], 256);
    assert_eq!(block["uncles"], Value::Array(Vec::new()));
}

/// Checks a mined transaction of the type `kind`.
pub fn assert_transaction(tx: &Value, kind: u8) {
    let also: &[&str] = match kind {
        0 => &[],
        1 => &["accessList", "yParity"],
        2 => &["accessList", "maxFeePerGas", "maxPriorityFeePerGas", "yParity"],
        _ => &["accessList", "authorizationList", "maxFeePerGas", "maxPriorityFeePerGas", "yParity"],
    };
    assert_fields(tx, TRANSACTION, also);
    assert_eq!(tx["type"], format!("{kind:#x}"));
    for field in ["blockNumber", "chainId", "gas", "gasPrice", "nonce", "r", "s", "transactionIndex", "v", "value"] {
        assert_quantity(&tx[field]);
    }
    assert_bytes(&tx["hash"], 32);
    assert_bytes(&tx["blockHash"], 32);
    assert_bytes(&tx["from"], 20);
}

/// Checks a receipt and its logs.
pub fn assert_receipt(receipt: &Value, kind: u8) {
    assert_fields(receipt, RECEIPT, &[]);
    assert_eq!(receipt["type"], format!("{kind:#x}"));
    for field in ["blockNumber", "cumulativeGasUsed", "effectiveGasPrice", "gasUsed", "status", "transactionIndex"] {
        assert_quantity(&receipt[field]);
    }
    assert_bytes(&receipt["blockHash"], 32);
    assert_bytes(&receipt["transactionHash"], 32);
    assert_bytes(&receipt["logsBloom"], 256);
    for log in receipt["logs"].as_array().expect("logs") {
        assert_log(log);
    }
}

pub fn assert_log(log: &Value) {
    assert_fields(log, LOG, &[]);
    for field in ["blockNumber", "logIndex", "transactionIndex", "blockTimestamp"] {
        assert_quantity(&log[field]);
    }
    assert_bytes(&log["address"], 20);
    assert_bytes(&log["blockHash"], 32);
    assert_bytes(&log["transactionHash"], 32);
    assert_eq!(log["removed"], false);
    for topic in log["topics"].as_array().expect("topics") {
        assert_bytes(topic, 32);
    }
}
