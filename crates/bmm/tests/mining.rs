//! `bmm mine` alone, at a node. At a pool: `cli/merged.rs`.

#[path = "../../bmm-pool/tests/sources/support.rs"]
#[expect(dead_code, reason = "what other tests use")]
mod support;

use serde_json::Value;
use std::process::{Child, Command, Stdio};
use support::Node;

/// `bmm mine`, until it is dropped or asked to end.
struct Miner(Option<Child>);

impl Miner {
    fn start(args: &[&str]) -> Self {
        let data = std::env::temp_dir().join("bmm-mine-test");
        let child = Command::new(env!("CARGO_BIN_EXE_bmm"))
            .args(["--json", "mine", "--threads", "1"])
            .args(args)
            .env("BMM_DATA", data)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bmm starts");
        Self(Some(child))
    }

    /// Waits until it has ended by itself, and returns its last line.
    fn end(mut self) -> Value {
        let output = self.0.take().expect("runs").wait_with_output().expect("an end");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_node_is_mined_for_alone() {
    let node = Node::start();
    let (url, address) = (node.url(), node.miner.to_string());
    let miner = Miner::start(&["--node", &url, "--address", &address, "--seconds", "12"]);
    let told = miner.end();
    let blocks = node.chain.head().number();
    assert!(blocks >= 1, "{told}");
    assert_eq!(told["event"], "end");
    let accepted = told["status"]["accepted"].as_u64().expect("a number");
    assert!(accepted >= 1 && accepted <= blocks, "{told}");
    assert!(told["status"]["hashes_per_second"].as_u64().expect("a number") > 0, "{told}");
    // The same hashes prove the miner's work of the epoch.
    let (proof, hashes) = node.solutions.proof(&node.work()).expect("a proof");
    bmm_pow::resource::check_proof(&proof, node.work().leaf()).expect("a good one");
    let done = told["status"]["hashes_per_second"].as_f64().expect("a number") * 12.0;
    let found = f64::from(u32::try_from(hashes).expect("some"));
    assert!(found > done / 4.0 && found < done * 4.0, "{found} of {done}");
}
