//! Hardhat with its usual plugins (npm `hardhat`, `hardhat-ethers`, `hardhat-chai-matchers`) builds, deploys and tests a project against
//! the server. See `tools` for what is needed.

use super::{
    node::{Node, quantity},
    project::Project,
    transactions::transfer,
};
use alloy_primitives::{Bytes, U256};
use serde_json::{Value, json};
use std::process::Command;

/// How many contracts the project deploys.
const CONTRACTS: usize = 5;

/// How many tests the project has.
const TESTS: usize = 15;

/// A node whose first block holds a transaction of every type.
fn node_with_every_type() -> Node {
    let mut node = Node::without_blocks(|_| {});
    let sent: Vec<Value> = [0, 1, 2, 4].map(|kind| node.send(&transfer(&node, kind))).to_vec();
    node.produce();
    let receipts: Vec<Value> = sent.iter().map(|hash| node.receipt(hash)).collect();
    assert!(receipts.iter().all(|receipt| receipt["blockNumber"] == "0x1"), "all fit one block");
    node
}

/// Checks the deployed code against what the node has.
fn assert_deployed(node: &Node, printed: &str) {
    let deployed: Vec<Vec<&str>> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("deployed "))
        .map(|line| line.split([' ', ':']).collect())
        .collect();
    assert_eq!(deployed.len(), CONTRACTS, "{printed}");
    for words in deployed {
        let code: Bytes = serde_json::from_value(node.call("eth_getCode", json!([words[2], "latest"]))).expect("code");
        assert_eq!(words[4], code.len().to_string(), "{words:?}");
        assert!(code.len() > 100, "{words:?}");
    }
}

#[test]
fn hardhat_deploys_and_tests_a_project() {
    let packages =
        ["hardhat", "@nomicfoundation/hardhat-ethers", "@nomicfoundation/hardhat-chai-matchers", "@ethereumjs/mpt"];
    let Some(project) = Project::copy(&packages, &[]) else { return };
    let node = node_with_every_type();
    let hardhat = |arguments: &[&str]| {
        project.run(&node, Command::new(project.program("hardhat")).args(arguments).args(["--network", "bmm"]))
    };
    assert_deployed(&node, &hardhat(&["run", "scripts/deploy.mjs"]));

    let printed = hardhat(&["test", "--no-compile"]);
    let passing = printed.lines().find_map(|line| line.trim_start().split_once(" passing")?.0.parse::<usize>().ok());
    assert_eq!(passing, Some(TESTS), "{printed}");
    let verified = printed.lines().find_map(|line| line.trim_start().strip_prefix("verified ")).expect("a summary");
    let verified: Value = serde_json::from_str(verified).expect("JSON");
    assert_eq!(verified["types"], json!([0, 1, 2, 4]), "{verified}");
    assert!(verified["most"].as_u64() >= Some(4), "several in one block: {verified}");
    let head = quantity(&node.call("eth_blockNumber", json!([])));
    assert_eq!(verified["blocks"].as_u64().map(U256::from), Some(head + U256::ONE), "every block");
}
