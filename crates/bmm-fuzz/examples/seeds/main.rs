//! Writes inputs for the fuzz targets to begin with into `fuzz/seeds`: real messages of every kind.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxLegacy};
use alloy_eips::{eip2718::Encodable2718 as _, eip2930::AccessList};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rlp::encode;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{
    AccountRange, BET_SIGNATURE_BYTES, Chain, ChainOptions, ChainWriter, ManualClock, RangeAccount, RangeSlot,
    SealedHeader, SignedBet, SlotRange, TemplateRequest,
    sync::{Answer, Nibbles, Request as Question},
};
use bmm_net::wire::{self, Announcement, Request, Status};
use bmm_types::{AuxPow, ChainParams, Engine, Seal, SealedBlock, Transaction, system::Bet};
use std::{error::Error, fs, path::Path, sync::Arc};

mod market;

type Inputs = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let all = [
        ("chain", chain()?),
        ("content", content()),
        ("market", market::market()?),
        ("mining", mining()),
        ("modules", modules()?),
        ("rpc", rpc()?),
        ("tries", tries()),
    ];
    for (target, inputs) in all {
        fs::create_dir_all(seeds.join(target))?;
        for (name, bytes) in inputs {
            fs::write(seeds.join(target).join(name), bytes)?;
        }
    }
    Ok(())
}

fn mining() -> Inputs {
    let parent = bmm_pow::SyntheticParent::new(B256::repeat_byte(7), 1, 1_900_000_000);
    let account = Address::repeat_byte(0xb0);
    let lines = [
        r#"{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}"#
            .to_owned(),
        r#"{"id":2,"method":"mining.subscribe","params":["bmm/0.1","00000001"]}"#.to_owned(),
        format!(r#"{{"id":3,"method":"mining.authorize","params":["{account}.rig","d=16"]}}"#),
        format!(
            r#"{{"id":4,"method":"mining.submit","params":["{account}.rig","1a","0000000000000001","713fb300","00000000","00002000"]}}"#
        ),
        r#"{"id":"a","result":"agent/1.0","error":null}"#.to_owned(),
    ];
    let mut inputs = vec![
        input("proof", 0, &bmm_pow::auxpow::wire::encode(&parent.assemble(5))),
        input("stream", 2, &[&[6], lines.join("\n").as_bytes(), b"\r\n"].concat()),
        input("user", 3, format!("{account}.rig-1").as_bytes()),
        input("password", 4, b"x,d=0.5"),
    ];
    let named = lines.iter().enumerate().map(|(number, line)| input(&format!("line-{number}"), 1, line.as_bytes()));
    inputs.extend(named);
    inputs
}

/// An input of a target: the byte that chooses, and the rest.
fn input(name: &str, kind: u8, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), [&[kind], bytes].concat())
}

fn key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).expect("a key")
}

fn transactions() -> Result<[Transaction; 2], Box<dyn Error>> {
    let to = TxKind::Call(Address::repeat_byte(2));
    let one = TxEip1559 {
        chain_id: 20_191,
        nonce: 0,
        gas_limit: 21_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        value: U256::from(5),
        access_list: AccessList::default(),
        input: Bytes::new(),
    };
    let other = TxLegacy {
        chain_id: Some(20_191),
        nonce: 1,
        gas_price: 3_000_000_000,
        gas_limit: 100_000,
        to: TxKind::Create,
        value: U256::ZERO,
        input: Bytes::from_static(&[0x60, 0, 0x60, 0, 0xf3]),
    };
    let signed = key().sign_hash_sync(&one.signature_hash())?;
    let also = key().sign_hash_sync(&other.signature_hash())?;
    Ok([one.into_signed(signed).into(), other.into_signed(also).into()])
}

/// A block with two transactions.
fn block(transactions: &[Transaction]) -> Result<(SealedBlock, B256), Box<dyn Error>> {
    let mut params = ChainParams::dev(key().address(), 1_800_000_000);
    params.engine = Engine::Dev;
    let chain = Chain::in_memory(params, Arc::new(ManualClock::new(1_800_000_060)), ChainOptions::default())?;
    for transaction in transactions {
        chain.submit(transaction.clone())?;
    }
    let request = TemplateRequest { beneficiary: key().address(), vanity: Bytes::new() };
    let sign = |hash: B256| key().sign_hash_sync(&hash).expect("a local key signs");
    let block = chain.template(&request, &sign)?.block;
    Ok((SealedBlock { block, seal: Seal::None }, chain.genesis()))
}

/// Two bets, the second with a larger amount.
fn bets() -> Vec<SignedBet> {
    let bet = |amount: u64| Bet {
        footstone: key().address(),
        source: 3,
        sourceHash: B256::repeat_byte(3),
        target: 4,
        targetHash: B256::repeat_byte(4),
        amount: U256::from(amount),
    };
    [7, 1_000_000].iter().filter_map(|amount| SignedBet::new(bet(*amount), &[0x1b; BET_SIGNATURE_BYTES])).collect()
}

fn chain() -> Result<Inputs, Box<dyn Error>> {
    let signed = transactions()?;
    let (sealed, genesis) = block(&signed)?;
    let (header, body) = (sealed.block.header.clone(), sealed.block.body.clone());
    let mut aux = bmm_pow::SyntheticParent::new(B256::from([0xaa; 32]), 1, 2).assemble(3);
    let simple = Seal::AuxPow(Box::new(aux.clone()));
    aux.coinbase_branch = vec![B256::repeat_byte(1); 2];
    let branched = Seal::AuxPow(Box::new(AuxPow { chain_branch: vec![B256::repeat_byte(2); 2], ..aux }));
    let headers = vec![SealedHeader { header: header.clone(), seal: simple.clone() }];
    let hashes = vec![B256::repeat_byte(1), B256::repeat_byte(2)];
    let status =
        Status { chain_id: 1, genesis, number: 2, head: B256::ZERO, work: U256::from(1_000_000), lowest_body: 1 };
    let announcement = Announcement { sealed: headers[0].clone(), hashes: hashes.clone() };
    let mut writer = ChainWriter::new(Vec::new(), genesis)?;
    writer.append(&sealed)?;
    let encoded: Vec<Bytes> = signed.iter().map(|transaction| transaction.encoded_2718().into()).collect();
    let mut inputs = vec![
        input("request-ids", 0, &Request::Ids(vec![1, 2, 300]).encode()),
        input("request-headers", 0, &Request::Headers { first: 1, count: 512 }.encode()),
        input("request-bodies", 0, &Request::Bodies(hashes.clone()).encode()),
        input("request-transactions", 0, &Request::Transactions { block: genesis, hashes: hashes.clone() }.encode()),
        input("request-pool", 0, &Request::Pool.encode()),
        input("request-bets", 0, &Request::Bets(300).encode()),
        input("bets", 16, &encode(bets())),
        input("status", 1, &encode(&status)),
        input("announcement", 2, &announcement.encode()),
        input("headers", 3, &encode(&headers)),
        input("bodies", 4, &encode(vec![body])),
        input("transactions", 5, &encode(&encoded)),
        input("hashes", 6, &encode(&hashes)),
        input("block", 12, &encode(&sealed)),
        input("seal", 13, &[&[7; 32][..], &encode(simple)].concat()),
        input("seal-branched", 13, &[&[7; 32][..], &encode(branched)].concat()),
        input("file", 14, &writer.finish()?),
        input("transaction", 15, &encoded[0]),
        input("transaction-legacy", 15, &encoded[1]),
    ];
    inputs.extend(state(&hashes));
    Ok(inputs)
}

/// Questions about the state, and their answers.
fn state(hashes: &[B256]) -> Inputs {
    let (block, from, max_bytes) = (hashes[0], B256::ZERO, 1 << 20);
    let paths = vec![Nibbles::from_nibbles([1, 2, 3]), Nibbles::new()];
    let questions = [
        Question::Accounts { block, from, max_bytes },
        Question::Slots { block, owners: hashes.to_vec(), from, max_bytes },
        Question::Nodes { block, owner: Some(hashes[1]), paths },
        Question::Codes { hashes: hashes.to_vec() },
    ];
    let account = |code_hash| RangeAccount {
        key: hashes[0],
        nonce: 1,
        balance: U256::from(1_000),
        storage_root: code_hash,
        code_hash,
    };
    let nodes = vec![Bytes::from_static(&[0xc1, 0x80]), Bytes::from_static(b"node")];
    let accounts = vec![account(None), account(Some(hashes[1]))];
    let slots = vec![RangeSlot { key: hashes[0], value: U256::from(7) }];
    let answers = [
        Answer::Accounts(Some(AccountRange { accounts, nodes: nodes.clone() })),
        Answer::Slots(Some(vec![SlotRange { slots, nodes: nodes.clone() }])),
        Answer::Nodes(Some(nodes.clone())),
        Answer::Codes(nodes),
    ];
    let mut inputs = Inputs::new();
    for (number, (question, answer)) in (0u8..).zip(questions.iter().zip(&answers)) {
        let asked = wire::encode_state_question(question).expect("about the state");
        inputs.push(input(&format!("state-question-{number}"), 7, &asked));
        inputs.push(input(&format!("state-answer-{number}"), 8 + number, &wire::encode_state_answer(answer)));
    }
    inputs
}

fn content() -> Inputs {
    vec![
        input("list-single", 0, &9u64.to_le_bytes()),
        input("list", 0, &[&300_000u64.to_le_bytes()[..], &[2; 64]].concat()),
        input("asked", 1, &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0]),
        input(
            "asked-elsewhere",
            1,
            &[&[0x80][..], &5u64.to_le_bytes(), &[1, 0, 0, 0, 0x41], &[9; 32], &[0; 4]].concat(),
        ),
        input("small", 2, b"\x01small"),
        input("small-wrong", 2, b"\x01smell"),
        input("not-there", 2, b"\x00"),
        input("whole", 3, &[0; 4]),
        input("cut", 3, &[1, 0, 5, 0]),
        input("changed-list", 3, &[0, 0, 0, 0, 9, 0, 0, 1]),
        input("changed-chunk", 3, &[0, 0, 0, 0, 9, 0, 5, 1]),
    ]
}

fn modules() -> Result<Inputs, Box<dyn Error>> {
    let texts = [
        ("nothing", "(module)"),
        ("start", r#"(module (memory 1) (func (export "_start")))"#),
        (
            "write",
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2) (data (i32.const 8) "hello") (global (mut i32) (i32.const 0))
            (func (export "_start") (local i32 i64 f64) (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 4)))))"#,
        ),
        (
            "control",
            r#"(module (table 4 funcref) (elem (i32.const 0) $f) (type $t (func (param i32) (result i32)))
            (func $f (type $t) (loop (result i32) (block (br_table 0 1 0 (local.get 0))) (i32.const 1)))
            (func (export "_start") (drop (call_indirect (type $t) (i32.const 3) (i32.const 0)))))"#,
        ),
        (
            "command",
            r#"(component (import "wasi:io/poll@0.2.0" (instance $p (export "pollable" (type (sub resource)))))
            (alias export $p "pollable" (type $t)) (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $t))
            (core module $m (import "" "new" (func (param i32) (result i32))) (import "" "drop" (func (param i32)))
                (memory (export "m") 1) (table 2 funcref) (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m (with "" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $e (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $e)))"#,
        ),
        (
            "inner",
            r#"(component (core module $m (func (export "run") (result i32) (i32.const 0))) (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (component $c (type $t (record (field "a" (list string)))) (import "f" (func $f (result (result)))) (export "run" (func $f)))
            (instance $e (instantiate $c (with "f" (func $run)))) (export "wasi:cli/run@0.2.0" (instance $e)))"#,
        ),
        ("simd", r#"(module (func (export "_start") (local v128) (drop (i8x16.add (local.get 0) (local.get 0)))))"#),
    ];
    let mut inputs = Inputs::new();
    for (name, text) in texts {
        inputs.push((name.to_owned(), wat::parse_str(text)?));
    }
    inputs.push(("component".to_owned(), b"\0asm\x0d\0\x01\0".to_vec()));
    Ok(inputs)
}

fn rpc() -> Result<Inputs, Box<dyn Error>> {
    let wallet = key().address();
    let raw = Bytes::from(transactions()?[0].encoded_2718());
    let call = format!(r#"{{"from":"{wallet}","to":"{wallet}","gas":"0x5208","value":"0x1","data":"0x6001"}}"#);
    let calls = [
        ("eth_getBalance", format!(r#"["{wallet}","latest"]"#)),
        ("eth_getBlockByNumber", r#"["0x1",true]"#.to_owned()),
        ("eth_call", format!(r#"[{call},"0x2",{{"{wallet}":{{"balance":"0x5","code":"0x5f5ff3","state":{{}}}}}}]"#)),
        ("eth_estimateGas", format!("[{call}]")),
        ("eth_sendRawTransaction", format!(r#"["{raw}"]"#)),
        (
            "eth_getLogs",
            format!(r#"[{{"fromBlock":"0x0","toBlock":"latest","address":["{wallet}"],"topics":[null,[]]}}]"#),
        ),
        ("eth_getProof", format!(r#"["{wallet}",["0x0","0x1"],"latest"]"#)),
        ("eth_feeHistory", r#"["0x2","latest",[1.5,50]]"#.to_owned()),
        ("eth_newFilter", r#"[{"blockHash":null}]"#.to_owned()),
        (
            "eth_simulateV1",
            format!(
                r#"[{{"blockStateCalls":[{{"calls":[{call}],"blockOverrides":{{"time":"0x6b49d300"}}}}],"validation":false}}]"#
            ),
        ),
        (
            "debug_traceCall",
            format!(r#"[{call},"latest",{{"tracer":"callTracer","tracerConfig":{{"withLog":true}}}}]"#),
        ),
        ("debug_traceBlockByNumber", r#"["0x1",{"tracer":"prestateTracer"}]"#.to_owned()),
        ("trace_callMany", format!(r#"[[[{call},["trace","stateDiff","vmTrace"]]],"latest"]"#)),
        ("trace_filter", r#"[{"fromBlock":"0x1","toBlock":"0x3","count":5}]"#.to_owned()),
        ("ots_searchTransactionsBefore", format!(r#"["{wallet}",3,5]"#)),
        ("bmm_getAccountRange", format!(r#"["{0}","{0}",1000]"#, B256::ZERO)),
        ("bmm_getHeaders", "[1,3]".to_owned()),
        ("web3_sha3", r#"["0x68656c6c6f"]"#.to_owned()),
        ("txpool_content", "[]".to_owned()),
    ];
    let body = |(method, params): &(&str, String)| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let mut inputs: Inputs = calls.iter().map(|call| input(call.0, 1, body(call).as_bytes())).collect();
    let head = |more: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: localhost:8545\r\nContent-Type: application/json\r\nContent-Length: 7\r\n{more}\r\n{{\"a\":1}}"
        )
    };
    inputs.extend([
        input("batch", 1, format!("[{},{}]", body(&calls[0]), body(&calls[17])).as_bytes()),
        input("notification", 1, br#"{"jsonrpc":"2.0","method":"net_version"}"#),
        input("head", 0, head("").as_bytes()),
        input("head-origin", 0, head("Origin: http://localhost\r\nConnection: keep-alive\r\n").as_bytes()),
        input("head-chunked", 0, head("Transfer-Encoding: chunked\r\n").as_bytes()),
    ]);
    Ok(inputs)
}

fn tries() -> Inputs {
    // A branch with two short leaves inside, and one that refers to the next node.
    let leaf = [0xc2, 0x20, 0x07];
    let branch = |second: &[u8]| {
        let mut payload = vec![leaf.as_slice(), second];
        payload.resize(17, &[0x80]);
        let payload = payload.concat();
        let length = u8::try_from(payload.len()).expect("short");
        if length < 56 { [&[0xc0 + length][..], &payload].concat() } else { [&[0xf8, length][..], &payload].concat() }
    };
    let sized = |node: &[u8]| [&u16::try_from(node.len()).expect("short").to_le_bytes()[..], node].concat();
    let (top, below) = (branch(&[&[0xa0][..], &[1; 32]].concat()), branch(&leaf));
    let nodes = [&[2][..], &sized(&top), &sized(&below)].concat();
    let many: Vec<u8> = (0u8..120).map(|n| n.wrapping_mul(37)).collect();
    vec![
        input("made-up", 0, &[&[0, 0, 0, 0][..], &nodes].concat()),
        input("made-up-leaves", 0, &[&[0, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9, 1][..], &nodes].concat()),
        input("changed", 1, &[&[20][..], &many].concat()),
        input("changed-more", 1, &[&[40][..], &many, &many].concat()),
        input("walk", 2, &[&[0][..], &nodes].concat()),
        input("walk-stored", 2, &[&[3][..], &many[..12], &nodes].concat()),
        input("honest", 3, &[&[12][..], &many].concat()),
    ]
}
