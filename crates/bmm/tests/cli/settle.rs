//! A job from its file to what stands on the chain.

use crate::{
    chain::{Chain, read, units},
    programs::{job, with_imports, worker},
    run::Bmm,
};
use alloy_primitives::{Address, B256, U256};
use bmm_types::system;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/text");

fn run(bmm: &Bmm, job: &Path, more: &[&str]) -> Value {
    bmm.json(&[&["run", job.to_str().expect("UTF-8")], more].concat())
}

fn output(receipt: &Value) -> Vec<(PathBuf, Vec<u8>)> {
    let paths: Vec<PathBuf> = read(receipt, "outputs");
    let named = |path: PathBuf| (path.file_name().expect("a name").into(), std::fs::read(&path).expect("the output"));
    paths.into_iter().map(named).collect()
}

/// The promised keys, and that they fit together.
fn check_receipt(receipt: &Value, tasks: u64) {
    assert_eq!(
        (&receipt["status"], &receipt["tasks"], &receipt["failed"]),
        (&json!("settled"), &json!(tasks), &json!(0))
    );
    let providers = receipt["providers"].as_array().expect("a list");
    let pay: U256 = providers.iter().map(|provider| units(provider, "pay_bmm")).sum();
    assert_eq!(pay, units(receipt, "price_bmm"));
    let counts: u64 = providers.iter().map(|provider| read::<u64>(provider, "tasks")).sum();
    let fuel: u64 = providers.iter().map(|provider| read::<u64>(provider, "fuel")).sum();
    assert_eq!(fuel, read::<u64>(receipt, "fuel"));
    assert!(counts >= tasks && fuel > 0 && read::<u64>(receipt, "block") > 0, "{receipt}");
    assert!(!output(receipt).is_empty());
    let together = units(receipt, "price_bmm") + units(receipt, "refunded_bmm");
    assert_eq!(together, units(receipt, "escrow_bmm"));
}

#[test]
fn a_job_ends_in_a_receipt_that_the_chain_confirms() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(200_000), 24, "[budget]\nmax = \"3 BMM\"\n");
    let receipt = run(&bmm, &job_file, &[]);
    check_receipt(&receipt, 24);
    let bytes = &output(&receipt)[0];
    assert_eq!((bytes.0.to_str(), bytes.1.len()), (Some("out.bin"), 24 * 8));

    let chain = Chain::up(&bmm);
    let job: B256 = read(&receipt, "job");
    let money = chain.settled_once(job);
    assert_eq!((money.budget, money.paid), (units(&receipt, "escrow_bmm"), units(&receipt, "price_bmm")));

    let (transaction, block): (B256, u64) = (read(&receipt, "transaction"), read(&receipt, "block"));
    let mined = chain.rpc.receipt(transaction).expect("an answer").expect("the receipt");
    assert!(mined.succeeded);
    assert_eq!(mined.block, block);
    let sealed = chain.call("eth_getBlockByNumber", json!([format!("{block:#x}"), false]));
    assert_eq!(
        (read::<B256>(&sealed, "hash"), read::<Vec<B256>>(&sealed, "transactions")),
        (mined.block_hash, vec![transaction])
    );
    assert!(read::<U256>(&sealed, "difficulty") >= U256::from(16), "blocks are sealed by work");

    let head = chain.rpc.block_number().expect("a block");
    let mut accounts = Vec::new();
    for provider in receipt["providers"].as_array().expect("a list") {
        let address: Address = read(provider, "address");
        // The chain was fresh and the dev chain takes no fee, so the pay is all that a provider has.
        assert_eq!(chain.balance(address, head), units(provider, "pay_bmm"));
        assert_eq!(chain.balance(address, block - 1), U256::ZERO);
        accounts.push(address);
    }
    assert_eq!(chain.balance(system::JOBS, head), U256::ZERO, "the escrow is empty again");
    assert_eq!(chain.balance(system::JOBS, block), money.refunded, "until the refund it held the rest");
    // With the sum of everything known, the requester has exactly what is left after price and gas.
    chain.all_units_are_known(&accounts);
}

/// A program that writes its arguments' number, what it read, and sixteen random bytes.
fn random_program() -> Vec<u8> {
    let random = "(import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))";
    let body = "(call $mix (i32.const 100000))
        (drop (call $random (i32.const 64) (i32.const 16)))
        (call $put (i32.const 1) (i32.const 64) (i32.const 16))";
    with_imports(random, body)
}

#[test]
fn the_same_job_gives_the_same_bytes_and_fuel_and_replicas_agree() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &random_program(), 30, "");
    let first = run(&bmm, &job_file, &["--out", "first"]);
    let second = run(&bmm, &job_file, &["--out", "second", "--providers", "1"]);
    let replicated = run(&bmm, &job_file, &["--out", "third", "--replicate", "2"]);
    for receipt in [&first, &second, &replicated] {
        check_receipt(receipt, 30);
    }
    assert_eq!(output(&first), output(&second));
    assert_eq!(output(&first), output(&replicated));
    let bytes = &output(&first)[0].1;
    let tasks: BTreeSet<&[u8]> = bytes.chunks(24).map(|task| &task[8..]).collect();
    assert_eq!(tasks.len(), 30, "every task has its own randomness");
    assert_eq!(first["fuel"], second["fuel"]);
    assert_eq!(2 * read::<u64>(&first, "fuel"), read::<u64>(&replicated, "fuel"));
    assert_eq!(units(&first, "price_bmm"), units(&second, "price_bmm"));
    for provider in replicated["providers"].as_array().expect("a list") {
        assert_eq!(provider["tasks"], 30, "each of the two did every task");
    }
    let ids: Vec<&str> = [&first, &second, &replicated].map(|receipt| receipt["job"].as_str().expect("an id")).to_vec();
    let listed = bmm.json(&["job", "list"]);
    let listed: Vec<&str> =
        listed["jobs"].as_array().expect("a list").iter().map(|job| job["id"].as_str().expect("an id")).collect();
    assert_eq!(listed, ids.into_iter().rev().collect::<Vec<_>>(), "newest first");
}

#[test]
fn the_text_example_counts_the_words() {
    let bmm = Bmm::new();
    let receipt = run(&bmm, &PathBuf::from(TEXT).join("job.toml"), &["--providers", "3"]);
    check_receipt(&receipt, 90);
    let dir = bmm.dir.path().join("bmm-out/moby-dick");
    let svg = std::fs::read_to_string(dir.join("words.svg")).expect("the chart");
    assert!(svg.contains("</svg>") && svg.contains("whale"));
}
