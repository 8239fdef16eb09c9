//! Processes that die, or are interrupted, at any moment of a job: it goes on, and nothing is paid twice.

use crate::{
    chain::{Chain, read, units},
    programs::{job, worked, worker},
    run::{Bmm, Running},
};
use alloy_primitives::B256;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tasks of the jobs here; each takes some 50 ms.
const TASKS: u32 = 24;
const ROUNDS: u32 = 40_000_000;

/// What such a job's result is.
pub fn expected() -> Vec<u8> {
    worked(ROUNDS, TASKS)
}

pub fn slow_job(bmm: &Bmm) -> PathBuf {
    job(bmm, &worker(ROUNDS), TASKS, "[budget]\nmax = \"9 BMM\"\ndeadline = \"20 min\"\n")
}

pub fn start(bmm: &Bmm) -> Running {
    let job_file = slow_job(bmm);
    bmm.spawn(&["--json", "run", job_file.to_str().expect("UTF-8"), "--providers", "2", "--out", "out"])
}

/// The folders of all jobs.
fn folders(bmm: &Bmm) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(bmm.data().join("jobs")) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("job.json").exists()).collect()
}

/// Waits until the one job that is not in `old` has got as far as `there` says; returns its id.
pub fn wait_for(running: &mut Running, bmm: &Bmm, old: &[PathBuf], there: impl Fn(&Path, &Value) -> bool) -> String {
    loop {
        for folder in folders(bmm).into_iter().filter(|folder| !old.contains(folder)) {
            let record = std::fs::read(folder.join("job.json")).expect("replaced whole");
            let record = serde_json::from_slice(&record).expect("JSON, at every moment");
            if there(&folder, &record) {
                return folder.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
            }
        }
        assert!(running.lives(), "bmm run ended before that: {}", running.stdout());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Some results are in, not all.
pub fn working(folder: &Path, _: &Value) -> bool {
    std::fs::metadata(folder.join("outputs")).is_ok_and(|file| file.len() >= 4 * (40 + 8))
}

/// The escrow is about to be opened: the program is kept already, which is the last thing that is written before.
fn opening(folder: &Path, record: &Value) -> bool {
    let kept = std::fs::read_dir(folder.join("contents")).expect("a folder");
    let whole = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    };
    record["status"] == "opening" && kept.into_iter().any(whole)
}

/// Resumes a job and holds that it is right and paid once.
fn resume(bmm: &Bmm, id: &str) -> Value {
    let receipt = bmm.json(&["job", "resume", id]);
    assert_eq!(
        (&receipt["status"], &receipt["tasks"], &receipt["failed"]),
        (&"settled".into(), &TASKS.into(), &0.into())
    );
    let outputs: Vec<PathBuf> = read(&receipt, "outputs");
    assert!(std::fs::read(&outputs[0]).expect("the output") == expected(), "other bytes than without a crash");
    receipt
}

fn check_paid_once(chain: &Chain, receipt: &Value) {
    let money = chain.settled_once(read(receipt, "job"));
    assert_eq!((money.budget, money.paid), (units(receipt, "escrow_bmm"), units(receipt, "price_bmm")));
    assert_eq!(money.refunded, units(receipt, "refunded_bmm"));
}

/// A moment of a job, told by its folder and its record.
type Moment = (&'static str, fn(&Path, &Value) -> bool);

/// Kills a job at each moment in turn, and lets each go on.
fn killed_when(moments: &[Moment]) {
    let bmm = Bmm::new();
    let mut receipts = Vec::new();
    for (name, moment) in moments {
        let old = folders(&bmm);
        let mut running = start(&bmm);
        let id = wait_for(&mut running, &bmm, &old, moment);
        running.signal("KILL");
        assert_eq!(running.end(), None, "killed when {name}");
        receipts.push(resume(&bmm, &id));
    }
    let again = bmm.json(&["job", "resume", receipts[0]["job"].as_str().expect("an id")]);
    assert_eq!(again, receipts[0], "a job that is over is shown, not run");
    let chain = Chain::up(&bmm);
    for receipt in &receipts {
        check_paid_once(&chain, receipt);
    }
}

#[test]
fn a_job_killed_at_any_step_goes_on_and_is_paid_once() {
    let moments: [[Moment; 2]; 3] = [
        [("opening", opening), ("working", working)],
        [
            ("merged", |_, record| record["outputs"] != Value::Array(Vec::new())),
            ("settled", |_, record| !record["settle_transaction"].is_null()),
        ],
        [
            ("over", |_, record| record["status"] == "settled"),
            ("told", |folder, _| folder.join("receipt.json").exists()),
        ],
    ];
    std::thread::scope(|scope| moments.iter().for_each(|moments| drop(scope.spawn(|| killed_when(moments)))));
}

#[test]
fn a_folder_that_was_never_finished_is_no_job() {
    let bmm = Bmm::new();
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], opening);
    running.signal("KILL");
    running.end();
    assert_eq!(bmm.json(&["job", "list"])["jobs"][0]["id"], format!("0x{id}"));
    // As if it had died a moment before.
    std::fs::remove_dir_all(folders(&bmm)[0].join("contents")).expect("removed");
    assert_eq!(bmm.json(&["job", "list"])["jobs"], Value::Array(Vec::new()));
    assert!(bmm.fails(1, &["job", "resume", &id]).contains("no job has the id"));
}

#[test]
fn transactions_that_wait_in_a_node_s_pool_are_not_repeated() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    // The node lives on, and with it what the dead process had sent.
    let moments: [Moment; 2] =
        [("opening", opening), ("merged", |_, record| record["outputs"] != Value::Array(Vec::new()))];
    for (_, moment) in moments {
        let old = folders(&bmm);
        let mut running = start(&bmm);
        let id = wait_for(&mut running, &bmm, &old, moment);
        std::thread::sleep(Duration::from_millis(150));
        running.signal("KILL");
        running.end();
        check_paid_once(&chain, &resume(&bmm, &id));
        let shown = bmm.json(&["job", "show", &id]);
        assert!(shown["open_transaction"].is_string(), "{shown}");
    }
}

#[test]
fn jobs_killed_at_random_moments_go_on() {
    let bmm = Bmm::new();
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let old = folders(&bmm);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let moment = Duration::from_millis(u64::from(random >> 16) % 5_000);
        let mut running = start(&bmm);
        let start = Instant::now();
        while running.lives() && start.elapsed() < moment {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.signal("KILL");
        running.end();
        let listed = bmm.json(&["job", "list"])["jobs"].clone();
        let ids = listed.as_array().expect("a list").iter().map(|job| read::<B256>(job, "id"));
        if let Some(id) = ids.map(|id| format!("{id:x}")).find(|id| !old.iter().any(|folder| folder.ends_with(id))) {
            // A second death, on the way back.
            let id = id.as_str();
            let mut running = bmm.spawn(&["--json", "job", "resume", id]);
            std::thread::sleep(moment / 4);
            running.signal("KILL");
            running.end();
            receipts.push(resume(&bmm, id));
        }
    }
    let chain = Chain::up(&bmm);
    for receipt in &receipts {
        check_paid_once(&chain, receipt);
    }
}

#[test]
fn ctrl_c_leaves_a_job_that_is_resumed_or_cancelled() {
    let bmm = Bmm::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let old = folders(&bmm);
        let mut running = start(&bmm);
        let id = wait_for(&mut running, &bmm, &old, working);
        running.signal("INT");
        let ran = running.wait();
        let failure: Value = serde_json::from_str(&ran.stderr).expect("one JSON object");
        assert_eq!((ran.code, ran.stdout.as_str(), &failure["error"]["kind"]), (3, "", &"job".into()), "{failure}");
        let hint = failure["error"]["hints"][0].as_str().expect("a hint");
        assert_eq!(hint, format!("nothing is lost; go on with the job: bmm job resume {}", &id[..8]));
        ids.push(id);
    }
    let shown = bmm.run(&["job", "show", &ids[0]]);
    assert!(shown.stdout.contains(": interrupted") && shown.stdout.contains("bmm job resume"), "{}", shown.stdout);
    assert_eq!(bmm.run(&["job", "list"]).stdout.matches(" interrupted ").count(), 2);
    let told = bmm.fails(3, &["job", "watch", &ids[0]]);
    assert!(told.contains("no process works on this job") && told.contains("bmm job resume"), "{told}");
    let told = bmm.fails(1, &["job", "get", &ids[0]]);
    assert!(told.contains("no outputs yet") && told.contains("hint:"), "{told}");

    let resumed = resume(&bmm, &ids[0]);
    let cancelled = bmm.json(&["job", "cancel", &ids[1]]);
    assert_eq!(cancelled["status"], "cancelled");
    let done: u64 = read(&cancelled, "done");
    assert!((1..u64::from(TASKS)).contains(&done), "verified work is paid: {cancelled}");
    assert!(units(&cancelled, "price_bmm") < units(&resumed, "price_bmm"));
    assert!(!units(&cancelled, "price_bmm").is_zero() && cancelled["outputs"] == Value::Array(Vec::new()));
    let chain = Chain::up(&bmm);
    check_paid_once(&chain, &resumed);
    check_paid_once(&chain, &cancelled);
}

#[test]
fn a_job_cancelled_before_its_escrow_costs_nothing() {
    let bmm = Bmm::new();
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], opening);
    running.signal("KILL");
    running.end();
    let cancelled = bmm.json(&["job", "cancel", &id]);
    assert_eq!((&cancelled["status"], &cancelled["done"]), (&"cancelled".into(), &0.into()));
    assert!(units(&cancelled, "price_bmm").is_zero());
    let chain = Chain::up(&bmm);
    let job: B256 = read(&cancelled, "job");
    // The transaction may have been in the last block before the end.
    let opened: Vec<bmm_types::system::Jobs::Opened> = chain.events(Some(job));
    let refunded: Vec<bmm_types::system::Jobs::Refunded> = chain.events(Some(job));
    assert_eq!(opened.len(), refunded.len());
}

#[test]
fn a_job_that_another_process_works_on_is_left_alone() {
    let bmm = Bmm::new();
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], working);
    let told = bmm.fails(1, &["job", "resume", &id]);
    assert!(told.contains("another bmm process works on this job") && told.contains("hint:"), "{told}");
    assert_eq!(bmm.json(&["job", "list"])["jobs"][0]["active"], true);
    let watched = bmm.json(&["job", "watch", &id]);
    assert_eq!((&watched["status"], &watched["id"]), (&"settled".into(), &watched["receipt"]["job"]));
    let receipt = running.wait().json();
    assert_eq!(bmm.json(&["job", "show", &id])["receipt"], receipt);
}

#[test]
fn a_job_is_cancelled_while_another_process_works_on_it() {
    let bmm = Bmm::new();
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], working);
    let cancelled = bmm.json(&["job", "cancel", &id]);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    let done: u64 = read(&cancelled, "done");
    assert!((1..u64::from(TASKS)).contains(&done), "verified work is paid: {cancelled}");
    let ran = running.wait();
    assert_eq!((ran.code, ran.json()), (0, cancelled.clone()), "the process ends by itself");
    check_paid_once(&Chain::up(&bmm), &cancelled);
}

#[test]
fn a_job_past_its_deadline_ends_with_what_is_done() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(ROUNDS), 4_000, "[budget]\nmax = \"9000 BMM\"\ndeadline = \"5 s\"\n");
    let ran = bmm.run(&["--json", "run", job_file.to_str().expect("UTF-8")]);
    let receipt = ran.json();
    assert_eq!((ran.code, &receipt["status"]), (3, &"failed".into()), "{ran:?}");
    assert!(
        ran.stderr.contains("deadline") && receipt["ending"].as_str().is_some_and(|text| text.contains("deadline")),
        "{ran:?}"
    );
    assert!(read::<u64>(&receipt, "done") > 0 && !units(&receipt, "price_bmm").is_zero(), "{receipt}");
    check_paid_once(&Chain::up(&bmm), &receipt);
}

/// A program that never ends is stopped while it merges, too; the job can still be cancelled, and its work is paid.
#[test]
fn an_endless_merge_can_be_interrupted_and_cancelled() {
    let bmm = Bmm::new();
    bmm.bytes("merge.wasm", &crate::programs::program("", "(loop $ever (br $ever))"));
    let job_file = job(&bmm, &worker(1_000), 4, "merge = \"./merge.wasm\"\n");
    let mut running = bmm.spawn(&["run", job_file.to_str().expect("UTF-8")]);
    let id = wait_for(&mut running, &bmm, &[], |_, record| record["status"] == "running");
    while !running.stderr().contains("merging") {
        assert!(running.lives(), "it ended: {}", running.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    running.signal("INT");
    assert_eq!(running.end(), Some(3), "{}", running.stderr());
    let cancelled = bmm.json(&["job", "cancel", &id]);
    assert_eq!((&cancelled["status"], &cancelled["done"]), (&"cancelled".into(), &4.into()));
    assert!(!units(&cancelled, "price_bmm").is_zero());
}

/// The address of a node that was killed may be another chain's now; a job must not be opened there.
#[test]
fn a_stale_node_file_is_no_way_to_another_chain() {
    let (here, other) = (Bmm::new(), Bmm::new());
    let other_chain = Chain::up(&other);
    drop(Chain::up(&here));
    let path = here.data().join("node.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).expect("left by the kill")).expect("JSON");
    file["rpc"] = other_chain.rpc.url().into();
    std::fs::write(&path, file.to_string()).expect("written");
    let told = here.fails(1, &["wallet", "balance", "dev"]);
    assert!(told.contains("no node runs in the data folder"), "{told}");
    let job_file = job(&here, &worker(1_000), 4, "");
    assert_eq!(here.json(&["run", job_file.to_str().expect("UTF-8")])["status"], "settled");
}

/// A power failure can take results that the log already speaks of.
#[test]
fn results_that_did_not_reach_the_disk_are_made_again() {
    let bmm = Bmm::new();
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], working);
    running.signal("KILL");
    assert_eq!(running.end(), None);
    let outputs = folders(&bmm)[0].join("outputs");
    let kept = std::fs::read(&outputs).expect("results")[..48 + 20].to_vec();
    std::fs::write(&outputs, kept).expect("cut");
    let receipt = resume(&bmm, &id);
    check_paid_once(&Chain::up(&bmm), &receipt);
}
