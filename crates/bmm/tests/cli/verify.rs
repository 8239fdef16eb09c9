//! Jobs whose results are checked: by drawn audits, by a verifier, with stakes.

use crate::{
    chain::{Chain, read, units},
    programs::{job, program, worker},
    run::Bmm,
};
use alloy_primitives::{Address, B256};
use bmm_types::{
    Amount,
    system::{Jobs, stake_state},
};
use serde_json::{Value, json};

const ROUNDS: u32 = 20_000;

fn run(bmm: &Bmm, job: &std::path::Path, more: &[&str]) -> Value {
    bmm.json(&[&["run", job.to_str().expect("UTF-8"), "--providers", "2"], more].concat())
}

fn checked(receipt: &Value) -> (u64, u64) {
    (read(&receipt["verified"], "checked"), read(&receipt["verified"], "unchecked"))
}

#[test]
fn audits_check_strangers_first_and_trust_is_remembered() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(ROUNDS), 300, "[verify]\nmode = \"audit\"\nfloor = \"1 %\"\n");
    let first = run(&bmm, &job_file, &[]);
    assert_eq!(first["status"], json!("settled"));
    let (some, rest) = checked(&first);
    assert_eq!(some + rest, 300);
    // Half a result of trust for each agreement with a stranger, so that checks grow as the square root of the results.
    assert!(some >= 10 && rest >= 100, "{some} checked, {rest} not");
    assert_eq!(first["verified"]["wrong"], json!([]));
    let book: Value =
        serde_json::from_slice(&std::fs::read(bmm.data().join("trust.json")).expect("a book")).expect("JSON");
    assert_eq!(book.as_object().map(serde_json::Map::len), Some(2), "{book}");
    let second = run(&bmm, &job_file, &[]);
    assert!(checked(&second).0 < some, "{some} checks at first, then {}", checked(&second).0);
    let text = bmm.run(&["job", "show", &second["job"].as_str().expect("an id")[2..10]]).stdout;
    assert!(text.contains("checked"), "{text}");
}

/// Runs a job with a verifier; it is the worker's own program, and looks whether `/in/result` has the same eight bytes.
fn with_verifier(bmm: &Bmm, verifier: &[u8]) -> std::path::PathBuf {
    bmm.bytes("verify.wasm", verifier);
    job(bmm, &worker(ROUNDS), 40, "[verify]\nmode = \"checker\"\napp = \"./verify.wasm\"\n")
}

#[test]
fn a_verifier_reads_each_result() {
    let bmm = Bmm::new();
    // Opens /in/result (descriptor 3 is /in), reads eight bytes and compares them with the worker's.
    let start = format!(
        "(local $fd i32) (local $state i64) (local $rounds i32)
         (i32.store8 (i32.const 100) (i32.const 114)) (i32.store8 (i32.const 101) (i32.const 101))
         (i32.store8 (i32.const 102) (i32.const 115)) (i32.store8 (i32.const 103) (i32.const 117))
         (i32.store8 (i32.const 104) (i32.const 108)) (i32.store8 (i32.const 105) (i32.const 116))
         (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 6) (i32.const 0) (i64.const 2) (i64.const 2)
              (i32.const 0) (i32.const 200)) (then (call $exit (i32.const 7))))
         (i32.store (i32.const 0) (i32.const 300)) (i32.store (i32.const 4) (i32.const 8))
         (if (call $fd_read (i32.load (i32.const 200)) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 8))))
         (local.set $rounds (i32.const {ROUNDS}))
         (local.set $state (i64.extend_i32_u (call $n)))
         (loop $round
           (local.set $state
             (i64.add (i64.mul (local.get $state) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
           (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
         (if (i64.ne (local.get $state) (i64.load (i32.const 300))) (then (call $exit (i32.const 1))))"
    );
    let job_file = with_verifier(&bmm, &program("", &start));
    let receipt = run(&bmm, &job_file, &[]);
    assert_eq!((receipt["status"].clone(), checked(&receipt)), (json!("settled"), (40, 0)));
    assert_eq!(read::<u64>(&receipt["verified"], "own_machine"), 40);

    // One that cannot tell ends the job, and says so.
    let job_file = with_verifier(&bmm, &program("", "(call $exit (i32.const 9))"));
    let told = bmm.run(&["run", job_file.to_str().expect("UTF-8"), "--providers", "1"]);
    let says = "the verifier could not say whether the result of task";
    assert!(told.code == 3 && told.stderr.contains(says) && told.stderr.contains("exited with code 9"), "{told:?}");
}

#[test]
fn stakes_are_locked_for_the_job_and_come_back() {
    let bmm = Bmm::new();
    let more = "[verify]\nmode = \"audit\"\nstake = \"2 BMM\"\n";
    let job_file = job(&bmm, &worker(ROUNDS), 60, "");
    let paid = run(&bmm, &job_file, &[]);
    let providers: Vec<Address> =
        paid["providers"].as_array().expect("a list").iter().map(|p| read(p, "address")).collect();
    assert_eq!(providers.len(), 2, "both worked: {paid}");
    let text = std::fs::read_to_string(&job_file).expect("the job");
    let staked = bmm.file("staked.toml", &format!("canonical_nans = true\n{text}{more}"));
    let chain = Chain::up(&bmm);
    for provider in &providers {
        let sent = bmm.run(&["wallet", "send", &provider.to_string(), "3", "--yes"]);
        assert_eq!(sent.code, 0, "{sent:?}");
    }
    let config = bmm.file("stakes.toml", "[provide]\nmax_stake = \"2 BMM\"\n");
    let receipt = run(&bmm, &staked, &["--config", config.to_str().expect("UTF-8")]);
    assert_eq!(receipt["status"], json!("settled"));
    let id: B256 = read(&receipt, "job");
    let locked: Vec<Jobs::Staked> = chain.events(Some(id));
    let back: Vec<Jobs::Unstaked> = chain.events(Some(id));
    assert_eq!((locked.len(), back.len()), (2, 2), "each locked it once and has it back");
    assert!(locked.iter().all(|event| event.amount == Amount::from_bmm(2).units()));
    for provider in providers {
        let call = Jobs::stakeOfCall { job: id, provider };
        let stake = chain.rpc.contract(bmm_types::system::JOBS, &call).expect("the escrow answers");
        assert_eq!(stake.state, stake_state::GONE);
    }
    assert!(units(&receipt, "price_bmm") > alloy_primitives::U256::ZERO);
}
