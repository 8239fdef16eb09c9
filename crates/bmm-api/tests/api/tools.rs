//! Real wallets and tools against the server: viem, ethers, Foundry's `cast`, a contract compiled by `solc`, all from npm.
//!
//! They need `node`, and the packages of `tests/js/package-lock.json`: `npm ci` in `tests/js`, or a folder that holds them named by
//! the environment variable `BMM_TEST_NODE_MODULES`. Where either is missing the tests say `SKIPPED`; in CI (`CI` is set) they fail.

use super::node::{Node, nobody};
use alloy_primitives::{U256, hex};
use bmm_types::{Amount, system};
use serde_json::{Value, json};
use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// Where the scripts are, and the packages that they need.
pub struct Tools {
    pub scripts: PathBuf,
    pub modules: PathBuf,
}

impl Tools {
    /// Finds the wallets' packages and those of Foundry's programs that are named, or says why the test is skipped.
    pub fn find(programs: &[&str]) -> Option<Self> {
        Self::with_packages(&["viem", "ethers", "solc"], programs)
    }

    /// Finds the packages and those of Foundry's programs that are named, or says why the test is skipped.
    pub fn with_packages(packages: &[&str], programs: &[&str]) -> Option<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
        let modules = env::var_os("BMM_TEST_NODE_MODULES").map_or_else(|| scripts.join("node_modules"), PathBuf::from);
        let tools = Self { scripts, modules };
        let runs_node = Command::new("node").arg("--version").output().is_ok_and(|out| out.status.success());
        let packages = packages.iter().all(|name| tools.modules.join(name).is_dir());
        let missing = if !runs_node {
            "the program `node`".to_owned()
        } else if !packages || !programs.iter().all(|name| tools.path(name).is_file()) {
            format!("one of the packages in {}", tools.modules.display())
        } else {
            return Some(tools);
        };
        let words = format!("{missing} is missing; run `npm ci` in {}", tools.scripts.display());
        assert!(env::var_os("CI").is_none(), "{words}");
        // Not by `eprintln`, which the test harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {words}");
        None
    }

    /// Where one of Foundry's programs is; the packages are locked for Linux on x86-64 alone.
    fn path(&self, program: &str) -> PathBuf {
        self.modules.join(format!("@foundry-rs/{program}-linux-amd64/bin/{program}"))
    }

    /// One of Foundry's programs, to be run.
    pub fn program(&self, program: &str) -> Command {
        Command::new(self.path(program))
    }

    /// Runs one of the scripts against `node`.
    fn script(&self, name: &str, node: &Node) -> Output {
        let (_folder, mut command) = self.prepare(name, node);
        command.output().expect("node runs")
    }

    /// One of the scripts, to be run against `node` while the folder is there.
    pub fn prepare(&self, name: &str, node: &Node) -> (TempDir, Command) {
        // Node.js finds packages beside the script; so the scripts go where the packages are.
        let folder = TempDir::new().expect("a folder");
        for file in ["common.mjs", "Counter.sol", name] {
            std::fs::copy(self.scripts.join(file), folder.path().join(file)).expect("a copy");
        }
        std::os::unix::fs::symlink(&self.modules, folder.path().join("node_modules")).expect("a link");
        let mut command = Command::new("node");
        command
            .arg(folder.path().join(name))
            .env("RPC_URL", node.url())
            .env("WS_URL", format!("ws://{}", node.address))
            .env("PRIVATE_KEY", hex::encode_prefixed(node.key.to_bytes()));
        (folder, command)
    }

    /// Runs `cast` against `node` and returns what it prints.
    fn cast(&self, node: &Node, arguments: &[&str]) -> String {
        let output = self.try_cast(node, arguments);
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "cast {arguments:?}: {printed}\n{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    fn try_cast(&self, node: &Node, arguments: &[&str]) -> Output {
        self.program("cast").args(arguments).env("ETH_RPC_URL", node.url()).output().expect("cast runs")
    }

    /// Runs `cast send` from the wallet and returns the receipt.
    fn send(&self, node: &Node, arguments: &[&str]) -> Value {
        let key = hex::encode_prefixed(node.key.to_bytes());
        let all = [&["send", "--json", "--private-key", &key], arguments].concat();
        serde_json::from_str(&self.cast(node, &all)).expect("a receipt")
    }
}

fn passes(script: &str, steps: &[&str]) {
    let Some(tools) = Tools::find(&[]) else { return };
    let node = Node::start();
    let output = tools.script(script, &node);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}: {printed}\n{}", String::from_utf8_lossy(&output.stderr));
    for step in steps {
        assert!(printed.lines().any(|line| line.ends_with(&format!("{step}: ok"))), "{step} is missing in {printed}");
    }
}

#[test]
fn viem_works_unchanged() {
    passes("viem.mjs", &["reads", "transfers", "token", "contract", "errors", "overWebSocket"]);
}

#[test]
fn ethers_works_unchanged() {
    passes("ethers.mjs", &["reads", "transfers", "token", "contract", "errors"]);
}

#[test]
fn cast_works_unchanged() {
    let Some(tools) = Tools::find(&["cast"]) else { return };
    let node = Node::start();
    let cast = |arguments: &[&str]| tools.cast(&node, arguments);
    let (wallet, other, token) = (node.key.address().to_string(), nobody(0x0a).to_string(), system::TOKEN.to_string());
    assert_eq!(cast(&["chain-id"]), node.chain_id().to_string());
    assert!(cast(&["client"]).starts_with("bmm/v"));
    assert_eq!(cast(&["block-number"]), "0");
    assert!(cast(&["balance", &wallet]).parse::<U256>().expect("a number") > Amount::from_bmm(10).units());

    let receipt = tools.send(&node, &[&other, "--value", "0.5ether"]);
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(cast(&["balance", "--ether", &other]), "0.500000000000000000");
    let receipt = tools.send(&node, &[&token, "transfer(address,uint256)", &other, "1000"]);
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(cast(&["call", &token, "symbol()(string)"]), "\"BMM\"");
    assert!(cast(&["call", &token, "balanceOf(address)(uint256)", &other]).starts_with("500000000000001000"));
    let logs: Value =
        serde_json::from_str(&cast(&["logs", "--json", "--from-block", "0", "--address", &token])).expect("JSON");
    assert_eq!(logs.as_array().map(Vec::len), Some(1), "{logs}");
    assert_eq!(cast(&["nonce", &wallet]), "2");

    let hash = receipt["transactionHash"].as_str().expect("a hash");
    let found: Value = serde_json::from_str(&cast(&["tx", "--json", hash])).expect("JSON");
    assert_eq!(found["hash"], json!(hash));
    let again: Value = serde_json::from_str(&cast(&["receipt", "--json", hash])).expect("JSON");
    assert_eq!(again["blockHash"], receipt["blockHash"]);
    let block: Value = serde_json::from_str(&cast(&["block", "--json", "latest"])).expect("JSON");
    assert_eq!(block["hash"], receipt["blockHash"]);
    assert_eq!(cast(&["storage", &token, "0"]).len(), 66);
    assert_eq!(cast(&["estimate", "--from", &wallet, &other, "--value", "1"]), "21000");
    assert!(cast(&["gas-price"]).parse::<u128>().is_ok_and(|price| price > 0));
    cast_deploys(&tools, &node);
}

/// Deploys the echo contract with `cast`, calls it, and sees its revert.
fn cast_deploys(tools: &Tools, node: &Node) {
    let receipt = tools.send(node, &["--create", &hex::encode_prefixed(super::node::ECHO)]);
    let echo = receipt["contractAddress"].as_str().expect("a contract");
    let word = format!("0x{:064x}", 42);
    let receipt = tools.send(node, &[echo, &word]);
    assert_eq!(receipt["logs"][0]["topics"], json!([word]));
    assert_eq!(tools.cast(node, &["storage", echo, "0"]), word);
    let failed = tools.try_cast(node, &["call", echo]);
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && words.contains("execution reverted"), "{words}");
}
