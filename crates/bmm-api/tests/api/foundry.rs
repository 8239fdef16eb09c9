//! Foundry (npm `@foundry-rs/forge-linux-amd64` and `cast`) builds a project, deploys it to the server, tests it on a fork of the
//! server's chain, and executes the server's transactions again on its own EVM. See `tools` for what is needed.

use super::{
    node::{Node, quantity},
    project::Project,
};
use alloy_primitives::{Bytes, U256, keccak256};
use serde_json::{Value, json};
use std::{fs, process::Command};

/// How many transactions the script sends.
const TRANSACTIONS: usize = 13;

/// How many tests run on the fork.
const TESTS: usize = 7;

/// A project that `forge` has deployed to a node.
struct Deployed {
    project: Project,
    node: Node,
    /// What the script has sent, in order.
    receipts: Vec<Value>,
    /// The contracts' names and addresses.
    contracts: Vec<(String, String)>,
}

impl Deployed {
    fn start() -> Option<Self> {
        let project = Project::copy(&[], &["forge", "cast"])?;
        let node = Node::start();
        let mut forge = Command::new(project.program("forge"));
        // One run of the compiler for everything.
        project.run(&node, forge.arg("build"));
        let mut forge = Command::new(project.program("forge"));
        project.run(&node, forge.args(["script", "Deploy", "--broadcast", "--rpc-url", &node.url()]));
        let path = project.path().join(format!("broadcast/Deploy.s.sol/{}/run-latest.json", node.chain_id()));
        let mut broadcast: Value = serde_json::from_slice(&fs::read(path).expect("what was broadcast")).expect("JSON");
        let receipts = broadcast["receipts"].as_array().expect("receipts").clone();
        let returned = broadcast["returns"].take();
        let address = |value: &Value| value["value"].as_str().expect("an address").to_owned();
        let contracts = returned.as_object().expect("returns").iter();
        let contracts = contracts.map(|(name, value)| (name.to_uppercase(), address(value))).collect();
        Some(Self { project, node, receipts, contracts })
    }

    /// Runs one of Foundry's programs, which learns of the contracts by its environment.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.project.program(program));
        self.project.run(&self.node, command.args(arguments).envs(self.contracts.iter().cloned()))
    }

    fn contract(&self, name: &str) -> &str {
        let (_, address) = self.contracts.iter().find(|(known, _)| known == name).expect("a contract");
        address
    }

    /// The receipts that `forge` keeps are the node's.
    fn assert_receipts(&self) {
        assert_eq!(self.receipts.len(), TRANSACTIONS);
        for receipt in &self.receipts {
            assert_eq!(receipt["status"], "0x1", "{receipt}");
            let ours = self.node.call("eth_getTransactionReceipt", json!([receipt["transactionHash"]]));
            for field in ["blockHash", "contractAddress", "cumulativeGasUsed", "gasUsed", "logsBloom", "from"] {
                let lower = |value: &Value| value.as_str().map(str::to_lowercase);
                assert_eq!(lower(&receipt[field]), lower(&ours[field]), "{field}");
            }
        }
    }

    /// Tests on a fork of the node's chain pass.
    fn assert_tests(&self) {
        let printed = self.run("forge", &["test", "--json", "--fork-url", &self.node.url()]);
        let suites: Value = serde_json::from_str(&printed).expect("JSON");
        let results: Vec<(&String, &Value)> = suites
            .as_object()
            .expect("suites")
            .values()
            .flat_map(|suite| suite["test_results"].as_object().expect("results"))
            .collect();
        assert_eq!(results.len(), TESTS, "{printed}");
        for (name, result) in results {
            assert_eq!(result["status"], "Success", "{name}: {result}");
        }
    }

    /// Foundry's EVM comes to the same gas as the node for every transaction.
    fn assert_replays(&self) {
        for receipt in &self.receipts {
            let hash = receipt["transactionHash"].as_str().expect("a hash");
            let printed = self.run("cast", &["run", hash]);
            assert!(printed.contains("Transaction successfully executed."), "{printed}");
            assert_eq!(gas(&printed), quantity(&receipt["gasUsed"]), "{printed}");
        }
    }
}

impl Deployed {
    fn json(&self, program: &str, arguments: &[&str]) -> Value {
        let printed = self.run(program, arguments);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
    }

    /// Proofs of accounts and storage, as `cast` asks for them.
    fn assert_proofs(&self) {
        let shares = self.contract("SHARES");
        // OpenZeppelin's ERC-20 keeps the supply in slot 2.
        let proof = self.json("cast", &["proof", shares, "2"]);
        let supply = U256::from(1_000) * U256::from(10).pow(U256::from(18));
        assert_eq!(quantity(&proof["storageProof"][0]["value"]), supply, "{proof}");
        let code: Bytes =
            serde_json::from_value(self.node.call("eth_getCode", json!([shares, "latest"]))).expect("code");
        assert_eq!(self.run("cast", &["codehash", shares]).trim(), keccak256(&code).to_string());
        assert_eq!(json!(self.run("cast", &["storage-root", shares]).trim()), proof["storageHash"]);
    }

    /// What `cast` prints of a transaction's trace on the node agrees with the receipt.
    fn assert_traces(&self) {
        for receipt in &self.receipts {
            let hash = receipt["transactionHash"].as_str().expect("a hash");
            let traced = self.json("cast", &["rpc", "debug_traceTransaction", hash, r#"{"tracer":"callTracer"}"#]);
            assert_eq!(traced["gasUsed"], receipt["gasUsed"], "{traced}");
            assert!(traced["error"].is_null(), "{traced}");
        }
    }

    /// The access list that the node suggests names the slot that is read.
    fn assert_access_list(&self) {
        let shares = self.contract("SHARES");
        let printed = self.run("cast", &["access-list", shares, "totalSupply()"]);
        assert!(printed.contains(&format!("{:#066x}", 2)), "{printed}");
    }
}

/// The gas that `cast` prints.
fn gas(printed: &str) -> U256 {
    let gas = printed.lines().find_map(|line| line.strip_prefix("Gas used: ")).expect("the gas used");
    gas.parse().expect("a number")
}

#[test]
fn foundry_deploys_tests_and_replays_a_project() {
    let Some(deployed) = Deployed::start() else { return };
    deployed.assert_receipts();
    deployed.assert_tests();
    deployed.assert_replays();
    deployed.assert_proofs();
    deployed.assert_traces();
    deployed.assert_access_list();
    let shares = deployed.contract("SHARES");
    let traced = deployed.run("cast", &["call", "--trace", shares, "owner()(address)"]);
    assert!(traced.contains("::owner()") && traced.contains(deployed.contract("TREASURY")), "{traced}");
    let logs = deployed.run("cast", &["logs", "--json", "--from-block", "0", "--address", shares]);
    let logs: Value = serde_json::from_str(&logs).expect("JSON");
    // Ownership, the first shares and their votes; then the votes' delegation and the new owner.
    assert!(logs.as_array().map(Vec::len) >= Some(4), "{logs}");
}
