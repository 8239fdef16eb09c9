//! Rented miners: strangers' cores hash for a real pool, through the one who rents, and are paid for what the pool accepted.

use crate::{
    chain::{Chain, read, units},
    network::{Provider, until},
    pool,
    run::{Bmm, Running},
};
use alloy_primitives::{B256, U256};
use bmm_types::system::Jobs;
use serde_json::Value;

const MINER: &str = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";

/// The file of a rental at the pool that listens there.
fn file(bmm: &Bmm, pool: &str, more: &str) -> String {
    let text = format!(
        "[mine]\npools = [\"stratum+tcp://{pool}\"]\nuser = \"{MINER}.rented\"\npassword = \"d=0.0625\"\ninterval = \"1 s\"\n{more}"
    );
    let path = bmm.dir.path().join("night.toml");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn rent(bmm: &Bmm, file: &str, first: &Provider) -> Running {
    bmm.spawn(&["--json", "rent", "run", file, "--bootstrap", &first.address])
}

/// Shares that the pool accepted of whose name was handed in.
fn pool_shares(bmm: &Bmm) -> u64 {
    let workers = bmm.json(&["pool", "workers", "--account", MINER]);
    let rows = workers["workers"].as_array().expect("rows");
    rows.iter().filter_map(|row| row["shares"]["accepted"].as_u64()).sum()
}

#[test]
fn rented_miners_hash_for_a_pool_and_are_paid_for_what_it_accepts() {
    let bmm = Bmm::new();
    std::fs::create_dir_all(bmm.data()).expect("a folder");
    std::fs::write(bmm.data().join("config.toml"), pool::CONFIG).expect("written");
    let chain = Chain::up(&bmm);
    let (_pool, listening) = pool::start(&bmm, &["pool", "--json"]);
    let listens = listening["stratum"][0].as_str().expect("an address");
    let one = Provider::with(&chain, None, "[provide]\nminer = true\n");
    let mut other = Provider::with(&chain, Some(&one), "[provide]\nminer = true\n");

    // Both are known before it begins, so that neither uses the budget up alone.
    until("both offers", || {
        let listed = bmm.json(&["market", "offers", "--bootstrap", &one.address, "--no-mdns", "--wait", "1"]);
        let offers = listed["offers"].as_array().expect("rows").clone();
        let mines = |offer: &Value| offer["runtimes"].as_array().is_some_and(|names| names.contains(&"Miner".into()));
        (offers.len() == 2 && offers.iter().all(mines)).then_some(())
    });
    let file = file(&bmm, listens, "price = \"1000000 BMM\"\n[budget]\nmax = \"0.1 BMM\"\n");
    let mut renting = rent(&bmm, &file, &one);
    let row = || bmm.json(&["rent", "list"])[0].clone();
    until("both are paid", || {
        assert!(renting.lives(), "{}", renting.stderr());
        let promised = row()["promised_bmm"].as_object().cloned().unwrap_or_default();
        (promised.len() == 2).then_some(())
    });
    // The other one goes on alone, and what was promised is kept.
    other.kill();
    let receipt = renting.wait().json();
    let id: B256 = read(&receipt, "id");
    let shares: u64 = receipt["shares"].as_object().expect("rows").values().filter_map(Value::as_u64).sum();
    assert!(shares > 0 && pool_shares(&bmm) >= shares, "the pool has counted no less: {receipt}");
    let spent = units(&receipt, "spent_bmm");
    assert_eq!((receipt["state"].as_str(), units(&receipt, "budget_bmm")), (Some("settled"), spent), "all is used up");
    let money = chain.settled_once(id);
    assert_eq!((money.paid, money.refunded), (spent, U256::ZERO));
    let paid: Vec<Jobs::Paid> = chain.events(Some(id));
    assert_eq!(paid.len(), 2);
    assert!(paid.iter().all(|event| !event.amount.is_zero()), "{paid:?}");
    assert!(paid.iter().any(|event| event.provider == one.operator));
}

#[test]
fn a_pool_that_is_not_there_costs_nothing_and_is_told() {
    let bmm = Bmm::new();
    let chain = Chain::up(&bmm);
    let one = Provider::with(&chain, None, "[provide]\nminer = true\n");
    let file = file(&bmm, "127.0.0.1:9", "price = \"1000000 BMM\"\n[budget]\nmax = \"1 BMM\"\n");
    let renting = rent(&bmm, &file, &one);
    let told = renting.wait();
    assert!(told.code == 1 && told.stderr.contains("no pool of mine.pools gives work"), "{told:?}");
    let listed: Value = bmm.json(&["rent", "list"])[0].clone();
    let id: B256 = read(&listed, "id");
    let receipt = bmm.json(&["rent", "stop", &format!("{id:x}")[..8]]);
    assert_eq!(receipt["state"], "settled", "{receipt}");
    let money = chain.settled_once(id);
    assert_eq!((money.paid, money.refunded), (U256::ZERO, money.budget));
}
