//! Accounts with handles, and the explorer's data for programs.

use super::serve;
use crate::run::Bmm;
use std::time::{Duration, Instant};

#[test]
fn an_account_is_found_by_its_handle() {
    let bmm = Bmm::new().env("BMM_PASSWORD", "a long password");
    let pages = serve(&bmm);
    let wallet = bmm.json(&["wallet", "new", "savings"]);
    let savings = wallet["address"].as_str().expect("an address").to_owned();
    bmm.json(&["account", "register", "alice-7", "--from", "dev"]);
    bmm.json(&["account", "bind", "savings", "--from", "dev"]);
    let begun = Instant::now();
    let account = loop {
        let account = pages.json("/api/v1/accounts/alice-7");
        // The index is a moment behind the chain.
        if account["wallets"].as_array().map(Vec::len) == Some(2) {
            break account;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{account}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((&account["wallet_count"], &account["handle"]), (&2.into(), &"alice-7".into()));
    assert_eq!(account["wallets"][0]["address"], account["owner"], "the owner first");
    assert_eq!(account["wallets"][1]["address"].as_str().map(str::to_lowercase), Some(savings.to_lowercase()));
    let page = pages.get("/account/alice-7", "");
    assert!(page.contains("@alice-7") && page.contains("Registered") && page.contains("Bound"), "{page}");
    let found = pages.get("/search?q=%40Alice-7", "");
    assert!(found.to_lowercase().contains("location: /account/alice-7"), "{found}");
    for path in ["/account/nobody-here", "/account/%3Cscript%3E", "/api/v1/accounts/..%2f"] {
        assert_eq!(pages.get(path, "").get(9..12), Some("404"), "{path}");
    }
}

#[test]
fn programs_read_footstones_and_epochs() {
    let bmm = Bmm::new();
    let pages = serve(&bmm);
    let stones = pages.json("/api/v1/footstones");
    assert!(stones["footstones"].is_array() && stones["bets"].is_array(), "{stones}");
    let epochs = pages.json("/api/v1/epochs");
    let present = epochs["epochs"].as_array().and_then(|epochs| epochs.first()).expect("the present epoch");
    assert!(present["pot"].is_string() && present["closed"] == false, "{epochs}");
    let described = pages.json("/api/openapi.json");
    assert!(described["paths"]["/api/v1/epochs"].is_object());
}
