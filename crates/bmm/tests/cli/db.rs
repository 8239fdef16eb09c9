//! `bmm db …`

use crate::{
    chain::{Chain, read},
    grown::{Grown, raw_transfer},
    run::Bmm,
};
use alloy_primitives::B256;
use serde_json::Value;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A data folder with a chain of so many blocks.
fn folder(grown: &Grown, blocks: u64) -> Bmm {
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("chain.bmm", &grown.bytes(1..=blocks)));
    bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    bmm
}

#[test]
fn a_sound_database_is_measured_verified_and_compacted() {
    let grown = Grown::new(60, 5);
    let bmm = folder(&grown, 60);
    let found = bmm.json(&["db", "verify"]);
    assert_eq!((read::<u64>(&found, "head"), read::<B256>(&found, "head_id")), grown.head());
    let counts = ["headers", "bodies", "transactions"].map(|field| read::<u64>(&found, field));
    assert_eq!(counts, [61, 61, 300], "{found}");
    assert!(read::<u64>(&found, "accounts") > 300 && read::<u64>(&found, "slots") >= 60, "{found}");
    let quick = bmm.json(&["db", "verify", "--quick", "10"]);
    assert_eq!((&quick["headers"], &quick["transactions"]), (&10.into(), &50.into()), "{quick}");
    assert_eq!(bmm.json(&["db", "verify", "--quick"])["headers"], 61);

    let stats = bmm.json(&["db", "stats"]);
    let tables = stats["tables"].as_array().expect("a list");
    let entries = |name: &str| tables.iter().find(|table| table["name"] == name).expect("a table")["entries"].clone();
    assert_eq!((entries("accounts"), entries("headers")), (found["accounts"].clone(), 61.into()));
    let shown = bmm.run(&["db", "stats"]);
    assert!(shown.code == 0 && shown.stdout.contains("█") && shown.stdout.contains("at block 60"), "{}", shown.stdout);

    let compacted = bmm.json(&["db", "compact"]);
    let (before, after): (u64, u64) = (read(&compacted, "before_bytes"), read(&compacted, "after_bytes"));
    assert!(after <= before && after > 0, "{compacted}");
    assert_eq!(bmm.json(&["db", "verify"])["transactions"], 300);
}

#[test]
fn commands_that_need_the_database_name_the_node_that_has_it() {
    let bmm = Bmm::new();
    let told = bmm.fails(1, &["db", "stats"]);
    assert!(told.contains("has no database of the chain dev"), "{told}");
    let node = Chain::up(&bmm);
    for command in ["verify", "compact"] {
        let told = bmm.fails(2, &["db", command]);
        assert!(told.contains("is in use by the node with process id") && told.contains("hint: stop"), "{told}");
    }
    assert_eq!(bmm.json(&["db", "stats"])["chain"], "dev", "the node says it");
    drop(node);
}

#[test]
fn a_damaged_database_is_found_out() {
    let grown = Grown::new(20, 3);
    let bmm = folder(&grown, 20);
    bmm.json(&["db", "verify"]);
    // A balance in a leaf page: some byte of the file that is part of an account.
    let path = bmm.data().join("chains/dev/db/chain.redb");
    let mut bytes = std::fs::read(&path).expect("a file");
    let key = alloy_primitives::keccak256(grown.key.address());
    let places: Vec<usize> =
        bytes.windows(32).enumerate().filter(|(_, at)| *at == key.as_slice()).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the account's key stands in the file");
    for at in places {
        bytes[at + 31] ^= 1;
    }
    std::fs::write(&path, bytes).expect("written");
    let ran = bmm.run(&["db", "verify"]);
    assert!(ran.code == 2 || ran.code == 70, "{ran:?}");
    assert!(ran.stderr.contains("damaged") || ran.stderr.contains("orrupt"), "{}", ran.stderr);
}

#[test]
fn a_backup_under_load_is_a_moment_of_the_chain_from_which_a_node_goes_on() {
    let grown = Grown::new(30, 3);
    let bmm = folder(&grown, 30);
    let node = Chain::up(&bmm);
    let stop = AtomicBool::new(false);
    let copy = Bmm::new();
    let (before, done) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let chain_id = node.rpc.chain_id().expect("an answer");
            let mut nonce = node.rpc.nonce(grown.key.address()).expect("an answer");
            while !stop.load(Ordering::Relaxed) {
                let raw = raw_transfer(&grown.key, chain_id, nonce);
                if node.rpc.call::<B256>("eth_sendRawTransaction", (raw,)).is_ok() {
                    nonce += 1;
                }
            }
        });
        std::thread::sleep(std::time::Duration::from_secs(2));
        let before = node.rpc.block_number().expect("an answer");
        let done = bmm.json(&["db", "backup", text(&copy.data())]);
        stop.store(true, Ordering::Relaxed);
        (before, done)
    });
    let (head, id): (u64, B256) = (read(&done, "head"), read(&done, "head_id"));
    assert!(done["by_node"] == true && head >= before, "{done}");
    assert_eq!(node.rpc.block_hash(head).expect("an answer"), Some(id), "the copy's head is canonical");
    assert!(!bmm.data().join("control").read_dir().expect("a folder").any(|_| true), "nothing is left of the question");
    let again = bmm.fails(1, &["db", "backup", text(&copy.data())]);
    assert!(again.contains("there is a database already"), "{again}");
    drop(node);

    let verified = copy.json(&["db", "verify"]);
    assert_eq!((read::<u64>(&verified, "head"), read::<B256>(&verified, "head_id")), (head, id));
    let node = Chain::up(&copy);
    assert_eq!(node.rpc.block_hash(head).expect("an answer"), Some(id));
    assert!(node.rpc.block_number().expect("an answer") >= head);
    drop(node);

    // Without a node, by the command itself.
    let third = Bmm::new();
    let done: Value = copy.json(&["db", "backup", text(&third.data())]);
    assert!(done["by_node"] == false && read::<u64>(&done, "head") >= head, "{done}");
    assert_eq!(third.json(&["db", "verify"])["head"], done["head"]);
}
