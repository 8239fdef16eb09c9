//! Merged mining by JSON-RPC: what Namecoin's and Dogecoin's pools send, and what they must not get away with.

use super::node::Node;
use alloy_primitives::{Address, B256, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_api::Miners;
use bmm_chain::{Solutions, WorkKey};
use bmm_pow::{
    AuxTree, MiningJob, SyntheticParent, Target, Throttle,
    auxpow::{merkle::sha256d, wire},
    mine,
    resource::check_proof,
    scrypt_hash,
};
use bmm_types::AuxPow;
use serde_json::{Value, json};
use std::{sync::Arc, sync::atomic::AtomicBool, thread, time::Duration};

fn miner(seed: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(seed)).expect("a key")
}

/// A node that makes blocks for the miners 8 and 9.
fn node() -> Node {
    node_for([8, 9])
}

fn node_for(seeds: impl IntoIterator<Item = u8>) -> Node {
    Node::mined_elsewhere(miners(seeds))
}

fn miners(seeds: impl IntoIterator<Item = u8>) -> Miners {
    let mut miners = Miners::default();
    for key in seeds.into_iter().map(miner) {
        miners.add(key.address(), Arc::new(move |hash| key.sign_hash_sync(&hash).expect("a local key signs")));
    }
    miners
}

fn block_for(node: &Node, seed: u8) -> Value {
    node.call("createauxblock", json!([miner(seed).address()]))
}

fn id(block: &Value) -> B256 {
    block["hash"].as_str().expect("a hash").parse().expect("hex")
}

fn target(block: &Value) -> Target {
    let bytes: [u8; 32] = hex::decode_to_array(block["_target"].as_str().expect("text")).expect("32 bytes");
    Target::new(U256::from_le_bytes(bytes)).expect("not zero")
}

fn prove(block: &Value) -> AuxPow {
    let job = MiningJob { block_id: id(block), target: target(block), time: 1_900_000_000, extra_nonce: 5 };
    mine(&job, &(0..=u32::MAX), &AtomicBool::new(false), Throttle::NONE).expect("found")
}

fn hand_in(block: &Value, aux: &AuxPow) -> Value {
    json!([block["hash"], hex::encode(wire::encode(aux))])
}

#[test]
fn a_block_is_handed_out_mined_and_taken() {
    let node = node();
    let block = block_for(&node, 8);
    let genesis = node.chain.head();
    assert_eq!(block["chainid"], 0x0bb3);
    assert_eq!(block["height"], 1);
    assert_eq!(block["previousblockhash"], hex::encode(genesis.id));
    assert_eq!((&block["target"], block["hash"].as_str().map(str::len)), (&block["_target"], Some(64)));
    let bits = u32::from_str_radix(block["bits"].as_str().expect("text"), 16).expect("hex");
    assert_eq!(bits, target(&block).to_compact());
    assert!(Target::from_compact(bits).expect("a target") <= target(&block), "rounded down");
    assert_eq!(node.call("submitauxblock", hand_in(&block, &prove(&block))), json!(true));
    assert_eq!(node.chain.head().id, id(&block));
    let balance = node.call("eth_getBalance", json!([miner(8).address(), "latest"]));
    let balance: U256 = balance.as_str().expect("text").parse().expect("a number");
    assert_eq!(block["reward"], balance.to_string());
    assert_eq!(block["coinbasevalue"], (balance / U256::from(10_000_000_000u64)).to::<u64>());
}

#[test]
fn the_older_call_does_both_for_the_first_address() {
    let node = node();
    let block = node.call("getauxblock", json!([]));
    assert_eq!(block, node.call("getauxblock", json!([])), "the same block while it is young");
    assert_eq!(node.call("getauxblock", hand_in(&block, &prove(&block))), json!(true));
    assert_eq!(node.chain.head().header.beneficiary, miner(8).address());
}

#[test]
fn the_smallest_hashes_of_an_epochs_work_are_collected() {
    let solutions = Arc::new(Solutions::in_memory(4));
    let mut miners = miners([8, 9]);
    miners.collect(Arc::clone(&solutions));
    let node = Node::mined_elsewhere(miners);
    let work = block_for(&node, 8)["work"].clone();
    let key = WorkKey { epoch: 0, seed: node.chain.genesis(), contributor: miner(8).address() };
    assert_eq!(work, json!({ "hash": hex::encode(key.leaf()), "chainid": 0x0bb5, "epoch": 0, "count": 4 }));
    assert_ne!(block_for(&node, 9)["work"]["hash"], work["hash"], "another contributor's");
    let tree = AuxTree::new(&[(0x0bb3, B256::repeat_byte(1)), (0x0bb5, key.leaf())]).expect("two chains");
    let parent = SyntheticParent::of_tree(&tree, 5, 1_900_000_000);
    let hand_in = |aux: &AuxPow| json!([work["hash"], hex::encode(wire::encode(aux))]);
    let all: Vec<AuxPow> = (0..6).map(|nonce| parent.assemble_leaf(1, nonce).expect("the second leaf")).collect();
    for aux in &all {
        assert!(node.call("submitauxwork", hand_in(aux)).is_boolean());
    }
    assert_eq!(node.call("submitauxwork", hand_in(&all[0])), json!(false), "known, or above the others");
    let (proof, _) = solutions.proof(&key).expect("a proof");
    check_proof(&proof, key.leaf()).expect("a good one");
    let block = parent.assemble_leaf(0, 1).expect("the first leaf");
    let (code, words, _) = node.error("submitauxwork", hand_in(&block));
    assert!(code == -25 && words.contains("the work is refused"), "{words}");
    let unknown = json!([hex::encode(B256::repeat_byte(1)), hex::encode(wire::encode(&all[0]))]);
    let (code, words, _) = node.error("submitauxwork", unknown);
    assert_eq!((code, &words[..17]), (-8, "work hash unknown"));
    assert_eq!(node.error("submitauxwork", json!([work["hash"], "00"])).0, -22);
    // Who does not collect does not ask for it.
    let other = node_for([8]);
    assert_eq!(block_for(&other, 8)["work"], Value::Null);
    assert_eq!(other.error("submitauxwork", hand_in(&all[0])).0, -8);
}

#[test]
fn calls_of_json_rpc_one_are_answered_in_its_way() {
    let node = node();
    for version in ["", r#""jsonrpc":"1.0","#] {
        let body = format!(r#"{{{version}"id":"curl","method":"getauxblock","params":[]}}"#);
        let answer: Value = serde_json::from_str(&node.post(&body).1).expect("JSON");
        assert!(answer["result"]["hash"].is_string(), "{answer}");
        assert_eq!(answer.as_object().and_then(|members| members.get("error")), Some(&Value::Null));
        let other = format!(r#"{{{version}"id":1,"method":"eth_chainId"}}"#);
        assert!(node.post(&other).1.contains("-32600"), "only what pools call");
    }
}

#[test]
fn each_address_has_its_own_block_and_a_stranger_has_none() {
    let node = node();
    assert_ne!(block_for(&node, 8)["hash"], block_for(&node, 9)["hash"]);
    let stranger = Address::repeat_byte(0x55);
    let (code, words, _) = node.error("createauxblock", json!([stranger]));
    assert_eq!(code, -5);
    for part in [stranger.to_string(), miner(9).address().to_string(), "--mine-for".into()] {
        assert!(words.contains(&part), "{words}");
    }
    assert_eq!(node.error("createauxblock", json!(["LTC"])).0, -32602);
    assert_eq!(node.error("createauxblock", json!([])).0, -32602);
}

#[test]
fn a_node_without_keys_or_without_work_hands_out_nothing() {
    let node = Node::mined_elsewhere(Miners::default());
    let (code, words, _) = node.error("getauxblock", json!([]));
    assert!(code == -32000 && words.contains("--mine-for"), "{words}");
    assert!(node.error("createauxblock", json!([Address::ZERO])).1.contains("no key of"));
}

#[test]
fn proofs_that_break_a_rule_are_refused_and_the_block_stays_open() {
    let node = node();
    let block = block_for(&node, 8);
    let good = prove(&block);
    let unknown = json!([hex::encode(B256::repeat_byte(1)), hex::encode(wire::encode(&good))]);
    let (code, words, _) = node.error("submitauxblock", unknown);
    assert_eq!((code, &words[..18]), (-8, "block hash unknown"));
    for (hash, proof) in [("00", ""), (&hex::encode(id(&block))[..62], "00"), ("zz", "00")] {
        assert_eq!(node.error("submitauxblock", json!([hash, proof])).0, -32602);
    }
    assert_eq!(node.error("submitauxblock", json!([block["hash"]])).0, -32602);
    for broken in ["", "00", &hex::encode(wire::encode(&good))[2..]] {
        assert_eq!(node.error("submitauxblock", json!([block["hash"], broken])).0, -22, "{broken}");
    }
    for (rule, aux) in broken_proofs(&block, &good) {
        let (code, words, _) = node.error("submitauxblock", hand_in(&block, &aux));
        assert!(code == -25 && words.contains(rule), "{rule}: {words}");
    }
    assert_eq!(node.chain.head().number(), 0);
    assert_eq!(node.call("submitauxblock", hand_in(&block, &good)), json!(true));
    let (code, words, _) = node.error("submitauxblock", hand_in(&block, &good));
    assert!(code == -25 && words.contains("duplicate"), "{words}");
}

/// A proof for each rule of Namecoin and Dogecoin that it breaks, with words of the refusal.
fn broken_proofs(block: &Value, good: &AuxPow) -> Vec<(&'static str, AuxPow)> {
    let with = |change: &dyn Fn(&mut AuxPow)| {
        let mut aux = good.clone();
        change(&mut aux);
        aux
    };
    // Changes of the coinbase, with the header's root after it and any nonce: the rules of the script come before the work.
    let with_coinbase = |coinbase: Vec<u8>| {
        with(&|aux| {
            aux.parent_header.0[36..68].copy_from_slice(sha256d(&coinbase).as_slice());
            aux.coinbase = coinbase.clone().into();
        })
    };
    let edited = |at: usize, bytes: &[u8]| {
        let mut coinbase = good.coinbase.to_vec();
        coinbase[at..at + bytes.len()].copy_from_slice(bytes);
        with_coinbase(coinbase)
    };
    // The script begins at byte 42: magic, root, size, nonce, extra nonce.
    let magic_at = 42;
    let other = SyntheticParent::new(B256::repeat_byte(3), 0, 1).assemble(0);
    let lazy = (0..).map(|nonce: u32| with(&|aux| aux.parent_header.0[76..].copy_from_slice(&nonce.to_le_bytes())));
    let target = target(block);
    let lazy = lazy.into_iter().find(|aux| !target.is_met_by(&scrypt_hash(&aux.parent_header.0))).expect("most");
    vec![
        ("our own", with(&|aux| aux.parent_header.0[2..4].copy_from_slice(&0x0bb3u16.to_le_bytes()))),
        ("does not fold", with(&|aux| aux.parent_header.0[40] ^= 1)),
        ("does not fold", with(&|aux| aux.coinbase_branch.push(B256::ZERO))),
        ("does not hold the root", other),
        ("does not hold the root", with(&|aux| aux.chain_branch.push(B256::ZERO))),
        ("more than once", edited(magic_at + 44, b"\xfa\xbemm")),
        ("before the root", with_coinbase(spaced(good))),
        ("has the size 2", edited(magic_at + 36, &2u32.to_le_bytes())),
        ("slot 1", with(&|aux| aux.chain_index = 1)),
        ("above the target", lazy),
        ("not 64", with_coinbase(of_64_bytes())),
    ]
}

/// A transaction as long as an inner node of a Merkle tree.
fn of_64_bytes() -> Vec<u8> {
    let input = [&[0xff; 36][..], &[4, 1, 2, 3, 4], &[0xff; 4]].concat();
    [&[1, 0, 0, 0, 1][..], &input, &[1], &[0; 8], &[0], &[0; 4]].concat()
}

/// The coinbase with a byte between magic and root.
fn spaced(good: &AuxPow) -> Vec<u8> {
    let mut coinbase = good.coinbase.to_vec();
    coinbase.insert(46, 0);
    coinbase[41] += 1;
    coinbase
}

#[test]
fn a_proof_that_comes_too_late_is_told_apart() {
    let node = node();
    let (first, second) = (block_for(&node, 8), block_for(&node, 9));
    let (one, two) = (prove(&first), prove(&second));
    assert_eq!(node.call("submitauxblock", hand_in(&first, &one)), json!(true));
    assert_eq!(node.call("submitauxblock", hand_in(&second, &two)), json!(false), "valid, beside the head");
    assert_eq!(node.chain.head().id, id(&first));
}

#[test]
fn who_waits_for_a_head_is_told_at_once() {
    let node = node();
    let genesis = node.chain.head().id;
    assert_eq!(node.call("bmm_waitHead", json!([genesis, 0]))["number"], "0x0");
    assert_eq!(node.call("bmm_waitHead", json!([B256::ZERO, "0x3c"]))["hash"], json!(genesis), "another than known");
    assert_eq!(node.error("bmm_waitHead", json!([genesis])).0, -32602);
    let block = block_for(&node, 8);
    let proof = prove(&block);
    let told = thread::scope(|scope| {
        let waiting = scope.spawn(|| node.call("bmm_waitHead", json!([genesis, 60])));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(node.call("submitauxblock", hand_in(&block, &proof)), json!(true));
        waiting.join().expect("an answer")
    });
    assert_eq!(told, json!({ "hash": id(&block), "number": "0x1" }));
}

#[test]
fn few_blocks_are_open_at_once_and_the_oldest_goes() {
    let node = node_for(1..=33);
    let blocks: Vec<Value> = (1..=33).map(|seed| block_for(&node, seed)).collect();
    let proof = prove(&blocks[0]);
    assert_eq!(node.error("submitauxblock", hand_in(&blocks[0], &proof)).0, -8);
    assert_eq!(node.call("submitauxblock", hand_in(&blocks[1], &prove(&blocks[1]))), json!(true));
}
