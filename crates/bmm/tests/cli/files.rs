//! `bmm chain export` and `import`.

use crate::{
    chain::{Chain, read},
    grown::Grown,
    run::Bmm,
};
use alloy_primitives::{B256, Bytes, U64, U256};
use bmm_chain::{ChainReader, ChainWriter};
use bmm_types::SealedBlock;
use serde_json::Value;
use std::path::Path;

fn head(object: &Value) -> (u64, B256) {
    (read(object, "head"), read(object, "head_id"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_chain_goes_out_of_one_folder_into_another() {
    let grown = Grown::new(40, 3);
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("first.bmm", &grown.bytes(1..=30)));
    let done = bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    assert_eq!((&done["imported"], &done["known"], &done["gas"]), (&30.into(), &0.into(), &(90 * 21_000).into()));
    assert_eq!(head(&done).0, 30);

    // Again, with more behind it: what is known is skipped.
    let whole = bmm.bytes("whole.bmm", &grown.bytes(1..=40));
    let done = bmm.json(&["chain", "import", text(&file), text(&whole)]);
    assert_eq!((&done["imported"], &done["known"], head(&done)), (&10.into(), &60.into(), grown.head()));

    // Out of the database, byte for byte.
    let out = bmm.dir.path().join("out.bmm");
    let exported = bmm.json(&["chain", "export", text(&out)]);
    assert_eq!((&exported["blocks"], &exported["to"]), (&40.into(), &40.into()), "{exported}");
    assert!(std::fs::read(&out).expect("written") == grown.bytes(1..=40), "other bytes");
    let told = bmm.fails(1, &["chain", "export", text(&out)]);
    assert!(told.contains("exists already") && told.contains("--force"), "{told}");
    bmm.json(&["chain", "export", "--force", "--from", "11", "--to", "20", text(&out)]);
    assert!(std::fs::read(&out).expect("written") == grown.bytes(11..=20), "other bytes");
    for range in [["--to", "41"], ["--from", "42"]] {
        let told = bmm.fails(1, &[&["chain", "export", "-"], &range[..]].concat());
        assert!(told.contains("above"), "{told}");
    }
}

#[test]
fn a_running_node_is_exported_through_its_rpc_and_named_where_it_is_in_the_way() {
    let grown = Grown::new(20, 2);
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("chain.bmm", &grown.bytes(1..=20)));
    bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    let chain = Chain::up(&bmm);
    let out = bmm.dir.path().join("out.bmm");
    bmm.json(&["chain", "export", "--to", "20", text(&out)]);
    assert!(std::fs::read(&out).expect("written") == grown.bytes(1..=20), "other bytes than from the database");
    let told = bmm.fails(2, &["chain", "import", text(&file)]);
    let node: Value =
        serde_json::from_slice(&std::fs::read(bmm.data().join("node.json")).expect("there")).expect("JSON");
    assert!(told.contains(&format!("process id {}", node["pid"])) && told.contains("hint: stop that node"), "{told}");
    drop(chain);
}

#[test]
fn a_chain_is_taken_from_a_running_node() {
    let grown = Grown::new(200, 2);
    let bmm = Bmm::new();
    let (genesis, file) = (grown.genesis(&bmm), bmm.bytes("chain.bmm", &grown.bytes(1..=200)));
    bmm.json(&["chain", "import", "--genesis", text(&genesis), text(&file)]);
    let node = Chain::up(&bmm);
    let page = |method: &str, first: u64, count: u64| {
        node.rpc.call::<Vec<Bytes>>(method, (U64::from(first), U64::from(count)))
    };
    assert_eq!(page("bmm_getBlocks", 0, u64::MAX).expect("a page").len().min(201), 201);
    assert!(page("bmm_getHeaders", 1, u64::MAX).expect("a page").len() >= 200);
    for method in ["bmm_getBlocks", "bmm_getHeaders"] {
        assert_eq!(page(method, u64::MAX - 1, 9).expect("an answer"), Vec::<Bytes>::new(), "nothing above the head");
        assert_eq!(page(method, 7, 3).expect("a page").len(), 3);
        let told = page(method, 1, 0).expect_err("nothing is asked for").to_string();
        assert!(told.contains("parameter 2 (count): expected at least 1"), "{told}");
    }
    let copy = Bmm::new();
    let url = node.rpc.url().to_owned();
    let sync = ["chain", "sync", "--from", &url];
    let told = copy.fails(1, &sync);
    assert!(told.contains("follows another chain") && told.contains("--genesis"), "{told}");
    let copy = Bmm::new();
    let sync = [&sync[..], &["--genesis", text(&genesis)]].concat();
    let done = copy.json(&sync);
    let (number, id) = head(&done);
    assert!(number >= 200 && done["imported"] == number && done["gas"] == 400 * 21_000, "{done}");
    assert_eq!(node.rpc.block_hash(number).expect("an answer"), Some(id));
    assert!(read::<u64>(&copy.json(&sync), "imported") < 100, "what is known is not taken again");
    drop(node);
    let told = copy.fails(1, &sync);
    assert!(told.contains("no node answers") && told.contains("goes on from there"), "{told}");
}

/// A file of the chain's blocks with one of them changed.
fn changed(grown: &Grown, at: u64, change: impl Fn(&mut SealedBlock)) -> Vec<u8> {
    let bytes = grown.bytes(1..=grown.head().0);
    let mut writer = ChainWriter::new(Vec::new(), grown.chain.genesis()).expect("memory");
    for block in ChainReader::new(&bytes[..]).expect("a file") {
        let mut block = block.expect("a block");
        if block.block.header.number == at {
            change(&mut block);
        }
        writer.append(&block).expect("memory");
    }
    writer.finish().expect("memory")
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let grown = Grown::new(12, 1);
    let bmm = Bmm::new();
    let genesis = grown.genesis(&bmm);
    let good = grown.bytes(1..=12);
    let import = |name: &str, bytes: &[u8]| {
        let file = bmm.bytes(name, bytes);
        bmm.fails(1, &["chain", "import", "--genesis", text(&genesis), text(&file)])
    };
    let lighter = changed(&grown, 5, |block| block.block.header.difficulty -= U256::from(1));
    let told = import("lighter.bmm", &lighter);
    assert!(told.contains("block 5 0x") && told.contains("is not valid: difficulty"), "{told}");
    assert!(told.contains("hint: the blocks before it are kept; the head is block 4"), "{told}");
    let told = import("unsealed.bmm", &changed(&grown, 6, |block| block.seal = bmm_types::Seal::None));
    assert!(told.contains("block 6 0x") && told.contains("no proof of work"), "{told}");
    let told = import("gap.bmm", &grown.bytes(9..=12));
    assert!(told.contains("block 9 0x") && told.contains("in between"), "{told}");
    let told = import("cut.bmm", &good[..good.len() - 20]);
    assert!(told.contains("ends too early, after 11 whole blocks") || told.contains("after 12 whole blocks"), "{told}");
    let mut damaged = good.clone();
    let at = damaged.len() - 100;
    damaged[at] ^= 1;
    let told = import("damaged.bmm", &damaged);
    assert!(told.contains("record 12") && told.contains("checksum"), "{told}");
    let plain = alloy_rlp::encode(&grown.chain.sealed_block(1).expect("readable").expect("stored").block);
    let told = import("geth.rlp", &plain);
    assert!(told.contains("plain RLP") && told.contains("bmm chain export"), "{told}");
    let told = import("picture.png", b"\x89PNG\r\n\x1a\n");
    assert!(told.contains("does not begin with BMMCHAIN"), "{told}");

    let other = Bmm::new();
    let file = other.bytes("chain.bmm", &good);
    let told = other.fails(1, &["chain", "import", text(&file)]);
    assert!(told.contains("another chain") && told.contains("--genesis"), "{told}");
    // What was good of all these files was kept.
    assert_eq!(head(&bmm.json(&["chain", "import", text(&bmm.bytes("good.bmm", &good))])), grown.head());
}
