//! `bmm account` and `bmm resource` against a development chain that mines, proves and claims by itself.

use crate::{chain::Chain, run::Bmm};
use bmm_types::system::account_id;
use serde_json::Value;
use std::time::{Duration, Instant};

fn with_password() -> Bmm {
    Bmm::new().env("BMM_PASSWORD", "correct horse")
}

/// Waits until `found` says something.
fn wait<T>(what: &str, longest: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < longest, "no {what} after {longest:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn units(value: &Value) -> f64 {
    value.as_str().expect("a text").parse().expect("a number")
}

#[test]
fn accounts_are_registered_bound_handed_over_and_shown() {
    let bmm = with_password();
    let _chain = Chain::up(&bmm);
    let dev = bmm.json(&["wallet", "show", "dev"])["address"].as_str().expect("an address").to_owned();
    // The new wallet is the default one, and has no coins to send transactions with.
    let worker = bmm.json(&["wallet", "new", "worker"]);
    let worker_address = worker["address"].as_str().expect("an address").to_owned();

    let told = bmm.fails(1, &["account", "show", "--json"]);
    assert!(told.contains("bound to no account") && told.contains("bmm account register"), "{told}");
    let told = bmm.fails(1, &["account", "register", "Alice"]);
    assert!(told.contains("HANDLE") && told.contains("a to z"), "{told}");

    let done = bmm.json(&["account", "register", "alice", "--from", "dev"]);
    assert_eq!(done["account"], account_id("alice").to_string());
    let told = bmm.fails(1, &["account", "register", "alicia", "--from", "dev"]);
    assert!(told.contains("unbind it first"), "{told}");

    bmm.json(&["account", "bind", "worker", "--from", "dev"]);
    let shown = bmm.json(&["account", "show", "alice"]);
    assert_eq!((&shown["handle"], &shown["wallets"], &shown["referrer"]), (&"alice".into(), &2.into(), &Value::Null));
    assert_eq!(bmm.json(&["account", "show", &worker_address])["account"], shown["account"]);
    let told = bmm.fails(1, &["account", "bind", "worker", "--from", "dev"]);
    assert!(told.contains("is bound to the account"), "{told}");

    let hash = format!("0x{}", "5a".repeat(32));
    bmm.json(&["account", "profile", &hash, "--from", "dev"]);
    assert_eq!(bmm.json(&["account", "show", "alice"])["profile"], hash.as_str());
    bmm.json(&["account", "owner", "worker", "--from", "dev"]);
    let owner = bmm.json(&["account", "show", "alice"])["owner"].clone();
    assert_eq!(owner.as_str().expect("an address").to_lowercase(), worker_address.to_lowercase());
    let told = bmm.fails(1, &["account", "profile", &hash, "--from", "dev"]);
    assert!(told.contains("only the owner"), "{told}");
    bmm.json(&["account", "unbind", "dev", "--from", "dev"]);
    let told = bmm.fails(1, &["account", "show", &dev]);
    assert!(told.contains("bound to no account"), "{told}");
    let told = bmm.fails(1, &["account", "show", "nobody"]);
    assert!(told.contains("there is no account \"nobody\"") && told.contains("bmm account register nobody"), "{told}");
}

#[test]
fn a_node_that_mines_proves_its_work_and_claims_its_reward() {
    let bmm = Bmm::new();
    let chain = Chain::up_with(&bmm, |params| params.epoch_blocks = 24);
    let told = bmm.fails(1, &["resource", "prove"]);
    assert!(told.contains("no epoch has ended yet"), "{told}");
    let epochs = |count: &str| bmm.json(&["resource", "status", "--epochs", count]);
    let first = |status: &Value| status["epochs"][0].clone();
    let kept = wait("hashes", Duration::from_mins(1), || {
        first(&epochs("1"))["kept_hashes"].as_u64().filter(|kept| *kept == 32)
    });
    assert_eq!(kept, 32);
    let claimed = wait("claim", Duration::from_secs(200), || {
        let status = epochs("64");
        let epochs = status["epochs"].as_array().expect("a list");
        epochs.iter().find(|epoch| epoch["claimed"] == true).cloned()
    });
    assert!(units(&claimed["hash_units"]) > 0.0 && units(&claimed["power_units"]) > 0.0, "{claimed}");
    assert_eq!(claimed["closed"], true);
    let number = claimed["epoch"].as_u64().expect("a number");
    let proven = chain.resource_events::<bmm_types::system::Resources::Proven>();
    assert_eq!(proven.iter().filter(|event| event.epoch == number).count(), 1, "once: {proven:?}");
    let told = bmm.fails(1, &["resource", "claim", "--epoch", &number.to_string()]);
    assert!(told.contains("is paid already"), "{told}");
    let told = bmm.fails(1, &["resource", "prove", "--epoch", &number.to_string()]);
    assert!(told.contains("is proven from block") || told.contains("has proven its work"), "{told}");
}

#[test]
fn every_command_of_accounts_and_resources_shows_examples() {
    let bmm = Bmm::new();
    let account =
        ["register", "bind", "sign", "unbind", "owner", "profile", "show"].map(|command| ["account", command]);
    let resource = ["status", "prove", "claim"].map(|command| ["resource", command]);
    for [group, command] in account.into_iter().chain(resource) {
        let ran = bmm.run(&[group, command, "--help"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(&format!("  bmm {group} {command}")), "{}", ran.stdout);
    }
}
