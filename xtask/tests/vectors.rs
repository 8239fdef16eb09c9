//! Ethereum's public blockchain tests, by `cargo xtask vectors`.
//!
//! The environment variable `BMM_VECTORS` names the folder that holds them; without it the test says so and ends.

use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output},
};

/// Far fewer cases than the archive holds would mean that it was not read.
const LEAST_CASES: u64 = 3_000;

fn vectors(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("vectors").arg(folder).args(arguments).output().expect("the built program starts")
}

#[test]
fn ethereum_cancun_blockchain() {
    let Some(folder) = std::env::var_os("BMM_VECTORS") else {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let words = b"SKIPPED: Ethereum's blockchain tests; BMM_VECTORS names no folder that holds them\n";
        std::io::stderr().write_all(words).expect("an open stderr");
        return;
    };
    let output = vectors(Path::new(&folder), &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON report");
    assert!(output.status.success() && report["failed"] == 0, "{report:#}");
    assert!(report["passed"].as_u64().is_some_and(|passed| passed >= LEAST_CASES), "{report:#}");
}

/// What cannot be run is counted, and what is wrong is a failure.
#[test]
fn nothing_is_passed_over_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let within = folder.path().join("a").join("b");
    fs::create_dir_all(&within).expect("a folder within");
    let write = |name: &str, value: Value| fs::write(within.join(name), value.to_string()).expect("a file");
    write("index.json", json!({ "tests": [] }));
    write(
        "old.json",
        json!({ "one": { "network": "London", "blocks": [] }, "two": { "network": "London", "blocks": [] } }),
    );
    let output = vectors(folder.path(), &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON report");
    assert_eq!(report["skipped"], json!({ "London": 2 }));
    assert_eq!((&report["other_files"], &report["passed"], &report["failed"]), (&json!(1), &json!(0), &json!(0)));
    assert!(!output.status.success(), "nothing was run");

    write("bad.json", json!({ "three": { "network": "Cancun", "blocks": 7 } }));
    fs::write(within.join("broken.json"), "{").expect("a file");
    let output = vectors(folder.path(), &[]);
    let text = String::from_utf8(output.stdout).expect("words");
    assert!(text.contains("bad.json, three: not readable as a blockchain test"), "{text}");
    assert!(text.contains("broken.json, the file: "), "{text}");
    assert!(text.contains("0 passed, 2 failed, 2 skipped (rules of London), 1 files without"), "{text}");
    assert!(!output.status.success());
}
